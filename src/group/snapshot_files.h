// The snapshots of one host's groups, without blocking it: wal::SnapshotStore works on the background
// executor, answers come back here, and which snapshots are complete is known at once.
//
// Threading: made, called and answered on `home`; files are touched on `background`, in the order of the
//            calls.
// Lifetime:  destruction drops pending answers.
// Durability and errors: as in wal/snapshot_store.h; a write that fails costs that part only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/status.h"
#include "raft/types.h"
#include "runtime/executor.h"
#include "wal/snapshot_store.h"

namespace tenure::group {

class SnapshotFiles {
 public:
  // Looks at what is stored; blocks.
  SnapshotFiles(runtime::Executor& home, runtime::Executor& background, wal::SnapshotStore& store,
                Logger logger);
  ~SnapshotFiles();

  // Appends to the part of (group, mark), begun anew if `offset` is zero. `offset` must be the part's size;
  // else nothing is written. `done` gets the part's size after the call.
  void Append(GroupId group, const raft::SnapshotMark& mark, uint64_t offset, std::string chunk,
              Callback<StatusOr<uint64_t>> done);
  // Where a transfer goes on.
  void PartSize(GroupId group, const raft::SnapshotMark& mark, Callback<StatusOr<uint64_t>> done);
  // Of the part that the last Append was to; ABORTED if another one was begun since. Checks against `expected` if
  // given, makes the snapshot durable and complete. The group's older ones stay:
  // as long as no durable state has passed it, the one at which the log begins is all there is before that.
  void Finish(GroupId group, const raft::SnapshotMark& mark, std::optional<wal::SnapshotMeta> expected,
              Callback<StatusOr<wal::SnapshotMeta>> done);
  // Up to `max_bytes` of the complete snapshot with this mark; empty at its end.
  void Read(GroupId group, const raft::SnapshotMark& mark, uint64_t offset, size_t max_bytes,
            Callback<StatusOr<std::string>> done);
  // Removes the group's snapshots with a mark below `below` and not below `from`, complete or not.
  void Remove(GroupId group, LogIndex below, LogIndex from = LogIndex());
  // Removes everything of a group that is gone. Behind `done` nothing of it comes back, whatever was under
  // way. An error: something is still there.
  void RemoveGroup(GroupId group, Callback<Status> done);
  // Whether there may be one, complete or in part.
  bool HasAny(GroupId group) const;
  // The newest complete one.
  const wal::SnapshotMeta* Find(GroupId group) const;
  // The complete one with this mark. A successor of a leader may send one that is older than what is here.
  const wal::SnapshotMeta* Find(GroupId group, const raft::SnapshotMark& mark) const;

 private:
  struct Files;  // used on `background` only
  template <class T, class Work>
  void Run(Work work, Callback<T> done);

  runtime::Executor& home_;
  runtime::Executor& background_;
  std::shared_ptr<Files> files_;
  std::map<GroupId, std::vector<wal::SnapshotMeta>> complete_;  // by index
  std::map<GroupId, LogIndex> partial_;  // of an incomplete one that may be there, the newest if of several
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::group
