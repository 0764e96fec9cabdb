// The writing side of the log: collects what is submitted from any thread, encodes it into commits, writes
// and syncs them one at a time, answers in order, serves reads, and keeps the segments: prepares, fills,
// copies forward, removes.
//
//            Submit                       one commit under way
//   callers ---------> queue --Pump--> [encode -> Write -> Sync] --> OnSynced: answer, tidy up, Pump again
//
// While a Sync is under way appends stay queued and go out together in the next commit (group commit); a
// commit must not be written before the one before it is durable (F2).
//
// Threading:  Submit, WaitingSince, LowOnSpace, bytes_on_disk from any thread; everything else on the
//             executor.
// Lifetime:   shared, because closures on the executor refer to it weakly; Stop() ends its doings.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <variant>
#include <vector>

#include "runtime/executor.h"
#include "wal/format.h"
#include "wal/log_state.h"
#include "wal/segment_files.h"
#include "wal/wal.h"

namespace tenure::wal {

// Where appends go on.
struct LogEnd {
  uint64_t log_id = 0;
  uint64_t next_sequence = 1;
  uint64_t previous = 0;
  uint64_t offset = kSegmentHeaderBytes;  // in the active segment
  bool fresh = true;                      // the active segment has no commit yet
  bool sealed = true;
};

struct AppendOp {
  std::vector<Write> writes;
  Callback<Status> done;
};
struct ReadOp {
  GroupId group;
  LogIndex from;
  LogIndex to;
  size_t max_bytes;
  Callback<StatusOr<std::vector<raft::Entry>>> done;
};
struct CompactOp {
  GroupId group;
  raft::SnapshotMark mark;
};
struct PinningOp {
  uint64_t max_bytes;
  Callback<std::vector<PinningGroup>> done;
};
struct CloseOp {
  Callback<Status> done;
};
using LogOp = std::variant<AppendOp, ReadOp, CompactOp, PinningOp, CloseOp>;

class LogWriter : public std::enable_shared_from_this<LogWriter> {
 public:
  LogWriter(runtime::Executor& executor, SegmentFiles files, LogState state, LogEnd end,
            const WalOptions& options, Logger logger, Callback<Status> on_failure);

  void Start();  // posts its first look around
  void Submit(LogOp op);
  void Stop();
  std::optional<Instant> WaitingSince() const;
  bool LowOnSpace() const { return low_on_space_.load(std::memory_order_relaxed); }
  uint64_t bytes_on_disk() const { return bytes_on_disk_.load(std::memory_order_relaxed); }

 private:
  // --- the queue and the commit (log_writer.cc) ---
  void TakeSubmitted();
  void Pump();
  void ServeWaitingReads();
  // Moves what fits from the queue into the commit. False if it failed.
  bool FillCommit();
  bool AddAppend(AppendOp& op);
  bool BeginCommit(uint64_t bytes);
  bool EnsureRoom(uint64_t bytes);
  void WriteCommit(uint32_t flags);
  void OnSynced(Status status);
  void AnswerCommitted(const Status& status);
  void NoteAnswered(size_t appends);
  void Fail(const Status& status);
  void FailQueued();

  // --- encoding (log_encode.cc) ---
  uint64_t BoundOf(const Write& write) const;
  uint64_t CheckpointBound() const;
  uint64_t MarksBound() const;
  void EncodeCheckpoint();
  void EncodeTombstones(RecordType type);
  void EncodeMarks();
  void EncodeWrite(const Write& write);
  LogState::Group& EncodeBegin(const Write& write);
  void EncodeContent(LogState::Group& group, const Write& write, bool has_hard_state);
  void EncodeTombstone(GroupId id, ReplicaId gone);
  void EncodeEntries(LogState::Group& group, const std::vector<raft::Entry>& entries);

  // --- reading (log_read.cc) ---
  void ServeRead(ReadOp& op);
  StatusOr<std::vector<raft::Entry>> ReadEntries(const ReadOp& op);

  // --- housekeeping (log_tidy.cc) ---
  void Tidy();
  void RemoveUnneeded();
  std::vector<PinningGroup> FindPinning(uint64_t max_bytes) const;
  bool ShouldCopyForward() const;
  // Adds entries of the oldest segment to a commit. False if it failed.
  bool CopyForward();
  std::vector<raft::Entry> CollectForCopy(LogState::Group& group, uint64_t* bytes);
  void EncodeCopied(LogState::Group& group, const std::vector<raft::Entry>& entries);
  void PrepareSpare();
  void OnSliceSynced(Status status);
  void PollSpace();
  void ArmTimer();
  void OnTimer();
  void UpdateBytes() { bytes_on_disk_.store(files_.bytes_on_disk(), std::memory_order_relaxed); }

  runtime::Executor& executor_;
  WalOptions options_;
  Logger logger_;
  Callback<Status> on_failure_;

  mutable std::mutex mutex_;
  std::vector<LogOp> submitted_;  // guarded by mutex_
  bool posted_ = false;           // guarded by mutex_: TakeSubmitted is on its way
  std::deque<Instant> waiting_;   // guarded by mutex_: when the appends that are not answered yet came
  Instant last_answer_;           // guarded by mutex_

  std::vector<LogOp> taken_;  // reused
  std::deque<LogOp> queue_;
  bool stopped_ = false;
  bool closed_ = false;
  Status failure_;

  SegmentFiles files_;
  LogState state_;
  LogEnd end_;

  CommitBuilder builder_;
  bool building_ = false;
  bool sync_under_way_ = false;
  std::vector<Callback<Status>> committing_;     // answered when the commit is durable
  std::vector<Callback<Status>> answering_;      // reused
  Callback<Status> closing_;                     // of Close
  std::vector<ReadOp> reads_after_write_;        // they may want what is in the commit
  std::map<GroupId, raft::SnapshotMark> marks_;  // compactions for the next commit
  bool force_commit_ = false;

  Instant last_commit_;
  runtime::Timer timer_;
  bool timer_armed_ = false;
  bool slice_under_way_ = false;
  bool active_begun_;  // a commit in the active segment is durable
  bool spare_posted_ = false;
  Instant spare_retry_at_;
  Instant next_space_poll_;
  runtime::Timer space_timer_;
  uint32_t copy_segment_ = 0;  // 0: nothing is being copied forward
  GroupId copy_group_;
  LogIndex copy_index_;

  std::atomic<bool> low_on_space_ = false;
  std::atomic<uint64_t> bytes_on_disk_ = 0;
};

}  // namespace tenure::wal
