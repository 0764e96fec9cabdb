// A run of nothing but power losses: again and again all machines lose power in one moment, at any operation
// on any disk, under load or while they still recover from the loss before; what was not synced is lost, torn
// or reordered. Chosen by SimOptions::power_losses; RunSeed (run.h) is the entry.
//
// Invariants: those of every run (docs/testing.md). After each loss that the machines are left alone after,
//             every client has a write acknowledged within SimOptions::convergence_limit.
// Threading:  one thread.
#pragma once

#include "base/log.h"
#include "sim/options.h"
#include "sim/run.h"
#include "sim/scheduler.h"

namespace tenure::sim {

RunResult RunPowerLosses(const SimOptions& options, LogSink* trace, Scheduler::Trace on_event);

}  // namespace tenure::sim
