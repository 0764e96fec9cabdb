#include "planner/database_steps.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/catalog/test_catalog.h"

namespace tenure::planner {
namespace {

using namespace ::tenure::v1;
using T = catalog::TestCatalog;

class FakeObservations : public RegionObservations {
 public:
  bool HasLeader(RegionId region) const override { return leaders.contains(region.value()); }
  bool ReplicaGone(NodeId node, RegionId region, Revision) const override {
    return gone.contains({node.value(), region.value()});
  }
  std::set<uint64_t> leaders;
  std::set<std::pair<uint64_t, uint64_t>> gone;
};

class DatabaseSteps : public ::testing::Test {
 protected:
  DatabaseSteps() {
    t.Initialize();
    for (uint64_t i = 1; i <= 2; ++i) {
      t.Apply(T::Register("u" + std::to_string(i), "h" + std::to_string(i) + ":1"));
      t.Apply(T::NodeTo(i, NODE_UP));
    }
    t.Apply(T::CreateDatabase("d", 2, {1, 2}));
  }
  // Applies what is planned until nothing is; returns the number of commands.
  int Settle() {
    int applied = 0;
    while (true) {
      auto steps = PlanDatabaseSteps(t.catalog(), seen, 100);
      if (steps.empty()) return applied;
      for (auto& step : steps) {
        step.command.set_version(1);
        EXPECT_EQ(t.Apply(step.command).reason(), REASON_UNSPECIFIED) << step.command.DebugString();
        ++applied;
      }
    }
  }
  T t;
  FakeObservations seen;
};

TEST_F(DatabaseSteps, ADatabaseIsPublicOnceAllRegionsHaveLeaders) {
  EXPECT_EQ(Settle(), 0);
  seen.leaders = {1};
  EXPECT_EQ(Settle(), 1);
  EXPECT_EQ(t.catalog().regions().at(1).region().state(), REGION_SERVING);
  EXPECT_EQ(t.catalog().FindDatabase("d")->database().state(), DATABASE_CREATING);
  seen.leaders = {1, 2};
  EXPECT_EQ(Settle(), 2);
  EXPECT_EQ(t.catalog().FindDatabase("d")->database().state(), DATABASE_PUBLIC);
  EXPECT_EQ(Settle(), 0);
}

TEST_F(DatabaseSteps, ADroppedDatabaseGoesReplicaByReplica) {
  t.Apply(T::DatabaseTo(1, DATABASE_CREATING, DATABASE_PRE_DELETE));
  seen.leaders = {1, 2};  // late reports of leaders revive nothing
  EXPECT_EQ(Settle(), 0);
  seen.gone = {{1, 1}, {2, 2}};
  EXPECT_EQ(Settle(), 0);
  seen.gone.insert({2, 1});
  EXPECT_EQ(Settle(), 1);
  EXPECT_FALSE(t.catalog().regions().contains(1));
  seen.gone.insert({1, 2});
  EXPECT_EQ(Settle(), 2);
  EXPECT_TRUE(t.catalog().databases().empty());
}

TEST_F(DatabaseSteps, ARemovedNodeIsNotWaitedFor) {
  t.Apply(T::DatabaseTo(1, DATABASE_CREATING, DATABASE_PRE_DELETE));
  seen.gone = {{1, 1}, {1, 2}};
  for (const NodeState state : {NODE_DOWN, NODE_REMOVING}) {
    t.Apply(T::NodeTo(2, state));
    EXPECT_EQ(Settle(), 0);
  }
  t.Apply(T::NodeTo(2, NODE_REMOVED));
  EXPECT_EQ(Settle(), 3);
}

TEST_F(DatabaseSteps, AtMostTheLimitAndOnePerObject) {
  seen.leaders = {1, 2};
  EXPECT_EQ(PlanDatabaseSteps(t.catalog(), seen, 1).size(), 1u);
  const auto steps = PlanDatabaseSteps(t.catalog(), seen, 100);
  std::set<std::pair<int, uint64_t>> objects;
  for (const auto& step : steps) {
    EXPECT_TRUE(objects.emplace(static_cast<int>(step.object), step.id).second);
  }
  EXPECT_EQ(objects.size(), 2u);
}

}  // namespace
}  // namespace tenure::planner
