#include "base/check.h"
#include "base/format.h"
#include "wal/log_writer.h"

namespace tenure::wal {
namespace {

constexpr uint64_t kVarintBound = 10;
constexpr uint64_t kEntryBound = 1 + 2 * kVarintBound;
constexpr uint64_t kEntriesRecordBound = kRecordHeaderBytes + 2 * kVarintBound;

uint64_t MarkBound(size_t configuration_bytes) {
  return kRecordHeaderBytes + 3 * kVarintBound + configuration_bytes;
}

}  // namespace

uint64_t LogWriter::BoundOf(const Write& write) const {
  uint64_t bound = 3 * (kRecordHeaderBytes + 3 * kVarintBound);  // truncation, hard state, tombstone
  if (write.reset_to) bound += MarkBound(raft::EncodeConfiguration(write.reset_to->configuration).size());
  if (write.entries.empty()) return bound;
  uint64_t bytes = 0;
  for (const auto& entry : write.entries) bytes += entry.payload.size() + kEntryBound;
  // Two neighbouring records are together larger than the limit.
  return bound + bytes + kEntriesRecordBound * (2 * bytes / kMaxEntriesRecordBytes + 1);
}

uint64_t LogWriter::CheckpointBound() const {
  uint64_t bound = kRecordHeaderBytes + kVarintBound * (state_.tombstones().size() + 1);
  for (const auto& [id, group] : state_.groups()) {
    bound +=
        kRecordHeaderBytes + kVarintBound * (8 + 2 * group.terms.size()) + group.mark_configuration.size();
  }
  return bound;
}

uint64_t LogWriter::MarksBound() const {
  uint64_t bound = 0;
  for (const auto& [id, mark] : marks_)
    bound += MarkBound(raft::EncodeConfiguration(mark.configuration).size());
  return bound;
}

void LogWriter::EncodeCheckpoint() {
  for (const auto& [id, group] : state_.groups()) {
    builder_.BeginRecord(RecordType::kGroupCheckpoint, id);
    EncodeGroupCheckpoint(state_.CheckpointOf(group), builder_.buffer());
    builder_.EndRecord();
  }
  if (state_.tombstones().empty()) return;
  builder_.BeginRecord(RecordType::kTombstones, GroupId());
  std::string& out = builder_.buffer();
  PutVarint(out, state_.tombstones().size());
  uint64_t before = 0;
  for (const GroupId id : state_.tombstones()) {
    PutVarint(out, id.value() - before);
    before = id.value();
  }
  builder_.EndRecord();
}

void LogWriter::EncodeMarks() {
  for (const auto& [id, mark] : marks_) {
    LogState::Group* group = state_.Find(id);
    if (group == nullptr || mark.index <= group->mark_index) continue;
    const std::string configuration = raft::EncodeConfiguration(mark.configuration);
    state_.Compact(*group, mark.index, mark.term, configuration);
    builder_.BeginRecord(RecordType::kCompact, id);
    EncodeMark(mark.index, mark.term, configuration, builder_.buffer());
    builder_.EndRecord();
  }
  marks_.clear();
}

void LogWriter::EncodeWrite(const Write& write) {
  // A write without effect leaves no record, so it must not make the group known either.
  const LogState::Group* known = state_.Find(write.group);
  const bool truncates =
      write.truncate_from && known != nullptr && *write.truncate_from <= known->last_index();
#ifdef TENURE_MUTANT_skip_hard_state
  const bool has_hard_state = false;
#else
  const bool has_hard_state = write.hard_state.has_value();
#endif
  if (!write.reset_to && !truncates && write.entries.empty() && !has_hard_state && !write.tombstone) return;
  LogState::Group& group = state_.Obtain(write.group);
  if (write.reset_to) {
    const raft::SnapshotMark& mark = *write.reset_to;
    const std::string configuration = raft::EncodeConfiguration(mark.configuration);
    builder_.BeginRecord(RecordType::kReset, write.group);
    EncodeMark(mark.index, mark.term, configuration, builder_.buffer());
    builder_.EndRecord();
    state_.Reset(group, mark.index, mark.term, configuration);
  }
  if (write.truncate_from && *write.truncate_from <= group.last_index()) {
    state_.TruncateFrom(group, *write.truncate_from);
#ifndef TENURE_MUTANT_lose_truncation
    builder_.BeginRecord(RecordType::kTruncate, write.group);
    PutVarint(builder_.buffer(), write.truncate_from->value());
    builder_.EndRecord();
#endif
  }
  if (!write.entries.empty()) EncodeEntries(group, write.entries);
  if (has_hard_state) {
    group.hard_state = *write.hard_state;
    builder_.BeginRecord(RecordType::kHardState, write.group);
    EncodeHardState(*write.hard_state, builder_.buffer());
    builder_.EndRecord();
  }
  if (write.tombstone) {
    builder_.BeginRecord(RecordType::kTombstone, write.group);
    builder_.EndRecord();
    state_.Bury(write.group);
  }
}

void LogWriter::EncodeEntries(LogState::Group& group, const std::vector<raft::Entry>& entries) {
  const uint32_t segment = files_.active().number;
  for (size_t begin = 0; begin < entries.size();) {
    size_t end = begin;
    for (uint64_t bytes = 0; end < entries.size(); ++end) {
      bytes += entries[end].payload.size() + kEntryBound;
      if (end > begin && bytes > kMaxEntriesRecordBytes) break;
    }
    const uint64_t offset = builder_.BeginRecord(RecordType::kEntries, group.id);
    const LogState::Position position{segment, static_cast<uint32_t>(offset)};
    std::string& out = builder_.buffer();
    PutVarint(out, entries[begin].index.value());
    PutVarint(out, end - begin);
    for (size_t i = begin; i < end; ++i) {
      const raft::Entry& entry = entries[i];
      out.push_back(static_cast<char>(entry.type));
      PutVarint(out, entry.term.value());
      PutPrefixed(out, entry.payload.view());
      state_.AppendEntry(group, {entry.index, entry.term, entry.type, entry.payload.view()}, position);
    }
    builder_.EndRecord();
    begin = end;
  }
}

}  // namespace tenure::wal
