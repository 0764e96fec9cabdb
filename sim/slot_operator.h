// An operator who splits and merges regions all the time, and now and then changes his mind.
//
// What must hold is watched by others: histories of keys stay linearizable, replicas' states equal, and every
// region serves in the end.
// Threading:  the simulation's thread; acts through events of the scheduler.
#pragma once

#include <cstdint>
#include <string>

#include "base/prng.h"
#include "sim/world.h"

namespace tenure::sim {

class SlotOperator {
 public:
  SlotOperator(World& world, Prng prng) : world_(world), prng_(prng) {}

  // Nothing happens in a world whose options do not want it.
  void Start();
  // No new ideas.
  void Finish() { next_.Cancel(); }
  // Everything was done; else what is under way.
  std::string Unfinished() const;

 private:
  void Schedule();
  void Act();
  void Split(const ::tenure::v1::RegionRecord& region);
  void Merge(const ::tenure::v1::RegionRecord& region);
  void Cancel();
  void Ask(std::string_view method, const std::string& request, const std::string& what);

  World& world_;
  Prng prng_;
  Scheduler::Event next_;
};

}  // namespace tenure::sim
