// One replica more or less, the reasons of a region's placement, and draining a node.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "catalog/refusal.h"
#include "planner/placement.h"
#include "tests/planner/placement_views.h"

namespace tenure::planner {
namespace {

using namespace ::tenure::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::map<NodeId, Loss> LossesOf(const Explanation& explanation) {
  std::map<NodeId, Loss> losses;
  for (const RejectedNode& node : explanation.rejected) losses[node.node] = node.loss;
  return losses;
}

TEST(PlacementAdd, EveryReasonToLose) {
  PlacementView view = NodesView(14);
  for (PlacementNode& node : view.nodes) node.zone = "z" + node.host, node.rack = "r";
  NodeOf(view, 2).state = NODE_DOWN;
  NodeOf(view, 3).held_back = "reserved";
  NodeOf(view, 4).host = "h1";
  NodeOf(view, 5).rack = "r", NodeOf(view, 5).zone = NodeOf(view, 1).zone;
  NodeOf(view, 6).rack = "other", NodeOf(view, 6).zone = NodeOf(view, 1).zone;
  NodeOf(view, 7).free_bytes = 5000;
  AddRegion(view, 1, {1}, 10'000);
  AddRegion(view, 1, {9});
  AddRegion(view, 2, {10});
  AddRegion(view, 2, {12}, uint64_t{1} << 40);  // as many replicas as 11 .. 14, more bytes
  for (const uint64_t node : {11u, 13u, 14u}) AddRegion(view, 2, {node});
  for (const uint64_t node : {2u, 3u, 4u, 5u, 6u, 7u, 8u}) AddRegion(view, 2, {node});
  AddRegion(view, 2, {10});
  AddRegion(view, 3, {1, 13});
  AddRegion(view, 3, {14});
  AddRegion(view, 3, {11}), AddRegion(view, 3, {12});
  AddRegion(view, 3, {8});
  const auto plan =
      PlanAddReplica(view, {.region = RegionId(1), .excluded = {NodeId(8), NodeId(99)}, .seed = 3});
  ASSERT_TRUE(plan.ok()) << plan.status();
  const std::string text = plan->explanation.Text();
  EXPECT_TRUE(plan->node == NodeId(10) || plan->node == NodeId(11) || plan->node == NodeId(14)) << text;
  std::map<NodeId, Loss> losses = LossesOf(plan->explanation);
  EXPECT_EQ(losses[NodeId(1)], Loss::kHoldsReplica) << text;
  EXPECT_EQ(losses[NodeId(2)], Loss::kNotUp);
  EXPECT_EQ(losses[NodeId(3)], Loss::kHeldBack);
  EXPECT_EQ(losses[NodeId(4)], Loss::kSameHost);
  EXPECT_EQ(losses[NodeId(5)], Loss::kSameRack);
  EXPECT_EQ(losses[NodeId(6)], Loss::kSameZone);
  EXPECT_EQ(losses[NodeId(7)], Loss::kFull);
  EXPECT_EQ(losses[NodeId(8)], Loss::kExcluded);
  EXPECT_EQ(losses[NodeId(9)], Loss::kDatabaseReplicas);
  EXPECT_EQ(losses[NodeId(12)], Loss::kBytes);
  EXPECT_EQ(losses[NodeId(13)], Loss::kShared);
  EXPECT_EQ(losses.size(), 13u);
  EXPECT_THAT(text, HasSubstr("node 2 not: is DOWN\n"));
  EXPECT_THAT(text, HasSubstr("node 4 not: same host 'h1' as the replica on node 1\n"));
  EXPECT_THAT(text, HasSubstr("node 6 not: same zone 'zh1' as the replica on node 1\n"));
  EXPECT_THAT(text, HasSubstr("more replicas of the database than node"));
  EXPECT_THAT(text, HasSubstr("(1 > 0)"));
}

TEST(PlacementAdd, ARepairReplacesTheLostReplica) {
  PlacementView view = NodesView(6, 3);  // zones: z1 1 4, z2 2 5, z0 3 6
  AddRegion(view, 1, {1, 2, 3});
  NodeOf(view, 1).state = NODE_DOWN;
  const auto plan = PlanAddReplica(view, {.region = RegionId(1), .replaces = NodeId(1)});
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->node, NodeId(4)) << plan->explanation.Text();
  EXPECT_TRUE(plan->given_up.empty());
  // One more: some zone must be shared.
  const auto more = PlanAddReplica(view, {.region = RegionId(1)});
  ASSERT_TRUE(more.ok());
  ASSERT_EQ(more->given_up.size(), 1u);
  EXPECT_EQ(more->given_up[0].level, PlacementLevel::kZone);
  EXPECT_THAT(more->explanation.Text(),
              HasSubstr("not on distinct zones: 4 replicas, and 3 zones with a candidate"));
}

TEST(PlacementAdd, Refusals) {
  PlacementView view = NodesView(3);
  AddRegion(view, 1, {1, 2});
  view.databases.push_back({.id = DatabaseId(1), .name = "orders"});
  NodeOf(view, 3).state = NODE_SUSPECT;
  EXPECT_EQ(catalog::ReasonOf(PlanAddReplica(view, {.region = RegionId(7)}).status()), REASON_NOT_FOUND);
  EXPECT_EQ(MessageOf(PlanAddReplica(view, {.region = RegionId(1)}).status()),
            "region 1 of database 'orders': one replica more needs 1 node that can take a replica; 0 of 3 "
            "can: node 1 "
            "holds a replica of the region already; node 2 holds a replica of the region already; node 3 is "
            "SUSPECT");
  EXPECT_EQ(catalog::ReasonOf(PlanAddReplica(view, {.region = RegionId(1), .replaces = NodeId(3)}).status()),
            REASON_INVALID_ARGUMENT);
}

RC_GTEST_PROP(PlacementAdd, TheBestSpreadThereIs, (uint64_t seed)) {
  Prng prng(seed);
  PlacementView view = RandomNodes(prng, Draw(prng, 2, 20), false);
  AddRandomRegions(prng, view, 2, 20);
  const PlacementRegion& region = view.regions[prng.Below(view.regions.size())];
  const auto plan = PlanAddReplica(view, {.region = region.id, .seed = seed, .explain = {.nodes = 100}});
  const auto spread_with = [&](NodeId node) {
    std::vector<NodeId> nodes = NodesOf(region);
    nodes.push_back(node);
    return SharedDomainsOf(view, nodes);
  };
  std::vector<NodeId> candidates;
  for (const PlacementNode& node : view.nodes) {
    const auto counts = CountsOf(view);
    const auto nodes = NodesOf(region);
    if (node.state == NODE_UP && node.held_back.empty() && !node.free_bytes &&
        (node.max_replicas == 0 || counts.at(node.id).replicas < node.max_replicas) &&
        std::find(nodes.begin(), nodes.end(), node.id) == nodes.end())
      candidates.push_back(node.id);
  }
  RC_ASSERT(plan.ok() == !candidates.empty());
  if (!plan.ok()) return;
  RC_ASSERT(std::find(candidates.begin(), candidates.end(), plan->node) != candidates.end());
  for (const NodeId node : candidates) {
    RC_ASSERT(spread_with(plan->node) <= spread_with(node));
    if (spread_with(plan->node) == spread_with(node)) {
      RC_ASSERT(CountsOf(view, region.database).at(plan->node).replicas <=
                CountsOf(view, region.database).at(node).replicas);
    }
  }
  RC_ASSERT(plan->explanation.rejected.size() + 1 == view.nodes.size());
  for (const RejectedNode& node : plan->explanation.rejected) {
    const bool candidate = std::find(candidates.begin(), candidates.end(), node.node) != candidates.end();
    RC_ASSERT(candidate == (node.loss > Loss::kHoldsReplica));
  }
}

// ---- repairs ----

// Regions of three replicas on distinct nodes; one of the nodes is lost.
PlacementView LostNodeView(uint32_t nodes, uint32_t regions, RepairRequest& request) {
  PlacementView view = NodesView(nodes);
  view.databases.push_back({.id = DatabaseId(1), .name = "orders"});
  for (uint32_t i = 0; i < regions; ++i)
    AddRegion(view, 1, {i % nodes + 1, (i + 1) % nodes + 1, (i + 2) % nodes + 1});
  NodeOf(view, nodes).state = NODE_DOWN;
  for (const PlacementRegion& region : view.regions) {
    const std::vector<NodeId> on = NodesOf(region);
    if (std::find(on.begin(), on.end(), NodeId(nodes)) != on.end())
      request.wanted.push_back({region.id, NodeId(nodes)});
  }
  return view;
}

TEST(PlacementRepairs, WhatHasToWaitIsNotStuck) {
  RepairRequest request;
  const PlacementView view = LostNodeView(4, 4000, request);
  ASSERT_EQ(request.wanted.size(), 3000u);
  RepairPlan plan = PlanRepairs(view, request);
  // Each of the three that are left takes four.
  ASSERT_EQ(plan.repairs.size(), 12u);
  EXPECT_EQ(plan.queued.size(), 2988u);
  EXPECT_TRUE(plan.stuck.empty()) << plan.stuck[0].why;
  std::map<NodeId, uint32_t> incoming;
  for (const PlannedReplica& planned : plan.repairs) {
    ++incoming[planned.node];
    EXPECT_EQ(planned.replaces, NodeId(4));
    PlacementView copy = view;
    const std::vector<NodeId> on = NodesOf(RegionOf(copy, planned.region));
    EXPECT_EQ(std::find(on.begin(), on.end(), planned.node), on.end());
  }
  for (uint64_t node = 1; node <= 3; ++node) EXPECT_EQ(incoming[NodeId(node)], 4u);
  // They run now: nothing can be added.
  request.incoming = incoming;
  plan = PlanRepairs(view, request);
  EXPECT_TRUE(plan.repairs.empty());
  EXPECT_EQ(plan.queued.size(), 3000u);
  EXPECT_TRUE(plan.stuck.empty());
  // One has ended.
  --request.incoming[NodeId(2)];
  plan = PlanRepairs(view, request);
  ASSERT_EQ(plan.repairs.size(), 1u);
  EXPECT_EQ(plan.repairs[0].node, NodeId(2));
  request = {.wanted = request.wanted, .max_repairs = 5};
  plan = PlanRepairs(view, request);
  EXPECT_EQ(plan.repairs.size(), 5u);
  EXPECT_EQ(plan.queued.size(), 2995u);
}

TEST(PlacementRepairs, WhatNobodyCanTakeIsStuckAndAFewSayWhy) {
  RepairRequest request;
  const PlacementView view = LostNodeView(3, 3000, request);
  ASSERT_EQ(request.wanted.size(), 3000u);
  request.incoming = {{NodeId(1), 9}, {NodeId(2), 9}};  // if they were free it would not help
  request.wanted.push_back({RegionId(99'999), NodeId()});
  request.wanted.push_back({RegionId(1), NodeId(77)});
  const RepairPlan plan = PlanRepairs(view, request);
  EXPECT_TRUE(plan.repairs.empty());
  EXPECT_TRUE(plan.queued.empty());
  ASSERT_EQ(plan.stuck.size(), 3002u);
  EXPECT_EQ(
      plan.stuck[0].why,
      std::string(MessageOf(PlanAddReplica(view, {.region = RegionId(1), .replaces = NodeId(3)}).status())));
  EXPECT_THAT(plan.stuck[15].why, HasSubstr("node 1 holds a replica"));
  EXPECT_EQ(plan.stuck[16].why, "no node can take it; the reasons are told for other regions");
  EXPECT_EQ(plan.stuck[3000].why, "it does not exist");
  EXPECT_EQ(plan.stuck[3001].why, "it has no replica on node 77");
}

// One after the other, each as if it were asked for alone.
RC_GTEST_PROP(PlacementRepairs, AsGoodAsOneByOne, (uint64_t seed)) {
  Prng prng(seed);
  PlacementView view = RandomNodes(prng, Draw(prng, 2, 20), false);
  AddRandomRegions(prng, view, 3, 20);
  RepairRequest request{.max_repairs = 100, .max_incoming = 100, .seed = seed};
  for (const PlacementRegion& region : view.regions)
    request.wanted.push_back({region.id, prng.Below(2) == 0 ? NodeId() : region.replicas[0].node});
  const RepairPlan plan = PlanRepairs(view, request);
  RC_ASSERT(plan.queued.empty());
  std::map<RegionId, NodeId> planned;
  for (const PlannedReplica& repair : plan.repairs) planned[repair.region] = repair.node;
  RC_ASSERT(planned.size() + plan.stuck.size() == request.wanted.size());
  for (const WantedReplica& wanted : request.wanted) {
    const auto alone =
        PlanAddReplica(view, {.region = wanted.region, .replaces = wanted.replaces, .seed = seed});
    const auto found = planned.find(wanted.region);
    RC_ASSERT(alone.ok() == (found != planned.end()));
    if (!alone.ok()) continue;
    PlacementRegion& region = RegionOf(view, wanted.region);
    const auto spread_with = [&](NodeId node) {
      std::vector<NodeId> nodes = NodesOf(region);
      std::erase(nodes, wanted.replaces);
      RC_ASSERT(std::find(nodes.begin(), nodes.end(), node) == nodes.end());
      nodes.push_back(node);
      return SharedDomainsOf(view, nodes);
    };
    RC_ASSERT(found->second != wanted.replaces);
    RC_ASSERT(spread_with(found->second) == spread_with(alone->node));
    region.replicas.push_back({.node = found->second});
  }
}

TEST(PlacementRemove, WhichOneGoes) {
  struct Case {
    const char* what;
    std::function<void(PlacementView&)> change;
    uint64_t expected;
    std::map<NodeId, Loss> kept;  // of node 1
  };
  const std::vector<Case> cases{
      {"the lost one",
       [](auto& view) { NodeOf(view, 3).state = NODE_DOWN; },
       3,
       {{NodeId(1), Loss::kNeeded}}},
      {"the learner",
       [](auto& view) { view.regions[0].replicas[1].learner = true; },
       2,
       {{NodeId(1), Loss::kVoter}}},
      {"from a draining node",
       [](auto& view) { NodeOf(view, 2).state = NODE_DRAINING; },
       2,
       {{NodeId(1), Loss::kMissingLabel}}},
      {"without the label",
       [](auto& view) {
         view.databases[0].constraints.required_labels = {{"disk", "ssd"}};
         for (const uint64_t node : {1u, 3u, 4u}) NodeOf(view, node).labels = {{"disk", "ssd"}};
       },
       2,
       {{NodeId(1), Loss::kMissingLabel}}},
      {"the one beside another",
       [](auto& view) { NodeOf(view, 3).host = "h2", AddRegion(view, 1, {3}); },
       3,
       {{NodeId(1), Loss::kSpread}}},
      {"the fullest of the database",
       [](auto& view) { AddRegion(view, 1, {2}); },
       2,
       {{NodeId(1), Loss::kDatabaseReplicas}}},
      {"the fullest", [](auto& view) { AddRegion(view, 2, {3}); }, 3, {{NodeId(1), Loss::kReplicas}}},
      {"the one with most bytes",
       [](auto& view) {
         AddRegion(view, 2, {1}), AddRegion(view, 2, {2}, uint64_t{1} << 40), AddRegion(view, 2, {3});
       },
       2,
       {{NodeId(1), Loss::kBytes}}},
  };
  for (const Case& one : cases) {
    PlacementView view = NodesView(4);
    view.databases.push_back({.id = DatabaseId(1), .name = "orders"});
    AddRegion(view, 1, {1, 2, 3});
    one.change(view);
    const auto plan = PlanRemoveReplica(view, {.region = RegionId(1), .seed = 1});
    ASSERT_TRUE(plan.ok()) << one.what << plan.status();
    EXPECT_EQ(plan->node, NodeId(one.expected)) << one.what << ": " << plan->explanation.Text();
    EXPECT_EQ(plan->leader_to, NodeId()) << one.what;
    EXPECT_EQ(LossesOf(plan->explanation)[NodeId(1)], one.kept.begin()->second)
        << one.what << ": " << plan->explanation.Text();
  }
}

TEST(PlacementRemove, NotTheLeaderAndNotTheMajority) {
  PlacementView view = NodesView(3);
  AddRegion(view, 1, {1, 2, 3});
  for (uint64_t seed = 1; seed < 20; ++seed) {
    EXPECT_NE(PlanRemoveReplica(view, {.region = RegionId(1), .seed = seed})->node, NodeId(1));
  }
  // The leader has to go: it is told to whom it hands over first.
  NodeOf(view, 1).state = NODE_DRAINING;
  const auto leader = PlanRemoveReplica(view, {.region = RegionId(1)});
  EXPECT_EQ(leader->node, NodeId(1));
  EXPECT_TRUE(leader->leader_to == NodeId(2) || leader->leader_to == NodeId(3));

  // Two of four are lost: no majority, whatever goes is no loss of one. Of three one is lost: that one goes.
  AddRegion(view, 1, {2});
  EXPECT_EQ(MessageOf(PlanRemoveReplica(view, {.region = RegionId(2)}).status()),
            "region 2 of database '' has 1 replicas: the last one cannot be given up");
  EXPECT_EQ(catalog::ReasonOf(PlanRemoveReplica(view, {.region = RegionId(9)}).status()), REASON_NOT_FOUND);
  // One voter and a learner on a node that is lost: the learner goes. With the voter's node lost nothing is
  // certain.
  AddRegion(view, 1, {2, 3});
  view.regions[2].replicas[1].learner = true;
  EXPECT_EQ(PlanRemoveReplica(view, {.region = RegionId(3)})->node, NodeId(3));
  view.regions[2].replicas.pop_back();
  view.regions[2].replicas.push_back({.node = NodeId(1)});
  EXPECT_TRUE(PlanRemoveReplica(view, {.region = RegionId(3)}).ok());
}

TEST(PlacementRemove, NoneWithoutWhichTheMajorityIsLost) {
  PlacementView view = NodesView(5);
  AddRegion(view, 1, {1, 2, 3, 4, 5});
  NodeOf(view, 4).state = NODE_DOWN;
  NodeOf(view, 5).state = NODE_SUSPECT;
  const auto plan = PlanRemoveReplica(view, {.region = RegionId(1)});
  ASSERT_TRUE(plan.ok());
  EXPECT_TRUE(plan->node == NodeId(4) || plan->node == NodeId(5));
  EXPECT_EQ(LossesOf(plan->explanation)[NodeId(1)], Loss::kNeeded);
}

TEST(PlacementExplain, ARegionAsItStands) {
  PlacementView view = NodesView(5, 3);  // z1 1 4, z2 2 5, z0 3
  AddRegion(view, 1, {1, 4, 2});
  const auto explained = ExplainRegion(view, {.region = RegionId(1), .explain = {.decisions = 9}});
  ASSERT_TRUE(explained.ok());
  ASSERT_EQ(explained->size(), 3u);
  EXPECT_EQ(LossesOf((*explained)[1])[NodeId(3)], Loss::kNotLost) << (*explained)[1].Text();
  EXPECT_EQ(LossesOf((*explained)[1])[NodeId(1)], Loss::kHoldsReplica);
  EXPECT_EQ((*explained)[1].given_up.size(), 1u);
  NodeOf(view, 4).state = NODE_DOWN;
  EXPECT_THAT((*ExplainRegion(view, {.region = RegionId(1), .explain = {.decisions = 9}}))[1].Text(),
              HasSubstr("node 4 chosen: no_candidate_today=is DOWN"));
  EXPECT_EQ(catalog::ReasonOf(ExplainRegion(view, {.region = RegionId(4)}).status()), REASON_NOT_FOUND);
}

TEST(PlacementDrain, LeadershipsFirstAndWhatIsStuck) {
  PlacementView view = NodesView(3);
  AddRegion(view, 1, {1, 2, 3});
  AddRegion(view, 1, {1});
  AddRegion(view, 1, {2, 1});
  const auto plan = PlanDrain(view, {.node = NodeId(1)});
  ASSERT_TRUE(plan.ok());
  ASSERT_EQ(plan->transfers.size(), 1u);
  EXPECT_EQ(plan->transfers[0].region, RegionId(1));
  EXPECT_EQ(plan->transfers[0].to, NodeId(3)) << "node 2 leads already";
  ASSERT_EQ(plan->stuck_leaders.size(), 1u);
  EXPECT_EQ(plan->stuck_leaders[0].region, RegionId(2));
  ASSERT_EQ(plan->stuck.size(), 1u);
  EXPECT_EQ(plan->stuck[0].region, RegionId(1));
  EXPECT_THAT(plan->stuck[0].why, HasSubstr("node 1 excluded by the request; node 2 holds a replica"));
  EXPECT_EQ(plan->moves.size(), 2u);
  EXPECT_EQ(catalog::ReasonOf(PlanDrain(view, {.node = NodeId(4)}).status()), REASON_NOT_FOUND);
}

RC_GTEST_PROP(PlacementDrain, EmptiesTheNode, (uint64_t seed)) {
  Prng prng(seed);
  PlacementView view = RandomNodes(prng, Draw(prng, 2, 20), prng.Chance(1, 2));
  AddRandomRegions(prng, view, 3, 60);
  const PlacementView before = view;
  const NodeId drained = view.nodes[prng.Below(view.nodes.size())].id;
  const uint64_t replicas = CountsOf(view).at(drained).replicas;
  const auto plan = PlanDrain(view, {.node = drained, .seed = seed});
  RC_ASSERT(plan.ok());
  RC_ASSERT(plan->moves.size() + plan->stuck.size() == replicas);
  for (const LeaderTransfer& transfer : plan->transfers) {
    RC_ASSERT(RegionOf(view, transfer.region).leader == drained);
    RC_ASSERT(NodeOf(view, transfer.to.value()).state == NODE_UP);
    const auto nodes = NodesOf(RegionOf(view, transfer.region));
    RC_ASSERT(std::find(nodes.begin(), nodes.end(), transfer.to) != nodes.end());
    Apply(view, transfer);
  }
  for (const ReplicaMove& move : plan->moves) {
    RC_ASSERT(move.from == drained);
    RC_ASSERT(NodeOf(view, move.to.value()).state == NODE_UP && move.to != drained);
    Apply(view, move);
    const auto nodes = NodesOf(RegionOf(view, move.region));
    RC_ASSERT(std::set<NodeId>(nodes.begin(), nodes.end()).size() == nodes.size());
  }
  RC_ASSERT(CountsOf(view).at(drained).replicas == plan->stuck.size());
  if (!plan->stuck.empty()) return;
  RC_ASSERT(CountsOf(view).at(drained).leaders == 0u);
  // On healthy nodes everything has somewhere to go unless every node holds a replica.
  PlacementView shuffled = before;
  Shuffle(prng, shuffled);
  const auto again = PlanDrain(shuffled, {.node = drained, .seed = seed});
  RC_ASSERT(again->moves.size() == plan->moves.size());
  for (size_t i = 0; i < plan->moves.size(); ++i) RC_ASSERT(again->moves[i].to == plan->moves[i].to);
}

TEST(PlacementDrain, TheOthersStayEven) {
  PlacementView view = NodesView(11);
  CreateRegionsRequest request{.database = "d", .regions = 110, .replicas = 3, .seed = 5};
  AddRegions(view, DatabaseId(1), *PlanCreateRegions(view, request));
  const auto plan = PlanDrain(view, {.node = NodeId(4)});
  for (const LeaderTransfer& transfer : plan->transfers) Apply(view, transfer);
  for (const ReplicaMove& move : plan->moves) Apply(view, move);
  NodeOf(view, 4).state = NODE_DRAINING;
  EXPECT_LE(SpreadOf(view, &NodeCounts::replicas).width(), 1u);
  EXPECT_LE(SpreadOf(view, &NodeCounts::leaders).width(), 2u);
}

}  // namespace
}  // namespace tenure::planner
