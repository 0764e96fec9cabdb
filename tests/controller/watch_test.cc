#include "controller/api/watch_hub.h"

#include <gtest/gtest.h>

#include "catalog/entries.h"
#include "catalog/refusal.h"
#include "tests/controller/test_controller.h"

namespace tenure::controller {
namespace {

using catalog::ReasonOf;
using catalog::RefusalOf;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct Watcher {
  Watcher(TestController& t, uint64_t after, std::vector<pb::RecordKind> kinds = {},
          const std::string& prefix = "") {
    stream = t.network->OpenStream(TestController::kEndpoint, "tenure.v1.Catalog/Watch", heard, {});
    pb::WatchRequest request;
    request.set_after_revision(after);
    for (const auto kind : kinds) request.add_kinds(kind);
    request.set_prefix(prefix);
    stream->Send(request.SerializeAsString());
    t.executor.Advance(milliseconds(1));
  }
  std::vector<pb::Event> Events() const {
    std::vector<pb::Event> events;
    for (const auto& message : heard.messages) {
      events.insert(events.end(), message.events().begin(), message.events().end());
    }
    return events;
  }
  std::string Keys() const {
    std::string keys;
    for (const auto& event : Events()) keys += event.new_record().entry().key() + " ";
    return keys;
  }
  uint64_t Progress() const { return heard.messages.empty() ? 0 : heard.messages.back().progress_revision(); }

  StreamRecorder<pb::WatchResponse> heard;
  std::unique_ptr<runtime::Stream> stream;
};

TEST(Watch, FromNowBeginsWithTheRevision) {
  TestController t;
  t.Lead();
  const auto put = t.Put("before", "v");
  Watcher w(t, 0);
  ASSERT_EQ(w.heard.messages.size(), 1u);
  EXPECT_EQ(w.heard.messages[0].events_size(), 0);
  EXPECT_EQ(w.Progress(), put->revision());
  (void)t.Put("a", "1");
  const auto last = t.Put("b", "2");
  EXPECT_EQ(w.Keys(), "a b ");
  EXPECT_EQ(w.Progress(), last->revision());
}

TEST(Watch, FromARevisionSendsWhatCameAfter) {
  TestController t;
  t.Lead();
  const auto a = t.Put("a", "1");
  (void)t.Put("b", "2");
  Watcher w(t, a->revision());
  (void)t.Put("c", "3");
  EXPECT_EQ(w.Keys(), "b c ");
  // The whole history from the beginning, the cluster's records too.
  Watcher all(t, 1, {pb::RECORD_ENTRY});
  EXPECT_EQ(all.Keys(), "a b c ");
}

TEST(Watch, FiltersByKindAndPrefix) {
  TestController t;
  t.Lead();
  Watcher entries(t, 0, {pb::RECORD_ENTRY}, "x/");
  Watcher nodes(t, 0, {pb::RECORD_NODE, pb::RECORD_DATABASE});
  (void)t.Put("x/1", "");
  (void)t.Put("y/1", "");
  FakeNode node(t, "n1");
  node.Register();
  EXPECT_EQ(entries.Keys(), "x/1 ");
  ASSERT_EQ(nodes.Events().size(), 1u);
  EXPECT_EQ(nodes.Events()[0].new_record().node().uuid(), "n1");
}

// W1, for a batch: its events of entries and of records come in two lists.
TEST(Watch, EntriesAndRecordsInterleaveAsInTheLog) {
  TestController t;
  t.Lead();
  const uint64_t last = t.Put("before", "v")->revision();
  Watcher w(t, last);
  catalog::Events events;
  const catalog::EntryHead head{.create_revision = 1, .modify_revision = 2, .version = 3, .value = "v"};
  for (const uint64_t number : {1u, 3u, 4u, 7u}) {
    events.entries.push_back(
        catalog::MakeEntryEvent(Revision(last + number), std::to_string(number), nullptr, &head));
  }
  for (const uint64_t number : {2u, 2u, 5u, 6u}) {
    pb::Event& event = events.records.emplace_back();
    event.set_revision(last + number);
    event.mutable_new_record()->mutable_database()->set_id(number);
  }
  t.watches.Take(std::move(events));
  t.executor.Advance(milliseconds(1));
  std::vector<uint64_t> numbers;
  for (const pb::Event& event : w.Events()) {
    numbers.push_back(event.revision() - last);
    EXPECT_EQ(event.new_record().has_entry() ? event.new_record().entry().key()
                                             : std::to_string(event.new_record().database().id()),
              std::to_string(numbers.back()));
  }
  EXPECT_EQ(numbers, (std::vector<uint64_t>{1, 2, 2, 3, 4, 5, 6, 7}));
}

TEST(Watch, ProgressMarksWithoutEvents) {
  TestController t;
  t.Lead();
  Watcher w(t, 0, {pb::RECORD_NODE});
  const auto put = t.Put("a", "1");
  t.executor.Advance(seconds(1));
  EXPECT_EQ(w.Progress(), put->revision());
  const size_t messages = w.heard.messages.size();
  t.executor.Advance(seconds(5));
  EXPECT_EQ(w.heard.messages.size(), messages);  // nothing moved: nothing said
}

// Of a catalog that goes on from an older revision: events up to `after` would be passed over in silence.
TEST(Watch, RevisionsToComeAreOutOfRange) {
  TestController t;
  t.Lead();
  const uint64_t now = t.Put("k", "")->revision();
  Watcher ahead(t, now + 1);
  ASSERT_TRUE(ahead.heard.closed);
  EXPECT_EQ(ReasonOf(*ahead.heard.closed), pb::REASON_OUT_OF_RANGE);
  EXPECT_EQ(RefusalOf(*ahead.heard.closed)->revision(), now);
  Watcher present(t, now);
  EXPECT_FALSE(present.heard.closed);
}

TEST(Watch, OldRevisionsAreOutOfRange) {
  WatchOptions options;
  options.history_events = 10;
  TestController t(options);
  t.Lead();
  const auto first = t.Put("k0", "");
  for (int i = 1; i <= 20; ++i) (void)t.Put("k" + std::to_string(i), "");
  Watcher w(t, first->revision());
  ASSERT_TRUE(w.heard.closed);
  EXPECT_EQ(ReasonOf(*w.heard.closed), pb::REASON_OUT_OF_RANGE);
  EXPECT_EQ(RefusalOf(*w.heard.closed)->revision(), t.access.applied().value());
  Watcher edge(t, t.watches.history_from().value());
  EXPECT_EQ(edge.Events().size(), 10u);
}

TEST(Watch, HistoryIsBoundedByBytes) {
  WatchOptions options;
  options.history_bytes = 100 << 10;
  TestController t(options);
  t.Lead();
  for (int i = 0; i < 50; ++i) (void)t.Put("k", std::string(10 << 10, 'x'));
  Watcher w(t, t.watches.history_from().value());
  EXPECT_LT(w.Events().size(), 6u);
  EXPECT_GT(w.Events().size(), 2u);
}

TEST(Watch, LongHistoriesComeInSeveralMessagesWithTrueProgress) {
  WatchOptions options;
  options.message_bytes = 500;
  TestController t(options);
  t.Lead();
  const uint64_t from = t.access.applied().value();
  for (int i = 0; i < 50; ++i) (void)t.Put("k" + std::to_string(i), std::string(100, 'x'));
  Watcher w(t, from);
  EXPECT_EQ(w.Events().size(), 50u);
  EXPECT_GT(w.heard.messages.size(), 5u);
  uint64_t progress = 0;
  for (const auto& message : w.heard.messages) {
    for (const auto& event : message.events()) EXPECT_GT(event.revision(), progress);  // W2
    EXPECT_GE(message.progress_revision(), progress);
    progress = message.progress_revision();
  }
  EXPECT_EQ(progress, t.access.applied().value());
}

TEST(Watch, ASlowWatcherIsSentNothingAndCatchesUp) {
  TestController t;
  t.Lead();
  Watcher w(t, 0);
  t.fake_network.set_server_buffer(2 << 20);
  for (int i = 0; i < 5; ++i) (void)t.Put("k" + std::to_string(i), "");
  EXPECT_EQ(w.Keys(), "");
  t.fake_network.set_server_buffer(0);
  t.executor.Advance(milliseconds(50));
  EXPECT_EQ(w.Keys(), "k0 k1 k2 k3 k4 ");
}

TEST(Watch, ASlowWatcherIsCutOff) {
  WatchOptions options;
  options.history_events = 10;
  TestController t(options);
  t.Lead();
  Watcher behind(t, 0);
  t.fake_network.set_server_buffer(2 << 20);
  for (int i = 0; i < 20; ++i) (void)t.Put("k", "");
  t.executor.Advance(milliseconds(50));
  ASSERT_TRUE(behind.heard.closed);
  EXPECT_EQ(ReasonOf(*behind.heard.closed), pb::REASON_OUT_OF_RANGE);

  Watcher stalled(t, 0);
  (void)t.Put("k", "");
  t.executor.Advance(seconds(31));
  ASSERT_TRUE(stalled.heard.closed);
  EXPECT_EQ(ReasonOf(*stalled.heard.closed), pb::REASON_OVERLOADED);
  EXPECT_EQ(t.watches.streams(), 0u);
}

TEST(Watch, EndsWithLeadership) {
  TestController t;
  t.Lead();
  Watcher w(t, 0);
  t.Follow(8, 3);
  ASSERT_TRUE(w.heard.closed);
  EXPECT_EQ(RefusalOf(*w.heard.closed)->not_leader().leader_address(), "c3:7100");
  Watcher refused(t, 0);
  ASSERT_TRUE(refused.heard.closed);
  EXPECT_EQ(ReasonOf(*refused.heard.closed), pb::REASON_NOT_LEADER);
}

TEST(Watch, BadRequestsEndTheStream) {
  TestController t;
  t.Lead();
  Watcher twice(t, 0);
  twice.stream->Send(pb::WatchRequest().SerializeAsString());
  t.executor.Advance(milliseconds(1));
  EXPECT_EQ(ReasonOf(*twice.heard.closed), pb::REASON_INVALID_ARGUMENT);
  Watcher gone(t, 0);
  gone.stream.reset();
  t.executor.Advance(milliseconds(1));
  EXPECT_EQ(t.watches.streams(), 0u);
}

}  // namespace
}  // namespace tenure::controller
