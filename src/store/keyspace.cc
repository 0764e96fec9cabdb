#include "store/keyspace.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/hash.h"

namespace tenure::store {
namespace {

// Up to so many fields are deleted one by one. A range tombstone costs every later read of the memtables it
// is in, one that is remade with each further tombstone; a point deletion costs its own write only, but the
// fields have to be read to be named. Hashes are mostly small, so mostly no range tombstone is made.
constexpr uint64_t kFewFields = 64;

}  // namespace

const Counters& Keyspace::counters() {
  return MutableCounters();
}

Counters& Keyspace::MutableCounters() {
  if (!counters_) {
    const auto encoded = state_.Get(std::string_view(&kCountersPrefix, 1));
    if (encoded) stored_counters_ = DecodeCounters(*encoded);
    counters_ = stored_counters_;
  }
  return *counters_;
}

int64_t Keyspace::NowMillis() {
#ifdef TENURE_MUTANT_apply_uses_stale_time
  return command_ms_;
#else
  Counters& counters = MutableCounters();
  counters.newest_ms = std::max(counters.newest_ms, command_ms_);
  return counters.newest_ms;
#endif
}

Entry Keyspace::Load(std::string_view key) const {
  Entry entry;
  entry.key = key;
  entry.slot = SlotOfKey(key);
  entry.record_key = RecordKey(entry.slot, key);
  if (auto record = state_.Get(entry.record_key)) {
    entry.exists = true;
    entry.header = DecodeRecordHeader(*record);
    entry.record = std::move(*record);
  }
  return entry;
}

Entry Keyspace::Find(std::string_view key) {
  Entry entry = Load(key);
  if (entry.exists && IsExpired(entry.header)) entry.exists = false;
  return entry;
}

std::string Keyspace::FieldKey(const Entry& entry, std::string_view field) {
  std::string field_key = FieldsPrefix(entry.slot, entry.key);
  AppendField(field_key, field);
  return field_key;
}

std::optional<std::string> Keyspace::Field(const Entry& entry, std::string_view field) const {
  return state_.Get(FieldKey(entry, field));
}

Entry Writer::Open(std::string_view key) {
  Entry entry = Load(key);
  if (entry.exists && IsExpired(entry.header)) Remove(entry);
  return entry;
}

void Writer::SetString(Entry& entry, std::string_view content, int64_t expiry_ms) {
  if (entry.IsHash()) RemoveFields(entry);
  MoveExpiry(entry, entry.exists ? entry.header.expiry_ms : 0, expiry_ms);
  entry.header.type = ValueType::kString;
  entry.header.expiry_ms = expiry_ms;
  entry.header.fields = 0;
  PutRecord(entry, content);
  if (changes_ == nullptr) return;
  ChangeRecord change = ChangeOf(entry, ChangeRecord::Kind::kPut);
  change.new_value = content;
  changes_->Append(std::move(change));
}

ChangeRecord Writer::ChangeOf(const Entry& entry, ChangeRecord::Kind kind) const {
  return {.kind = kind, .slot = entry.slot, .key = std::string(entry.key)};
}

void Writer::SetExpiry(Entry& entry, int64_t expiry_ms) {
  TENURE_CHECK(entry.exists, "an expiry is set on an absent key");
  MoveExpiry(entry, entry.header.expiry_ms, expiry_ms);
  const size_t content_at = entry.header.size;
  entry.header.expiry_ms = expiry_ms;
  PutRecord(entry, std::string_view(entry.record).substr(content_at));
}

void Writer::Remove(Entry& entry) {
  TENURE_CHECK(entry.exists, "an absent key is removed");
  if (entry.IsHash()) RemoveFields(entry);
  MoveExpiry(entry, entry.header.expiry_ms, 0);
  view_.Delete(entry.record_key);
  CountKey(-1);
#ifndef TENURE_MUTANT_removal_not_logged
  if (changes_ != nullptr) changes_->Append(ChangeOf(entry, ChangeRecord::Kind::kDelete));
#endif
  changed_fields_.clear();
  entry.exists = false;
  entry.header = {};
}

bool Writer::PutField(Entry& entry, std::string_view field, std::string_view value) {
  if (!entry.exists && entry.header.fields == 0) entry.header = {.type = ValueType::kHash};
  TENURE_CHECK(entry.header.type == ValueType::kHash, "a field is put into a string");
  const std::string field_key = FieldKey(entry, field);
  // The first field of a new hash needs no look (S3).
  const bool is_new = entry.header.fields == 0 || !state().Get(field_key).has_value();
  view_.Put(field_key, value);
  if (is_new) ++entry.header.fields;
  if (changes_ != nullptr) changed_fields_.emplace_back(field, std::string(value));
  return is_new;
}

bool Writer::DeleteField(Entry& entry, std::string_view field) {
  const std::string field_key = FieldKey(entry, field);
  if (entry.header.fields == 0 || !state().Get(field_key).has_value()) return false;
  view_.Delete(field_key);
  --entry.header.fields;
  if (changes_ != nullptr) changed_fields_.emplace_back(field, std::nullopt);
  return true;
}

void Writer::SaveHash(Entry& entry) {
  if (entry.header.fields == 0) {
    Remove(entry);
    return;
  }
  PutRecord(entry, {});
  if (changes_ == nullptr || changed_fields_.empty()) return;
  ChangeRecord change = ChangeOf(entry, ChangeRecord::Kind::kPut);
  change.fields = std::exchange(changed_fields_, {});
  changes_->Append(std::move(change));
}

void Writer::PutRecord(Entry& entry, std::string_view content) {
  if (!entry.exists) CountKey(+1);
  entry.exists = true;
  entry.header.version = version_;
  EncodeRecord(entry.header, content, buffer_);
  view_.Put(entry.record_key, buffer_);
}

void Writer::RemoveFields(const Entry& entry) {
  if (entry.header.fields == 0) return;
  const std::string prefix = FieldsPrefix(entry.slot, entry.key);
  if (entry.header.fields > kFewFields) {
    view_.DeleteRange(prefix, kv::PrefixEnd(prefix));
    return;
  }
  // First read, then write: an iterator does not promise what it shows of later writes.
  std::vector<std::string> field_keys;
  field_keys.reserve(entry.header.fields);
  const auto iterator = state().NewIterator(prefix, kv::PrefixEnd(prefix));
  for (; iterator->Valid(); iterator->Next()) field_keys.emplace_back(iterator->key());
  TENURE_CHECK(field_keys.size() == entry.header.fields, "S3: a hash has {} fields, its record says {}",
               field_keys.size(), entry.header.fields);
  for (const std::string& field_key : field_keys) view_.Delete(field_key);
}

void Writer::MoveExpiry(const Entry& entry, int64_t from_ms, int64_t to_ms) {
  if (from_ms == to_ms) return;
  if (from_ms != 0) view_.Delete(ExpiryKey(from_ms, entry.slot, entry.key));
  if (to_ms != 0) view_.Put(ExpiryKey(to_ms, entry.slot, entry.key), {});
}

void Writer::CountKey(int64_t change) {
  Counters& counters = MutableCounters();
  TENURE_CHECK(change > 0 || counters.keys > 0, "S1: a key is removed and none was counted");
  counters.keys += static_cast<uint64_t>(change);
}

void Writer::Finish() {
  if (CountersChanged()) view_.Put(std::string_view(&kCountersPrefix, 1), EncodeCounters(counters()));
}

}  // namespace tenure::store
