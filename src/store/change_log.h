// A region's change log: what changefeeds deliver. It is kept only while the region is followed, in the same
// batch as the changes that it is about, and moves with the region's state: a new leader has it, a snapshot
// carries it.
//
//   f              -> ChangeLogState; none: the region was never followed
//   l <commit ts:8> -> ChangeRecord
//
// Commit timestamps are hybrid logical clock values: milliseconds since 1970 in the upper 46 bits and a
// counter in the lower 18. An entry's first change gets max(the leader's time in the entry, newest timestamp
// + 1), each further change one more: a function of the log, the same on every replica, whatever their clocks
// say. `last_ts` is raised by a command of its own as well (WriteCommand::kResolve): whatever is committed
// later is above it, whoever leads.
//
// Threading: one owner.
// Errors:    what was read from the store is trusted to be well formed; if it is not, the process ends.
// Bounds:    the log is trimmed up to the floor that changefeeds need, and beyond max_bytes from its old
//            end, whoever needs it: a reader that is below begin_ts finds its history gone.
// Invariants: S9  last_ts never goes down, also while no log is kept.
//             S10 while the log is kept every change after begin_ts is in it, under a timestamp of its own.
//             S11 a row change never has a lower schema version than one before it in the log.
// Reference: docs/store-format.md, docs/changefeeds.md "Change log".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "kv/kv.h"
#include "store/region_range.h"

namespace tenure::store {

inline constexpr int kTimestampLogicalBits = 18;
inline constexpr uint64_t kDefaultChangeLogBytes = uint64_t{256} << 20;

struct ChangeLogState {
  bool keeps = false;
  uint64_t last_ts = 0;
  uint64_t begin_ts = 0;  // what was committed after it is in the log
  uint64_t max_bytes = 0;
  uint64_t bytes_total = 0;  // ever appended
  uint64_t bytes_gone = 0;   // of them trimmed
  // The catalog's, by which it is kept or not: an older one does not count.
  uint64_t incarnation = 0;
  uint64_t revision = 0;
  uint64_t bytes() const { return bytes_total - bytes_gone; }
  friend bool operator==(const ChangeLogState&, const ChangeLogState&) = default;
};

// Goes through the region's log.
struct KeepChangesCommand {
  bool keep = false;
  uint64_t floor_ts = 0;  // what was committed up to it is not needed
  uint64_t max_bytes = kDefaultChangeLogBytes;
  uint64_t incarnation = 0;
  uint64_t revision = 0;
  friend bool operator==(const KeepChangesCommand&, const KeepChangesCommand&) = default;
};

struct ChangeRecord {
  // Numbers are part of the format.
  enum class Kind : uint8_t {
    kPut = 1,
    kDelete = 2,
    kSchema = 3,  // `table` has `schema_version` from here on; 0: it is dropped, and its rows are gone
    kRange = 4,   // slots went (old_value) or came (new_value), as EncodeSlots makes them
  };
  using Field = std::pair<std::string, std::optional<std::string>>;  // without a value: removed

  Kind kind = Kind::kPut;
  uint64_t index = 0;
  uint32_t ordinal = 0;         // the n-th further change of the entry
  uint64_t table = 0;           // 0: a plain key
  uint64_t schema_version = 0;  // of a row; 0: whichever is in force (the row expired)
  uint16_t slot = 0;
  std::string key;
  std::optional<std::string> old_value;  // of a row: EncodeRow
  std::optional<std::string> new_value;  // of a row: EncodeRow; of a plain string: its content
  std::vector<Field> fields;             // of a plain hash: what was changed
  uint64_t bytes_before = 0;             // ChangeLogState::bytes_total in front of it
  friend bool operator==(const ChangeRecord&, const ChangeRecord&) = default;
};

std::string EncodeSlots(const SlotRange& slots);
SlotRange DecodeSlots(std::string_view encoded);
std::string EncodeChange(const ChangeRecord& record);
ChangeRecord DecodeChange(std::string_view encoded);
std::string ChangeKey(uint64_t ts);

ChangeLogState LoadChangeLogState(const kv::Reader& state);

// Timestamp of a time, without a counter.
uint64_t TimestampOf(WallTime time);

// Appends to the log of a region, for one entry. Made for each apply; `log` outlives it and is what lies in
// the state.
class ChangeWriter {
 public:
  ChangeWriter(ChangeLogState& log, WallTime now, LogIndex index, kv::View& state);
  ChangeWriter(const ChangeWriter&) = delete;
  ChangeWriter& operator=(const ChangeWriter&) = delete;

  bool keeps() const { return log_.keeps; }
  const ChangeLogState& log() const { return log_; }
  // Gives the record its place. A row's change raises what the region knows of its table's version first
  // (S11).
  uint64_t Append(ChangeRecord record);
  // The timestamp that an entry gets which must lie after `after`, without a record.
  uint64_t Advance(uint64_t after = 0);
  // The log begins here: nothing before it is known.
  void BeginHere();
  // A log is kept from here on, since the region that slots come from keeps one; until a Keep says more.
  void KeepFromHere();
  void Keep(const KeepChangesCommand& command);
  // Writes the state if it changed. Once, at the end.
  void Finish();

 private:
  void NoteSchemaVersion(const ChangeRecord& record);
  void Trim(uint64_t floor_ts);
  void TrimToBudget();

  ChangeLogState& log_;
  const ChangeLogState stored_;
  const uint64_t command_ts_;
  const uint64_t index_;
  kv::View& state_;
  uint32_t changes_ = 0;
};

// ---- reading ----

struct ChangeRead {
  std::vector<std::pair<uint64_t, ChangeRecord>> changes;  // by timestamp
  uint64_t resolved = 0;                                   // everything of the table up to here was read
  std::optional<uint64_t> range_end;  // the range changes there; `resolved` is that, and it was not read on
  // What was looked at, whatever it was of: from where to where in ChangeLogState::bytes_total.
  uint64_t bytes_from = 0;
  uint64_t bytes_to = 0;
};
// Changes of one table (0: plain keys) after a timestamp, in order: about `max_bytes`. Requires that `after`
// is not below begin_ts.
ChangeRead ReadChanges(const kv::Reader& state, uint64_t table, uint64_t after, size_t max_bytes);

// One part of the rows of a table (or of plain keys) as they were at `as_of`: what lies there now, put back
// by the log. Of plain keys, whose former values are not known, those that changed since are left out, as
// their changes follow; a hash that changed is given as it is now. Reads as much of the log as was committed
// since.
struct RowsRead {
  std::vector<ChangeRecord> rows;  // kPut; index: version of the row
  std::string next;                // empty: that was all
};
// None: slots went and came back since, so it cannot be told any more. Of slots that came since nothing is
// said; of those that went last, as long as they were not cleared, their rows are, too.
std::optional<RowsRead> ReadRowsAsOf(const kv::Reader& state, const RegionRange& range, uint64_t table,
                                     uint64_t as_of, std::string_view from, size_t max_bytes);

}  // namespace tenure::store
