// What changefeeds still need of the history of their databases, from their records.
//
// Threading: pure functions.
#pragma once

#include "node/catalog_view.h"
#include "node/followed_databases.h"

namespace tenure::changefeed {

// Of every database that somebody needs history of, the least of their floors.
node::FollowedDatabases FollowedOf(const node::CatalogView& view);

}  // namespace tenure::changefeed
