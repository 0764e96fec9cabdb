// Brings the replicas that run here in line with the catalog: looks at all of it each time and takes the next
// step for every region that differs.
//
//   record names a replica here, nothing runs      -> start it (a new group begins with the record's members)
//   record says that the replica here goes on with the log of another id, alone (region recovery) -> do that
//   record in state REMOVING                       -> destroy the replica, report it as removed
//   no record, or none of its replicas is here     -> destroy it, but only on the word of a current view
//
// What may be destroyed: a region whose record says REMOVING (a state that is never left), from whatever
// view; and, once a complete linearizable list was taken over in this run of the process, a region that the
// view does not place here. A record was committed before any replica of it was started, region ids are never
// reused, and the list is of a later revision than everything this node ever saw (CatalogFeed F1): absent
// means gone, not "not there yet". The copy that was read from disk at start is not current in this sense: it
// may be older than the replicas beside it.
//
// Threading:  one executor.
// Errors:     a replica that cannot be started is tried again at every look; its reason is logged when it
// changes.
// Invariants: C2 a replica is started only under an id that its own log knows: a record that is older than a
//             recovery (the copy read at start may be) does not bring the id of before back.
//             C1 no replica is started for a region in state REMOVING, nor while its destruction is
// under way.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "group/group_host.h"
#include "node/catalog_view.h"
#include "node/region_table.h"

namespace tenure::node {

class RegionReconciler {
 public:
  // `recovered`: groups of regions whose state was found on disk. `on_removed` runs when a replica is gone.
  RegionReconciler(group::GroupHost& host, RegionTable& table, const CatalogView& view,
                   std::set<RegionId> recovered, std::function<void()> on_removed, Logger logger);

  // `current`: absence from the view means that a region does not exist.
  void Reconcile(bool current);
  // Regions in state REMOVING of which this node holds nothing any more.
  const std::vector<RegionId>& removed() const { return removed_; }
  // Regions with a replica here according to the catalog, whose replica was dropped by a repair: it lost what
  // it had promised, and does not come back under its id.
  std::vector<RegionId> lost() const;
  size_t replicas() const { return local_.size(); }

 private:
  void StartReplica(const pb::RegionRecord& record, const pb::ReplicaRecord& self);
  void RecoverReplica(const pb::RegionRecord& record, const pb::ReplicaRecord& self);
  std::unique_ptr<group::StateMachine> MachineFor(const pb::RegionRecord& record) const;
  void Destroy(RegionId region, const char* reason);
  void FindRemoved();
  void LogOnce(RegionId region, const Status& status);
  const pb::ReplicaRecord* ReplicaHere(const pb::RegionRecord& record) const;

  group::GroupHost& host_;
  RegionTable& table_;
  const CatalogView& view_;
  std::function<void()> on_removed_;
  Logger logger_;
  std::set<RegionId> recovered_;  // not started in this run yet
  std::set<RegionId> local_;      // on this node's disk: running or not
  std::set<RegionId> destroying_;
  std::vector<RegionId> removed_;
  std::set<RegionId> recovering_;
  std::map<RegionId, std::string> failures_;
};

}  // namespace tenure::node
