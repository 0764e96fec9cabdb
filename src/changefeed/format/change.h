// What a changefeed delivers, before it is encoded.
//
// Threading: values.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "changefeed/protocol/ids.h"

namespace tenure::changefeed {

// A timestamp column: microseconds since the Unix epoch.
struct TimestampValue {
  int64_t micros = 0;
  friend bool operator==(const TimestampValue&, const TimestampValue&) = default;
};
struct BytesValue {
  std::string bytes;
  friend bool operator==(const BytesValue&, const BytesValue&) = default;
};
// null, int64, float64, bool, text, bytes, timestamp.
using Value = std::variant<std::monostate, int64_t, double, bool, std::string, BytesValue, TimestampValue>;
enum class ColumnType : uint8_t { kInt64, kFloat64, kBool, kText, kBytes, kTimestamp };
std::string_view NameOf(ColumnType type);

struct Column {
  std::string name;
  ColumnType type = ColumnType::kText;  // a null has one, too
  Value value;
  friend bool operator==(const Column&, const Column&) = default;
};
using Row = std::vector<Column>;  // in the order of the schema

// One committed change. (region, index, ordinal) names it for ever: a consumer that has seen it may drop it.
struct Change {
  enum class Kind : uint8_t { kPut, kDelete };
  RegionId region;
  LogIndex index;
  uint32_t ordinal = 0;  // the n-th further change of the same entry of the log
  CommitTs commit_ts;
  std::string database;
  std::string table;  // empty: a plain key
  uint64_t schema_version = 0;
  std::string key;  // of a row without the table's name; of a plain key all of it
  Kind kind = Kind::kPut;
  std::optional<Row> old_row;        // rows; none: there was none, or it is not known
  std::optional<Row> new_row;        // rows, kPut
  std::optional<std::string> value;  // plain keys, kPut of a string
  // Plain keys, kPut of a hash: the fields that were written, and without a value those that were removed.
  std::vector<std::pair<std::string, std::optional<std::string>>> fields;
  bool snapshot = false;  // of an initial snapshot, no change of now
};

struct SchemaEvent {
  CommitTs commit_ts;
  std::string database;
  std::string table;
  uint64_t schema_version = 0;
  std::string statement;
};

// Nothing of `database` that the sender is in charge of will come at or below it.
struct ResolvedEvent {
  CommitTs resolved_ts;
  std::string database;
};

}  // namespace tenure::changefeed
