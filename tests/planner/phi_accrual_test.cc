#include "planner/phi_accrual.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace tenure::planner {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Instant At(Duration since) {
  return Instant(seconds(100)) + since;
}

// Beats that come `gap` apart, each up to `late` later than that.
ArrivalHistory Of(Duration gap, Duration late, int beats = 200) {
  ArrivalHistory history;
  Prng prng(7);
  Instant now = At(Duration(0));
  for (int i = 0; i < beats; ++i) {
    history.Add(now, {});
    now += gap + Duration(prng.Between(0, late.count()));
  }
  return history;
}

// The shortest silence that is suspicious, to 10 ms.
Duration SuspectAfter(const ArrivalHistory& history, const PhiOptions& options) {
  Duration silence{};
  while (!history.IsSuspicious(silence, options)) silence += milliseconds(10);
  return silence;
}

TEST(PhiAccrual, ClockworkIsSuspectedAtTheFloorAndANodeThatIsOftenLateLater) {
  const PhiOptions options;
  EXPECT_EQ(SuspectAfter(Of(seconds(1), Duration(0)), options), options.floor);
  const Duration late = SuspectAfter(Of(seconds(1), seconds(2)), options);
  EXPECT_GT(late, options.floor);
  EXPECT_LT(late, options.ceiling);
  EXPECT_EQ(SuspectAfter(Of(seconds(1), seconds(8)), options), options.ceiling);
}

TEST(PhiAccrual, PhiCrossesItsThresholdWhereSuspicionBegins) {
  const PhiOptions options;
  const ArrivalHistory history = Of(seconds(1), seconds(2));
  const Duration suspect = SuspectAfter(history, options);
  EXPECT_GE(history.Phi(suspect, options), options.threshold);
  EXPECT_LT(history.Phi(suspect - milliseconds(10), options), options.threshold);
  double before = 0;
  for (Duration silence = Duration(0); silence < seconds(20); silence += milliseconds(100)) {
    const double phi = history.Phi(silence, options);
    EXPECT_GE(phi, before);
    before = phi;
  }
}

TEST(PhiAccrual, WithoutAnyHeartbeatTheExpectedRhythmCounts) {
  const PhiOptions options;
  const Duration suspect = SuspectAfter(ArrivalHistory(), options);
  EXPECT_GE(suspect, options.floor);
  EXPECT_LE(suspect, seconds(4));
}

TEST(PhiAccrual, NewsBetweenBeatsAndAbsencesDoNotCount) {
  ArrivalHistory history;
  for (int i = 0; i < 1000; ++i) history.Add(At(milliseconds(10 * i)), {});
  EXPECT_LE(history.size(), 20u) << "reports of news would make a quiet second look suspicious";
  const size_t known = history.size();
  history.Add(At(seconds(200)), {});
  EXPECT_EQ(history.size(), known) << "one absence is no rhythm";
  history.Add(At(seconds(201)), {});
  EXPECT_EQ(history.size(), known + 1);
}

TEST(PhiAccrual, OnlyTheWindowCounts) {
  PhiOptions options;
  options.window = 10;
  ArrivalHistory history;
  Instant now = At(Duration(0));
  for (int i = 0; i < 50; ++i) history.Add(now += seconds(i % 2 == 0 ? 1 : 5), options);
  EXPECT_EQ(SuspectAfter(history, options), options.ceiling);
  for (int i = 0; i < 20; ++i) history.Add(now += seconds(1), options);
  EXPECT_EQ(history.size(), 10u);
  EXPECT_EQ(SuspectAfter(history, options), options.floor);
}

}  // namespace
}  // namespace tenure::planner
