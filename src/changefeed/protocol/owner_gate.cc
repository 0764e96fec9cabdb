#include "changefeed/protocol/owner_gate.h"

#include <algorithm>

#include "base/check.h"

namespace tenure::changefeed {

Standing OwnerGate::StandingNow() const {
  return Standing{.leadership = leadership_,
                  .view = view_,
                  .held = held_,
                  .members_without_epochs = members_without_epochs_};
}

void OwnerGate::StopDispatchers(OwnerEpoch below, Outcome& outcome) {
  for (auto it = dispatchers_.begin(); it != dispatchers_.end();) {
    if (it->second.epoch >= below) {
      ++it;
      continue;
    }
    outcome.stop.push_back(it->first);
    it = dispatchers_.erase(it);
  }
}

void OwnerGate::StopMaintainer(Outcome& outcome) {
  outcome.stop_maintainer = outcome.stop_maintainer || !maintainer_.IsNone();
  maintainer_ = OwnerEpoch();
}

OwnerGate::Outcome OwnerGate::OnView(OwnerEpoch epoch, Process owner) {
  TENURE_CHECK(epoch >= view_, "G5: the view of the owner epoch goes from {} to {}", view_, epoch);
  view_ = epoch;
  view_owner_ = owner;
  Outcome outcome{.decision = {Acceptance::kContinue, epoch}};
  if (maintainer_ < epoch) StopMaintainer(outcome);
#ifndef TENURE_MUTANT_feed_write_without_epoch
  StopDispatchers(epoch, outcome);
#endif
  return outcome;
}

OwnerGate::Outcome OwnerGate::OnFenced() {
  fenced_ = true;
  Outcome outcome{.decision = {Acceptance::kFenced, view_}};
  StopMaintainer(outcome);
  for (const auto& [span, dispatcher] : dispatchers_) outcome.stop.push_back(span);
  dispatchers_.clear();
#ifdef TENURE_MUTANT_feed_fence_forgets_sequence
  taken_ = ScheduleSequence();
#endif
  return outcome;
}

Decision OwnerGate::Judge(const Claim& claim) {
  const Standing standing = StandingNow();
  Decision decision = ComputeAcceptance(claim, standing);
  if (decision.accepted() && fenced_) decision.acceptance = Acceptance::kFenced;
  // The catalog says whose epoch it is; a claim without that owner is nobody's.
#ifndef TENURE_MUTANT_feed_equal_epoch_of_another
  if (decision.accepted() && claim.owner != view_owner_) decision.acceptance = Acceptance::kOtherOwner;
#endif
  if (!decision.accepted()) decision.receiver_epoch = held_ ? std::max(held_->epoch, view_) : view_;
  if (decision.acceptance != Acceptance::kStaleLeadership)
    leadership_ = std::max(leadership_, claim.leadership);
  return decision;
}

OwnerGate::Outcome OwnerGate::OnAddMaintainer(const Claim& claim) {
  Outcome outcome{.decision = Judge(claim)};
  if (!outcome.decision.accepted()) return outcome;
  if (claim.owner != self_) {
    outcome.decision.acceptance = Acceptance::kOtherIncarnation;
    return outcome;
  }
  if (maintainer_ == claim.epoch) {
    outcome.decision.acceptance = Acceptance::kRepeated;
    return outcome;
  }
#ifndef TENURE_MUTANT_feed_restart_in_epoch
  // G2: its sequence numbers and its plan died with it.
  if (started_ >= claim.epoch) {
    outcome.decision.acceptance = Acceptance::kEnded;
    return outcome;
  }
#endif
  StopMaintainer(outcome);
  maintainer_ = claim.epoch;
  started_ = claim.epoch;
  return outcome;
}

OwnerGate::Outcome OwnerGate::OnBootstrap(const Claim& claim) {
  Outcome outcome{.decision = Judge(claim)};
  if (outcome.decision.acceptance != Acceptance::kTakeOver) return outcome;
  StopDispatchers(claim.epoch, outcome);
  held_ = Standing::Held{.epoch = claim.epoch, .owner = claim.owner};
  taken_ = ScheduleSequence();
  return outcome;
}

OwnerGate::Outcome OwnerGate::JudgeSchedule(const Claim& claim, Incarnation meant_for,
                                            ScheduleSequence sequence) {
  Outcome outcome{.decision = Judge(claim)};
  if (outcome.decision.acceptance == Acceptance::kTakeOver) {
    outcome.decision = {Acceptance::kNotBooted, view_};
  } else if (outcome.decision.acceptance == Acceptance::kContinue) {
    outcome.decision.acceptance = ComputeScheduleAcceptance(
        claim.epoch, meant_for, sequence,
        {.self = self_.incarnation, .booted = held_ ? held_->epoch : OwnerEpoch(), .taken = taken_});
  }
  return outcome;
}

OwnerGate::Outcome OwnerGate::OnPlan(const Claim& claim, Incarnation meant_for, ScheduleSequence sequence,
                                     const std::vector<SpanId>& plan) {
  // A plan takes no sequence number; the next one stands for it.
  Outcome outcome = JudgeSchedule(claim, meant_for, taken_.Next());
  if (outcome.decision.acceptance != Acceptance::kContinue) return outcome;
  for (auto it = dispatchers_.begin(); it != dispatchers_.end();) {
#ifdef TENURE_MUTANT_feed_late_plan
    const bool newer = it->second.sequence > sequence.Plus(1'000'000);
#else
    const bool newer = it->second.sequence > sequence;
#endif
    if (newer || std::find(plan.begin(), plan.end(), it->first) != plan.end()) {
      ++it;
      continue;
    }
    outcome.stop.push_back(it->first);
    it = dispatchers_.erase(it);
  }
  return outcome;
}

Decision OwnerGate::OnMessage(const Claim& claim) {
  Decision decision = Judge(claim);
  if (decision.acceptance == Acceptance::kTakeOver) decision = {Acceptance::kNotBooted, view_};
  return decision;
}

OwnerGate::Outcome OwnerGate::OnCreate(const Claim& claim, Incarnation meant_for, ScheduleSequence sequence,
                                       SpanId span) {
  Outcome outcome = JudgeSchedule(claim, meant_for, sequence);
  if (outcome.decision.acceptance != Acceptance::kContinue) return outcome;
  taken_ = sequence;
  if (dispatchers_.erase(span) != 0) outcome.stop.push_back(span);
  dispatchers_.emplace(span, Dispatcher{claim.epoch, sequence});
  return outcome;
}

OwnerGate::Outcome OwnerGate::OnRemove(const Claim& claim, Incarnation meant_for, ScheduleSequence sequence,
                                       SpanId span) {
  Outcome outcome = JudgeSchedule(claim, meant_for, sequence);
  if (outcome.decision.acceptance != Acceptance::kContinue) return outcome;
  taken_ = sequence;
  if (dispatchers_.erase(span) != 0) outcome.stop.push_back(span);
  return outcome;
}

OwnerGate::Outcome OwnerGate::Close(const Claim& claim, bool maintainer_too) {
  Outcome outcome{.decision = ComputeCloseAcceptance(claim, StandingNow())};
  if (outcome.decision.acceptance != Acceptance::kStaleLeadership)
    leadership_ = std::max(leadership_, claim.leadership);
  if (!outcome.decision.accepted()) return outcome;
  StopDispatchers(claim.epoch.Next(), outcome);
  if (maintainer_too && maintainer_ <= claim.epoch) StopMaintainer(outcome);
  if (maintainer_too) started_ = std::max(started_, claim.epoch);
  const Process owner = held_ && held_->epoch == claim.epoch ? held_->owner : claim.owner;
  held_ = Standing::Held{.epoch = claim.epoch, .owner = owner, .closed = true};
  return outcome;
}

OwnerGate::Outcome OwnerGate::OnRemoveMaintainer(const Claim& claim) {
  return Close(claim, /*maintainer_too=*/true);
}

OwnerGate::Outcome OwnerGate::OnClose(const Claim& claim) {
  return Close(claim, /*maintainer_too=*/false);
}

void OwnerGate::ForgetTombstone(OwnerEpoch epoch) {
  // Below the view everything is refused as stale anyhow; in the view's own epoch the tombstone is what
  // refuses.
  if (held_ && held_->closed && held_->epoch <= epoch && held_->epoch < view_) held_.reset();
}

bool OwnerGate::MayWrite(SpanId span) const {
  const auto it = dispatchers_.find(span);
#ifdef TENURE_MUTANT_feed_write_without_epoch
  return !fenced_ && it != dispatchers_.end();
#else
  return !fenced_ && it != dispatchers_.end() && it->second.epoch == view_;
#endif
}

}  // namespace tenure::changefeed
