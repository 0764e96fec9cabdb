// Replicas that leave a process and come back under higher ids, in a small world (replica_world.h).
// TENURE_GROUP_SEED=s runs one seed, TENURE_GROUP_SEEDS=n that many, TENURE_GROUP_TRACE=1 prints what
// happens.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

#include "base/format.h"
#include "tests/group/replica_world.h"

namespace tenure::group {
namespace {

using namespace std::chrono_literals;

uint64_t Setting(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

TEST(ReturningReplica, NothingIsLostUnderLoadAndCrashes) {
  const uint64_t only = Setting("TENURE_GROUP_SEED", 0);
  const uint64_t first = only == 0 ? 1 : only;
  const uint64_t count = only == 0 ? Setting("TENURE_GROUP_SEEDS", 8) : 1;
  uint64_t moves = 0;
  uint64_t crashes = 0;
  uint64_t snapshots = 0;
  uint64_t stale = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    ReplicaWorld world({.seed = seed, .trace = Setting("TENURE_GROUP_TRACE", 0) != 0});
    world.RunFor(20s);
    world.Settle();
    ASSERT_EQ(world.violation(), "") << "seed " << seed << " (TENURE_GROUP_SEED=" << seed << " replays it)";
    moves += world.moves();
    crashes += world.crashes();
    snapshots += world.snapshots();
    stale += world.stale_states();
  }
  printf(
      "%lu seeds: %lu moves, %lu crashes, %lu snapshots installed, %lu times the state of a replica before\n",
      count, moves, crashes, snapshots, stale);
  EXPECT_GT(moves, 3 * count);
  EXPECT_GT(snapshots, 0u);
}

// A group that nobody uses has no timers: its leader wakes for the change, and the one that comes is
// contacted.
TEST(ReturningReplica, ASleepingGroupTakesAReplica) {
  ReplicaWorld world({.seed = 3, .crashes = false});
  for (uint64_t machine = 1; machine <= ReplicaWorld::kMachines; ++machine) {
    ASSERT_TRUE(world.FallAsleep()) << machine;
    world.MoveNext(machine);
    ASSERT_TRUE(world.FinishMove(5s)) << machine << " " << world.violation();
  }
  EXPECT_TRUE(world.FallAsleep()) << "and sleeps again";
  world.Settle();
  EXPECT_EQ(world.violation(), "");
}

// The machine whose replica leaves and returns dies before every operation of its disk, from the destruction
// on until the new replica is a voter.
TEST(ReturningReplica, ACrashAtEveryBoundaryOfAMove) {
  uint64_t boundaries = 0;
  for (bool crashed = true; crashed; ++boundaries) {
    const auto kind = boundaries % 2 == 0 ? sim::CrashKind::kPower : sim::CrashKind::kProcess;
    ReplicaWorld world({.seed = 1000 + boundaries, .crashes = false});
    world.MoveNext(3);
    world.CrashWhileMoving(boundaries, kind);
    EXPECT_TRUE(world.FinishMove(30s)) << "boundary " << boundaries << " " << world.violation();
    crashed = !world.crash_is_due();
    world.MoveNext(3);
    EXPECT_TRUE(world.FinishMove(30s)) << "boundary " << boundaries << " " << world.violation();
    world.Settle();
    ASSERT_EQ(world.violation(), "") << "boundary " << boundaries;
  }
  printf("%lu boundaries\n", boundaries);
  EXPECT_GT(boundaries, 20u);
}

}  // namespace
}  // namespace tenure::group
