// How a replica that lost its majority for good goes on alone: what is appended to its log
// (docs/recovery.md).
//
// Threading: pure functions.
#pragma once

#include "base/ids.h"
#include "raft/types.h"
#include "wal/wal.h"

namespace tenure::group {

// The configuration in which `self` on `host` is the only voter, in a term of its own, as one write; `state`,
// what the log held, becomes what it holds once that is durable. The term is higher than `above`.
wal::Write RecoveryOf(GroupId group, raft::PersistedState& state, ReplicaId self, uint64_t host, Term above);

}  // namespace tenure::group
