// New regions: constraints, evenness, refusals, explanations, and the comparison with a greedy planner.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "catalog/refusal.h"
#include "planner/placement.h"
#include "tests/planner/placement_views.h"

namespace tenure::planner {
namespace {

using namespace ::tenure::v1;
using ::testing::HasSubstr;

CreateRegionsRequest Request(uint32_t regions, uint32_t replicas, uint64_t seed = 1) {
  return {.database = "orders", .regions = regions, .replicas = replicas, .seed = seed};
}

TEST(PlacementCreate, DistinctHostsRacksZonesAsFarAsLabelsAllow) {
  struct Case {
    const char* what;
    std::vector<std::array<const char*, 3>> nodes;  // zone, rack, host
    uint32_t replicas;
    SharedDomains expected;
    std::vector<PlacementLevel> given_up;
  };
  using enum PlacementLevel;
  const std::vector<Case> cases{
      {"three zones",
       {{"a", "", "1"}, {"a", "", "2"}, {"b", "", "3"}, {"b", "", "4"}, {"c", "", "5"}},
       3,
       {},
       {}},
      {"two zones", {{"a", "", "1"}, {"a", "", "2"}, {"b", "", "3"}, {"b", "", "4"}}, 3, {0, 1, 1}, {kZone}},
      {"two zones of racks",
       {{"a", "1", "1"}, {"a", "1", "2"}, {"a", "2", "3"}, {"b", "1", "4"}, {"b", "1", "5"}},
       3,
       {0, 0, 1},
       {kZone}},
      {"racks", {{"", "1", "1"}, {"", "1", "2"}, {"", "2", "3"}, {"", "3", "4"}}, 3, {}, {}},
      {"hosts", {{"", "", "1"}, {"", "", "1"}, {"", "", "2"}, {"", "", "2"}, {"", "", "3"}}, 3, {}, {}},
      {"one host", {{"", "", "1"}, {"", "", "1"}, {"", "", "1"}}, 3, {3, 0, 0}, {kHost}},
      {"hosts before zones",
       {{"a", "", "1"}, {"a", "", "2"}, {"a", "", "3"}, {"b", "", "4"}, {"b", "", "4"}},
       4,
       {0, 3, 3},
       {kZone}},
      {"a host in two zones", {{"a", "", "1"}, {"b", "", "1"}, {"a", "", "2"}}, 2, {0, 0, 0}, {}},
  };
  for (const Case& one : cases) {
    PlacementView view;
    for (const auto& [zone, rack, host] : one.nodes) {
      view.nodes.push_back(
          {.id = NodeId(view.nodes.size() + 1), .state = NODE_UP, .host = host, .rack = rack, .zone = zone});
    }
    SharedDomains expected = one.expected;
    // Where no node has a rack, racks constrain nothing.
    if (one.nodes.front()[1] == std::string()) expected.racks = 0;
    const auto plan = PlanCreateRegions(view, Request(1, one.replicas));
    ASSERT_TRUE(plan.ok()) << one.what << plan.status();
    EXPECT_EQ(SharedDomainsOf(view, plan->regions[0]), expected)
        << one.what << ": " << plan->explanations[0].Text();
    std::vector<PlacementLevel> given_up;
    for (const GivenUp& level : plan->given_up) given_up.push_back(level.level);
    EXPECT_EQ(given_up, one.given_up) << one.what;
  }
}

TEST(PlacementCreate, RequiredLabels) {
  PlacementView view = NodesView(6, 3);
  for (const uint64_t id : {2u, 3u, 4u}) NodeOf(view, id).labels = {{"disk", "ssd"}, {"size", "big"}};
  NodeOf(view, 1).labels = {{"disk", "ssd"}};
  CreateRegionsRequest request = Request(10, 3);
  request.constraints.required_labels = {{"disk", "ssd"}, {"size", "big"}};
  const auto plan = PlanCreateRegions(view, request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  for (auto nodes : plan->regions) {
    std::sort(nodes.begin(), nodes.end());
    EXPECT_THAT(nodes, ::testing::ElementsAre(NodeId(2), NodeId(3), NodeId(4)));
  }
  EXPECT_THAT(plan->explanations[0].Text(),
              HasSubstr("node 1 not: lacks the label size=big that the database requires"));
}

TEST(PlacementCreate, LeadersInThePreferredZone) {
  PlacementView view = NodesView(6, 3);
  CreateRegionsRequest request = Request(30, 3);
  request.constraints.preferred_leader_zone = "z1";
  const auto plan = PlanCreateRegions(view, request);
  ASSERT_TRUE(plan.ok());
  std::map<NodeId, int> leaders;
  for (const auto& nodes : plan->regions) ++leaders[nodes.front()];
  EXPECT_THAT(leaders, ::testing::ElementsAre(std::pair(NodeId(1), 15), std::pair(NodeId(4), 15)));
}

TEST(PlacementCreate, RefusalNamesEveryNodeThatIsNone) {
  PlacementView view = NodesView(7);
  NodeOf(view, 1).state = NODE_DOWN;
  NodeOf(view, 2).state = NODE_DRAINING;
  NodeOf(view, 3).free_bytes = 1000;
  NodeOf(view, 4).held_back = "reserved until 12:00";
  NodeOf(view, 5).max_replicas = 1;
  AddRegion(view, 9, {5});
  const auto plan = PlanCreateRegions(view, Request(4, 3));
  EXPECT_EQ(catalog::ReasonOf(plan.status()), REASON_NOT_ENOUGH_NODES);
  EXPECT_EQ(MessageOf(plan.status()),
            "database 'orders' needs 3 nodes that can take a replica; 2 of 7 can: node 1 is DOWN; node 2 is "
            "DRAINING; "
            "node 3 full: 1000 bytes free, 0 are needed beside the 536870912 that stay free; "
            "node 4 reserved until 12:00; node 5 has 1 replicas, its limit is 1");
  EXPECT_EQ(catalog::ReasonOf(PlanCreateRegions({}, Request(1, 1)).status()), REASON_NOT_ENOUGH_NODES);
  EXPECT_EQ(catalog::ReasonOf(PlanCreateRegions(view, Request(0, 1)).status()), REASON_INVALID_ARGUMENT);
  EXPECT_EQ(catalog::ReasonOf(PlanCreateRegions(view, Request(1, 0)).status()), REASON_INVALID_ARGUMENT);
}

TEST(PlacementCreate, LimitsOfNodesEndThePlan) {
  PlacementView view = NodesView(3);
  for (PlacementNode& node : view.nodes) node.max_replicas = 4;
  EXPECT_TRUE(PlanCreateRegions(view, Request(4, 3)).ok());
  const auto plan = PlanCreateRegions(view, Request(5, 3));
  EXPECT_EQ(catalog::ReasonOf(plan.status()), REASON_NOT_ENOUGH_NODES);
  EXPECT_THAT(MessageOf(plan.status()),
              HasSubstr("region 5 of 5 needs 3 nodes that can take a replica; 0 of 3 can: "
                        "node 1 has 4 replicas, its limit is 4"));
}

TEST(PlacementCreate, WhoHasMoreGetsLess) {
  struct Case {
    const char* what;
    uint32_t regions;  // that node 1 holds already, of another database
    uint64_t bytes;
    Loss loss;
  };
  for (const Case& one :
       {Case{"replicas", 3, 0, Loss::kReplicas}, Case{"bytes", 1, uint64_t{8} << 30, Loss::kBytes}}) {
    PlacementView view = NodesView(4);
    for (uint32_t i = 0; i < one.regions; ++i) AddRegion(view, 9, {1}, one.bytes);
    if (one.loss == Loss::kBytes) {
      for (const uint64_t node : {2u, 3u, 4u}) AddRegion(view, 9, {node});
    }
    const auto plan = PlanCreateRegions(view, Request(1, 3));
    ASSERT_TRUE(plan.ok());
    const Explanation& why = plan->explanations[0];
    ASSERT_EQ(why.rejected.size(), 1u);
    EXPECT_EQ(why.rejected[0].node, NodeId(1)) << one.what;
    EXPECT_EQ(why.rejected[0].loss, one.loss) << why.Text();
  }
}

TEST(PlacementCreate, ExplanationIsBounded) {
  CreateRegionsRequest request = Request(5, 3);
  request.explain = {.decisions = 2, .nodes = 4};
  PlacementView view = NodesView(20);
  NodeOf(view, 20).state = NODE_DOWN;
  const auto plan = PlanCreateRegions(view, request);
  ASSERT_TRUE(plan.ok());
  ASSERT_EQ(plan->explanations.size(), 2u);
  const Explanation& second = plan->explanations[1];
  EXPECT_EQ(second.rejected.size(), 4u);
  uint32_t omitted = 0;
  for (const auto& [loss, count] : second.omitted) omitted += count;
  EXPECT_EQ(omitted + 4 + 3, 20u);
  EXPECT_EQ(second.omitted.at(Loss::kNotUp), 1u);
  EXPECT_THAT(second.Text(), HasSubstr("  1 more node not: NOT_UP\n"));
  EXPECT_THAT(second.Text(), HasSubstr("region 2 of 5 of new database 'orders': 3 replicas\n"));
  EXPECT_THAT(second.Text(), HasSubstr("more replicas of the database than node"));
}

// The best that any choice of nodes has.
SharedDomains BestSpread(const PlacementView& view, uint32_t replicas) {
  SharedDomains best{UINT32_MAX, 0, 0};
  for (uint32_t set = 0; set < 1u << view.nodes.size(); ++set) {
    std::vector<NodeId> nodes;
    for (size_t i = 0; i < view.nodes.size(); ++i) {
      if ((set >> i & 1) != 0 && view.nodes[i].state == NODE_UP) nodes.push_back(view.nodes[i].id);
    }
    if (nodes.size() == replicas) best = std::min(best, SharedDomainsOf(view, nodes));
  }
  return best;
}

RC_GTEST_PROP(PlacementCreate, SpreadAsFarAsLabelsAllow, (uint64_t seed)) {
  Prng prng(seed);
  const PlacementView view = RandomNodes(prng, Draw(prng, 1, 9), true);
  const uint32_t replicas = Draw(prng, 1, std::min<uint64_t>(5, view.nodes.size()));
  const auto plan = PlanCreateRegions(view, Request(4, replicas, seed));
  RC_ASSERT(plan.ok());
  const SharedDomains best = BestSpread(view, replicas);
  bool given_up = false;
  for (const auto& nodes : plan->regions) {
    RC_ASSERT(std::set<NodeId>(nodes.begin(), nodes.end()).size() == replicas);
    RC_ASSERT(SharedDomainsOf(view, nodes) == best);
    given_up = given_up || best != SharedDomains{};
  }
  RC_ASSERT(plan->given_up.empty() != given_up);
}

RC_GTEST_PROP(PlacementCreate, OnlyCandidatesAndEveryNodeIsExplained, (uint64_t seed)) {
  Prng prng(seed);
  PlacementView view = RandomNodes(prng, Draw(prng, 3, 30), false);
  CreateRegionsRequest request = Request(Draw(prng, 1, 8), Draw(prng, 1, 4), seed);
  if (prng.Chance(1, 3)) request.constraints.required_labels = {{"disk", "ssd"}};
  request.explain = {.decisions = 100, .nodes = 100};
  const auto plan = PlanCreateRegions(view, request);
  if (!plan.ok()) {
    RC_ASSERT(catalog::ReasonOf(plan.status()) == REASON_NOT_ENOUGH_NODES);
    return;
  }
  std::map<NodeId, uint32_t> counts;
  for (size_t i = 0; i < plan->regions.size(); ++i) {
    const auto& nodes = plan->regions[i];
    std::set<NodeId> named;
    for (const NodeId id : nodes) {
      const PlacementNode& node = NodeOf(view, id.value());
      RC_ASSERT(node.state == NODE_UP && node.held_back.empty() && !node.free_bytes);
      RC_ASSERT(node.max_replicas == 0 || ++counts[id] <= node.max_replicas);
      RC_ASSERT(request.constraints.required_labels.empty() || !node.labels.empty());
    }
    const Explanation& why = plan->explanations[i];
    for (const ChosenNode& node : why.chosen) RC_ASSERT(named.insert(node.node).second);
    RC_ASSERT(named == std::set<NodeId>(nodes.begin(), nodes.end()));
    for (const RejectedNode& node : why.rejected) {
      RC_ASSERT(!node.why.empty());
      RC_ASSERT(node.loss != Loss::kNotLost);
      RC_ASSERT(named.insert(node.node).second);
    }
    RC_ASSERT(named.size() == view.nodes.size());
  }
}

// P3 on equal nodes, with zones of one size or none; and never worse than the greedy baseline.
RC_GTEST_PROP(PlacementCreate, EvenOnEqualNodes, (uint64_t seed)) {
  Prng prng(seed);
  const uint32_t zones = Draw(prng, 0, 4);
  const uint32_t nodes = zones == 0 ? Draw(prng, 1, 40) : zones * Draw(prng, 1, 10);
  const uint32_t replicas = Draw(prng, 1, std::min<uint64_t>(5, zones == 0 ? nodes : zones));
  const uint32_t regions = Draw(prng, 1, 200);
  PlacementView view = NodesView(nodes, zones);
  const auto plan = PlanCreateRegions(view, Request(regions, replicas, seed));
  RC_ASSERT(plan.ok());
  AddRegions(view, DatabaseId(1), *plan);
  RC_ASSERT(SpreadOf(view, &NodeCounts::replicas).width() <= 1);
  RC_ASSERT(SpreadOf(view, &NodeCounts::leaders).width() <= 1);
  PlacementView greedy = NodesView(nodes, zones);
  AddRegions(greedy, DatabaseId(1), PlanGreedily(greedy, regions, replicas, seed));
  RC_ASSERT(SpreadOf(view, &NodeCounts::replicas).width() <= SpreadOf(greedy, &NodeCounts::replicas).width());
  RC_ASSERT(SpreadOf(view, &NodeCounts::leaders).width() <= SpreadOf(greedy, &NodeCounts::leaders).width());
}

// After every number of regions, not only at the end of a round: no zone may fall behind.
TEST(PlacementCreate, EvenAfterEveryRegionOfEqualZones) {
  for (uint32_t zones = 2; zones <= 4; ++zones) {
    for (uint32_t nodes = zones; nodes <= 3 * zones; nodes += zones) {
      for (uint32_t replicas = 1; replicas <= zones; ++replicas) {
        for (uint32_t regions = 1; regions <= 2 * nodes; ++regions) {
          for (uint64_t seed = 1; seed <= 5; ++seed) {
            PlacementView view = NodesView(nodes, zones);
            AddRegions(view, DatabaseId(1), *PlanCreateRegions(view, Request(regions, replicas, seed)));
            ASSERT_LE(SpreadOf(view, &NodeCounts::replicas).width(), 1u)
                << nodes << " nodes in " << zones << " zones, " << regions << " regions of " << replicas
                << " replicas, seed " << seed;
          }
        }
      }
    }
  }
}

// Evenness per database goes before what the nodes have of others.
RC_GTEST_PROP(PlacementCreate, EvenPerDatabaseWhateverElseIsThere, (uint64_t seed)) {
  Prng prng(seed);
  PlacementView view = NodesView(Draw(prng, 1, 20));
  AddRandomRegions(prng, view, 3, Draw(prng, 0, 60));
  const uint32_t replicas = Draw(prng, 1, std::min<uint64_t>(5, view.nodes.size()));
  const auto plan = PlanCreateRegions(view, Request(Draw(prng, 1, 60), replicas, seed));
  RC_ASSERT(plan.ok());
  AddRegions(view, DatabaseId(77), *plan);
  RC_ASSERT(SpreadOf(view, &NodeCounts::replicas, DatabaseId(77)).width() <= 1);
  RC_ASSERT(SpreadOf(view, &NodeCounts::leaders, DatabaseId(77)).width() <= 1);
}

RC_GTEST_PROP(PlacementCreate, SameInputsSamePlan, (uint64_t seed)) {
  Prng prng(seed);
  PlacementView view = RandomNodes(prng, Draw(prng, 3, 20), true);
  AddRandomRegions(prng, view, 2, 30);
  const CreateRegionsRequest request = Request(12, 3, seed);
  const auto plan = PlanCreateRegions(view, request);
  RC_ASSERT(plan.ok());
  const std::string text = plan->explanations[0].Text();
  Shuffle(prng, view);
  const auto again = PlanCreateRegions(view, request);
  RC_ASSERT(again->regions == plan->regions);
  RC_ASSERT(again->explanations[0].Text() == text);
}

TEST(PlacementCreate, TheSeedDecidesTies) {
  const PlacementView view = NodesView(12);
  std::set<std::vector<NodeId>> plans;
  for (uint64_t seed = 1; seed <= 20; ++seed)
    plans.insert(PlanCreateRegions(view, Request(1, 3, seed))->regions[0]);
  EXPECT_GT(plans.size(), 15u);
}

// Wide: what a node holds is held by as many others as there can be.
TEST(PlacementCreate, ScatterWidthIsNoLessThanByChance) {
  for (const uint32_t nodes : {3u, 5u, 10u, 30u, 100u}) {
    PlacementView view = NodesView(nodes);
    PlacementView greedy = view;
    AddRegions(view, DatabaseId(1), *PlanCreateRegions(view, Request(nodes * 8, 3)));
    AddRegions(greedy, DatabaseId(1), PlanGreedily(greedy, nodes * 8, 3, 1));
    EXPECT_GE(ScatterWidthOf(view), ScatterWidthOf(greedy)) << nodes;
  }
}

}  // namespace
}  // namespace tenure::planner
