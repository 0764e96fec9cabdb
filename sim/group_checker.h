// Invariants of consensus, checked at every applied entry and every election of every process of the world:
//   one leader per (group, term); one entry per (group, index), whoever applies it and whenever; and at the
//   end nothing that was ever applied anywhere is missing anywhere.
//
// Threading: the simulation's thread. Lives as long as the world: it remembers across crashes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "group/group_host.h"

namespace tenure::sim {

class GroupChecker final : public group::GroupTrace {
 public:
  using OnViolation = std::function<void(std::string invariant, std::string message)>;
  explicit GroupChecker(OnViolation on_violation) : on_violation_(std::move(on_violation)) {}

  void OnApply(GroupId group, ReplicaId self, const raft::Entry& entry) override;
  void OnLead(GroupId group, ReplicaId self, Term term) override;

  // A recovery goes on from a log that ends at `last`: what was applied beyond it, rightly, is gone.
  void ForgetBeyond(GroupId group, LogIndex last);
  // Highest index applied by anybody.
  LogIndex Applied(GroupId group) const;
  std::vector<GroupId> groups() const;
  uint64_t entries() const { return entries_; }
  uint64_t elections() const { return elections_; }

 private:
  struct AppliedEntry {
    Term term;
    uint64_t hash;
    ReplicaId by;
  };
  OnViolation on_violation_;
  std::map<GroupId, std::map<LogIndex, AppliedEntry>> applied_;
  std::map<std::pair<GroupId, Term>, ReplicaId> leaders_;
  uint64_t entries_ = 0;
  uint64_t elections_ = 0;
};

}  // namespace tenure::sim
