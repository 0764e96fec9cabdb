#include "store/change_log.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/codec.h"
#include "store/layout.h"
#include "store/row_state.h"
#include "store/schema_state.h"

namespace tenure::store {
namespace {

constexpr uint8_t kStateFormat = 1;
constexpr uint8_t kRecordFormat = 1;
constexpr uint8_t kHasOld = 1;
constexpr uint8_t kHasNew = 2;
// A log over its budget gives up old records a few at a time, with each new one.
constexpr int kTrimPerAppend = 16;
// Beyond that a time is no time; what is left of the 46 bits is for counters that run ahead.
constexpr int64_t kMaxMillis = int64_t{1} << 45;

std::string EncodeState(const ChangeLogState& log) {
  std::string out(1, static_cast<char>(kStateFormat));
  out.push_back(log.keeps ? 1 : 0);
  for (const uint64_t number : {log.last_ts, log.begin_ts, log.max_bytes, log.bytes_total, log.bytes_gone,
                                log.incarnation, log.revision}) {
    PutVarint(out, number);
  }
  return out;
}

uint64_t TimestampOfKey(std::string_view key) {
  TENURE_CHECK(key.size() == 9, "a key of the change log has {} bytes", key.size());
  return GetBigEndian64(key.data() + 1);
}

std::unique_ptr<kv::Iterator> LogAfter(const kv::Reader& state, uint64_t after) {
  return state.NewIterator(ChangeKey(after + 1), kv::PrefixEnd(std::string_view(&kChangePrefix, 1)));
}

}  // namespace

std::string ChangeKey(uint64_t ts) {
  std::string key(1, kChangePrefix);
  PutBigEndian64(key, ts);
  return key;
}

std::string EncodeSlots(const SlotRange& slots) {
  std::string encoded;
  PutBigEndian16(encoded, slots.first);
  PutBigEndian16(encoded, slots.last);
  return encoded;
}

SlotRange DecodeSlots(std::string_view encoded) {
  TENURE_CHECK(encoded.size() == 4, "slots of a change have {} bytes", encoded.size());
  return {GetBigEndian16(encoded.data()), GetBigEndian16(encoded.data() + 2)};
}

std::string EncodeChange(const ChangeRecord& record) {
  std::string out(1, static_cast<char>(kRecordFormat));
  out.push_back(static_cast<char>(record.kind));
  out.push_back(static_cast<char>((record.old_value ? kHasOld : 0) | (record.new_value ? kHasNew : 0)));
  PutVarint(out, record.bytes_before);
  PutVarint(out, record.index);
  PutVarint(out, record.ordinal);
  PutVarint(out, record.table);
  PutVarint(out, record.schema_version);
  PutBigEndian16(out, record.slot);
  PutPrefixed(out, record.key);
  if (record.old_value) PutPrefixed(out, *record.old_value);
  if (record.new_value) PutPrefixed(out, *record.new_value);
  PutVarint(out, record.fields.size());
  for (const auto& [field, value] : record.fields) {
    PutPrefixed(out, field);
    out.push_back(value ? 1 : 0);
    if (value) PutPrefixed(out, *value);
  }
  return out;
}

ChangeRecord DecodeChange(std::string_view encoded) {
  ByteReader reader(encoded);
  ChangeRecord record;
  const uint8_t format = reader.Byte();
  record.kind = static_cast<ChangeRecord::Kind>(reader.Byte());
  const uint8_t parts = reader.Byte();
  record.bytes_before = reader.Varint();
  record.index = reader.Varint();
  record.ordinal = static_cast<uint32_t>(reader.Varint());
  record.table = reader.Varint();
  record.schema_version = reader.Varint();
  const std::string_view slot = reader.Raw(2);
  if (reader.ok()) record.slot = GetBigEndian16(slot.data());
  record.key = reader.Prefixed();
  if ((parts & kHasOld) != 0) record.old_value = reader.Prefixed();
  if ((parts & kHasNew) != 0) record.new_value = reader.Prefixed();
  const uint64_t fields = reader.Varint();
  for (uint64_t i = 0; i < fields && reader.ok(); ++i) {
    auto& field = record.fields.emplace_back(reader.Prefixed(), std::nullopt);
    if (reader.Byte() != 0) field.second = reader.Prefixed();
  }
  TENURE_CHECK(reader.AtEnd() && format == kRecordFormat && (parts & ~(kHasOld | kHasNew)) == 0 &&
                   record.kind >= ChangeRecord::Kind::kPut && record.kind <= ChangeRecord::Kind::kRange,
               "a change of {} bytes in format {} is damaged, or of a newer version", encoded.size(), format);
  return record;
}

ChangeLogState LoadChangeLogState(const kv::Reader& state) {
  const auto stored = state.Get(std::string_view(&kChangeLogPrefix, 1));
  if (!stored) return {};
  ByteReader reader(*stored);
  ChangeLogState log;
  const uint8_t format = reader.Byte();
  const uint8_t keeps = reader.Byte();
  log.keeps = keeps == 1;
  for (uint64_t* number : {&log.last_ts, &log.begin_ts, &log.max_bytes, &log.bytes_total, &log.bytes_gone,
                           &log.incarnation, &log.revision}) {
    *number = reader.Varint();
  }
  TENURE_CHECK(reader.AtEnd() && format == kStateFormat && keeps <= 1,
               "the state of the change log ({} bytes) is damaged, or of a newer version", stored->size());
  return log;
}

uint64_t TimestampOf(WallTime time) {
  return static_cast<uint64_t>(std::clamp<int64_t>(ToMillis(time), 0, kMaxMillis)) << kTimestampLogicalBits;
}

// ---- writing ----

ChangeWriter::ChangeWriter(ChangeLogState& log, WallTime now, LogIndex index, kv::View& state)
    : log_(log), stored_(log), command_ts_(TimestampOf(now)), index_(index.value()), state_(state) {}

uint64_t ChangeWriter::Advance(uint64_t after) {
#ifdef TENURE_MUTANT_commit_ts_of_the_clock
  log_.last_ts = std::max(command_ts_, after + 1);
#else
  log_.last_ts = std::max({command_ts_, log_.last_ts + 1, after + 1});
#endif
  return log_.last_ts;
}

uint64_t ChangeWriter::Append(ChangeRecord record) {
  NoteSchemaVersion(record);
  const uint64_t ts = Advance();
  record.index = index_;
  record.ordinal = changes_++;
  record.bytes_before = log_.bytes_total;
  const std::string encoded = EncodeChange(record);
  state_.Put(ChangeKey(ts), encoded);
  log_.bytes_total += encoded.size();
  TrimToBudget();
  return ts;
}

// Who wrote it knows a version that the region was not told of yet; from here on those who do not know it are
// refused, so that the versions in the log never go back.
void ChangeWriter::NoteSchemaVersion(const ChangeRecord& record) {
  const bool row = record.table != 0 && record.kind != ChangeRecord::Kind::kSchema;
  if (!row || record.schema_version == 0) return;
  if (FindSchemaMark(record.table, state_).version >= record.schema_version) return;
  ApplySchemaCommand({.table = record.table, .version = record.schema_version}, state_);
  Append(
      {.kind = ChangeRecord::Kind::kSchema, .table = record.table, .schema_version = record.schema_version});
}

void ChangeWriter::BeginHere() {
  Trim(log_.last_ts);
}

void ChangeWriter::KeepFromHere() {
  log_.keeps = true;
  log_.begin_ts = log_.last_ts;
  log_.max_bytes = kDefaultChangeLogBytes;
}

void ChangeWriter::Keep(const KeepChangesCommand& command) {
#ifndef TENURE_MUTANT_keep_changes_of_any_view
  if (std::pair(command.incarnation, command.revision) < std::pair(log_.incarnation, log_.revision)) return;
#endif
  log_.incarnation = command.incarnation;
  log_.revision = command.revision;
  log_.max_bytes = command.max_bytes;
  if (!command.keep) {
    if (log_.keeps) Trim(log_.last_ts);
    log_.keeps = false;
    return;
  }
  if (!log_.keeps) {
    log_.keeps = true;
    log_.begin_ts = Advance();
    return;
  }
  Trim(std::min(command.floor_ts, log_.last_ts));
}

void ChangeWriter::Trim(uint64_t floor_ts) {
  if (floor_ts <= log_.begin_ts) return;
  state_.DeleteRange(ChangeKey(log_.begin_ts), ChangeKey(floor_ts + 1));
  log_.begin_ts = floor_ts;
  const auto first = LogAfter(state_, floor_ts);
  log_.bytes_gone = first->Valid() ? DecodeChange(first->value()).bytes_before : log_.bytes_total;
}

void ChangeWriter::TrimToBudget() {
  if (log_.bytes() <= log_.max_bytes) return;
  // First read, then write: an iterator does not promise what it shows of later writes.
  std::vector<uint64_t> oldest;
  uint64_t gone = log_.bytes_gone;
  const auto records = LogAfter(state_, log_.begin_ts);
  for (int i = 0; i < kTrimPerAppend && records->Valid() && log_.bytes_total - gone > log_.max_bytes;
       ++i, records->Next()) {
    oldest.push_back(TimestampOfKey(records->key()));
    gone = DecodeChange(records->value()).bytes_before + records->value().size();
  }
  for (const uint64_t ts : oldest) state_.Delete(ChangeKey(ts));
  if (!oldest.empty()) log_.begin_ts = oldest.back();
  log_.bytes_gone = gone;
}

void ChangeWriter::Finish() {
  if (log_ != stored_) state_.Put(std::string_view(&kChangeLogPrefix, 1), EncodeState(log_));
}

// ---- reading ----

ChangeRead ReadChanges(const kv::Reader& state, uint64_t table, uint64_t after, size_t max_bytes) {
  // Of what is not of the table so much is looked at before the reader hears how far it is.
  const size_t max_looked_at = 16 * max_bytes;
  ChangeRead read;
  size_t taken = 0;
  size_t looked_at = 0;
  bool any = false;
  const auto records = LogAfter(state, after);
  for (; records->Valid(); records->Next()) {
    if (taken >= max_bytes || looked_at >= max_looked_at) return read;
    const uint64_t ts = TimestampOfKey(records->key());
    ChangeRecord record = DecodeChange(records->value());
    looked_at += records->value().size() + 1;
    read.resolved = ts;
    if (!std::exchange(any, true)) read.bytes_from = record.bytes_before;
    read.bytes_to = record.bytes_before + records->value().size();
    if (record.kind == ChangeRecord::Kind::kRange) {
      read.range_end = ts;
      return read;
    }
    if (record.table != table) continue;
    taken += records->value().size() + 1;
    read.changes.emplace_back(ts, std::move(record));
  }
  const ChangeLogState log = LoadChangeLogState(state);
  read.resolved = std::max(after, log.last_ts);
  if (!any) read.bytes_from = log.bytes_total;
  read.bytes_to = log.bytes_total;
  return read;
}

namespace {

// What lies in the state for one row or plain key, as a change that puts it.
struct Stored {
  std::string place;  // <slot:2> <key>
  ChangeRecord record;
  bool hash = false;
};

std::string PlaceOf(uint16_t slot, std::string_view key) {
  std::string place;
  PutBigEndian16(place, slot);
  place += key;
  return place;
}

// Returns how many bytes they have.
size_t AddFields(const kv::Reader& state, uint16_t slot, ChangeRecord& record) {
  const std::string prefix = FieldsPrefix(slot, record.key);
  size_t bytes = 0;
  for (const auto fields = state.NewIterator(prefix, kv::PrefixEnd(prefix)); fields->Valid();
       fields->Next()) {
    record.fields.emplace_back(FieldOfFieldKey(fields->key(), prefix.size()), std::string(fields->value()));
    bytes += fields->key().size() + fields->value().size();
  }
  return bytes;
}

// The slots whose rows as of a time lie here.
struct SlotsAsOf {
  const RegionRange& range;
  uint64_t as_of = 0;
  std::vector<SlotRange> came;  // since

  bool Holds(uint16_t slot) const {
    for (const SlotRange& slots : came) {
      if (slots.Contains(slot)) return false;
    }
    const auto& gone = range.outgoing;
    return range.Serves(slot) ||
           (gone && gone->released && gone->released_ts > as_of && gone->slots.Contains(slot));
  }
};

// From `from` on about `max_bytes`; where it stopped, or nothing if that was all.
std::optional<std::string> StoredFrom(const kv::Reader& state, uint64_t table, std::string_view from,
                                      size_t max_bytes, const SlotsAsOf& slots, std::vector<Stored>& stored) {
  const std::string prefix = table == 0 ? std::string(1, kRecordPrefix) : RowsPrefix(table);
  const auto iterator = state.NewIterator(prefix + std::string(from), kv::PrefixEnd(prefix));
  size_t bytes = 0;
  for (; iterator->Valid(); iterator->Next()) {
    const std::string_view key = iterator->key();
    if (bytes >= max_bytes) return std::string(key.substr(prefix.size()));
    bytes += key.size() + iterator->value().size();
    const uint16_t slot = table == 0 ? SlotOfRecordKey(key) : SlotOfRowStateKey(key);
    if (!slots.Holds(slot)) continue;
    Stored one{.place = std::string(key.substr(prefix.size()))};
    one.record.table = table;
    one.record.slot = slot;
    if (table != 0) {
      one.record.key = KeyOfRowStateKey(key);
      one.record.new_value = iterator->value();
    } else {
      one.record.key = KeyOfRecordKey(key);
      const RecordHeader header = DecodeRecordHeader(iterator->value());
      one.hash = header.type == ValueType::kHash;
      if (one.hash) bytes += AddFields(state, slot, one.record);
      if (!one.hash) one.record.new_value = iterator->value().substr(header.size);
      one.record.index = header.version;
    }
    stored.push_back(std::move(one));
  }
  return std::nullopt;
}

}  // namespace

std::optional<RowsRead> ReadRowsAsOf(const kv::Reader& state, const RegionRange& range, uint64_t table,
                                     uint64_t as_of, std::string_view from, size_t max_bytes) {
  SlotsAsOf slots{.range = range, .as_of = as_of};
  std::vector<SlotRange> went;
  for (const auto records = LogAfter(state, as_of); records->Valid(); records->Next()) {
    const ChangeRecord change = DecodeChange(records->value());
    if (change.kind != ChangeRecord::Kind::kRange) continue;
    if (change.old_value) went.push_back(DecodeSlots(*change.old_value));
    if (!change.new_value) continue;
    const SlotRange came = DecodeSlots(*change.new_value);
    // Of those that come back, what lies here is what they came with.
    if (std::any_of(went.begin(), went.end(), [&](const SlotRange& gone) { return gone.Overlaps(came); }))
      return std::nullopt;
    slots.came.push_back(came);
  }
  // Those that went lie here only until they are cleared.
  for (const SlotRange& gone : went) {
    if (!range.outgoing || range.outgoing->slots != gone || range.outgoing->released_ts <= as_of)
      return std::nullopt;
  }
  std::vector<Stored> stored;
  const auto next = StoredFrom(state, table, from, max_bytes, slots, stored);
  // What the first change since then replaced, by place.
  std::map<std::string, std::optional<std::string>> before;
  for (const auto records = LogAfter(state, as_of); records->Valid(); records->Next()) {
    ChangeRecord change = DecodeChange(records->value());
    const bool of_rows =
        change.kind == ChangeRecord::Kind::kPut || change.kind == ChangeRecord::Kind::kDelete;
    if (!of_rows || change.table != table || !slots.Holds(change.slot)) continue;
    std::string place = PlaceOf(change.slot, change.key);
    if (place < from || (next && place >= *next)) continue;
    before.try_emplace(std::move(place), std::move(change.old_value));
  }
  std::map<std::string, ChangeRecord> rows;
  for (Stored& one : stored) {
    if (before.contains(one.place) && !one.hash) continue;
    rows.emplace(std::move(one.place), std::move(one.record));
  }
  for (auto& [place, old_value] : before) {
    if (table == 0 || !old_value) continue;
    rows[place] = {.table = table,
                   .slot = GetBigEndian16(place.data()),
                   .key = place.substr(2),
                   .new_value = std::move(old_value)};
  }
  RowsRead read;
  read.next = next.value_or("");
  for (auto& [place, row] : rows) {
    if (table != 0) row.index = DecodeRow(*row.new_value).version;
    read.rows.push_back(std::move(row));
  }
  return read;
}

}  // namespace tenure::store
