// A replica as its driver would run it, with a disk that loses what was not made durable: a RaftCore, a queue
// of writes that become durable one by one when the test says so, and a state machine that is a running hash
// of what was applied. Tests decide about time, the network and crashes.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "raft/raft_core.h"

namespace tenure::raft {

// A state machine: what was applied, in which order.
struct FakeState {
  LogIndex applied;
  uint64_t hash = 0;
  friend bool operator==(const FakeState&, const FakeState&) = default;
};
FakeState ApplyTo(const FakeState& state, const Entry& entry);

struct FakeSnapshot {
  SnapshotMark mark;
  FakeState state;
};

class FakeReplica {
 public:
  // As it would be read from a disk that holds nothing else.
  FakeReplica(const RaftConfig& config, const Configuration& initial);

  void Start(Instant now, Prng prng);
  // Loses memory and all queued writes but the first `writes_kept`.
  void Crash(size_t writes_kept);
  bool up() const { return core_ != nullptr; }
  RaftCore& core() { return *core_; }
  const RaftCore& core() const { return *core_; }
  ReplicaId id() const { return config_.self; }

  // After every input: queues what is to be persisted, applies what is committed. The rest is the caller's:
  // messages (those that may leave now), reads, fetches, snapshots_needed.
  Effects Collect();
  size_t queued_writes() const { return queue_.size(); }
  // Makes the oldest queued write durable and says so to the core; returns the messages that waited for it.
  std::vector<Outgoing> PersistOne(Instant now);

  const FakeState& state() const { return state_; }
  // Everything since the mark, durable or not.
  const std::deque<Entry>& log() const { return log_; }
  const Entry* EntryAt(LogIndex index) const;
  std::vector<Entry> Read(LogIndex from, size_t max_bytes) const;
  LogIndex durable_last() const;
  const HardState& durable_hard_state() const { return disk_.hard_state; }
  const FakeState& flushed() const { return disk_.state; }

  // Makes the state machine durable.
  void Flush() { disk_.state = state_; }
  // Drops the log up to `index`, at most what is flushed.
  void CompactTo(LogIndex index);
  FakeSnapshot TakeSnapshot() const;
  void Receive(const FakeSnapshot& snapshot) { received_[snapshot.mark.index] = snapshot; }
  bool HasReceived(const SnapshotMark& mark) const;

 private:
  struct Write {
    uint64_t token = 0;
    std::optional<HardState> hard_state;
    std::optional<LogIndex> truncate_from;
    std::vector<Entry> entries;
    std::vector<Outgoing> messages;
    std::optional<SnapshotMark> install;
  };
  struct Disk {
    HardState hard_state;
    SnapshotMark mark;
    std::deque<Entry> entries;
    FakeState state;
  };

  void Carry(const Write& write);
  void Apply(LogIndex upto);

  RaftConfig config_;
  Disk disk_;
  std::deque<Write> queue_;
  std::map<LogIndex, FakeSnapshot> received_;
  std::unique_ptr<RaftCore> core_;
  SnapshotMark mark_;
  std::deque<Entry> log_;
  FakeState state_;
};

// "1 2 3" as voters, then learners.
Configuration MakeConfiguration(const std::vector<uint64_t>& voters,
                                const std::vector<uint64_t>& learners = {});

}  // namespace tenure::raft
