#include "wal/entry_reader.h"

#include "base/format.h"

namespace tenure::wal {

StatusOr<std::vector<raft::Entry>> ReadEntries(LogState::Group& group, LogIndex from, LogIndex to,
                                               size_t max_bytes, const SegmentSource& source) {
  if (!group.Holds(from) || to < from) {
    return Error(StatusCode::kOutOfRange, "wal: group {} has entries {}-{}, asked was for {}-{}", group.id,
                 group.mark_index.Next(), group.last_index(), from, to);
  }
  const LogIndex last = std::min(to, group.last_index());
  std::vector<raft::Entry> entries;
  size_t bytes = 0;
  bool full = false;
  for (LogIndex next = from; next <= last && !full;) {
    const LogState::Position position = group.at(next);
    SegmentReader* reader = source(position.segment);
    if (reader == nullptr) {
      return Error(StatusCode::kDataLoss, "wal: group {} entry {} is in segment {}, which is gone", group.id,
                   next, position.segment);
    }
    TENURE_ASSIGN_OR_RETURN(const std::string_view head, reader->View(position.offset, kRecordHeaderBytes));
    const uint64_t size = head.size() < kRecordHeaderBytes ? 0 : PeekRecordBytes(head);
    TENURE_ASSIGN_OR_RETURN(const std::string_view whole, reader->View(position.offset, size));
    const auto record = DecodeRecord(whole, position.segment, position.offset);
    if (!record || record->group != group.id) {
      return Error(StatusCode::kDataLoss, "wal: {} at offset {}: the record of group {} entry {} is bad",
                   reader->path(), position.offset, group.id, next);
    }
    const LogIndex before = next;
    (void)ForEachEntry(record->payload, [&](const EntryView& entry) {
      if (full || entry.index != next || next > last) return;
      // A later truncation may have replaced what follows in this record.
      const LogState::Position at = group.at(next);
      if (at.segment != position.segment || at.offset != position.offset) return;
      bytes += entry.payload.size();
      if (!entries.empty() && bytes > max_bytes) {
        full = true;
        return;
      }
      entries.push_back({entry.index, entry.term, entry.type, Bytes(std::string(entry.payload))});
      next = next.Next();
    });
    if (next == before && !full) {
      return Error(StatusCode::kDataLoss,
                   "wal: {} at offset {}: the record does not hold entry {} of group {}", reader->path(),
                   position.offset, next, group.id);
    }
  }
  return entries;
}

}  // namespace tenure::wal
