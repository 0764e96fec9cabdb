// Keeps the log of a host's groups short: flushes the engine now and then, and drops from the log what is
// durable in the engine. Of a log that is too large it flushes what pins its oldest segments.
//
//   idle --bytes (fewer in a pause), time, a log too large--> flushing --durable--> trimmed, idle
//
// Driven by its own timer, and by GroupHost before it stops.
// Threading:  one executor.
// Lifetime:   what it was made with outlives it; destruction drops what is under way.
// Invariants: T1 nothing is dropped that was applied after the flush began, nor of a replica that came since.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "base/function.h"
#include "base/ids.h"
#include "group/group.h"

namespace tenure::group {

class LogTrimmer {
 public:
  using Groups = std::map<GroupId, std::unique_ptr<Group>>;
  // Whether a snapshot of the group is being sent: then stored ones stay. `on_trimmed`: its log begins later
  // now.
  struct Listener {
    std::function<bool(GroupId)> sending;
    std::function<void(GroupId)> on_trimmed;
  };
  LogTrimmer(GroupHost::Dependencies& dependencies, const GroupHostOptions& options, const Groups& groups,
             SnapshotFiles& files, Listener listener);
  ~LogTrimmer() { *alive_ = false; }

  // Makes the applied state durable and trims the logs up to it.
  void Flush(Closure done) { Flush({}, std::move(done)); }

 private:
  // A replica's state when a flush began.
  struct Flushed {
    ReplicaId replica;
    LogIndex applied;
  };
  // Up to these indices nothing is kept for members that may lag: the group pins a segment.
  using Pinned = std::map<GroupId, LogIndex>;

  void ScheduleCheck();
  void FlushPinning(bool anyway);
  void Flush(Pinned pinned, Closure done);
  void Trim(const std::map<GroupId, Flushed>& flushed, const Pinned& pinned);
  Group* Find(GroupId group) const;

  GroupHost::Dependencies& dependencies_;
  const GroupHostOptions& options_;
  const Groups& groups_;
  SnapshotFiles& files_;
  Listener listener_;

  bool flushing_ = false;
  Instant last_flush_;
  uint64_t unflushed_at_check_ = 0;
  int quiet_checks_ = 0;  // one after the other that found as many unflushed bytes as the one before
  runtime::Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::group
