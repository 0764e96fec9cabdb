#include "changefeed/coordinator/operator.h"

#include <algorithm>

#include "base/check.h"

namespace tenure::changefeed {

using Kind = Operator::Action::Kind;

std::string_view NameOf(OperatorKind kind) {
  switch (kind) {
    case OperatorKind::kAdd:
      return "add";
    case OperatorKind::kMove:
      return "move";
    case OperatorKind::kStop:
      return "stop";
    case OperatorKind::kRemove:
      return "remove";
  }
  return "unknown";
}

Operator::Operator(uint64_t id, OperatorKind kind, std::optional<Running> origin, Process target,
                   OwnerEpoch floor)
    : id_(id), kind_(kind), step_(Step::kCommit), origin_(origin), target_(target), floor_(floor) {
  if (origin_) floor_ = std::max(floor_, origin_->epoch);
  // An add of something that may run is a move: it ends that first.
  if (starts() && origin_) step_ = Step::kEndOrigin;
}

Operator::Action Operator::Next() const {
  switch (step_) {
    case Step::kEndOrigin:
      return {.kind = Kind::kSendRemove, .process = origin_->process, .epoch = origin_->epoch};
    case Step::kCommit:
      if (starts() && target_.node.IsNone()) return {.kind = Kind::kChooseTarget};
      return {.kind = Kind::kCommit,
              .process = starts() ? target_ : Process(),
              .epoch = floor_.Next(),
              .checkpoint = final_checkpoint_,
              .removing = kind_ == OperatorKind::kRemove};
    case Step::kBarrier:
      return {.kind = Kind::kAwaitBarrier, .epoch = epoch_};
    case Step::kStart:
      return {.kind = Kind::kSendAdd, .process = target_, .epoch = epoch_};
    case Step::kClose:
      return {.kind = Kind::kSendRemove, .process = origin_->process, .epoch = epoch_};
    case Step::kDropRecord:
      return {.kind = Kind::kDropRecord, .epoch = epoch_};
    case Step::kDone:
      return {};
  }
  return {};
}

void Operator::OnCommitted(OwnerEpoch epoch, Process owner) {
  if (step_ != Step::kCommit || epoch <= floor_) return;
  floor_ = epoch;
  // O4: nobody is started under an epoch that was committed for another.
  if (starts() && owner != target_) return;
  epoch_ = epoch;
  step_ = Step::kBarrier;
}

void Operator::OnCommitConflict(OwnerEpoch stored) {
  floor_ = std::max(floor_, stored);
}

void Operator::OnBarrierPassed(OwnerEpoch epoch) {
  if (step_ != Step::kBarrier || epoch != epoch_) return;
  if (starts()) {
    step_ = Step::kStart;
  } else if (origin_) {
    step_ = Step::kClose;
  } else {
    AfterClose();
  }
}

void Operator::AfterClose() {
  origin_.reset();
  step_ = kind_ == OperatorKind::kRemove ? Step::kDropRecord : Step::kDone;
}

void Operator::OnStarted(const Running& running) {
#ifdef TENURE_MUTANT_feed_start_by_any_report
  if (step_ != Step::kStart || running.epoch.IsNone()) return;
#else
  if (step_ != Step::kStart || running != Running{target_, epoch_}) return;
#endif
  step_ = Step::kDone;
}

void Operator::OnStartRefused(const Running& running, OwnerEpoch receiver_epoch) {
  if (step_ != Step::kStart || running != Running{target_, epoch_}) return;
  floor_ = std::max(floor_, receiver_epoch);
  target_ = Process();
  step_ = Step::kCommit;
}

void Operator::TakeFinal(CommitTs checkpoint) {
#ifdef TENURE_MUTANT_feed_final_checkpoint_dropped
  if (!checkpoint.IsNone()) return;
#endif
  final_checkpoint_ = std::max(final_checkpoint_, checkpoint);
}

void Operator::OnEnded(const Running& running, CommitTs final_checkpoint) {
  if (!origin_ || running.process != origin_->process || running.epoch < origin_->epoch) return;
  if (step_ == Step::kEndOrigin) {
    TakeFinal(final_checkpoint);
    origin_.reset();
    step_ = Step::kCommit;
  } else if (step_ == Step::kClose) {
    TakeFinal(final_checkpoint);
    AfterClose();
  }
}

void Operator::OnProcessGone(const Process& process) {
  if (starts() && process == target_) {
    target_ = Process();
    if (step_ == Step::kBarrier || step_ == Step::kStart) step_ = Step::kCommit;
  }
  if (!origin_ || origin_->process != process) return;
  if (step_ == Step::kEndOrigin) {
    origin_.reset();
    step_ = Step::kCommit;
  } else if (step_ == Step::kClose) {
    AfterClose();
  } else {
    origin_.reset();
  }
}

void Operator::OnRecordDropped() {
  if (step_ == Step::kDropRecord) step_ = Step::kDone;
}

void Operator::Retarget(Process target) {
  TENURE_CHECK(starts(), "a {} has no target", NameOf(kind_));
  if (target == target_ || done()) return;
  // Once `add` may have left, the old target may run: it becomes what has to be ended first.
  if (step_ == Step::kStart && !target_.node.IsNone()) {
    origin_ = Running{target_, epoch_};
    step_ = Step::kEndOrigin;
  } else if (step_ == Step::kBarrier) {
    step_ = Step::kCommit;
  }
  target_ = target;
}

std::optional<Running> Operator::MayRun() const {
  if (step_ == Step::kStart || (done() && starts())) return Running{target_, epoch_};
  return origin_;
}

OperatorSlot::Verdict OperatorSlot::Begin(const Request& request, std::optional<Running> running,
                                          OwnerEpoch floor) {
  if (!busy()) {
    operator_.emplace(next_id_++, request.kind, running, request.target, floor);
    return Verdict::kBegun;
  }
  Operator& now = *operator_;
  if (request.kind < now.kind()) return Verdict::kRefused;
  if (request.kind == now.kind()) {
    const bool starts = request.kind == OperatorKind::kAdd || request.kind == OperatorKind::kMove;
    if (!starts || request.target == now.target()) return Verdict::kJoined;
    now.Retarget(request.target);
    return Verdict::kRetargeted;
  }
  // A move that beats an add is that add with another target.
  if (request.kind == OperatorKind::kMove) {
    now.Retarget(request.target);
    return Verdict::kRetargeted;
  }
  const auto may_run = now.MayRun();
  const OwnerEpoch known = std::max(now.floor(), floor);
  operator_.emplace(next_id_++, request.kind, may_run, request.target, known);
  return Verdict::kReplaced;
}

}  // namespace tenure::changefeed
