// Changes of configuration and transfer of leadership (thesis 4.3, 3.10).
#include <algorithm>

#include "base/rare_path.h"
#include "raft/config_change.h"
#include "raft/core.h"

namespace tenure::raft {

ProposeResult RaftCore::Impl::ProposeConfiguration(const Configuration& target, LogIndex* index, Term* term) {
  Leader* leader = AsLeader();
  if (leader == nullptr) return ProposeResult::kNotLeader;
  if (leader->handover) return ProposeResult::kTransferring;
  if (!ValidateTarget(target).ok()) return ProposeResult::kInvalid;
  // Without an entry of this term committed, an earlier leader's change may still be undecided (thesis 4.1,
  // erratum).
  if (log_.configuration_index() > commit_ || active().IsJoint() || commit_ < leader->term_start) {
    return ProposeResult::kChangePending;
  }
  if (target != active()) {
    if (quiescent_) Unquiesce();
    const Configuration next = SameVoters(active(), target) ? target : JointOf(active(), target);
    AppendOwn(EntryType::kConfiguration, Bytes(EncodeConfiguration(next)));
    SendAppendsToAll();
  }
  *index = log_.configuration_index();
  *term = log_.TermAt(*index);
  return ProposeResult::kAccepted;
}

// A committed joint configuration is left; a leader that is no voter of a committed configuration goes.
void RaftCore::Impl::LeaveJointOrOffice() {
  Leader& leader = *AsLeader();
  if (log_.configuration_index() > commit_ || commit_ < leader.term_start) return;
  if (active().IsJoint()) {
    AppendOwn(EntryType::kConfiguration, Bytes(EncodeConfiguration(active().Left())));
    return SendAppendsToAll();
  }
  if (IsVoter() || leader.handover) return;
  const Peer* successor = BestSuccessor();
  if (successor == nullptr) return BecomeFollower(term_, ReplicaId());
  TENURE_RARE_PATH("raft: a leader that was removed hands over");
  StartHandover(successor->id);
}

// The voter that has most; one that is heard comes before one that is not.
const Peer* RaftCore::Impl::BestSuccessor() const {
  const Peer* best = nullptr;
  const auto rank = [this](const Peer& peer) {
    return std::pair(now_ < peer.heard_at + config_.election_timeout_min, peer.match);
  };
  for (const Peer& peer : AsLeader()->peers) {
    if (!active().IsVoter(peer.id)) continue;
    if (best == nullptr || rank(peer) > rank(*best)) best = &peer;
  }
  return best;
}

// The office ends here and now, and with it the lease, so that the successor need not wait for the others'
// silence to end. If it does not hold what it takes, or is not there, they elect somebody in their own time.
void RaftCore::Impl::SetDiskStalled(bool stalled) {
  if (std::exchange(disk_stalled_, stalled) == stalled || !stalled) return;
  if (AsLeader() == nullptr) {
    if (!std::holds_alternative<Follower>(role_)) BecomeFollower(term_, ReplicaId());
    return;
  }
  const Peer* successor = BestSuccessor();
  if (successor == nullptr) return;  // nobody else could lead
  // If the successor does not come forward the others must miss their leader: sleepers would not.
  if (quiescent_) Unquiesce();
  TENURE_RARE_PATH("raft: a leader hands over because its disk hangs");
  outbox_.Send(successor->id, TimeoutNow{.term = term_});
#ifndef TENURE_MUTANT_stalled_leader_stays
  BecomeFollower(term_, ReplicaId());
#endif
}

ProposeResult RaftCore::Impl::TransferLeadership(ReplicaId to) {
  Leader* leader = AsLeader();
  if (leader == nullptr) return ProposeResult::kNotLeader;
  if (to == config_.self) return ProposeResult::kAccepted;
  if (leader->handover) return ProposeResult::kTransferring;
  const Member* member = active().Find(to);
  if (member == nullptr || (member->role != MemberRole::kVoter && member->role != MemberRole::kIncoming)) {
    return ProposeResult::kChangePending;
  }
#ifndef TENURE_MUTANT_transfer_to_the_silent
  // Whoever does not answer would cost everybody who writes an election timeout.
  const Peer* peer = leader->Find(to);
  const bool heard = quiescent_ || now_ < peer->heard_at + config_.election_timeout_min;
  if (!heard || peer->match < leader->term_start) return ProposeResult::kChangePending;
#endif
  if (quiescent_) Unquiesce();
  StartHandover(to);
  return ProposeResult::kAccepted;
}

void RaftCore::Impl::StartHandover(ReplicaId to) {
  AsLeader()->handover = {to, now_ + config_.election_timeout_min, false};
  AdvanceHandover();
}

// Once everything is committed, so that all who wait for an answer get theirs, and the successor holds it:
// first the lease ends, for the rest of the term, then TimeoutNow leaves.
void RaftCore::Impl::AdvanceHandover() {
  Leader& leader = *AsLeader();
  if (!leader.handover || leader.handover->timeout_now_sent) return;
  const Peer* successor = leader.Find(leader.handover->to);
  if (successor == nullptr || successor->match < log_.last_index()) return;
#ifndef TENURE_MUTANT_handover_before_commit
  if (commit_ < log_.last_index()) return;
#endif
#ifndef TENURE_MUTANT_lease_kept_in_transfer
  leader.lease_is_void = true;
  leader.lease_until = Instant::min();
#endif
  leader.handover->timeout_now_sent = true;
  outbox_.Send(successor->id, TimeoutNow{.term = term_});
}

void RaftCore::Impl::OnHandoverTimeout() {
  Leader& leader = *AsLeader();
  const bool lease_is_gone = leader.handover->timeout_now_sent;
  leader.handover.reset();
  if (!IsVoter()) return BecomeFollower(term_, ReplicaId());
  // Leases come back with a new term only, and this leader, which has none, may call its election at any
  // time.
  if (lease_is_gone) {
    TENURE_RARE_PATH("raft: a transfer was aborted after TimeoutNow");
    Stand(true);
  }
}

}  // namespace tenure::raft
