// Every story about procedures (procedure_stories.h), and a crash in every moment of it that counts: each is
// run once to see which changes of procedures it commits, and then once for each of these changes and each
// machine that has a part in it - the leading controller and every node with a replica. The victim dies when
// the leader applies the change, before anything follows from it, and is back two seconds later. The story
// must end as it does without a crash, and everything must be as ProcedureChecker wants it.
//
// Threading: one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "sim/procedure_stories.h"
#include "sim/run.h"

namespace tenure::sim {

struct ProcedureCrash {
  size_t change = 0;   // of the story, from 0
  size_t machine = 0;  // victim
};

struct ProcedureOutcome {
  RunResult result;
  struct Change {
    std::string what;  // "RepairReplica create"
    std::string type;
    std::set<size_t> involved;  // machines that ran: the leader and every node with a replica
  };
  std::vector<Change> changes;
  bool crashed = false;
  std::optional<::tenure::v1::ProcedureState> ended;  // the story's procedure
  Duration announced{};                               // what its step `announce` took
};

ProcedureOutcome RunProcedure(const Story& story, std::optional<ProcedureCrash> crash, LogSink* trace);

// All of it; every `stride`-th case only. `only`: one story, or one case ("move-replica:3:2", machines from 1
// on) which is traced with `trace`. Prints a line per story and what failed; the exit code.
int RunProcedureCases(uint64_t stride, const std::string& only, bool trace);

}  // namespace tenure::sim
