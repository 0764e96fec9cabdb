#include "raft/config_change.h"

#include <algorithm>

#include "base/check.h"
#include "base/format.h"
#include "raft/quorum.h"

namespace tenure::raft {

Status ValidateTarget(const Configuration& target) {
  for (size_t i = 0; i < target.members.size(); i++) {
    const Member& member = target.members[i];
    if (member.id.IsNone())
      return Error(StatusCode::kInvalidArgument, "configuration: a member has no replica id");
    if (i > 0 && !(target.members[i - 1].id < member.id)) {
      return Error(StatusCode::kInvalidArgument, "configuration: member {} is out of order", member.id);
    }
    if (member.role != MemberRole::kVoter && member.role != MemberRole::kLearner) {
      return Error(StatusCode::kInvalidArgument, "configuration: member {} must be voter or learner",
                   member.id);
    }
  }
  const size_t voters = VoterCount(target, Half::kNew);
  if (voters == 0) return Error(StatusCode::kInvalidArgument, "configuration: no voter");
  if (voters > kMaxVoters) {
    return Error(StatusCode::kInvalidArgument, "configuration: {} voters, the limit is {}", voters,
                 kMaxVoters);
  }
  return OkStatus();
}

bool SameVoters(const Configuration& a, const Configuration& b) {
  const auto covered = [](const Configuration& x, const Configuration& y) {
    return std::all_of(x.members.begin(), x.members.end(), [&](const Member& member) {
      return member.role == MemberRole::kLearner || y.IsVoter(member.id);
    });
  };
  return covered(a, b) && covered(b, a);
}

Configuration JointOf(const Configuration& current, const Configuration& target) {
  TENURE_CHECK(!current.IsJoint(), "a change from the joint configuration {}", ToString(current));
  Configuration joint;
  for (const Member& member : target.members) {
    const Member* before = current.Find(member.id);
    const bool voted = before != nullptr && before->role == MemberRole::kVoter;
    const bool votes = member.role == MemberRole::kVoter;
    const MemberRole role = voted ? (votes ? MemberRole::kVoter : MemberRole::kDemoting)
                                  : (votes ? MemberRole::kIncoming : MemberRole::kLearner);
    joint.members.push_back({member.id, member.host, role});
  }
  for (const Member& member : current.members) {
    if (member.role != MemberRole::kVoter || target.Contains(member.id)) continue;
    joint.members.push_back({member.id, member.host, MemberRole::kOutgoing});
  }
  std::sort(joint.members.begin(), joint.members.end());
  return joint;
}

}  // namespace tenure::raft
