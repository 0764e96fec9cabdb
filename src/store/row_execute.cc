// What commands on rows do (row_command.h).

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "store/errors.h"
#include "store/number.h"
#include "store/row_command.h"

namespace tenure::store {
namespace {

using enum RowOperation;

// What a column of the row shows: null if there is no row, or no value and nothing instead.
const std::string* Shown(const Row& row, const RowColumn& column) {
  if (!row.exists) return nullptr;
  const std::string* const value = row.Find(column.id);
  if (value != nullptr) return value;
  return column.fallback ? &*column.fallback : nullptr;
}

Reply BulkOrNull(const std::string* value) {
  return value == nullptr ? Reply::Null() : Reply::Bulk(*value);
}

Reply ShownFields(const RowCommand& command, const Row& row) {
  std::vector<Reply> fields;
  for (const RowColumn& column : *command.columns) {
    const std::string* const value = Shown(row, column);
    if (value == nullptr) continue;
    if (command.operation != kValues) fields.push_back(Reply::Bulk(column.name));
    if (command.operation != kNames) fields.push_back(Reply::Bulk(*value));
  }
  return command.operation == kGetAll ? Reply::Map(std::move(fields)) : Reply::Array(std::move(fields));
}

Reply TimeToLive(RowOperation operation, const Row& row, Keyspace& keys) {
  if (!row.exists) return Reply::Integer(-2);
  if (row.expiry_ms == 0) return Reply::Integer(-1);
  const bool absolute = operation == kExpireTime || operation == kPExpireTime;
  const int64_t ms = absolute ? row.expiry_ms : std::max<int64_t>(row.expiry_ms - keys.NowMillis(), 0);
  const bool seconds = operation == kTtl || operation == kExpireTime;
  return Reply::Integer(seconds ? ms / 1000 + (ms % 1000 >= 500 ? 1 : 0) : ms);
}

Reply CountExisting(const RowCommand& command, Keyspace& keys) {
  int64_t found = 0;
  for (const RowKey& key : command.keys) {
    if (key.table == 0 ? keys.Find(key.key).exists : FindRow(key, keys).exists) ++found;
  }
  return Reply::Integer(found);
}

Reply RemoveAll(const RowCommand& command, Writer& keys) {
  int64_t removed = 0;
  for (const RowKey& key : command.keys) {
    if (key.table == 0) {
      Entry entry = keys.Open(key.key);
      if (!entry.exists) continue;
      keys.Remove(entry);
    } else {
      const Row row = FindRow(key, keys);
      if (row.stored) RemoveRow(key, row, keys);
      if (!row.exists) continue;
    }
    ++removed;
  }
  return Reply::Integer(removed);
}

// An error if the row, as it is now, must not be written.
std::optional<Reply> CheckRow(const RowCommand& command, const Row& before, const Row& after,
                              const Writer& keys) {
  if (!before.exists && !command.missing.empty()) {
    return Reply::Error(
        fmt::format("ERR table '{}': column '{}' is missing: it is not nullable and has no default",
                    command.table, command.missing));
  }
  if (const size_t bytes = BytesOf(after); bytes > keys.max_value_bytes()) {
    return Reply::Error(fmt::format("ERR table '{}': the row would have {} bytes, the limit is {}",
                                    command.table, bytes, keys.max_value_bytes()));
  }
  return std::nullopt;
}

// The row as it is to be, or an error.
std::optional<Reply> Save(const RowCommand& command, const Row& before, Row after, Writer& keys) {
  if (auto error = CheckRow(command, before, after, keys)) return error;
  after.expiry_ms = command.ttl_ms == 0 ? 0 : keys.NowMillis() + command.ttl_ms;
  PutRow(command.keys[0], before, std::move(after), keys);
  return std::nullopt;
}

Reply SetColumns(const RowCommand& command, Writer& keys) {
  const RowColumns& columns = *command.columns;
  const Row before = FindRow(command.keys[0], keys);
  if (command.operation == kSetIfAbsent && Shown(before, columns[0]) != nullptr) return Reply::Integer(0);
  Row after = before;
  int64_t created = 0;
  for (size_t i = 0; i < columns.size(); ++i) {
    if (Shown(before, columns[i]) == nullptr) ++created;
    after.Set(columns[i].id, command.values[i]);
  }
  if (auto error = Save(command, before, std::move(after), keys)) return *std::move(error);
  return command.operation == kSetOk ? Reply::Ok() : Reply::Integer(created);
}

Reply EraseColumns(const RowCommand& command, Writer& keys) {
  const Row before = FindRow(command.keys[0], keys);
  if (!before.exists) return Reply::Integer(0);
  Row after = before;
  int64_t erased = 0;
  for (const RowColumn& column : *command.columns) {
    if (after.Erase(column.id)) ++erased;
  }
  if (erased == 0) return Reply::Integer(0);
  if (auto error = Save(command, before, std::move(after), keys)) return *std::move(error);
  return Reply::Integer(erased);
}

Reply AtColumn(const RowCommand& command, std::string_view what) {
  return Reply::Error(
      fmt::format("ERR table '{}': column '{}': {}", command.table, (*command.columns)[0].name, what));
}

double NumberOf(const std::string& canonical) {
  double number = 0;
  std::from_chars(canonical.data(), canonical.data() + canonical.size(), number);
  return number;
}

// Both are canonical texts of float64: the sum is the same on every machine, and so is its shortest text.
std::optional<std::string> AddFloats(const std::string& a, const std::string& b) {
  const double sum = NumberOf(a) + NumberOf(b);
  if (!std::isfinite(sum)) return std::nullopt;
  std::array<char, 32> digits;
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), sum);
  return std::string(digits.data(), end);
}

Reply Increment(const RowCommand& command, Writer& keys) {
  const RowColumn& column = (*command.columns)[0];
  const Row before = FindRow(command.keys[0], keys);
  const std::string* const shown = Shown(before, column);
  const std::string current = shown == nullptr ? "0" : *shown;
  std::string sum;
  if (command.operation == kIncrement) {
    const auto a = ParseInteger(current);
    const auto b = ParseInteger(command.values[0]);
    if (!a || !b) return AtColumn(command, "the value is not an int64");
    const auto added = AddIntegers(*a, *b);
    if (!added) return AtColumn(command, "increment or decrement would overflow");
    sum = FormatInteger(*added);
  } else {
    const auto added = AddFloats(current, command.values[0]);
    if (!added) return AtColumn(command, "increment would produce NaN or Infinity");
    sum = *added;
  }
  Row after = before;
  after.Set(column.id, sum);
  if (auto error = Save(command, before, std::move(after), keys)) return *std::move(error);
  if (command.operation == kIncrement) return Reply::Integer(*ParseInteger(sum));
  return Reply::Bulk(std::move(sum));
}

}  // namespace

Reply ReadRows(const RowCommand& command, Keyspace& keys) {
  if (command.operation == kExists) return CountExisting(command, keys);
  const Row row = FindRow(command.keys[0], keys);
  const RowColumns& columns = *command.columns;
  switch (command.operation) {
    case kGet:
      return BulkOrNull(Shown(row, columns[0]));
    case kGetMany: {
      BoundedReplies values;
      values.Reserve(columns.size());
      for (const RowColumn& column : columns) values.Add(BulkOrNull(Shown(row, column)));
      return values.Take(Reply::Kind::kArray);
    }
    case kGetAll:
    case kNames:
    case kValues:
      return ShownFields(command, row);
    case kCount:
      return Reply::Integer(std::ranges::count_if(
          columns, [&row](const RowColumn& column) { return Shown(row, column) != nullptr; }));
    case kHas:
      return Reply::Integer(Shown(row, columns[0]) != nullptr ? 1 : 0);
    case kLength: {
      const std::string* const value = Shown(row, columns[0]);
      return Reply::Integer(value == nullptr ? 0 : static_cast<int64_t>(value->size()));
    }
    case kType:
      return Reply::Simple(row.exists ? "hash" : "none");
    case kTtl:
    case kPTtl:
    case kExpireTime:
    case kPExpireTime:
      return TimeToLive(command.operation, row, keys);
    case kVersion:
      return Reply::Integer(row.exists ? static_cast<int64_t>(row.version) : 0);
    default:
      return Reply::Error("ERR a command that writes rows was given to be read");
  }
}

Reply WriteRows(const RowCommand& command, Writer& keys) {
  switch (command.operation) {
    case kSet:
    case kSetOk:
    case kSetIfAbsent:
      return SetColumns(command, keys);
    case kErase:
      return EraseColumns(command, keys);
    case kIncrement:
    case kIncrementFloat:
      return Increment(command, keys);
    case kRemove:
      return RemoveAll(command, keys);
    default:
      return ReadRows(command, keys);
  }
}

}  // namespace tenure::store
