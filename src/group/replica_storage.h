// What replicas have outside the log: their state in the engine and their snapshots. Knows whether anything
// is there, gives it to a new replica of the group, and takes it away when a replica is gone.
//
// Driven by GroupHost, which orders it with the log: what a tombstone is for goes behind the tombstone.
// Threading:  one owner; files are removed in the background.
// Durability: of a removal none is promised: a crash may bring back what was removed, and the next start
//             removes it again (RemoveLeftovers).
#pragma once

#include <optional>
#include <set>

#include "base/function.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/status.h"
#include "group/snapshot_files.h"
#include "kv/kv.h"
#include "wal/wal.h"

namespace tenure::group {

class ReplicaStorage {
 public:
  ReplicaStorage(kv::Engine& engine, SnapshotFiles& files, Logger logger);

  // At start: what a crash brought back of replicas that are gone.
  void RemoveLeftovers(GroupId group, const wal::RecoveredGroup& recovered);
  // A new replica begins with nothing. `returns`: the group had another one here before, so that the state
  // has to say whose it is.
  void BeginEmpty(GroupId group, ReplicaId self, bool returns);
  // Snapshots and state. An error: files are still there (HasRemains), and removing them may be tried again.
  void Remove(GroupId group, Callback<Status> done);
  bool HasRemains(GroupId group) const { return remains_.contains(group); }

 private:
  bool HasState(GroupId group);
  void RemoveState(GroupId group);
  void SetOwner(GroupId group, ReplicaId owner);

  kv::Engine& engine_;
  SnapshotFiles& files_;
  Logger logger_;
  std::set<GroupId> remains_;                           // removed, but for files that could not be
  std::optional<std::set<GroupId>> groups_with_state_;  // when it was first asked for
};

}  // namespace tenure::group
