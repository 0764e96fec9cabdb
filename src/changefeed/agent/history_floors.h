// What changefeeds still need of the history of their databases, from their records.
//
// Threading: pure functions.
#pragma once

#include <optional>

#include "node/catalog_view.h"
#include "node/followed_databases.h"

namespace tenure::changefeed {

// What was committed after it has to be kept for this changefeed; 0: everything. None: it needs nothing more.
std::optional<uint64_t> HistoryFloorOf(const ::tenure::v1::ChangefeedRecord& feed);

// Of every database that somebody needs history of, the least of their floors.
node::FollowedDatabases FollowedOf(const node::CatalogView& view);

}  // namespace tenure::changefeed
