// Delivers one span of a changefeed: reads the region's change log from a position, keeps what the filter
// follows, encodes it and writes it to a sink of its own.
//
//   [snapshot] -> changes -> at a schema change: Hold, Write by one, Pass -> changes
//              -> the end of the generation
//   any state -> error -> a new sink after a pause, from what is flushed -> ...
//   Stop -> nothing more
//
// Driven by the node's changefeed agent: made when the owner gate has taken a create, told what the
// maintainer says, asked for its report once in a while, stopped before a remove is answered.
// Threading:  one executor, that of the factory: every call, its source and the observer of its sink. Only
//             the permit is asked from other threads.
// Lifetime:   Stop is final; destroyed after Stop. The factory's parts outlive it.
// Errors:     a sink's error stands in the report. One that can heal is tried again with a new sink, from
//             what is flushed; one that cannot ends the dispatcher (`ended`). HISTORY_GONE ends it, too. A
//             region that is led elsewhere ends it without an error: the maintainer creates it again where it
//             is led.
// Bounds:     the sink's buffer and one batch that is being encoded; DispatcherOptions says how much.
// Invariants: D1 `flushed` never falls, and everything of the span up to it is delivered.
//             D2 nothing behind a schema change is written before Pass.
//             D3 after Stop has returned nothing goes to the wire that was not handed to the sink before, and
//             the sink asks the permit.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "changefeed/dispatcher/change_source.h"
#include "changefeed/dispatcher/table_schemas.h"
#include "changefeed/format/encoder.h"
#include "changefeed/format/filter.h"
#include "changefeed/maintainer/span.h"
#include "changefeed/sink/address.h"
#include "changefeed/sink/sink.h"
#include "runtime/executor.h"

namespace tenure::changefeed {

struct DispatcherSpec {
  ChangefeedId changefeed;
  std::string changefeed_name;
  std::string database;  // its name
  SpanId span;
  ScheduleSequence sequence;  // of the create
  OwnerEpoch epoch;
  SpanKey key;
  CommitTs start;               // delivers what was committed after it
  std::optional<CommitTs> end;  // and up to this, if it is known
  Filter filter;
  SinkAddress address;  // with the protocol
  // First the rows as of `start`; until they are delivered, `flushed` stays there. To be set when `start` is
  // the changefeed's own start timestamp: a restart in the middle begins the snapshot anew.
  bool initial_snapshot = false;
};

// A sink for a span; the name of the dispatcher in SinkIdentity is the same for the same span in every epoch.
using SinkMaker = std::function<std::unique_ptr<Sink>(
    const SinkAddress& address, const SinkIdentity& identity, SinkObserver& observer, WritePermit permit)>;

struct DispatcherOptions {
  size_t read_bytes = size_t{256} << 10;                 // of a batch
  Duration resolved_interval = std::chrono::seconds(1);  // between `resolved` messages; 0: none
  Duration retry_min = std::chrono::milliseconds(500);   // after an error of the sink
  Duration retry_max = std::chrono::seconds(10);
};

class Dispatcher {
 public:
  virtual ~Dispatcher() = default;

  // Stop in front of this schema change of the span's table: it is reported in at_barrier once everything
  // before it is flushed. `change.at`, `change.table` and `change.schema_version` count. Repeating does no
  // harm.
  virtual void Hold(const SchemaChange& change) = 0;
  // Deliver it (with its statement); it stands at it. Reported in wrote_barrier once it is flushed.
  virtual void Write(const SchemaChange& change) = 0;
  // Everything up to and with the schema change at `barrier` is delivered: go on.
  virtual void Pass(CommitTs barrier) = 0;
  // How far the whole changefeed is: what `resolved` messages say, at most.
  virtual void CheckpointAdvanced(CommitTs checkpoint) = 0;
  // Now known, or earlier than it was known.
  virtual void SetEnd(CommitTs end) = 0;
  // Returns when nothing more is handed to the sink, which is gone.
  virtual void Stop() = 0;

  virtual DispatcherReport report() const = 0;
  // Everything of the region up to here has been read.
  virtual CommitTs resolved() const = 0;
  virtual uint64_t rows_per_second() const = 0;
  // About how many rows of the span are committed and not delivered: what of the region's log is not, by what
  // its rows were like so far. 0 before anything of it was read.
  virtual uint64_t rows_behind() const = 0;
  virtual const DispatcherSpec& spec() const = 0;
};

class DispatcherFactory {
 public:
  virtual ~DispatcherFactory() = default;
  virtual std::unique_ptr<Dispatcher> Make(DispatcherSpec spec, WritePermit permit) = 0;
};

}  // namespace tenure::changefeed
