// Makes a damaged log usable again without the groups that lost acknowledged data: a new log is built from
// what is intact, holds a tombstone for every group that is not, and takes the old one's place. The old one
// is kept.
//
//   planned --Build--> DIR/wal.repaired whole and durable --Swap--> DIR/repair-under-way is there
//     --> DIR/wal renamed to DIR/wal.damaged-N --> DIR/wal.repaired renamed to DIR/wal --> marker removed
//
// Damage that cannot be attributed to groups is not repaired: the directory is to be given up as a whole.
//
// A group that is dropped never runs here again, under whatever replica id: a replica that lost a vote or an
// acknowledged entry and took part all the same could help to elect two leaders of one term, or lose what a
// majority was thought to hold.
//
// Driven by `tenure repair`, on a directory that is locked. It does not decide what becomes of the dropped
// groups, and does not touch the engine's state (the next start removes that of groups with a tombstone).
// Threading: the executor's. PlanRepair and SwapLogs block on the disk.
// Errors:    FAILED_PRECONDITION: the log is healthy, or of a newer format. A failure before the marker
//            leaves the directory as it was; after it the process refuses to start until the repair was
//            finished (run it again).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/function.h"
#include "base/log.h"
#include "base/status.h"
#include "raft/types.h"
#include "runtime/disk.h"
#include "runtime/executor.h"
#include "wal/scanner.h"
#include "wal/wal.h"

namespace tenure::wal {

struct RepairPlan {
  std::optional<LogDamage> damage;  // none: the log is whole, groups are dropped for other reasons
  std::map<GroupId, DamagedGroup> dropped;
  // Part of what is gone cannot be read: any group may have lost a vote in it, also one of which nothing else
  // is left, so that not even a tombstone can be written for it. Nothing here can be kept, and the log is not
  // repaired.
  bool everything = false;
  std::map<GroupId, raft::PersistedState> kept;
  std::map<GroupId, raft::PersistedState> remains;  // of dropped groups, as far as it can be read; for people
  std::map<GroupId, ReplicaId> tombstones;          // of before, as in LogState; dropped groups have none
  std::map<GroupId, ReplicaId> replicas;            // of the kept: whose log it is, where the log says so
};

// What a repair of the log in `directory`/wal would do. `also_drop`: groups that cannot go on for reasons
// outside of the log (a snapshot they need is damaged). Changes nothing.
StatusOr<RepairPlan> PlanRepair(runtime::Disk& disk, const std::string& directory,
                                const std::map<GroupId, DamagedGroup>& also_drop);

// Builds DIR/wal.repaired: what the plan keeps, entry by entry, and tombstones. A leftover of an earlier
// attempt is replaced. Of `options` the size of segments counts. `done` runs on `executor`, when the new log
// was read again and found to be what it should be. `disk` belongs to `executor`.
void BuildRepairedLog(runtime::Disk& disk, runtime::Executor& executor, const std::string& directory,
                      const RepairPlan& plan, WalOptions options, Logger logger, Callback<Status> done);

// Puts DIR/wal.repaired into place, or finishes an earlier call that did not get to its end. Returns where
// the damaged log is now.
StatusOr<std::string> SwapLogs(runtime::Disk& disk, const std::string& directory);
// A swap has begun and not ended.
bool SwapUnderWay(runtime::Disk& disk, const std::string& directory);

}  // namespace tenure::wal
