#include "catalog/entries.h"

#include <memory>

#include "base/check.h"
#include "base/codec.h"
#include "catalog/catalog.h"
#include "catalog/keys.h"

namespace tenure::catalog {
namespace {

constexpr char kEntryFormat = 1;
constexpr size_t kMaxPageBytes = 4 << 20;

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
