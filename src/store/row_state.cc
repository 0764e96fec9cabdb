#include "store/row_state.h"

#include <algorithm>

#include "base/check.h"
#include "base/codec.h"
#include "store/layout.h"

namespace tenure::store {
namespace {

constexpr uint8_t kFormat = 1;
constexpr uint8_t kRowHasExpiry = 0x80;

template <class Values>
auto PositionOf(Values& values, uint32_t column) {
  return std::ranges::lower_bound(values, column, {}, &Row::Value::column);
}

Row LoadRow(const RowKey& key, const kv::Reader& state) {
  const auto stored = state.Get(RowStateKey(key.table, key.slot, key.key));
  return stored ? DecodeRow(*stored) : Row{};
}

bool IsExpired(const Row& row, Keyspace& keys) {
  return row.expiry_ms != 0 && row.expiry_ms < keys.NowMillis();
}

void CountRow(uint64_t table, int64_t change, kv::View& state) {
  const uint64_t before = RowCount(table, state);
  TENURE_CHECK(change > 0 || before > 0, "S7: a row of table {} is removed and none was counted", table);
  const uint64_t after = before + static_cast<uint64_t>(change);
  if (after == 0) return state.Delete(RowCountKey(table));
  std::string encoded;
  PutVarint(encoded, after);
  state.Put(RowCountKey(table), encoded);
}

void MoveExpiry(const RowKey& key, int64_t from_ms, int64_t to_ms, kv::View& state) {
  if (from_ms == to_ms) return;
  if (from_ms != 0) state.Delete(RowExpiryKey(key.table, from_ms, key.slot, key.key));
  if (to_ms != 0) state.Put(RowExpiryKey(key.table, to_ms, key.slot, key.key), {});
}

RowKey PlaceOfStored(std::string_view row_key) {
  return {.table = TableOfKey(row_key),
          .slot = SlotOfRowStateKey(row_key),
          .key = std::string(KeyOfRowStateKey(row_key))};
}

// All but the values.
Row DecodeHead(ByteReader& reader) {
  Row row;
  row.exists = row.stored = true;
  const uint8_t tag = reader.Byte();
  row.version = reader.Varint();
  if ((tag & kRowHasExpiry) != 0) row.expiry_ms = static_cast<int64_t>(reader.Varint());
  TENURE_CHECK(reader.ok() && (tag & ~kRowHasExpiry) == kFormat,
               "a row begins with {}: damaged, or of a newer version", tag);
  return row;
}

ChangeRecord ChangeOf(const RowKey& key, ChangeRecord::Kind kind) {
  return {.kind = kind, .table = key.table, .schema_version = key.version, .slot = key.slot, .key = key.key};
}

// Of a row that lies in the state; what was found of an expired one has no values any more.
void LogRemoval(const RowKey& key, const Row& row, Writer& keys) {
#ifdef TENURE_MUTANT_removal_not_logged
  return;
#endif
  if (keys.changes() == nullptr) return;
  ChangeRecord change = ChangeOf(key, ChangeRecord::Kind::kDelete);
  if (row.exists) change.old_value = EncodeRow(row);
  if (!row.exists) change.old_value = keys.state().Get(RowStateKey(key.table, key.slot, key.key));
  keys.changes()->Append(std::move(change));
}

// visit(table) for the tables of which there are keys below `prefix`, until it returns false. One seek each.
template <class Visitor>
void VisitTables(char prefix, const kv::Reader& state, Visitor visit) {
  const std::string begin(1, prefix);
  const auto iterator = state.NewIterator(begin, kv::PrefixEnd(begin));
  while (iterator->Valid()) {
    const std::string of_table(iterator->key().substr(0, RowCountKey(0).size()));
    if (!visit(TableOfKey(of_table))) return;
    iterator->Seek(kv::PrefixEnd(of_table));
  }
}

}  // namespace

const std::string* Row::Find(uint32_t column) const {
  const auto it = PositionOf(values, column);
  return it != values.end() && it->column == column ? &it->bytes : nullptr;
}

void Row::Set(uint32_t column, std::string_view bytes) {
  const auto it = PositionOf(values, column);
  if (it != values.end() && it->column == column) {
    it->bytes = bytes;
  } else {
    values.insert(it, {column, std::string(bytes)});
  }
}

bool Row::Erase(uint32_t column) {
  const auto it = PositionOf(values, column);
  if (it == values.end() || it->column != column) return false;
  values.erase(it);
  return true;
}

std::string EncodeRow(const Row& row) {
  std::string out;
  out.reserve(BytesOf(row) + 32 + row.values.size() * 6);
  out.push_back(static_cast<char>(row.expiry_ms != 0 ? kFormat | kRowHasExpiry : kFormat));
  PutVarint(out, row.version);
  if (row.expiry_ms != 0) PutVarint(out, static_cast<uint64_t>(row.expiry_ms));
  PutVarint(out, row.values.size());
  for (const Row::Value& value : row.values) {
    PutVarint(out, value.column);
    PutPrefixed(out, value.bytes);
  }
  return out;
}

Row DecodeRow(std::string_view encoded) {
  ByteReader reader(encoded);
  Row row = DecodeHead(reader);
  const uint64_t count = reader.Varint();
  TENURE_CHECK(reader.ok() && count <= encoded.size(), "a row of {} bytes is damaged", encoded.size());
  row.values.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const auto column = static_cast<uint32_t>(reader.Varint());
    row.values.push_back({column, std::string(reader.Prefixed())});
  }
  TENURE_CHECK(reader.AtEnd(), "a row of {} bytes is damaged", encoded.size());
  return row;
}

int64_t ExpiryOfRow(std::string_view encoded) {
  ByteReader reader(encoded);
  return DecodeHead(reader).expiry_ms;
}

size_t BytesOf(const Row& row) {
  size_t bytes = 0;
  for (const Row::Value& value : row.values) bytes += value.bytes.size();
  return bytes;
}

Row FindRow(const RowKey& key, Keyspace& keys) {
  Row row = LoadRow(key, keys.state());
  if (!IsExpired(row, keys)) return row;
  row.exists = false;
  row.values.clear();
  return row;
}

void PutRow(const RowKey& key, const Row& before, Row after, Writer& keys) {
  if (!before.stored) CountRow(key.table, +1, keys.view());
  MoveExpiry(key, before.expiry_ms, after.expiry_ms, keys.view());
  after.version = keys.version();
  // For who follows the changes an expired row goes before the new one comes.
  if (before.stored && !before.exists) LogRemoval(key, before, keys);
  std::string encoded = EncodeRow(after);
  keys.view().Put(RowStateKey(key.table, key.slot, key.key), encoded);
  if (keys.changes() == nullptr) return;
  ChangeRecord change = ChangeOf(key, ChangeRecord::Kind::kPut);
  if (before.exists) change.old_value = EncodeRow(before);
  change.new_value = std::move(encoded);
  keys.changes()->Append(std::move(change));
}

void RemoveRow(const RowKey& key, const Row& row, Writer& keys) {
  TENURE_CHECK(row.stored, "an absent row of table {} is removed", key.table);
  LogRemoval(key, row, keys);
  MoveExpiry(key, row.expiry_ms, 0, keys.view());
  keys.view().Delete(RowStateKey(key.table, key.slot, key.key));
  CountRow(key.table, -1, keys.view());
}

void PutStoredRow(std::string_view row_key, std::string_view encoded, kv::View& state) {
  const RowKey key = PlaceOfStored(row_key);
  CountRow(key.table, +1, state);
  MoveExpiry(key, 0, ExpiryOfRow(encoded), state);
  state.Put(row_key, encoded);
}

void RemoveStoredRow(std::string_view row_key, std::string_view encoded, kv::View& state) {
  const RowKey key = PlaceOfStored(row_key);
  MoveExpiry(key, ExpiryOfRow(encoded), 0, state);
  CountRow(key.table, -1, state);
  state.Delete(row_key);
}

std::vector<uint64_t> TablesWithRows(const kv::Reader& state) {
  std::vector<uint64_t> tables;
  const std::string prefix(1, kRowCountPrefix);
  const auto iterator = state.NewIterator(prefix, kv::PrefixEnd(prefix));
  for (; iterator->Valid(); iterator->Next()) tables.push_back(TableOfKey(iterator->key()));
  return tables;
}

uint64_t RowCount(uint64_t table, const kv::Reader& state) {
  const auto stored = state.Get(RowCountKey(table));
  if (!stored) return 0;
  ByteReader reader(*stored);
  const uint64_t rows = reader.Varint();
  TENURE_CHECK(reader.AtEnd(), "the number of rows of table {} is damaged", table);
  return rows;
}

std::map<uint64_t, uint64_t> StoredRows(const kv::Reader& state) {
  std::map<uint64_t, uint64_t> rows;
  const std::string prefix(1, kRowPrefix);
  const auto iterator = state.NewIterator(prefix, kv::PrefixEnd(prefix));
  for (; iterator->Valid(); iterator->Next()) ++rows[TableOfKey(iterator->key())];
  return rows;
}

bool HasExpiredRow(int64_t now_ms, const kv::Reader& state) {
  bool found = false;
  VisitTables(kRowExpiryPrefix, state, [&](uint64_t table) {
    const std::string prefix = RowExpiriesPrefix(table);
    const auto first = state.NewIterator(prefix, kv::PrefixEnd(prefix));
    found = first->Valid() && ExpiryOfRowExpiryKey(first->key()) < now_ms;
    return !found;
  });
  return found;
}

uint32_t SweepRows(uint32_t limit, Writer& keys) {
  // First read, then write: an iterator does not promise what it shows of later writes.
  std::vector<RowKey> expired;
  const int64_t now_ms = keys.NowMillis();
  VisitTables(kRowExpiryPrefix, keys.state(), [&](uint64_t table) {
    const auto iterator =
        keys.state().NewIterator(RowExpiriesPrefix(table), RowExpiryKey(table, now_ms, 0, {}));
    for (; iterator->Valid() && expired.size() < limit; iterator->Next()) {
      expired.push_back({.table = table,
                         .slot = SlotOfRowExpiryKey(iterator->key()),
                         .key = std::string(KeyOfRowExpiryKey(iterator->key()))});
    }
    return expired.size() < limit;
  });
  for (const RowKey& key : expired) {
    const Row row = FindRow(key, keys);
    TENURE_CHECK(row.stored && !row.exists,
                 "S8: the expiry index names a row of table {} that has not expired", key.table);
    RemoveRow(key, row, keys);
  }
  return static_cast<uint32_t>(expired.size());
}

}  // namespace tenure::store
