// A command on rows in the form in which it is executed: checked against the schema, with ids of columns,
// canonical values, and whatever of the schema the execution needs. It is made from what the client sent
// (row_plan.h) where the schema is known; the region's log carries it, so that replicas need to know no
// schema.
//
// Threading:  values, pure functions.
// Reference:  docs/store-format.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/codec.h"
#include "store/reply.h"
#include "store/row_state.h"

namespace tenure::store {

// Numbers are part of the log's format.
enum class RowOperation : uint8_t {
  kSet = 1,             // HSET; the columns get the values
  kSetOk = 2,           // HMSET
  kSetIfAbsent = 3,     // HSETNX
  kErase = 4,           // HDEL
  kIncrement = 5,       // HINCRBY, by the value
  kIncrementFloat = 6,  // HINCRBYFLOAT
  kRemove = 7,          // DEL, of several keys
  kGet = 8,             // HGET
  kGetMany = 9,         // HMGET
  kGetAll = 10,         // HGETALL: what the columns show
  kNames = 11,          // HKEYS
  kValues = 12,         // HVALS
  kCount = 13,          // HLEN
  kHas = 14,            // HEXISTS
  kLength = 15,         // HSTRLEN
  kExists = 16,         // EXISTS, of several keys
  kType = 17,
  kTtl = 18,
  kPTtl = 19,
  kExpireTime = 20,
  kPExpireTime = 21,
  kVersion = 22,  // for WATCH
};
std::string_view NameOf(RowOperation operation);  // "set", for people
bool IsWrite(RowOperation operation);

struct RowColumn {
  uint32_t id = 0;
  std::string name;                     // as it is shown
  std::optional<std::string> fallback;  // shown where there is no value
  friend bool operator==(const RowColumn&, const RowColumn&) = default;
};
using RowColumns = std::vector<RowColumn>;

struct RowCommand {
  RowOperation operation = RowOperation::kExists;
  std::vector<RowKey> keys;  // one, but for kRemove and kExists, which may have plain keys among them
  std::string table;         // its name, for messages
  int64_t ttl_ms = 0;        // of a row that is written; 0: it does not expire
  std::shared_ptr<const RowColumns> columns;  // never null after planning or decoding
  std::vector<std::string> values;  // kSet..kSetIfAbsent: of the columns; kIncrement..: the increment
  std::string missing;  // a column that a new row must have and does not get; empty: there is none
};

// All of them in one slot; CROSSSLOT is the caller's to check.
inline uint16_t SlotOf(const RowCommand& command) {
  return command.keys.front().slot;
}

void EncodeRowKey(const RowKey& key, std::string& out);
RowKey DecodeRowKey(ByteReader& reader);
void EncodeRowCommand(const RowCommand& command, std::string& out);
// False: malformed.
bool DecodeRowCommand(ByteReader& reader, RowCommand& command);

// What a command does. An error changes nothing. Slots and versions are the caller's to check.
Reply ReadRows(const RowCommand& command, Keyspace& keys);
Reply WriteRows(const RowCommand& command, Writer& keys);

}  // namespace tenure::store
