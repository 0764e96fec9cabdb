#include "changefeed/agent/history_floors.h"

#include <algorithm>

#include "catalog/history.h"

namespace tenure::changefeed {

node::FollowedDatabases FollowedOf(const node::CatalogView& view) {
  node::FollowedDatabases followed{.as_of = view.revision(), .floors = {}};
  for (const auto& [id, feed] : view.changefeeds()) {
    const auto floor = catalog::HistoryFloorOf(feed);
    if (!floor) continue;
    const auto [known, first] = followed.floors.try_emplace(feed.database(), *floor);
    if (!first) known->second = std::min(known->second, *floor);
    uint64_t& newest = followed.newest[feed.database()];
    newest = std::max({newest, feed.start_ts(), feed.checkpoint_ts()});
    const auto database = view.databases().find(feed.database());
    if (database != view.databases().end()) newest = std::max(newest, database->second.last_schema_ts());
  }
  return followed;
}

}  // namespace tenure::changefeed
