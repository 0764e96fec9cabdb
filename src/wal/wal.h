// The log on disk: one per process, shared by all its groups, so that what many groups persist at the same
// time costs one fdatasync. Holds entries, hard states, snapshot marks and tombstones in checksummed, chained
// records in preallocated segments; the format is documented byte by byte in docs/wal-format.md.
//
// Threading: Append, Read and Compact may be called from any executor; completions run on the WAL's own
//            executor (the caller posts them where it wants them). Everything else: the WAL's executor.
// Ordering:  Appends become durable in the order of the calls from one executor; `done` runs in that order.
// Durability: `done(OK)` means durable. One fdatasync covers all appends that were waiting.
// Lifetime:  destroyed on the WAL's executor; completions that have not run by then do not run. A crash is
//            what it looks like: without Close the next Open may find a torn tail.
// Errors:    a failed write or fsync is final: that append and every later one completes with an error and
//            `on_failure` is called once, whereupon the process must stop. fsync is never retried. Below the
//            reserve of free space `LowOnSpace()` turns true; appends still work (leaders stop accepting).
// Source:    the order rules of docs/consensus.md; recovery after PostgreSQL's 2018 fsync findings.
#pragma once

#include <atomic>
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
#include "base/time.h"
#include "raft/types.h"
#include "runtime/disk.h"
#include "runtime/executor.h"

namespace tenure::wal {

struct WalOptions {
  uint64_t segment_bytes = 16 << 20;
  uint64_t max_log_bytes = 1 << 30;     // beyond it groups that pin old segments are copied forward
  uint64_t reserve_bytes = 256 << 20;   // free space below which LowOnSpace() is true
  uint64_t max_commit_bytes = 4 << 20;  // what goes into one write and fdatasync, if several appends wait
  // An idle log gets a seal after this time: from then on damage to the last append is told from a torn tail.
  Duration seal_after = std::chrono::milliseconds(100);
};

// One group's unit of persistence. Fields take effect in this order. Nothing may follow a tombstone, but for
// one that names a replica: a write with a higher `replica` and a `reset_to` begins the group's log anew.
struct Write {
  GroupId group;
  ReplicaId replica;                           // whose log it is from now on; none: no change
  std::optional<raft::SnapshotMark> reset_to;  // the log becomes empty, beginning after this mark
  std::optional<LogIndex> truncate_from;
  std::vector<raft::Entry> entries;  // consecutive; the first is last_index + 1
  std::optional<raft::HardState> hard_state;
  bool tombstone = false;  // the group's log is gone; that it is, is remembered
  // With `tombstone`: replicas of the group up to this id are gone, one with a higher id may come. None: the
  // group is gone for ever.
  ReplicaId gone;
};

// What the log holds of one group, found at Open.
struct RecoveredGroup {
  raft::PersistedState state;  // empty if there is a tombstone
  bool tombstone = false;      // no replica is here
  // The highest replica id that is gone; remembered also while a higher one is here. None: no replica ever
  // left, or the group is gone for ever.
  ReplicaId gone;
  // Whose log it is. Only the logs of groups that came back say so.
  ReplicaId replica;
};

// A group of which entries up to `upto` stand in segments that should go.
struct PinningGroup {
  GroupId group;
  LogIndex upto;
};

class Wal {
 public:
  // Scans the directory (created if absent), cuts a torn tail off the last segment (logged with file and
  // offset) and refuses with DATA_LOSS, naming file, offset, groups and index ranges, anything else that
  // fails its checks. `disk` belongs to `executor`. Blocks; for start-up.
  static StatusOr<std::unique_ptr<Wal>> Open(runtime::Disk& disk, runtime::Executor& executor,
                                             std::string directory, WalOptions options, Logger logger,
                                             Callback<Status> on_failure);
  virtual ~Wal() = default;

  // Groups found at Open, tombstones included.
  virtual const std::map<GroupId, RecoveredGroup>& recovered() const = 0;

  // Durable as one: after a crash all of `writes` is there or none.
  virtual void Append(std::vector<Write> writes, Callback<Status> done) = 0;
  // Entries [from, to], up to `max_bytes` but at least one. OUT_OF_RANGE if `from` is compacted or beyond the
  // end.
  virtual void Read(GroupId group, LogIndex from, LogIndex to, size_t max_bytes,
                    Callback<StatusOr<std::vector<raft::Entry>>> done) = 0;
  // Entries up to mark.index are not needed any more (they are covered by flushed state): the group's log
  // begins after it. Becomes durable with the next append or a moment later; segments that nobody needs are
  // removed. A mark at or before the present one, or of an unknown group, is ignored.
  virtual void Compact(GroupId group, raft::SnapshotMark mark) = 0;
  // Which groups keep the log from being smaller than `max_bytes`, because entries of theirs stand in the
  // oldest segments; none if it is small enough. Compacting them to `upto` frees these segments; what nobody
  // compacts is copied forward beyond max_log_bytes. Cost: a look at the position of every entry.
  virtual void FindPinning(uint64_t max_bytes, Callback<std::vector<PinningGroup>> done) = 0;
  // After everything appended so far: marks the log clean, so that the next start finds nothing to doubt.
  // Appends after it fail.
  virtual void Close(Callback<Status> done) = 0;
  // Any thread.
  virtual bool LowOnSpace() const = 0;
  // Since when nothing became durable although an append waits; none: none waits. Long ago means that the
  // disk hangs; one that is only slow makes progress.
  virtual std::optional<Instant> WaitingSince() const = 0;
  virtual uint64_t bytes_on_disk() const = 0;
};

}  // namespace tenure::wal
