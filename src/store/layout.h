// Where things lie in a region's part of the store, and the record of a key: docs/store-format.md.
//
// Threading: pure functions.
// Errors: what was read from the store is trusted to be well formed; if it is not, the process ends (as with
//         every other unreadable state, see kv/kv.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tenure::store {

// First byte of every key.
inline constexpr size_t kSlotBytes = 2;  // of a slot's number in a key, big endian

inline constexpr char kCountersPrefix = 'm';
inline constexpr char kExpiryPrefix = 'e';
inline constexpr char kFieldPrefix = 'h';
inline constexpr char kRecordPrefix = 'k';
inline constexpr char kRangePrefix = 'r';
inline constexpr char kSchemaPrefix = 's';
inline constexpr char kRowPrefix = 't';
inline constexpr char kRowCountPrefix = 'c';
inline constexpr char kRowExpiryPrefix = 'x';
inline constexpr char kChangeLogPrefix = 'f';
inline constexpr char kChangePrefix = 'l';

std::string RecordKey(uint16_t slot, std::string_view key);
std::string SlotPrefix(uint16_t slot);
std::string_view KeyOfRecordKey(std::string_view record_key);
uint16_t SlotOfRecordKey(std::string_view record_key);

// Fields of keys in this slot.
std::string SlotFieldsPrefix(uint16_t slot);
// All fields of a key lie behind this, by hash of the field: HSCAN's cursor is such a hash.
std::string FieldsPrefix(uint16_t slot, std::string_view key);
uint32_t HashOfField(std::string_view field);
void AppendField(std::string& fields_prefix, std::string_view field);
void AppendHash(std::string& fields_prefix, uint32_t hash);
uint32_t HashInFieldKey(std::string_view field_key, size_t prefix_size);
std::string_view FieldOfFieldKey(std::string_view field_key, size_t prefix_size);

std::string ExpiryKey(int64_t expiry_ms, uint16_t slot, std::string_view key);
int64_t ExpiryOfExpiryKey(std::string_view expiry_key);
std::string_view KeyOfExpiryKey(std::string_view expiry_key);

// What the region was told of a table, all rows of it, their number, and their expiry index; ids as 8 bytes,
// big-endian.
std::string SchemaKey(uint64_t table);
std::string RowsPrefix(uint64_t table);
std::string RowCountKey(uint64_t table);
std::string RowExpiriesPrefix(uint64_t table);
// Of a key that begins with a letter and a table.
uint64_t TableOfKey(std::string_view key);

std::string RowStateKey(uint64_t table, uint16_t slot, std::string_view key);
uint16_t SlotOfRowStateKey(std::string_view row_key);
std::string_view KeyOfRowStateKey(std::string_view row_key);
std::string RowExpiryKey(uint64_t table, int64_t expiry_ms, uint16_t slot, std::string_view key);
int64_t ExpiryOfRowExpiryKey(std::string_view expiry_key);
uint16_t SlotOfRowExpiryKey(std::string_view expiry_key);
std::string_view KeyOfRowExpiryKey(std::string_view expiry_key);

enum class ValueType : uint8_t { kString = 1, kHash = 2 };
std::string_view NameOf(ValueType type);  // what TYPE answers

struct RecordHeader {
  ValueType type = ValueType::kString;
  uint64_t version = 0;   // log index of the last change
  int64_t expiry_ms = 0;  // 0: never
  uint64_t fields = 0;    // of a hash
  size_t size = 0;        // encoded; the content of a string follows
};
void EncodeRecord(const RecordHeader& header, std::string_view content, std::string& out);
RecordHeader DecodeRecordHeader(std::string_view record);

struct Counters {
  uint64_t keys = 0;
  int64_t newest_ms = 0;
  friend bool operator==(const Counters&, const Counters&) = default;
};
std::string EncodeCounters(const Counters& counters);
Counters DecodeCounters(std::string_view encoded);

}  // namespace tenure::store
