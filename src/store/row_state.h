// Rows of tables in a region's state: one pair of the engine each, below the table's id, so that a table that
// was dropped and made again under its name never sees what was there before.
//
//   t <table:8> <slot:2> <key>              -> row: version, expiry, values by column
//   c <table:8>                             -> how many there are
//   x <table:8> <expiry ms:8> <slot:2> <key> -> expiry index
//
// Values lie by the ids of their columns: a column that is renamed keeps them, one that was dropped leaves
// garbage that nobody is shown and that goes with the next write of the row.
//
// Threading: one owner.
// Time:      a row expires at the time that was stored with its last write; an altered ttl of the table holds
//            for what is written from then on. So nothing is deleted because of a schema that somebody
//            believes in.
// Errors:    what was read from the store is trusted to be well formed; if it is not, the process ends.
// Invariants: S7 `c` counts the `t` entries of its table, and is absent if there are none.
//             S8 every row with an expiry has exactly one `x` entry, and there are no others.
// Reference: docs/store-format.md.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "store/keyspace.h"

namespace tenure::store {

// Where a row lies. Table 0: a plain key, `key` is all of it.
struct RowKey {
  uint64_t table = 0;
  uint64_t version = 0;  // of the schema that the command was checked against
  uint16_t slot = 0;
  std::string key;  // what stands behind "table:"
  friend bool operator==(const RowKey&, const RowKey&) = default;
};

struct Row {
  struct Value {
    uint32_t column = 0;
    std::string bytes;
    friend bool operator==(const Value&, const Value&) = default;
  };
  bool exists = false;
  bool stored = false;        // it lies in the state; expired if it does not exist, and then without values
  uint64_t version = 0;       // log index of the last change
  int64_t expiry_ms = 0;      // 0: never
  std::vector<Value> values;  // by column; columns without a value are left out

  const std::string* Find(uint32_t column) const;  // null: there is none
  void Set(uint32_t column, std::string_view bytes);
  bool Erase(uint32_t column);  // false: there was none
  friend bool operator==(const Row&, const Row&) = default;
};

std::string EncodeRow(const Row& row);
Row DecodeRow(std::string_view encoded);
int64_t ExpiryOfRow(std::string_view encoded);
size_t BytesOf(const Row& row);  // of its values

// Does not exist if it is not there or expired. Changes nothing.
Row FindRow(const RowKey& key, Keyspace& keys);
// `before` is the row as it was found.
void PutRow(const RowKey& key, const Row& before, Row after, Writer& keys);
// Requires that it is stored.
void RemoveRow(const RowKey& key, const Row& row, Writer& keys);

// A row on the way to or from another region, as it lies in the state: with its count and its expiry.
void PutStoredRow(std::string_view row_key, std::string_view encoded, kv::View& state);
void RemoveStoredRow(std::string_view row_key, std::string_view encoded, kv::View& state);

// Tables that have rows here, in the order of their ids; and how many there are.
std::vector<uint64_t> TablesWithRows(const kv::Reader& state);
uint64_t RowCount(uint64_t table, const kv::Reader& state);
// Every row that lies in the state, expired or not, counted one by one, by table: for inspections and
// checkers.
std::map<uint64_t, uint64_t> StoredRows(const kv::Reader& state);

// True if some row is expired at this time.
bool HasExpiredRow(int64_t now_ms, const kv::Reader& state);
// Removes up to `limit` rows that are expired; how many.
uint32_t SweepRows(uint32_t limit, Writer& keys);

}  // namespace tenure::store
