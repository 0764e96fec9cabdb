// The next changes that bring databases and regions from where their records stand to where they should be: a
// region that is being created serves once a leader reported; a database is public once all its regions
// serve; a region that is being removed goes once every replica is gone; a dropped database goes after its
// last region.
//
// Called by controller/placement, at every event and periodically; keeps nothing, so whatever was interrupted
// goes on.
// Threading: pure function.
#pragma once

#include <vector>

#include "base/ids.h"
#include "catalog/catalog.h"

namespace tenure::planner {

// What was heard from the nodes in this leadership.
class RegionObservations {
 public:
  virtual ~RegionObservations() = default;
  virtual bool HasLeader(RegionId region) const = 0;
  // The node holds no replica of the region and will not make one: it said so knowing revision `since`, at
  // which the region's removal began.
  virtual bool ReplicaGone(NodeId node, RegionId region, Revision since) const = 0;
};

struct DatabaseStep {
  enum class Object : uint8_t { kDatabase, kRegion };
  Object object;
  uint64_t id;
  ::tenure::internal::v1::CatalogCommand command;  // body only
};

// At most one step per object, at most `limit`; each is conditional on the state it was planned for.
std::vector<DatabaseStep> PlanDatabaseSteps(const catalog::Catalog& catalog,
                                            const RegionObservations& observations, size_t limit);

// Nothing is on its way: PlanDatabaseSteps finds nothing to do, whatever is observed, until the catalog
// changes.
bool IsSettled(const catalog::Catalog& catalog);

}  // namespace tenure::planner
