// A node and its controllers: registration, reports, the catalog's changes, creation and destruction of
// replicas.
#include <gmock/gmock.h>

#include "tests/node/test_cluster.h"

namespace tenure::node {
namespace {

using ::testing::HasSubstr;

class LifeTest : public TestCluster {};

TEST_F(LifeTest, RegistersWithItsUuidAndKeepsItsId) {
  at(1).Start();
  executor_.Advance(100ms);
  at(2).Start();
  executor_.Advance(100ms);
  EXPECT_EQ(at(1).cluster_id, "cluster-a");
  ASSERT_TRUE(controllers_.last_report.contains(1));
  EXPECT_TRUE(controllers_.reports[0].full());
  at(1).Crash();
  at(1).Start();
  executor_.Advance(100ms);
  EXPECT_EQ(controllers_.records().count({pb::RECORD_NODE, 3}), 0u);
  EXPECT_EQ(controllers_.last_report[1].registration_epoch(), 3u);
}

TEST_F(LifeTest, ANodeOfAnotherClusterIsRefused) {
  at(1).cluster_id = "cluster-b";
  at(1).Start();
  executor_.Advance(1s);
  ASSERT_TRUE(at(1).refused.has_value());
  EXPECT_EQ(at(1).refused->message(), "the node belongs to cluster cluster-b, this is cluster-a");
  EXPECT_THAT(*at(1).node().DownReason(DatabaseId()), HasSubstr("cannot take part"));
  EXPECT_EQ(at(1).cluster_id, "cluster-b");
}

TEST_F(LifeTest, KeepsTryingWhileNoControllerAnswers) {
  controllers_.up = false;
  at(1).Start();
  executor_.Advance(10s);
  EXPECT_FALSE(at(1).node().Ready().ok());
  controllers_.up = true;
  executor_.Advance(3s);
  EXPECT_TRUE(at(1).node().Ready().ok()) << at(1).node().Ready();
}

TEST_F(LifeTest, WaitsForALeaderThatWarmsUp) {
  controllers_.warming_up = 6;
  at(1).Start();
  executor_.Advance(10s);
  EXPECT_EQ(controllers_.warming_up, 0);
  EXPECT_FALSE(at(1).refused.has_value());
  EXPECT_TRUE(at(1).node().Ready().ok()) << at(1).node().Ready();
}

TEST_F(LifeTest, ProbesOthersAsItIsAsked) {
  StartWithDatabase();
  at(3).Crash();
  // Itself, an unknown one, one that lives and one that does not.
  controllers_.probes[1] = {1, 2, 3, 77};
  const size_t before = controllers_.reports.size();
  executor_.Advance(2s);
  std::map<uint64_t, bool> reached;
  for (size_t i = before; i < controllers_.reports.size(); ++i) {
    for (const auto& probe : controllers_.reports[i].probes()) {
      EXPECT_EQ(controllers_.reports[i].node_id(), 1u);
      EXPECT_FALSE(reached.contains(probe.node())) << "each is reported once";
      reached[probe.node()] = probe.reached();
    }
  }
  EXPECT_EQ(reached, (std::map<uint64_t, bool>{{2, true}, {3, false}}));
}

TEST_F(LifeTest, ReportsChangesAtOnceAndOnlyThem) {
  StartWithDatabase();
  executor_.Advance(3s);
  const size_t before = controllers_.reports.size();
  executor_.Advance(3s);
  const size_t idle = controllers_.reports.size() - before;
  EXPECT_GE(idle, 8u);  // three nodes, one a second
  EXPECT_LE(idle, 10u);
  for (size_t i = before; i < controllers_.reports.size(); ++i) {
    EXPECT_FALSE(controllers_.reports[i].full());
    EXPECT_EQ(controllers_.reports[i].regions_size(), 0);
    EXPECT_EQ(controllers_.reports[i].revision(), controllers_.revision());
  }
  const int leader = LeaderOf(1);
  EXPECT_TRUE(controllers_.loads[static_cast<uint64_t>(leader)][1].is_leader());
  at(leader).Crash();
  ASSERT_TRUE(AdvanceUntilLed(1));
  executor_.Advance(50ms);
  EXPECT_TRUE(controllers_.loads[static_cast<uint64_t>(LeaderOf(1))][1].is_leader());
}

TEST_F(LifeTest, KeepsWhereTheControllersAre) {
  using ::testing::ElementsAre;
  using ::testing::Pair;
  StartWithDatabase();
  controllers_.places = {{4, "d:1"}, {5, "e:1"}};
  for (int i = 0; i < 15 && at(1).controllers_kept.empty(); ++i) executor_.Advance(100ms);
  // The fake tells whoever reports first.
  int told = 0;
  for (int n = 1; n <= 3; ++n) {
    if (at(n).controllers_kept.empty()) continue;
    ++told;
    EXPECT_THAT(at(n).controllers_kept, ElementsAre(Pair(4, "d:1"), Pair(5, "e:1")));
    EXPECT_THAT(at(n).link().known, ElementsAre("d:1", "e:1"));
  }
  EXPECT_EQ(told, 1);
}

TEST_F(LifeTest, SaysFarewell) {
  StartWithDatabase();
  at(1).Crash();  // an orderly stop without time to hand over
  EXPECT_TRUE(controllers_.last_report[1].stopping());
  EXPECT_FALSE(controllers_.last_report[2].stopping());
}

TEST_F(LifeTest, AFarewellWaitsForWhoeverLeadsNext) {
  StartWithDatabase();
  // Nobody leads the controllers.
  controllers_.up = false;
  controllers_.BreakStreams();
  executor_.Advance(5s);  // it tries again every two seconds by now
  bool stopped = false;
  at(1).node().Stop(3s, [&] { stopped = true; });
  executor_.Advance(1500ms);
  EXPECT_FALSE(stopped);
  EXPECT_FALSE(controllers_.last_report[1].stopping());
  controllers_.up = true;
  executor_.Advance(500ms);
  EXPECT_TRUE(stopped);
  EXPECT_TRUE(controllers_.last_report[1].stopping());
}

TEST_F(LifeTest, AFarewellIsSaidUntilItIsRecorded) {
  StartWithDatabase();
  controllers_.record_farewells = false;
  bool stopped = false;
  at(1).node().Stop(3s, [&] { stopped = true; });
  executor_.Advance(1s);
  EXPECT_TRUE(controllers_.last_report[1].stopping());
  EXPECT_FALSE(stopped);
  // That leader is gone before its catalog says so; the next one hears it with the first word.
  controllers_.last_report.clear();
  controllers_.BreakStreams();
  controllers_.record_farewells = true;
  executor_.Advance(500ms);
  EXPECT_TRUE(controllers_.last_report[1].stopping());
  EXPECT_TRUE(controllers_.last_report[1].full());
  EXPECT_TRUE(stopped);
}

TEST_F(LifeTest, AFarewellThatNobodyTakesEndsInTime) {
  StartWithDatabase();
  controllers_.up = false;
  controllers_.BreakStreams();
  executor_.Advance(100ms);
  bool stopped = false;
  at(1).node().Stop(3s, [&] { stopped = true; });
  executor_.Advance(2900ms);
  EXPECT_FALSE(stopped);
  executor_.Advance(200ms);
  EXPECT_TRUE(stopped);
}

TEST_F(LifeTest, WithoutARegistrationThereIsNoFarewell) {
  controllers_.up = false;
  at(1).Start();
  executor_.Advance(1s);
  bool stopped = false;
  at(1).node().Stop(3s, [&] { stopped = true; });
  executor_.Advance(100ms);
  EXPECT_TRUE(stopped);
}

TEST_F(LifeTest, AStopHandsLeadershipsOver) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  bool stopped = false;
  at(leader).node().Stop(3s, [&] { stopped = true; });
  for (int i = 0; i < 100 && !stopped; ++i) executor_.Advance(10ms);
  EXPECT_TRUE(stopped);
  executor_.Advance(200ms);
  EXPECT_NE(LeaderOf(1), 0);
  EXPECT_NE(LeaderOf(1), leader);
}

TEST_F(LifeTest, ReconnectsAndReportsInFull) {
  StartWithDatabase();
  const size_t before = controllers_.reports.size();
  controllers_.leader_epoch = 2;
  controllers_.BreakStreams();
  executor_.Advance(500ms);
  ASSERT_GT(controllers_.reports.size(), before);
  bool full = false;
  for (size_t i = before; i < controllers_.reports.size(); ++i) {
    full = full || (controllers_.reports[i].full() && controllers_.reports[i].regions_size() == 1);
  }
  EXPECT_TRUE(full);
  executor_.Advance(2s);
  EXPECT_EQ(controllers_.last_report[1].leader_epoch(), 2u);
}

TEST_F(LifeTest, ListsAgainWhenTheWatchCannotGoOn) {
  StartWithDatabase();
  at(3).link().cut = true;
  controllers_.BreakStreams();
  executor_.Advance(1s);
  controllers_.PutDatabase(2, "other");
  controllers_.history_from = controllers_.revision();
  controllers_.Delete(pb::RECORD_DATABASE, 2);
  controllers_.PutDatabase(3, "third");
  at(3).link().cut = false;
  executor_.Advance(5s);
  EXPECT_EQ(at(3).node().FindDatabase("third"), DatabaseId(3));
  EXPECT_EQ(at(3).node().FindDatabase("other"), std::nullopt);
}

TEST_F(LifeTest, ReplicasThatGoWaitForTheirTask) {
  StartWithDatabase();
  controllers_.PutRegion(1, 1, 0, 16383, {1, 2, 3}, pb::REGION_REMOVING);
  executor_.Advance(10s);
  for (int i = 1; i <= 3; ++i) EXPECT_FALSE(at(i).log().groups[GroupId(1)].tombstone);
  // One that does not run waits as well.
  at(2).Crash();
  at(2).Start();
  executor_.Advance(10s);
  EXPECT_FALSE(at(2).log().groups[GroupId(1)].tombstone);
  EXPECT_FALSE(at(2).node().groups().Runs(GroupId(1)));
  for (uint64_t node = 1; node <= 3; ++node) {
    controllers_.Submit(node, 5, controllers_.Destruction({{1, node}}));
  }
  executor_.Advance(2s);
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(controllers_.StateOf(static_cast<uint64_t>(i), 5), ipb::TASK_SUCCESS);
    EXPECT_TRUE(at(i).log().groups[GroupId(1)].tombstone);
  }
  controllers_.Delete(pb::RECORD_REGION, 1);
  executor_.Advance(2s);
  EXPECT_THAT(Text(Do(1, {"GET", "a"})), HasSubstr("CLUSTERDOWN slot"));
}

TEST_F(LifeTest, AReplicaOfAMergedRegionRunsAgainForItsHistory) {
  StartWithDatabase();
  pb::Record record = controllers_.records().at({pb::RECORD_REGION, 1});
  record.mutable_region()->set_state(pb::REGION_REMOVING);
  record.mutable_region()->add_generations()->set_end_ts(1000);
  controllers_.Put(record);
  executor_.Advance(1s);
  at(2).Crash();
  at(2).Start();
  executor_.Advance(5s);
  EXPECT_TRUE(at(2).node().groups().Runs(GroupId(1)));
  controllers_.Submit(2, 5, controllers_.Destruction({{1, 2}}));
  executor_.Advance(2s);
  EXPECT_EQ(controllers_.StateOf(2, 5), ipb::TASK_SUCCESS);
  EXPECT_TRUE(at(2).log().groups[GroupId(1)].tombstone);
}

TEST_F(LifeTest, AReplicaThatLeavesWaitsForItsTask) {
  StartWithDatabase();
  pb::Record record = controllers_.records().at({pb::RECORD_REGION, 1});
  *record.mutable_region()->add_leaving() = record.region().replicas(2);
  record.mutable_region()->mutable_replicas()->RemoveLast();
  controllers_.Put(record);
  executor_.Advance(10s);
  EXPECT_FALSE(at(3).log().groups[GroupId(1)].tombstone);
  // This node was declared lost, nobody waits for it.
  record.mutable_region()->clear_leaving();
  controllers_.Put(record);
  executor_.Advance(1s);
  EXPECT_TRUE(at(3).log().groups[GroupId(1)].tombstone);
  EXPECT_FALSE(at(1).log().groups[GroupId(1)].tombstone);
}

// What could not be removed is removed later, and was that replica and no other.
TEST_F(LifeTest, AReplicaComesAfterOneWhoseFilesStayedForAWhile) {
  StartWithDatabase();
  pb::Record record = controllers_.records().at({pb::RECORD_REGION, 1});
  const pb::ReplicaRecord gone = record.region().replicas(2);
  record.mutable_region()->set_next_replica(gone.id() + 1);
  record.mutable_region()->mutable_replicas()->RemoveLast();
  at(3).disk().lists = false;
  controllers_.Put(record);
  executor_.Advance(12s);  // it is tried again meanwhile
  EXPECT_FALSE(at(3).node().groups().Runs(GroupId(1)));
  EXPECT_TRUE(at(3).node().groups().IsBuried(GroupId(1), ReplicaId(gone.id())));
  EXPECT_FALSE(at(3).node().groups().IsBuried(GroupId(1), ReplicaId(gone.id() + 1)));
  pb::ReplicaRecord& next = *record.mutable_region()->add_joining();
  next = gone;
  next.set_id(gone.id() + 1);
  next.set_role(pb::REPLICA_LEARNER);
  record.mutable_region()->set_next_replica(gone.id() + 2);
  controllers_.Put(record);
  executor_.Advance(1s);
  controllers_.Submit(3, 5, controllers_.Creation({{1, next.id()}}));
  executor_.Advance(1s);
  EXPECT_FALSE(at(3).node().groups().Runs(GroupId(1)));
  at(3).disk().lists = true;
  executor_.Advance(6s);
  controllers_.Submit(3, 6, controllers_.Creation({{1, next.id()}}));
  executor_.Advance(1s);
  EXPECT_EQ(controllers_.StateOf(3, 6), ipb::TASK_SUCCESS);
  EXPECT_TRUE(at(3).node().groups().Runs(GroupId(1)));
}

// Its record is of before another became a voter, which nobody but the leader that is cut off could report.
TEST_F(LifeTest, WithoutALeaseALeaderHandsOverToAVoterOfItsLog) {
  StartWithDatabase();
  ASSERT_TRUE(AdvanceUntilLed(1));
  const int leader = LeaderOf(1);
  const int other = leader % 3 + 1;
  const int gone = other % 3 + 1;
  pb::Record record = controllers_.records().at({pb::RECORD_REGION, 1});
  record.mutable_region()->mutable_replicas(other - 1)->set_role(pb::REPLICA_LEARNER);
  controllers_.Put(record);
  executor_.Advance(1s);
  at(gone).Crash();
  at(leader).link().cut = true;
  controllers_.BreakStreams();
  executor_.Advance(20s);
  EXPECT_EQ(LeaderOf(1), other);
}

TEST_F(LifeTest, MakesNothingByItself) {
  StartWithDatabase();
  controllers_.PutRegion(2, 1, 0, 0, {1, 2, 3}, pb::REGION_CREATING);
  executor_.Advance(10s);
  for (int i = 1; i <= 3; ++i) EXPECT_FALSE(at(i).node().groups().Runs(GroupId(2)));
}

// The node slept through the whole removal.
TEST_F(LifeTest, DestroysWhatACurrentListDoesNotName) {
  StartWithDatabase();
  executor_.Advance(1s);
  at(3).Crash();
  controllers_.PutRegion(1, 1, 0, 16383, {1, 2, 3}, pb::REGION_REMOVING);
  executor_.Advance(1s);
  controllers_.Delete(pb::RECORD_REGION, 1);
  controllers_.history_from = controllers_.revision();
  controllers_.up = false;
  at(3).Start();
  executor_.Advance(2s);
  EXPECT_TRUE(at(3).node().groups().Runs(GroupId(1)));  // nobody said that it may go
  controllers_.up = true;
  executor_.Advance(5s);
  EXPECT_FALSE(at(3).node().groups().Runs(GroupId(1)));
  EXPECT_TRUE(at(3).log().groups[GroupId(1)].tombstone);
}

// The saved view may be older than the replicas: the file was lost.
TEST_F(LifeTest, DestroysNothingOnTheWordOfTheSavedView) {
  StartWithDatabase();
  executor_.Advance(1s);
  controllers_.up = false;
  at(3).Crash();
  at(3).disk().files.clear();
  at(3).Start();
  executor_.Advance(20s);
  EXPECT_FALSE(at(3).log().groups[GroupId(1)].tombstone);
  EXPECT_FALSE(at(3).node().groups().Runs(GroupId(1)));
  controllers_.up = true;
  executor_.Advance(5s);
  EXPECT_TRUE(at(3).node().groups().Runs(GroupId(1)));
}

// Controllers that answer for this cluster with a catalog from yesterday.
TEST_F(LifeTest, ACatalogThatWentBackIsNotBelieved) {
  StartWithDatabase();
  executor_.Advance(1s);
  at(3).Crash();
  FakeControllers restored(executor_);
  TestNode node(fabric_, restored, 3);
  // Same data directory as node 3.
  node.disk().files = at(3).disk().files;
  node.log() = at(3).log();
  node.cluster_id = at(3).cluster_id;
  pb::NodeRecord self;
  self.set_id(3);
  self.set_uuid("uuid-3");
  restored.PutNode(self);
  node.Start();
  executor_.Advance(10s);
  EXPECT_LT(restored.revision(), controllers_.revision());
  EXPECT_FALSE(node.log().groups[GroupId(1)].tombstone);
  EXPECT_TRUE(node.node().groups().Runs(GroupId(1)));
  node.Crash();
}

TEST_F(LifeTest, ADamagedViewIsAsNone) {
  StartWithDatabase();
  executor_.Advance(1s);
  at(2).Crash();
  at(2).disk().files["catalog-view"][20] ^= 1;
  at(2).Start();
  executor_.Advance(3s);
  EXPECT_TRUE(at(2).node().groups().Runs(GroupId(1)));
  EXPECT_EQ(at(2).node().catalog().revision().value(), controllers_.revision());
}

}  // namespace
}  // namespace tenure::node
