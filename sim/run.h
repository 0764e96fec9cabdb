// One seed from beginning to end, in two phases: faults, then heal and demand that everything serves again
// and that all replicas agree. What clients saw is judged last.
//
// Threading: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/log.h"
#include "sim/history.h"
#include "sim/options.h"
#include "sim/scheduler.h"

namespace tenure::sim {

struct RunResult {
  uint64_t seed = 0;
  std::vector<std::string> failures;  // "invariant: what"; empty: passed
  std::string phase;                  // in which the run ended
  uint64_t event_hash = 0;
  uint64_t events = 0;
  Duration simulated{};
  uint64_t faults = 0;
  uint64_t changes = 0;                        // of the catalog group's voters
  std::map<std::string, uint64_t> procedures;  // that ended, by type
  uint64_t tasks = 0;                          // that nodes began
  uint64_t elections = 0;
  uint64_t entries = 0;       // distinct entries applied
  uint64_t comparisons = 0;   // of state hashes at equal indexes
  uint64_t acknowledged = 0;  // client operations
  uint64_t unknown = 0;
  uint64_t acknowledged_writes = 0;
  uint64_t power_losses = 0;    // of all machines at once, in a run of nothing else
  uint64_t torn_files = 0;      // in those: files of which something was not synced
  uint64_t schema_changes = 0;  // that were made
  uint64_t schema_undone = 0;   // rolled back or cancelled
  uint64_t rows_answered = 0;   // operations of the clients of rows
  uint64_t rows_refused = 0;
  uint64_t databases_created = 0;  // by the operator, beside those that every run has
  uint64_t databases_dropped = 0;
  uint64_t feeds_created = 0;
  uint64_t feed_messages = 0;    // that arrived at sinks
  uint64_t feed_duplicates = 0;  // of them, changes that had come before
  uint64_t feed_rows = 0;        // of them, changes of rows that had not
  uint64_t feed_schema_changes = 0;
  uint64_t mail_repeated = 0;  // messages of the changefeed protocol that came again
  uint64_t mail_forged = 0;
  uint64_t barriers = 0;   // that proceeded
  uint64_t undecided = 0;  // registers whose history was too hard to judge
  // From the first fault to the moment when everything served again.
  Instant broken{};
  Instant healed{};
  History::Silence key_silence;    // no write of a key was acknowledged
  History::Silence entry_silence;  // no change of the catalog was acknowledged
};

// `trace`: null for none. `on_event` is told of every event of the scheduler before it runs.
RunResult RunSeed(const SimOptions& options, LogSink* trace, Scheduler::Trace on_event = nullptr);

}  // namespace tenure::sim
