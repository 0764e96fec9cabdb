// Brings the replicas that are on this node in line with the catalog, where that needs nobody's order: looks
// at all of it each time and takes the next step for every region that differs.
//
//   record names the replica that this node's log holds, it does not run  -> start it
//   record says that the replica here goes on with the log of another id, alone (region recovery) -> do that
//   no record, or it does not name the replica here at all -> destroy it, if the view is current and can know
//
// New replicas are made, and those of a region that is removed or has moved away are destroyed, by the tasks
// of procedures (tasks/), which somebody waits for. What is destroyed here is what no procedure waits for any
// more: this node was declared lost meanwhile, and the procedure went on without it.
//
// A view is current once a complete linearizable list was taken over in this run of the process. A record was
// committed before any replica of it was made, region ids and replica ids are never reused, and the list is
// of a later revision than everything this node ever saw (CatalogFeed F1): absent means gone, not "not there
// yet". The copy that was read from disk at start is not current in this sense: it may be older than the
// replicas beside it.
//
// A catalog that was recovered (docs/recovery.md) has lost its newest part, so it is of no later revision than
// everything: what that part may have made or moved is not destroyed on its word.
//   no record, the id is one that the recovery left out -> keep the replica, it serves nothing
//   its log names it in a newer configuration than the record -> start it and keep it: the region's leader
//   reports who the members are, and the record that comes of it is the one to go by
//
// Threading:  one executor.
// Errors:     a replica that cannot be started is tried again at every look; a new reason is logged.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/log.h"
#include "node/catalog_view.h"
#include "node/local_replicas.h"

namespace tenure::node {

class RegionReconciler {
 public:
  RegionReconciler(LocalReplicas& replicas, const CatalogView& view, Logger logger)
      : replicas_(replicas), view_(view), logger_(std::move(logger)) {}

  // `current`: absence from the view means that a replica has no place here.
  void Reconcile(bool current);
  // Regions with a replica here according to the catalog, whose replica was dropped by a repair: it lost what
  // it had promised, and does not come back under its id.
  std::vector<RegionId> lost() const;
  // Replicas here of regions whose record a recovery of the catalog lost.
  std::vector<RegionId> kept() const;

 private:
  void LookAtRecord(const pb::RegionRecord& record);
  void LookAtReplica(RegionId id);
  void KeepAhead(const pb::RegionRecord& record, ReplicaId here);
  bool WasRecovered() const;
  bool IsOfLostPart(RegionId id) const;
  void LogOnce(RegionId region, const Status& status);

  LocalReplicas& replicas_;
  const CatalogView& view_;
  Logger logger_;
  std::map<RegionId, std::string> failures_;
};

}  // namespace tenure::node
