// Which databases changefeeds follow, and what they still need of their history: what the leaders of regions
// keep change logs for. Computed from the changefeeds' records in the node's view of the catalog and given to
// Node::SetFollowedDatabases with every change of them.
//
// Threading: a value.
#pragma once

#include <cstdint>
#include <map>

#include "base/ids.h"

namespace tenure::node {

struct FollowedDatabases {
  // Revision of the view that this was computed from: a region does not listen to an older one.
  Revision as_of;
  // Database -> history floor: what was committed up to it is needed by nobody. 0: everything is. A database
  // that is not here is not followed: its change logs go.
  std::map<uint64_t, uint64_t> floors;
  // Database -> the newest of starts and checkpoints of its changefeeds, and of its schema changes. A region
  // whose commit timestamps are below (the clock of its leader is slow, or another one's was fast) is brought
  // there: what it commits from then on is behind the start of every changefeed, and it gets past every
  // schema change.
  std::map<uint64_t, uint64_t> newest = {};
};

}  // namespace tenure::node
