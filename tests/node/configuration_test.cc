// A region's configuration as nodes report and change it: replicas that join, catch up, vote and leave.
#include <gmock/gmock.h>

#include "tenure/internal/v1/node.pb.h"
#include "tests/node/test_cluster.h"

namespace tenure::node {
namespace {

using ::testing::HasSubstr;

class ConfigurationTest : public TestCluster {
 protected:
  ConfigurationTest() : TestCluster(4) {}

  struct Answer {
    Status status;
    uint64_t index = 0;
  };
  static pb::ReplicaRecord Replica(uint64_t id, uint64_t node, pb::ReplicaRole role = pb::REPLICA_VOTER) {
    pb::ReplicaRecord replica;
    replica.set_id(id);
    replica.set_node(node);
    replica.set_role(role);
    return replica;
  }
  ipb::ChangeConfigurationRequest Request(uint64_t if_index, const std::vector<pb::ReplicaRecord>& replicas) {
    ipb::ChangeConfigurationRequest request;
    request.set_cluster_id("cluster-a");
    request.set_leader_epoch(controllers_.leader_epoch);
    request.set_region(1);
    request.set_if_index(if_index);
    for (const pb::ReplicaRecord& replica : replicas) *request.add_replicas() = replica;
    return request;
  }
  Answer Ask(int node, const ipb::ChangeConfigurationRequest& request, Duration limit = 5s) {
    std::optional<Answer> answer;
    fabric_.services.at(at(node).address())
        .at("tenure.internal.v1.NodeInternal")
        ->OnCall({.method = "ChangeConfiguration", .peer = "test", .deadline = executor_.Now() + limit},
                 request.SerializeAsString(), [&answer](StatusOr<std::string> bytes) {
                   answer.emplace();
                   answer->status = bytes.status();
                   ipb::ChangeConfigurationResponse response;
                   if (bytes.ok() && response.ParseFromString(*bytes)) answer->index = response.index();
                 });
    for (int i = 0; i < 1200 && !answer; ++i) executor_.Advance(10ms);
    EXPECT_TRUE(answer.has_value()) << "no answer";
    return answer.value_or(Answer{absl::UnknownError("no answer"), 0});
  }
  // Replica 4 on node 4 joins by the catalog's record, and is made.
  void Join() {
    pb::Record record = controllers_.records().at({pb::RECORD_REGION, 1});
    *record.mutable_region()->add_joining() = Replica(4, 4, pb::REPLICA_LEARNER);
    controllers_.Put(record);
    controllers_.Submit(4, 5, controllers_.Creation({{1, 4}}));
    executor_.Advance(1500ms);
    ASSERT_EQ(controllers_.StateOf(4, 5), ipb::TASK_SUCCESS) << controllers_.tasks[4][5].error();
  }
  std::vector<pb::ReplicaRecord> Voters() { return {Replica(1, 1), Replica(2, 2), Replica(3, 3)}; }
  std::vector<pb::ReplicaRecord> WithLearner() {
    auto replicas = Voters();
    replicas.push_back(Replica(4, 4, pb::REPLICA_LEARNER));
    return replicas;
  }
  const pb::RegionLoad& Load(int node) { return controllers_.loads[static_cast<uint64_t>(node)][1]; }
  std::string ConfigurationAt(int node) {
    return raft::ToString(*at(node).node().groups().ConfigurationOf(GroupId(1)));
  }
};

TEST_F(ConfigurationTest, OnlyTheLeaderReportsIt) {
  StartWithDatabase();
  ASSERT_TRUE(AdvanceUntilLed(1));
  executor_.Advance(1500ms);
  const int leader = LeaderOf(1);
  for (int node = 1; node <= 3; ++node) {
    EXPECT_EQ(Load(node).has_configuration(), node == leader);
    EXPECT_EQ(Load(node).configuration_index(), 0u);
  }
  EXPECT_EQ(Load(leader).configuration().index(), 0u);
  ASSERT_EQ(Load(leader).configuration().replicas_size(), 3);
  EXPECT_EQ(Load(leader).configuration().replicas(1).id(), 2u);
  EXPECT_EQ(Load(leader).configuration().replicas(1).node(), 2u);
  EXPECT_EQ(Load(leader).configuration().replicas(1).role(), pb::REPLICA_VOTER);
}

TEST_F(ConfigurationTest, AReplicaJoinsVotesAndAnotherLeaves) {
  StartWithDatabase();
  ASSERT_TRUE(AdvanceUntilLed(1));
  EXPECT_EQ(Text(Do(LeaderOf(1), {"SET", "a", "1"})), "OK");
  Join();
  executor_.Advance(10s);  // the others sleep, the new one waits
  EXPECT_EQ(ConfigurationAt(4), "empty");
  EXPECT_EQ(Load(4).replica(), 4u);
  EXPECT_EQ(Load(4).applied(), 0u);
  EXPECT_EQ(LeaderOf(1), 1);

  const Answer added = Ask(1, Request(0, WithLearner()));
  ASSERT_TRUE(added.status.ok()) << added.status;
  executor_.Advance(1500ms);
  EXPECT_EQ(ConfigurationAt(4), "1:voter@1 2:voter@2 3:voter@3 4:learner@4");
  EXPECT_EQ(Load(1).configuration().index(), added.index);
  ASSERT_EQ(Load(1).configuration().replicas_size(), 4);
  EXPECT_EQ(Load(1).configuration().replicas(3).role(), pb::REPLICA_LEARNER);
  EXPECT_EQ(Load(4).configuration_index(), added.index) << "it says itself how far it is";
  EXPECT_GE(Load(4).applied(), added.index);
  EXPECT_FALSE(Load(4).has_configuration());

  // It hears from its leader, and still clients are not served there, nor sent there.
  EXPECT_THAT(Text(Do(4, {"GET", "a"}, ReadMode::kReplica)), HasSubstr("MOVED"));
  for (const ShardView& shard : at(2).node().View(kDatabase)->shards) EXPECT_EQ(shard.replicas.size(), 3u);
  std::optional<Outcome> taken;
  at(4).node().TakeLeaderships(kDatabase, [&taken](Outcome outcome) { taken = std::move(outcome); });
  executor_.Advance(1s);
  ASSERT_TRUE(taken.has_value());
  EXPECT_EQ(LeaderOf(1), 1);

  // Through a joint configuration, which is left before the answer.
  const Answer moved = Ask(1, Request(added.index, {Replica(1, 1), Replica(2, 2), Replica(4, 4)}));
  ASSERT_TRUE(moved.status.ok()) << moved.status;
  EXPECT_EQ(moved.index, added.index + 2);
  EXPECT_EQ(ConfigurationAt(1), "1:voter@1 2:voter@2 4:voter@4");
  executor_.Advance(50ms);
  EXPECT_EQ(Load(1).configuration().index(), moved.index) << "reported at once";
  executor_.Advance(1500ms);
  EXPECT_EQ(Load(4).configuration_index(), moved.index);

  pb::Record record = controllers_.records().at({pb::RECORD_REGION, 1});
  *record.mutable_region()->add_leaving() = record.region().replicas(2);
  *record.mutable_region()->mutable_replicas(2) = Replica(4, 4);
  record.mutable_region()->clear_joining();
  record.mutable_region()->set_configuration_index(moved.index);
  controllers_.Put(record);
  controllers_.Submit(3, 6, controllers_.Destruction({{1, 3}}));
  executor_.Advance(1500ms);
  EXPECT_EQ(controllers_.StateOf(3, 6), ipb::TASK_SUCCESS);
  EXPECT_FALSE(at(3).node().groups().Runs(GroupId(1)));
  at(1).Crash();
  ASSERT_TRUE(AdvanceUntilLed(1));
  EXPECT_EQ(Text(Do(LeaderOf(1), {"GET", "a"})), "1");
  EXPECT_EQ(Text(Do(4, {"GET", "a"}, ReadMode::kReplica)), "1");
}

// Before its leader has spoken, and after it has sent a part of the log in which the new one is not named
// yet.
TEST_F(ConfigurationTest, ANewReplicaSurvivesARestart) {
  StartWithDatabase();
  ASSERT_TRUE(AdvanceUntilLed(1));
  Join();
  at(4).Crash();
  at(4).Start();
  executor_.Advance(2s);
  ASSERT_TRUE(at(4).node().groups().Runs(GroupId(1)));
  EXPECT_EQ(ConfigurationAt(4), "empty");
  ASSERT_TRUE(Ask(1, Request(0, WithLearner())).status.ok());
  executor_.Advance(1500ms);
  EXPECT_EQ(ConfigurationAt(4), "1:voter@1 2:voter@2 3:voter@3 4:learner@4");
  at(4).Crash();
  at(4).Start();
  executor_.Advance(2s);
  EXPECT_EQ(Load(4).replica(), 4u);
  EXPECT_GT(Load(4).configuration_index(), 0u);
}

TEST_F(ConfigurationTest, ALateCopyDoesNothing) {
  StartWithDatabase();
  ASSERT_TRUE(AdvanceUntilLed(1));
  Join();
  const Answer added = Ask(1, Request(0, WithLearner()));
  ASSERT_TRUE(added.status.ok());
  const Answer removed = Ask(1, Request(added.index, Voters()));
  ASSERT_TRUE(removed.status.ok());
  const Answer late = Ask(1, Request(0, WithLearner()));
  EXPECT_EQ(catalog::ReasonOf(late.status), pb::REASON_CONDITION_FAILED);
  EXPECT_THAT(std::string(MessageOf(late.status)),
              HasSubstr("if_index 0: the configuration of region 1 in force is"));
  EXPECT_EQ(ConfigurationAt(1), "1:voter@1 2:voter@2 3:voter@3");
}

TEST_F(ConfigurationTest, Refusals) {
  StartWithDatabase();
  ASSERT_TRUE(AdvanceUntilLed(1));
  controllers_.leader_epoch = 3;
  executor_.Advance(1500ms);
  const auto refused = [this](int node, const ipb::ChangeConfigurationRequest& request, pb::Reason reason,
                              const std::string& text) {
    const Answer answer = Ask(node, request);
    EXPECT_EQ(catalog::ReasonOf(answer.status), reason) << answer.status;
    EXPECT_THAT(std::string(MessageOf(answer.status)), HasSubstr(text));
    EXPECT_EQ(ConfigurationAt(1), "1:voter@1 2:voter@2 3:voter@3");
  };
  auto request = Request(0, WithLearner());
  request.set_cluster_id("cluster-b");
  refused(1, request, pb::REASON_WRONG_CLUSTER,
          "cluster_id cluster-b: this node belongs to cluster cluster-a");
  request = Request(0, WithLearner());
  request.set_leader_epoch(2);
  refused(1, request, pb::REASON_STALE_EPOCH, "leader_epoch 2: this node has seen leadership epoch 3");
  refused(2, Request(0, WithLearner()), pb::REASON_UNSPECIFIED, "region 1 is not led here");
  request = Request(0, WithLearner());
  request.set_region(9);
  refused(1, request, pb::REASON_UNSPECIFIED, "region 9 is not led here");
  refused(1, Request(7, WithLearner()), pb::REASON_CONDITION_FAILED, "if_index 7");
  auto replicas = Voters();
  replicas.push_back(Replica(4, 77, pb::REPLICA_LEARNER));
  refused(1, Request(0, replicas), pb::REASON_UNAVAILABLE, "the address of node 77 is not known here");
  replicas.back() = Replica(4, 3, pb::REPLICA_LEARNER);
  refused(1, Request(0, replicas), pb::REASON_INVALID_ARGUMENT,
          "replica 4 on node 3: ids and nodes may be named once");
  replicas.back() = Replica(3, 4, pb::REPLICA_LEARNER);
  refused(1, Request(0, replicas), pb::REASON_INVALID_ARGUMENT, "replica 3 is on node 3, not on node 4");
  replicas.back() = Replica(0, 4);
  refused(1, Request(0, replicas), pb::REASON_INVALID_ARGUMENT, "a member has no replica id");
  replicas.back() = Replica(4, 4, pb::REPLICA_ROLE_UNSPECIFIED);
  refused(1, Request(0, replicas), pb::REASON_INVALID_ARGUMENT, "replica 4 must be voter or learner");
  refused(1, Request(0, {}), pb::REASON_INVALID_ARGUMENT, "no voter");
  controllers_.incarnation = 2;
  executor_.Advance(3s);
  refused(1, Request(0, WithLearner()), pb::REASON_STALE_INCARNATION, "this node has seen incarnation 2");
  request = Request(0, Voters());
  request.set_incarnation(2);
  EXPECT_TRUE(Ask(1, request).status.ok()) << "what is in force already";
}

TEST_F(ConfigurationTest, WithoutAMajorityTheOutcomeIsUnknown) {
  StartWithDatabase();
  ASSERT_TRUE(AdvanceUntilLed(1));
  fabric_.cut = {2, 3};
  const Answer answer = Ask(1, Request(0, {Replica(1, 1), Replica(2, 2)}));
  EXPECT_EQ(catalog::ReasonOf(answer.status), pb::REASON_UNKNOWN_OUTCOME) << answer.status;
}

}  // namespace
}  // namespace tenure::node
