#include "planner/database_placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/prng.h"
#include "catalog/refusal.h"

namespace tenure::planner {
namespace {

using namespace ::tenure::v1;
using ::testing::HasSubstr;

std::vector<NodeCandidate> Nodes(uint32_t count, uint32_t zones = 0) {
  std::vector<NodeCandidate> nodes;
  for (uint32_t i = 1; i <= count; ++i) {
    NodeCandidate node{.id = NodeId(i), .state = NODE_UP, .host = "h" + std::to_string(i)};
    if (zones != 0) node.zone = "z" + std::to_string(i % zones);
    nodes.push_back(node);
  }
  return nodes;
}

struct Spread {
  uint32_t least = UINT32_MAX;
  uint32_t most = 0;
  void Add(uint32_t count) { least = std::min(least, count), most = std::max(most, count); }
};

struct Counts {
  std::map<uint64_t, uint32_t> replicas;
  std::map<uint64_t, uint32_t> leaders;
};

Counts Count(const ::tenure::internal::v1::CreateDatabase& plan) {
  Counts counts;
  for (const auto& region : plan.regions()) {
    EXPECT_EQ(std::set<uint64_t>(region.nodes().begin(), region.nodes().end()).size(), plan.replicas());
    for (const uint64_t node : region.nodes()) ++counts.replicas[node];
    ++counts.leaders[region.nodes(0)];
  }
  return counts;
}

Spread SpreadOf(const std::map<uint64_t, uint32_t>& counts, const std::vector<NodeCandidate>& nodes) {
  Spread spread;
  for (const NodeCandidate& node : nodes) {
    if (node.state != NODE_UP) continue;
    const auto found = counts.find(node.id.value());
    spread.Add(found == counts.end() ? 0 : found->second);
  }
  return spread;
}

TEST(Placement, SlotsAreCoveredInOrder) {
  for (const uint32_t regions : {1u, 3u, 8u, 1000u, 4096u}) {
    const auto plan = PlanCreateDatabase({.name = "d", .regions = regions, .replicas = 1}, Nodes(3));
    ASSERT_TRUE(plan.ok());
    ::tenure::internal::v1::CatalogCommand command;
    command.set_version(1);
    *command.mutable_create_database() = *plan;
    EXPECT_TRUE(catalog::Catalog::Validate(command, {}).ok()) << regions;
  }
}

TEST(Placement, ThreeNodesThreeReplicas) {
  const auto plan = PlanCreateDatabase({.name = "d"}, Nodes(3));
  ASSERT_TRUE(plan.ok());
  const Counts counts = Count(*plan);
  EXPECT_THAT(counts.replicas, ::testing::ElementsAre(std::pair(1, 8), std::pair(2, 8), std::pair(3, 8)));
  const Spread leaders = SpreadOf(counts.leaders, Nodes(3));
  EXPECT_EQ(leaders.least, 2u);
  EXPECT_EQ(leaders.most, 3u);
}

TEST(Placement, NotEnoughNodesSaysHowMany) {
  auto nodes = Nodes(4);
  nodes[0].state = NODE_DOWN;
  nodes[1].state = NODE_SUSPECT;
  const auto plan = PlanCreateDatabase({.name = "orders", .replicas = 3}, nodes);
  EXPECT_EQ(catalog::ReasonOf(plan.status()), REASON_NOT_ENOUGH_NODES);
  EXPECT_THAT(MessageOf(plan.status()),
              HasSubstr("database 'orders' needs 3 nodes that are UP for its replicas; 2 of 4 are"));
  EXPECT_EQ(catalog::ReasonOf(PlanCreateDatabase({.name = "d", .replicas = 1}, {}).status()),
            REASON_NOT_ENOUGH_NODES);
}

TEST(Placement, OnlyNodesThatAreUp) {
  for (int state = 0; state <= NodeState_MAX; ++state) {
    if (state == NODE_UP) continue;
    auto nodes = Nodes(4);
    nodes[2].state = static_cast<NodeState>(state);
    const auto plan = PlanCreateDatabase({.name = "d"}, nodes);
    ASSERT_TRUE(plan.ok());
    EXPECT_FALSE(Count(*plan).replicas.contains(3));
  }
}

TEST(Placement, BadNumbersAreRefused) {
  EXPECT_EQ(catalog::ReasonOf(PlanCreateDatabase({.name = "d", .regions = 0}, Nodes(3)).status()),
            REASON_INVALID_ARGUMENT);
  EXPECT_EQ(catalog::ReasonOf(PlanCreateDatabase({.name = "d", .replicas = 0}, Nodes(3)).status()),
            REASON_INVALID_ARGUMENT);
  EXPECT_EQ(catalog::ReasonOf(PlanCreateDatabase({.name = "d", .regions = 20000}, Nodes(3)).status()),
            REASON_INVALID_ARGUMENT);
}

TEST(Placement, DistinctZonesAndHosts) {
  const auto nodes = Nodes(9, 3);
  const auto plan = PlanCreateDatabase({.name = "d", .regions = 20}, nodes);
  ASSERT_TRUE(plan.ok());
  for (const auto& region : plan->regions()) {
    std::set<uint64_t> zones;
    for (const uint64_t node : region.nodes()) zones.insert(node % 3);
    EXPECT_EQ(zones.size(), 3u);
  }
  auto hosts = Nodes(6);
  for (size_t i = 0; i < hosts.size(); ++i) hosts[i].host = "h" + std::to_string(i / 2);
  const auto spread = PlanCreateDatabase({.name = "d", .regions = 20}, hosts);
  for (const auto& region : spread->regions()) {
    std::set<uint64_t> used;
    for (const uint64_t node : region.nodes()) used.insert((node - 1) / 2);
    EXPECT_EQ(used.size(), 3u);
  }
}

TEST(Placement, AFullNodeGetsItsShareLast) {
  auto nodes = Nodes(4);
  nodes[0].replicas = 100;
  nodes[0].leaders = 100;
  const auto plan = PlanCreateDatabase({.name = "d", .regions = 1, .replicas = 3}, nodes);
  ASSERT_TRUE(plan.ok());
  EXPECT_FALSE(Count(*plan).replicas.contains(1));
}

// P2, P3 and determinism over many shapes.
TEST(Placement, CountsAreEven) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Prng prng(seed);
    const auto count = static_cast<uint32_t>(1 + prng.Below(20));
    const auto replicas = static_cast<uint32_t>(1 + prng.Below(std::min<uint64_t>(count, 5)));
    const auto regions = static_cast<uint32_t>(1 + prng.Below(64));
    auto nodes = Nodes(count);
    for (NodeCandidate& node : nodes) {
      node.replicas = static_cast<uint32_t>(prng.Below(50));
      node.leaders = static_cast<uint32_t>(prng.Below(20));
    }
    const DatabaseRequest request{.name = "d", .regions = regions, .replicas = replicas};
    const auto plan = PlanCreateDatabase(request, nodes);
    ASSERT_TRUE(plan.ok());
    const Counts counts = Count(*plan);
    const Spread spread = SpreadOf(counts.replicas, nodes);
    EXPECT_LE(spread.most - spread.least, 1u) << "seed " << seed;
    const Spread leaders = SpreadOf(counts.leaders, nodes);
    EXPECT_LE(leaders.most - leaders.least, 1u) << "seed " << seed << ": " << count << " nodes, " << regions
                                                << " regions, " << replicas << " replicas";
    std::reverse(nodes.begin(), nodes.end());
    EXPECT_EQ(PlanCreateDatabase(request, nodes)->SerializeAsString(), plan->SerializeAsString());
  }
}

TEST(Placement, ManyRegionsAreQuick) {
  const auto plan = PlanCreateDatabase({.name = "d", .regions = 1000}, Nodes(100, 3));
  ASSERT_TRUE(plan.ok());
  const Spread leaders = SpreadOf(Count(*plan).leaders, Nodes(100));
  EXPECT_EQ(leaders.most, 10u);
  EXPECT_EQ(leaders.least, 10u);
}

}  // namespace
}  // namespace tenure::planner
