// Procedures as commands show them and wait for them.
//
// Threading: blocks the calling thread.
#pragma once

#include <cstdint>
#include <string>

#include "cli/invocation.h"
#include "cli/output.h"
#include "cli/session.h"
#include "tenure/v1/procedures.pb.h"

namespace tenure::cli {

StatusOr<pb::ProcedureStatus> GetProcedure(Session& session, uint64_t id, Duration timeout);
// How it stands now, in one line: what it waits for, how much of its tasks is done, its last error.
std::string ProgressText(const pb::ProcedureStatus& procedure);
// For `procedure show`.
std::string DetailsOf(const pb::ProcedureStatus& procedure);
Json ToJson(const pb::ProcedureStatus& procedure);
// Waits until it has ended - as long as that takes, or within --timeout if that is given - with a progress
// line, and prints the end. FAILED_PRECONDITION with its error if it did not succeed.
Status AwaitProcedure(Session& session, const Invocation& invocation, uint64_t id);
// What a command does that has submitted a procedure: waits for it, or says how to. `record`: the
// procedure's.
Status FinishProcedure(Session& session, const Invocation& invocation, const pb::Record& record, bool wait);

}  // namespace tenure::cli
