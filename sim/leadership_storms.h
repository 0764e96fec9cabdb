// Bursts in which an operator hands the catalog's leadership to and fro between two controllers, each before
// it has started its services, or stopped those of its last epoch.
//
// Threading: the simulation's thread; acts through events of the scheduler.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/prng.h"
#include "sim/scheduler.h"
#include "sim/world.h"

namespace tenure::sim {

class LeadershipStorms {
 public:
  LeadershipStorms(World& world, Prng prng) : world_(world), prng_(prng) {}

  // Nothing happens in a world without.
  void Start();
  void Finish() { next_.Cancel(); }

 private:
  void Schedule(int64_t min_ms, int64_t max_ms);
  void Strike();

  World& world_;
  Prng prng_;
  Scheduler::Event next_;
  uint64_t left_ = 0;                   // of the present burst
  std::array<size_t, 2> between_ = {};  // machines
};

}  // namespace tenure::sim
