// The replicas of regions on this node: starts, creates, recovers and destroys them, one at a time, and keeps
// the routing table told. RegionReconciler and the tasks of procedures decide when; what they may not do at
// the same time is settled here.
//
// Threading:  one executor.
// Durability: a completion that says OK means that a crash of the process undoes nothing of it.
// Errors:     UNAVAILABLE while the replica is being recovered or destroyed, FAILED_PRECONDITION for what
//             the record or the log here does not allow.
// Invariants:
//   C1 No replica is started for a region in state REMOVING, nor while its destruction is under way.
//   C2 A replica is started only under an id that its own log knows: a record that is older than a recovery
//      (the copy read at start may be) does not bring the id of before back. A log that knows no replica of
//      this node at all is that of a learner which has not heard of itself yet.
//   C3 A replica with a higher id than the one to be destroyed stays: it came later.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "group/group_host.h"
#include "node/catalog_view.h"
#include "node/region_table.h"

namespace tenure::node {

class LocalReplicas {
 public:
  // `recovered`: regions of which the log holds a replica.
  LocalReplicas(group::GroupHost& host, RegionTable& table, const CatalogView& view,
                std::set<RegionId> recovered, Logger logger);

  // None until this node is registered: then it is not known which replicas are here.
  NodeId self() const { return table_.self(); }
  // On this node's disk: running or not, ascending.
  const std::set<RegionId>& all() const { return local_; }
  bool Has(RegionId region) const { return local_.contains(region); }
  // Found in the log at start and not started in this run yet.
  bool IsDormant(RegionId region) const { return recovered_.contains(region); }
  // Being recovered or destroyed.
  bool IsBusy(RegionId region) const { return recovering_.contains(region) || destroying_.contains(region); }
  // The replica was here and is gone for good.
  bool IsBuried(RegionId region, ReplicaId replica) const;
  // The id under which the replica here runs, or which its log knows, or under which it was destroyed and not
  // all of it could be removed yet; none if nothing says.
  ReplicaId IdOf(RegionId region) const;
  // The record's replica on this node, among the members and those that join; null if there is none.
  const pb::ReplicaRecord* NamedHere(const pb::RegionRecord& record) const;

  // The record's word on whether a replica of that id, or of one that is not known, may be on this node: as a
  // member, as one that joins, or as one that leaves.
  bool HasPlace(const pb::RegionRecord& record, ReplicaId replica) const;

  // The log here names `replica` as a member, in a configuration that is newer than the record: the record is
  // of a catalog that has lost what came after it. Not so of a region that a person let go on without its
  // other replicas.
  bool IsAheadOf(const pb::RegionRecord& record, ReplicaId replica) const;

  // Starts `self` with what the log holds. A dormant one only.
  Status StartDormant(const pb::RegionRecord& record, const pb::ReplicaRecord& self);
  // Goes on with the log of self.recovered_from() alone (region recovery).
  void Recover(const pb::RegionRecord& record, const pb::ReplicaRecord& self, Callback<Status> done);
  // Makes the replica that the catalog's record names here; that it is here already is success. A member of a
  // region that is new begins with the members that the record names, every other one knows nobody until its
  // leader speaks.
  void Create(RegionId region, ReplicaId replica, Callback<Status> done);
  // Destroys the replica `replica`, or one of a lower id, for good; that none is here is success, and none
  // comes later. `reason` is for the log.
  void Destroy(RegionId region, ReplicaId replica, std::string_view reason, Callback<Status> done);

 private:
  Status CheckCreation(RegionId region, ReplicaId replica) const;
  Status StartGroup(const pb::RegionRecord& record, ReplicaId self, const raft::Configuration& initial,
                    bool campaign);
  void WhenDurable(RegionId region, Callback<Status> done);
  void OnDestroyed(RegionId region, ReplicaId replica, const Status& status);
  void AnswerCreators(RegionId region, const Status& status);
  std::unique_ptr<group::StateMachine> MachineFor(const pb::RegionRecord& record) const;

  group::GroupHost& host_;
  RegionTable& table_;
  const CatalogView& view_;
  Logger logger_;
  std::set<RegionId> recovered_;
  std::set<RegionId> local_;
  std::set<RegionId> recovering_;
  std::map<RegionId, std::vector<Callback<Status>>> destroying_;  // who waits for it
  // Destroyed, but for what the disk does not give up: the host knows their ids no more, and whoever tries
  // again must not mean the whole region.
  std::map<RegionId, ReplicaId> remains_;
  // Started, and who waits until it is durable.
  std::map<RegionId, std::vector<Callback<Status>>> not_durable_;
};

}  // namespace tenure::node
