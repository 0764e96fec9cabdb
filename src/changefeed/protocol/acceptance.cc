#include "changefeed/protocol/acceptance.h"

#include <algorithm>
#include <limits>

namespace tenure::changefeed {

namespace {

OwnerEpoch HighestKnown(const Standing& standing) {
  return standing.held ? std::max(standing.held->epoch, standing.view) : standing.view;
}

// What refuses a message whatever it wants.
std::optional<Acceptance> Refusal(const Claim& claim, const Standing& standing) {
  if (!claim.leadership.IsNone() && claim.leadership < standing.leadership)
    return Acceptance::kStaleLeadership;
#ifndef TENURE_MUTANT_feed_zero_after_finalize
  if (claim.epoch.IsNone() && !standing.members_without_epochs) return Acceptance::kWithoutEpoch;
#endif
  return std::nullopt;
}

}  // namespace

std::string_view NameOf(Acceptance a) {
  switch (a) {
    case Acceptance::kTakeOver:
      return "taken over";
    case Acceptance::kContinue:
      return "continued";
    case Acceptance::kStaleLeadership:
      return "stale leadership";
    case Acceptance::kStaleEpoch:
      return "stale epoch";
    case Acceptance::kOtherOwner:
      return "other owner";
    case Acceptance::kClosed:
      return "closed";
    case Acceptance::kNotInView:
      return "not in view";
    case Acceptance::kWithoutEpoch:
      return "without epoch";
    case Acceptance::kOtherIncarnation:
      return "other incarnation";
    case Acceptance::kStaleSequence:
      return "stale sequence";
    case Acceptance::kNotBooted:
      return "not booted";
    case Acceptance::kRepeated:
      return "repeated";
    case Acceptance::kFenced:
      return "fenced";
    case Acceptance::kEnded:
      return "ended";
  }
  return "unknown";
}

Decision ComputeAcceptance(const Claim& claim, const Standing& standing) {
  const OwnerEpoch known = HighestKnown(standing);
  if (const auto refusal = Refusal(claim, standing)) return {*refusal, known};
#ifndef TENURE_MUTANT_feed_lower_epoch_accepted
  if (claim.epoch < known) return {Acceptance::kStaleEpoch, known};
#endif
  // The view has to have it: then the barrier of the epoch speaks for this node, too.
  if (claim.epoch > standing.view) return {Acceptance::kNotInView, known};
  if (!standing.held || claim.epoch > standing.held->epoch) return {Acceptance::kTakeOver, claim.epoch};
#ifdef TENURE_MUTANT_feed_equal_epoch_of_another
  if (claim.owner.node.IsNone()) return {Acceptance::kOtherOwner, known};
#else
  if (claim.owner != standing.held->owner) return {Acceptance::kOtherOwner, known};
#endif
  if (standing.held->closed) return {Acceptance::kClosed, known};
  return {Acceptance::kContinue, known};
}

Decision ComputeCloseAcceptance(const Claim& claim, const Standing& standing) {
  const OwnerEpoch known = HighestKnown(standing);
  if (const auto refusal = Refusal(claim, standing)) return {*refusal, known};
  if (standing.held && claim.epoch < standing.held->epoch) return {Acceptance::kStaleEpoch, known};
  if (standing.held && claim.epoch == standing.held->epoch) {
    // The leader may close an epoch whose owner is dead; a maintainer only its own.
    if (claim.leadership.IsNone() && claim.owner != standing.held->owner)
      return {Acceptance::kOtherOwner, known};
    return {Acceptance::kContinue, known};
  }
  return {Acceptance::kTakeOver, std::max(known, claim.epoch)};
}

Acceptance ComputeScheduleAcceptance(OwnerEpoch epoch, Incarnation meant_for, ScheduleSequence sequence,
                                     const ScheduleStanding& standing) {
  if (standing.booted != epoch) return Acceptance::kNotBooted;
#ifdef TENURE_MUTANT_feed_schedule_any_incarnation
  if (meant_for.IsNone()) return Acceptance::kOtherIncarnation;
#else
  if (meant_for != standing.self) return Acceptance::kOtherIncarnation;
#endif
  if (sequence == standing.taken) return Acceptance::kRepeated;
#ifndef TENURE_MUTANT_feed_schedule_any_sequence
  if (sequence < standing.taken) return Acceptance::kStaleSequence;
#endif
  return Acceptance::kContinue;
}

StatusOr<OwnerEpoch> NextOwnerEpoch(OwnerEpoch candidate, OwnerEpoch stored) {
  if (stored.value() == std::numeric_limits<OwnerEpoch::Rep>::max()) {
    return Error(StatusCode::kResourceExhausted,
                 "the owner epoch is {}, the highest there is: it cannot rise", stored);
  }
  return std::max(candidate, stored.Next());
}

}  // namespace tenure::changefeed
