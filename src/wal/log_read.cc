#include "base/check.h"
#include "base/format.h"
#include "wal/entry_reader.h"
#include "wal/log_writer.h"

namespace tenure::wal {
namespace {

constexpr uint64_t kReadWindowBytes = 64 << 10;

}  // namespace

void LogWriter::ServeRead(ReadOp& op) {
  op.done(ReadEntries(op));
}

StatusOr<std::vector<raft::Entry>> LogWriter::ReadEntries(const ReadOp& op) {
  LogState::Group* group = state_.Find(op.group);
  if (group == nullptr) {
    return Error(StatusCode::kOutOfRange, "wal: group {} has no entries, asked was for {}-{}", op.group,
                 op.from, op.to);
  }
  uint32_t open_segment = 0;
  std::optional<SegmentReader> reader;
  const auto source = [&](uint32_t number) {
    if (open_segment != number) {
      const SegmentFiles::Segment* segment = files_.Find(number);
      TENURE_CHECK(segment != nullptr, "S2: group {} has entries in segment {}, which is gone", op.group,
                   number);
      reader.emplace(*segment->file, segment->path, segment->size, kReadWindowBytes);
      open_segment = number;
    }
    return &*reader;
  };
  return wal::ReadEntries(*group, op.from, op.to, op.max_bytes, source);
}

}  // namespace tenure::wal
