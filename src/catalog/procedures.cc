#include "catalog/procedures.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace tenure::catalog {

using namespace ::tenure::v1;

bool IsEnded(ProcedureState state) {
  return state == PROCEDURE_SUCCEEDED || state == PROCEDURE_FAILED || state == PROCEDURE_ROLLED_BACK ||
         state == PROCEDURE_CANCELLED;
}

bool HoldsLocks(ProcedureState state) {
  return state == PROCEDURE_RUNNING || state == PROCEDURE_WAITING || state == PROCEDURE_ROLLING_BACK ||
         state == PROCEDURE_NEEDS_OPERATOR;
}

bool IsLegalMove(ProcedureState from, ProcedureState to) {
  if (IsEnded(from)) return false;
  if (from == PROCEDURE_PENDING) return to != PROCEDURE_ROLLING_BACK && to != PROCEDURE_ROLLED_BACK;
  // What was rolled back, or was begun, does not become new again.
  if (to == PROCEDURE_PENDING || to == PROCEDURE_STATE_UNSPECIFIED) return false;
  if (from == PROCEDURE_ROLLING_BACK) return to != PROCEDURE_RUNNING && to != PROCEDURE_SUCCEEDED;
  return true;
}

std::string_view NameOf(ProcedureState state) {
  const std::string& name = ProcedureState_Name(state);
  constexpr std::string_view kPrefix = "PROCEDURE_";
  if (name.empty()) return "UNKNOWN";
  return std::string_view(name).substr(kPrefix.size());
}

std::string NameOf(const ProcedureLock& lock) {
  switch (lock.object()) {
    case LOCKED_CLUSTER:
      return "the cluster";
    case LOCKED_NODE:
      return fmt::format("node {}", lock.id());
    case LOCKED_DATABASE:
      return fmt::format("database {}", lock.id());
    case LOCKED_TABLE:
      return fmt::format("table {}", lock.id());
    case LOCKED_REGION:
      return fmt::format("region {}", lock.id());
    default:
      return fmt::format("object {} of kind {}", lock.id(), static_cast<int>(lock.object()));
  }
}

uint64_t NextReplica(const RegionRecord& region) {
  uint64_t next = std::max<uint64_t>(region.next_replica(), 1);
  for (const auto* list : {&region.replicas(), &region.joining(), &region.leaving()}) {
    for (const ReplicaRecord& replica : *list) next = std::max(next, replica.id() + 1);
  }
  return next;
}

}  // namespace tenure::catalog
