#include "changefeed/coordinator/bootstrap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace tenure::changefeed {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const ChangefeedId kFeed{1};
const Process kA{NodeId(1), Incarnation(10)};
const Process kA2{NodeId(1), Incarnation(11)};  // node 1 after a restart
const Process kB{NodeId(2), Incarnation(20)};
const OwnerRecord kOwnedByA{kFeed, OwnerEpoch(5), kA};

MaintainerReport Report(const Process& process, uint64_t epoch, uint64_t checkpoint = 50) {
  return {kFeed, {process, OwnerEpoch(epoch)}, CommitTs(checkpoint)};
}

TEST(Bootstrap, AdoptsTheEqualEpoch) {
  const auto plan = PlanBootstrap(kOwnedByA, {{Report(kA, 5, 77)}, {kA, kB}});
  EXPECT_EQ(plan.adopt, (Running{kA, OwnerEpoch(5)}));
  EXPECT_EQ(plan.checkpoint, CommitTs(77));
  EXPECT_THAT(plan.stop, IsEmpty());
  EXPECT_FALSE(plan.needs_owner);
}

TEST(Bootstrap, StopsALowerEpochWithItsOwnEpoch) {
  const auto plan = PlanBootstrap(kOwnedByA, {{Report(kA, 5), Report(kB, 4)}, {kA, kB}});
  EXPECT_TRUE(plan.adopt.has_value());
  EXPECT_THAT(plan.stop, ElementsAre(Running{kB, OwnerEpoch(4)}));
  EXPECT_EQ(plan.floor, OwnerEpoch(5));
}

TEST(Bootstrap, AHigherEpochRaisesTheFloorAndIsStopped) {
  const auto plan = PlanBootstrap(kOwnedByA, {{Report(kA, 5), Report(kB, 9)}, {kA, kB}});
  EXPECT_FALSE(plan.adopt.has_value());
  EXPECT_EQ(plan.floor, OwnerEpoch(9));
  EXPECT_THAT(plan.stop, ElementsAre(Running{kA, OwnerEpoch(5)}, Running{kB, OwnerEpoch(9)}));
  EXPECT_THAT(plan.await, ElementsAre(kA, kB));
  EXPECT_TRUE(plan.needs_owner);
}

TEST(Bootstrap, TwoEqualClaimsAreBothStopped) {
  const auto plan = PlanBootstrap(kOwnedByA, {{Report(kA, 5), Report(kB, 5)}, {kA, kB}});
  EXPECT_FALSE(plan.adopt.has_value());
  EXPECT_THAT(plan.stop, ElementsAre(Running{kA, OwnerEpoch(5)}, Running{kB, OwnerEpoch(5)}));
  EXPECT_TRUE(plan.needs_owner);
}

TEST(Bootstrap, AnOwnerThatIsSilentIsAwaited) {
  const auto silent = PlanBootstrap(kOwnedByA, {{}, {kB}});
  EXPECT_THAT(silent.await, ElementsAre(kA));
  EXPECT_TRUE(silent.needs_owner);
  EXPECT_THAT(PlanBootstrap(kOwnedByA, {{}, {kA, kB}}).await, IsEmpty());
}

TEST(Bootstrap, MaintainersOfUnknownChangefeedsAreStopped) {
  MaintainerReport stray = Report(kB, 3);
  stray.changefeed = ChangefeedId(9);
  EXPECT_THAT(UnknownMaintainers({kOwnedByA}, {Report(kA, 5), stray, stray}), ElementsAre(stray));
}

// All multisets of up to four reports, each in all orders, with every record and every set of processes
// heard.
TEST(Bootstrap, AllMultisetsOfReports) {
  std::vector<MaintainerReport> kinds;
  for (const Process& process : {kA, kA2, kB}) {
    for (uint64_t epoch : {4u, 5u, 6u, 8u}) kinds.push_back(Report(process, epoch, 40 + epoch));
  }
  const std::vector<OwnerRecord> records{
      {kFeed, OwnerEpoch(5), kA}, {kFeed, OwnerEpoch(5), Process()}, {kFeed, OwnerEpoch(), Process()}};
  int cases = 0;

  const auto check = [&](const OwnerRecord& record, std::vector<MaintainerReport> reports,
                         const std::vector<Process>& heard) {
    ++cases;
    const auto plan = PlanBootstrap(record, {reports, heard});
    const auto contains = [](const auto& all, const auto& one) {
      return std::find(all.begin(), all.end(), one) != all.end();
    };
    const bool runs = !record.owner.node.IsNone();
    OwnerEpoch highest = record.epoch;
    std::set<Process> at_record;
    for (const auto& report : reports) {
      highest = std::max(highest, report.running.epoch);
      if (report.running.epoch == record.epoch) at_record.insert(report.running.process);
    }
    // B4.
    ASSERT_EQ(plan.floor, highest);
    // B1.
    const bool adoptable = runs && highest == record.epoch && at_record == std::set<Process>{record.owner};
    ASSERT_EQ(plan.adopt.has_value(), adoptable);
    if (plan.adopt) {
      ASSERT_EQ(*plan.adopt, (Running{record.owner, record.epoch}));
    }
    // B2: everything is either adopted or stopped, once, with its own epoch; and nothing else is stopped.
    for (const auto& report : reports) {
      const bool adopted = plan.adopt == report.running;
      ASSERT_EQ(contains(plan.stop, report.running), !adopted);
    }
    for (size_t i = 0; i < plan.stop.size(); ++i) {
      ASSERT_TRUE(std::any_of(reports.begin(), reports.end(),
                              [&](const auto& report) { return report.running == plan.stop[i]; }));
      for (size_t j = 0; j < i; ++j) ASSERT_NE(plan.stop[i], plan.stop[j]);
    }
    // B3: all that may run is awaited.
    for (const Running& stopped : plan.stop) ASSERT_TRUE(contains(plan.await, stopped.process));
    if (runs && !plan.adopt && !contains(heard, record.owner)) {
      ASSERT_TRUE(contains(plan.await, record.owner));
    }
    ASSERT_EQ(plan.needs_owner, runs && !plan.adopt);
    // The order of the reports is nothing, whoever was heard.
    if (heard.size() != 1) return;
    const auto by_hand = [](const MaintainerReport& a, const MaintainerReport& b) {
      return std::pair(a.running.epoch, a.running.process) < std::pair(b.running.epoch, b.running.process);
    };
    std::sort(reports.begin(), reports.end(), by_hand);
    do {
      const auto other = PlanBootstrap(record, {reports, heard});
      ASSERT_EQ(other.adopt, plan.adopt);
      ASSERT_EQ(other.stop, plan.stop);
      ASSERT_EQ(other.await, plan.await);
    } while (std::next_permutation(reports.begin(), reports.end(), by_hand));
  };

  std::vector<MaintainerReport> chosen;
  const std::function<void(size_t)> choose = [&](size_t from) {
    for (const OwnerRecord& record : records) {
      for (const auto& heard : {std::vector<Process>{}, {kA}, {kA2, kB}, {kA, kA2, kB}}) {
        check(record, chosen, heard);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
    if (chosen.size() == 4) return;
    for (size_t i = from; i < kinds.size(); ++i) {
      chosen.push_back(kinds[i]);
      choose(i);
      if (testing::Test::HasFatalFailure()) return;
      chosen.pop_back();
    }
  };
  choose(0);
  EXPECT_EQ(cases, 12 * (1 + 12 + 78 + 364 + 1365)) << "multisets of 0 to 4 of 12 kinds";
}

}  // namespace
}  // namespace tenure::changefeed
