// What a majority means, also in a joint configuration (thesis 4.3): pure functions over a configuration and
// a value per replica. Everything that counts replicas - votes, match indexes, heartbeat rounds, the time a
// replica was last heard - counts here and nowhere else.
//
// Threading: pure functions.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>

#include "base/check.h"
#include "raft/types.h"

namespace tenure::raft {

// Per half of a joint configuration. More make no sense and the functions below stay free of allocation.
inline constexpr size_t kMaxVoters = 31;

enum class Half { kOld, kNew };

// Whether a member of this role votes in that half.
constexpr bool VotesIn(MemberRole role, Half half) {
  switch (role) {
    case MemberRole::kVoter:
      return true;
    case MemberRole::kLearner:
      return false;
    case MemberRole::kIncoming:
      return half == Half::kNew;
    case MemberRole::kOutgoing:
    case MemberRole::kDemoting:
      return half == Half::kOld;
  }
  return false;
}

size_t VoterCount(const Configuration& configuration, Half half);

// The greatest v such that a majority of one half has `value(id)` >= v; `none` if nobody votes in that half.
template <class T, class ValueOf>
T MajorityValueInHalf(const Configuration& configuration, Half half, T none, const ValueOf& value) {
  std::array<T, kMaxVoters> values{};
  size_t count = 0;
  for (const Member& member : configuration.members) {
    if (!VotesIn(member.role, half)) continue;
    TENURE_CHECK(count < kMaxVoters, "more than {} voters", kMaxVoters);
    values[count++] = value(member.id);
  }
  if (count == 0) return none;
  // In descending order a majority has at least what stands at count / 2.
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(count / 2);
  std::nth_element(values.begin(), middle, values.begin() + static_cast<std::ptrdiff_t>(count),
                   std::greater<T>());
  return *middle;
}

// The same for the whole configuration: both halves must agree. `none` must be the least value.
template <class T, class ValueOf>
T MajorityValue(const Configuration& configuration, T none, const ValueOf& value) {
  const T of_new = MajorityValueInHalf(configuration, Half::kNew, none, value);
  if (!configuration.IsJoint()) return of_new;
  return std::min(of_new, MajorityValueInHalf(configuration, Half::kOld, none, value));
}

// Whether the replicas for which `agrees(id)` holds decide. Nobody decides in an empty configuration.
template <class Predicate>
bool HasMajority(const Configuration& configuration, const Predicate& agrees) {
  return MajorityValue(configuration, 0, [&](ReplicaId id) { return agrees(id) ? 1 : 0; }) == 1;
}

}  // namespace tenure::raft
