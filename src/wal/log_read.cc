#include "base/check.h"
#include "base/format.h"
#include "wal/log_writer.h"
#include "wal/scanner.h"

namespace tenure::wal {
namespace {

constexpr uint64_t kReadWindowBytes = 64 << 10;

}  // namespace

void LogWriter::ServeRead(ReadOp& op) {
  op.done(ReadEntries(op));
}

StatusOr<std::vector<raft::Entry>> LogWriter::ReadEntries(const ReadOp& op) {
  LogState::Group* group = state_.Find(op.group);
  if (group == nullptr || !group->Holds(op.from) || op.to < op.from) {
    return Error(StatusCode::kOutOfRange, "wal: group {} has entries {}-{}, asked was for {}-{}", op.group,
                 group == nullptr ? LogIndex() : group->mark_index.Next(),
                 group == nullptr ? LogIndex() : group->last_index(), op.from, op.to);
  }
  const LogIndex last = std::min(op.to, group->last_index());
  std::vector<raft::Entry> entries;
  size_t bytes = 0;
  bool full = false;
  uint32_t open_segment = 0;
  std::optional<SegmentReader> reader;
  for (LogIndex next = op.from; next <= last && !full;) {
    const LogState::Position position = group->at(next);
    const SegmentFiles::Segment* segment = files_.Find(position.segment);
    TENURE_CHECK(segment != nullptr, "S2: group {} entry {} is in segment {}, which is gone", op.group, next,
                 position.segment);
    if (open_segment != position.segment) {
      reader.emplace(*segment->file, segment->path, segment->size, kReadWindowBytes);
      open_segment = position.segment;
    }
    TENURE_ASSIGN_OR_RETURN(const std::string_view head, reader->View(position.offset, kRecordHeaderBytes));
    const uint64_t size = head.size() < kRecordHeaderBytes ? 0 : PeekRecordBytes(head);
    TENURE_ASSIGN_OR_RETURN(const std::string_view whole, reader->View(position.offset, size));
    const auto record = DecodeRecord(whole, position.segment, position.offset);
    if (!record || record->group != op.group) {
      return Error(StatusCode::kDataLoss, "wal: {} at offset {}: the record of group {} entry {} is bad",
                   segment->path, position.offset, op.group, next);
    }
    const LogIndex before = next;
    (void)ForEachEntry(record->payload, [&](const EntryView& entry) {
      if (full || entry.index != next || next > last) return;
      // A later truncation may have replaced what follows in this record.
      const LogState::Position at = group->at(next);
      if (at.segment != position.segment || at.offset != position.offset) return;
      bytes += entry.payload.size();
      if (!entries.empty() && bytes > op.max_bytes) {
        full = true;
        return;
      }
      entries.push_back({entry.index, entry.term, entry.type, Bytes(std::string(entry.payload))});
      next = next.Next();
    });
    if (next == before && !full) {
      return Error(StatusCode::kDataLoss,
                   "wal: {} at offset {}: the record does not hold entry {} of group {}", segment->path,
                   position.offset, next, op.group);
    }
  }
  return entries;
}

}  // namespace tenure::wal
