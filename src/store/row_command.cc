#include "store/row_command.h"

#include <array>

namespace tenure::store {
namespace {

// More than there are bytes is malformed, not allocated.
bool ReadCount(ByteReader& reader, uint64_t& count) {
  count = reader.Varint();
  return reader.ok() && count <= reader.rest().size();
}

bool DecodeColumns(ByteReader& reader, RowColumns& columns) {
  uint64_t count = 0;
  if (!ReadCount(reader, count)) return false;
  columns.reserve(count);
  for (uint64_t i = 0; i < count && reader.ok(); ++i) {
    RowColumn& column = columns.emplace_back();
    column.id = static_cast<uint32_t>(reader.Varint());
    column.name = reader.Prefixed();
    const uint8_t has_fallback = reader.Byte();
    if (has_fallback > 1) return false;
    if (has_fallback == 1) column.fallback = std::string(reader.Prefixed());
  }
  return reader.ok();
}

// What execution relies on.
bool IsWhole(const RowCommand& command) {
  using enum RowOperation;
  const size_t columns = command.columns->size();
  const size_t values = command.values.size();
  switch (command.operation) {
    case kSet:
    case kSetOk:
      return command.keys.size() == 1 && columns > 0 && values == columns;
    case kSetIfAbsent:
    case kIncrement:
    case kIncrementFloat:
      return command.keys.size() == 1 && columns == 1 && values == 1;
    case kGet:
    case kHas:
    case kLength:
      return command.keys.size() == 1 && columns == 1 && values == 0;
    case kRemove:
    case kExists:
      return !command.keys.empty() && values == 0;
    case kErase:
    case kGetMany:
    case kGetAll:
    case kNames:
    case kValues:
    case kCount:
    case kType:
    case kTtl:
    case kPTtl:
    case kExpireTime:
    case kPExpireTime:
    case kVersion:
      return command.keys.size() == 1 && values == 0;
  }
  return false;
}

}  // namespace

std::string_view NameOf(RowOperation operation) {
  constexpr std::array<std::string_view, 23> kNames = {
      "unknown",      "set",    "set-ok",   "set-if-absent", "erase", "increment", "increment-float",
      "remove",       "get",    "get-many", "get-all",       "names", "values",    "count",
      "has",          "length", "exists",   "type",          "ttl",   "pttl",      "expire-time",
      "pexpire-time", "version"};
  const auto number = static_cast<size_t>(operation);
  return kNames[number < kNames.size() ? number : 0];
}

bool IsWrite(RowOperation operation) {
  return operation <= RowOperation::kRemove;
}

void EncodeRowKey(const RowKey& key, std::string& out) {
  PutVarint(out, key.table);
  PutVarint(out, key.version);
  PutBigEndian16(out, key.slot);
  PutPrefixed(out, key.key);
}

RowKey DecodeRowKey(ByteReader& reader) {
  RowKey key;
  key.table = reader.Varint();
  key.version = reader.Varint();
  const std::string_view slot = reader.Raw(2);
  if (reader.ok()) key.slot = GetBigEndian16(slot.data());
  key.key = reader.Prefixed();
  return key;
}

void EncodeRowCommand(const RowCommand& command, std::string& out) {
  out.push_back(static_cast<char>(command.operation));
  PutVarint(out, command.keys.size());
  for (const RowKey& key : command.keys) EncodeRowKey(key, out);
  PutPrefixed(out, command.table);
  PutVarint(out, static_cast<uint64_t>(command.ttl_ms));
  PutVarint(out, command.columns->size());
  for (const RowColumn& column : *command.columns) {
    PutVarint(out, column.id);
    PutPrefixed(out, column.name);
    out.push_back(column.fallback ? 1 : 0);
    if (column.fallback) PutPrefixed(out, *column.fallback);
  }
  PutVarint(out, command.values.size());
  for (const std::string& value : command.values) PutPrefixed(out, value);
  PutPrefixed(out, command.missing);
}

bool DecodeRowCommand(ByteReader& reader, RowCommand& command) {
  command.operation = static_cast<RowOperation>(reader.Byte());
  uint64_t count = 0;
  if (!ReadCount(reader, count)) return false;
  for (uint64_t i = 0; i < count && reader.ok(); ++i) command.keys.push_back(DecodeRowKey(reader));
  command.table = reader.Prefixed();
  command.ttl_ms = static_cast<int64_t>(reader.Varint());
  auto columns = std::make_shared<RowColumns>();
  if (!DecodeColumns(reader, *columns)) return false;
  command.columns = std::move(columns);
  if (!ReadCount(reader, count)) return false;
  for (uint64_t i = 0; i < count && reader.ok(); ++i) command.values.emplace_back(reader.Prefixed());
  command.missing = reader.Prefixed();
  return reader.ok() && command.ttl_ms >= 0 && IsWhole(command);
}

}  // namespace tenure::store
