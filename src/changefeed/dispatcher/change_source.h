// Where a dispatcher reads: the change log of a region that this node leads, and the rows as they were at a
// timestamp.
//
// Implemented over the local replica by changefeed/views/ (LocalChangeSource); a fake stands in for tests.
// Threading:  the executor of the dispatchers, for calls and results. The implementation goes to the node's
//             executor and comes back by itself.
// Ordering:   changes come by commit timestamp, which no two changes of a region share.
// Errors:     the Status of Read and ReadSnapshot; the predicates below say which it is. What is neither is
//             worth another try (the replica is starting).
// Bounds:     a batch has about max_bytes, at least one change if there is one.
// Invariants: C1 every change up to `resolved` that the position asked for was in this batch or in an
//                earlier one.
//             C2 nothing that commits later is at or below `resolved`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "changefeed/protocol/ids.h"
#include "runtime/task.h"

namespace tenure::changefeed {

// The change log does not reach back to the position: FeedErrorCode::kHistoryGone.
bool IsHistoryGone(const Status& status);
Status HistoryGone(RegionId region, CommitTs position, CommitTs begin);
// The region is led elsewhere, or by nobody: the maintainer finds out where.
bool IsNotLeader(const Status& status);
Status NotLeader(RegionId region);

// What a dispatcher reads of a region, and from where.
struct ReadPosition {
  RegionId region;
  uint64_t table = 0;  // 0: plain keys
  CommitTs after;      // what was committed after it
};

// One record of the log, as the store wrote it.
struct LoggedChange {
  enum class Kind : uint8_t {
    kPut,
    kDelete,
    kSchema,  // from here on the table has another schema version (or is dropped): key and values are empty
  };
  Kind kind = Kind::kPut;
  LogIndex index;
  uint32_t ordinal = 0;  // n-th further change of the same entry; 0: the first
  CommitTs commit_ts;
  uint64_t table = 0;
  uint64_t schema_version = 0;  // kSchema: the new one; 0: the table is dropped
  std::string key;              // of a row: what stands behind "table:"
  // Rows: as store::EncodeRow makes them. Plain strings: the content, new_value only.
  std::optional<std::string> old_value;
  std::optional<std::string> new_value;
  // Plain hashes: the fields that were written, or removed (no value).
  std::vector<std::pair<std::string, std::optional<std::string>>> fields;
  uint64_t bytes_before = 0;  // of the region's log, in front of it
};

struct ChangeBatch {
  std::vector<LoggedChange> changes;
  CommitTs resolved;
  // The log changes the region's range at this timestamp: `resolved` is that timestamp, and nothing more
  // comes from this generation of the region.
  std::optional<CommitTs> range_end;
  // How far this went in the region's log, in bytes ever written to it, whatever of that is of the table.
  uint64_t bytes_from = 0;
  uint64_t bytes_to = 0;
};

struct SnapshotBatch {
  std::vector<LoggedChange>
      rows;          // kPut with new_value; commit_ts is that of the snapshot, index the row's version
  std::string next;  // where the next part begins; empty: that was all
};

class ChangeSource {
 public:
  virtual ~ChangeSource() = default;
  // Waits until there is a change, or `resolved` has risen above the position. CANCELLED after stop.
  virtual runtime::Task<StatusOr<ChangeBatch>> Read(ReadPosition position, size_t max_bytes,
                                                    runtime::StopToken stop) = 0;
  // Rows of the table (or plain keys) as of `position.after`, from `next` of the last batch on; empty: from
  // the beginning.
  virtual runtime::Task<StatusOr<SnapshotBatch>> ReadSnapshot(ReadPosition position, std::string from,
                                                              size_t max_bytes, runtime::StopToken stop) = 0;
  // Bytes ever written to the region's log, as heard last; 0: not heard of yet.
  virtual uint64_t BytesOf(RegionId region) const = 0;
};

}  // namespace tenure::changefeed
