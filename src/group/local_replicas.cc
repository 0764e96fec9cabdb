#include "group/local_replicas.h"

#include <algorithm>

#include "base/format.h"

namespace tenure::group {

LocalReplicas::LocalReplicas(const std::map<GroupId, wal::RecoveredGroup>& recovered,
                             const std::function<bool(GroupId)>& owns) {
  for (const auto& [id, group] : recovered) {
    if (owns && !owns(id)) continue;
    if (!group.tombstone) found_[id] = &group;
    if (!group.replica.IsNone()) named_.insert(id);
#ifndef TENURE_MUTANT_tombstone_ignored
    if (group.tombstone || !group.gone.IsNone()) gone_[id] = group.gone;
#endif
  }
}

Status LocalReplicas::CheckStart(GroupId group, ReplicaId self) const {
  const auto gone = gone_.find(group);
  if (gone != gone_.end() && gone->second.IsNone()) {
    return Error(StatusCode::kFailedPrecondition, "group {} was removed from this process and cannot return",
                 group);
  }
#ifdef TENURE_MUTANT_replica_returns_under_old_id
  if (gone != gone_.end() && self < gone->second) {
#else
  if (gone != gone_.end() && self <= gone->second) {
#endif
    return Error(StatusCode::kFailedPrecondition,
                 "group {}: replica {} cannot start: replicas up to {} were removed from this process", group,
                 self, gone->second);
  }
  const wal::RecoveredGroup* found = Found(group);
  if (found != nullptr && !found->replica.IsNone() && found->replica != self) {
    return Error(StatusCode::kFailedPrecondition,
                 "group {}: replica {} cannot start: the log here is that of replica {}", group, self,
                 found->replica);
  }
  return OkStatus();
}

const wal::RecoveredGroup* LocalReplicas::Found(GroupId group) const {
  const auto it = found_.find(group);
  return it == found_.end() ? nullptr : it->second;
}

ReplicaId LocalReplicas::FoundReplica(GroupId group, uint64_t host) const {
  const wal::RecoveredGroup* found = Found(group);
  if (found == nullptr) return {};
  if (!found->replica.IsNone() || host == 0) return found->replica;
  // The last configuration that has one here: the replica may have been removed from the group since.
  ReplicaId here;
  const auto look = [&](const raft::Configuration& configuration) {
    for (const raft::Member& member : configuration.members) {
      if (member.host == host) here = std::max(here, member.id);
    }
  };
  look(found->state.mark.configuration);
  for (const auto& [index, configuration] : found->state.configurations) look(configuration);
  return here;
}

bool LocalReplicas::IsGone(GroupId group, ReplicaId replica) const {
  const auto it = gone_.find(group);
  if (it == gone_.end()) return false;
  return it->second.IsNone() || (!replica.IsNone() && replica <= it->second);
}

void LocalReplicas::Bury(GroupId group, ReplicaId gone) {
  found_.erase(group);
  named_.erase(group);
  const auto [it, first] = gone_.try_emplace(group, gone);
  if (!first && !it->second.IsNone()) it->second = gone.IsNone() ? gone : std::max(it->second, gone);
}

}  // namespace tenure::group
