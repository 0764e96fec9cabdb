#include "changefeed/agent/history_floors.h"

#include <algorithm>

namespace tenure::changefeed {

namespace pb = ::tenure::v1;

std::optional<uint64_t> HistoryFloorOf(const pb::ChangefeedRecord& feed) {
  switch (feed.state()) {
    case pb::CHANGEFEED_NORMAL:
    case pb::CHANGEFEED_WARNING:
      break;
    case pb::CHANGEFEED_PAUSED:
    case pb::CHANGEFEED_FAILED:
      if (feed.history_given_up()) return std::nullopt;
      break;
    default:
      return std::nullopt;
  }
  if (feed.start_ts() == 0) return feed.requested_start_ts();
  return std::max(feed.checkpoint_ts(), feed.start_ts());
}

node::FollowedDatabases FollowedOf(const node::CatalogView& view) {
  node::FollowedDatabases followed{.as_of = view.revision(), .floors = {}};
  for (const auto& [id, feed] : view.changefeeds()) {
    const auto floor = HistoryFloorOf(feed);
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
