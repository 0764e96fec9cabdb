// Random runs of a small cluster. One run: TENURE_RAFT_SEED=7 TENURE_RAFT_TRACE=1; many:
// TENURE_RAFT_SEEDS=5000 (from TENURE_RAFT_SEED on).
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/check.h"
#include "tests/raft/random_world.h"

namespace tenure::raft {
namespace {

uint64_t current_seed = 0;
const char* current_world = "";  // the test suite

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

void PrintSeed(const std::string& message) {
  std::fflush(stdout);
  fmt::print(stderr, "seed {}: {}\nagain: TENURE_RAFT_SEED={} test_raft --gtest_filter={}.*\n", current_seed,
             message, current_seed, current_world);
}

void RunSeeds(const WorldOptions& options) {
  SetCheckHook(PrintSeed);
  const char* given = std::getenv("TENURE_RAFT_SEED");
  const uint64_t first = FromEnvironment("TENURE_RAFT_SEED", 1);
  const uint64_t count = FromEnvironment("TENURE_RAFT_SEEDS", given == nullptr ? 300 : 1);
  WorldCounts all;
  for (uint64_t seed = first; seed < first + count; seed++) {
    current_seed = seed;
    WorldOptions world_options = options;
    world_options.seed = seed;
    world_options.trace = std::getenv("TENURE_RAFT_TRACE") != nullptr;
    RandomWorld world(world_options);
    const WorldCounts counts = world.Run();
    all.events += counts.events;
    all.elections += counts.elections;
    all.committed += counts.committed;
    all.reads += counts.reads;
    all.lease_reads += counts.lease_reads;
    all.crashes += counts.crashes;
    all.snapshots += counts.snapshots;
    all.changes += counts.changes;
    all.transfers += counts.transfers;
    all.truncations += counts.truncations;
  }
  SetCheckHook(nullptr);
  fmt::print(
      "{} seeds: {} events, {} elections, {} committed, {} reads ({} by lease), {} crashes, {} snapshots, "
      "{} changes, {} transfers, {} truncations\n",
      count, all.events, all.elections, all.committed, all.reads, all.lease_reads, all.crashes, all.snapshots,
      all.changes, all.transfers, all.truncations);
}

TEST(RandomRaft, KeepsItsPromises) {
  current_world = "RandomRaft";
  RunSeeds({});
}

// A world of its own, since it takes several rare things in one moment.
TEST(RandomHandOvers, KeepTheirPromises) {
  current_world = "RandomHandOvers";
  RunSeeds({.hand_overs = true});
}

}  // namespace
}  // namespace tenure::raft
