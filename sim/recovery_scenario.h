// A majority of the machines is gone for good: the catalog is recovered from the one that is left, by the
// code of `tenure recover` and with crashes at its disk boundaries, then the regions, as an operator does;
// clients go on. Then the old disks come back to life under the network, a majority of the configuration of
// before. None of them may get anything accepted (GroupChecker, linearizability), and every one of them must
// end by itself.
//
// From a moment of rest, in which the machine that stays holds everything that was acknowledged: what was not
// there would be lost, rightly. What had been applied without an acknowledgement, or after that moment, may
// go.
//
// Threading: the simulation's thread.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/prng.h"
#include "recovery/execution.h"
#include "sim/sim_disk.h"

namespace tenure::sim {

class World;

class RecoveryScenario {
 public:
  // Runs the world until `waiting` returns an empty string; false if the limit or a violation comes first.
  using Until = std::function<bool(Duration limit, const std::function<std::string()>& waiting)>;
  RecoveryScenario(World& world, Prng prng, Until until);

  // False after a violation.
  bool Go();

 private:
  void LoseMajority();
  bool RecoverCatalog();
  // One run of the recovery; with `boundaries` its process dies at that change to the disk. True: it is done.
  bool Attempt(int number, std::optional<uint64_t> boundaries);
  void Plan(recovery::Survivors& survivors, std::optional<Status>& outcome);
  bool RecoverRegions();
  bool Revive();

  World& world_;
  Prng prng_;
  Until until_;
  size_t survivor_ = 0;
  bool surveyed_ = false;
};

}  // namespace tenure::sim
