#include "store/range_copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "store/layout.h"
#include "store/row_state.h"
#include "store/schema_state.h"

namespace tenure::store {
namespace {

using Op = RangeCommand::Op;

Reply Refused(const Status& status) {
  return Reply::Error(fmt::format("ERR {}", MessageOf(status)));
}
Reply Refused(std::string_view text) {
  return Reply::Error(fmt::format("ERR {}", text));
}

std::unique_ptr<kv::Iterator> RecordsOf(const kv::Reader& state, const SlotRange& slots) {
  return state.NewIterator(SlotPrefix(slots.first), kv::PrefixEnd(SlotPrefix(slots.last)));
}

std::unique_ptr<kv::Iterator> RowsOf(uint64_t table, const kv::Reader& state, const SlotRange& slots) {
  return state.NewIterator(RowStateKey(table, slots.first, {}),
                           kv::PrefixEnd(RowStateKey(table, slots.last, {})));
}

bool HasKeys(const kv::Reader& state, const SlotRange& slots) {
  if (RecordsOf(state, slots)->Valid()) return true;
  return std::ranges::any_of(TablesWithRows(state),
                             [&](uint64_t table) { return RowsOf(table, state, slots)->Valid(); });
}

// The counters and the range, written together with the keys that they are about.
class RangeWriter {
 public:
  RangeWriter(RegionRange& range, kv::View& state) : range_(range), state_(state) {
    const auto encoded = state.Get(std::string_view(&kCountersPrefix, 1));
    if (encoded) stored_ = DecodeCounters(*encoded);
    counters_ = stored_;
  }
  Counters& counters() { return counters_; }
  kv::View& state() { return state_; }
  RegionRange& range() { return range_; }

  // Rows have counters of their own.
  void AddHidden(uint64_t keys, uint64_t rows) {
    counters_.keys += keys;
    range_.hidden_keys += keys + rows;
  }
  void TakeHidden(uint64_t keys, uint64_t rows) {
    TENURE_CHECK(counters_.keys >= keys, "S1: {} keys are cleared, {} were counted", keys, counters_.keys);
    counters_.keys -= keys;
    range_.hidden_keys -= std::min(range_.hidden_keys, keys + rows);
  }
  void Finish() {
    if (!(counters_ == stored_)) state_.Put(std::string_view(&kCountersPrefix, 1), EncodeCounters(counters_));
    state_.Put(std::string_view(&kRangePrefix, 1), EncodeRegionRange(range_));
  }

 private:
  RegionRange& range_;
  kv::View& state_;
  Counters stored_;
  Counters counters_;
};

// ---- kClear ----

struct Found {
  std::string key;
  RecordHeader header;
};

// First read, then write: an iterator does not promise what it shows of later writes.
std::vector<Found> FirstKeys(const kv::Reader& state, const SlotRange& slots, uint64_t limit) {
  std::vector<Found> found;
  for (const auto records = RecordsOf(state, slots); records->Valid() && found.size() < limit;
       records->Next()) {
    found.push_back({std::string(records->key()), DecodeRecordHeader(records->value())});
  }
  return found;
}

uint64_t ClearRows(const SlotRange& slots, uint64_t limit, kv::View& state) {
  std::vector<RangeCommand::Pair> found;
  for (const uint64_t table : TablesWithRows(state)) {
    for (const auto rows = RowsOf(table, state, slots); rows->Valid() && found.size() < limit; rows->Next())
      found.emplace_back(rows->key(), rows->value());
  }
  for (const auto& [key, value] : found) RemoveStoredRow(key, value, state);
  return found.size();
}

// A copy that was broken off may lack fields, so they are not counted. Few are deleted one by one: see
// keyspace.cc.
void DeleteFields(uint16_t slot, std::string_view key, uint64_t fields, kv::View& state) {
  constexpr uint64_t kFewFields = 64;
  const std::string prefix = FieldsPrefix(slot, key);
  if (fields > kFewFields) return state.DeleteRange(prefix, kv::PrefixEnd(prefix));
  std::vector<std::string> field_keys;
  for (const auto iterator = state.NewIterator(prefix, kv::PrefixEnd(prefix)); iterator->Valid();
       iterator->Next())
    field_keys.emplace_back(iterator->key());
  for (const std::string& field_key : field_keys) state.Delete(field_key);
}

Reply Clear(const RangeCommand& command, RangeWriter& writer) {
  const RegionRange& range = writer.range();
  if (command.if_version != range.version) return Refused("another version of the range is in force");
  std::optional<SlotRange> slots;
  if (range.outgoing && range.outgoing->released) slots = range.outgoing->slots;
  if (range.incoming && range.incoming->next_chunk == 0) slots = range.incoming->slots;
  if (!slots) return Refused("there are no slots to be cleared");
  const std::vector<Found> found = FirstKeys(writer.state(), *slots, command.limit);
  for (const Found& entry : found) {
    const uint16_t slot = SlotOfRecordKey(entry.key);
    const std::string_view key = KeyOfRecordKey(entry.key);
    if (entry.header.type == ValueType::kHash) DeleteFields(slot, key, entry.header.fields, writer.state());
    if (entry.header.expiry_ms != 0) writer.state().Delete(ExpiryKey(entry.header.expiry_ms, slot, key));
    writer.state().Delete(entry.key);
  }
  const uint64_t rows = ClearRows(*slots, command.limit - found.size(), writer.state());
  writer.TakeHidden(found.size(), rows);
  return Reply::Integer(static_cast<int64_t>(found.size() + rows));
}

// ---- kChunk, kComplete ----

bool IsInside(const std::string& key, const SlotRange& slots) {
  if (key.size() >= RowStateKey(0, 0, {}).size() && key[0] == kRowPrefix)
    return slots.Contains(SlotOfRowStateKey(key));
  if (key.size() < 3 || (key[0] != kRecordPrefix && key[0] != kFieldPrefix)) return false;
  return slots.Contains(SlotOfRecordKey(key));
}

Reply PutChunk(const RangeCommand& command, RangeWriter& writer) {
  if (!writer.range().incoming || writer.range().incoming->copy != command.if_version)
    return Refused("no such copy is under way");
  IncomingSlots& incoming = *writer.range().incoming;
  if (incoming.complete || command.chunk > incoming.next_chunk) return Refused("another chunk is expected");
  if (command.chunk < incoming.next_chunk) return Reply::Integer(0);  // it is here
  if (command.chunk == 0 && HasKeys(writer.state(), incoming.slots))
    return Refused("what an earlier copy left is not cleared");
  for (const auto& [key, value] : command.pairs) {
    if (!IsInside(key, incoming.slots)) return Refused("a pair is not of the slots that are copied");
  }
  uint64_t keys = 0;
  uint64_t rows = 0;
  uint64_t dropped_rows = 0;
  for (const auto& [key, value] : command.pairs) {
    incoming.hash += HashOfPair(key, value);
    if (key[0] == kRowPrefix) {
      const bool dropped = FindSchemaMark(TableOfKey(key), writer.state()).dropped;
      ++(dropped ? dropped_rows : rows);
      if (!dropped) PutStoredRow(key, value, writer.state());
      continue;
    }
    writer.state().Put(key, value);
    if (key[0] != kRecordPrefix) continue;
    ++keys;
    const RecordHeader header = DecodeRecordHeader(value);
    if (header.expiry_ms == 0) continue;
    writer.state().Put(ExpiryKey(header.expiry_ms, SlotOfRecordKey(key), KeyOfRecordKey(key)), {});
  }
  incoming.pairs += command.pairs.size();
  incoming.keys += keys + rows + dropped_rows;
  ++incoming.next_chunk;
  writer.AddHidden(keys, rows);
  return Reply::Integer(static_cast<int64_t>(keys + rows));
}

// What stands against a command in the keys themselves.
Status CheckKeys(const RangeCommand& command, const RegionRange& range, const kv::Reader& state) {
  const bool forgets = command.op == Op::kEnd && range.outgoing && range.outgoing->released;
  if (forgets && HasKeys(state, range.outgoing->slots))
    return Error(StatusCode::kFailedPrecondition, "keys of the released slots are still here");
  const bool nothing_came = command.op == Op::kComplete && range.incoming && range.incoming->next_chunk == 0;
  if (nothing_came && HasKeys(state, range.incoming->slots))
    return Error(StatusCode::kFailedPrecondition, "what an earlier copy left is not cleared");
  return OkStatus();
}

ChangeRecord RangeChanged(const SlotRange& slots, bool came) {
  ChangeRecord record{.kind = ChangeRecord::Kind::kRange};
  (came ? record.new_value : record.old_value) = EncodeSlots(slots);
  return record;
}

// The range changes for changefeeds: here a generation of the region ends, and another one begins.
void NoteInLog(const RangeCommand& command, const SlotRange& came, RegionRange& range,
               ChangeWriter& changes) {
  if (command.op == Op::kRelease) {
    range.outgoing->keeps_changes = changes.keeps();
    if (changes.keeps())
      range.outgoing->released_ts = changes.Append(RangeChanged(range.outgoing->slots, /*came=*/false));
    return;
  }
  if (command.op != Op::kOpen) return;
  range.opened_ts = 0;
  if (!command.keep_changes && !changes.keeps()) return;
  changes.Advance(command.after_ts);
  const bool kept = changes.keeps();
  if (!kept) changes.KeepFromHere();
  range.opened_ts = changes.Append(RangeChanged(came, /*came=*/true));
  // Of the slots that came nothing is known from before, so neither is it of the whole.
  if (!kept || !command.keep_changes) changes.BeginHere();
}

}  // namespace

RegionExport::RegionExport(const kv::Reader& state, SlotRange slots)
    : records_(RecordsOf(state, slots)),
      fields_(state.NewIterator(SlotFieldsPrefix(slots.first), kv::PrefixEnd(SlotFieldsPrefix(slots.last)))) {
  for (const uint64_t table : TablesWithRows(state)) rows_.push_back(RowsOf(table, state, slots));
}

// Records first: a field never comes without the key that it belongs to.
kv::Iterator* RegionExport::Current() {
  if (records_->Valid()) return records_.get();
  if (fields_->Valid()) return fields_.get();
  for (const auto& rows : rows_) {
    if (rows->Valid()) return rows.get();
  }
  return nullptr;
}

std::vector<RangeCommand::Pair> RegionExport::Next(size_t bytes) {
  std::vector<RangeCommand::Pair> pairs;
  for (size_t taken = 0; taken < bytes || pairs.empty();) {
    kv::Iterator* const from = Current();
    if (from == nullptr) break;
    if (from != fields_.get()) ++keys_;
    hash_ += HashOfPair(from->key(), from->value());
    taken += from->key().size() + from->value().size();
    pairs.emplace_back(from->key(), from->value());
    from->Next();
  }
  pairs_ += pairs.size();
  return pairs;
}

Reply ApplyRangeCommand(const RangeCommand& command, RegionRange& range, ChangeWriter& changes,
                        kv::View& state) {
  RegionRange next = range;
  RangeWriter writer(next, state);
  Reply reply = Reply::Integer(0);
  if (command.op == Op::kClear) {
    reply = Clear(command, writer);
  } else if (command.op == Op::kChunk) {
    reply = PutChunk(command, writer);
  } else if (const Status fits = CheckKeys(command, range, state); !fits.ok()) {
    reply = Refused(fits);
  } else if (const Status changed = ChangeRange(command, next); !changed.ok()) {
    reply = Refused(changed);
  } else if (command.op == Op::kComplete) {
    // What was taken for expired where the keys come from must not come back.
    writer.counters().newest_ms = std::max(writer.counters().newest_ms, command.newest_ms);
  }
  if (reply.IsError()) return reply;
  NoteInLog(command, range.incoming ? range.incoming->slots : SlotRange(), next, changes);
  writer.Finish();
  range = std::move(next);
  return reply;
}

}  // namespace tenure::store
