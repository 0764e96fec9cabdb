#include "sim/group_checker.h"

#include <fmt/format.h>

#include "base/format.h"
#include "base/hash.h"

namespace tenure::sim {

void GroupChecker::CheckTakesPart(GroupId group, ReplicaId replica) {
  if (!dropped_.contains({group, replica})) return;
  on_violation_("a dropped replica takes no part",
                fmt::format("group {}: replica {} runs although it was dropped", group, replica));
}

void GroupChecker::OnApply(GroupId group, ReplicaId self, const raft::Entry& entry) {
  CheckTakesPart(group, self);
  for (group::GroupTrace* follower : followers_) follower->OnApply(group, self, entry);
  const uint64_t hash = HashBytes(entry.payload.view(), static_cast<uint64_t>(entry.type));
  const auto [it, first] =
      applied_[group].try_emplace(entry.index, AppliedEntry{entry.term, hash, self, now_()});
  entries_ += first ? 1 : 0;
  if (first) on_entry_(group, entry);
  if (it->second.term == entry.term && it->second.hash == hash) return;
  on_violation_(
      "committed entries never change",
      fmt::format("group {} index {}: replica {} applied an entry of term {}, replica {} another of term {}",
                  group, entry.index, it->second.by, it->second.term, self, entry.term));
}

void GroupChecker::OnLead(GroupId group, ReplicaId self, Term term) {
  CheckTakesPart(group, self);
  for (group::GroupTrace* follower : followers_) follower->OnLead(group, self, term);
  ++elections_;
  const auto [it, first] = leaders_.try_emplace({group, term}, self);
  if (first || it->second == self) return;
  on_violation_("one leader per term", fmt::format("group {} term {}: replicas {} and {} both led it", group,
                                                   term, it->second, self));
}

void GroupChecker::OnStateHash(GroupId group, ReplicaId self, LogIndex index, uint64_t hash) {
  for (group::GroupTrace* follower : followers_) follower->OnStateHash(group, self, index, hash);
  const auto [it, first] = hashes_.try_emplace({group, index}, StateHash{hash, self});
  comparisons_ += first ? 0 : 1;
  if (first || it->second.hash == hash) return;
  on_violation_(
      "equal states at equal revisions",
      fmt::format("group {} index {}: the state of replica {} has hash {:016x}, that of replica {} {:016x}",
                  group, index, it->second.by, it->second.hash, self, hash));
}

void GroupChecker::OnComplete(GroupId group, ReplicaId self, LogIndex commit) {
  const auto applied = applied_.find(group);
  if (applied == applied_.end() || now_() < excused_until_) return;
  const auto missing = applied->second.upper_bound(commit);
  if (missing == applied->second.end() || now_() - missing->second.at <= kRecent) return;
  on_violation_(
      "whoever takes itself for recent holds what was committed",
      fmt::format("group {}: replica {} holds up to {}, replica {} applied {} {} ms before", group, self,
                  commit, missing->second.by, missing->first, ToMillis(now_() - missing->second.at)));
}

void GroupChecker::OnConfiguration(GroupId group, ReplicaId self, bool leads,
                                   const raft::Configuration& configuration) {
  for (group::GroupTrace* follower : followers_) follower->OnConfiguration(group, self, leads, configuration);
  if (group == kCatalogGroup && leads) on_change_(self, configuration);
}

void GroupChecker::ForgetBeyond(GroupId group, LogIndex last) {
  auto& applied = applied_[group];
  applied.erase(applied.upper_bound(last), applied.end());
}

LogIndex GroupChecker::Applied(GroupId group) const {
  const auto it = applied_.find(group);
  return it == applied_.end() || it->second.empty() ? LogIndex() : it->second.rbegin()->first;
}

std::vector<GroupId> GroupChecker::groups() const {
  std::vector<GroupId> groups;
  for (const auto& [group, entries] : applied_) groups.push_back(group);
  return groups;
}

}  // namespace tenure::sim
