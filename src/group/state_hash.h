// A hash of a group's state that every replica keeps while it applies, and the comparison of the replicas'
// hashes by the leader: a replica whose state is not what the log says - a bug, a bit that flipped in memory
// - is named instead of serving wrong answers for years.
//
// The hash is the sum (mod 2^64) of a hash of every key-value pair, so a batch changes it by what it removed
// and added, whatever the state's size, and it depends on nothing but the state. It is kept in kv, in the
// same batch as the state.
//
// Threading: the group's executor.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "kv/kv.h"
#include "raft/messages.h"

namespace tenure::group {

uint64_t HashPair(std::string_view key, std::string_view value);
// Of everything in `state`. Reads all of it.
uint64_t HashState(const kv::Reader& state);
// The hash after `batch` (as Overlay::TakeBatch makes it: ranges first) has been written to `engine`, given
// the one before. Keys have the prefix, which is no part of what is hashed. Call it before the batch is
// written.
uint64_t HashAfter(uint64_t hash, const kv::Reader& engine, std::string_view prefix, const kv::Batch& batch);

struct Divergence {
  ReplicaId replica;  // whose state differs from that of the majority of those compared
  LogIndex index;     // where it was seen last
  uint64_t expected = 0;
  uint64_t found = 0;
};

// Hashes of this replica by index, and what the others said of theirs.
//
// Two replicas can compare only where both know their hash: at the ends of batches. Batches end anywhere, so
// replicas that are behind each other would seldom meet; therefore every one also ends a batch at each
// multiple of kInterval. An idle group is compared at its last index.
class StateComparison {
 public:
  static constexpr uint64_t kInterval = 256;
  static constexpr size_t kKept = 256;  // own points in memory

  // Where a batch that begins behind `applied` has to end at the latest.
  static LogIndex NextBoundary(LogIndex applied) {
    return LogIndex((applied.value() / kInterval + 1) * kInterval);
  }

  // This replica's state at `index`.
  void Record(LogIndex index, uint64_t hash);
  // The state was replaced: what is known of others stays unproved.
  void Restart();
  // For the leader: the newest point and the newest one at a multiple of kInterval.
  std::vector<raft::StateDigest> ToReport() const;

  // --- on the leader ---
  void OnReport(ReplicaId peer, const std::vector<raft::StateDigest>& digests);
  // Another leadership: others are judged afresh.
  void ForgetPeers() { peers_.clear(); }
  // Replicas that differ, `self` among them if most others agree against it. Sorted.
  std::vector<Divergence> Diverged(ReplicaId self) const;

 private:
  struct Peer {
    std::vector<raft::StateDigest> waiting;  // said, and not reached here yet
    LogIndex compared;
    uint64_t own = 0;
    uint64_t theirs = 0;
    bool differs() const { return own != theirs; }
  };
  std::optional<uint64_t> OwnAt(LogIndex index) const;
  void Compare(Peer& peer, const raft::StateDigest& digest, uint64_t own);

  std::deque<raft::StateDigest> own_;  // by index
  std::optional<raft::StateDigest> boundary_;
  std::map<ReplicaId, Peer> peers_;
};

}  // namespace tenure::group
