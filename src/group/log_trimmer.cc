#include "group/log_trimmer.h"

#include <utility>
#include <vector>

namespace tenure::group {
namespace {

constexpr Duration kCheckInterval = std::chrono::seconds(1);
// Of flushes for the sake of a log that is too large.
constexpr Duration kMinFlushGap = std::chrono::seconds(2);
// When so many checks have found nothing new, this part of flush_bytes is enough: a log at rest is short, and
// nobody waits for a flush.
constexpr int kPauseChecks = 5;
constexpr uint64_t kPauseShare = 4;

}  // namespace

LogTrimmer::LogTrimmer(GroupHost::Dependencies& dependencies, const GroupHostOptions& options,
                       const Groups& groups, SnapshotFiles& files, Listener listener)
    : dependencies_(dependencies),
      options_(options),
      groups_(groups),
      files_(files),
      listener_(std::move(listener)),
      last_flush_(dependencies.executor.Now()) {
  ScheduleCheck();
}

Group* LogTrimmer::Find(GroupId group) const {
  const auto it = groups_.find(group);
  return it == groups_.end() ? nullptr : it->second.get();
}

void LogTrimmer::ScheduleCheck() {
  timer_ = dependencies_.executor.After(kCheckInterval, [this] {
    const Instant now = dependencies_.executor.Now();
    const bool due = now - last_flush_ >= options_.flush_interval;
    const uint64_t unflushed = dependencies_.engine.UnflushedBytes();
    quiet_checks_ = unflushed == unflushed_at_check_ ? quiet_checks_ + 1 : 0;
    unflushed_at_check_ = unflushed;
    const bool pause = quiet_checks_ >= kPauseChecks;
    const uint64_t enough = pause ? options_.flush_bytes / kPauseShare : options_.flush_bytes;
    const bool wanted = unflushed > 0 && (due || unflushed >= enough);
    if (!flushing_ && (wanted || now - last_flush_ >= kMinFlushGap)) {
      if (dependencies_.wal.bytes_on_disk() > options_.trim_log_bytes) {
        FlushPinning(wanted);
      } else if (wanted) {
        Flush([] {});
      }
    }
    ScheduleCheck();
  });
}

// Groups that hardly ever write, or no more, keep whole segments with a few entries.
// `anyway`: a flush is wanted whether there are such groups or not.
void LogTrimmer::FlushPinning(bool anyway) {
  flushing_ = true;
  auto found = [this, anyway, alive = alive_](const std::vector<wal::PinningGroup>& groups) {
    if (!*alive) return;
    flushing_ = false;
    Pinned pinned;
    for (const wal::PinningGroup& pinning : groups) {
      const Group* group = Find(pinning.group);
      if (group != nullptr && group->CanCompact()) pinned[pinning.group] = pinning.upto;
    }
    last_flush_ = dependencies_.executor.Now();
    if (anyway || !pinned.empty()) Flush(std::move(pinned), [] {});
  };
  dependencies_.wal.FindPinning(options_.trim_log_bytes, [&executor = dependencies_.executor,
                                                          found = std::move(found)](auto groups) mutable {
    executor.Post([found = std::move(found), groups = std::move(groups)] { found(groups); });
  });
}

void LogTrimmer::Flush(Pinned pinned, Closure done) {
  flushing_ = true;
  last_flush_ = dependencies_.executor.Now();
  std::map<GroupId, Flushed> applied;
  for (const auto& [id, group] : groups_) applied[id] = {group->self(), group->applied()};
  auto flushed = [this, alive = alive_, applied = std::move(applied), pinned = std::move(pinned),
                  done = std::move(done)](const Status& status) mutable {
    if (!*alive) return;
    flushing_ = false;
    if (status.ok()) Trim(applied, pinned);
    done();
  };
  dependencies_.engine.Flush([&executor = dependencies_.executor,
                              flushed = std::move(flushed)](Status status) mutable {
    executor.Post([flushed = std::move(flushed), status = std::move(status)]() mutable { flushed(status); });
  });
}

void LogTrimmer::Trim(const std::map<GroupId, Flushed>& flushed, const Pinned& pinned) {
  for (const auto& [id, state] : flushed) {
    Group* group = Find(id);
    // Of one that came while the flush was under way nothing is known to be durable.
    if (group == nullptr || group->self() != state.replica) continue;
    const LogIndex index = state.applied;
    const auto pin = pinned.find(id);
    const LogIndex before = group->compacted();
    group->Compact(index, pin == pinned.end() ? LogIndex() : pin->second);
    // News: the index of a configuration whose entry the log does not hold any more is the mark's.
    if (group->compacted() != before) listener_.on_trimmed(id);
    // A stored snapshot that the durable state has passed is not needed to install; senders make a new one.
    if (!listener_.sending(id)) files_.Remove(id, index.Next());
  }
}

}  // namespace tenure::group
