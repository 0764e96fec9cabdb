#include <algorithm>

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
  // Replica, truncation, hard state, tombstone.
  uint64_t bound = 4 * (kRecordHeaderBytes + 3 * kVarintBound);
  if (write.reset_to) bound += MarkBound(raft::EncodeConfiguration(write.reset_to->configuration).size());
  if (write.entries.empty()) return bound;
  uint64_t bytes = 0;
  for (const auto& entry : write.entries) bytes += entry.payload.size() + kEntryBound;
  // Two neighbouring records are together larger than the limit.
  return bound + bytes + kEntriesRecordBound * (2 * bytes / kMaxEntriesRecordBytes + 1);
}

uint64_t LogWriter::CheckpointBound() const {
  uint64_t bound = 2 * kRecordHeaderBytes + 2 * kVarintBound * (state_.tombstones().size() + 1);
  for (const auto& [id, group] : state_.groups()) {
    bound +=
        kRecordHeaderBytes + kVarintBound * (9 + 2 * group.terms.size()) + group.mark_configuration.size();
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
  EncodeTombstones(RecordType::kTombstones);
  EncodeTombstones(RecordType::kReplicaTombstones);
}

// Those that name a replica, or those that do not.
void LogWriter::EncodeTombstones(RecordType type) {
  const bool name_replicas = type == RecordType::kReplicaTombstones;
  const auto listed = [name_replicas](const auto& tombstone) {
    return name_replicas != tombstone.second.IsNone();
  };
  const auto count = std::count_if(state_.tombstones().begin(), state_.tombstones().end(), listed);
  if (count == 0) return;
  builder_.BeginRecord(type, GroupId());
  std::string& out = builder_.buffer();
  PutVarint(out, static_cast<uint64_t>(count));
  uint64_t before = 0;
  for (const auto& [id, gone] : state_.tombstones()) {
    if (name_replicas == gone.IsNone()) continue;
    PutVarint(out, id.value() - before);
    if (name_replicas) PutVarint(out, gone.value());
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
  const bool begins = write.reset_to || !write.replica.IsNone();
  if (begins || truncates || !write.entries.empty() || has_hard_state) {
    LogState::Group& group = begins ? EncodeBegin(write) : state_.Obtain(write.group);
    EncodeContent(group, write, has_hard_state);
  }
  if (write.tombstone) EncodeTombstone(write.group, write.gone);
}

// Whose log it is, and where it begins.
LogState::Group& LogWriter::EncodeBegin(const Write& write) {
  TENURE_CHECK(write.reset_to || state_.Find(write.group) != nullptr,
               "group {}: the log of replica {} begins without a mark", write.group, write.replica);
  LogState::Group& group =
      write.replica.IsNone() ? state_.Obtain(write.group) : state_.SetReplica(write.group, write.replica);
  builder_.BeginRecord(write.replica.IsNone() ? RecordType::kReset : RecordType::kReplica, write.group);
  if (!write.replica.IsNone()) PutVarint(builder_.buffer(), write.replica.value());
  if (write.reset_to) {
    const raft::SnapshotMark& mark = *write.reset_to;
    const std::string configuration = raft::EncodeConfiguration(mark.configuration);
    EncodeMark(mark.index, mark.term, configuration, builder_.buffer());
    state_.Reset(group, mark.index, mark.term, configuration);
  }
  builder_.EndRecord();
  return group;
}

void LogWriter::EncodeContent(LogState::Group& group, const Write& write, bool has_hard_state) {
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
}

void LogWriter::EncodeTombstone(GroupId id, ReplicaId gone) {
  builder_.BeginRecord(gone.IsNone() ? RecordType::kTombstone : RecordType::kReplicaTombstone, id);
  if (!gone.IsNone()) PutVarint(builder_.buffer(), gone.value());
  builder_.EndRecord();
  state_.Bury(id, gone);
  // A compaction that waits for the next commit is of the log that is gone, not of one that begins behind it.
  marks_.erase(id);
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
