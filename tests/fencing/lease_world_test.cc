// Leases and barriers by chance. TENURE_LEASE_SEED and TENURE_LEASE_SEEDS choose other runs.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/fencing/lease_world.h"

namespace tenure {
namespace {

constexpr int kSteps = 3000;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(RandomLeases, NoResultLeavesFromAViewOlderThanABarrierThatHasProceeded) {
  const uint64_t first = FromEnvironment("TENURE_LEASE_SEED", 1);
  const uint64_t seeds = FromEnvironment("TENURE_LEASE_SEEDS", 300);
  LeaseWorld::Counts sum;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    LeaseWorld world(seed);
    const std::string violation = world.Run(kSteps);
    ASSERT_EQ(violation, "") << "seed " << seed << ": TENURE_LEASE_SEED=" << seed << " TENURE_LEASE_SEEDS=1";
    sum.results += world.counts().results;
    sum.recoveries += world.counts().recoveries;
    sum.barriers += world.counts().barriers;
    sum.fenced_safe += world.counts().fenced_safe;
    sum.bounds += world.counts().bounds;
  }
  if (seeds < 100) return;
  // It is no proof if nothing happens.
  EXPECT_GT(sum.results, seeds);
  EXPECT_GT(sum.recoveries, seeds);
  EXPECT_GT(sum.barriers, seeds);
  EXPECT_GT(sum.fenced_safe, seeds / 20);
  EXPECT_GT(sum.bounds, seeds / 20);
}

}  // namespace
}  // namespace tenure
