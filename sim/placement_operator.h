// An operator who changes where replicas are all the time: moves, adds and removes them, drains nodes and
// resumes them, cancels procedures, asks whether nodes may be stopped and reserves the answer. In the end
// takes back what would keep the cluster from its rest: reservations, which last by wall clocks, replicas
// that nobody wanted, and drains if a lost replica needs the place.
//
// So many nodes stay undrained as a region has replicas.
// Threading:  the simulation's thread; acts through events of the scheduler.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "base/prng.h"
#include "sim/world.h"

namespace tenure::sim {

class PlacementOperator {
 public:
  PlacementOperator(World& world, Prng prng) : world_(world), prng_(prng) {}

  // Nothing happens unless the options say so.
  void Start();
  // No new ideas: only what is needed for the cluster to come to rest.
  void Finish() { finishing_ = true; }
  // What is still to be done; empty if nothing.
  std::string Unfinished() const;

 private:
  void Schedule();
  void Act();
  void Tidy();
  void Change(::tenure::v1::ReplicaChange change);
  void Drain();
  void Resume(uint64_t node);
  void Cancel();
  void CancelOne(uint64_t procedure);
  void Reserve();
  // A node that is not removed; 0: there is none.
  uint64_t DrawNode();
  // A region with more voters than its database wants; 0: none.
  uint64_t Overfull() const;
  void Ask(std::string_view method, const std::string& request, const std::string& what);

  World& world_;
  Prng prng_;
  Scheduler::Event next_;
  bool finishing_ = false;
  uint64_t asked_ = 0;           // requests under way
  std::set<uint64_t> draining_;  // nodes that were asked to be drained, whatever came of it
};

}  // namespace tenure::sim
