// Facts about procedure records that several folders need.
//
// Threading: pure functions.
#pragma once

#include <string_view>

#include "catalog/catalog.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::catalog {

// The format that brought them, and regions whose replicas change.
inline constexpr uint32_t kFormatOfProcedures = 3;

// SUCCEEDED, FAILED, ROLLED_BACK or CANCELLED: nothing of it happens any more and its locks are free.
bool IsEnded(::tenure::v1::ProcedureState state);
// It has begun, and holds its locks.
bool HoldsLocks(::tenure::v1::ProcedureState state);
bool IsLegalMove(::tenure::v1::ProcedureState from, ::tenure::v1::ProcedureState to);
// "RUNNING"
std::string_view NameOf(::tenure::v1::ProcedureState state);
// "database 7"
std::string NameOf(const ::tenure::v1::ProcedureLock& lock);

// The replica id that a region gives next.
uint64_t NextReplica(const ::tenure::v1::RegionRecord& region);

}  // namespace tenure::catalog
