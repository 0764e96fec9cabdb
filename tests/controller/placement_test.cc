// The region scheduler and what operators ask for about places, over nodes that do as they are told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "catalog/procedures.h"
#include "catalog/refusal.h"
#include "controller/placement/cluster_view.h"
#include "controller/procedure/types/change_replica.h"
#include "controller/procedure/types/hold_node.h"
#include "tenure/internal/v1/node.pb.h"
#include "tests/controller/test_controller.h"

namespace tenure::controller {
namespace {

using catalog::ReasonOf;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::HasSubstr;

// Regions as their leaders know them: changes configurations, and fills in reports.
class FakeRegions : public runtime::Service {
 public:
  struct State {
    uint64_t index = 0;
    uint64_t term = 2;
    uint64_t leader = 0;  // replica
    std::vector<pb::ReplicaRecord> replicas;
  };
  void OnCall(const runtime::CallInfo&, std::string request, runtime::Reply reply) override {
    ipb::ChangeConfigurationRequest change;
    ASSERT_TRUE(change.ParseFromString(request));
    State& region = regions[change.region()];
    if (change.if_index() != region.index)
      return reply(absl::AbortedError("another configuration is in force"));
    region.index += 10;
    region.replicas.assign(change.replicas().begin(), change.replicas().end());
    ipb::ChangeConfigurationResponse response;
    response.set_index(region.index);
    reply(response.SerializeAsString());
  }
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }
  // What the node says of its replica; nullopt: it has none.
  std::optional<pb::RegionLoad> LoadAt(uint64_t id, uint64_t node) const {
    const State& region = regions.at(id);
    for (const pb::ReplicaRecord& replica : region.replicas) {
      if (replica.node() != node) continue;
      pb::RegionLoad load;
      load.set_region(id);
      load.set_replica(replica.id());
      load.set_term(region.term);
      load.set_is_leader(replica.id() == region.leader);
      load.set_leader_replica(region.leader);
      load.set_applied(5000);
      load.set_configuration_index(region.index);
      if (replica.id() == region.leader) {
        load.mutable_configuration()->set_index(region.index);
        load.mutable_configuration()->mutable_replicas()->Assign(region.replicas.begin(),
                                                                 region.replicas.end());
      }
      return load;
    }
    return std::nullopt;
  }
  std::map<uint64_t, State> regions;
};

class PlacementTest : public ::testing::Test {
 protected:
  void SetUp() override {
    t.Lead();
    for (int i = 1; i <= 4; ++i) AddNode();
  }
  FakeNode& AddNode() {
    nodes.push_back(std::make_unique<FakeNode>(t, "n" + std::to_string(nodes.size() + 1)));
    nodes.back()->Register();
    nodes.back()->Connect();
    views.push_back(t.fake_network.MakeView(fmt::format("n{}:1", nodes.back()->id)));
    views.back()->Serve("tenure.internal.v1.NodeInternal", regions);
    return *nodes.back();
  }
  FakeNode& node(uint64_t id) { return *nodes[id - 1]; }
  const catalog::Catalog& catalog() const { return t.machine.catalog(); }
  // Hand-overs that were asked for are made; every node that is there reports.
  void Beat() {
    for (auto& one : nodes) {
      if (away.contains(one->id)) continue;
      for (const auto& answer : one->heard->messages) {
        for (const auto& transfer : answer.transfers()) {
          auto& region = regions.regions[transfer.region()];
          if (region.leader == transfer.to_replica() ||
              done.contains({transfer.region(), transfer.to_replica(), region.term}))
            continue;
          ++region.term;
          region.leader = transfer.to_replica();
          done.insert({transfer.region(), transfer.to_replica(), region.term});
          ++transfers;
        }
      }
      one->TakeTasks();
      one->heard->messages.clear();
      one->Forget();
      one->regions.clear();
      for (const auto& [id, record] : catalog().regions()) {
        if (!regions.regions.contains(id)) {
          auto& fresh = regions.regions[id];
          fresh.replicas.assign(record.region().replicas().begin(), record.region().replicas().end());
          fresh.leader = record.region().preferred_leader();
        }
        if (auto load = regions.LoadAt(id, one->id)) one->regions[id] = *load;
      }
      one->Beat(true);
    }
  }
  void Run(Duration time) {
    for (const Instant until = t.executor.Now() + time; t.executor.Now() < until;) {
      t.executor.Advance(milliseconds(200));
      Beat();
    }
  }
  void CreateDatabase(const std::string& name, uint32_t count, uint32_t replicas = 3) {
    pb::CreateDatabaseRequest request;
    request.set_name(name);
    request.set_regions(count);
    request.set_replicas(replicas);
    t.Start<pb::ChangeResponse>("tenure.v1.Catalog/CreateDatabase", request, seconds(100),
                                [](const auto& answer) { ASSERT_TRUE(answer.ok()) << answer.status(); });
    Run(seconds(2));
    ASSERT_EQ(catalog().FindDatabase(name)->database().state(), pb::DATABASE_PUBLIC);
  }
  // Its process ends, for the leader too.
  void Kill(uint64_t id) {
    away.insert(id);
    node(id).stream.reset();
    t.fake_network.SetDown(fmt::format("n{}:1", id), true);
    for (auto& [region, state] : regions.regions) {
      for (const auto& replica : state.replicas) {
        if (replica.id() == state.leader || replica.node() == id) continue;
        const bool led_there = std::any_of(state.replicas.begin(), state.replicas.end(), [&](const auto& r) {
          return r.id() == state.leader && r.node() == id;
        });
        if (!led_there) break;
        state.leader = replica.id();
        ++state.term;
        break;
      }
    }
  }
  size_t Count(std::string_view type, bool ended) const {
    size_t count = 0;
    for (const auto& [id, record] : catalog().procedures()) {
      count +=
          record.procedure().type() == type && catalog::IsEnded(record.procedure().state()) == ended ? 1 : 0;
    }
    return count;
  }
  std::vector<size_t> ReplicaCounts() const {
    std::vector<size_t> counts;
    for (const auto& one : nodes) counts.push_back(ReplicasOn(catalog(), NodeId(one->id)));
    return counts;
  }
  template <class Response, class Request>
  StatusOr<Response> Ask(std::string_view method, const Request& request) {
    return t.Call<Response>(method, request);
  }
  StatusOr<pb::DrainNodeResponse> Drain(uint64_t id, bool resume = false, bool dry_run = false) {
    pb::DrainNodeRequest request;
    request.set_node(id);
    request.set_resume(resume);
    request.set_dry_run(dry_run);
    return Ask<pb::DrainNodeResponse>("tenure.v1.Cluster/DrainNode", request);
  }
  StatusOr<pb::RemoveNodeResponse> Remove(uint64_t id, std::vector<uint64_t> force = {}) {
    pb::RemoveNodeRequest request;
    request.set_node(id);
    request.mutable_force_regions()->Assign(force.begin(), force.end());
    return Ask<pb::RemoveNodeResponse>("tenure.v1.Cluster/RemoveNode", request);
  }
  StatusOr<pb::CanStopResponse> CanStop(uint64_t id, Duration reserve = {}, bool release = false) {
    pb::CanStopRequest request;
    request.set_node(id);
    request.set_reserve_ms(ToMillis(reserve));
    request.set_release(release);
    return Ask<pb::CanStopResponse>("tenure.v1.Cluster/CanStop", request);
  }
  // A node that has nothing of the region; 0: there is none.
  uint64_t SpareFor(const pb::RegionRecord& region) const {
    for (const auto& one : nodes) {
      if (std::none_of(region.replicas().begin(), region.replicas().end(),
                       [&](const auto& replica) { return replica.node() == one->id; }))
        return one->id;
    }
    return 0;
  }
  void SetState(uint64_t id, pb::NodeState state) {
    ipb::CatalogCommand command;
    command.mutable_set_node_state()->set_node(id);
    command.mutable_set_node_state()->set_state(state);
    t.access.ProposeInEpoch(std::move(command), t.leadership.epoch(), [](auto) {});
  }
  // A move of the region's second replica whose target is asked to leave at the same time.
  pb::ProcedureRecord FailAMove(const pb::RegionRecord& region) {
    pb::ChangeReplicaRequest request;
    request.set_region(region.id());
    request.set_change(pb::REPLICA_MOVE);
    request.set_from_node(region.replicas(1).node());
    request.set_to_node(SpareFor(region));
    t.group.hold = true;
    std::optional<StatusOr<pb::ChangeReplicaResponse>> moved;
    t.Start<pb::ChangeReplicaResponse>("tenure.v1.Regions/ChangeReplica", request, seconds(10),
                                       [&](auto answer) { moved = std::move(answer); });
    SetState(request.to_node(), pb::NODE_DRAINING);
    t.group.Release();
    Run(seconds(5));
    EXPECT_TRUE(moved && moved->ok());
    return moved && moved->ok()
               ? catalog().procedures().at((*moved)->procedure().procedure().id()).procedure()
               : pb::ProcedureRecord();
  }
  // Every region has three replicas on distinct nodes, and nothing is on its way.
  void ExpectWhole() const {
    for (const auto& [id, record] : catalog().regions()) {
      std::set<uint64_t> on;
      for (const auto& replica : record.region().replicas()) on.insert(replica.node());
      EXPECT_EQ(on.size(), 3u) << record.DebugString();
      EXPECT_TRUE(record.region().joining().empty());
      EXPECT_TRUE(record.region().leaving().empty());
    }
  }

  FakeRegions regions;
  std::set<uint64_t> away;
  std::set<std::tuple<uint64_t, uint64_t, uint64_t>> done;
  int transfers = 0;
  std::vector<std::unique_ptr<runtime::Network>> views;
  TestController t;
  std::vector<std::unique_ptr<FakeNode>> nodes;
};

// ---- repair ----

TEST_F(PlacementTest, ALostNodesReplicasAreReplacedAfterAWhile) {
  CreateDatabase("d", 8);
  const size_t lost = ReplicasOn(catalog(), NodeId(4));
  ASSERT_GT(lost, 0u);
  Kill(4);
  Run(seconds(50));
  EXPECT_EQ(Count("RepairReplica", true) + Count("RepairReplica", false), 0u);  // it may come back
  Run(seconds(60));
  // Nobody waits for the lost node to destroy what it has: else the first repairs would keep others from
  // beginning.
  EXPECT_EQ(Count("RepairReplica", true), lost);
  EXPECT_EQ(Count("RepairReplica", false), 0u);
  for (const auto& [id, record] : catalog().regions()) {
    for (const auto& replica : record.region().replicas()) EXPECT_NE(replica.node(), 4u);
    EXPECT_EQ(record.region().replicas_size(), 3);
  }
  ASSERT_TRUE(Remove(4).ok());
  Run(seconds(5));
  EXPECT_EQ(catalog().nodes().at(4).node().state(), pb::NODE_REMOVED);
  EXPECT_EQ(Count("RepairReplica", false), 0u);
  ExpectWhole();
}

// What went well is no reason to let the region rest.
TEST_F(PlacementTest, ARegionThatLostTwoGetsBothAtOnce) {
  AddNode();
  CreateDatabase("d", 1);
  std::vector<uint64_t> lost;
  for (const auto& replica : catalog().regions().begin()->second.region().replicas()) {
    if (replica.id() != regions.regions.begin()->second.leader) lost.push_back(replica.node());
  }
  ASSERT_EQ(lost.size(), 2u);
  for (const uint64_t id : lost) Kill(id);
  Run(seconds(80));
  EXPECT_EQ(Count("RepairReplica", true), 2u);
  EXPECT_EQ(t.scheduler.RunningRepairs(), 0u);
  ExpectWhole();
}

// A procedure that was cancelled had asked for it; the region's leader did it when nobody waited any more.
TEST_F(PlacementTest, ALearnerThatNoProcedureIsAboutIsRemoved) {
  CreateDatabase("d", 1);
  const pb::RegionRecord before = catalog().regions().at(1).region();
  const uint64_t spare = SpareFor(before);
  pb::ReplicaRecord learner;
  learner.set_id(9);
  learner.set_node(spare);
  learner.set_role(pb::REPLICA_LEARNER);
  regions.regions.at(1).replicas.push_back(learner);
  regions.regions.at(1).index += 10;
  node(spare).lost.insert(1);  // it was destroyed there
  Run(seconds(10));
  ExpectWhole();
  EXPECT_EQ(Count("RemoveReplica", true), 1u);
  EXPECT_EQ(Count("RepairReplica", true) + Count("RepairReplica", false), 0u);
  EXPECT_EQ(catalog().regions().at(1).region().replicas_size(), 3);
}

TEST_F(PlacementTest, ANodeThatComesBackInTimeKeepsItsReplicas) {
  CreateDatabase("d", 4);
  Kill(4);
  Run(seconds(40));
  t.fake_network.SetDown("n4:1", false);
  away.clear();
  node(4).Restart();
  Run(seconds(60));
  EXPECT_EQ(Count("RepairReplica", true) + Count("RepairReplica", false), 0u);
}

TEST_F(PlacementTest, ARepairThatCannotBeDoneSaysWhy) {
  CreateDatabase("d", 2);
  Kill(3);
  Kill(4);
  Run(seconds(150));
  ASSERT_FALSE(t.scheduler.stuck().empty());
  EXPECT_TRUE(std::any_of(t.scheduler.stuck().begin(), t.scheduler.stuck().end(), [](const auto& entry) {
    return entry.second.find("candidate") != std::string::npos ||
           entry.second.find("node") != std::string::npos || entry.second.find("leader") != std::string::npos;
  }));
}

// Those that cannot be made now are neither stuck nor planned again and again.
TEST_F(PlacementTest, RepairsBeyondTheLimitsWaitTheirTurn) {
  CreateDatabase("d", 32);
  const size_t lost = ReplicasOn(catalog(), NodeId(4));
  ASSERT_GT(lost, 16u);
  for (auto& one : nodes) one->work = [](const ipb::TaskSubmit&) { return ipb::TASK_PROCESSING; };
  Kill(4);
  Run(seconds(80));
  // Four on each of the three that are left.
  EXPECT_EQ(Count("RepairReplica", false), 12u);
  EXPECT_TRUE(t.scheduler.stuck().empty()) << t.scheduler.stuck().begin()->second;
  EXPECT_EQ(t.scheduler.queued(), lost - 12);
  const uint64_t plans = t.scheduler.plans();
  Run(seconds(50));
  EXPECT_EQ(Count("RepairReplica", false), 12u);
  EXPECT_LE(t.scheduler.plans() - plans, 6u);
  EXPECT_TRUE(t.scheduler.stuck().empty());
  EXPECT_EQ(t.scheduler.queued(), lost - 12);
  for (auto& one : nodes) {
    one->work = [](const ipb::TaskSubmit&) { return ipb::TASK_SUCCESS; };
    for (auto& [key, task] : one->tasks) task.set_state(ipb::TASK_SUCCESS);
  }
  Run(seconds(40));
  EXPECT_EQ(Count("RepairReplica", true), lost);
  EXPECT_EQ(t.scheduler.queued(), 0u);
  ExpectWhole();
}

// A repair that waits for somebody else's lock is not one of those that run.
TEST_F(PlacementTest, RepairsOfLockedRegionsKeepNoOtherWaiting) {
  CreateDatabase("d", 32);
  const auto submit = [this](pb::ProcedureRecord procedure) {
    ipb::CatalogCommand command;
    *command.mutable_submit_procedure()->mutable_procedure() = std::move(procedure);
    t.access.ProposeInEpoch(std::move(command), t.leadership.epoch(),
                            [](const auto& result) { ASSERT_TRUE(result.ok()) << result.status(); });
    Run(milliseconds(200));
  };
  pb::ProcedureRecord holder = HoldNode::New(NodeId(99), ToMillis(t.executor.WallNow()) + 600'000);
  std::set<uint64_t> locked;
  std::set<uint64_t> open;
  for (const auto& [id, record] : catalog().regions()) {
    const auto& replicas = record.region().replicas();
    if (std::none_of(replicas.begin(), replicas.end(), [](const auto& r) { return r.node() == 4; })) continue;
    (locked.size() < 18 ? locked : open).insert(id);
  }
  ASSERT_FALSE(open.empty());
  for (const uint64_t id : locked) AddLock(holder, pb::LOCKED_REGION, id);
  submit(holder);
  for (const uint64_t id : locked) {
    if (id == *locked.begin()) continue;  // for this one nobody has asked yet
    const pb::RegionRecord& region = catalog().regions().at(id).region();
    for (const auto& replica : region.replicas()) {
      if (replica.node() == 4)
        submit(ChangeReplica::New(ChangeReplica::kRepair, region, NodeId(SpareFor(region)),
                                  ReplicaId(replica.id()), ChangeReplica::kLoss));
    }
  }
  ASSERT_EQ(Count("RepairReplica", false), 17u);
  Kill(4);
  Run(seconds(120));
  EXPECT_EQ(Count("RepairReplica", false), 17u);
  EXPECT_EQ(Count("RepairReplica", true), open.size());
  EXPECT_EQ(t.scheduler.queued(), 1u);
  EXPECT_TRUE(t.scheduler.stuck().empty());
}

// What has failed rests for a minute, and not until the clock of an earlier leader is reached.
TEST_F(PlacementTest, ATimeThatIsYetToComeKeepsNobodyFromARepair) {
  CreateDatabase("d", 1);
  const pb::RegionRecord before = catalog().regions().at(1).region();
  t.executor.wall_ahead = std::chrono::hours(1);
  FailAMove(before);
  t.executor.wall_ahead = Duration();
  t.Follow(8, 2);
  t.Lead(9);
  for (auto& one : nodes) one->Connect();
  ASSERT_EQ(Count("MoveReplica", true), 1u);
  SetState(SpareFor(before), pb::NODE_UP);
  Run(seconds(2));
  Kill(before.replicas(1).node());
  Run(seconds(120));
  EXPECT_EQ(Count("RepairReplica", true), 1u);
  ExpectWhole();
}

TEST(ChangeReplicaTest, WhoRestsAfterAFailure) {
  struct Case {
    pb::ProcedureState state;
    int64_t ended_at_ms;
    bool rests;
  };
  const Case cases[] = {{pb::PROCEDURE_FAILED, 100'000, true},      {pb::PROCEDURE_FAILED, 40'001, true},
                        {pb::PROCEDURE_FAILED, 40'000, false},      {pb::PROCEDURE_FAILED, 100'001, false},
                        {pb::PROCEDURE_FAILED, 10'000'000, false},  {pb::PROCEDURE_ROLLED_BACK, 99'000, true},
                        {pb::PROCEDURE_CANCELLED, 99'000, true},    {pb::PROCEDURE_SUCCEEDED, 99'000, false},
                        {pb::PROCEDURE_ROLLING_BACK, 99'000, false}};
  for (const Case& one : cases) {
    pb::ProcedureRecord procedure;
    procedure.set_state(one.state);
    procedure.set_ended_at_ms(one.ended_at_ms);
    EXPECT_EQ(ChangeReplica::FailedLately(procedure, WallFromMillis(100'000), seconds(60)), one.rests)
        << catalog::NameOf(one.state) << " at " << one.ended_at_ms;
  }
}

// ---- balance ----

TEST_F(PlacementTest, ANewNodeGetsItsShareAndThenAllIsQuiet) {
  CreateDatabase("d", 12);
  AddNode();
  Run(minutes(6));
  const std::vector<size_t> counts = ReplicaCounts();
  EXPECT_LE(*std::max_element(counts.begin(), counts.end()) - *std::min_element(counts.begin(), counts.end()),
            2u)
      << ::testing::PrintToString(counts);
  EXPECT_GT(counts[4], 4u);
  ExpectWhole();
  const size_t moves = Count("MoveReplica", true);
  const int before = transfers;
  Run(minutes(3));
  EXPECT_EQ(Count("MoveReplica", true), moves);
  EXPECT_EQ(transfers, before);
}

// Moves under way count once against the limit, not twice.
TEST_F(PlacementTest, AsManyMovesRunAsTheLimitAllows) {
  CreateDatabase("d", 24);
  for (int i = 5; i <= 6; ++i) {
    AddNode().work = [](const ipb::TaskSubmit&) { return ipb::TASK_PROCESSING; };
    Run(seconds(30));
    // Two that make a replica on one node.
    EXPECT_EQ(Count("MoveReplica", false), i == 5 ? 2u : 4u);
  }
}

// ---- drain, resume, remove ----

TEST_F(PlacementTest, ADrainedNodeIsEmptyAndStaysSo) {
  CreateDatabase("d", 8);
  const auto dry = Drain(2, false, true);
  ASSERT_TRUE(dry.ok());
  EXPECT_GT(dry->plan_size(), 0);
  EXPECT_EQ(catalog().nodes().at(2).node().state(), pb::NODE_UP);
  EXPECT_EQ(ReasonOf(Remove(2).status()), pb::REASON_CONDITION_FAILED);  // UP
  ASSERT_TRUE(Drain(2).ok());
  EXPECT_THAT(std::string(MessageOf(Remove(2).status())), HasSubstr("not drained yet"));
  Run(minutes(1));
  EXPECT_EQ(ReplicasOn(catalog(), NodeId(2)), 0u);
  EXPECT_EQ(Count("DrainNode", false), 0u);
  EXPECT_EQ(catalog().nodes().at(2).node().state(), pb::NODE_DRAINING);
  ExpectWhole();
  Run(minutes(2));
  EXPECT_EQ(ReplicasOn(catalog(), NodeId(2)), 0u);
  ASSERT_TRUE(Remove(2).ok());
  Run(seconds(2));
  EXPECT_EQ(catalog().nodes().at(2).node().state(), pb::NODE_REMOVING)
      << "it has not said that it serves nobody";
  Run(seconds(13));
  EXPECT_EQ(catalog().nodes().at(2).node().state(), pb::NODE_REMOVED);
}

TEST_F(PlacementTest, ResumeUndoesADrain) {
  CreateDatabase("d", 8);
  ASSERT_TRUE(Drain(2).ok());
  Run(milliseconds(400));
  ASSERT_TRUE(Drain(2, /*resume=*/true).ok());
  Run(seconds(30));
  EXPECT_EQ(catalog().nodes().at(2).node().state(), pb::NODE_UP);
  EXPECT_EQ(Count("DrainNode", false), 0u);
  EXPECT_EQ(ReasonOf(Drain(2, true).status()), pb::REASON_CONDITION_FAILED);
  ExpectWhole();
}

TEST_F(PlacementTest, ADrainThatCannotBeDoneIsRefused) {
  CreateDatabase("d", 2);
  Kill(4);
  Run(seconds(40));
  const auto refused = Drain(1);
  EXPECT_EQ(ReasonOf(refused.status()), pb::REASON_NOT_ENOUGH_NODES) << refused.status();
  EXPECT_EQ(catalog().nodes().at(1).node().state(), pb::NODE_UP);
  EXPECT_EQ(ReasonOf(Drain(9).status()), pb::REASON_NOT_FOUND);
}

TEST_F(PlacementTest, TheLastGoodCopyIsNotRemovedUnlessItIsNamed) {
  CreateDatabase("single", 3, 1);
  uint64_t holder = 0;
  std::vector<uint64_t> held;
  for (const auto& [id, record] : catalog().regions()) {
    if (holder == 0) holder = record.region().replicas(0).node();
    if (record.region().replicas(0).node() == holder) held.push_back(id);
  }
  Kill(holder);
  Run(seconds(40));
  ASSERT_EQ(catalog().nodes().at(holder).node().state(), pb::NODE_DOWN);
  const auto refused = Remove(holder);
  EXPECT_EQ(ReasonOf(refused.status()), pb::REASON_CONDITION_FAILED);
  EXPECT_THAT(std::string(MessageOf(refused.status())), HasSubstr(fmt::format("regions {}", held[0])));
  EXPECT_EQ(ReasonOf(Remove(holder, {99}).status()), pb::REASON_CONDITION_FAILED);
  EXPECT_TRUE(Remove(holder, held).ok());
  Run(seconds(2));
  EXPECT_EQ(catalog().nodes().at(holder).node().state(), pb::NODE_REMOVED);
}

TEST_F(PlacementTest, AMoveToANodeThatIsAskedToLeaveFails) {
  CreateDatabase("d", 1);
  const pb::ProcedureRecord procedure = FailAMove(catalog().regions().at(1).region());
  EXPECT_EQ(procedure.state(), pb::PROCEDURE_FAILED);
  EXPECT_THAT(procedure.last_error(), HasSubstr("DRAINING"));
}

// Nobody else can lead: the new replica votes beside the old one, takes over, and the old one goes.
TEST_F(PlacementTest, TheOnlyReplicaOfARegionMoves) {
  CreateDatabase("single", 1, 1);
  const uint64_t from = catalog().regions().at(1).region().replicas(0).node();
  pb::ChangeReplicaRequest request;
  request.set_region(1);
  request.set_change(pb::REPLICA_MOVE);
  request.set_from_node(from);
  const auto moved = Ask<pb::ChangeReplicaResponse>("tenure.v1.Regions/ChangeReplica", request);
  ASSERT_TRUE(moved.ok()) << moved.status();
  Run(seconds(15));
  const auto& procedure = catalog().procedures().at(moved->procedure().procedure().id()).procedure();
  EXPECT_EQ(procedure.state(), pb::PROCEDURE_SUCCEEDED) << procedure.DebugString();
  ASSERT_EQ(catalog().regions().at(1).region().replicas_size(), 1);
  EXPECT_EQ(catalog().regions().at(1).region().replicas(0).node(), moved->to_node());
  EXPECT_EQ(transfers, 1);
}

// ---- can-stop ----

TEST_F(PlacementTest, ANodeMayBeStoppedIfEveryRegionKeepsItsMajority) {
  CreateDatabase("d", 8);
  EXPECT_TRUE(CanStop(1)->yes());
  EXPECT_EQ(CanStop(1)->reserved_ms(), 0);
  ASSERT_TRUE(CanStop(1, minutes(10))->yes());
  Run(seconds(1));
  EXPECT_GT(CanStop(1)->reserved_ms(), 500'000);
  const auto conflicting = CanStop(2, minutes(1));
  ASSERT_TRUE(conflicting.ok());
  EXPECT_FALSE(conflicting->yes());
  EXPECT_THAT(conflicting->reasons(0), HasSubstr("node 1 is held"));
  EXPECT_EQ(conflicting->reserved_ms(), 0);
  // The promise outlives the leader that gave it.
  t.Follow(8, 2);
  t.Lead(9);
  for (auto& one : nodes) one->Connect();
  Run(seconds(1));
  EXPECT_FALSE(CanStop(2)->yes());
  ASSERT_TRUE(CanStop(1, {}, /*release=*/true).ok());
  Run(seconds(1));
  EXPECT_TRUE(CanStop(2)->yes());
  EXPECT_EQ(ReasonOf(CanStop(1, {}, true).status()), pb::REASON_NOT_FOUND);
  Kill(3);
  Run(seconds(2));
  const auto no = CanStop(4);
  EXPECT_FALSE(no->yes());
  EXPECT_THAT(no->reasons(0), HasSubstr("no majority"));
  EXPECT_EQ(ReasonOf(CanStop(1, std::chrono::hours(25)).status()), pb::REASON_INVALID_ARGUMENT);
}

TEST_F(PlacementTest, AReservationEnds) {
  CreateDatabase("d", 2);
  ASSERT_TRUE(CanStop(1, seconds(30))->yes());
  Run(seconds(20));
  EXPECT_EQ(HeldNodes(catalog()).size(), 1u);
  Run(seconds(20));
  EXPECT_TRUE(HeldNodes(catalog()).empty());
}

// ---- replicas ----

TEST_F(PlacementTest, ReplicasAreChangedOnRequestWithinReason) {
  CreateDatabase("d", 1);
  const pb::RegionRecord before = catalog().regions().at(1).region();
  uint64_t spare = 1;
  while (std::any_of(before.replicas().begin(), before.replicas().end(),
                     [&](const auto& r) { return r.node() == spare; }))
    ++spare;
  pb::ChangeReplicaRequest request;
  request.set_region(1);
  const auto ask = [&] { return Ask<pb::ChangeReplicaResponse>("tenure.v1.Regions/ChangeReplica", request); };
  EXPECT_EQ(ReasonOf(ask().status()), pb::REASON_INVALID_ARGUMENT);
  request.set_change(pb::REPLICA_MOVE);
  EXPECT_THAT(std::string(MessageOf(ask().status())), HasSubstr("from_node"));
  request.set_from_node(spare);
  EXPECT_THAT(std::string(MessageOf(ask().status())), HasSubstr("holds no replica"));
  request.set_from_node(before.replicas(1).node());
  request.set_to_node(before.replicas(2).node());
  EXPECT_THAT(std::string(MessageOf(ask().status())), HasSubstr("already"));
  request.set_to_node(0);
  request.set_dry_run(true);
  const auto dry = ask();
  ASSERT_TRUE(dry.ok());
  EXPECT_EQ(dry->to_node(), spare);
  EXPECT_GT(dry->explanation_size(), 0);
  EXPECT_TRUE(catalog().regions().at(1).region().joining().empty());
  request.set_dry_run(false);
  request.mutable_id()->set_client_id(5);
  request.mutable_id()->set_sequence(1);
  const auto moved = ask();
  ASSERT_TRUE(moved.ok()) << moved.status();
  EXPECT_EQ(ask()->procedure().procedure().id(), moved->procedure().procedure().id());  // asked again
  request.clear_id();
  EXPECT_EQ(ReasonOf(ask().status()), pb::REASON_BUSY);
  Run(seconds(10));
  EXPECT_EQ(catalog().procedures().at(moved->procedure().procedure().id()).procedure().state(),
            pb::PROCEDURE_SUCCEEDED);
  request.set_change(pb::REPLICA_REMOVE);
  request.set_from_node(spare);
  EXPECT_THAT(std::string(MessageOf(ask().status())), HasSubstr("its database wants 3"));
  request.set_change(pb::REPLICA_ADD);
  request.set_from_node(0);
  ASSERT_TRUE(ask().ok());
  Run(seconds(10));
  EXPECT_EQ(catalog().regions().at(1).region().replicas_size(), 4);
  request.set_change(pb::REPLICA_REMOVE);  // the planner chooses
  ASSERT_TRUE(ask().ok());
  Run(seconds(10));
  ExpectWhole();
  request.set_region(77);
  EXPECT_EQ(ReasonOf(ask().status()), pb::REASON_NOT_FOUND);
  request.mutable_id()->set_client_id(5);
  request.mutable_id()->set_sequence(1);
  EXPECT_EQ(ask()->revision(), moved->revision()) << "it was done, whatever became of the region";
}

}  // namespace
}  // namespace tenure::controller
