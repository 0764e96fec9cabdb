// Rebalancing: pauses, limits, each stage by example; as properties that it comes to rest near even, that no
// step makes worse what counts more, and that limits hold.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <functional>

#include "catalog/refusal.h"
#include "planner/leader_balance.h"
#include "planner/placement.h"
#include "tests/planner/placement_views.h"

namespace tenure::planner {
namespace {

using namespace ::tenure::v1;
using ::testing::HasSubstr;

constexpr uint64_t kGiB = uint64_t{1} << 30;

// No proportional slack, so that even means within one.
RebalanceRequest Exact(uint64_t seed = 1) {
  RebalanceRequest request{.seed = seed};
  for (Slack* slack : {&request.replicas, &request.total_replicas, &request.leaders, &request.total_leaders})
    slack->percent = 0;
  return request;
}

bool AtRest(const RebalancePlan& plan) {
  return plan.moves.empty() && plan.transfers.empty();
}

void ApplyAll(PlacementView& view, const RebalancePlan& plan) {
  for (const ReplicaMove& move : plan.moves) Apply(view, move);
  for (const LeaderTransfer& transfer : plan.transfers) Apply(view, transfer);
}

// Applies plans until there is none; the number of steps.
size_t Settle(PlacementView& view, const RebalanceRequest& request) {
  size_t steps = 0;
  for (int round = 0; round < 10'000; ++round) {
    const auto plan = PlanRebalance(view, request);
    if (AtRest(*plan)) return steps;
    steps += plan->moves.size() + plan->transfers.size();
    ApplyAll(view, *plan);
  }
  ADD_FAILURE() << "does not come to rest";
  return steps;
}

TEST(Rebalance, AnEmptyNodeIsFilled) {
  PlacementView view = NodesView(3);
  AddRegions(view, DatabaseId(1), *PlanCreateRegions(view, {.database = "d", .regions = 16, .replicas = 3}));
  view.nodes.push_back(NodesView(4).nodes[3]);
  RebalanceRequest request = Exact();
  const auto plan = PlanRebalance(view, request);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->moves.size(), 2u) << "as many as a node may take at once";
  EXPECT_TRUE(plan->limited);
  EXPECT_THAT(plan->moves[0].why, HasSubstr("has 16 replicas of database '', node 4 has 0"));
  EXPECT_THAT(plan->explanations[0].Text(), HasSubstr("node 4 chosen:"));
  const size_t steps = Settle(view, request);
  EXPECT_LE(SpreadOf(view, &NodeCounts::replicas).width(), 1u);
  EXPECT_LE(SpreadOf(view, &NodeCounts::leaders).width(), 1u);
  EXPECT_LE(steps, 12u + 8u) << "no replica moves twice";
}

TEST(Rebalance, Pauses) {
  PlacementView view = NodesView(4);
  for (int i = 0; i < 6; ++i) AddRegion(view, 1, {1, 2, 3});
  RebalanceRequest request = Exact();
  request.under_repair = {RegionId(3), RegionId(5)};
  auto plan = PlanRebalance(view, request);
  EXPECT_TRUE(AtRest(*plan));
  EXPECT_EQ(plan->paused, "2 regions are under repair: 3, 5");
  request.under_repair.clear();
  for (const NodeState state : {NODE_DOWN, NODE_SUSPECT, NODE_JOINING, NODE_REMOVED}) {
    NodeOf(view, 3).state = state;
    plan = PlanRebalance(view, request);
    EXPECT_TRUE(AtRest(*plan));
    EXPECT_THAT(plan->paused, HasSubstr("and has 6 replicas"));
  }
  NodeOf(view, 3).state = NODE_UP;
  NodeOf(view, 4).state = NODE_DOWN;  // holds nothing
  EXPECT_EQ(PlanRebalance(view, request)->paused, "");
  EXPECT_EQ(PlanRebalance({}, request)->paused, "");
}

TEST(Rebalance, WhatIsRunningOrCoolingIsLeftAlone) {
  PlacementView view = NodesView(4);
  for (int i = 0; i < 4; ++i) AddRegion(view, 1, {1, 2, 3});
  RebalanceRequest request = Exact();
  request.max_incoming = 4;
  for (const uint64_t region : {1u, 2u, 3u, 4u}) request.cooling.push_back(RegionId(region));
  EXPECT_TRUE(AtRest(*PlanRebalance(view, request)));
  request.cooling.pop_back();
  const auto plan = PlanRebalance(view, request);
  ASSERT_EQ(plan->moves.size(), 1u);
  EXPECT_EQ(plan->moves[0].region, RegionId(4));
  view.regions[3].changing = true;
  EXPECT_TRUE(AtRest(*PlanRebalance(view, request)));
  view.regions[3].changing = false;
  request.cooling.clear();

  // Three moves to node 4 are under way: counted as done, nothing is left to do.
  for (const uint64_t region : {1u, 2u, 3u})
    request.running.push_back({RegionId(region), NodeId(region), NodeId(4)});
  request.max_moves = 4;
  EXPECT_TRUE(PlanRebalance(view, request)->moves.empty());
  request.running.pop_back();
  EXPECT_EQ(PlanRebalance(view, request)->moves.size(), 1u);
  request.max_moves = 2;
  EXPECT_TRUE(PlanRebalance(view, request)->moves.empty());
  EXPECT_TRUE(PlanRebalance(view, request)->limited);
}

TEST(Rebalance, ALeaderHandsOverBeforeItMoves) {
  PlacementView view = NodesView(4);
  AddRegion(view, 1, {1, 2});
  AddRegion(view, 1, {1, 3});
  const auto plan = PlanRebalance(view, Exact());
  ASSERT_EQ(plan->moves.size(), 1u);
  EXPECT_EQ(plan->moves[0].from, NodeId(1));
  EXPECT_EQ(plan->moves[0].to, NodeId(4));
  EXPECT_EQ(plan->moves[0].leader_to, plan->moves[0].region == RegionId(1) ? NodeId(2) : NodeId(3));
}

TEST(Rebalance, BetterSpreadComesFirst) {
  PlacementView view = NodesView(6, 3);  // z1 1 4, z2 2 5, z0 3 6
  view.databases.push_back({.id = DatabaseId(1), .name = "d"});
  AddRegion(view, 1, {1, 4, 2});
  auto plan = PlanRebalance(view, Exact());
  ASSERT_EQ(plan->moves.size(), 1u);
  EXPECT_TRUE(plan->moves[0].from == NodeId(1) || plan->moves[0].from == NodeId(4));
  EXPECT_TRUE(plan->moves[0].to == NodeId(3) || plan->moves[0].to == NodeId(6));
  Settle(view, Exact());
  EXPECT_EQ(SharedDomainsOf(view, NodesOf(view.regions[0])), SharedDomains{});
  // A replica without a required label goes where it belongs, even if that is worse spread.
  view.databases[0].constraints.required_labels = {{"disk", "ssd"}};
  for (const uint64_t node : {1u, 4u, 5u}) NodeOf(view, node).labels = {{"disk", "ssd"}};
  Settle(view, Exact());
  auto nodes = NodesOf(view.regions[0]);
  std::sort(nodes.begin(), nodes.end());
  EXPECT_THAT(nodes, ::testing::ElementsAre(NodeId(1), NodeId(4), NodeId(5)));
}

TEST(Rebalance, TotalsOfManySmallDatabases) {
  PlacementView view = NodesView(6);
  for (uint64_t database = 1; database <= 20; ++database) AddRegion(view, database, {1, 2, 3});
  RebalanceRequest request = Exact();
  Settle(view, request);
  EXPECT_LE(SpreadOf(view, &NodeCounts::replicas).width(), 1u);
  EXPECT_LE(SpreadOf(view, &NodeCounts::leaders).width(), 1u);
}

TEST(Rebalance, BytesByExchange) {
  PlacementView view = NodesView(2);
  for (int i = 0; i < 4; ++i) AddRegion(view, 1, {1}, 10 * kGiB), AddRegion(view, 1, {2}, kGiB);
  RebalanceRequest request = Exact();
  const auto plan = PlanRebalance(view, request);
  ASSERT_EQ(plan->moves.size(), 4u) << "two pairs change places";
  EXPECT_EQ(plan->moves[0].from, NodeId(1));
  EXPECT_EQ(plan->moves[1].from, NodeId(2));
  Settle(view, request);
  EXPECT_EQ(SpreadOf(view, &NodeCounts::bytes).width(), 0u);
  EXPECT_EQ(SpreadOf(view, &NodeCounts::replicas).width(), 0u);
}

TEST(Rebalance, SlackIsLeftAlone) {
  PlacementView view = NodesView(2);
  for (int i = 0; i < 103; ++i) AddRegion(view, 1, {1});
  for (int i = 0; i < 100; ++i) AddRegion(view, 1, {2});
  EXPECT_TRUE(AtRest(*PlanRebalance(view, {})));
  EXPECT_EQ(PlanRebalance(view, Exact())->moves.size(), 1u);
  RebalanceRequest request;
  request.leaders.absolute = 0;
  EXPECT_EQ(catalog::ReasonOf(PlanRebalance(view, request).status()), REASON_INVALID_ARGUMENT);
  EXPECT_THAT(MessageOf(PlanRebalance(view, request).status()),
              HasSubstr("leaders: the slack must be at least 1"));
}

TEST(Rebalance, LeadersInThePreferredZone) {
  PlacementView view = NodesView(4, 2);  // z1 1 3, z0 2 4
  view.databases.push_back(
      {.id = DatabaseId(1), .name = "d", .constraints = {.preferred_leader_zone = "z0"}});
  for (int i = 0; i < 8; ++i) AddRegion(view, 1, {1, i % 2 == 0 ? 2u : 4u});
  for (int i = 0; i < 8; ++i) AddRegion(view, 1, {3, i % 2 == 0 ? 2u : 4u});
  Settle(view, Exact());
  const auto counts = CountsOf(view);
  EXPECT_EQ(counts.at(NodeId(2)).leaders, 8u);
  EXPECT_EQ(counts.at(NodeId(4)).leaders, 8u);
}

// ---- properties ----

struct Measures {
  SharedDomains shared;            // summed over regions
  uint64_t database_replicas = 0;  // sums of squares
  uint64_t replicas = 0;
  double bytes = 0;
  friend auto operator<=>(const Measures&, const Measures&) = default;
};

Measures MeasuresOf(const PlacementView& view) {
  Measures measures;
  for (const PlacementRegion& region : view.regions) {
    const SharedDomains shared = SharedDomainsOf(view, NodesOf(region));
    measures.shared.hosts += shared.hosts;
    measures.shared.racks += shared.racks;
    measures.shared.zones += shared.zones;
  }
  for (const PlacementDatabase& database : view.databases) {
    for (const auto& [node, counts] : CountsOf(view, database.id))
      measures.database_replicas += counts.replicas * counts.replicas;
  }
  for (const auto& [node, counts] : CountsOf(view)) {
    measures.replicas += counts.replicas * counts.replicas;
    measures.bytes += static_cast<double>(counts.bytes) * static_cast<double>(counts.bytes);
  }
  return measures;
}

std::pair<uint64_t, uint64_t> LeaderMeasuresOf(const PlacementView& view) {
  std::pair<uint64_t, uint64_t> measures;
  for (const PlacementDatabase& database : view.databases) {
    for (const auto& [node, counts] : CountsOf(view, database.id))
      measures.first += counts.leaders * counts.leaders;
  }
  for (const auto& [node, counts] : CountsOf(view)) measures.second += counts.leaders * counts.leaders;
  return measures;
}

// From the node with most leaders of a database, by handing over along any chain: the fewest that is reached.
bool AChainOfLeadersImproves(const PlacementView& view, DatabaseId database, uint64_t slack) {
  const auto counts = CountsOf(view, database);
  for (const auto& [start, count] : counts) {
    std::set<NodeId> reached{start};
    for (bool more = true; more;) {
      more = false;
      for (const PlacementRegion& region : view.regions) {
        if (region.database != database || !reached.contains(region.leader)) continue;
        for (const NodeId node : NodesOf(region)) more = reached.insert(node).second || more;
      }
    }
    for (const NodeId node : reached) {
      if (counts.at(node).leaders + slack < count.leaders) return true;
    }
  }
  return false;
}

RebalanceRequest RandomRequest(Prng& prng, uint64_t seed) {
  RebalanceRequest request = prng.Chance(1, 2) ? Exact(seed) : RebalanceRequest{.seed = seed};
  request.max_moves = Draw(prng, 1, 10);
  request.max_transfers = Draw(prng, 1, 10);
  request.max_incoming = Draw(prng, 1, 3);
  request.max_outgoing = Draw(prng, 1, 3);
  request.max_transfers_per_node = Draw(prng, 1, 4);
  return request;
}

// Whatever the view: limits hold, no step makes worse what counts more, and there is an end.
RC_GTEST_PROP(Rebalance, ComesToRest, (uint64_t seed)) {
  Prng prng(seed);
  PlacementView view = RandomNodes(prng, Draw(prng, 2, 12), prng.Chance(1, 2));
  AddRandomRegions(prng, view, Draw(prng, 1, 4), Draw(prng, 1, 60));
  for (PlacementNode& node : view.nodes) {
    if (node.state == NODE_DOWN) node.state = NODE_DRAINING;  // else it is paused
  }
  const RebalanceRequest request = RandomRequest(prng, seed);
  size_t moves = 0;
  size_t replicas = 0;
  for (const PlacementRegion& region : view.regions) replicas += region.replicas.size();
  for (int round = 0;; ++round) {
    RC_ASSERT(round < 2'000);
    const auto plan = PlanRebalance(view, request);
    RC_ASSERT(plan.ok());
    RC_ASSERT(plan->paused == "");
    if (AtRest(*plan)) break;
    RC_ASSERT(plan->moves.size() <= request.max_moves);
    RC_ASSERT(plan->transfers.size() <= request.max_transfers);
    moves += plan->moves.size();
    const Measures before = MeasuresOf(view);
    const auto leaders_before = LeaderMeasuresOf(view);
    std::set<RegionId> regions;
    std::map<NodeId, uint32_t> incoming;
    std::map<NodeId, uint32_t> outgoing;
    std::map<NodeId, uint32_t> transfers;
    for (const ReplicaMove& move : plan->moves) {
      RC_ASSERT(regions.insert(move.region).second);
      RC_ASSERT(++incoming[move.to] <= request.max_incoming);
      RC_ASSERT(++outgoing[move.from] <= request.max_outgoing);
      const PlacementNode& to = NodeOf(view, move.to.value());
      RC_ASSERT(to.state == NODE_UP && to.held_back.empty() && !to.free_bytes);
      const SharedDomains shared = SharedDomainsOf(view, NodesOf(RegionOf(view, move.region)));
      Apply(view, move);
      const auto nodes = NodesOf(RegionOf(view, move.region));
      RC_ASSERT(std::set<NodeId>(nodes.begin(), nodes.end()).size() == nodes.size());
      RC_ASSERT(std::find(nodes.begin(), nodes.end(), RegionOf(view, move.region).leader) != nodes.end());
      RC_ASSERT(SharedDomainsOf(view, nodes) <= shared);
      RC_ASSERT(to.max_replicas == 0 || CountsOf(view).at(to.id).replicas <= to.max_replicas);
    }
    if (!plan->moves.empty()) RC_ASSERT(MeasuresOf(view) < before);
    for (const LeaderTransfer& transfer : plan->transfers) {
      RC_ASSERT(regions.insert(transfer.region).second);
      RC_ASSERT(++transfers[transfer.from] <= request.max_transfers_per_node);
      RC_ASSERT(++transfers[transfer.to] <= request.max_transfers_per_node);
      PlacementRegion& region = RegionOf(view, transfer.region);
      RC_ASSERT(region.leader == transfer.from);
      const auto nodes = NodesOf(region);
      RC_ASSERT(std::find(nodes.begin(), nodes.end(), transfer.to) != nodes.end());
      Apply(view, transfer);
    }
    if (plan->moves.empty()) RC_ASSERT(LeaderMeasuresOf(view) <= leaders_before);
  }
  RC_ASSERT(moves <= 4 * replicas);
}

RC_GTEST_PROP(Rebalance, RestsWithinTheSlackOfEven, (uint64_t seed)) {
  Prng prng(seed);
  PlacementView view = NodesView(Draw(prng, 2, 12));
  AddRandomRegions(prng, view, Draw(prng, 1, 4), Draw(prng, 1, 60));
  Settle(view, Exact(seed));
  const auto plan = PlanRebalance(view, Exact(seed));
  RC_ASSERT(!plan->limited);
  for (const PlacementDatabase& database : view.databases) {
    RC_ASSERT(SpreadOf(view, &NodeCounts::replicas, database.id).width() <= 1);
    RC_ASSERT(!AChainOfLeadersImproves(view, database.id, 1));
  }
  RC_ASSERT(SpreadOf(view, &NodeCounts::replicas).width() <= 1);
}

// With default slack: 5 percent of the mean.
RC_GTEST_PROP(Rebalance, RestsWithinTheDefaultSlack, (uint64_t seed)) {
  Prng prng(seed);
  PlacementView view = NodesView(Draw(prng, 2, 6));
  AddRandomRegions(prng, view, 1, Draw(prng, 100, 200));
  RebalanceRequest request{.max_moves = 100, .max_transfers = 100, .max_incoming = 20, .max_outgoing = 20};
  Settle(view, request);
  uint64_t replicas = 0;
  for (const auto& [node, counts] : CountsOf(view)) replicas += counts.replicas;
  const uint64_t slack = std::max<uint64_t>(1, replicas / view.nodes.size() * 5 / 100);
  RC_ASSERT(SpreadOf(view, &NodeCounts::replicas).width() <= slack);
  const uint64_t leader_slack = std::max<uint64_t>(1, view.regions.size() / view.nodes.size() * 5 / 100);
  RC_ASSERT(!AChainOfLeadersImproves(view, DatabaseId(1), leader_slack));
}

RC_GTEST_PROP(Rebalance, SameInputsSamePlan, (uint64_t seed)) {
  Prng prng(seed);
  PlacementView view = RandomNodes(prng, Draw(prng, 2, 12), true);
  AddRandomRegions(prng, view, 3, 60);
  const auto plan = PlanRebalance(view, Exact(seed));
  Shuffle(prng, view);
  const auto again = PlanRebalance(view, Exact(seed));
  RC_ASSERT(plan->moves.size() == again->moves.size());
  for (size_t i = 0; i < plan->moves.size(); ++i) {
    RC_ASSERT(plan->moves[i].region == again->moves[i].region && plan->moves[i].to == again->moves[i].to);
    RC_ASSERT(plan->moves[i].from == again->moves[i].from && plan->moves[i].why == again->moves[i].why);
  }
  RC_ASSERT(plan->transfers.size() == again->transfers.size());
  for (size_t i = 0; i < plan->transfers.size(); ++i)
    RC_ASSERT(plan->transfers[i].region == again->transfers[i].region &&
              plan->transfers[i].to == again->transfers[i].to);
}

// Steps of a plan may fail or come late: from wherever that leads it comes to rest as well.
RC_GTEST_PROP(Rebalance, ComesToRestIfStepsFail, (uint64_t seed)) {
  Prng prng(seed);
  PlacementView view = RandomNodes(prng, Draw(prng, 2, 10), true);
  AddRandomRegions(prng, view, Draw(prng, 1, 3), Draw(prng, 1, 40));
  RebalanceRequest request = RandomRequest(prng, seed);
  for (int round = 0;; ++round) {
    RC_ASSERT(round < 4'000);
    request.seed = prng.Next64();
    const auto plan = PlanRebalance(view, request);
    if (AtRest(*plan)) break;
    for (const ReplicaMove& move : plan->moves) {
      if (prng.Chance(2, 3)) Apply(view, move);
    }
    for (const LeaderTransfer& transfer : plan->transfers) {
      if (prng.Chance(2, 3)) Apply(view, transfer);
    }
  }
}

// Small enough to try all assignments: chains reach the least sum of squares that there is.
RC_GTEST_PROP(LeaderBalance, FindsTheBestAssignment, (uint64_t seed)) {
  Prng prng(seed);
  const uint32_t nodes = Draw(prng, 1, 5);
  std::vector<LedRegion> regions(Draw(prng, 1, 7));
  std::vector<uint32_t> counts(nodes);
  for (LedRegion& region : regions) {
    for (uint32_t node = 0; node < nodes; ++node) {
      if (prng.Chance(1, 2)) region.candidates.push_back(node);
    }
    if (region.candidates.empty()) region.candidates.push_back(Draw(prng, 0, nodes - 1));
    region.leader = region.candidates[prng.Below(region.candidates.size())];
    ++counts[region.leader];
  }
  const auto squares = [](const std::vector<uint32_t>& values) {
    uint64_t sum = 0;
    for (const uint64_t value : values) sum += value * value;
    return sum;
  };
  uint64_t best = UINT64_MAX;
  std::vector<uint32_t> trial(nodes);
  const std::function<void(size_t)> assign = [&](size_t at) {
    if (at == regions.size()) {
      best = std::min(best, squares(trial));
      return;
    }
    for (const uint32_t node : regions[at].candidates) {
      ++trial[node];
      assign(at + 1);
      --trial[node];
    }
  };
  assign(0);
  uint64_t before = squares(counts);  // the chain
  std::vector<uint32_t> replayed = counts;
  for (const HandOver& hand_over : EvenOutLeaders(regions, counts, {})) {
    --replayed[hand_over.from];
    ++replayed[hand_over.to];
    RC_ASSERT(squares(replayed) <= before);
    if (!hand_over.ends_chain) continue;
    RC_ASSERT(squares(replayed) < before);
    before = squares(replayed);
  }
  RC_ASSERT(replayed == counts);
  RC_ASSERT(squares(counts) == best);
}

}  // namespace
}  // namespace tenure::planner
