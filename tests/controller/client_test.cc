// The client library against real services: what a program that embeds it sees when leaders change.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/prng.h"
#include "client/catalog_client.h"
#include "client/catalog_stream.h"
#include "client/catalog_watch.h"
#include "tests/controller/test_controller.h"

namespace tenure::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Keeps a copy of the catalog from what the watch says.
class Mirror : public client::WatchObserver {
 public:
  void OnSnapshot(Revision revision, std::vector<pb::Record> all) override {
    ++snapshots;
    last = revision;
    records.clear();
    for (pb::Record& record : all) {
      const std::string key = KeyOf(record);
      records[key] = std::move(record);
    }
  }
  void OnChanges(std::vector<pb::Event> events, Revision complete) override {
    for (pb::Event& event : events) {
      EXPECT_LE(event.revision(), complete.value());
      const std::string key = KeyOf(event.has_new_record() ? event.new_record() : event.old_record());
      const auto known = records.find(key);
      // F1, F2: what is replaced is what is known.
      if (event.has_old_record()) {
        ASSERT_NE(known, records.end()) << key;
        EXPECT_EQ(known->second.SerializeAsString(), event.old_record().SerializeAsString()) << key;
      } else {
        EXPECT_EQ(known, records.end()) << key;
      }
      if (event.has_new_record()) {
        records[key] = event.new_record();
      } else {
        records.erase(key);
      }
      ++changes;
    }
    last = complete;
  }
  static std::string KeyOf(const pb::Record& record) {
    if (record.has_entry()) return "entry " + record.entry().key();
    if (record.has_node()) return "node " + std::to_string(record.node().id());
    if (record.has_controller()) return "controller " + std::to_string(record.controller().id());
    return "other";
  }
  int snapshots = 0;
  int changes = 0;
  Revision last;
  std::map<std::string, pb::Record> records;
};

class ClientTest : public ::testing::Test {
 protected:
  std::string EntriesOf(const Mirror& mirror) {
    std::string entries;
    for (const auto& [key, record] : mirror.records) {
      if (record.has_entry()) entries += record.entry().key() + "=" + record.entry().value() + " ";
    }
    return entries;
  }
  std::string EntriesOfCatalog() {
    std::string entries;
    for (const auto& record :
         catalog::Catalog::ListEntries("", "", 100000, false, *t.machine.state()).records) {
      entries += record.entry().key() + "=" + record.entry().value() + " ";
    }
    return entries;
  }

  TestController t{WatchOptions{.history_events = 50, .message_bytes = 300}};
  std::unique_ptr<runtime::Network> view = t.fake_network.MakeView("client");
  client::ControllerClient controllers{t.executor, *view, {TestController::kEndpoint}, Prng(1)};
  client::CatalogClient client{t.executor, controllers, Prng(2)};
};

TEST_F(ClientTest, ChangesSurviveLostAnswers) {
  t.Lead();
  t.fake_network.LoseAnswers(TestController::kEndpoint, 1);
  pb::PutEntryRequest put;
  put.set_key("k");
  put.set_if_absent(true);
  std::optional<StatusOr<pb::ChangeResponse>> answer;
  client.PutEntry(put, seconds(5), [&](auto a) { answer = std::move(a); });
  t.executor.Advance(seconds(1));
  // The first copy was done; the second is answered the same instead of "it exists".
  ASSERT_TRUE(answer && answer->ok()) << answer->status();
  EXPECT_EQ(catalog::Catalog::GetEntry("k", *t.machine.state())->entry().version(), 1u);
}

TEST_F(ClientTest, AWatchFollowsThroughLeaderChangesAndLostHistory) {
  t.Lead();
  Mirror mirror;
  client::CatalogWatch watch(t.executor, *view, controllers, {}, mirror, Prng(4));
  for (int i = 0; i < 5; ++i) (void)t.Put("k" + std::to_string(i), "v");
  watch.Start();
  t.executor.Advance(milliseconds(20));
  EXPECT_EQ(mirror.snapshots, 1);
  EXPECT_EQ(EntriesOf(mirror), EntriesOfCatalog());
  EXPECT_TRUE(mirror.records.contains("controller 3"));

  (void)t.Put("k1", "w");
  t.executor.Advance(milliseconds(20));
  EXPECT_EQ(EntriesOf(mirror), EntriesOfCatalog());

  // Leadership is lost and won again: the same history, no new snapshot.
  t.Follow(8, 0);
  t.Lead(9);
  (void)t.Put("k2", "w");
  t.executor.Advance(seconds(3));
  EXPECT_EQ(EntriesOf(mirror), EntriesOfCatalog());
  EXPECT_EQ(mirror.snapshots, 1);

  // More happens than is kept while the watch is cut off.
  t.fake_network.SetDown(TestController::kEndpoint, true);
  t.executor.Advance(milliseconds(10));
  pb::PutEntryRequest put;
  for (int i = 0; i < 60; ++i) {
    ipb::CatalogCommand command;
    command.mutable_put_entry()->set_key("n" + std::to_string(i));
    t.access.Propose(std::move(command), [](auto) {});
  }
  t.executor.Advance(milliseconds(10));
  t.fake_network.SetDown(TestController::kEndpoint, false);
  t.executor.Advance(seconds(5));
  EXPECT_EQ(mirror.snapshots, 2);
  EXPECT_EQ(EntriesOf(mirror), EntriesOfCatalog());
  EXPECT_EQ(mirror.last, t.access.applied());
}

// Writes, cuts and leader changes in random order: the mirror never sees a change twice or out of order
// (checked in it), and in the end is equal.
TEST_F(ClientTest, AWatchIsAMirrorWhateverHappens) {
  t.Lead();
  Prng prng(7);
  uint64_t term = 7;
  Mirror mirror;
  client::CatalogWatch watch(t.executor, *view, controllers, {}, mirror, Prng(4));
  watch.Start();
  for (int i = 0; i < 600; ++i) {
    switch (prng.Below(12)) {
      case 0:
        t.fake_network.CutStreams(TestController::kEndpoint);
        break;
      case 1:
        t.Follow(++term, 0);
        t.Lead(++term);
        break;
      case 2: {
        pb::DeleteEntryRequest erase;
        erase.set_key("k" + std::to_string(prng.Below(20)));
        (void)t.Call<pb::ChangeResponse>("tenure.v1.Catalog/DeleteEntry", erase);
        break;
      }
      default:
        (void)t.Put("k" + std::to_string(prng.Below(20)), std::to_string(i));
    }
    if (prng.Chance(1, 4)) t.executor.Advance(milliseconds(prng.Below(60)));
  }
  t.executor.Advance(seconds(5));
  EXPECT_EQ(EntriesOf(mirror), EntriesOfCatalog());
  EXPECT_GT(mirror.changes, 100);
}

TEST_F(ClientTest, AStreamCarriesWritesThroughLeaderChanges) {
  t.Lead();
  client::CatalogStream stream(t.executor, *view, controllers, Prng(5), seconds(30));
  Prng prng(9);
  uint64_t term = 7;
  int answered = 0;
  std::map<uint64_t, int> revisions;
  for (int i = 0; i < 500; ++i) {
    pb::StreamRequest request;
    request.mutable_put()->set_key("counter");
    request.mutable_put()->set_value(std::to_string(i));
    stream.Send(std::move(request), [&](StatusOr<pb::StreamResponse> response) {
      ASSERT_TRUE(response.ok()) << response.status();
      ++answered;
      ++revisions[response->change().revision()];
    });
    if (prng.Chance(1, 20)) t.fake_network.CutStreams(TestController::kEndpoint);
    if (prng.Chance(1, 40)) {
      t.Follow(++term, 0);
      t.Lead(++term);
    }
    if (prng.Chance(1, 3)) t.executor.Advance(milliseconds(prng.Below(30)));
  }
  t.executor.Advance(seconds(10));
  EXPECT_EQ(answered, 500);
  EXPECT_EQ(revisions.size(), 500u);  // each took effect once
  EXPECT_EQ(catalog::Catalog::GetEntry("counter", *t.machine.state())->entry().version(), 500u);
}

}  // namespace
}  // namespace tenure::controller
