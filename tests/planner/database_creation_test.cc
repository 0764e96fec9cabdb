#include "planner/database_creation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "catalog/catalog.h"
#include "catalog/refusal.h"
#include "tests/catalog/test_catalog.h"
#include "tests/planner/placement_views.h"

namespace tenure::planner {
namespace {

using namespace ::tenure::v1;
using catalog::TestCatalog;
using ::testing::HasSubstr;

TEST(DatabaseCreation, SlotsAreCoveredInOrder) {
  for (const uint32_t regions : {1u, 3u, 8u, 1000u, 4096u}) {
    const auto plan = PlanCreateDatabase({.name = "d", .regions = regions, .replicas = 1}, NodesView(3));
    ASSERT_TRUE(plan.ok());
    ::tenure::internal::v1::CatalogCommand command;
    command.set_version(1);
    *command.mutable_create_database() = *plan;
    EXPECT_TRUE(catalog::Catalog::Validate(command, {}).ok()) << regions;
  }
}

TEST(DatabaseCreation, ThreeNodesThreeReplicas) {
  const auto plan = PlanCreateDatabase({.name = "d", .strict = true}, NodesView(3));
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->name(), "d");
  EXPECT_EQ(plan->replicas(), 3u);
  EXPECT_TRUE(plan->strict());
  std::map<uint64_t, int> leaders;
  for (const auto& region : plan->regions()) {
    EXPECT_EQ(region.nodes_size(), 3);
    ++leaders[region.nodes(0)];
  }
  ASSERT_EQ(leaders.size(), 3u);
  for (const auto& [node, count] : leaders)
    EXPECT_THAT(count, ::testing::AllOf(::testing::Ge(2), ::testing::Le(3)));
}

TEST(DatabaseCreation, NotEnoughNodesSaysHowMany) {
  PlacementView view = NodesView(4);
  view.nodes[0].state = NODE_DOWN;
  view.nodes[1].state = NODE_SUSPECT;
  const auto plan = PlanCreateDatabase({.name = "orders", .replicas = 3}, view);
  EXPECT_EQ(catalog::ReasonOf(plan.status()), REASON_NOT_ENOUGH_NODES);
  EXPECT_EQ(MessageOf(plan.status()),
            "database 'orders' needs 3 nodes that can take a replica; 2 of 4 can: node 1 is DOWN; node 2 is "
            "SUSPECT");
}

TEST(DatabaseCreation, OnlyNodesThatAreUp) {
  for (int state = 0; state <= NodeState_MAX; ++state) {
    if (state == NODE_UP) continue;
    PlacementView view = NodesView(4);
    view.nodes[2].state = static_cast<NodeState>(state);
    const auto plan = PlanCreateDatabase({.name = "d"}, view);
    ASSERT_TRUE(plan.ok());
    for (const auto& region : plan->regions())
      EXPECT_THAT(region.nodes(), ::testing::Not(::testing::Contains(3)));
  }
}

TEST(DatabaseCreation, BadNumbersAreRefused) {
  for (const DatabaseRequest& request :
       {DatabaseRequest{.name = "d", .regions = 0}, DatabaseRequest{.name = "d", .replicas = 0},
        DatabaseRequest{.name = "d", .regions = 20000}}) {
    EXPECT_EQ(catalog::ReasonOf(PlanCreateDatabase(request, NodesView(3)).status()), REASON_INVALID_ARGUMENT);
  }
}

TEST(PlacementViewOf, CatalogAndLoads) {
  TestCatalog t;
  t.Initialize();
  for (const char* uuid : {"a", "b", "c"}) {
    t.Apply(TestCatalog::Register(uuid, std::string("10.0.0.7:700") + uuid[0]));
  }
  auto labelled = TestCatalog::Register("d", "10.0.0.8:7000");
  auto& node = *labelled.mutable_register_node()->mutable_node();
  node.set_zone("z");
  for (const auto& [key, value] :
       {std::pair("host", "rack-7-12"), std::pair("rack", "7"), std::pair("disk", "ssd")}) {
    node.add_labels()->set_key(key);
    node.mutable_labels(node.labels_size() - 1)->set_value(value);
  }
  t.Apply(labelled);
  t.Apply(TestCatalog::CreateDatabase("orders", 2, {1, 2, 4}));
  t.Apply(TestCatalog::CreateDatabase("old", 1, {3}));
  t.Apply(TestCatalog::RegionTo(2, REGION_CREATING, REGION_SERVING));
  t.Apply(TestCatalog::RegionTo(3, REGION_CREATING, REGION_REMOVING));

  PlacementLoads loads;
  loads.nodes[NodeId(4)] = {
      .free_bytes = 7, .capacity_bytes = 70, .max_replicas = 9, .held_back = "reserved"};
  loads.regions[RegionId(2)] = {.bytes = 99, .leader = NodeId(4)};
  loads.constraints[DatabaseId(1)] = {.preferred_leader_zone = "z"};
  const PlacementView view = ViewOf(t.catalog(), loads);

  ASSERT_EQ(view.nodes.size(), 4u);
  EXPECT_EQ(view.nodes[0].host, "10.0.0.7");
  EXPECT_EQ(view.nodes[0].free_bytes, std::nullopt);
  const PlacementNode& last = view.nodes[3];
  EXPECT_EQ(last.host, "rack-7-12");
  EXPECT_EQ(last.rack, "7");
  EXPECT_EQ(last.zone, "z");
  EXPECT_THAT(last.labels, ::testing::Contains(PlacementLabel{"disk", "ssd"}));
  EXPECT_THAT(last.labels, ::testing::Contains(PlacementLabel{"zone", "z"}));
  EXPECT_EQ(last.free_bytes, 7u);
  EXPECT_EQ(last.held_back, "reserved");
  ASSERT_EQ(view.databases.size(), 2u);
  EXPECT_EQ(view.databases[0].replicas, 3u);
  EXPECT_EQ(view.databases[0].constraints.preferred_leader_zone, "z");
  ASSERT_EQ(view.regions.size(), 2u) << "the one that is being removed is left out";
  EXPECT_TRUE(view.regions[0].changing);
  EXPECT_EQ(view.regions[0].leader, NodeId(1)) << "the preferred one, as nobody has reported";
  EXPECT_FALSE(view.regions[1].changing);
  EXPECT_EQ(view.regions[1].leader, NodeId(4));
  EXPECT_EQ(view.regions[1].bytes, 99u);
}

}  // namespace
}  // namespace tenure::planner
