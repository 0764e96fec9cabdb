// The parts of RegionStore that walk over its keys.

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/codec.h"
#include "store/glob.h"
#include "store/keyspace.h"
#include "store/region_store.h"
#include "store/row_plan.h"

namespace tenure::store {
namespace {

constexpr char kPlainMark = 'k';  // what stands behind the slot in a position
constexpr char kRowMark = 't';

// visit(key) for the living plain keys of a slot, in order, until it returns false.
template <class Visitor>
bool VisitSlot(uint16_t slot, Keyspace& keys, const RowSchemas* schemas, Visitor visit) {
  const std::string prefix = SlotPrefix(slot);
  const auto iterator = keys.state().NewIterator(prefix, kv::PrefixEnd(prefix));
  for (; iterator->Valid(); iterator->Next()) {
    if (keys.IsExpired(DecodeRecordHeader(iterator->value()))) continue;
    const std::string_view key = KeyOfRecordKey(iterator->key());
    if (schemas != nullptr && schemas->OfKey(key) != nullptr) continue;
    if (!visit(key)) return false;
  }
  return true;
}

bool IsExpiredRow(std::string_view encoded, Keyspace& keys) {
  const int64_t expiry_ms = ExpiryOfRow(encoded);
  return expiry_ms != 0 && expiry_ms < keys.NowMillis();
}

std::string KeyOfRow(std::string_view table, std::string_view key) {
  std::string whole;
  whole.reserve(table.size() + 1 + key.size());
  return whole.append(table).append(1, ':').append(key);
}

// The tables of which there are rows here that have a name.
std::vector<uint64_t> NamedTables(const kv::Reader& state, const RowSchemas* schemas) {
  std::vector<uint64_t> tables;
  if (schemas != nullptr) tables = TablesWithRows(state);
  std::erase_if(tables, [schemas](uint64_t table) { return schemas->NameOf(table).empty(); });
  return tables;
}

// visit(key) for the living rows of a slot, by table, until it returns false.
template <class Visitor>
void VisitRowsOfSlot(uint16_t slot, Keyspace& keys, const RowSchemas* schemas, Visitor visit) {
  for (const uint64_t table : NamedTables(keys.state(), schemas)) {
    const std::string prefix = RowStateKey(table, slot, {});
    const auto iterator = keys.state().NewIterator(prefix, kv::PrefixEnd(prefix));
    for (; iterator->Valid(); iterator->Next()) {
      if (IsExpiredRow(iterator->value(), keys)) continue;
      if (!visit(KeyOfRow(schemas->NameOf(table), KeyOfRowStateKey(iterator->key())))) return;
    }
  }
}

// Walks over plain keys and rows in the order of positions: by slot, in a slot the plain keys, then the rows
// of each table. A position: slot:2, then 'k' key, or 't' table:8 key, or nothing: the slot's first key.
class Walk {
 public:
  // From a position on, within these slots.
  Walk(std::string_view from, const SlotRange& slots, const kv::Reader& state,
       const std::vector<uint64_t>& tables);

  bool Valid() const { return !heads_.empty(); }
  void Next();
  std::string Position() const;
  uint64_t table() const { return current().table; }  // 0: a plain key
  std::string_view key() const;
  std::string_view value() const { return current().iterator->value(); }

 private:
  struct Source {
    uint64_t table = 0;
    std::unique_ptr<kv::Iterator> iterator;
    uint16_t slot() const {
      return table == 0 ? SlotOfRecordKey(iterator->key()) : SlotOfRowStateKey(iterator->key());
    }
  };
  const Source& current() const { return sources_[heads_.begin()->second]; }
  void Enter(size_t source) {
    if (sources_[source].iterator->Valid()) heads_.emplace(sources_[source].slot(), source);
  }

  std::vector<Source> sources_;
  std::set<std::pair<uint16_t, size_t>> heads_;  // where each source stands; sources in the order of a slot
};

Walk::Walk(std::string_view from, const SlotRange& slots, const kv::Reader& state,
           const std::vector<uint64_t>& tables) {
  uint16_t slot = from.size() < kSlotBytes ? 0 : GetBigEndian16(from.data());
  std::string_view inside = from.substr(std::min(from.size(), kSlotBytes));
  if (slot > slots.last) return;
  if (slot < slots.first) slot = slots.first, inside = {};
  const bool in_rows = inside.size() > sizeof(uint64_t) && inside[0] == kRowMark;
  const uint64_t at_table = in_rows ? TableOfKey(inside) : 0;
  // What of the slot lies in front of the position is passed by.
  std::string plain = in_rows ? kv::PrefixEnd(SlotPrefix(slot)) : SlotPrefix(slot);
  if (!in_rows && !inside.empty()) plain.append(inside.substr(1));
  const std::string plain_end = kv::PrefixEnd(SlotPrefix(slots.last));
  if (plain < plain_end) sources_.push_back({0, state.NewIterator(plain, plain_end)});
  for (const uint64_t table : tables) {
    const std::string of_slot = RowStateKey(table, slot, {});
    std::string begin = of_slot;
    if (table < at_table) begin = kv::PrefixEnd(of_slot);
    if (table == at_table) begin.append(inside.substr(1 + sizeof(uint64_t)));
    const std::string end = kv::PrefixEnd(RowStateKey(table, slots.last, {}));
    if (begin < end) sources_.push_back({table, state.NewIterator(begin, end)});
  }
  for (size_t i = 0; i < sources_.size(); ++i) Enter(i);
}

void Walk::Next() {
  const size_t source = heads_.begin()->second;
  const uint16_t slot = heads_.begin()->first;
  kv::Iterator& iterator = *sources_[source].iterator;
  iterator.Next();
  if (iterator.Valid() && sources_[source].slot() == slot) return;
  heads_.erase(heads_.begin());
  Enter(source);
}

std::string_view Walk::key() const {
  return table() == 0 ? KeyOfRecordKey(current().iterator->key())
                      : KeyOfRowStateKey(current().iterator->key());
}

std::string Walk::Position() const {
  std::string position;
  PutBigEndian16(position, current().slot());
  position.push_back(table() == 0 ? kPlainMark : kRowMark);
  if (table() != 0) PutBigEndian64(position, table());
  return position.append(key());
}

}  // namespace

std::vector<std::string> RegionStore::KeysInSlot(uint16_t slot, size_t limit, WallTime now,
                                                 const kv::Reader& state, const RowSchemas* schemas) const {
  std::vector<std::string> found;
  if (limit == 0) return found;
  Keyspace keys(state, now);
  const auto take = [&](std::string_view key) {
    found.emplace_back(key);
    return found.size() < limit;
  };
  if (VisitSlot(slot, keys, schemas, take)) VisitRowsOfSlot(slot, keys, schemas, take);
  return found;
}

uint64_t RegionStore::CountKeysInSlot(uint16_t slot, WallTime now, const kv::Reader& state,
                                      const RowSchemas* schemas) const {
  uint64_t count = 0;
  Keyspace keys(state, now);
  const auto take = [&count](std::string_view) {
    ++count;
    return true;
  };
  VisitSlot(slot, keys, schemas, take);
  VisitRowsOfSlot(slot, keys, schemas, take);
  return count;
}

uint64_t RegionStore::KeyCount(const kv::Reader& state, const RowSchemas* schemas) const {
  uint64_t count = Keyspace(state, WallTime()).counters().keys;
  for (const uint64_t table : NamedTables(state, schemas)) count += RowCount(table, state);
  return count - std::min(count, range_.hidden_keys);
}

RegionStore::ScanResult RegionStore::Scan(std::string_view from, size_t count,
                                          std::optional<std::string_view> match,
                                          std::optional<std::string_view> type, WallTime now,
                                          const kv::Reader& state, const RowSchemas* schemas) const {
  ScanResult result;
  if (!range_.slots) return result;
  Keyspace keys(state, now);
  Walk walk(from, *range_.slots, state, NamedTables(state, schemas));
  for (; walk.Valid(); walk.Next(), ++result.seen) {
    if (result.seen == count) {
      result.next = walk.Position();
      break;
    }
    if (walk.table() != 0) {
      if (IsExpiredRow(walk.value(), keys) || (type && *type != NameOf(ValueType::kHash))) continue;
      std::string key = KeyOfRow(schemas->NameOf(walk.table()), walk.key());
      if (!match || ScanMatches(*match, key)) result.keys.push_back(std::move(key));
      continue;
    }
    const RecordHeader header = DecodeRecordHeader(walk.value());
    if (keys.IsExpired(header)) continue;
    if (type && *type != NameOf(header.type)) continue;
    const std::string_view key = walk.key();
    if (match && !ScanMatches(*match, key)) continue;
    if (schemas != nullptr && schemas->OfKey(key) != nullptr) continue;
    result.keys.emplace_back(key);
  }
  return result;
}

bool RegionStore::HasExpired(WallTime now, const kv::Reader& state) const {
  if (range_.IsMoving()) return false;
  Keyspace keys(state, now);
  const auto iterator =
      state.NewIterator(ExpiryKey(0, 0, {}), kv::PrefixEnd(std::string_view(&kExpiryPrefix, 1)));
  if (iterator->Valid() && ExpiryOfExpiryKey(iterator->key()) < keys.NowMillis()) return true;
  return HasExpiredRow(keys.NowMillis(), state);
}

}  // namespace tenure::store
