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
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/log.h"
#include "node/catalog_view.h"
#include "node/local_replicas.h"

namespace tenure::node {

class RegionReconciler {
 public:
  // `on_removed` runs when a replica is gone.
  RegionReconciler(LocalReplicas& replicas, const CatalogView& view, std::function<void()> on_removed,
                   Logger logger)
      : replicas_(replicas), view_(view), on_removed_(std::move(on_removed)), logger_(std::move(logger)) {}

  // `current`: absence from the view means that a region does not exist.
  void Reconcile(bool current);
  // Regions in state REMOVING of which this node holds nothing any more.
  const std::vector<RegionId>& removed() const { return removed_; }
  // Regions with a replica here according to the catalog, whose replica was dropped by a repair: it lost what
  // it had promised, and does not come back under its id.
  std::vector<RegionId> lost() const;

 private:
  void LookAtRecord(const pb::RegionRecord& record);
  void LookAtReplica(RegionId id, bool current);
  void Destroy(RegionId id, const char* reason);
  void FindRemoved();
  void LogOnce(RegionId region, const Status& status);

  LocalReplicas& replicas_;
  const CatalogView& view_;
  std::function<void()> on_removed_;
  Logger logger_;
  std::vector<RegionId> removed_;
  std::map<RegionId, std::string> failures_;
};

}  // namespace tenure::node
