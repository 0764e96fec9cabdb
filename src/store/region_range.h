// Which slots a region serves by its own log, and how slots go from one region to another.
//
// The catalog's record of a region is a report of this, never the other way round: a replica serves what its
// log says, whatever its node knows of the catalog.
//
//   at the region that gives (outgoing)        at the region that takes (incoming)
//   kFreeze   writes to the slots are refused   kImport    a copy begins; what an earlier one left is cleared
//   kRelease  nothing of them is served         kChunk     pairs of the copy, in order
//   kClear    their keys go, some at a time     kComplete  the copy is whole: counts and hashes agree
//                                               kOpen      the slots are served
//   kEnd      frozen slots are written again;
//             a copy that was not opened becomes keys to be cleared;
//             cleared slots are forgotten
//
// Every command names the procedure and the leadership of the controllers that it comes from, and the version
// of the range that it changes: copies that come late, and leaders of the past, do nothing.
//
// Threading: values.
// Invariants: R1 a slot is in `slots` of one region's log at a time:
//                kOpen is asked for when kRelease is known to be
//                committed and applied by a leader.
//             R2 nothing in the slots of `outgoing` changes between kFreeze and kEnd or kClear.
//             R4 what commits in slots after kOpen has later timestamps than what did before kRelease, where
//                change logs are kept.
//             R3 a version of a key is never given twice, in whichever region the key lies (WATCH).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace tenure::store {

struct SlotRange {
  uint16_t first = 0;
  uint16_t last = 0;  // inclusive
  bool Contains(uint16_t slot) const { return slot >= first && slot <= last; }
  bool Contains(const SlotRange& other) const { return other.first >= first && other.last <= last; }
  bool Overlaps(const SlotRange& other) const { return first <= other.last && other.first <= last; }
  friend bool operator==(const SlotRange&, const SlotRange&) = default;
};

struct OutgoingSlots {
  SlotRange slots;
  uint64_t procedure = 0;
  bool released = false;  // else they are read, and not written
  // For changefeeds: when they were released, and whether the region keeps a change log. 0: it does not.
  uint64_t released_ts = 0;
  bool keeps_changes = false;
  friend bool operator==(const OutgoingSlots&, const OutgoingSlots&) = default;
};

struct IncomingSlots {
  SlotRange slots;
  uint64_t procedure = 0;
  uint64_t copy = 0;        // the version at which this copy began: what its chunks name
  uint64_t next_chunk = 0;  // chunks that are here
  uint64_t pairs = 0;
  uint64_t keys = 0;
  uint64_t hash = 0;
  bool complete = false;
  friend bool operator==(const IncomingSlots&, const IncomingSlots&) = default;
};

struct RegionRange {
  std::optional<SlotRange> slots;  // served; none: nothing
  uint64_t version = 0;            // rises with every command but kClear, kChunk and kComplete
  uint64_t incarnation = 0;        // newest leadership of the controllers that changed this
  uint64_t epoch = 0;
  uint64_t changed_by = 0;    // the procedure by which `slots` are what they are; 0: as the region began
  uint64_t version_base = 0;  // versions of keys are the log index plus this
  uint64_t hidden_keys = 0;   // keys that lie here and are not served
  uint64_t opened_ts = 0;     // commit timestamp of the last kOpen; 0: no change log was kept then
  std::optional<OutgoingSlots> outgoing;
  std::optional<IncomingSlots> incoming;

  bool Serves(uint16_t slot) const { return slots && slots->Contains(slot); }
  // Served, but for writes.
  bool IsFrozen(uint16_t slot) const { return outgoing && outgoing->slots.Contains(slot); }
  bool IsMoving() const { return outgoing || incoming; }
  friend bool operator==(const RegionRange&, const RegionRange&) = default;
};

// The form in which it lies in the region's state: docs/store-format.md.
std::string EncodeRegionRange(const RegionRange& range);
RegionRange DecodeRegionRange(std::string_view encoded);

struct RangeCommand {
  enum class Op : uint8_t {
    kFreeze = 1,
    kRelease = 2,
    kImport = 3,
    kClear = 4,
    kChunk = 5,
    kComplete = 6,
    kOpen = 7,
    kEnd = 8,
  };
  using Pair = std::pair<std::string, std::string>;

  Op op = Op::kEnd;
  uint64_t procedure = 0;
  uint64_t incarnation = 0;  // of the cluster
  uint64_t epoch = 0;        // of the leadership of the controllers
  // The version that is changed. kChunk, kComplete: IncomingSlots::copy. kImport: not looked at if a copy of
  // the same procedure has begun, so that another attempt begins anew.
  uint64_t if_version = 0;
  SlotRange slots;            // kFreeze, kImport
  uint64_t chunk = 0;         // kChunk: its number, from 0
  std::vector<Pair> pairs;    // kChunk
  uint64_t limit = 0;         // kClear: keys to remove at most
  uint64_t keys = 0;          // kRelease, kComplete: how many lie in the slots
  uint64_t pair_count = 0;    // kComplete
  uint64_t hash = 0;          // kComplete: sum of HashOfPair
  uint64_t version_base = 0;  // kComplete: no version in the copy is higher
  int64_t newest_ms = 0;      // kComplete: of the region that gives
  // kOpen: OutgoingSlots of the region that gives.
  uint64_t after_ts = 0;
  bool keep_changes = false;

  friend bool operator==(const RangeCommand&, const RangeCommand&) = default;
};

std::string_view NameOf(RangeCommand::Op op);  // "freeze", for people
void EncodeRangeCommand(const RangeCommand& command, std::string& out);
// False: malformed.
bool DecodeRangeCommand(std::string_view bytes, RangeCommand& command);

uint64_t HashOfPair(std::string_view key, std::string_view value);

// What a command does to the range alone; the keys are the caller's. FAILED_PRECONDITION says why it does
// nothing. kEnd: whether released slots are empty is the caller's to check.
Status ChangeRange(const RangeCommand& command, RegionRange& range);

}  // namespace tenure::store
