// Breaks things at random moments and mends them again: every fault has an end of its own, and Heal ends all
// at once.
//
// Threading: the simulation's thread; acts through events of the scheduler.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "base/prng.h"
#include "sim/world.h"

namespace tenure::sim {

class Nemesis {
 public:
  Nemesis(World& world, Prng prng) : world_(world), prng_(prng) {}

  void Start();
  // No new faults; everything that is broken is mended.
  void Heal();
  uint64_t faults() const { return faults_; }

 private:
  void ScheduleNext();
  void Strike();
  Duration DrawLength();
  size_t DrawMachine() { return prng_.Below(world_.machines().size()); }
  // `mend` runs after a random time, or when healing.
  void Until(std::string what, std::function<void()> mend);

  void Crash(size_t machine, CrashKind kind);
  void TotalLoss();
  void Pause();
  void Isolate();
  void OneWay();
  void Split();
  void HangDisk();
  void Reset();
  void Transfer();
  void Rot();

  World& world_;
  Prng prng_;
  uint64_t faults_ = 0;
  bool healed_ = false;
  // One machine a run: a region of three replicas bears the loss of one.
  bool rotted_ = false;
  Scheduler::Event next_;
  uint64_t next_mend_ = 1;
  std::map<uint64_t, std::function<void()>> mends_;
};

}  // namespace tenure::sim
