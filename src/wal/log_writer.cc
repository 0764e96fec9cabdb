#include "wal/log_writer.h"

#include <algorithm>

#include "base/check.h"
#include "base/format.h"

namespace tenure::wal {

LogWriter::LogWriter(runtime::Executor& executor, SegmentFiles files, LogState state, LogEnd end,
                     const WalOptions& options, Logger logger, Callback<Status> on_failure)
    : executor_(executor),
      options_(options),
      logger_(std::move(logger)),
      on_failure_(std::move(on_failure)),
      files_(std::move(files)),
      state_(std::move(state)),
      end_(end),
      active_begun_(!end.fresh) {
  UpdateBytes();
}

void LogWriter::Start() {
  PollSpace();
  executor_.Post([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || self->stopped_) return;
    self->Tidy();
    self->Pump();
  });
}

void LogWriter::Stop() {
  stopped_ = true;
  timer_.Cancel();
  space_timer_.Cancel();
}

void LogWriter::Submit(LogOp op) {
  {
    const std::lock_guard lock(mutex_);
    if (std::holds_alternative<AppendOp>(op)) waiting_.push_back(executor_.Now());
    submitted_.push_back(std::move(op));
    if (posted_) return;
    posted_ = true;
  }
  executor_.Post([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->TakeSubmitted();
  });
}

std::optional<Instant> LogWriter::WaitingSince() const {
  const std::lock_guard lock(mutex_);
  return waiting_.empty() ? std::nullopt : std::optional(std::max(waiting_.front(), last_answer_));
}

void LogWriter::NoteAnswered(size_t appends) {
  const std::lock_guard lock(mutex_);
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(appends));
  last_answer_ = executor_.Now();
}

void LogWriter::TakeSubmitted() {
  {
    const std::lock_guard lock(mutex_);
    taken_.swap(submitted_);
    posted_ = false;
  }
  for (LogOp& op : taken_) queue_.push_back(std::move(op));
  taken_.clear();
  Pump();
}

void LogWriter::Pump() {
  if (stopped_) return;
  if (!failure_.ok()) {
    FailQueued();
    return;
  }
  if (sync_under_way_) {
    ServeWaitingReads();
    return;
  }
  if (copy_segment_ != 0 && !closed_ && !CopyForward()) return;
  if (!FillCommit()) return;
  if (stopped_ || !failure_.ok()) return;
  if (!building_ && force_commit_ && !BeginCommit(0)) return;
  force_commit_ = false;
  if (building_) WriteCommit(closed_ ? kCleanFlag : builder_.has_records() ? 0 : kSealFlag);
  ArmTimer();
}

// Reads at the head of the queue need not wait for the commit under way: what was encoded has been written.
void LogWriter::ServeWaitingReads() {
  while (!stopped_ && !queue_.empty()) {
    auto* read = std::get_if<ReadOp>(&queue_.front());
    if (read == nullptr) return;
    ReadOp op = std::move(*read);
    queue_.pop_front();
    ServeRead(op);
  }
}

bool LogWriter::FillCommit() {
  while (!stopped_ && !queue_.empty()) {
    LogOp& front = queue_.front();
    if (auto* append = std::get_if<AppendOp>(&front)) {
      if (closed_) {
        auto done = std::move(append->done);
        queue_.pop_front();
        NoteAnswered(1);
        done(Error(StatusCode::kFailedPrecondition, "wal: closed"));
        continue;
      }
      if (building_ && builder_.bytes() >= options_.max_commit_bytes) return true;
      const bool was_building = building_;
      if (!AddAppend(*append)) return was_building && failure_.ok();
      committing_.push_back(std::move(append->done));
      queue_.pop_front();
    } else if (auto* read = std::get_if<ReadOp>(&front)) {
      ReadOp op = std::move(*read);
      queue_.pop_front();
      if (building_) {
        reads_after_write_.push_back(std::move(op));
      } else {
        ServeRead(op);
      }
    } else if (auto* pinning = std::get_if<PinningOp>(&front)) {
      PinningOp op = std::move(*pinning);
      queue_.pop_front();
      op.done(FindPinning(op.max_bytes));
    } else if (auto* compact = std::get_if<CompactOp>(&front)) {
      auto& mark = marks_[compact->group];
      if (compact->mark.index >= mark.index) mark = std::move(compact->mark);
      queue_.pop_front();
    } else {
      // The clean mark is a commit of its own: it proves the one before it.
      if (building_) return true;
      auto done = std::move(std::get<CloseOp>(front).done);
      queue_.pop_front();
      if (!closed_ && !BeginCommit(0)) {
        done(failure_);
        return false;
      }
      if (closed_ && !building_) {
        done(Error(StatusCode::kFailedPrecondition, "wal: closed"));
        continue;
      }
      closed_ = true;
      closing_ = std::move(done);
      return true;
    }
  }
  return !stopped_;
}

// False if it does not fit into the commit begun, or failed.
bool LogWriter::AddAppend(AppendOp& op) {
  uint64_t bound = 0;
  for (const Write& write : op.writes) bound += BoundOf(write);
  if (building_) {
    const uint64_t room = files_.active().size - end_.offset;
    if (RoundUpToSector(builder_.bytes() + bound) > room) return false;
  } else if (!BeginCommit(bound)) {
    return false;
  }
  for (const Write& write : op.writes) EncodeWrite(write);
  return true;
}

bool LogWriter::BeginCommit(uint64_t bytes) {
  if (!EnsureRoom(bytes + MarksBound())) return false;
  const SegmentFiles::Segment& active = files_.active();
  const SegmentHeader header{.log_id = end_.log_id,
                             .number = active.number,
                             .size = active.size,
                             .first_sequence = end_.next_sequence,
                             .previous = end_.previous};
  builder_.Begin(active.number, end_.offset, end_.fresh ? &header : nullptr);
  building_ = true;
  if (end_.fresh) EncodeCheckpoint();
  EncodeMarks();
  return true;
}

// Rolls to the next segment if the active one is too full. A segment too small for its checkpoint and some
// more would be full at once: it is made larger.
bool LogWriter::EnsureRoom(uint64_t bytes) {
  const uint64_t commit = RoundUpToSector(kCommitHeaderBytes + bytes);
  Status status;
  if (end_.fresh) {
    const uint64_t need = end_.offset + RoundUpToSector(commit + 2 * CheckpointBound());
    if (files_.active().size >= need) return true;
    status = files_.GrowActive(need);
  } else {
    if (files_.active().size - end_.offset >= commit) return true;
    status = files_.Roll(kSegmentHeaderBytes + RoundUpToSector(commit + 2 * CheckpointBound()));
    end_.offset = kSegmentHeaderBytes;
    end_.fresh = true;
    active_begun_ = false;
    if (status.ok()) PollSpace();
  }
  UpdateBytes();
  if (!status.ok()) Fail(Annotate(status, "beginning a segment"));
  return status.ok();
}

void LogWriter::WriteCommit(uint32_t flags) {
  if (end_.fresh) flags |= kCheckpointFlag;
  const CommitHeader header = builder_.Finish(end_.next_sequence, end_.previous, end_.log_id, flags);
  SegmentFiles::Segment& active = files_.active();
  if (const Status written = active.file->Write(builder_.write_offset(), builder_.view()); !written.ok()) {
    Fail(Annotate(written, fmt::format("writing {} at offset {}", active.path, end_.offset)));
    return;
  }
  end_.offset += header.size;
  end_.previous = header.checksum;
  ++end_.next_sequence;
  end_.fresh = false;
  end_.sealed = (flags & (kSealFlag | kCleanFlag)) != 0;
  building_ = false;
  builder_.Clear();
  sync_under_way_ = true;
#ifdef TENURE_MUTANT_ack_before_fsync
  AnswerCommitted(OkStatus());
#endif
  active.file->Sync([weak = weak_from_this()](Status status) {
    if (const auto self = weak.lock()) self->OnSynced(std::move(status));
  });
  for (ReadOp& read : reads_after_write_) {
    if (!stopped_) ServeRead(read);
  }
  reads_after_write_.clear();
}

void LogWriter::OnSynced(Status status) {
  if (stopped_) return;
  sync_under_way_ = false;
  if (!status.ok()) {
    Fail(Annotate(status, fmt::format("syncing {}", files_.active().path)));
    return;
  }
  active_begun_ = true;
  last_commit_ = executor_.Now();
  AnswerCommitted(OkStatus());
  if (stopped_) return;
  Tidy();
  Pump();
}

void LogWriter::AnswerCommitted(const Status& status) {
  answering_.swap(committing_);
  if (!answering_.empty()) NoteAnswered(answering_.size());
  for (auto& done : answering_) {
    if (done && !stopped_) done(status);
  }
  answering_.clear();
  if (closing_ && !stopped_) std::exchange(closing_, nullptr)(status);
}

// Final: no acknowledgement leaves after it, nothing is written or synced again.
void LogWriter::Fail(const Status& status) {
  if (!failure_.ok()) return;
  failure_ = Annotate(status, "wal: the log cannot be written any more");
  logger_.Error("{}", MessageOf(failure_));
  building_ = false;
  timer_.Cancel();
  AnswerCommitted(failure_);
  for (ReadOp& read : reads_after_write_) read.done(failure_);
  reads_after_write_.clear();
  FailQueued();
  if (on_failure_) on_failure_(failure_);
}

void LogWriter::FailQueued() {
  while (!queue_.empty()) {
    LogOp op = std::move(queue_.front());
    queue_.pop_front();
    std::visit(
        [this](auto& one) {
          using Op = std::decay_t<decltype(one)>;
          if constexpr (!std::is_same_v<Op, CompactOp> && !std::is_same_v<Op, PinningOp>) {
            if (one.done) one.done(failure_);
          }
        },
        op);
  }
}

}  // namespace tenure::wal
