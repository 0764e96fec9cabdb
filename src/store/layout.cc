#include "store/layout.h"

#include <array>

#include "base/check.h"
#include "base/codec.h"
#include "base/hash.h"

namespace tenure::store {
namespace {

constexpr uint8_t kTypeMask = 0x0f;
constexpr uint8_t kHasExpiry = 0x80;
constexpr size_t kExpiryBytes = 8;
constexpr size_t kHashBytes = 4;
constexpr size_t kTableBytes = 8;
constexpr size_t kRowKeyBytes = 1 + kTableBytes + kSlotBytes;                       // and the row's key
constexpr size_t kRowExpiryKeyBytes = 1 + kTableBytes + kExpiryBytes + kSlotBytes;  // and the row's key

void AppendBigEndian32(std::string& out, uint32_t value) {
  const std::array<char, 4> bytes{static_cast<char>(value >> 24), static_cast<char>(value >> 16),
                                  static_cast<char>(value >> 8), static_cast<char>(value)};
  out.append(bytes.data(), bytes.size());
}

uint32_t ReadBigEndian32(const char* bytes) {
  return (static_cast<uint32_t>(GetBigEndian16(bytes)) << 16) | GetBigEndian16(bytes + 2);
}

std::string WithTable(char prefix, uint64_t table) {
  std::string out(1, prefix);
  PutBigEndian64(out, table);
  return out;
}

}  // namespace

std::string RecordKey(uint16_t slot, std::string_view key) {
  std::string out;
  out.reserve(1 + kSlotBytes + key.size());
  out.push_back(kRecordPrefix);
  PutBigEndian16(out, slot);
  out.append(key);
  return out;
}

std::string SlotPrefix(uint16_t slot) {
  return RecordKey(slot, {});
}

std::string_view KeyOfRecordKey(std::string_view record_key) {
  TENURE_CHECK(record_key.size() >= 1 + kSlotBytes, "a record key has {} bytes", record_key.size());
  return record_key.substr(1 + kSlotBytes);
}

uint16_t SlotOfRecordKey(std::string_view record_key) {
  TENURE_CHECK(record_key.size() >= 1 + kSlotBytes, "a record key has {} bytes", record_key.size());
  return GetBigEndian16(record_key.data() + 1);
}

std::string SlotFieldsPrefix(uint16_t slot) {
  std::string out(1, kFieldPrefix);
  PutBigEndian16(out, slot);
  return out;
}

std::string FieldsPrefix(uint16_t slot, std::string_view key) {
  std::string out;
  out.reserve(1 + kSlotBytes + 4 + key.size() + kHashBytes + 32);  // room for a field of common length
  out.push_back(kFieldPrefix);
  PutBigEndian16(out, slot);
  AppendBigEndian32(out, static_cast<uint32_t>(key.size()));
  out.append(key);
  return out;
}

uint32_t HashOfField(std::string_view field) {
  return static_cast<uint32_t>(HashBytes(field) >> 32);
}

void AppendField(std::string& fields_prefix, std::string_view field) {
  AppendHash(fields_prefix, HashOfField(field));
  fields_prefix.append(field);
}

void AppendHash(std::string& fields_prefix, uint32_t hash) {
  AppendBigEndian32(fields_prefix, hash);
}

uint32_t HashInFieldKey(std::string_view field_key, size_t prefix_size) {
  TENURE_CHECK(field_key.size() >= prefix_size + kHashBytes, "a field key has {} bytes", field_key.size());
  return ReadBigEndian32(field_key.data() + prefix_size);
}

std::string_view FieldOfFieldKey(std::string_view field_key, size_t prefix_size) {
  TENURE_CHECK(field_key.size() >= prefix_size + kHashBytes, "a field key has {} bytes", field_key.size());
  return field_key.substr(prefix_size + kHashBytes);
}

std::string SchemaKey(uint64_t table) {
  return WithTable(kSchemaPrefix, table);
}
std::string RowsPrefix(uint64_t table) {
#ifdef TENURE_MUTANT_row_of_old_table
  table = 0;
#endif
  return WithTable(kRowPrefix, table);
}
std::string RowCountKey(uint64_t table) {
  return WithTable(kRowCountPrefix, table);
}
std::string RowExpiriesPrefix(uint64_t table) {
  return WithTable(kRowExpiryPrefix, table);
}

uint64_t TableOfKey(std::string_view key) {
  TENURE_CHECK(key.size() >= 1 + kTableBytes, "a key with a table has {} bytes", key.size());
  return GetBigEndian64(key.data() + 1);
}

std::string RowStateKey(uint64_t table, uint16_t slot, std::string_view key) {
  std::string out = RowsPrefix(table);
  PutBigEndian16(out, slot);
  return out.append(key);
}

uint16_t SlotOfRowStateKey(std::string_view row_key) {
  TENURE_CHECK(row_key.size() >= kRowKeyBytes, "a row's key has {} bytes", row_key.size());
  return GetBigEndian16(row_key.data() + kRowKeyBytes - kSlotBytes);
}

std::string_view KeyOfRowStateKey(std::string_view row_key) {
  TENURE_CHECK(row_key.size() >= kRowKeyBytes, "a row's key has {} bytes", row_key.size());
  return row_key.substr(kRowKeyBytes);
}

std::string RowExpiryKey(uint64_t table, int64_t expiry_ms, uint16_t slot, std::string_view key) {
  TENURE_CHECK(expiry_ms >= 0, "expiry {} is before the epoch: its bytes would not be in order", expiry_ms);
  std::string out = RowExpiriesPrefix(table);
  PutBigEndian64(out, static_cast<uint64_t>(expiry_ms));
  PutBigEndian16(out, slot);
  return out.append(key);
}

int64_t ExpiryOfRowExpiryKey(std::string_view expiry_key) {
  TENURE_CHECK(expiry_key.size() >= kRowExpiryKeyBytes, "a row's expiry key has {} bytes", expiry_key.size());
  return static_cast<int64_t>(GetBigEndian64(expiry_key.data() + 1 + kTableBytes));
}

uint16_t SlotOfRowExpiryKey(std::string_view expiry_key) {
  TENURE_CHECK(expiry_key.size() >= kRowExpiryKeyBytes, "a row's expiry key has {} bytes", expiry_key.size());
  return GetBigEndian16(expiry_key.data() + kRowExpiryKeyBytes - kSlotBytes);
}

std::string_view KeyOfRowExpiryKey(std::string_view expiry_key) {
  TENURE_CHECK(expiry_key.size() >= kRowExpiryKeyBytes, "a row's expiry key has {} bytes", expiry_key.size());
  return expiry_key.substr(kRowExpiryKeyBytes);
}

std::string ExpiryKey(int64_t expiry_ms, uint16_t slot, std::string_view key) {
  TENURE_CHECK(expiry_ms >= 0, "expiry {} is before the epoch: its bytes would not be in order", expiry_ms);
  std::string out;
  out.reserve(1 + kExpiryBytes + kSlotBytes + key.size());
  out.push_back(kExpiryPrefix);
  PutBigEndian64(out, static_cast<uint64_t>(expiry_ms));
  PutBigEndian16(out, slot);
  out.append(key);
  return out;
}

int64_t ExpiryOfExpiryKey(std::string_view expiry_key) {
  TENURE_CHECK(expiry_key.size() >= 1 + kExpiryBytes + kSlotBytes, "an expiry key has {} bytes",
               expiry_key.size());
  return static_cast<int64_t>(GetBigEndian64(expiry_key.data() + 1));
}

std::string_view KeyOfExpiryKey(std::string_view expiry_key) {
  TENURE_CHECK(expiry_key.size() >= 1 + kExpiryBytes + kSlotBytes, "an expiry key has {} bytes",
               expiry_key.size());
  return expiry_key.substr(1 + kExpiryBytes + kSlotBytes);
}

std::string_view NameOf(ValueType type) {
  return type == ValueType::kString ? "string" : "hash";
}

void EncodeRecord(const RecordHeader& header, std::string_view content, std::string& out) {
  out.clear();
  out.reserve(1 + 3 * 10 + content.size());
  const uint8_t type = static_cast<uint8_t>(header.type);
  out.push_back(static_cast<char>(header.expiry_ms != 0 ? type | kHasExpiry : type));
  PutVarint(out, header.version);
  if (header.expiry_ms != 0) PutVarint(out, static_cast<uint64_t>(header.expiry_ms));
  if (header.type == ValueType::kHash) {
    PutVarint(out, header.fields);
  } else {
    out.append(content);
  }
}

RecordHeader DecodeRecordHeader(std::string_view record) {
  ByteReader reader(record);
  RecordHeader header;
  const uint8_t tag = reader.Byte();
  const uint8_t type = tag & kTypeMask;
  header.type = static_cast<ValueType>(type);
  header.version = reader.Varint();
  if ((tag & kHasExpiry) != 0) header.expiry_ms = static_cast<int64_t>(reader.Varint());
  if (header.type == ValueType::kHash) header.fields = reader.Varint();
  TENURE_CHECK(reader.ok() && (tag & ~(kTypeMask | kHasExpiry)) == 0 && (type == 1 || type == 2),
               "a value record of {} bytes begins with {}: damaged, or of a newer version", record.size(),
               tag);
  header.size = record.size() - reader.rest().size();
  return header;
}

std::string EncodeCounters(const Counters& counters) {
  std::string out;
  PutVarint(out, counters.keys);
  PutVarint(out, static_cast<uint64_t>(counters.newest_ms));
  return out;
}

Counters DecodeCounters(std::string_view encoded) {
  ByteReader reader(encoded);
  Counters counters;
  counters.keys = reader.Varint();
  counters.newest_ms = static_cast<int64_t>(reader.Varint());
  TENURE_CHECK(reader.ok(), "the region's counters are damaged ({} bytes)", encoded.size());
  return counters;
}

}  // namespace tenure::store
