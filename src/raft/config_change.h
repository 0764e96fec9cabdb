// How one configuration becomes another: the pure part of membership changes. When they happen is in
// membership.cc.
//
// Threading:  pure functions.
// Reference:  thesis 4.3; docs/consensus.md, "Membership".
#pragma once

#include "base/status.h"
#include "raft/types.h"

namespace tenure::raft {

// Whether `target` may be asked for: sorted, no duplicates, no joint roles, between 1 and kMaxVoters voters.
Status ValidateTarget(const Configuration& target);

// Whether the same replicas vote in both; then no majority changes and no joint configuration is needed.
bool SameVoters(const Configuration& a, const Configuration& b);

// The joint configuration on the way from `current` (not joint) to `target`; its Left() is `target`.
Configuration JointOf(const Configuration& current, const Configuration& target);

}  // namespace tenure::raft
