// A disk that rots, and the operator who repairs it: a bit of a stopped machine's log flips, `tenure repair
// --execute` runs on it (wal/repair.h, on a process of its own), and the machine goes on without the replicas
// that lost something.
//
// Only damage to regions is repaired: a flip that costs the catalog's replica, or that no start would mind,
// is taken back and another is tried.
//
// Threading: the simulation's thread. Lives until `done` has run, which must not destroy it from inside.
#pragma once

#include <functional>
#include <memory>
#include <set>

#include "base/ids.h"
#include "base/log.h"
#include "base/prng.h"
#include "sim/sim_clock.h"
#include "sim/sim_disk.h"
#include "sim/sim_executor.h"
#include "wal/repair.h"

namespace tenure::sim {

class LogRepair {
 public:
  // `dropped` is empty if no flip was found that would do; the disk is then as it was.
  using Done = std::function<void(Status status, std::set<GroupId> dropped)>;
  LogRepair(Scheduler& world, SimClock& clock, SimDisk& disk, std::string directory, wal::WalOptions options,
            Prng prng, Logger logger, Done done);
  ~LogRepair();

 private:
  void Run();
  // Damages the log; true if there is something to repair.
  bool Rot();
  void End(Status status);

  SimDisk& disk_;
  const std::string directory_;
  const wal::WalOptions options_;
  Prng prng_;
  Logger logger_;
  Done done_;
  SimProcess process_;
  SimExecutor& executor_;
  std::unique_ptr<runtime::Disk> view_;
  wal::RepairPlan plan_;
};

}  // namespace tenure::sim
