// The work of one dispatcher: a loop over the region's change log into a sink, and over again with a new sink
// when one fails.
//
// Made, stopped and destroyed by SpanDispatchers.
// Threading:  one executor.
// Ordering and invariants: dispatcher.h.
// Lifetime:   destroyed when Stop has said that it has ended, or when its executor has stopped for good.
// Positions:  what is handed to a sink is numbered (sink position). A mark says up to which commit timestamp
//             everything is delivered once the sink has flushed a number.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "changefeed/dispatcher/dispatcher.h"
#include "runtime/task.h"

namespace tenure::changefeed {

struct DispatcherParts {
  runtime::Executor& executor;
  ChangeSource& source;
  const TableSchemas& schemas;
  SinkMaker make_sink;
  DispatcherOptions options;
};

class SpanWork final : public SinkObserver {
 public:
  SpanWork(const DispatcherParts& parts, DispatcherSpec spec, WritePermit permit);
  SpanWork(const SpanWork&) = delete;
  SpanWork& operator=(const SpanWork&) = delete;

  void Start() { scope_.Spawn(Run()); }
  // Nothing is handed to the sink any more, which is gone; `joined` follows when this may be destroyed.
  void Stop(Closure joined);
  void Hold(const SchemaChange& change);
  void Write(const SchemaChange& change);
  void Pass(CommitTs barrier);
  void CheckpointAdvanced(CommitTs checkpoint);
  void SetEnd(CommitTs end);

  DispatcherReport report() const;
  CommitTs resolved() const { return position_; }
  uint64_t rows_per_second() const;
  uint64_t rows_behind() const;
  const DispatcherSpec& spec() const { return spec_; }
  bool stopped() const { return scope_.stop_requested(); }

  // SinkObserver
  void OnFlushed(uint64_t position) override;
  void OnWritable() override { changed_.Set(); }
  void OnFailed(FeedError error) override;

 private:
  // Of coroutines: false when the attempt is over.
  using Step = runtime::Task<bool>;
  struct Mark {
    uint64_t sink_position = 0;
    CommitTs ts;
    uint64_t rows = 0;
    uint64_t bytes = 0;  // of the region's log, up to there
  };
  struct Held {
    SchemaChange change;
    bool seen = false;  // its entry in the log was read: nothing of before it follows
  };

  runtime::Task<void> Run();
  runtime::Task<void> Deliver();
  Step DeliverSnapshot();
  Step DeliverBatch(ChangeBatch batch);
  Step DeliverChange(LoggedChange change, bool snapshot);
  Step HandOver(Message message, CommitTs ts, bool is_row);
  Step OnReadFailed(Status status);
  // Stands at every schema change that comes before `next`; null: before whatever is read next.
  Step PassBarriers(const LoggedChange* next);
  Step StandAt(SchemaChange change, CommitTs before);
  Step WriteBarrier(SchemaChange change);
  Step Pause(Duration duration);
  Step Changed();
  Step UntilFlushed(CommitTs ts);
  // The schema change to stand at next, if one applies. `unknown`: the log has one whose timestamp is not
  // known.
  const SchemaChange* NextBarrier(const LoggedChange* next, bool& unknown);
  bool NoteSchemaChange(uint64_t table, uint64_t version);
  bool NoteVersionOf(const LoggedChange& row);
  bool IsFiltered(const LoggedChange& change) const;
  std::shared_ptr<const TableSchema> SchemaOf(const LoggedChange& change, bool snapshot) const;

  void BeginAttempt();
  void NoteBatch(const ChangeBatch& batch);
  void SetMark(CommitTs ts, bool is_row = false);
  void TakeMarks();
  void Fail(FeedError error);
  void EndForGood(std::optional<FeedError> error);
  bool Over() const { return !attempt_ || attempt_->stop_requested(); }
  runtime::StopToken token() const { return attempt_->token(); }
  SinkIdentity Identity() const;

  const DispatcherParts& parts_;
  DispatcherSpec spec_;
  const WritePermit permit_;
  const std::unique_ptr<Encoder> encoder_;

  // The attempt: one sink, until it fails.
  std::optional<runtime::StopSource> attempt_;
  std::unique_ptr<Sink> sink_;
  std::string header_;
  CommitTs position_;   // read up to here
  uint64_t bytes_ = 0;  // in the region's log, there
  uint64_t sink_position_ = 0;
  uint64_t sink_flushed_ = 0;
  uint64_t sink_finished_ = 0;  // what is handed over up to there is the last of the span
  std::deque<Mark> marks_;
  bool progressed_ = false;
  bool range_ended_ = false;
  std::optional<uint64_t> snapshot_end_;  // the sink position behind its last row
  CommitTs checkpoint_;                   // of the whole changefeed
  CommitTs resolved_written_;
  Instant next_resolved_;
  std::optional<Instant> unread_since_;

  CommitTs flushed_;
  bool snapshot_done_ = false;
  std::map<CommitTs, Held> held_;
  uint64_t noted_version_ = 0;  // of rows: the changes up to it are in held_, or are behind
  CommitTs passed_;
  CommitTs at_barrier_;
  CommitTs wrote_barrier_;
  std::optional<SchemaChange> to_write_;
  std::optional<FeedError> error_;
  bool ended_ = false;
  uint32_t refused_ = 0;  // attempts that ended with kSinkRejected
  bool fenced_ = false;   // by the sink, since something was flushed

  // What is not delivered of the region's log is measured in bytes; how many rows that is, by what was read.
  std::optional<uint64_t> flushed_bytes_;
  uint64_t seen_rows_ = 0;
  uint64_t seen_bytes_ = 0;

  uint64_t rows_ = 0;           // delivered
  uint64_t snapshot_rows_ = 0;  // of them the initial snapshot's
  mutable uint64_t rows_at_ = 0;
  mutable uint64_t rate_ = 0;
  mutable Instant rate_since_;

  runtime::Event changed_;
  runtime::TaskScope scope_;  // last: its tasks use the others
};

}  // namespace tenure::changefeed
