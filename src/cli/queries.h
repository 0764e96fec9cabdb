// Questions that several commands ask.
//
// Threading: blocks the calling thread.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "base/time.h"
#include "cli/session.h"

namespace tenure::cli {

// All records of a kind, page by page (each page at one revision).
StatusOr<std::vector<pb::Record>> ListRecords(Session& session, pb::RecordKind kind, Duration timeout);
StatusOr<pb::GetDatabaseResponse> GetDatabase(Session& session, const std::string& name, Duration timeout);
// Of one database; of all if `database` is empty.
StatusOr<pb::ListRegionsResponse> ListRegions(Session& session, const std::string& database,
                                              Duration timeout);
// The id of a node by its id or name; NOT_FOUND.
StatusOr<uint64_t> FindNode(Session& session, const std::string& wanted, Duration timeout);

}  // namespace tenure::cli
