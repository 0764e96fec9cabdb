// Invariants of consensus, checked at every applied entry and every election of every process of the world:
//   one leader per (group, term); one entry per (group, index), whoever applies it and whenever; equal hashes
//   of the state wherever two replicas know theirs at one index; whoever takes itself for recent holds what was
//   applied anywhere kRecent before; and at the end nothing that was ever applied anywhere is missing anywhere.
//   A replica that was dropped applies nothing and leads nothing.
//
// Threading: the simulation's thread. Lives as long as the world: it remembers across crashes.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "group/group_host.h"

namespace tenure::sim {

class GroupChecker final : public group::GroupTrace {
 public:
  using OnViolation = std::function<void(std::string invariant, std::string message)>;
  using OnChange = std::function<void(ReplicaId leader, const raft::Configuration& configuration)>;
  using OnEntry = std::function<void(GroupId group, const raft::Entry& entry)>;
  // `on_entry` is told of every entry when the first replica applies it. `now`: world time.
  GroupChecker(std::function<Instant()> now, OnViolation on_violation, OnChange on_change, OnEntry on_entry)
      : now_(std::move(now)),
        on_violation_(std::move(on_violation)),
        on_change_(std::move(on_change)),
        on_entry_(std::move(on_entry)) {}

  // Messages are on their way, and a leader that is cut off goes on, for less than this.
  static constexpr Duration kRecent = std::chrono::seconds(3);
  // Until `time` they may be handled later, since something stands still or is slow; or whoever speaks may be of
  // a group that a recovery has left behind.
  void ExcuseUntil(Instant time) { excused_until_ = std::max(excused_until_, time); }

  void OnApply(GroupId group, ReplicaId self, const raft::Entry& entry) override;
  void OnLead(GroupId group, ReplicaId self, Term term) override;
  void OnStateHash(GroupId group, ReplicaId self, LogIndex index, uint64_t hash) override;
  void OnComplete(GroupId group, ReplicaId self, LogIndex commit) override;

  // The replica lost something and was dropped: from now on it takes no part.
  void OnDropped(GroupId group, ReplicaId replica) { dropped_.insert({group, replica}); }
  // Told to `on_change` if it is group 0's and its leader's.
  void OnConfiguration(GroupId group, ReplicaId self, bool leads,
                       const raft::Configuration& configuration) override;

  // Is told of everything that this is told of. Outlives this.
  void AddFollower(group::GroupTrace* follower) { followers_.push_back(follower); }

  // A recovery goes on from a log that ends at `last`: what was applied beyond it, rightly, is gone.
  void ForgetBeyond(GroupId group, LogIndex last);
  // Highest index applied by anybody.
  LogIndex Applied(GroupId group) const;
  std::vector<GroupId> groups() const;
  uint64_t entries() const { return entries_; }
  uint64_t elections() const { return elections_; }
  // How often a hash was compared with another replica's (or with its own before a crash).
  uint64_t comparisons() const { return comparisons_; }

 private:
  void CheckTakesPart(GroupId group, ReplicaId replica);
  struct AppliedEntry {
    Term term;
    uint64_t hash;
    ReplicaId by;
    Instant at;
  };
  std::function<Instant()> now_;
  OnViolation on_violation_;
  OnChange on_change_;
  OnEntry on_entry_;
  std::vector<group::GroupTrace*> followers_;
  std::map<GroupId, std::map<LogIndex, AppliedEntry>> applied_;
  struct StateHash {
    uint64_t hash;
    ReplicaId by;
  };
  std::map<std::pair<GroupId, LogIndex>, StateHash> hashes_;
  std::map<std::pair<GroupId, Term>, ReplicaId> leaders_;
  std::set<std::pair<GroupId, ReplicaId>> dropped_;
  uint64_t entries_ = 0;
  uint64_t elections_ = 0;
  uint64_t comparisons_ = 0;
  Instant excused_until_ = Instant::min();
};

}  // namespace tenure::sim
