// A log in memory that outlives its "process": what the WAL promises, without files. Appends become durable
// when the executor gets to it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/executor.h"
#include "wal/wal.h"

namespace tenure::node {

// The durable part.
struct MemoryLog {
  struct Group {
    raft::HardState hard_state;
    raft::SnapshotMark mark;
    std::vector<raft::Entry> entries;  // after mark.index
    bool tombstone = false;
    ReplicaId gone;
    ReplicaId replica;
  };
  std::map<GroupId, Group> groups;
};

class MemoryWal final : public wal::Wal {
 public:
  MemoryWal(MemoryLog& log, runtime::Executor& executor) : log_(log), executor_(executor) {
    for (const auto& [id, group] : log_.groups) recovered_[id] = Recover(group);
  }
  ~MemoryWal() override { *alive_ = false; }

  bool low_on_space = false;
  // False: appends wait.
  bool durable = true;

  const std::map<GroupId, wal::RecoveredGroup>& recovered() const override { return recovered_; }

  void Append(std::vector<wal::Write> writes, Callback<Status> done) override {
    executor_.Post([this, alive = alive_, writes = std::move(writes), done = std::move(done)]() mutable {
      if (!*alive) return;
      if (held_.empty()) held_since_ = executor_.Now();
      held_.emplace_back(std::move(writes), std::move(done));
      if (durable) Release();
    });
  }
  void Release() {
    for (auto& [writes, done] : std::exchange(held_, {})) {
      for (wal::Write& write : writes) Take(write);
      done(OkStatus());
    }
  }

  void Read(GroupId id, LogIndex from, LogIndex to, size_t max_bytes,
            Callback<StatusOr<std::vector<raft::Entry>>> done) override {
    (void)max_bytes;
    std::vector<raft::Entry> found;
    for (const raft::Entry& entry : log_.groups[id].entries) {
      if (entry.index >= from && entry.index <= to) found.push_back(entry);
    }
    executor_.Post([found = std::move(found), done = std::move(done)]() mutable { done(std::move(found)); });
  }
  void Compact(GroupId, raft::SnapshotMark) override {}
  void FindPinning(uint64_t, Callback<std::vector<wal::PinningGroup>> done) override { done({}); }
  void Close(Callback<Status> done) override { done(OkStatus()); }
  std::optional<Instant> WaitingSince() const override {
    return held_.empty() ? std::nullopt : std::optional(held_since_);
  }
  bool LowOnSpace() const override { return low_on_space; }
  uint64_t bytes_on_disk() const override { return 0; }

 private:
  void Take(wal::Write& write) {
    MemoryLog::Group& group = log_.groups[write.group];
    if (!write.replica.IsNone()) {
      group.replica = write.replica;
      group.tombstone = false;
    }
    if (write.reset_to) {
      group.mark = *write.reset_to;
      group.entries.clear();
    }
    if (write.truncate_from) {
      std::erase_if(group.entries,
                    [&](const raft::Entry& entry) { return entry.index >= *write.truncate_from; });
    }
    for (raft::Entry& entry : write.entries) group.entries.push_back(std::move(entry));
    if (write.hard_state) group.hard_state = *write.hard_state;
    if (write.tombstone) {
      group = MemoryLog::Group();
      group.tombstone = true;
      group.gone = write.gone;
    }
  }

  static wal::RecoveredGroup Recover(const MemoryLog::Group& group) {
    wal::RecoveredGroup recovered;
    recovered.tombstone = group.tombstone;
    recovered.gone = group.gone;
    recovered.replica = group.replica;
    raft::PersistedState& state = recovered.state;
    state.hard_state = group.hard_state;
    state.mark = group.mark;
    state.last_index = group.entries.empty() ? group.mark.index : group.entries.back().index;
    for (const raft::Entry& entry : group.entries) {
      if (state.terms.empty() || state.terms.back().term != entry.term) {
        state.terms.push_back({entry.index, entry.term});
      }
      if (entry.type == raft::EntryType::kConfiguration) {
        state.configurations.emplace_back(entry.index, *raft::DecodeConfiguration(entry.payload.view()));
      }
    }
    return recovered;
  }

  MemoryLog& log_;
  runtime::Executor& executor_;
  std::map<GroupId, wal::RecoveredGroup> recovered_;
  std::vector<std::pair<std::vector<wal::Write>, Callback<Status>>> held_;
  Instant held_since_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::node
