// Invariants of the membership of group 0, checked whenever a leader appends a joint configuration, against
// what the world knows and not what the leader believes:
//   M1 it never makes the voters more than the target
//   M2 it never leads to fewer voters than there were if that is below the target (nobody forces it here)
//   M3 whoever becomes a voter runs, and holds what was committed but for the last few entries
//   M4 a majority of the new voters runs, or has been running a moment ago
// and at the end that the configuration is what the catalog asks for and everybody who was removed knows it.
//
// Threading: the simulation's thread.
#pragma once

#include <cstdint>
#include <string>

#include "controller/controller.h"
#include "raft/types.h"

namespace tenure::sim {

class World;
struct Machine;

class MembershipChecker {
 public:
  explicit MembershipChecker(World& world) : world_(world) {}
  void OnConfiguration(uint64_t leader, const raft::Configuration& configuration);
  // What the membership still waits for, as the serving controller sees it; empty if nothing.
  std::string Unsettled(controller::Controller& serving) const;
  uint64_t changes() const { return changes_; }

 private:
  bool DiedAMomentAgo(const Machine& machine) const;
  bool GaveWayAMomentAgo(uint64_t controller) const;
  bool Runs(uint64_t controller) const;
  void CheckPromoted(uint64_t controller, LogIndex commit, const std::string& what);

  World& world_;
  uint64_t changes_ = 0;
};

}  // namespace tenure::sim
