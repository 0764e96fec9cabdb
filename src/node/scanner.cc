#include "node/scanner.h"

#include <algorithm>
#include <utility>

#include "base/codec.h"
#include "base/format.h"
#include "base/hash.h"

namespace tenure::node {
namespace {

constexpr size_t kMaxSteps = 256;       // running at the same time
constexpr int kMaxRegionsPerStep = 64;  // empty ones are passed quickly, but not all 4096 in one turn
constexpr uint64_t kSlotBits = 16;

uint16_t SlotOf(const std::string& position) {
  return GetBigEndian16(position.data());
}

std::string StartOf(uint16_t slot) {
  std::string position;
  PutBigEndian16(position, slot);
  return position;
}

Outcome ReplyOf(uint64_t cursor, std::vector<store::Reply> keys) {
  std::vector<store::Reply> parts;
  parts.push_back(store::Reply::Bulk(fmt::format("{}", cursor)));
  parts.push_back(store::Reply::Array(std::move(keys)));
  return store::Reply::Array(std::move(parts));
}

}  // namespace

uint64_t ScanCursors::AtSlot(uint32_t slot) {
  return slot >= kSlotCount ? 0 : slot + 1;
}

uint64_t ScanCursors::AtPosition(std::string position) {
  const uint64_t number = next_number_++ & ((uint64_t{1} << 46) - 1);
  const uint64_t cursor = (number << kSlotBits) | (SlotOf(position) + 1u);
  bytes_ += position.size();
  positions_.insert_or_assign(number, std::move(position));
  while (positions_.size() > kMaxPositions || bytes_ > kMaxPositionBytes) {
    bytes_ -= positions_.begin()->second.size();
    positions_.erase(positions_.begin());
  }
  return cursor;
}

std::optional<std::string> ScanCursors::PositionOf(uint64_t cursor) const {
  const uint64_t slot = cursor == 0 ? 0 : (cursor & ((uint64_t{1} << kSlotBits) - 1)) - 1;
  if (slot >= kSlotCount) return std::nullopt;
  const auto it = positions_.find(cursor >> kSlotBits);
  if (it != positions_.end() && SlotOf(it->second) == slot) return it->second;
  return StartOf(static_cast<uint16_t>(slot));
}

Scanner::Scanner(runtime::Executor& executor, group::GroupHost& host, RegionTable& table,
                 const RowSchemaTable& schemas, const NodeOptions& options)
    : executor_(executor),
      host_(host),
      table_(table),
      schemas_(schemas),
      options_(options),
      scope_(executor) {}
Scanner::~Scanner() = default;

void Scanner::Scan(DatabaseId database, uint64_t cursor, size_t count, std::optional<std::string> match,
                   std::optional<std::string> type, Callback<Outcome> done) {
  if (table_.Find(database) == nullptr) {
    return done(Refused{Refused::Kind::kNoSuchDatabase,
                        fmt::format("database {} does not exist any more", database)});
  }
  std::optional<std::string> position = cursors_.PositionOf(cursor);
  if (!position) return done(ReplyOf(0, {}));
  if (scope_.running() >= kMaxSteps || scope_.stop_requested()) {
    return done(
        Refused{Refused::Kind::kOverloaded, fmt::format("{} scans are under way on this node", kMaxSteps)});
  }
  Step step{.database = database,
            .position = std::move(*position),
            .count = std::clamp<size_t>(count, 1, options_.max_scan_count),
            .match = std::move(match),
            .type = std::move(type),
            .done = std::move(done)};
  scope_.Spawn(Run(std::move(step)));
}

// The next one in the order of slots that are held: what records say may be older.
const Region* Scanner::NextLed(DatabaseId id, uint16_t slot) {
  const Database* database = table_.Find(id);
  if (database == nullptr) return nullptr;
  const Region* next = nullptr;
  for (const Region* region : database->regions) {
    const auto held = region->Held();
    if (!held || held->last < slot || !region->leads()) continue;
    if (next == nullptr || held->first < next->Held()->first) next = region;
  }
  return next;
}

runtime::Task<void> Scanner::Run(Step step) {
  std::vector<store::Reply> keys;
  uint64_t cursor = 0;
  for (int visited = 0;; ++visited) {
    const Region* region = NextLed(step.database, SlotOf(step.position));
    if (region == nullptr) break;
    if (visited == kMaxRegionsPerStep) {
      cursor = ScanCursors::AtSlot(std::max(region->Held()->first, SlotOf(step.position)));
      break;
    }
    const RegionId id = region->id;
    const uint16_t last = region->Held()->last;
    if (!host_.Serving(region->group())) {
      auto confirm = [this, group = region->group()](Callback<Status> done) {
        host_.Read(group, std::move(done));
      };
      const Status confirmed =
          co_await runtime::AsyncUntil<Status>(executor_, scope_.token(), std::move(confirm));
      if (scope_.stop_requested()) break;
      region = table_.Find(id);
      // Not led here any more: its keys are the new leader's to scan.
      if (!confirmed.ok() || region == nullptr || !region->leads()) {
        if (last + 1u >= kSlotCount) break;
        step.position = StartOf(static_cast<uint16_t>(last + 1));
        continue;
      }
      // Its slots may have gone meanwhile: another look at who has them.
      if (!region->Held() || region->Held()->last != last) continue;
    }
    if (!ReadRegion(*region, step, keys, &cursor)) break;
  }
  step.done(ReplyOf(cursor, std::move(keys)));
}

bool Scanner::ReadRegion(const Region& region, Step& step, std::vector<store::Reply>& keys,
                         uint64_t* cursor) {
  const store::SlotRange held = *region.Held();
  const std::string from = SlotOf(step.position) < held.first ? std::string() : step.position;
  auto view = [](const std::optional<std::string>& text) -> std::optional<std::string_view> {
    if (!text) return std::nullopt;
    return std::string_view(*text);
  };
  store::RegionStore::ScanResult result =
      region.store->Scan(from, step.count - step.seen, view(step.match), view(step.type), executor_.WallNow(),
                         *host_.State(region.group()), schemas_.Of(step.database));
  step.seen += result.seen;
  for (std::string& key : result.keys) keys.push_back(store::Reply::Bulk(std::move(key)));
  if (!result.next.empty()) {
    *cursor = cursors_.AtPosition(std::move(result.next));
    return false;
  }
  const uint32_t next_slot = held.last + 1u;
  if (next_slot >= kSlotCount) return false;
  step.position = StartOf(static_cast<uint16_t>(next_slot));
  if (step.seen < step.count) return true;
  *cursor = NextLed(step.database, static_cast<uint16_t>(next_slot)) == nullptr
                ? 0
                : ScanCursors::AtSlot(next_slot);
  return false;
}

}  // namespace tenure::node
