#include "changefeed/dispatcher/span_work.h"

#include <algorithm>
#include <utility>

#include "changefeed/dispatcher/row_decoder.h"

namespace tenure::changefeed {

namespace {

constexpr Duration kLookAgain = std::chrono::milliseconds(50);  // for what another part has to learn first
// A region that is led elsewhere for so long is given back to the maintainer; until then a new leader may
// only be about to serve.
constexpr Duration kNotLedFor = std::chrono::seconds(3);
constexpr Duration kUnknownFor = std::chrono::seconds(5);
// What was read longer ago than that counts less and less for what rows are like.
constexpr uint64_t kRecentBytes = uint64_t{16} << 20;

}  // namespace

SpanWork::SpanWork(const DispatcherParts& parts, DispatcherSpec spec, WritePermit permit)
    : parts_(parts),
      spec_(std::move(spec)),
      permit_(std::move(permit)),
      encoder_(MakeEncoder(spec_.address.protocol, spec_.changefeed_name)),
      position_(spec_.start),
      flushed_(spec_.start),
      rate_since_(parts.executor.Now()),
      changed_(parts.executor),
      scope_(parts.executor) {}

// ---- driven from outside ----

void SpanWork::Stop(Closure joined) {
  scope_.Stop();
  if (attempt_) attempt_->RequestStop();
  sink_.reset();
  scope_.StopAndJoin(std::move(joined));
}

void SpanWork::Hold(const SchemaChange& change) {
  if (change.at <= passed_) return;
  held_.try_emplace(change.at, Held{.change = change});
  changed_.Set();
}

void SpanWork::Write(const SchemaChange& change) {
  if (change.at <= passed_) return;
  to_write_ = change;
  changed_.Set();
}

void SpanWork::Pass(CommitTs barrier) {
  passed_ = std::max(passed_, barrier);
  held_.erase(held_.begin(), held_.upper_bound(passed_));
  changed_.Set();
}

// What the whole changefeed has delivered has passed here as well.
void SpanWork::CheckpointAdvanced(CommitTs checkpoint) {
  checkpoint_ = std::max(checkpoint_, checkpoint);
  Pass(checkpoint);
}

void SpanWork::SetEnd(CommitTs end) {
  if (!spec_.end || end < *spec_.end) spec_.end = end;
  changed_.Set();
}

DispatcherReport SpanWork::report() const {
  return {.span = spec_.span,
          .flushed = flushed_,
          .at_barrier = at_barrier_,
          .wrote_barrier = wrote_barrier_,
          .error = error_,
          .ended = ended_,
          .sequence = spec_.sequence,
          .snapshot_rows = snapshot_rows_};
}

uint64_t SpanWork::rows_per_second() const {
  const Instant now = parts_.executor.Now();
  const auto elapsed = ToMillis(now - rate_since_);
  if (elapsed < 1000) return rate_;
  rate_ = (rows_ - rows_at_) * 1000 / static_cast<uint64_t>(elapsed);
  rows_at_ = rows_;
  rate_since_ = now;
  return rate_;
}

uint64_t SpanWork::rows_behind() const {
  const uint64_t written = parts_.source.BytesOf(spec_.key.generation.region);
  if (!flushed_bytes_ || written <= *flushed_bytes_ || seen_bytes_ == 0) return 0;
  const double rows_per_byte = static_cast<double>(seen_rows_) / static_cast<double>(seen_bytes_);
  return static_cast<uint64_t>(static_cast<double>(written - *flushed_bytes_) * rows_per_byte + 0.5);
}

void SpanWork::NoteBatch(const ChangeBatch& batch) {
  if (!flushed_bytes_) flushed_bytes_ = batch.bytes_from;
  seen_bytes_ += batch.bytes_to - batch.bytes_from;
  for (const LoggedChange& change : batch.changes) {
    if (change.kind != LoggedChange::Kind::kSchema && !IsFiltered(change)) ++seen_rows_;
  }
  if (seen_bytes_ <= kRecentBytes) return;
  seen_bytes_ /= 2;
  seen_rows_ /= 2;
}

// ---- the sink ----

void SpanWork::OnFlushed(uint64_t position) {
  sink_flushed_ = position;
  progressed_ = true;
  fenced_ = false;
  error_.reset();
  if (snapshot_end_ && position >= *snapshot_end_) snapshot_done_ = true;
  TakeMarks();
  changed_.Set();
}

void SpanWork::OnFailed(FeedError error) {
  // One of before that was stopped between its permit and the sink may have come to the sink last. Who has a permit
  // comes again, and turns that one away for good.
  if (error.code == FeedErrorCode::kFencedBySink && permit_() && !std::exchange(fenced_, true))
    error.code = FeedErrorCode::kSinkUnavailable;
  if (error.code == FeedErrorCode::kSinkRejected) ++refused_;
  Fail(std::move(error));
}

void SpanWork::Fail(FeedError error) {
  if (Over()) return;
  error_ = std::move(error);
  if (!CanHeal(error_->code)) ended_ = true;
  attempt_->RequestStop();
  changed_.Set();
}

void SpanWork::EndForGood(std::optional<FeedError> error) {
  if (error) error_ = std::move(error);
  ended_ = true;
  attempt_->RequestStop();
}

void SpanWork::SetMark(CommitTs ts, bool is_row) {
  if (!marks_.empty() && marks_.back().sink_position == sink_position_ && !is_row) {
    marks_.back().ts = std::max(marks_.back().ts, ts);
    marks_.back().bytes = std::max(marks_.back().bytes, bytes_);
  } else {
    marks_.push_back({.sink_position = sink_position_, .ts = ts, .rows = is_row ? 1u : 0u, .bytes = bytes_});
  }
  TakeMarks();
}

void SpanWork::TakeMarks() {
#ifdef TENURE_MUTANT_feed_flushed_when_handed
  sink_flushed_ = sink_position_;
#endif
  for (; !marks_.empty() && marks_.front().sink_position <= sink_flushed_; marks_.pop_front()) {
    flushed_ = std::max(flushed_, marks_.front().ts);
    rows_ += marks_.front().rows;
    // Changes come after the start.
    if (marks_.front().ts == spec_.start) snapshot_rows_ += marks_.front().rows;
    if (flushed_bytes_) flushed_bytes_ = std::max(*flushed_bytes_, marks_.front().bytes);
  }
}

SinkIdentity SpanWork::Identity() const {
  const SpanKey& key = spec_.key;
  std::string name = key.table == 0 ? "keys" : fmt::format("t{}", key.table);
  if (!key.prefix.empty()) {
    name += '-';
    for (const char c : key.prefix) name += fmt::format("{:02x}", static_cast<unsigned char>(c));
  }
  name += fmt::format("-r{}-v{}", key.generation.region, key.generation.range_version);
  return {.changefeed = spec_.changefeed_name,
          .dispatcher = std::move(name),
          .epoch = spec_.epoch,
          .refused = refused_,
          .creation = spec_.sequence.value()};
}

void SpanWork::BeginAttempt() {
  attempt_.emplace();
  position_ = flushed_;
  bytes_ = 0;
  sink_position_ = 0;
  sink_flushed_ = 0;
  sink_finished_ = 0;
  marks_.clear();
  header_.clear();
  progressed_ = false;
  range_ended_ = false;
  snapshot_end_.reset();
  unread_since_.reset();
  // What was read behind `flushed_` comes again before these.
  for (auto& [at, held] : held_) held.seen = false;
  noted_version_ = 0;
  next_resolved_ = parts_.executor.Now() + parts_.options.resolved_interval;
  sink_ = parts_.make_sink(spec_.address, Identity(), *this, permit_);
}

// ---- the loop ----

runtime::Task<void> SpanWork::Run() {
  const runtime::StopToken stop = scope_.token();
  Duration pause = parts_.options.retry_min;
  while (!stop.stop_requested()) {
    BeginAttempt();
    co_await Deliver();
    at_barrier_ = CommitTs();
    sink_.reset();
    if (ended_ || stop.stop_requested()) co_return;
    if (progressed_) pause = parts_.options.retry_min;
    const bool slept = co_await runtime::SleepFor(parts_.executor, pause, stop);
    if (!slept) co_return;
    pause = std::min(2 * pause, parts_.options.retry_max);
  }
}

runtime::Task<void> SpanWork::Deliver() {
  if (spec_.initial_snapshot && !snapshot_done_) {
    const bool whole = co_await DeliverSnapshot();
    if (!whole) co_return;
  }
  while (!Over()) {
    const bool passed = co_await PassBarriers(nullptr);
    if (!passed) co_return;
    if (range_ended_ || (spec_.end && position_ >= *spec_.end)) {
      if (std::exchange(sink_finished_, sink_position_) != sink_position_) sink_->Finish();
      const bool more = co_await Changed();
      if (!more) co_return;
      continue;
    }
    const ReadPosition from{
        .region = spec_.key.generation.region, .table = spec_.key.table, .after = position_};
    StatusOr<ChangeBatch> batch = co_await parts_.source.Read(from, parts_.options.read_bytes, token());
    if (Over()) co_return;
    bool going = false;
    if (batch.ok()) {
      unread_since_.reset();
      going = co_await DeliverBatch(*std::move(batch));
    } else {
      going = co_await OnReadFailed(batch.status());
    }
    if (!going) co_return;
  }
}

SpanWork::Step SpanWork::OnReadFailed(Status status) {
  const Instant now = parts_.executor.Now();
  if (!unread_since_) unread_since_ = now;
  if (IsHistoryGone(status)) {
    EndForGood(FeedError{.code = FeedErrorCode::kHistoryGone, .message = std::string(MessageOf(status))});
    co_return false;
  }
  if (now - *unread_since_ >= kNotLedFor) {
    if (IsNotLeader(status)) EndForGood(std::nullopt);
    error_ = FeedError{.code = FeedErrorCode::kInternal, .message = std::string(MessageOf(status))};
    if (IsNotLeader(status)) error_.reset();
    if (ended_) co_return false;
  }
  co_return co_await Pause(kLookAgain);
}

SpanWork::Step SpanWork::DeliverSnapshot() {
  const ReadPosition at{
      .region = spec_.key.generation.region, .table = spec_.key.table, .after = spec_.start};
  std::string from;
  while (true) {
    StatusOr<SnapshotBatch> batch =
        co_await parts_.source.ReadSnapshot(at, from, parts_.options.read_bytes, token());
    if (Over()) co_return false;
    if (!batch.ok()) {
      const bool again = co_await OnReadFailed(batch.status());
      if (!again) co_return false;
      continue;
    }
    unread_since_.reset();
    for (LoggedChange& row : batch->rows) {
      if (IsFiltered(row)) continue;
      const bool taken = co_await DeliverChange(std::move(row), /*snapshot=*/true);
      if (!taken) co_return false;
    }
    if (batch->next.empty()) break;
    from = std::move(batch->next);
  }
  snapshot_end_ = sink_position_;
  if (sink_flushed_ >= *snapshot_end_) snapshot_done_ = true;
  co_return true;
}

SpanWork::Step SpanWork::DeliverBatch(ChangeBatch batch) {
  NoteBatch(batch);
  for (LoggedChange& change : batch.changes) {
    if (spec_.end && change.commit_ts > *spec_.end) break;
    bytes_ = change.bytes_before;
    const bool passed = co_await PassBarriers(&change);
    if (!passed) co_return false;
    if (change.kind == LoggedChange::Kind::kSchema || IsFiltered(change)) {
      SetMark(change.commit_ts);
      continue;
    }
    const bool taken = co_await DeliverChange(std::move(change), /*snapshot=*/false);
    if (!taken) co_return false;
  }
  position_ = batch.resolved;
  bytes_ = batch.bytes_to;
  if (spec_.end && *spec_.end < position_) position_ = *spec_.end;
  range_ended_ = batch.range_end.has_value() && *batch.range_end == position_;
  SetMark(position_);
  const Instant now = parts_.executor.Now();
  if (parts_.options.resolved_interval == Duration::zero() || now < next_resolved_) co_return true;
  // Others write to the same topic or stream: what is said there of all changes up to a time is true of the
  // whole changefeed.
#ifdef TENURE_MUTANT_feed_resolved_by_one
  const CommitTs resolved = position_;
#else
  const CommitTs resolved = std::min(checkpoint_, position_);
#endif
  if (resolved <= resolved_written_) co_return true;
  auto message = encoder_->Encode(ResolvedEvent{.resolved_ts = resolved, .database = spec_.database});
  if (!message.ok()) co_return true;
  next_resolved_ = now + parts_.options.resolved_interval;
  resolved_written_ = resolved;
  co_return co_await HandOver(*std::move(message), position_, /*is_row=*/false);
}

bool SpanWork::IsFiltered(const LoggedChange& change) const {
  if (spec_.key.table != 0) return false;  // the whole table is followed
  return !change.key.starts_with(spec_.key.prefix) || !spec_.filter.FollowsKey(change.key);
}

std::shared_ptr<const TableSchema> SpanWork::SchemaOf(const LoggedChange& change, bool snapshot) const {
  if (snapshot || change.schema_version == 0) return parts_.schemas.FindAt(change.table, change.commit_ts);
  return parts_.schemas.Find(change.table, change.schema_version);
}

SpanWork::Step SpanWork::DeliverChange(LoggedChange change, bool snapshot) {
  std::shared_ptr<const TableSchema> schema;
  if (change.table != 0) {
    const Instant since = parts_.executor.Now();
    bool waited = false;
    while (schema == nullptr) {
      schema = SchemaOf(change, snapshot);
      if (schema != nullptr) break;
      waited = true;
      if (parts_.executor.Now() - since >= kUnknownFor) {
        error_ = FeedError{.code = FeedErrorCode::kInternal,
                           .message = fmt::format("version {} of the schema of table {} is not known here",
                                                  change.schema_version, change.table)};
      }
      const bool again = co_await Pause(kLookAgain);
      if (!again) co_return false;
    }
    if (waited) error_.reset();
  }
  const CommitTs ts = change.commit_ts;
  const Change decoded =
      ToChange(std::move(change), spec_.key.generation.region, spec_.database, schema.get(), snapshot);
  auto message = encoder_->Encode(decoded);
  if (!message.ok()) {
    EndForGood(FeedError{.code = FeedErrorCode::kIncompatibleProtocol,
                         .message = std::string(MessageOf(message.status()))});
    co_return false;
  }
  if (std::string header = encoder_->Header(decoded); header != header_) {
    header_ = header;
    sink_->SetHeader(std::move(header));
  }
  co_return co_await HandOver(*std::move(message), ts, /*is_row=*/true);
}

SpanWork::Step SpanWork::HandOver(Message message, CommitTs ts, bool is_row) {
  while (!Over()) {
    changed_.Reset();
    if (sink_->Write(sink_position_ + 1, message)) {
      ++sink_position_;
      SetMark(ts, is_row);
      co_return true;
    }
    const bool more = co_await changed_.Wait(token());
    if (!more) co_return false;
  }
  co_return false;
}

// ---- schema changes ----

// True when it is known whether to stand at the change to `version`.
bool SpanWork::NoteSchemaChange(uint64_t table, uint64_t version) {
  std::optional<CommitTs> at = parts_.schemas.ChangeAt(table, version);
  for (const auto& [ts, held] : held_) {
    if (held.change.schema_version == version) at = ts;
  }
  if (!at) return false;
  if (at->IsNone() || *at <= std::max(passed_, spec_.start)) return true;
  Held& held = held_[*at];
  held.change.at = *at;
  held.change.table = table;
  held.change.schema_version = version;
  held.seen = true;
  return true;
}

// A row comes after the change to its version, wherever the entry of that lies: before the begin, if this is
// a changefeed that began between the two, or not in this log.
bool SpanWork::NoteVersionOf(const LoggedChange& row) {
  if (row.schema_version <= noted_version_) return true;
  if (!NoteSchemaChange(row.table, row.schema_version)) return false;
  // And after those before it, as far as there are any: a change that was rolled back leaves a gap.
  for (uint64_t version = row.schema_version - 1; version > noted_version_; --version)
    NoteSchemaChange(row.table, version);
  noted_version_ = row.schema_version;
  return true;
}

const SchemaChange* SpanWork::NextBarrier(const LoggedChange* next, bool& unknown) {
  unknown = false;
  if (next != nullptr && next->kind == LoggedChange::Kind::kSchema) {
    unknown = !NoteSchemaChange(next->table, next->schema_version);
  } else if (next != nullptr && next->table != 0) {
    unknown = !NoteVersionOf(*next);
  }
  for (const auto& [at, held] : held_) {
    const uint64_t version = held.change.schema_version;
    // A row that was checked against the new schema comes after the change of it.
    const bool newer = next != nullptr && version != 0 && next->schema_version >= version;
    const bool behind = (next != nullptr ? next->commit_ts : position_) >= at;
    if (held.seen || newer || behind) return &held_.begin()->second.change;  // they pass in order
  }
  return nullptr;
}

SpanWork::Step SpanWork::PassBarriers(const LoggedChange* next) {
  const Instant since = parts_.executor.Now();
  bool waited = false;
  while (!Over()) {
    bool unknown = false;
    const SchemaChange* change = NextBarrier(next, unknown);
    if (!unknown && std::exchange(waited, false)) error_.reset();
    waited = unknown;
    if (change == nullptr && !unknown) co_return true;
    bool going = false;
    if (change != nullptr) {
      CommitTs before = position_;
      // Not the entry itself: who goes on from here, in this attempt or in another place, has to read it
      // again.
      if (next != nullptr) before = next->commit_ts.Previous();
      going = co_await StandAt(*change, before);
    } else {
      // The catalog's mark of the change comes when all regions have been told of it.
      if (parts_.executor.Now() - since >= kUnknownFor) {
        error_ = FeedError{.code = FeedErrorCode::kInternal,
                           .message = fmt::format("when version {} of the schema of table {} begins is not "
                                                  "known here yet",
                                                  next->schema_version, next->table)};
      }
      going = co_await Pause(kLookAgain);
    }
    if (!going) co_return false;
  }
  co_return false;
}

SpanWork::Step SpanWork::StandAt(SchemaChange change, CommitTs before) {
  SetMark(before);
  const bool flushed = co_await UntilFlushed(before);
  if (!flushed) co_return false;
  at_barrier_ = change.at;
#ifdef TENURE_MUTANT_feed_barrier_not_awaited
  passed_ = std::max(passed_, change.at);
#endif
  while (passed_ < change.at) {
    // One before it that this dispatcher was told of meanwhile: it began behind the entry of that.
    if (held_.begin()->first < change.at) co_return true;
    bool going = false;
    if (to_write_ && to_write_->at == change.at && wrote_barrier_ != change.at) {
      going = co_await WriteBarrier(*to_write_);
    } else {
      going = co_await Changed();
    }
    if (!going) co_return false;
  }
  held_.erase(held_.begin(), held_.upper_bound(passed_));
  at_barrier_ = CommitTs();
  co_return true;
}

SpanWork::Step SpanWork::WriteBarrier(SchemaChange change) {
  const uint64_t version = change.schema_version;
  const auto schema = version == 0 ? parts_.schemas.FindAt(change.table, change.at)
                                   : parts_.schemas.Find(change.table, version);
  if (schema == nullptr) co_return co_await Pause(kLookAgain);
  const SchemaEvent event{.commit_ts = change.at,
                          .database = spec_.database,
                          .table = schema->name,
                          .schema_version = version,
                          .statement = change.statement};
  auto message = encoder_->Encode(event);
  if (!message.ok()) {
    EndForGood(FeedError{.code = FeedErrorCode::kIncompatibleProtocol,
                         .message = std::string(MessageOf(message.status()))});
    co_return false;
  }
  const bool taken = co_await HandOver(*std::move(message), flushed_, /*is_row=*/false);
  if (!taken) co_return false;
  const uint64_t written = sink_position_;
  sink_->Flush();
  while (sink_flushed_ < written) {
    const bool going = co_await Changed();
    if (!going) co_return false;
  }
  wrote_barrier_ = change.at;
  co_return true;
}

// ---- waiting ----

SpanWork::Step SpanWork::Pause(Duration duration) {
  co_return co_await runtime::SleepFor(parts_.executor, duration, token());
}

SpanWork::Step SpanWork::Changed() {
  changed_.Reset();
  co_return co_await changed_.Wait(token());
}

SpanWork::Step SpanWork::UntilFlushed(CommitTs ts) {
  if (flushed_ < ts) sink_->Flush();
  while (flushed_ < ts && !Over()) {
    const bool going = co_await Changed();
    if (!going) co_return false;
  }
  co_return !Over();
}

}  // namespace tenure::changefeed
