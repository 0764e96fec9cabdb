// An operator who changes the controllers all the time: adds them on spare machines, removes them, moves the
// target between 3 and 5, promotes, loses a disk now and then and replaces it as the manual says. In the end
// puts in order what is left.
//
// What it may do is bounded by what Raft can stand: one disk is lost at a time, and the next one only when
// the lost one has been replaced.
// Threading:  the simulation's thread; acts through events of the scheduler.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/prng.h"
#include "sim/world.h"

namespace tenure::sim {

class MembershipOperator {
 public:
  MembershipOperator(World& world, Prng prng) : world_(world), prng_(prng) {}

  // Nothing happens in a world without spare machines.
  void Start();
  // No new ideas: only what is needed so that the target can be met.
  void Finish() { finishing_ = true; }
  // Everything was done; else what is missing.
  std::string Unfinished() const;
  uint64_t actions() const { return actions_; }

 private:
  struct Lost {
    size_t machine;
    uint64_t old_id;
    bool replaced = false;  // the new controller runs and was added
  };

  void Schedule();
  void Act();
  void Tidy();
  void AddSpare();
  void Add(size_t machine);
  void Remove(uint64_t id);
  void SetTarget(uint32_t target);
  void Promote(uint64_t id);
  void LoseDisk();
  void ReplaceLost();
  // A spare machine without a controller that counts.
  std::optional<size_t> FreeSpare() const;
  std::optional<uint64_t> DrawMember();
  void Ask(std::string_view method, const std::string& request, const std::string& what);

  World& world_;
  Prng prng_;
  Scheduler::Event next_;
  bool finishing_ = false;
  uint64_t asked_ = 0;  // requests under way
  uint64_t next_id_ = 0;
  uint64_t actions_ = 0;
  std::optional<Lost> lost_;
};

}  // namespace tenure::sim
