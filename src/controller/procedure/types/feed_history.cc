#include "controller/procedure/types/feed_history.h"

#include <fmt/format.h>

#include "catalog/procedures.h"
#include "controller/procedure/types/move_slots.h"
#include "tenure/internal/v1/procedure.pb.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;

namespace {

bool NeedsHistory(const pb::ChangefeedRecord& feed) {
  return !feed.history_given_up() && feed.state() != pb::CHANGEFEED_REMOVING &&
         feed.state() != pb::CHANGEFEED_FINISHED;
}

// Null: it is not there, or no change log was kept when its range changed.
const pb::RegionRecord* FindWithHistory(const catalog::Catalog& catalog, uint64_t id) {
  const auto found = catalog.regions().find(id);
  if (found == catalog.regions().end() || found->second.region().generations().empty()) return nullptr;
  return &found->second.region();
}

}  // namespace

std::string HistoryNeeded(const catalog::Catalog& catalog, uint64_t region) {
#ifdef TENURE_MUTANT_feed_history_of_merged_lost
  return "";
#endif
  const pb::RegionRecord* record = FindWithHistory(catalog, region);
  if (record == nullptr) return "";
  const uint64_t end = record->generations(record->generations_size() - 1).end_ts();
  for (const auto& [id, found] : catalog.changefeeds()) {
    const pb::ChangefeedRecord& feed = found.changefeed();
    if (feed.database() != record->database() || !NeedsHistory(feed) || feed.checkpoint_ts() >= end) continue;
    return fmt::format(
        "changefeed '{}' to deliver what region {} committed: its checkpoint is {}, {} is needed",
        feed.name(), region, feed.checkpoint_ts(), end);
  }
  return "";
}

std::string SnapshotNeeded(const catalog::Catalog& catalog, uint64_t region) {
  const pb::RegionRecord* record = FindWithHistory(catalog, region);
  if (record == nullptr) return "";
  const uint64_t begin = record->generations(record->generations_size() - 1).begin_ts();
  for (const auto& [id, found] : catalog.changefeeds()) {
    const pb::ChangefeedRecord& feed = found.changefeed();
    if (feed.database() != record->database() || !feed.initial_snapshot() || !NeedsHistory(feed)) continue;
    // What has begun behind the change of the range shows the slots where they are now.
    if (feed.start_ts() != 0 && (feed.checkpoint_ts() > feed.start_ts() || feed.start_ts() >= begin))
      continue;
    return fmt::format("changefeed '{}' to deliver the rows as of its start", feed.name());
  }
  return "";
}

std::string SlotsInBetween(const catalog::Catalog& catalog, uint64_t database) {
  for (const auto& [id, found] : catalog.procedures()) {
    const pb::ProcedureRecord& procedure = found.procedure();
    if (procedure.step() != MoveSlots::kSwitch || catalog::IsEnded(procedure.state())) continue;
    if (procedure.type() != MoveSlots::kSplit && procedure.type() != MoveSlots::kMerge) continue;
    ::tenure::internal::v1::MoveSlotsBody body;
    if (!body.ParseFromString(procedure.body())) continue;
    const auto from = catalog.regions().find(body.from());
    if (from == catalog.regions().end() || from->second.region().database() != database) continue;
    return fmt::format("slots {}-{} to have gone from region {} to region {} (procedure {})", body.first(),
                       body.last(), body.from(), body.to(), id);
  }
  return "";
}

}  // namespace tenure::controller
