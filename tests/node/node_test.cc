// A cluster of three nodes: commands through regions, redirects, failures, restarts.
#include <gmock/gmock.h>

#include "tests/node/test_cluster.h"

namespace tenure::node {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class NodeTest : public TestCluster {};

TEST_F(NodeTest, SaysThatThereIsNoDatabase) {
  at(1).Start();
  EXPECT_EQ(at(1).node().DownReason(DatabaseId()), "this node has not heard from a controller yet");
  executor_.Advance(100ms);
  EXPECT_EQ(at(1).node().DownReason(DatabaseId()), "no database exists yet: tenure db create default");
  EXPECT_EQ(at(1).node().FindDatabase("0"), std::nullopt);
  EXPECT_TRUE(at(1).node().Ready().ok());
}

TEST_F(NodeTest, ThePreferredLeaderOfANewRegionLeadsAtOnce) {
  for (int i = 1; i <= 3; ++i) {
    at(i).Start();
    executor_.Advance(10ms);
  }
  controllers_.PutDatabase(1, "default");
  controllers_.PutRegion(1, 1, 0, 16383, {1, 2, 3});
  controllers_.CreateReplicas(1);
  // Some of its first requests come before the others have begun; it repeats them, long before anybody's
  // timeout.
  executor_.Advance(200ms);
  EXPECT_EQ(LeaderOf(1), 1);
}

TEST_F(NodeTest, WritesAndReadsOnTheLeaderOthersRedirect) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  ASSERT_NE(leader, 0);
  const int other = leader % 3 + 1;
  EXPECT_EQ(Text(Do(leader, {"SET", "a", "1"})), "OK");
  EXPECT_EQ(Text(Do(leader, {"GET", "a"})), "1");
  EXPECT_EQ(Text(Do(other, {"GET", "a"})), "MOVED " + at(leader).resp_address());
  EXPECT_EQ(Text(Do(other, {"SET", "a", "2"})), "MOVED " + at(leader).resp_address());
  EXPECT_THAT(Text(Do(leader, {"GET", ""})), "(null)");
}

TEST_F(NodeTest, RefusesWhatIsMalformedBeforeTheLog) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  EXPECT_THAT(Text(Do(leader, {"SET", "a"})), HasSubstr("wrong number of arguments"));
  EXPECT_THAT(Text(Do(leader, {"NOSUCH", "a"})), HasSubstr("unknown command"));
  EXPECT_THAT(Text(Do(leader, {"SET", std::string(70000, 'k'), "v"})), StartsWith("ERR"));
}

// What a pipelining client sends in one go is executed in that order, reads included.
TEST_F(NodeTest, CommandsOfOneSlotKeepTheirOrder) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  auto first = Submit(leader, {"INCR", "n"});
  auto read = Submit(leader, {"GET", "n"});
  auto second = Submit(leader, {"INCR", "n"});
  auto read_again = Submit(leader, {"GET", "n"});
  EXPECT_FALSE(read->has_value());
  executor_.Advance(100ms);
  ASSERT_TRUE(first->has_value() && read->has_value() && second->has_value() && read_again->has_value());
  EXPECT_EQ(Text(**first), "1");
  EXPECT_EQ(Text(**read), "1");
  EXPECT_EQ(Text(**second), "2");
  EXPECT_EQ(Text(**read_again), "2");
}

TEST_F(NodeTest, AReadDoesNotWaitForWritesOfOtherSlots) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  auto write = Submit(leader, {"SET", "a", "1"});
  auto read = Submit(leader, {"GET", "b"});
  EXPECT_FALSE(write->has_value());
  ASSERT_TRUE(read->has_value());
  EXPECT_EQ(Text(**read), "(null)");
  executor_.Advance(100ms);
  EXPECT_TRUE(write->has_value());
}

TEST_F(NodeTest, WithoutALeaseReadsWaitForOneConfirmationAndKeepTheirPlace) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  Do(leader, {"SET", "n", "1"});
  // No follower is heard for longer than the lease lasts, for less than it takes to step down.
  fabric_.cut = {static_cast<uint64_t>(leader)};
  for (int i = 0; i < 300 && LeaderOf(1) == leader; ++i) executor_.Advance(5ms);
  ASSERT_EQ(LeaderOf(1), 0);
  auto read = Submit(leader, {"GET", "n"});
  auto write = Submit(leader, {"INCR", "n"});
  auto later = Submit(leader, {"GET", "n"});
  if (read->has_value()) GTEST_SKIP() << "it had stepped down already: " << Text(**read);
  fabric_.cut.clear();
  for (int i = 0; i < 200 && !later->has_value(); ++i) executor_.Advance(5ms);
  ASSERT_TRUE(read->has_value() && write->has_value() && later->has_value());
  if (Text(**write) == "2") {  // else leadership was lost after all
    EXPECT_EQ(Text(**read), "1");
    EXPECT_EQ(Text(**later), "2");
  }
}

TEST_F(NodeTest, TransactionsAndWatches) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  const uint16_t slot = SlotOfKey("k");
  std::optional<Outcome> outcome;
  auto take = [&](Outcome result) { outcome = std::move(result); };
  Node& node = at(leader).node();

  node.VersionOf(kDatabase, slot, "k", take);
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(Text(*outcome), "0");

  outcome.reset();
  node.ExecuteTransaction(kDatabase, slot, {{"SET", "k", "1"}, {"INCR", "k"}, {"GET", "k"}}, {{"k", 0}},
                          take);
  executor_.Advance(100ms);
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(Text(*outcome), "[OK 2 2]");

  outcome.reset();
  node.ExecuteTransaction(kDatabase, slot, {{"SET", "k", "9"}}, {{"k", 0}}, take);
  executor_.Advance(100ms);
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(Text(*outcome), "(null)");
  EXPECT_EQ(Text(Do(leader, {"GET", "k"})), "2");

  // The version includes a write that was under way when it was asked for.
  outcome.reset();
  auto write = Submit(leader, {"SET", "k", "5"});
  node.VersionOf(kDatabase, slot, "k", take);
  EXPECT_FALSE(outcome.has_value());
  executor_.Advance(100ms);
  ASSERT_TRUE(outcome.has_value());
  const uint64_t version = static_cast<uint64_t>(std::get<store::Reply>(*outcome).integer);
  outcome.reset();
  node.ExecuteTransaction(kDatabase, slot, {{"GET", "k"}}, {{"k", version}}, take);
  executor_.Advance(100ms);
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(Text(*outcome), "[5]");
}

// What a client reads behind its WATCH is what its EXEC protects, also if later writes are applied in the
// same go.
TEST_F(NodeTest, AWatchedVersionIsThatOfItsPlaceInTheLog) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  Do(leader, {"SET", "k", "0"});
  for (int i = 1; i <= 3; ++i) at(i).wal().durable = false;
  Submit(leader, {"SET", "k", "old"});
  std::optional<Outcome> version;
  at(leader).node().VersionOf(kDatabase, SlotOfKey("k"), "k",
                              [&](Outcome result) { version = std::move(result); });
  auto read = Submit(leader, {"GET", "k"});
  auto write = Submit(leader, {"SET", "k", "new"});
  executor_.Advance(100ms);
  EXPECT_FALSE(version.has_value());
  for (int i = 1; i <= 3; ++i) {
    at(i).wal().durable = true;
    at(i).wal().Release();
  }
  executor_.Advance(100ms);
  ASSERT_TRUE(version.has_value() && read->has_value() && write->has_value());
  EXPECT_EQ(Text(**read), "old");
  EXPECT_EQ(Text(**write), "OK");
  std::optional<Outcome> outcome;
  const auto watched = static_cast<uint64_t>(std::get<store::Reply>(*version).integer);
  at(leader).node().ExecuteTransaction(kDatabase, SlotOfKey("k"), {{"SET", "k", "old+1"}}, {{"k", watched}},
                                       [&](Outcome result) { outcome = std::move(result); });
  executor_.Advance(100ms);
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(Text(*outcome), "(null)");
  EXPECT_EQ(Text(Do(leader, {"GET", "k"})), "new");
}

TEST_F(NodeTest, ReplicasAnswerReadonlyClientsWhileTheyHearFromTheLeader) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  const int other = leader % 3 + 1;
  Do(leader, {"SET", "a", "1"});
  executor_.Advance(500ms);
  EXPECT_EQ(Text(Do(other, {"GET", "a"}, ReadMode::kReplica)), "1");
  EXPECT_EQ(Text(Do(other, {"SET", "a", "2"}, ReadMode::kReplica)), "MOVED " + at(leader).resp_address());
  fabric_.cut = {static_cast<uint64_t>(other)};
  executor_.Advance(6s);
  EXPECT_THAT(Text(Do(other, {"GET", "a"}, ReadMode::kReplica)), StartsWith("CLUSTERDOWN"));
}

TEST_F(NodeTest, AnotherNodeTakesOverWhenTheLeaderIsGone) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  EXPECT_EQ(Text(Do(leader, {"SET", "a", "1"})), "OK");
  at(leader).Crash();
  ASSERT_TRUE(AdvanceUntilLed(1));
  const int next = LeaderOf(1);
  EXPECT_NE(next, leader);
  EXPECT_EQ(Text(Do(next, {"GET", "a"})), "1");
  EXPECT_EQ(Text(Do(next, {"SET", "a", "2"})), "OK");
  at(leader).Start();
  executor_.Advance(3s);
  EXPECT_EQ(Text(Do(leader, {"GET", "a"})), "MOVED " + at(LeaderOf(1)).resp_address());
}

TEST_F(NodeTest, WithoutAQuorumEverythingIsAnsweredInTime) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  at(leader % 3 + 1).Crash();
  at((leader + 1) % 3 + 1).Crash();
  auto write = Submit(leader, {"SET", "a", "1"});
  const Instant begin = executor_.Now();
  for (int i = 0; i < 1000 && !write->has_value(); ++i) executor_.Advance(10ms);
  ASSERT_TRUE(write->has_value());
  EXPECT_LE(executor_.Now() - begin, 5300ms);
  EXPECT_THAT(Text(**write), StartsWith("UNKNOWN"));
  executor_.Advance(3s);
  EXPECT_THAT(Text(Do(leader, {"SET", "a", "2"})),
              HasSubstr("CLUSTERDOWN region 1 (slots 0-16383) has no leader"));
  EXPECT_THAT(Text(Do(leader, {"GET", "a"})), StartsWith("CLUSTERDOWN"));
  controllers_.unhealthy = {static_cast<uint64_t>(leader % 3 + 1)};
  executor_.Advance(2s);
  EXPECT_THAT(Text(Do(leader, {"GET", "a"})), HasSubstr("not reachable"));
  EXPECT_FALSE(at(leader).node().Ready().ok());

  at(leader % 3 + 1).Start();
  ASSERT_TRUE(AdvanceUntilLed(1));
  EXPECT_EQ(Text(Do(LeaderOf(1), {"SET", "a", "3"})), "OK");
}

// The log's disk hangs: nothing is acknowledged, the client still gets its answer.
TEST_F(NodeTest, AWriteThatDoesNotCommitIsAnsweredUnknown) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  for (int i = 1; i <= 3; ++i) at(i).wal().durable = false;
  auto write = Submit(leader, {"SET", "a", "1"});
  for (int i = 0; i < 600 && !write->has_value(); ++i) executor_.Advance(10ms);
  ASSERT_TRUE(write->has_value());
  EXPECT_THAT(Text(**write), StartsWith("UNKNOWN"));
  for (int i = 1; i <= 3; ++i) {
    at(i).wal().durable = true;
    at(i).wal().Release();
  }
  executor_.Advance(3s);
  EXPECT_EQ(Text(Do(LeaderOf(1), {"SET", "b", "1"})), "OK");
  EXPECT_EQ(at(LeaderOf(1)).node().GetStats().pending_operations, 0u);
}

TEST_F(NodeTest, AFullDiskRefusesWritesAndServesReads) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  Do(leader, {"SET", "a", "1"});
  at(leader).wal().low_on_space = true;
  EXPECT_THAT(Text(Do(leader, {"SET", "a", "2"})), StartsWith("OUTOFSPACE"));
  EXPECT_EQ(Text(Do(leader, {"GET", "a"})), "1");
}

TEST_F(NodeTest, OperationsUnderWayAreLimited) {
  for (int i = 1; i <= 3; ++i) at(i).options.max_pending_operations = 4;
  StartWithDatabase();
  const int leader = LeaderOf(1);
  std::vector<std::shared_ptr<std::optional<Outcome>>> writes;
  for (int i = 0; i < 5; ++i) writes.push_back(Submit(leader, {"SET", "a", "1"}));
  ASSERT_TRUE(writes[4]->has_value());
  EXPECT_THAT(Text(**writes[4]), StartsWith("OVERLOADED"));
  executor_.Advance(100ms);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Text(**writes[static_cast<size_t>(i)]), "OK");
}

// All processes lose power; the regions come up from the saved view while no controller answers.
TEST_F(NodeTest, ARestartedClusterServesBeforeControllersAnswer) {
  StartWithDatabase();
  EXPECT_EQ(Text(Do(LeaderOf(1), {"SET", "a", "1"})), "OK");
  executor_.Advance(1s);  // the view is saved
  controllers_.up = false;
  for (int i = 1; i <= 3; ++i) at(i).Crash();
  for (int i = 1; i <= 3; ++i) at(i).Start();
  ASSERT_TRUE(AdvanceUntilLed(1));
  EXPECT_EQ(Text(Do(LeaderOf(1), {"GET", "a"})), "1");
  EXPECT_EQ(Text(Do(LeaderOf(1), {"SET", "a", "2"})), "OK");
}

TEST_F(NodeTest, ExpiredKeysAreSwept) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  EXPECT_EQ(Text(Do(leader, {"SET", "a", "1", "PX", "500"})), "OK");
  EXPECT_EQ(Text(Do(leader, {"SET", "b", "1"})), "OK");
  EXPECT_EQ(at(leader).node().KeyCount(kDatabase), 2u);
  executor_.Advance(2s);
  EXPECT_EQ(at(leader).node().KeyCount(kDatabase), 1u);
}

TEST_F(NodeTest, ViewsFollowLeadersAndHealth) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  const ClusterView* view = at(leader).node().View(kDatabase);
  ASSERT_NE(view, nullptr);
  EXPECT_EQ(view->self, NodeId(static_cast<uint64_t>(leader)));
  ASSERT_EQ(view->nodes.size(), 3u);
  EXPECT_EQ(view->nodes[0].redis_id.size(), 40u);
  ASSERT_EQ(view->shards.size(), 1u);
  ASSERT_EQ(view->shards[0].replicas.size(), 3u);
  EXPECT_TRUE(view->shards[0].replicas[0].leader);
  EXPECT_EQ(view->shards[0].replicas[0].node, NodeId(static_cast<uint64_t>(leader)));
  const uint64_t revision = view->revision;
  EXPECT_EQ(at(leader).node().View(kDatabase)->revision, revision);
  const uint64_t other = static_cast<uint64_t>(leader % 3 + 1);
  controllers_.unhealthy = {other};
  executor_.Advance(2s);
  view = at(leader).node().View(kDatabase);
  EXPECT_GT(view->revision, revision);
  EXPECT_FALSE(view->nodes[other - 1].alive);
  EXPECT_EQ(at(leader).node().View(DatabaseId(99)), nullptr);
}

TEST_F(NodeTest, TakesLeaderships) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  const int other = leader % 3 + 1;
  std::optional<Outcome> outcome;
  at(other).node().TakeLeaderships(kDatabase, [&](Outcome result) { outcome = std::move(result); });
  executor_.Advance(3s);
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(Text(*outcome), "OK");
  EXPECT_EQ(LeaderOf(1), other);
}

// However many regions there are, and whoever does not answer: in the time of one operation.
TEST_F(NodeTest, TakesLeadershipsInTime) {
  for (int i = 1; i <= 3; ++i) {
    at(i).Start();
    executor_.Advance(10ms);
  }
  controllers_.PutDatabase(1, "default");
  for (uint64_t region = 1; region <= 100; ++region) {
    const auto first = static_cast<uint32_t>(region - 1) * 163;
    controllers_.PutRegion(region, 1, first, first + 162, {1, 2, 3});
    controllers_.CreateReplicas(region);
  }
  executor_.Advance(3s);
  ASSERT_EQ(LeaderOf(100), 1);
  fabric_.silent = {at(1).address()};
  std::optional<Outcome> outcome;
  at(2).node().TakeLeaderships(kDatabase, [&](Outcome result) { outcome = std::move(result); });
  executor_.Advance(5100ms);
  ASSERT_TRUE(outcome.has_value());
  EXPECT_THAT(Text(*outcome), HasSubstr("ERR 100 of 100 leaderships were not taken: region "));
  fabric_.silent.clear();
  outcome.reset();
  at(2).node().TakeLeaderships(kDatabase, [&](Outcome result) { outcome = std::move(result); });
  executor_.Advance(2s);
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(Text(*outcome), "OK");
  EXPECT_EQ(LeaderOf(100), 2);
}

TEST_F(NodeTest, HandsOverWhenTheControllerAsks) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  const uint64_t other = static_cast<uint64_t>(leader % 3 + 1);
  // Every node is told until the leader is: only it can do something about it.
  for (int i = 0; i < 30 && LeaderOf(1) != static_cast<int>(other); ++i) {
    ipb::TransferRegion transfer;
    transfer.set_region(1);
    transfer.set_to_replica(other);
    controllers_.transfers = {transfer};
    executor_.Advance(200ms);
  }
  EXPECT_EQ(LeaderOf(1), static_cast<int>(other));
}

TEST_F(NodeTest, ScanFindsEveryKeyOnce) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  std::set<std::string> expected;
  for (int i = 0; i < 50; ++i) {
    const std::string key = "key:" + std::to_string(i);
    const std::string tagged = "{t}:" + std::to_string(i);
    ASSERT_EQ(Text(Do(leader, {"SET", key, "v"})), "OK");
    ASSERT_EQ(Text(Do(leader, {"SET", tagged, "v"})), "OK");
    expected.insert(key);
    expected.insert(tagged);
  }
  std::multiset<std::string> found;
  uint64_t cursor = 0;
  int steps = 0;
  do {
    std::optional<Outcome> outcome;
    at(leader).node().Scan(kDatabase, cursor, 7, std::nullopt, std::nullopt,
                           [&](Outcome result) { outcome = std::move(result); });
    executor_.Drain();
    ASSERT_TRUE(outcome.has_value());
    const auto& reply = std::get<store::Reply>(*outcome);
    cursor = std::stoull(reply.elements[0].text);
    for (const auto& key : reply.elements[1].elements) found.insert(key.text);
    ASSERT_LT(++steps, 200);
  } while (cursor != 0);
  EXPECT_EQ(std::multiset<std::string>(expected.begin(), expected.end()), found);
  EXPECT_GT(steps, 10);
}

// However few of them match: nobody else runs meanwhile.
TEST_F(NodeTest, AStepOfScanLooksAtSoManyKeysInAllRegionsTogether) {
  at(1).Start();
  executor_.Advance(100ms);
  controllers_.PutDatabase(1, "default");
  for (uint64_t region = 1; region <= 4; ++region) {
    const auto first = static_cast<uint32_t>(region - 1) * 4096;
    controllers_.PutRegion(region, 1, first, first + 4095, {1});
    controllers_.CreateReplicas(region);
  }
  executor_.Advance(3s);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(Text(Do(1, {"SET", "key:" + std::to_string(i), "v"})), "OK");
  uint64_t cursor = 0;
  int steps = 0;
  do {
    std::optional<Outcome> outcome;
    at(1).node().Scan(kDatabase, cursor, 10, "nohit", std::nullopt,
                      [&](Outcome result) { outcome = std::move(result); });
    executor_.Drain();
    ASSERT_TRUE(outcome.has_value());
    const auto& reply = std::get<store::Reply>(*outcome);
    EXPECT_TRUE(reply.elements[1].elements.empty());
    cursor = std::stoull(reply.elements[0].text);
    ++steps;
  } while (cursor != 0 && steps < 20);
  EXPECT_EQ(steps, 10);
}

TEST_F(NodeTest, SlotsLedElsewhereAreNotCounted) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  Do(leader, {"SET", "a", "1"});
  EXPECT_EQ(Text(at(leader).node().CountKeysInSlot(kDatabase, SlotOfKey("a"))), "1");
  EXPECT_EQ(Text(at(leader).node().KeysInSlot(kDatabase, SlotOfKey("a"), 10)), "[a]");
  EXPECT_EQ(Text(at(leader % 3 + 1).node().CountKeysInSlot(kDatabase, SlotOfKey("a"))),
            "MOVED " + at(leader).resp_address());
  EXPECT_EQ(at(leader % 3 + 1).node().KeyCount(kDatabase), 0u);
}

}  // namespace
}  // namespace tenure::node
