// What runs of every kind are made of: a world, phases that wait for something with a limit, the first and
// the last of them, and the result.
//
// Threading: one thread.
#pragma once

#include <functional>
#include <string>

#include "base/log.h"
#include "sim/options.h"
#include "sim/run.h"
#include "sim/scheduler.h"
#include "sim/world.h"

namespace tenure::sim {

class Phases {
 protected:
  Phases(const SimOptions& options, LogSink* trace, Scheduler::Trace on_event);

  void Enter(std::string phase);
  // A while, and a look at what must always hold.
  void Pass();
  // Passes time until `done`; a violation ends it at once. `waiting` says what is missing at the limit, which
  // is a violation of `invariant`.
  bool Until(Duration limit, const std::function<bool()>& done, const std::function<std::string()>& waiting,
             const std::string& invariant = "everything serves again after the last fault");

  // All machines are up and the first database is made.
  bool Form();
  // The clients stop, and all replicas hold the same.
  bool Settle();
  // The histories of the registers.
  void Judge();
  // What all runs have in common.
  RunResult& Sum();

  const SimOptions options_;
  World world_;
  RunResult result_;
};

}  // namespace tenure::sim
