// Tasks of procedures on nodes: replicas made and destroyed, through slow disks, changes of leaders and
// restarts.
#include <gmock/gmock.h>

#include "tests/node/test_cluster.h"

namespace tenure::node {
namespace {

using ::testing::HasSubstr;

class TasksTest : public TestCluster {
 protected:
  // Nodes without regions.
  void StartNodes() {
    for (auto& node : nodes_) {
      node->Start();
      executor_.Advance(10ms);
    }
    controllers_.PutDatabase(1, "default");
    executor_.Advance(200ms);
  }
  std::string ErrorOf(uint64_t node, uint64_t procedure) {
    return controllers_.tasks[node][procedure].error();
  }
  bool Runs(int node, uint64_t region) { return at(node).node().groups().Runs(GroupId(region)); }
  bool HasState(int node, uint64_t region) {
    const std::string prefix = group::GroupHost::StatePrefix(GroupId(region));
    return at(node).engine().NewIterator(prefix, kv::PrefixEnd(prefix))->Valid();
  }
  size_t ReportsOf(uint64_t node) {
    return static_cast<size_t>(
        std::count_if(controllers_.reports.begin(), controllers_.reports.end(),
                      [node](const auto& report) { return report.node_id() == node; }));
  }
  // How many reports have named a state of that task.
  size_t Told(uint64_t node, uint64_t procedure, ipb::TaskState state) {
    size_t count = 0;
    for (const auto& report : controllers_.reports) {
      if (report.node_id() != node || report.full()) continue;
      for (const auto& task : report.tasks()) {
        count += task.key().procedure() == procedure && task.state() == state ? 1 : 0;
      }
    }
    return count;
  }
};

TEST_F(TasksTest, MakesTheReplicasOfANewRegion) {
  StartNodes();
  controllers_.PutRegion(1, 1, 0, 16383, {1, 2, 3}, pb::REGION_CREATING);
  controllers_.CreateReplicas(1);
  executor_.Advance(1500ms);
  for (int i = 1; i <= 3; ++i) {
    const auto& task = controllers_.tasks[static_cast<uint64_t>(i)][1001];
    EXPECT_EQ(task.state(), ipb::TASK_SUCCESS) << task.error();
    EXPECT_EQ(task.done(), 1u);
    EXPECT_EQ(task.total(), 1u);
  }
  EXPECT_EQ(LeaderOf(1), 1) << "the preferred leader";
  EXPECT_EQ(controllers_.last_report[1].task_epoch(), 1u);
  EXPECT_EQ(controllers_.last_report[1].task_sequence(), 1u);
}

TEST_F(TasksTest, MakesManyAndSaysHowFarItIs) {
  StartNodes();
  std::vector<std::pair<uint64_t, uint64_t>> replicas;
  for (uint64_t id = 1; id <= 200; ++id) {
    controllers_.PutRegion(id, 1, static_cast<uint32_t>(id), static_cast<uint32_t>(id), {1},
                           pb::REGION_CREATING);
    replicas.emplace_back(id, 1);
  }
  executor_.Advance(200ms);
  at(1).wal().durable = false;
  controllers_.Submit(1, 5, controllers_.Creation(replicas));
  executor_.Advance(3s);
  EXPECT_EQ(controllers_.StateOf(1, 5), ipb::TASK_PROCESSING);
  EXPECT_EQ(controllers_.tasks[1][5].done(), 0u);
  EXPECT_EQ(controllers_.tasks[1][5].total(), 200u);
  at(1).wal().Release();
  executor_.Advance(1ms);
  at(1).wal().durable = true;
  at(1).wal().Release();
  executor_.Advance(1500ms);
  EXPECT_EQ(controllers_.StateOf(1, 5), ipb::TASK_SUCCESS);
  EXPECT_EQ(controllers_.tasks[1][5].done(), 200u);
  EXPECT_EQ(at(1).node().GetStats().regions, 200u);
}

TEST_F(TasksTest, WhatIsThereAlreadyIsSuccess) {
  StartWithDatabase();
  controllers_.Submit(1, 5, controllers_.Creation({{1, 1}}));
  executor_.Advance(2s);
  EXPECT_EQ(controllers_.StateOf(1, 5), ipb::TASK_SUCCESS);
  at(1).Crash();
  at(1).Start();
  executor_.Advance(1s);
  controllers_.Submit(1, 6, controllers_.Creation({{1, 1}}));
  executor_.Advance(2s);
  EXPECT_EQ(controllers_.StateOf(1, 6), ipb::TASK_SUCCESS);
}

TEST_F(TasksTest, AFailureNamesTheFirstAndTheNumberOfThem) {
  StartNodes();
  controllers_.PutRegion(1, 1, 0, 100, {1}, pb::REGION_CREATING);
  controllers_.PutRegion(2, 1, 101, 200, {1}, pb::REGION_REMOVING);
  controllers_.PutRegion(3, 1, 201, 300, {2}, pb::REGION_CREATING);
  controllers_.Submit(1, 5, controllers_.Creation({{1, 1}, {1, 9}, {2, 1}, {3, 1}, {77, 1}}));
  executor_.Advance(2s);
  EXPECT_EQ(controllers_.StateOf(1, 5), ipb::TASK_FAIL);
  EXPECT_EQ(controllers_.tasks[1][5].done(), 1u);
  const std::string error = ErrorOf(1, 5);
  EXPECT_THAT(error,
              HasSubstr("4 of 5 replicas: region 1: the catalog's record places replica 1 on node 1, not "
                        "replica 9; region 2: it is being removed; region 3: the catalog's record places no "
                        "replica on node 1, not replica 1; ..."));
  EXPECT_TRUE(Runs(1, 1)) << "what could be made was";
}

TEST_F(TasksTest, BeginsWhenTheCatalogIsKnownFarEnough) {
  StartNodes();
  controllers_.PutRegion(1, 1, 0, 16383, {1}, pb::REGION_REMOVING);
  executor_.Advance(1s);
  controllers_.Submit(1, 5, controllers_.Destruction({{1, 1}}));
  controllers_.submits[1][0].set_revision(controllers_.revision() + 1);
  executor_.Advance(3s);
  EXPECT_EQ(controllers_.StateOf(1, 5), ipb::TASK_PROCESSING);
  // A change that this node does not keep.
  pb::Record entry;
  entry.mutable_entry()->set_key("k");
  controllers_.Put(entry);
  executor_.Advance(100ms);
  EXPECT_EQ(controllers_.StateOf(1, 5), ipb::TASK_SUCCESS);
}

TEST_F(TasksTest, ADestructionSlowerThanHeartbeats) {
  StartWithDatabase();
  ASSERT_TRUE(AdvanceUntilLed(1));
  Do(LeaderOf(1), {"SET", "a", "1"});
  executor_.Advance(1s);
  at(3).wal().durable = false;
  controllers_.PutRegion(1, 1, 0, 16383, {1, 2, 3}, pb::REGION_REMOVING);
  for (uint64_t node = 1; node <= 3; ++node)
    controllers_.Submit(node, 5, controllers_.Destruction({{1, node}}));
  const size_t before = ReportsOf(3);
  executor_.Advance(20s);
  EXPECT_GE(ReportsOf(3), before + 19) << "heartbeats go on";
  EXPECT_EQ(controllers_.StateOf(1, 5), ipb::TASK_SUCCESS);
  EXPECT_EQ(controllers_.StateOf(2, 5), ipb::TASK_SUCCESS);
  EXPECT_EQ(controllers_.StateOf(3, 5), ipb::TASK_PROCESSING);
  // The leader asks again.
  controllers_.Submit(3, 5, controllers_.Destruction({{1, 3}}));
  executor_.Advance(5s);
  EXPECT_EQ(controllers_.StateOf(3, 5), ipb::TASK_PROCESSING);
  EXPECT_FALSE(at(3).log().groups[GroupId(1)].tombstone);
  at(3).wal().durable = true;
  at(3).wal().Release();
  executor_.Advance(100ms);
  EXPECT_EQ(controllers_.StateOf(3, 5), ipb::TASK_SUCCESS) << "at once, not with the next second";
  EXPECT_EQ(Told(3, 5, ipb::TASK_SUCCESS), 1u);
  for (int i = 1; i <= 3; ++i) {
    EXPECT_TRUE(at(i).log().groups[GroupId(1)].tombstone);
    EXPECT_FALSE(Runs(i, 1));
    EXPECT_FALSE(HasState(i, 1));
  }
}

TEST_F(TasksTest, AResultIsKeptUntilItIsForgotten) {
  StartWithDatabase();
  ASSERT_EQ(controllers_.StateOf(2, 1001), ipb::TASK_SUCCESS);
  controllers_.leader_epoch = 2;
  controllers_.task_sequence = 0;
  controllers_.BreakStreams();
  executor_.Advance(1s);
  EXPECT_EQ(controllers_.StateOf(2, 1001), ipb::TASK_SUCCESS) << "in the full report to the next leader";
  controllers_.Forget(2, 1001);
  executor_.Advance(2s);
  controllers_.BreakStreams();
  executor_.Advance(1s);
  EXPECT_EQ(controllers_.StateOf(2, 1001), ipb::TASK_NOT_EXIST);
  EXPECT_EQ(controllers_.last_report[2].task_epoch(), 2u);
}

TEST_F(TasksTest, ALeaderThatComesInTheMiddleFindsTheTaskAtWork) {
  StartWithDatabase();
  controllers_.Forget(3, 1001);
  executor_.Advance(1500ms);
  at(3).wal().durable = false;
  controllers_.PutRegion(1, 1, 0, 16383, {1, 2, 3}, pb::REGION_REMOVING);
  controllers_.Submit(3, 5, controllers_.Destruction({{1, 3}}));
  executor_.Advance(2s);
  ASSERT_EQ(controllers_.StateOf(3, 5), ipb::TASK_PROCESSING);
  controllers_.leader_epoch = 2;
  controllers_.task_sequence = 0;
  controllers_.BreakStreams();
  executor_.Advance(1s);
  EXPECT_EQ(controllers_.StateOf(3, 5), ipb::TASK_PROCESSING) << "told without being asked";
  controllers_.Submit(3, 5, controllers_.Destruction({{1, 3}}));
  executor_.Advance(2s);
  EXPECT_EQ(controllers_.StateOf(3, 5), ipb::TASK_PROCESSING);
  EXPECT_EQ(controllers_.last_report[3].task_epoch(), 2u);
  EXPECT_EQ(controllers_.last_report[3].task_sequence(), 1u);
  // The leader of before is not heard any more.
  controllers_.leader_epoch = 1;
  controllers_.task_sequence = 50;
  controllers_.Forget(3, 5);
  controllers_.Submit(3, 6, controllers_.Destruction({{2, 3}}));
  executor_.Advance(2s);
  EXPECT_EQ(controllers_.StateOf(3, 6), ipb::TASK_NOT_EXIST);
  controllers_.leader_epoch = 2;
  at(3).wal().durable = true;
  at(3).wal().Release();
  executor_.Advance(1s);
  EXPECT_EQ(controllers_.StateOf(3, 5), ipb::TASK_SUCCESS);
}

TEST_F(TasksTest, ARestartKnowsNoTask) {
  StartWithDatabase();
  at(3).wal().durable = false;
  controllers_.PutRegion(1, 1, 0, 16383, {1, 2, 3}, pb::REGION_REMOVING);
  controllers_.Submit(3, 5, controllers_.Destruction({{1, 3}}));
  executor_.Advance(2s);
  ASSERT_EQ(controllers_.StateOf(3, 5), ipb::TASK_PROCESSING);
  controllers_.Submit(3, 5, controllers_.Destruction({{1, 3}}));  // meant for the process that ends now
  ipb::TaskSubmit late = controllers_.submits[3][0];
  controllers_.submits[3].clear();
  at(3).Crash();
  at(3).Start();
  executor_.Advance(1s);
  EXPECT_EQ(controllers_.StateOf(3, 5), ipb::TASK_NOT_EXIST);
  EXPECT_EQ(controllers_.last_report[3].task_sequence(), 0u);
  controllers_.submits[3].push_back(late);
  executor_.Advance(2s);
  EXPECT_EQ(controllers_.StateOf(3, 5), ipb::TASK_NOT_EXIST);
  controllers_.Submit(3, 5, controllers_.Destruction({{1, 3}}));
  executor_.Advance(2s);
  EXPECT_EQ(controllers_.StateOf(3, 5), ipb::TASK_SUCCESS);
  EXPECT_TRUE(at(3).log().groups[GroupId(1)].tombstone);
}

// The leader does not know the registration any more: the same process registers again, and is another to it.
TEST_F(TasksTest, AnotherRegistrationOfTheSameProcessKnowsNoTask) {
  StartWithDatabase();
  at(3).wal().durable = false;
  controllers_.PutRegion(1, 1, 0, 16383, {1, 2, 3}, pb::REGION_REMOVING);
  controllers_.Submit(3, 5, controllers_.Destruction({{1, 3}}));
  executor_.Advance(2s);
  ASSERT_EQ(controllers_.StateOf(3, 5), ipb::TASK_PROCESSING);
  const uint64_t before = controllers_.last_report[3].registration_epoch();
  controllers_.BreakStreams(catalog::MakeRefusal(pb::REASON_NOT_FOUND, "not registered"));
  executor_.Advance(2s);
  ASSERT_GT(controllers_.last_report[3].registration_epoch(), before);
  EXPECT_EQ(controllers_.StateOf(3, 5), ipb::TASK_NOT_EXIST);
  at(3).wal().durable = true;
  at(3).wal().Release();
  executor_.Advance(2s);
  EXPECT_EQ(controllers_.StateOf(3, 5), ipb::TASK_NOT_EXIST);
  controllers_.Submit(3, 6, controllers_.Destruction({{1, 3}}));
  executor_.Advance(2s);
  EXPECT_EQ(controllers_.StateOf(3, 6), ipb::TASK_SUCCESS) << "it was destroyed meanwhile";
}

TEST_F(TasksTest, ANewIncarnationOfTheClusterKnowsNoTask) {
  StartWithDatabase();
  ASSERT_EQ(controllers_.StateOf(1, 1001), ipb::TASK_SUCCESS);
  controllers_.leader_epoch = 7;
  executor_.Advance(2s);
  controllers_.incarnation = 2;
  controllers_.leader_epoch = 3;  // epochs begin anew
  controllers_.BreakStreams();
  executor_.Advance(2s);
  controllers_.BreakStreams();
  executor_.Advance(2s);
  EXPECT_EQ(controllers_.StateOf(1, 1001), ipb::TASK_NOT_EXIST);
  EXPECT_EQ(controllers_.last_report[1].task_epoch(), 3u);
  controllers_.Submit(1, 5, controllers_.Creation({{1, 1}}));
  executor_.Advance(2s);
  EXPECT_EQ(controllers_.StateOf(1, 5), ipb::TASK_SUCCESS);
}

TEST_F(TasksTest, AHigherReplicaThanTheOneToBeDestroyedStays) {
  StartNodes();
  controllers_.PutRegion(1, 1, 0, 16383, {1}, pb::REGION_CREATING);
  pb::Record record = controllers_.records().at({pb::RECORD_REGION, 1});
  record.mutable_region()->mutable_replicas(0)->set_id(4);
  controllers_.Put(record);
  controllers_.Submit(1, 5, controllers_.Creation({{1, 4}}));
  executor_.Advance(2s);
  ASSERT_EQ(controllers_.StateOf(1, 5), ipb::TASK_SUCCESS) << ErrorOf(1, 5);
  controllers_.Submit(1, 6, controllers_.Destruction({{1, 3}, {9, 1}}));
  executor_.Advance(2s);
  EXPECT_EQ(controllers_.StateOf(1, 6), ipb::TASK_SUCCESS) << "what is absent is destroyed";
  EXPECT_TRUE(Runs(1, 1));
  controllers_.Submit(1, 7, controllers_.Creation({{1, 5}}));
  executor_.Advance(2s);
  EXPECT_EQ(controllers_.StateOf(1, 7), ipb::TASK_FAIL);
}

// A late creation must not bring back what is gone.
TEST_F(TasksTest, WhatWasDestroyedIsNotMadeAgainUnderItsId) {
  StartNodes();
  controllers_.Submit(2, 5, controllers_.Destruction({{1, 1}}));
  executor_.Advance(2s);
  ASSERT_EQ(controllers_.StateOf(2, 5), ipb::TASK_SUCCESS);
  controllers_.PutRegion(1, 1, 0, 16383, {2}, pb::REGION_CREATING);
  controllers_.Submit(2, 6, controllers_.Creation({{1, 1}}));
  executor_.Advance(2s);
  EXPECT_EQ(controllers_.StateOf(2, 6), ipb::TASK_FAIL);
  EXPECT_THAT(ErrorOf(2, 6), HasSubstr("region 1: replica 1 was here and is gone for good"));
  EXPECT_FALSE(Runs(2, 1));
}

TEST_F(TasksTest, ATaskThatNobodyWaitsForBeginsNothingMore) {
  StartNodes();
  std::vector<std::pair<uint64_t, uint64_t>> replicas;
  for (uint64_t id = 1; id <= 200; ++id) {
    controllers_.PutRegion(id, 1, static_cast<uint32_t>(id), static_cast<uint32_t>(id), {1},
                           pb::REGION_REMOVING);
    replicas.emplace_back(id, 1);
  }
  executor_.Advance(200ms);
  at(1).wal().durable = false;
  controllers_.Submit(1, 5, controllers_.Destruction(replicas));
  executor_.Advance(2s);
  controllers_.Forget(1, 5);
  executor_.Advance(2s);
  at(1).wal().durable = true;
  at(1).wal().Release();
  executor_.Advance(2s);
  size_t buried = 0;
  for (uint64_t id = 1; id <= 200; ++id)
    buried += at(1).node().groups().IsBuried(GroupId(id), ReplicaId(1)) ? 1 : 0;
  EXPECT_EQ(buried, TaskRunner::kParallel);
  EXPECT_EQ(controllers_.StateOf(1, 5), ipb::TASK_NOT_EXIST);
}

}  // namespace
}  // namespace tenure::node
