// What a maintainer follows, where it finds it, and what it says to nodes.
//
// Threading: values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "changefeed/protocol/feed_error.h"

namespace tenure::changefeed {

// A table, or the plain keys below a prefix.
struct Followed {
  uint64_t table = 0;  // 0: plain keys
  std::string prefix;
  std::string name;               // for people
  CommitTs since;                 // created then: nothing of it is older
  std::optional<CommitTs> until;  // dropped then
  // Nothing of it is delivered: it lets the checkpoint go on with the regions while there is nothing else.
  // One that is no longer said ends.
  bool placeholder = false;
};

// A region between two changes of its range. A split or merge ends one and begins others, at one timestamp:
// what was committed up to it is the old one's, what came after the new ones'. A dispatcher stops by itself
// at the entry of its region's log that changes the range.
struct Generation {
  RegionId region;
  uint64_t range_version = 0;
  friend auto operator<=>(const Generation&, const Generation&) = default;
};
struct RegionView {
  Generation generation;
  CommitTs begin;
  std::optional<CommitTs> end;           // its successors are in the same view
  std::vector<Generation> predecessors;  // that held keys of its range; those not in the view are over
  Process leader;                        // none: not known
};

// What one dispatcher delivers.
struct SpanKey {
  uint64_t table = 0;
  std::string prefix;
  Generation generation;
  friend auto operator<=>(const SpanKey&, const SpanKey&) = default;
};

// To one node, from the maintainer. Which fields count is said by the kind.
struct Outgoing {
  enum class Kind : uint8_t { kBootstrap, kPostBootstrap, kCreate, kRemove, kHold, kWrite, kPass };
  Kind kind = Kind::kBootstrap;
  Process to;
  SpanId span;                  // kCreate, kRemove, kWrite
  ScheduleSequence sequence;    // kCreate, kRemove
  std::vector<SpanId> spans;    // kPostBootstrap: the plan; kHold, kPass: whom it concerns
  SpanKey key;                  // kCreate
  CommitTs start;               // kCreate: delivers what was committed after it
  std::optional<CommitTs> end;  // kCreate: and up to this, if it is known
  CommitTs barrier;             // kHold, kWrite, kPass
};

// What a dispatcher says of itself. It stops by itself at the entry of its log from which on its table has
// another schema version; kHold says the same to one that begins behind that entry.
struct DispatcherReport {
  SpanId span;
  CommitTs flushed;
  CommitTs at_barrier;     // stands there, with everything before it flushed, until kPass; none: at none
  CommitTs wrote_barrier;  // has delivered this schema change
  std::optional<FeedError> error;
  bool ended = false;          // it runs no more: to be created again
  ScheduleSequence sequence;   // of its create
  uint64_t snapshot_rows = 0;  // of its initial snapshot, delivered; repetitions count as well
};

// A schema change of a followed table.
struct SchemaChange {
  CommitTs at;
  uint64_t table = 0;
  uint64_t schema_version = 0;
  std::string statement;
};

}  // namespace tenure::changefeed
