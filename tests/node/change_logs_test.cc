// Change logs as nodes keep them: proposed by leaders, carried over to new ones, read where they are led.
#include "node/change_logs.h"

#include <gmock/gmock.h>

#include "tenure/internal/v1/node.pb.h"
#include "tests/node/test_cluster.h"

namespace tenure::node {
namespace {

namespace ipb = ::tenure::internal::v1;
using ::testing::HasSubstr;

class ChangeLogsTest : public TestCluster {
 protected:
  void Follow(uint64_t floor = 0, uint64_t revision = 10) {
    for (int i = 1; i <= 3; ++i) {
      if (at(i).running())
        at(i).node().SetFollowedDatabases({.as_of = Revision(revision), .floors = {{1, floor}}});
    }
  }
  void Unfollow(uint64_t revision = 20) {
    for (int i = 1; i <= 3; ++i)
      at(i).node().SetFollowedDatabases({.as_of = Revision(revision), .floors = {}});
  }
  int Led() {
    EXPECT_TRUE(AdvanceUntilLed(1));
    return LeaderOf(1);
  }
  ChangeLogs& logs() { return at(Led()).node().change_logs(); }
  std::string Write(const std::string& key, const std::string& value) {
    std::string answer = "none";
    at(Led()).node().Execute(kDatabase, SlotOfKey(key), {"SET", key, value}, ReadMode::kLinearizable,
                             [&answer](const Outcome& outcome) {
                               const auto* reply = std::get_if<store::Reply>(&outcome);
                               answer = reply != nullptr ? reply->text : "not executed";
                             });
    executor_.Advance(100ms);
    return answer;
  }
  ipb::BeginOfChangesResponse Begin(int node, uint64_t revision = 0) {
    ipb::BeginOfChangesRequest request;
    request.set_cluster_id("cluster-a");
    request.set_leader_epoch(controllers_.leader_epoch);
    request.set_revision(revision);
    request.add_regions(1);
    ipb::BeginOfChangesResponse response;
    fabric_.services.at(at(node).address())
        .at("tenure.internal.v1.NodeInternal")
        ->OnCall({.method = "BeginOfChanges", .peer = "test", .deadline = executor_.Now() + 5s},
                 request.SerializeAsString(), [&response](StatusOr<std::string> bytes) {
                   ASSERT_TRUE(bytes.ok()) << bytes.status();
                   EXPECT_TRUE(response.ParseFromString(*bytes));
                 });
    executor_.Advance(10ms);
    return response;
  }
};

// It may be kept for another one only, and the word that nobody follows any more be on its way.
TEST_F(ChangeLogsTest, WhatIsKeptByTheWordOfAnOlderViewIsNoBegin) {
  StartWithDatabase();
  Follow();
  executor_.Advance(2s);
  ASSERT_EQ(Begin(Led()).logs_size(), 1);
  ASSERT_EQ(Begin(Led(), 1000).failed_size(), 1);
  EXPECT_THAT(Begin(Led(), 1000).failed(0).error(), HasSubstr("1000 is needed"));
  executor_.Advance(2s);
  EXPECT_EQ(Begin(Led(), 1000).failed_size(), 1) << "the node's own view is older";
  Follow(0, 1000);
  executor_.Advance(2s);
  EXPECT_EQ(Begin(Led(), 1000).logs_size(), 1);
}

TEST_F(ChangeLogsTest, AreKeptWhereSomebodyFollows) {
  StartWithDatabase();
  EXPECT_EQ(Write("a", "1"), "OK");
  executor_.Advance(3s);
  EXPECT_EQ(Begin(Led()).failed_size(), 1);
  EXPECT_THAT(Begin(Led()).failed(0).error(), HasSubstr("keeps no change log"));
  Follow();
  executor_.Advance(2s);
  ASSERT_EQ(Begin(Led()).logs_size(), 1);
  const uint64_t begin = Begin(Led()).logs(0).begin_ts();
  EXPECT_THAT(std::string(MessageOf(logs().Read(RegionId(1), 0, begin - 1, 1000).status())),
              HasSubstr("begins at"));
  EXPECT_EQ(Write("a", "2"), "OK");
  const auto read = logs().Read(RegionId(1), 0, begin, 1000);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->changes.size(), 1u);
  EXPECT_EQ(read->changes[0].second.new_value, "2");
  // Nobody writes, and what is resolved rises all the same.
  const uint64_t resolved = read->resolved;
  executor_.Advance(3s);
  const auto later = logs().Read(RegionId(1), 0, begin, 1000);
  EXPECT_GE(later->resolved, resolved + (uint64_t{2000} << 18));
  Unfollow();
  executor_.Advance(2s);
  EXPECT_EQ(Begin(Led()).failed_size(), 1);
  EXPECT_EQ(logs().Read(RegionId(1), 0, begin, 1000).status().code(), StatusCode::kOutOfRange);
}

TEST_F(ChangeLogsTest, GoOnUnderTheNextLeader) {
  StartWithDatabase();
  Follow();
  executor_.Advance(2s);
  EXPECT_EQ(Write("a", "1"), "OK");
  const int first = Led();
  const uint64_t begin = Begin(first).logs(0).begin_ts();
  const uint64_t resolved = logs().Read(RegionId(1), 0, begin, 1000)->resolved;
  at(first).Crash();
  ASSERT_TRUE(AdvanceUntilLed(1, first));
  EXPECT_EQ(Write("b", "2"), "OK");
  const auto read = logs().Read(RegionId(1), 0, begin, 1000);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->changes.size(), 2u);
  EXPECT_GT(read->changes[1].first, resolved);
  for (int i = 1; i <= 3; ++i) {
    if (i == LeaderOf(1) || !at(i).running()) continue;
    EXPECT_EQ(at(i).node().change_logs().Read(RegionId(1), 0, begin, 1000).status().code(),
              StatusCode::kFailedPrecondition);
  }
}

TEST_F(ChangeLogsTest, AreTrimmedUpToTheFloor) {
  StartWithDatabase();
  Follow();
  executor_.Advance(2s);
  EXPECT_EQ(Write("a", "1"), "OK");
  executor_.Advance(20s);
  const auto log = Begin(Led()).logs(0);
  const uint64_t floor = log.resolved_ts() - (uint64_t{1000} << 18);
  Follow(floor);
  executor_.Advance(2s);
  EXPECT_EQ(Begin(Led()).logs(0).begin_ts(), floor);
  EXPECT_EQ(logs().Read(RegionId(1), 0, floor - 1, 1000).status().code(), StatusCode::kOutOfRange);
  EXPECT_TRUE(logs().Read(RegionId(1), 0, floor, 1000)->changes.empty());
}

TEST_F(ChangeLogsTest, AreBroughtToTheStartOfTheNewestChangefeed) {
  StartWithDatabase();
  Follow();
  executor_.Advance(2s);
  const uint64_t start = Begin(Led()).logs(0).resolved_ts() + (uint64_t{3'600'000} << 18) + 5;
  for (int i = 1; i <= 3; ++i)
    at(i).node().SetFollowedDatabases({.as_of = Revision(11), .floors = {{1, 0}}, .newest = {{1, start}}});
  executor_.Advance(2s);
  const uint64_t resolved = Begin(Led()).logs(0).resolved_ts();
  EXPECT_GT(resolved, start);
  EXPECT_EQ(Write("a", "1"), "OK");
  EXPECT_EQ(logs().Read(RegionId(1), 0, start, 1000)->changes.size(), 1u);
}

TEST_F(ChangeLogsTest, AreBroughtThereWithoutWaitingForTheTimer) {
  StartWithDatabase();
  Follow();
  executor_.Advance(2s);
  const auto set_start = [this](uint64_t revision, uint64_t start) {
    for (int i = 1; i <= 3; ++i) {
      if (at(i).running())
        at(i).node().SetFollowedDatabases(
            {.as_of = Revision(revision), .floors = {{1, 0}}, .newest = {{1, start}}});
    }
  };
  const auto resolved = [this] { return Begin(Led()).logs(0).resolved_ts(); };
  constexpr uint64_t kHour = uint64_t{3'600'000} << 18;
  // The second one is heard of while the entry for the first one is on its way.
  const uint64_t start = resolved() + kHour;
  set_start(11, start);
  set_start(12, start + kHour);
  executor_.Advance(200ms);
  EXPECT_GT(resolved(), start + kHour);
  // This one is heard of by those that do not lead.
  const int first = Led();
  at(first).Crash();
  set_start(13, start + 2 * kHour);
  ASSERT_TRUE(AdvanceUntilLed(1, first));
  executor_.Advance(100ms);
  EXPECT_GT(resolved(), start + 2 * kHour);
}

TEST_F(ChangeLogsTest, AreNotBroughtToATimeThatIsNone) {
  StartWithDatabase();
  Follow();
  executor_.Advance(2s);
  const uint64_t before = Begin(Led()).logs(0).resolved_ts();
  for (const uint64_t start : {before + (uint64_t{1} << 60), ~uint64_t{0}}) {
    for (int i = 1; i <= 3; ++i)
      at(i).node().SetFollowedDatabases({.as_of = Revision(11), .floors = {{1, 0}}, .newest = {{1, start}}});
    executor_.Advance(3s);
  }
  const uint64_t resolved = Begin(Led()).logs(0).resolved_ts();
  EXPECT_GT(resolved, before) << "it goes on by the clock";
  EXPECT_LT(resolved, before + (uint64_t{60'000} << 18));
}

TEST_F(ChangeLogsTest, ALeaderWithAnOlderViewDropsNothing) {
  StartWithDatabase();
  Follow(0, 10);
  executor_.Advance(2s);
  EXPECT_EQ(Write("a", "1"), "OK");
  Unfollow(9);
  executor_.Advance(5s);
  const auto response = Begin(Led());
  ASSERT_EQ(response.logs_size(), 1);
  EXPECT_EQ(logs().Read(RegionId(1), 0, response.logs(0).begin_ts(), 1000)->changes.size(), 1u);
}

}  // namespace
}  // namespace tenure::node
