#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "catalog/refusal.h"
#include "tests/controller/test_controller.h"

namespace tenure::controller {
namespace {

using catalog::ReasonOf;
using catalog::RefusalOf;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

class DatabasesTest : public ::testing::Test {
 protected:
  void AddNodes(int count) {
    for (int i = 1; i <= count; ++i) {
      nodes.push_back(std::make_unique<FakeNode>(t, "n" + std::to_string(i)));
      nodes.back()->Register();
      nodes.back()->Connect();
    }
  }
  void Create(const std::string& name, uint32_t regions = 2, uint32_t replicas = 3,
              Duration timeout = seconds(10), uint64_t sequence = 0) {
    pb::CreateDatabaseRequest request;
    request.set_name(name);
    request.set_regions(regions);
    request.set_replicas(replicas);
    if (sequence != 0) {
      request.mutable_id()->set_client_id(3);
      request.mutable_id()->set_sequence(sequence);
    }
    created.reset();
    t.Start<pb::ChangeResponse>("tenure.v1.Catalog/CreateDatabase", request, timeout,
                                [this](auto answer) { created = std::move(answer); });
    t.executor.Advance(milliseconds(1));
  }
  StatusOr<pb::ChangeResponse> Drop(const std::string& name, uint64_t sequence = 0) {
    pb::DropDatabaseRequest request;
    request.set_name(name);
    if (sequence != 0) {
      request.mutable_id()->set_client_id(3);
      request.mutable_id()->set_sequence(sequence);
    }
    return t.Call<pb::ChangeResponse>("tenure.v1.Catalog/DropDatabase", request);
  }
  // The nodes do what they are asked for and report it.
  void Work(int rounds = 4) {
    for (int i = 0; i < rounds; ++i) {
      t.executor.Advance(milliseconds(30));
      for (auto& node : nodes) node->Beat();
    }
    t.executor.Advance(milliseconds(30));
  }
  // Each region's preferred leader leads.
  void LeadRegions(uint64_t term = 1) {
    const auto regions = t.machine.catalog().regions();
    for (const auto& [id, record] : regions) {
      const auto& replica = record.region().replicas(0);
      nodes[replica.node() - 1]->ReportRegion(id, term, replica.id(), true, replica.id());
    }
    Work();
  }

  std::optional<StatusOr<pb::ChangeResponse>> created;  // may still be set as the controller stops
  TestController t;
  std::vector<std::unique_ptr<FakeNode>> nodes;
};

TEST_F(DatabasesTest, CreationAnswersWhenTheDatabaseIsPublic) {
  t.Lead();
  AddNodes(3);
  Create("orders");
  EXPECT_FALSE(created);
  LeadRegions();
  ASSERT_TRUE(created);
  ASSERT_TRUE(created->ok()) << created->status();
  EXPECT_EQ((*created)->record().database().state(), pb::DATABASE_PUBLIC);
  pb::GetDatabaseRequest get;
  get.set_name("orders");
  const auto got = t.Call<pb::GetDatabaseResponse>("tenure.v1.Catalog/GetDatabase", get);
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->regions_size(), 2);
  EXPECT_EQ(got->regions(0).region().state(), pb::REGION_SERVING);
  get.set_name("nothing");
  EXPECT_EQ(ReasonOf(t.Call<pb::GetDatabaseResponse>("tenure.v1.Catalog/GetDatabase", get).status()),
            pb::REASON_NOT_FOUND);
}

TEST_F(DatabasesTest, CreationAnswersWithItsStateAtTheDeadline) {
  t.Lead();
  AddNodes(3);
  Create("orders", 2, 3, seconds(1));
  t.executor.Advance(milliseconds(920));
  ASSERT_TRUE(created);
  ASSERT_TRUE(created->ok()) << created->status();
  EXPECT_EQ((*created)->record().database().state(), pb::DATABASE_CREATING);
  LeadRegions();
  EXPECT_EQ(t.machine.catalog().FindDatabase("orders")->database().state(), pb::DATABASE_PUBLIC);
}

TEST_F(DatabasesTest, RefusedBeforeTheLog) {
  t.Lead();
  AddNodes(2);
  const uint64_t applied = t.access.applied().value();
  Create("orders");
  EXPECT_EQ(ReasonOf(created->status()), pb::REASON_NOT_ENOUGH_NODES);
  EXPECT_THAT(MessageOf(created->status()), HasSubstr("2 of 2"));
  Create("a\nb", 1, 1);
  EXPECT_EQ(ReasonOf(created->status()), pb::REASON_INVALID_ARGUMENT);
  Create("big", 16385, 1);
  EXPECT_EQ(ReasonOf(created->status()), pb::REASON_INVALID_ARGUMENT);
  EXPECT_EQ(t.access.applied().value(), applied);
}

// Found by the simulator: a leader stood still while another one was elected, and names came and went.
TEST_F(DatabasesTest, OneThatMayHaveBeenReplacedRefusesNoName) {
  t.Lead();
  AddNodes(3);
  Create("orders");
  LeadRegions();
  ASSERT_TRUE(created && created->ok());
  t.group.leads = false;  // of which its services have not heard
  Create("orders");
  ASSERT_TRUE(created);
  EXPECT_EQ(ReasonOf(created->status()), pb::REASON_UNAVAILABLE) << created->status();
  const Status absent = Drop("users").status();
  EXPECT_EQ(ReasonOf(absent), pb::REASON_UNAVAILABLE) << absent;
  t.group.leads = true;
  Create("orders");
  EXPECT_EQ(ReasonOf(created->status()), pb::REASON_ALREADY_EXISTS);
  EXPECT_EQ(ReasonOf(Drop("users").status()), pb::REASON_NOT_FOUND);
}

TEST_F(DatabasesTest, ACreationIsResumedByTheNextLeader) {
  t.Lead();
  AddNodes(3);
  Create("orders", 2, 3, seconds(60), 1);
  t.Follow(8, 2);
  ASSERT_TRUE(created);
  EXPECT_EQ(ReasonOf(created->status()), pb::REASON_NOT_LEADER);
  t.Lead(9);
  for (auto& node : nodes) node->Connect();
  // The same request: it was done, and is waited for again. Not even nodes are needed any more.
  Create("orders", 2, 3, seconds(60), 1);
  EXPECT_FALSE(created);
  LeadRegions();
  ASSERT_TRUE(created);
  EXPECT_TRUE(created->ok());
  EXPECT_EQ(t.machine.catalog().databases().size(), 1u);
  Create("orders", 2, 3, seconds(60), 2);
  EXPECT_EQ(ReasonOf(created->status()), pb::REASON_ALREADY_EXISTS);
}

TEST_F(DatabasesTest, DropFreesTheNameAndWaitsForReplicasInTheBackground) {
  t.Lead();
  AddNodes(3);
  Create("d", 1);
  LeadRegions();
  const auto dropped = Drop("d", 7);
  ASSERT_TRUE(dropped.ok());
  EXPECT_EQ(dropped->record().database().state(), pb::DATABASE_PRE_DELETE);
  EXPECT_EQ(ReasonOf(Drop("d", 8).status()), pb::REASON_NOT_FOUND);
  EXPECT_EQ(Drop("d", 7)->revision(), dropped->revision());  // asked again
  Create("d", 1);
  EXPECT_EQ(t.machine.catalog().databases().size(), 2u);

  // Two nodes have destroyed their replicas, the third still works.
  nodes[2]->work = [](const ipb::TaskSubmit&) { return ipb::TASK_PROCESSING; };
  Work();
  EXPECT_TRUE(t.machine.catalog().regions().contains(1));
  for (const ipb::TaskSubmit& submit : std::vector(nodes[2]->submits)) {
    if (submit.payload().has_destroy_replicas()) nodes[2]->End(submit.key(), ipb::TASK_SUCCESS);
  }
  Work();
  EXPECT_FALSE(t.machine.catalog().regions().contains(1));
  EXPECT_FALSE(t.machine.catalog().databases().contains(1));
  EXPECT_TRUE(t.machine.catalog().databases().contains(2));
  EXPECT_EQ(t.agents.region_leaders().Find(RegionId(1)), nullptr);
}

TEST_F(DatabasesTest, DropDuringCreationAnswersBoth) {
  t.Lead();
  AddNodes(3);
  Create("d");
  EXPECT_FALSE(created);
  EXPECT_TRUE(Drop("d").ok());
  ASSERT_TRUE(created);
  ASSERT_TRUE(created->ok());
  EXPECT_EQ((*created)->record().database().state(), pb::DATABASE_PRE_DELETE);
  Work();
  EXPECT_TRUE(t.machine.catalog().databases().empty());
}

// The leader changes after every single command: what was begun ends.
TEST_F(DatabasesTest, EveryStepSurvivesALeaderChange) {
  t.Lead();
  AddNodes(3);
  Create("d", 3);
  uint64_t term = 8;
  const auto settle = [&](const std::function<bool()>& done) {
    for (int i = 0; i < 50 && !done(); ++i) {
      t.Follow(term++, 2);
      t.Lead(term++);
      for (auto& node : nodes) node->Connect();
      t.group.hold = true;
      t.executor.Advance(milliseconds(5));
      t.group.Release();
      t.executor.Advance(milliseconds(1));
      Work(1);
    }
    EXPECT_TRUE(done());
  };
  LeadRegions();
  settle([&] { return t.machine.catalog().FindDatabase("d")->database().state() == pb::DATABASE_PUBLIC; });
  EXPECT_TRUE(Drop("d").ok());
  settle([&] { return t.machine.catalog().databases().empty(); });
  EXPECT_TRUE(t.machine.catalog().regions().empty());
}

// ---- Cluster and Regions ----

TEST_F(DatabasesTest, StatusOfALeader) {
  t.Lead();
  AddNodes(3);
  Create("d");
  LeadRegions();
  t.group.status.peers = {{ReplicaId(2), LogIndex(5), true, false},
                          {ReplicaId(3), LogIndex(2), false, false}};
  const auto status = t.Call<pb::StatusResponse>("tenure.v1.Cluster/Status", pb::StatusRequest());
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->cluster_id(), "cluster");
  EXPECT_EQ(status->phase(), "serving");
  EXPECT_EQ(status->leader_id(), 1u);
  EXPECT_EQ(status->leader_name(), "c1");
  EXPECT_EQ(status->leader_address(), "c1:7100");
  EXPECT_EQ(status->leader_epoch(), 7u);
  EXPECT_EQ(status->revision(), t.access.applied().value());
  ASSERT_EQ(status->controllers_size(), 3);
  EXPECT_EQ(status->controllers(0).state(), "leader");
  EXPECT_EQ(status->controllers(1).state(), "follower");
  EXPECT_EQ(status->controllers(1).match_index(), 5u);
  EXPECT_EQ(status->controllers(2).state(), "unreachable");
  ASSERT_EQ(status->nodes_size(), 3);
  EXPECT_EQ(status->nodes(0).state(), "UP");
  EXPECT_GE(status->nodes(0).last_heard_ms(), 0);
  EXPECT_EQ(status->nodes(0).leaders() + status->nodes(1).leaders() + status->nodes(2).leaders(), 2u);
  EXPECT_EQ(status->services_size(), 12);
  EXPECT_EQ(status->services(0).state(), "running");
  EXPECT_EQ(status->transitions_size(), 1);
}

TEST_F(DatabasesTest, StatusOfAFollower) {
  t.Lead();
  AddNodes(1);
  t.Follow(8, 2);
  const auto status = t.Call<pb::StatusResponse>("tenure.v1.Cluster/Status", pb::StatusRequest());
  EXPECT_EQ(status->leader_id(), 2u);
  EXPECT_EQ(status->leader_address(), "c2:7100");
  EXPECT_EQ(status->controllers(1).state(), "leader");
  EXPECT_EQ(status->controllers(2).state(), "unknown");
  EXPECT_EQ(status->nodes(0).last_heard_ms(), -1);
  EXPECT_EQ(status->answered_by(), 1u);
  t.Follow(9, 0);
  EXPECT_EQ(t.Call<pb::StatusResponse>("tenure.v1.Cluster/Status", pb::StatusRequest())->phase(), "electing");
}

TEST_F(DatabasesTest, TransferOfControlPlaneLeadership) {
  t.Lead();
  pb::TransferLeadershipRequest request;
  std::optional<StatusOr<pb::TransferLeadershipResponse>> answer;
  const auto start = [&] {
    answer.reset();
    t.Start<pb::TransferLeadershipResponse>("tenure.v1.Cluster/TransferLeadership", request, seconds(5),
                                            [&](auto a) { answer = std::move(a); });
    t.executor.Advance(milliseconds(20));
  };
  start();
  EXPECT_EQ(ReasonOf(answer->status()), pb::REASON_UNAVAILABLE);  // nobody to hand over to
  t.group.status.peers = {{ReplicaId(2), LogIndex(5), true, false}, {ReplicaId(3), LogIndex(9), true, false}};
  start();
  EXPECT_EQ(t.group.transferred_to, ReplicaId(3));
  EXPECT_FALSE(answer);
  t.Follow(8, 3);
  t.executor.Advance(milliseconds(20));
  ASSERT_TRUE(answer);
  EXPECT_EQ((*answer)->leader_id(), 3u);
  start();
  EXPECT_EQ(ReasonOf(answer->status()), pb::REASON_NOT_LEADER);
  t.Lead(9);
  request.set_to(8);
  start();
  EXPECT_EQ(ReasonOf(answer->status()), pb::REASON_NOT_FOUND);
  request.set_to(2);
  start();
  EXPECT_FALSE(answer);
  t.executor.Advance(seconds(5));
  EXPECT_EQ(ReasonOf(answer->status()), pb::REASON_UNAVAILABLE);
}

TEST_F(DatabasesTest, LostAndDivergedReplicasAreShown) {
  t.Lead();
  AddNodes(3);
  Create("d", 1);
  LeadRegions();
  const auto show = [&] {
    const auto regions = t.Call<pb::ListRegionsResponse>("tenure.v1.Regions/List", pb::ListRegionsRequest());
    return regions->regions(0);
  };
  const auto alarms = [&] {
    std::vector<std::string> seen;
    const auto status = t.Call<pb::StatusResponse>("tenure.v1.Cluster/Status", pb::StatusRequest());
    for (const pb::Alarm& alarm : status->alarms()) seen.push_back(alarm.kind() + " " + alarm.object());
    return seen;
  };
  EXPECT_EQ(show().state(), "SERVING");
  EXPECT_TRUE(alarms().empty());
  const pb::RegionStatus before = show();
  const auto other = std::find_if(before.record().replicas().begin(), before.record().replicas().end(),
                                  [&](const auto& r) { return r.id() != before.leader_replica(); });

  FakeNode& node = *nodes[other->node() - 1];
  node.next.add_lost_regions(1);
  node.Beat();
  ASSERT_EQ(show().lost_replicas_size(), 1);
  EXPECT_EQ(show().lost_replicas(0), other->id());
  EXPECT_EQ(show().state(), "DEGRADED");
  const std::string object = fmt::format("region 1 replica {} on node {}", other->id(), other->node());
  EXPECT_EQ(alarms(), std::vector<std::string>{"REPLICA_LOST " + object});
  node.Beat();  // the list is complete in every report
  EXPECT_TRUE(alarms().empty());

  FakeNode& leader = *nodes[before.leader_node() - 1];
  pb::RegionLoad load = leader.regions.at(1);
  load.add_diverged_replicas(other->id());
  *leader.next.add_regions() = load;
  leader.Beat();
  EXPECT_EQ(show().diverged_replicas(0), other->id());
  EXPECT_EQ(alarms(), std::vector<std::string>{"STATE_DIVERGED " + object});

  t.group.status.diverged = {{ReplicaId(3), LogIndex(9), 1, 2}};
  EXPECT_EQ(alarms(), (std::vector<std::string>{"STATE_DIVERGED controller 3", "STATE_DIVERGED " + object}));
}

TEST_F(DatabasesTest, RegionsAndTheirTransfer) {
  t.Lead();
  AddNodes(3);
  Create("d", 1);
  LeadRegions();
  pb::ListRegionsRequest list;
  list.set_database("d");
  const auto regions = t.Call<pb::ListRegionsResponse>("tenure.v1.Regions/List", list);
  ASSERT_TRUE(regions.ok());
  ASSERT_EQ(regions->regions_size(), 1);
  const uint64_t leader = regions->regions(0).leader_node();
  EXPECT_NE(leader, 0u);
  EXPECT_EQ(regions->regions(0).state(), "SERVING");
  list.set_database("nothing");
  EXPECT_EQ(ReasonOf(t.Call<pb::ListRegionsResponse>("tenure.v1.Regions/List", list).status()),
            pb::REASON_NOT_FOUND);

  const uint64_t target = leader == 3 ? 1 : 3;
  pb::TransferRegionRequest request;
  request.set_region(1);
  request.set_to_node(target);
  std::optional<StatusOr<pb::TransferRegionResponse>> answer;
  t.Start<pb::TransferRegionResponse>("tenure.v1.Regions/TransferLeader", request, seconds(5),
                                      [&](auto a) { answer = std::move(a); });
  t.executor.Advance(milliseconds(40));
  EXPECT_FALSE(answer);
  const auto& told = nodes[leader - 1]->heard->messages.back();
  ASSERT_EQ(told.transfers_size(), 1);
  const uint64_t replica = told.transfers(0).to_replica();
  nodes[target - 1]->ReportRegion(1, 2, replica, true, replica);
  t.executor.Advance(milliseconds(40));
  ASSERT_TRUE(answer);
  EXPECT_EQ((*answer)->leader_node(), target);

  request.set_to_node(77);
  const auto wrong = t.Call<pb::TransferRegionResponse>("tenure.v1.Regions/TransferLeader", request);
  EXPECT_EQ(ReasonOf(wrong.status()), pb::REASON_INVALID_ARGUMENT);
  request.set_region(77);
  EXPECT_EQ(
      ReasonOf(t.Call<pb::TransferRegionResponse>("tenure.v1.Regions/TransferLeader", request).status()),
      pb::REASON_NOT_FOUND);
}

}  // namespace
}  // namespace tenure::controller
