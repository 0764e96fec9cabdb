// What changefeeds still need of regions whose slots went elsewhere: procedures that would take it away wait.
// And what changefeeds wait for.
//
// Threading: pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "catalog/catalog.h"

namespace tenure::controller {

// The changefeed that has not delivered what the region, which gave away its last slots, committed; for
// people. Empty: none.
std::string HistoryNeeded(const catalog::Catalog& catalog, uint64_t region);
// The changefeed that may still have to show rows of slots that the region gave away last, as they were at
// its start.
std::string SnapshotNeeded(const catalog::Catalog& catalog, uint64_t region);
// Slots of the database that one region may have released while no other is recorded to serve them; for people.
// Empty: there are none. A changefeed that began in between would find their rows in neither of the two.
std::string SlotsInBetween(const catalog::Catalog& catalog, uint64_t database);

}  // namespace tenure::controller
