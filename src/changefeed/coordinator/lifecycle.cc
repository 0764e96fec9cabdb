#include "changefeed/coordinator/lifecycle.h"

#include <algorithm>

#include "base/check.h"

namespace tenure::changefeed {

namespace {

int64_t Seconds(Duration d) {
  return std::chrono::duration_cast<std::chrono::seconds>(d).count();
}

bool Runs(FeedState state) {
  return state == FeedState::kNormal || state == FeedState::kWarning;
}

}  // namespace

std::string_view NameOf(FeedState state) {
  switch (state) {
    case FeedState::kNormal:
      return "NORMAL";
    case FeedState::kWarning:
      return "WARNING";
    case FeedState::kPaused:
      return "PAUSED";
    case FeedState::kFailed:
      return "FAILED";
    case FeedState::kFinished:
      return "FINISHED";
    case FeedState::kRemoving:
      return "REMOVING";
  }
  return "UNKNOWN";
}

bool IsLegalMove(FeedState from, FeedState to) {
  if (from == to) return true;
  if (from == FeedState::kRemoving) return false;
  switch (to) {
    case FeedState::kRemoving:
      return true;
    case FeedState::kNormal:
      return from != FeedState::kFinished;
    case FeedState::kWarning:
      return from == FeedState::kNormal;
    case FeedState::kPaused:
      return Runs(from) || from == FeedState::kFailed;
    case FeedState::kFailed:
      return Runs(from) || from == FeedState::kPaused;
    case FeedState::kFinished:
      return Runs(from);
  }
  return false;
}

Lifecycle::Lifecycle(LifecycleOptions options, Prng prng, Stored stored, Instant now)
    : options_(options), prng_(prng), stored_(std::move(stored)), last_progress_(now), retry_at_(now) {}

void Lifecycle::MoveTo(FeedState state) {
  TENURE_CHECK(IsLegalMove(stored_.state, state), "L1: {} to {}", NameOf(stored_.state), NameOf(state));
  stored_.state = state;
}

void Lifecycle::SetError(FeedError error) {
  if (error.message.size() > kMaxMessageBytes) {
    size_t end = kMaxMessageBytes;
    while (end > 0 && (static_cast<unsigned char>(error.message[end]) & 0xc0) == 0x80)
      --end;  // whole characters
    error.message.resize(end);
  }
  stored_.error = std::move(error);
}

void Lifecycle::Fail(WallTime wall, FeedError error) {
  MoveTo(FeedState::kFailed);
  SetError(std::move(error));
  stored_.halted_at = wall;
}

Duration Lifecycle::DrawBackoff() {
  const uint32_t doublings = std::min<uint32_t>(attempts_, 20);
  const Duration whole = std::min(options_.backoff_max, options_.backoff_min * (int64_t{1} << doublings));
  // A fifth less at most, so that changefeeds that failed together do not come back together.
  return whole -
         Duration(static_cast<Duration::rep>(prng_.Below(static_cast<uint64_t>(whole.count()) / 5 + 1)));
}

void Lifecycle::OnProgress(Instant now, CommitTs checkpoint, std::string holding_back, NodeId node) {
  holding_back_ = std::move(holding_back);
  node_ = node;
  if (!Runs(stored_.state) || checkpoint <= stored_.checkpoint) return;
  stored_.checkpoint = checkpoint;
  stored_.error.reset();
  last_progress_ = now;
  retry_at_ = now;
  attempts_ = 0;
  error_count_ = 0;
  MoveTo(FeedState::kNormal);
}

void Lifecycle::OnSnapshotRows(Instant now) {
  if (!Runs(stored_.state)) return;
  stored_.error.reset();
  last_progress_ = now;
  error_count_ = 0;
  MoveTo(FeedState::kNormal);
}

void Lifecycle::OnError(Instant now, WallTime wall, const FeedError& error) {
  if (!Runs(stored_.state)) return;
  if (!CanHeal(error.code)) return Fail(wall, error);
  ++error_count_;
  SetError(error);
  if (stored_.state == FeedState::kNormal) MoveTo(FeedState::kWarning);
  if (now < retry_at_) return;  // L2
  retry_at_ = now + DrawBackoff();
  ++attempts_;
}

void Lifecycle::OnFinished() {
  if (Runs(stored_.state)) MoveTo(FeedState::kFinished);
}

void Lifecycle::Tick(Instant now, WallTime wall) {
  if (Runs(stored_.state)) {
    const Duration silence = now - last_progress_;
    if (silence >= options_.give_up_after) {
      FeedError error = stored_.error.value_or(
          FeedError{.code = FeedErrorCode::kStalled, .message = holding_back_, .node = node_});
      error.message = fmt::format("no progress for {} s: {}", Seconds(silence), error.message);
      return Fail(wall, std::move(error));
    }
    if (stored_.state == FeedState::kNormal && silence > options_.stall_after) {
      MoveTo(FeedState::kWarning);
      SetError(
          {.code = FeedErrorCode::kStalled,
           .message = fmt::format("the checkpoint stands still for {} s: {}", Seconds(silence),
                                  holding_back_.empty() ? "its maintainer has not reported" : holding_back_),
           .node = node_});
      error_count_ = 1;
    }
    return;
  }
  const bool halted = stored_.state == FeedState::kPaused || stored_.state == FeedState::kFailed;
  if (!halted || history_given_up_ || wall - stored_.halted_at < options_.gc_ttl) return;
  history_given_up_ = true;
  if (stored_.state == FeedState::kPaused) {
    const WallTime since = stored_.halted_at;
    Fail(wall,
         {.code = FeedErrorCode::kHistoryGone,
          .message = fmt::format("paused for longer than gc-ttl ({} s): its history is not kept any more",
                                 Seconds(options_.gc_ttl))});
    stored_.halted_at = since;
  }
}

Status Lifecycle::Pause(WallTime wall) {
  if (stored_.state == FeedState::kPaused) return OkStatus();
  if (!IsLegalMove(stored_.state, FeedState::kPaused)) {
    return Error(StatusCode::kFailedPrecondition, "the changefeed is {}: it cannot be paused",
                 NameOf(stored_.state));
  }
  // One that failed keeps the date from which its history is counted.
  if (stored_.state != FeedState::kFailed) stored_.halted_at = wall;
  MoveTo(FeedState::kPaused);
  return OkStatus();
}

Status Lifecycle::Resume(Instant now, CommitTs oldest) {
  if (Runs(stored_.state)) return OkStatus();
  if (!IsLegalMove(stored_.state, FeedState::kNormal)) {
    return Error(StatusCode::kFailedPrecondition, "the changefeed is {}: it cannot be resumed",
                 NameOf(stored_.state));
  }
  if (stored_.checkpoint < oldest) {
    return Error(
        StatusCode::kOutOfRange,
        "history gone: the checkpoint is {}, the oldest change that is kept is {}; create the changefeed "
        "again with an initial snapshot",
        stored_.checkpoint, oldest);
  }
  MoveTo(FeedState::kNormal);
  stored_.error.reset();
  history_given_up_ = false;
  attempts_ = 0;
  error_count_ = 0;
  last_progress_ = now;
  retry_at_ = now;
  return OkStatus();
}

Status Lifecycle::MayUpdate() const {
  if (stored_.state == FeedState::kPaused || stored_.state == FeedState::kFailed) return OkStatus();
  return Error(StatusCode::kFailedPrecondition,
               "the changefeed is {}: only a paused or failed one can be updated", NameOf(stored_.state));
}

bool Lifecycle::WantsMaintainer(Instant now) const {
  return Runs(stored_.state) && now >= retry_at_;
}

std::optional<CommitTs> Lifecycle::HistoryFloor() const {
  switch (stored_.state) {
    case FeedState::kNormal:
    case FeedState::kWarning:
      return stored_.checkpoint;
    case FeedState::kPaused:
    case FeedState::kFailed:
      if (history_given_up_) return std::nullopt;
      return stored_.checkpoint;
    case FeedState::kFinished:
    case FeedState::kRemoving:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace tenure::changefeed
