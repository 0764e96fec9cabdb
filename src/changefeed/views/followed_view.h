// What a maintainer is told of a database, out of the node's view of the catalog.
//
// Threading: pure functions.
#pragma once

#include <functional>
#include <vector>

#include "base/ids.h"
#include "changefeed/format/filter.h"
#include "changefeed/maintainer/span.h"
#include "changefeed/protocol/acceptance.h"
#include "node/catalog_view.h"

namespace tenure::changefeed {

// For Maintainer::SetRegions, SetFollowed, AddSchemaChange (those it has not had yet, in this order) and
// SetSchemaKnown. A maintainer that begins takes regions and schema changes only where they end, or lie,
// behind its checkpoint: AddSchemaChange drops the rest by itself.
//
// A table is followed from its record's creation on, before any node may write to it (docs/fencing.md,
// "barriers"), and under every name that it had, has or is being given. If no table and no plain key is
// followed, a placeholder stands in for them - plain keys, all of which the filter drops: so the checkpoint
// goes on with the regions, and a table that comes has nothing before it.
struct FollowedView {
  std::vector<RegionView> regions;
  std::vector<Followed> followed;
  // Up to now, by time. None while the view is of different revisions, which may lack one.
  std::vector<SchemaChange> changes;
  // The end of time once there are regions: dispatchers stop by themselves at changes that are not here yet.
  CommitTs schema_known;
};

// `leader_of`: the node that leads a region, none if it is not known. Nodes that are not in the view lead
// nothing.
FollowedView ComputeFollowedView(const node::CatalogView& view, DatabaseId database, const Filter& filter,
                                 const std::function<NodeId(RegionId)>& leader_of);

// Every node of the view that can host dispatchers, with its incarnation: for Maintainer::SetNodes.
std::vector<Process> ProcessesOf(const node::CatalogView& view);

}  // namespace tenure::changefeed
