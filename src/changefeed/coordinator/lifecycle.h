// The state of one changefeed as people see it, and when it is retried, given up, or declared stalled.
//
//             .---- error ---->.
//          NORMAL            WARNING --- no progress for give_up_after, or cannot heal ---> FAILED
//             '<-- progress --'                                                              |
//   NORMAL, WARNING, FAILED --pause--> PAUSED --gc_ttl--> FAILED    FAILED, PAUSED --resume--> NORMAL
//   NORMAL, WARNING --target reached--> FINISHED                    every state --remove--> REMOVING
//
// Driven by the coordinator with reports, requests and time; decides, does nothing. What it says is written
// to the record under the owner epoch as the condition.
// Threading:  one owner. Times are the leader's: a new leader counts silence from its own start.
// Invariants: L1 only legal moves (IsLegalMove).
//             L2 errors within one backoff fold into one.
//             L3 while the state is NORMAL the checkpoint has moved, or rows of the initial snapshot were
//                delivered, within stall_after.
//             L4 an error that cannot heal fails at once.
//             L5 REMOVING is never left.
#pragma once

#include <optional>
#include <string>

#include "base/prng.h"
#include "base/status.h"
#include "base/time.h"
#include "changefeed/protocol/feed_error.h"

namespace tenure::changefeed {

enum class FeedState : uint8_t { kNormal, kWarning, kPaused, kFailed, kFinished, kRemoving };
std::string_view NameOf(FeedState state);
// Total; staying is legal.
bool IsLegalMove(FeedState from, FeedState to);

struct LifecycleOptions {
  Duration backoff_min = std::chrono::seconds(10);
  Duration backoff_max = std::chrono::minutes(10);
  Duration give_up_after = std::chrono::minutes(30);
  Duration stall_after = std::chrono::seconds(60);
  Duration gc_ttl = std::chrono::hours(24);  // how long history is kept for one that does not run
};

class Lifecycle {
 public:
  static constexpr size_t kMaxMessageBytes = 4096;  // of an error; the rest of it is cut off

  struct Stored {  // the record's
    FeedState state = FeedState::kNormal;
    CommitTs checkpoint;
    std::optional<FeedError> error;
    WallTime halted_at;  // since when it is PAUSED or FAILED; wall time, since it outlives leaders
  };
  Lifecycle(LifecycleOptions options, Prng prng, Stored stored, Instant now);

  // --- reports of the current epoch's maintainer ---
  // `holding_back`: what keeps the checkpoint; becomes the cause if it stalls. `node`: the maintainer's.
  void OnProgress(Instant now, CommitTs checkpoint, std::string holding_back, NodeId node);
  // Rows of the initial snapshot were delivered: while it lasts the checkpoint stays at the start. The backoff
  // goes on growing, since a sink may fail in the middle of it each time.
  void OnSnapshotRows(Instant now);
  void OnError(Instant now, WallTime wall, const FeedError& error);
  void OnFinished();
  // Of the record, which may be changed while the changefeed does not run.
  void SetOptions(const LifecycleOptions& options) { options_ = options; }
  // Looks at what only time changes.
  void Tick(Instant now, WallTime wall);

  // --- requests; a refusal names the state ---
  Status Pause(WallTime wall);
  // `oldest`: what the change logs still have.
  Status Resume(Instant now, CommitTs oldest);
  void Remove() { MoveTo(FeedState::kRemoving); }
  // Changes of sink or filter only while it does not run.
  Status MayUpdate() const;

  // Whether a maintainer should run now: false while it backs off.
  bool WantsMaintainer(Instant now) const;
  // Until when it backs off; in the past if it does not.
  Instant retry_at() const { return retry_at_; }
  // History that has to be kept for it; none: nothing.
  std::optional<CommitTs> HistoryFloor() const;

  FeedState state() const { return stored_.state; }
  CommitTs checkpoint() const { return stored_.checkpoint; }
  const std::optional<FeedError>& error() const { return stored_.error; }
  const Stored& stored() const { return stored_; }
  // Errors that were folded into the shown one, itself included.
  uint32_t error_count() const { return error_count_; }

 private:
  void MoveTo(FeedState state);
  // No longer than the record takes.
  void SetError(FeedError error);
  void Fail(WallTime wall, FeedError error);
  Duration DrawBackoff();

  LifecycleOptions options_;
  Prng prng_;
  Stored stored_;
  Instant last_progress_;
  Instant retry_at_;
  uint32_t attempts_ = 0;
  uint32_t error_count_ = 0;
  std::string holding_back_;
  NodeId node_;
  bool history_given_up_ = false;
};

}  // namespace tenure::changefeed
