// Reads entries from the records that hold them; used while the log runs (LogWriter) and by a repair.
//
// Threading: one owner; blocks on the disk.
// Errors:    OUT_OF_RANGE: the group does not hold the entry. DATA_LOSS names file, offset, group and entry.
#pragma once

#include <functional>
#include <vector>

#include "base/status.h"
#include "wal/log_state.h"
#include "wal/scanner.h"

namespace tenure::wal {

// The segment's reader, null if there is no such segment. Valid until the next call.
using SegmentSource = std::function<SegmentReader*(uint32_t segment)>;

// Entries [from, to] of `group`, up to `max_bytes` of payload but at least one.
StatusOr<std::vector<raft::Entry>> ReadEntries(LogState::Group& group, LogIndex from, LogIndex to,
                                               size_t max_bytes, const SegmentSource& source);

}  // namespace tenure::wal
