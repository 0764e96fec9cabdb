#include "catalog/entries.h"

#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <memory>

#include "base/check.h"
#include "base/codec.h"
#include "catalog/catalog.h"
#include "catalog/keys.h"

namespace tenure::catalog {
namespace {

constexpr char kEntryFormat = 1;
constexpr size_t kMaxPageBytes = 4 << 20;
// Values are read whether they are asked for or not.
constexpr size_t kMaxReadBytes = 16 << 20;

// Protobuf's wire format, put together from its parts: through messages, an event costs as much as the put that
// it tells of.
// Source: https://protobuf.dev/programming-guides/encoding
using google::protobuf::io::CodedOutputStream;

constexpr uint32_t VarintTag(uint32_t field) {
  return field << 3;
}
constexpr uint32_t BytesTag(uint32_t field) {
  return field << 3 | 2;
}
constexpr size_t kTagBytes = 1;  // of fields below 16, as all here are (tests/catalog compares)

size_t VarintBytes(uint64_t value) {
  return CodedOutputStream::VarintSize64(value);
}
size_t PrefixedBytes(size_t size) {
  return kTagBytes + VarintBytes(size) + size;
}
// Each returns where what follows begins.
uint8_t* WriteNumber(uint32_t field, uint64_t value, uint8_t* to) {
  return CodedOutputStream::WriteVarint64ToArray(value,
                                                 CodedOutputStream::WriteTagToArray(VarintTag(field), to));
}
uint8_t* WritePrefix(uint32_t field, size_t bytes, uint8_t* to) {
  return CodedOutputStream::WriteVarint64ToArray(bytes,
                                                 CodedOutputStream::WriteTagToArray(BytesTag(field), to));
}
uint8_t* WriteBytes(std::string_view bytes, uint8_t* to) {
  return std::copy(bytes.begin(), bytes.end(), to);
}

// A pb::Record with an entry.
struct WireRecord {
  WireRecord(std::string_view entry_key, const EntryHead& entry_head) : key(entry_key), head(entry_head) {
    entry_bytes =
        PrefixedBytes(key.size()) + PrefixedBytes(head.value.size()) + kTagBytes + VarintBytes(head.version);
    bytes = kTagBytes + VarintBytes(head.create_revision) + kTagBytes + VarintBytes(head.modify_revision) +
            PrefixedBytes(entry_bytes);
  }
  uint8_t* Write(uint8_t* to, uint8_t** key_at) const {
    to = WriteNumber(pb::Record::kCreateRevisionFieldNumber, head.create_revision, to);
    to = WriteNumber(pb::Record::kModifyRevisionFieldNumber, head.modify_revision, to);
    to = WritePrefix(pb::Record::kEntryFieldNumber, entry_bytes, to);
    to = *key_at = WritePrefix(pb::EntryRecord::kKeyFieldNumber, key.size(), to);
    to = WriteBytes(key, to);
    to = WritePrefix(pb::EntryRecord::kValueFieldNumber, head.value.size(), to);
    to = WriteBytes(head.value, to);
    return WriteNumber(pb::EntryRecord::kVersionFieldNumber, head.version, to);
  }
  std::string_view key;
  const EntryHead& head;
  size_t entry_bytes;
  size_t bytes;
};

}  // namespace

void EncodeEntry(const EntryHead& head, std::string& out) {
  out.reserve(out.size() + 24 + head.value.size());
  out.push_back(kEntryFormat);
  PutVarint(out, head.create_revision);
  PutVarint(out, head.modify_revision);
  PutVarint(out, head.version);
  out.append(head.value);
}

EntryHead DecodeEntry(std::string_view stored) {
  ByteReader reader(stored);
  const uint8_t format = reader.Byte();
  EntryHead head;
  head.create_revision = reader.Varint();
  head.modify_revision = reader.Varint();
  head.version = reader.Varint();
  head.value = reader.rest();
  TENURE_CHECK(reader.ok() && format == kEntryFormat, "a stored entry of {} bytes, format {}, cannot be read",
               stored.size(), format);
  return head;
}

void FillEntryRecord(std::string_view key, const EntryHead& head, bool keys_only, pb::Record& record) {
  record.set_create_revision(head.create_revision);
  record.set_modify_revision(head.modify_revision);
  pb::EntryRecord& entry = *record.mutable_entry();
  entry.set_key(key.data(), key.size());
  if (!keys_only) entry.set_value(head.value.data(), head.value.size());
  entry.set_version(head.version);
}

EntryEvent MakeEntryEvent(Revision revision, std::string_view key, const EntryHead* before,
                          const EntryHead* after) {
  std::optional<WireRecord> old_record;
  std::optional<WireRecord> new_record;
  size_t bytes = kTagBytes + VarintBytes(revision.value());
  if (before != nullptr) bytes += PrefixedBytes(old_record.emplace(key, *before).bytes);
  if (after != nullptr) bytes += PrefixedBytes(new_record.emplace(key, *after).bytes);

  EntryEvent event{.revision = revision.value(), .key_bytes = static_cast<uint32_t>(key.size())};
  event.message.resize(PrefixedBytes(bytes));
  auto* const begin = reinterpret_cast<uint8_t*>(event.message.data());
  uint8_t* key_at = begin;
  uint8_t* to = WritePrefix(pb::WatchResponse::kEventsFieldNumber, bytes, begin);
  to = WriteNumber(pb::Event::kRevisionFieldNumber, revision.value(), to);
  const auto write = [&](uint32_t field, const WireRecord& record) {
    to = record.Write(WritePrefix(field, record.bytes, to), &key_at);
  };
  if (old_record) write(pb::Event::kOldRecordFieldNumber, *old_record);
  if (new_record) write(pb::Event::kNewRecordFieldNumber, *new_record);
  TENURE_CHECK(to == begin + event.message.size(), "an event of {} bytes was to have {}", to - begin,
               event.message.size());
  event.key_begin = static_cast<uint32_t>(key_at - begin);
  return event;
}

std::optional<std::string> Catalog::EntryKeyOf(const ipb::CatalogCommand& command) {
  if (command.has_put_entry()) return EntryKey(command.put_entry().key());
  if (command.has_delete_entry()) return EntryKey(command.delete_entry().key());
  return std::nullopt;
}

std::optional<pb::Record> Catalog::GetEntry(std::string_view key, const kv::Reader& state) {
  const std::optional<std::string> stored = state.Get(EntryKey(key));
  if (!stored) return std::nullopt;
  std::optional<pb::Record> record(std::in_place);
  FillEntryRecord(key, DecodeEntry(*stored), false, *record);
  return record;
}

Catalog::EntryPage Catalog::ListEntries(std::string_view prefix, std::string_view after, size_t limit,
                                        bool keys_only, const kv::Reader& state) {
  const std::string lower = EntryKey(prefix);
  std::string upper = kv::PrefixEnd(lower);
  std::string start = lower;
  if (!after.empty()) start = std::max(start, EntryKey(after) + '\0');  // the first key greater than `after`
  EntryPage page;
  if (!upper.empty() && start >= upper) return page;
  const std::unique_ptr<kv::Iterator> iterator = state.NewIterator(start, upper);
  size_t bytes = 0;
  size_t read = 0;
  for (; iterator->Valid(); iterator->Next()) {
    const std::string_view key = iterator->key().substr(1);
    const EntryHead head = DecodeEntry(iterator->value());
    const size_t size = key.size() + (keys_only ? 0 : head.value.size()) + 32;
    read += iterator->value().size();
    const bool full = bytes + size > kMaxPageBytes || read > kMaxReadBytes;
    if (page.records.size() >= limit || (!page.records.empty() && full)) {
      page.next_after = page.records.back().entry().key();
      return page;
    }
    FillEntryRecord(key, head, keys_only, page.records.emplace_back());
    bytes += size;
  }
  return page;
}

}  // namespace tenure::catalog
