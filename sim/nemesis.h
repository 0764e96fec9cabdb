// Breaks things as a plan says and mends them again: every fault has an end of its own, and Heal ends all at
// once. Where two faults break the same thing, the first that ends mends it.
//
// Threading: the simulation's thread; acts through events of the scheduler.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/atlas.h"
#include "sim/world.h"

namespace tenure::sim {

class Nemesis {
 public:
  Nemesis(World& world, std::vector<Fault> plan) : world_(world), plan_(std::move(plan)) {}

  // The plan begins now.
  void Start();
  // No new faults; everything that is broken is mended.
  void Heal();
  // That could strike: nothing happens to a machine that is down already.
  uint64_t faults() const { return faults_; }

 private:
  void Strike(const Fault& fault);
  // `fault` has struck; `mend` ends it, after its length or another one.
  void Struck(const Fault& fault, std::function<void()> mend = nullptr,
              std::optional<Duration> length = std::nullopt);

  void StrikeProcess(const Fault& fault, Machine& machine);
  void StrikeNetwork(const Fault& fault);
  void StrikeDisk(const Fault& fault, Machine& machine);
  void StrikeClock(const Fault& fault, Machine& machine);
  void Crash(const Fault& fault, uint32_t machine, CrashKind kind);
  void CrashAtWrite(const Fault& fault, CrashKind kind);
  void PauseExecutor(const Fault& fault);
  void Cut(const Fault& fault, std::vector<Endpoint> from, std::vector<Endpoint> to, bool both_ways);
  void Flap(const Fault& fault);
  void SlowLink(const Fault& fault);
  Endpoint AddressOf(uint32_t machine) const { return world_.machines()[machine]->address; }

  World& world_;
  const std::vector<Fault> plan_;
  std::vector<std::shared_ptr<Fault>> resolved_;  // struck the leader
  std::map<uint32_t, int64_t> wall_offsets_ms_;
  uint64_t faults_ = 0;
  bool healed_ = false;
  uint64_t next_mend_ = 1;
  std::map<uint64_t, std::function<void()>> mends_;
};

}  // namespace tenure::sim
