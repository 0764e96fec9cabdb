// Heartbeat rounds and what they prove: the leader lease, linearizable reads, check-quorum; and quiescence,
// when there are none (thesis 6.4, 6.2; ../../docs/consensus.md "Lease").
#include <algorithm>

#include "base/rare_path.h"
#include "raft/core.h"
#include "raft/quorum.h"

namespace tenure::raft {
namespace {

// Reads beyond this many unconfirmed rounds wait for the next heartbeat's.
constexpr size_t kMaxRounds = 64;

}  // namespace

// Heartbeats to everybody, under a new number.
void RaftCore::Impl::StartRound(bool quiesce) {
  Leader& leader = *AsLeader();
  leader.round++;
  leader.round_is_fresh = true;
  leader.rounds.push_back({leader.round, now_});
  for (Peer& peer : leader.peers) {
    // Nothing to a peer that lacks some of it: from what it hears a follower concludes that it is up to date.
    const LogIndex commit = peer.match < commit_ ? LogIndex() : commit_;
    if (peer.told_commit != commit) {
      peer.told_commit = commit;
      peer.told_round = leader.round;
    }
    outbox_.Send(peer.id, HeartbeatRequest{
                              .term = term_, .round = leader.round, .commit = commit, .quiesce = quiesce});
  }
  quiescent_ = quiesce;
  OnRoundAcknowledged();
}

// Whoever acknowledged a round has also heard what was sent before it; it stays with this leader for the
// minimum election timeout from then on, and "then" is not before the round was sent.
void RaftCore::Impl::OnRoundAcknowledged() {
  Leader& leader = *AsLeader();
  const uint64_t confirmed = MajorityValue(active(), uint64_t{0}, [&](ReplicaId id) {
    if (id == config_.self) return leader.round;
    const Peer* peer = leader.Find(id);
    return peer == nullptr ? 0 : peer->acknowledged_round;
  });
  leader.confirmed_round = std::max(leader.confirmed_round, confirmed);
  while (!leader.rounds.empty() && leader.rounds.front().id <= leader.confirmed_round) {
#ifdef TENURE_MUTANT_lease_from_receive
    leader.rounds.front().sent = now_;
#endif
    if (leader.lease_is_void) {
      TENURE_RARE_PATH("raft: a round does not renew a lease that is void");
    } else {
      leader.lease_until = std::max(leader.lease_until, leader.rounds.front().sent + LeaseLength());
    }
    leader.rounds.pop_front();
  }
  while (!leader.reads.empty() && leader.reads.front().round <= leader.confirmed_round) {
    outbox_.effects().reads.push_back({leader.reads.front().context, leader.reads.front().index});
    leader.reads.pop_front();
  }
}

Duration RaftCore::Impl::LeaseLength() const {
  return config_.election_timeout_min * 1000 / (1000 + static_cast<int64_t>(config_.drift_permille));
}

bool RaftCore::Impl::HasLease(Instant now) const {
  const Leader* leader = AsLeader();
#ifdef TENURE_MUTANT_quiescent_lease
  if (leader != nullptr && quiescent_ && !leader->lease_is_void) return true;
#endif
  return leader != nullptr && std::max(now, now_) < leader->lease_until && commit_ >= leader->term_start;
}

bool RaftCore::Impl::ReadIndex(uint64_t context) {
  Leader* leader = AsLeader();
  if (leader == nullptr) return false;
  leader->busy_at = now_;
  if (quiescent_) Unquiesce();
  if (HasLease(now_)) {
    outbox_.effects().reads.push_back({context, commit_});
    return true;
  }
  TENURE_RARE_PATH("raft: a read waits for a round because there is no lease");
  // Everything that was committed before this term lies before its no-op. A round serves only reads that came
  // before it left.
  const LogIndex index = std::max(commit_, leader->term_start);
  const bool joins = leader->round_is_fresh;
  leader->reads.push_back({context, joins ? leader->round : leader->round + 1, index});
  if (joins) {
    OnRoundAcknowledged();
  } else if (leader->rounds.size() < kMaxRounds) {
    StartRound(false);
  }
  return true;
}

// Check-quorum: a leader that is cut off must not go on believing that it leads.
bool RaftCore::Impl::HeardFromMajority() const {
  const Leader& leader = *AsLeader();
  const Instant heard = MajorityValue(active(), Instant::min(), [&](ReplicaId id) {
    if (id == config_.self) return now_;
    const Peer* peer = leader.Find(id);
    return peer == nullptr ? Instant::min() : peer->heard_at;
  });
  return now_ < heard + config_.election_timeout_min;
}

// Everybody holds everything, knows that it is committed, and nothing has happened for a while.
bool RaftCore::Impl::MayQuiesce() const {
  const Leader& leader = *AsLeader();
  if (config_.quiesce_after <= Duration::zero() || now_ < leader.busy_at + config_.quiesce_after)
    return false;
  const LogIndex last = log_.last_index();
  if (commit_ < last || outbox_.persisted() < last || active().IsJoint() || leader.handover ||
      !leader.reads.empty()) {
    return false;
  }
  return silent_ && std::all_of(leader.peers.begin(), leader.peers.end(),
                                [&](const Peer& peer) { return AllowsQuiescence(peer); });
}

// Awake members have told that they hold everything, and that they know it to be committed, since the group
// was woken; a silent one is told what it lacks when its process is back. A voter that missed the last
// heartbeat would stand before long and wake the group; a learner would wait for ever for the commit index.
bool RaftCore::Impl::AllowsQuiescence(const Peer& peer) const {
  const bool active = now_ < peer.heard_at + config_.election_timeout_min;
  if (std::find(silent_->begin(), silent_->end(), peer.id) != silent_->end()) return !active;
  return active && peer.match == log_.last_index() && peer.told_commit == log_.last_index() &&
         peer.acknowledged_round >= std::max(peer.told_round, AsLeader()->woken_with);
}

// The timers run again: the leader heartbeats at once, a follower waits a full election timeout for it.
void RaftCore::Impl::Unquiesce() {
  quiescent_ = false;
  Leader* leader = AsLeader();
  if (leader == nullptr) return ResetElectionTimer();
  leader->next_heartbeat = now_ + config_.heartbeat_interval;
  for (Peer& peer : leader->peers) peer.heard_at = now_;
  StartRound(false);
  leader->woken_with = leader->round;
}

void RaftCore::Impl::Wake(std::optional<Duration> delay) {
  if (!quiescent_) return;
  Leader* leader = AsLeader();
  if (!delay) return Unquiesce();
  quiescent_ = false;
  const Instant at = now_ + *delay;
  if (leader == nullptr) return StandSoon(at);
  leader->next_heartbeat = at;
  leader->woken_with = leader->round + 1;
  for (Peer& peer : leader->peers) peer.heard_at = at;
}

// Others may have heard the leader a little later, or sleep still, and refuse: it asks again before long.
void RaftCore::Impl::StandSoon(Instant at) {
  // A leader may hold a lease on this follower's silence, which comprises its vote for itself.
#ifdef TENURE_MUTANT_woken_without_wait
  election_at_ = at;
#else
  election_at_ = std::max(at, sticky_until_);
#endif
  quick_votes_ = kQuickVotes;
}

void RaftCore::Impl::OnLeaderUnreachable(Duration delay) {
  if (quiescent_ || !std::holds_alternative<Follower>(role_) || leader_.IsNone()) return;
  const Instant otherwise = election_at_;
  StandSoon(now_ + delay);
  election_at_ = std::min(election_at_, otherwise);
}

void RaftCore::Impl::NoteUse() {
  if (Leader* leader = AsLeader()) leader->busy_at = now_;
}

}  // namespace tenure::raft
