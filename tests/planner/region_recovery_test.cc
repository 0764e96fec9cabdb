#include "planner/region_recovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/catalog/test_catalog.h"

namespace tenure::planner {
namespace {

using namespace ::tenure::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using T = catalog::TestCatalog;

class FakeReports : public ReplicaReports {
 public:
  std::optional<ReplicaReport> Find(NodeId node, RegionId region, ReplicaId) const override {
    const auto it = reports.find({node.value(), region.value()});
    return it == reports.end() ? std::nullopt : std::optional(it->second);
  }
  std::map<std::pair<uint64_t, uint64_t>, ReplicaReport> reports;
};

class RegionRecoveryTest : public ::testing::Test {
 protected:
  RegionRecoveryTest() {
    t.Initialize();
    for (uint64_t i = 1; i <= 5; ++i) {
      t.Apply(T::Register("u" + std::to_string(i), "h" + std::to_string(i) + ":1"));
      t.Apply(T::NodeTo(i, NODE_UP));
    }
    t.Apply(T::CreateDatabase("d", 1, {1, 2, 3, 4, 5}));
    t.Apply(T::RegionTo(1, REGION_CREATING, REGION_SERVING));
  }
  void Lose(std::initializer_list<uint64_t> nodes) {
    for (const uint64_t node : nodes) t.Apply(T::NodeTo(node, NODE_DOWN));
  }
  void Report(uint64_t node, uint64_t term, uint64_t index, bool leader = false) {
    reports.reports[{node, 1}] = {Term(term), LogIndex(index), leader};
  }
  RecoverRegionsResponse Plan(const std::set<uint64_t>& wanted = {}) {
    return PlanRegionRecovery(t.catalog(), reports, wanted);
  }
  T t;
  FakeReports reports;
};

TEST_F(RegionRecoveryTest, AMajorityThatLivesIsLeftAlone) {
  Lose({4, 5});
  EXPECT_EQ(Plan().plans_size(), 0);
  EXPECT_EQ(Plan().digest(), "");
  EXPECT_EQ(Plan().unrecoverable_size(), 0);
  EXPECT_THAT(Plan({1}).unrecoverable(0), HasSubstr("nodes 1,2,3 of 1,2,3,4,5 are not down"));
}

TEST_F(RegionRecoveryTest, TheHigherLastTermWins) {
  Lose({3, 4, 5});
  Report(1, 4, 90);
  Report(2, 5, 80);
  const auto planned = Plan();
  ASSERT_EQ(planned.plans_size(), 1);
  EXPECT_EQ(planned.plans(0).node(), 2u);
  EXPECT_EQ(planned.plans(0).replica(), 2u);
  EXPECT_THAT(planned.plans(0).lost_nodes(), ElementsAre(3, 4, 5));
  EXPECT_EQ(planned.digest(), Plan().digest());
  Report(1, 5, 81);
  EXPECT_EQ(Plan().plans(0).node(), 1u);
  EXPECT_NE(Plan().digest(), planned.digest());
}

TEST_F(RegionRecoveryTest, EverySurvivorMustHaveReportedAndNoneHaveALeader) {
  Lose({3, 4, 5});
  Report(1, 4, 90);
  EXPECT_EQ(Plan().plans_size(), 0);
  EXPECT_THAT(Plan().unrecoverable(0), HasSubstr("node 2 has not reported"));
  Report(2, 4, 90, true);
  EXPECT_EQ(Plan().plans_size(), 0);
  EXPECT_THAT(Plan().unrecoverable(0), HasSubstr("replica 2 on node 2 has a leader"));
}

TEST_F(RegionRecoveryTest, WithoutASurvivorThereIsNoPlan) {
  Lose({1, 2, 3, 4, 5});
  EXPECT_THAT(Plan().unrecoverable(0), HasSubstr("(1,2,3,4,5) are down"));
  EXPECT_THAT(Plan({7}).unrecoverable(0), HasSubstr("region 7 does not exist"));
}

}  // namespace
}  // namespace tenure::planner
