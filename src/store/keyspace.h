// A region's keys as one command sees them: Keyspace to read, Writer to change. They know where things lie,
// when they expire, and keep counters and expiry index in step; what a command means stands in *_commands.cc.
//
// One is made for each read or apply and dropped after it. An Entry is valid until its key is opened again.
// Threading: one owner.
// Time: taken from the command when first needed, never less than the newest that mattered before (S4). A
//       command that neither meets an expiry nor makes one leaves the newest time alone, which saves a write
//       of `m`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/ids.h"
#include "base/time.h"
#include "kv/kv.h"
#include "store/change_log.h"
#include "store/layout.h"

namespace tenure::store {

// A key and what the store held for it when it was opened. Refers to the key's bytes.
struct Entry {
  std::string_view key;
  uint16_t slot = 0;
  std::string record_key;
  bool exists = false;
  RecordHeader header;  // if it exists
  std::string record;   // encoded, if it exists

  bool IsString() const { return exists && header.type == ValueType::kString; }
  bool IsHash() const { return exists && header.type == ValueType::kHash; }
  // Of a string.
  std::string_view content() const { return std::string_view(record).substr(header.size); }
  std::string TakeContent() {
    record.erase(0, header.size);
    return std::move(record);
  }
};

class Keyspace {
 public:
  Keyspace(const kv::Reader& state, WallTime now) : state_(state), command_ms_(ToMillis(now)) {}
  Keyspace(const Keyspace&) = delete;
  Keyspace& operator=(const Keyspace&) = delete;

  int64_t NowMillis();
  // Does not exist if it is not there or expired.
  Entry Find(std::string_view key);
  bool IsExpired(const RecordHeader& header) {
    return header.expiry_ms != 0 && header.expiry_ms < NowMillis();
  }

  // For an entry that is a hash.
  std::optional<std::string> Field(const Entry& entry, std::string_view field) const;
  // visit(hash, field, value) -> bool, in the order of the fields' hashes, until it returns false.
  template <class Visitor>
  void VisitFields(const Entry& entry, uint32_t from_hash, Visitor visit) const;

  const Counters& counters();
  const kv::Reader& state() const { return state_; }

 protected:
  static std::string FieldKey(const Entry& entry, std::string_view field);
  Entry Load(std::string_view key) const;
  Counters& MutableCounters();
  bool CountersChanged() const { return counters_ && *counters_ != stored_counters_; }

 private:
  const kv::Reader& state_;
  int64_t command_ms_;
  std::optional<Counters> counters_;  // loaded when first needed
  Counters stored_counters_;          // as they were then
};

class Writer : public Keyspace {
 public:
  // `changes`: the region's change log, if it keeps one.
  Writer(kv::View& state, WallTime now, LogIndex index, uint64_t max_value_bytes,
         ChangeWriter* changes = nullptr)
      : Keyspace(state, now),
        view_(state),
        version_(index.value()),
        max_value_bytes_(max_value_bytes),
        changes_(changes) {}

  // As Find, but a key that has expired is removed.
  Entry Open(std::string_view key);

  // Replaces whatever the entry holds. `expiry_ms` 0: never.
  void SetString(Entry& entry, std::string_view content, int64_t expiry_ms);
  // Requires that it exists.
  void SetExpiry(Entry& entry, int64_t expiry_ms);
  void Remove(Entry& entry);

  // Requires a hash, or nothing (then it becomes one). SaveHash must follow the last change of an entry's
  // fields. True if the field is new.
  bool PutField(Entry& entry, std::string_view field, std::string_view value);
  // True if the field was there.
  bool DeleteField(Entry& entry, std::string_view field);
  // Writes the record; removes a hash that has no fields left.
  void SaveHash(Entry& entry);

  uint64_t max_value_bytes() const { return max_value_bytes_; }
  // For rows, which lie beside the keys (row_state.h).
  kv::View& view() { return view_; }
  uint64_t version() const { return version_; }
  ChangeWriter* changes() { return changes_; }  // null: none is kept
  // Writes the counters if they changed. Once, at the end.
  void Finish();

 private:
  void PutRecord(Entry& entry, std::string_view content);
  void RemoveFields(const Entry& entry);
  void MoveExpiry(const Entry& entry, int64_t from_ms, int64_t to_ms);
  void CountKey(int64_t change);
  ChangeRecord ChangeOf(const Entry& entry, ChangeRecord::Kind kind) const;

  kv::View& view_;
  uint64_t version_;
  uint64_t max_value_bytes_;
  ChangeWriter* changes_;
  std::vector<ChangeRecord::Field> changed_fields_;  // since the last SaveHash
  std::string buffer_;                               // of PutRecord
};

template <class Visitor>
void Keyspace::VisitFields(const Entry& entry, uint32_t from_hash, Visitor visit) const {
  const std::string prefix = FieldsPrefix(entry.slot, entry.key);
  std::string lower = prefix;
  if (from_hash != 0) AppendHash(lower, from_hash);
  const auto iterator = state_.NewIterator(lower, kv::PrefixEnd(prefix));
  for (; iterator->Valid(); iterator->Next()) {
    const std::string_view field_key = iterator->key();
    const uint32_t hash = HashInFieldKey(field_key, prefix.size());
    if (!visit(hash, FieldOfFieldKey(field_key, prefix.size()), iterator->value())) return;
  }
}

}  // namespace tenure::store
