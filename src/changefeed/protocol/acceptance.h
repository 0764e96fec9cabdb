// Whether a message of the changefeed protocol is accepted, and which epoch a new owner gets.
//
// Used by whoever receives such a message (OwnerGate on nodes, the coordinator for reports); looks at its
// inputs only and keeps nothing.
// Threading:  pure functions.
// Reference:  docs/changefeeds.md, "Epochs".
// Invariants: A1 a lower epoch never displaces a higher one.
//             A2 within one epoch only its owner is heard.
//             A3 every refusal carries the receiver's epoch, which is what the sender lost to.
//             A4 nothing is accepted in a closed epoch.
//             A5 epochs rise and never wrap.
#pragma once

#include <optional>
#include <string_view>

#include "base/status.h"
#include "changefeed/protocol/ids.h"

namespace tenure::changefeed {

// The numbers of ChangefeedAcceptance in changefeed.proto.
enum class Acceptance : uint8_t {
  kTakeOver = 1,
  kContinue = 2,
  kStaleLeadership = 3,
  kStaleEpoch = 4,
  kOtherOwner = 5,
  kClosed = 6,
  kNotInView = 7,
  kWithoutEpoch = 8,
  kOtherIncarnation = 9,
  kStaleSequence = 10,
  kNotBooted = 11,
  kRepeated = 12,
  kFenced = 13,
  kEnded = 14,
};

constexpr bool IsAccepted(Acceptance a) {
  return a == Acceptance::kTakeOver || a == Acceptance::kContinue || a == Acceptance::kRepeated;
}
// A refusal that will not change: the sender stops.
constexpr bool IsFinal(Acceptance a) {
  return !IsAccepted(a) && a != Acceptance::kNotInView && a != Acceptance::kFenced &&
         a != Acceptance::kNotBooted;
}
std::string_view NameOf(Acceptance a);

struct Decision {
  Acceptance acceptance = Acceptance::kStaleEpoch;
  OwnerEpoch receiver_epoch;  // the highest epoch the receiver knows, after the decision
  bool accepted() const { return IsAccepted(acceptance); }
  friend bool operator==(const Decision&, const Decision&) = default;
};

// By what authority a message comes.
struct Claim {
  LeadershipEpoch leadership;  // none: no controller speaks
  OwnerEpoch epoch;            // 0: the sender predates epochs
  Process owner;               // whom the epoch belongs to, as the sender says
  friend bool operator==(const Claim&, const Claim&) = default;
};

// What the receiver knows of the changefeed.
struct Standing {
  LeadershipEpoch leadership;  // the highest that spoke to it
  OwnerEpoch view;             // in its view of the catalog; none: the changefeed is not in it
  struct Held {
    OwnerEpoch epoch;
    Process owner;
    bool closed = false;  // a tombstone
  };
  std::optional<Held> held;             // the highest epoch accepted here
  bool members_without_epochs = false;  // the cluster's format says that there may be some
};

// A message that starts or continues work. Total: every combination has an answer.
Decision ComputeAcceptance(const Claim& claim, const Standing& standing);

// A message that ends work of `claim.epoch` and all lower ones, whoever ran it. It is accepted ahead of the
// view: a close only takes away. kTakeOver: something (or nothing) of a lower epoch is closed; kContinue: the
// epoch was held, and is or was closed.
Decision ComputeCloseAcceptance(const Claim& claim, const Standing& standing);

// What a receiver knows of creates and removes, after ComputeAcceptance said kContinue.
struct ScheduleStanding {
  Incarnation self;
  OwnerEpoch booted;       // the epoch that bootstrapped this process last
  ScheduleSequence taken;  // the highest taken in that epoch
};
Acceptance ComputeScheduleAcceptance(OwnerEpoch epoch, Incarnation meant_for, ScheduleSequence sequence,
                                     const ScheduleStanding& standing);

// The epoch of a new owner, or of a stop: max(candidate, stored + 1). RESOURCE_EXHAUSTED when `stored` is the
// last one.
StatusOr<OwnerEpoch> NextOwnerEpoch(OwnerEpoch candidate, OwnerEpoch stored);

}  // namespace tenure::changefeed
