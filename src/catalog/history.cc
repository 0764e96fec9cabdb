#include "catalog/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "schema/statement.h"

namespace tenure::catalog {

using namespace ::tenure::v1;

std::optional<uint64_t> HistoryFloorOf(const ChangefeedRecord& feed) {
  switch (feed.state()) {
    case CHANGEFEED_NORMAL:
    case CHANGEFEED_WARNING:
      break;
    case CHANGEFEED_PAUSED:
    case CHANGEFEED_FAILED:
      if (feed.history_given_up()) return std::nullopt;
      break;
    default:
      return std::nullopt;
  }
  if (feed.start_ts() == 0) return feed.requested_start_ts();
  return std::max(feed.checkpoint_ts(), feed.start_ts());
}

namespace apply {
namespace {

struct Limits {
  int count;
  size_t bytes;
};
constexpr Limits kVersions{16, 64 << 10};
constexpr Limits kVersionsNeeded{256, 256 << 10};
constexpr Limits kDrops{64, 256 << 10};
constexpr Limits kDropsNeeded{256, 1 << 20};
constexpr Limits kGenerations{64, 64 << 10};           // of a region
constexpr Limits kGenerationsNeeded{4096, 512 << 10};  // of a database; it is merged no more often than split

// The changefeed of a database that is farthest behind.
struct Behind {
  const ChangefeedRecord* feed = nullptr;
  uint64_t floor = ~uint64_t{0};
};
Behind FarthestBehind(const Records& records, uint64_t database) {
  Behind behind;
  for (const auto& [id, record] : records.changefeeds.all()) {
    const ChangefeedRecord& feed = record.changefeed();
    const auto floor = feed.database() == database ? HistoryFloorOf(feed) : std::nullopt;
    if (floor && *floor < behind.floor) behind = {.feed = &feed, .floor = *floor};
  }
  return behind;
}

// One that is not in force anywhere yet has no end.
bool IsNeeded(uint64_t end_ts, uint64_t floor) {
#ifdef TENURE_MUTANT_feed_versions_forgotten
  return false;
#endif
  return end_ts == 0 || end_ts > floor;
}

// A version ends where the next one begins; the last of the list is in force.
template <class List>
void Bound(List& list, int least, Limits limits, auto is_needed) {
  size_t bytes = 0;
  for (const auto& item : list) bytes += item.ByteSizeLong();
  int gone = 0;
  while (list.size() - gone > least && !is_needed(gone) &&
         (list.size() - gone > limits.count || bytes > limits.bytes)) {
    bytes -= list.Get(gone++).ByteSizeLong();
  }
  list.DeleteSubrange(0, gone);
}

// A timestamp for a schema change of the database: behind everything that its regions committed before they
// were told.
uint64_t TakeSchemaTs(DatabaseRecord& database, uint64_t announced_ts) {
  database.set_last_schema_ts(std::max(announced_ts, database.last_schema_ts()) + 1);
  return database.last_schema_ts();
}

// What changefeed `behind` holds is too much. `what` it holds: "versions of table 7 ('orders')".
CatalogResult TooFarBehind(int count, size_t bytes, Limits limits, const std::string& what,
                           const Behind& behind, uint64_t revision) {
  return Refused(
      REASON_CONDITION_FAILED,
      fmt::format("changefeed {} ('{}') has yet to deliver changes of {} {} ({} bytes); the limits are "
                  "{} and {} bytes: let it catch up, or remove it",
                  behind.feed->id(), behind.feed->name(), count, what, bytes, limits.count, limits.bytes),
      revision);
}

void AddPredecessor(uint64_t region, uint64_t range_version, RegionGeneration& to) {
  auto& predecessor = *to.add_predecessors();
  predecessor.set_region(region);
  predecessor.set_range_version(range_version);
}

// The one that lasts, of a region whose range_version has not been raised yet. It keeps its name through
// changes of the range that nobody's change log knows of: whatever follows it is said to follow that name.
RegionGeneration& PresentGeneration(RegionRecord& region) {
  if (region.generations().empty()) region.add_generations()->set_range_version(region.range_version());
  return *region.mutable_generations(region.generations_size() - 1);
}

// Of one whose range_version has been raised.
RegionGeneration& BeginGeneration(uint64_t begin, uint64_t floor, RegionRecord& region) {
  auto& generations = *region.mutable_generations();
  Bound(generations, 1, {kGenerations.count - 1, kGenerations.bytes},
        [&](int i) { return IsNeeded(generations.Get(i).end_ts(), floor); });
  RegionGeneration& generation = *generations.Add();
  generation.set_range_version(region.range_version());
  generation.set_begin_ts(begin);
  return generation;
}

}  // namespace

CatalogResult CheckRoomForVersion(const Records& records, const Record& found) {
  const TableRecord& table = found.table();
  const Behind behind = FarthestBehind(records, table.database());
  if (behind.feed == nullptr) return {};
  int count = 0;
  size_t bytes = 0;
  for (int i = 0; i + 1 < table.history_size(); ++i) {
    if (!IsNeeded(table.history(i + 1).since_ts(), behind.floor)) continue;
    ++count;
    bytes += table.history(i).ByteSizeLong();
  }
  if (count < kVersionsNeeded.count && bytes < kVersionsNeeded.bytes) return {};
  return TooFarBehind(count, bytes, kVersionsNeeded,
                      fmt::format("former versions of table {} ('{}')", table.id(), table.shape().name()),
                      behind, found.modify_revision());
}

CatalogResult CheckRoomForDrop(const Records& records, const Record& found) {
  const Record* database = records.databases.Find(found.table().database());
  const Behind behind = FarthestBehind(records, found.table().database());
  if (behind.feed == nullptr || database == nullptr) return {};
  int count = 0;
  size_t bytes = 0;
  for (const DroppedTable& dropped : database->database().dropped_tables()) {
    if (!IsNeeded(dropped.dropped_ts(), behind.floor)) continue;
    ++count;
    bytes += dropped.ByteSizeLong();
  }
  if (count < kDropsNeeded.count && bytes < kDropsNeeded.bytes) return {};
  return TooFarBehind(count, bytes, kDropsNeeded,
                      fmt::format("dropped tables of database '{}'", database->database().name()), behind,
                      found.modify_revision());
}

void AddVersion(const Records& records, TableRecord& table) {
  auto& history = *table.mutable_history();
  if (table.state() == TABLE_CREATING) {
    TableVersion& made = *history.Add();
    *made.mutable_shape() = table.shape();
    made.set_statement(schema::CreateStatement(table.shape()));
    return;
  }
  if (!table.has_next()) return;
  if (history.empty()) *history.Add()->mutable_shape() = table.shape();
  TableVersion& next = *history.Add();
  *next.mutable_shape() = table.next();
  next.set_statement(schema::AlterStatement(table.shape(), table.next()));
  const uint64_t floor = FarthestBehind(records, table.database()).floor;
  Bound(history, 2, kVersions, [&](int i) { return IsNeeded(history.Get(i + 1).since_ts(), floor); });
}

void Seal(Records& records, TableRecord& table, uint64_t announced_ts, Change& change) {
  const Record* found = records.databases.Find(table.database());
  const int last = table.history_size() - 1;
  if (found == nullptr || last < 1 || table.history(last).since_ts() != 0) return;
  Record database = *found;
  table.mutable_history(last)->set_since_ts(TakeSchemaTs(*database.mutable_database(), announced_ts));
  records.databases.Put(table.database(), std::move(database), change);
}

void AddSame(Records& records, const TableShape& before, TableRecord& table, Change& change) {
  const Record* found = records.databases.Find(table.database());
  if (found == nullptr) return;
  Record database = *found;
  auto& history = *table.mutable_history();
  if (history.empty()) *history.Add()->mutable_shape() = before;
  // One that was about to be sealed is in force from here on as well: nobody will ask for it any more.
  if (const int last = history.size() - 1; last > 0 && history[last].since_ts() == 0)
    history[last].set_since_ts(TakeSchemaTs(*database.mutable_database(), 0));
  TableVersion& same = *history.Add();
  *same.mutable_shape() = table.shape();
  same.set_since_ts(TakeSchemaTs(*database.mutable_database(), 0));
  same.set_statement(schema::AlterStatement(before, table.shape()));
  records.databases.Put(table.database(), std::move(database), change);
}

void AddDropped(Records& records, const TableRecord& table, uint64_t announced_ts, Change& change) {
  const Record* found = records.databases.Find(table.database());
  if (found == nullptr) return;
  Record record = *found;
  DatabaseRecord& database = *record.mutable_database();
  DroppedTable& dropped = *database.add_dropped_tables();
  dropped.set_id(table.id());
  dropped.set_dropped_ts(TakeSchemaTs(database, announced_ts));
  dropped.set_statement(schema::DropStatement(table.shape()));
  *dropped.mutable_history() = table.history();
  if (dropped.history().empty()) *dropped.add_history()->mutable_shape() = table.shape();
  auto& drops = *database.mutable_dropped_tables();
  const uint64_t floor = FarthestBehind(records, table.database()).floor;
  Bound(drops, 1, kDrops, [&](int i) { return IsNeeded(drops.Get(i).dropped_ts(), floor); });
  records.databases.Put(table.database(), std::move(record), change);
}

CatalogResult CheckRoomForGeneration(const Records& records, const Record& found) {
  const uint64_t database = found.region().database();
  const Behind behind = FarthestBehind(records, database);
  if (behind.feed == nullptr) return {};
  int count = 0;
  size_t bytes = 0;
  for (const auto& [id, record] : records.regions.all()) {
    if (record.region().database() != database) continue;
    for (const RegionGeneration& generation : record.region().generations()) {
      if (generation.end_ts() == 0 || !IsNeeded(generation.end_ts(), behind.floor)) continue;
      ++count;
      bytes += generation.ByteSizeLong();
    }
  }
  if (count < kGenerationsNeeded.count && bytes < kGenerationsNeeded.bytes) return {};
  return TooFarBehind(count, bytes, kGenerationsNeeded,
                      fmt::format("former ranges of regions of database {}", database), behind,
                      found.modify_revision());
}

EndedGenerations EndGenerations(const commands::ProcedureEffect::PublishSlots& command, bool taker_is_new,
                                RegionRecord& giver, RegionRecord& taker) {
  EndedGenerations ended;
  RegionGeneration& giving = PresentGeneration(giver);
  ended.of_giver = giving.range_version();
  if (command.released_ts() != 0) giving.set_end_ts(command.released_ts());
  if (taker_is_new) return ended;
  RegionGeneration& taking = PresentGeneration(taker);
  ended.of_taker = taking.range_version();
  if (command.opened_ts() != 0) taking.set_end_ts(command.opened_ts());
  return ended;
}

void BeginGenerations(const Records& records, const commands::ProcedureEffect::PublishSlots& command,
                      const EndedGenerations& ended, RegionRecord& giver, RegionRecord& taker) {
  const uint64_t floor = FarthestBehind(records, giver.database()).floor;
  const bool released = command.released_ts() != 0;
  if (released && giver.state() != REGION_REMOVING)
    AddPredecessor(giver.id(), ended.of_giver, BeginGeneration(command.released_ts(), floor, giver));
  if (command.opened_ts() == 0) return;
  RegionGeneration& taken = BeginGeneration(command.opened_ts(), floor, taker);
  if (ended.of_taker != 0) AddPredecessor(taker.id(), ended.of_taker, taken);
  if (released) AddPredecessor(giver.id(), ended.of_giver, taken);
}

}  // namespace apply
}  // namespace tenure::catalog
