#include "catalog/entries.h"

#include <bit>
#include <memory>

#include "base/check.h"
#include "base/codec.h"
#include "catalog/catalog.h"
#include "catalog/keys.h"

namespace tenure::catalog {
namespace {

constexpr char kEntryFormat = 1;
constexpr size_t kMaxPageBytes = 4 << 20;

// Protobuf's wire format, by hand: through messages, an event costs as much as the put that it tells of.
// Source: https://protobuf.dev/programming-guides/encoding
constexpr uint32_t VarintField(uint32_t number) {
  return number << 3;
}
constexpr uint32_t BytesField(uint32_t number) {
  return number << 3 | 2;
}
constexpr size_t kTagBytes = 1;  // of fields below 16, as all here are (tests/catalog compares)

size_t VarintBytes(uint64_t value) {
  return static_cast<size_t>(std::bit_width(value | 1) + 6) / 7;
}
size_t PrefixedBytes(size_t size) {
  return kTagBytes + VarintBytes(size) + size;
}
void PutTag(std::string& out, uint32_t tag) {
  out.push_back(static_cast<char>(tag));
}
void PutNumber(std::string& out, uint32_t field, uint64_t value) {
  PutTag(out, VarintField(field));
  PutVarint(out, value);
}

// A pb::Record with an entry.
struct WireRecord {
  WireRecord(std::string_view entry_key, const EntryHead& entry_head) : key(entry_key), head(entry_head) {
    entry_bytes =
        PrefixedBytes(key.size()) + PrefixedBytes(head.value.size()) + kTagBytes + VarintBytes(head.version);
    bytes = kTagBytes + VarintBytes(head.create_revision) + kTagBytes + VarintBytes(head.modify_revision) +
            PrefixedBytes(entry_bytes);
  }
  // Returns where the key begins.
  size_t AppendTo(std::string& out) const {
    PutNumber(out, pb::Record::kCreateRevisionFieldNumber, head.create_revision);
    PutNumber(out, pb::Record::kModifyRevisionFieldNumber, head.modify_revision);
    PutTag(out, BytesField(pb::Record::kEntryFieldNumber));
    PutVarint(out, entry_bytes);
    PutTag(out, BytesField(pb::EntryRecord::kKeyFieldNumber));
    PutPrefixed(out, key);
    const size_t key_begin = out.size() - key.size();
    PutTag(out, BytesField(pb::EntryRecord::kValueFieldNumber));
    PutPrefixed(out, head.value);
    PutNumber(out, pb::EntryRecord::kVersionFieldNumber, head.version);
    return key_begin;
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
  std::string& out = event.message;
  out.reserve(PrefixedBytes(bytes));
  PutTag(out, BytesField(pb::WatchResponse::kEventsFieldNumber));
  PutVarint(out, bytes);
  PutNumber(out, pb::Event::kRevisionFieldNumber, revision.value());
  const auto append = [&](uint32_t field, const WireRecord& record) {
    PutTag(out, BytesField(field));
    PutVarint(out, record.bytes);
    event.key_begin = static_cast<uint32_t>(record.AppendTo(out));
  };
  if (old_record) append(pb::Event::kOldRecordFieldNumber, *old_record);
  if (new_record) append(pb::Event::kNewRecordFieldNumber, *new_record);
  TENURE_CHECK(out.size() == PrefixedBytes(bytes), "an event of {} bytes was to have {}", out.size(), bytes);
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
  for (; iterator->Valid(); iterator->Next()) {
    const std::string_view key = iterator->key().substr(1);
    const EntryHead head = DecodeEntry(iterator->value());
    const size_t size = key.size() + (keys_only ? 0 : head.value.size()) + 32;
    if (page.records.size() >= limit || (!page.records.empty() && bytes + size > kMaxPageBytes)) {
      page.next_after = page.records.back().entry().key();
      return page;
    }
    FillEntryRecord(key, head, keys_only, page.records.emplace_back());
    bytes += size;
  }
  return page;
}

}  // namespace tenure::catalog
