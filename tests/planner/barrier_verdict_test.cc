#include "planner/barrier_verdict.h"

#include <gtest/gtest.h>

#include <vector>

namespace tenure::planner {
namespace {

using namespace std::chrono_literals;  // NOLINT

constexpr Revision kTarget{10};
constexpr Duration kProceedAfter = 12100ms;

// What the table of docs/fencing.md says, in its own words and order.
Disposition Expected(const BarrierEvidence& node, std::optional<Duration> proceed_after) {
  if (node.acknowledged >= kTarget) return Disposition::kAcked;
  if (node.removed) return Disposition::kSafeGone;
  if (node.said_fenced) return Disposition::kSafeGone;
  if (!proceed_after.has_value()) return Disposition::kUnsafe;
  if (!node.by_leases) return Disposition::kUnsafe;
  return node.silence >= *proceed_after ? Disposition::kFencedSafe : Disposition::kUnsafe;
}

std::vector<BarrierEvidence> Everything() {
  std::vector<BarrierEvidence> all;
  for (const uint64_t acknowledged : {uint64_t{0}, uint64_t{9}, uint64_t{10}, uint64_t{11}}) {
    for (const Duration silence :
         {Duration(0), kProceedAfter - Duration(1), kProceedAfter, 10 * kProceedAfter}) {
      for (int bits = 0; bits < 8; ++bits) {
        all.push_back({.node = NodeId(all.size() + 1),
                       .acknowledged = Revision(acknowledged),
                       .silence = silence,
                       .by_leases = (bits & 1) != 0,
                       .said_fenced = (bits & 2) != 0,
                       .removed = (bits & 4) != 0});
      }
    }
  }
  return all;
}

TEST(BarrierVerdict, EveryCombinationHasTheDispositionOfTheTable) {
  for (const auto proceed_after : {std::optional(kProceedAfter), std::optional<Duration>()}) {
    for (const BarrierEvidence& node : Everything()) {
      EXPECT_EQ(ComputeDisposition(node, kTarget, proceed_after), Expected(node, proceed_after))
          << "acknowledged " << node.acknowledged.value() << ", silent for " << node.silence.count() << ", "
          << node.by_leases << node.said_fenced << node.removed;
    }
  }
}

TEST(BarrierVerdict, OneUnsafeNodeHoldsItUp) {
  for (const auto proceed_after : {std::optional(kProceedAfter), std::optional<Duration>()}) {
    for (const BarrierEvidence& node : Everything()) {
      const std::vector<BarrierEvidence> nodes = {
          {.node = NodeId(1), .acknowledged = kTarget}, node, {.node = NodeId(2), .removed = true}};
      EXPECT_EQ(MayProceed(nodes, kTarget, proceed_after),
                Expected(node, proceed_after) != Disposition::kUnsafe);
    }
  }
  EXPECT_TRUE(MayProceed({}, kTarget, kProceedAfter)) << "nobody could serve anything";
}

TEST(BarrierVerdict, SaysWhenSilenceMakesTheNextOneSafe) {
  const std::vector<BarrierEvidence> nodes = {
      {.node = NodeId(1), .silence = 4s, .by_leases = true},
      {.node = NodeId(2), .silence = 7s, .by_leases = true},
      {.node = NodeId(3), .silence = 9s, .by_leases = false},  // silence proves nothing
      {.node = NodeId(4), .acknowledged = kTarget, .silence = 11s, .by_leases = true},  // not waited for
  };
  EXPECT_EQ(NextFenced(nodes, kTarget, kProceedAfter), kProceedAfter - 7s);
  EXPECT_EQ(NextFenced(nodes, kTarget, std::nullopt), std::nullopt);
  EXPECT_EQ(NextFenced({&nodes[2], 2}, kTarget, kProceedAfter), std::nullopt);
}

TEST(BarrierVerdict, Names) {
  EXPECT_EQ(NameOf(Disposition::kAcked), "ACKED");
  EXPECT_EQ(NameOf(Disposition::kSafeGone), "SAFE_GONE");
  EXPECT_EQ(NameOf(Disposition::kFencedSafe), "FENCED_SAFE");
  EXPECT_EQ(NameOf(Disposition::kUnsafe), "UNSAFE");
}

}  // namespace
}  // namespace tenure::planner
