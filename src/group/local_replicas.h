// Which replicas the log of a process speaks of: those whose logs were found at start and that do not run
// yet, and those that are gone. Decides which replica of a group may start here.
//
// A replica's id is its promise to be who it was: who voted, or acknowledged entries, and has lost what it
// knew must not be heard under the same id again. So the highest id that is gone is remembered, for ever, and
// only a higher one starts.
//
//   (none) --Begin--> here --Bury(replica)--> gone up to `replica` --Begin(higher id)--> here, gone up to ...
//                      +--Bury(none)--> gone for ever
//
// Driven by GroupHost, which makes durable what it tells.
// Threading:  one owner.
// Invariants: L1 what is here has a higher id than what is gone.
#pragma once

#include <functional>
#include <map>
#include <set>

#include "base/ids.h"
#include "base/status.h"
#include "wal/wal.h"

namespace tenure::group {

class LocalReplicas {
 public:
  // Of the groups of which `owns` says so (null: all). `recovered` outlives this.
  LocalReplicas(const std::map<GroupId, wal::RecoveredGroup>& recovered,
                const std::function<bool(GroupId)>& owns);

  // FAILED_PRECONDITION if that replica is gone, or if the log that was found is another replica's.
  Status CheckStart(GroupId group, ReplicaId self) const;
  // The log of a replica that was found and does not run yet; null: there is none.
  const wal::RecoveredGroup* Found(GroupId group) const;
  // Whose log that is: as the log says, else the last member of its configurations that lives on `host` (0:
  // not known). None: it cannot be told, or there is none.
  ReplicaId FoundReplica(GroupId group, uint64_t host) const;
  // The found one runs now.
  void Take(GroupId group) { found_.erase(group); }

  // The log says whose it is; if the replica's id changes it has to be told.
  bool IsNamed(GroupId group) const { return named_.contains(group); }
  void SetNamed(GroupId group) { named_.insert(group); }

  // A replica of the group was here and left.
  bool HasTombstone(GroupId group) const { return gone_.contains(group); }
  // None: whether the group is gone for ever.
  bool IsGone(GroupId group, ReplicaId replica) const;
  // Replicas up to `gone` are gone; none: the group is, for ever.
  void Bury(GroupId group, ReplicaId gone);

 private:
  std::map<GroupId, const wal::RecoveredGroup*> found_;
  std::map<GroupId, ReplicaId> gone_;  // the highest; none: for ever
  std::set<GroupId> named_;
};

}  // namespace tenure::group
