// Elections: pre-vote, vote, candidacy (thesis 3.4, 9.6; order rules 1, 6 and 8).
#include <algorithm>

#include "base/check.h"
#include "base/format.h"
#include "base/rare_path.h"
#include "raft/core.h"
#include "raft/quorum.h"

namespace tenure::raft {
namespace {

void AddDistinct(std::vector<ReplicaId>& ids, ReplicaId id) {
  if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
}

bool IsMajority(const Configuration& configuration, const std::vector<ReplicaId>& ids) {
  return HasMajority(configuration,
                     [&](ReplicaId id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); });
}

}  // namespace

// A replica that its last configuration removes as a voter is still needed while that is not committed: the
// remaining voters may lack this very entry, and so the votes of those that have it (thesis 4.2.2). It leads
// until it is.
bool RaftCore::Impl::IsPossibleLeader() const {
  if (IsVoter()) return true;
  const LogIndex index = log_.configuration_index();
  const bool possible = index > commit_ && log_.ConfigurationAt(index.Previous()).IsVoter(config_.self);
  if (possible) TENURE_RARE_PATH("raft: a voter that is being removed may still lead");
  return possible;
}

bool RaftCore::Impl::MayStand() const {
  return AsLeader() == nullptr && IsPossibleLeader() && !IsWaitingAfterRestart() && !installing_ &&
         !disk_stalled_;
}

void RaftCore::Impl::Campaign() {
  if (!MayStand() || IsSticky() || std::holds_alternative<Candidate>(role_)) return;
  // The other members of a new group may be about to begin, and hear nothing yet.
  if (term_.IsNone()) quick_votes_ = kQuickVotes;
  StartPreVote();
}

void RaftCore::Impl::StartPreVote() {
  LeaveRole();
  leader_ = ReplicaId();
  role_ = PreCandidate{};
  ResetElectionTimer();
  if (quick_votes_ > 0) {
    --quick_votes_;
    election_at_ = now_ + config_.heartbeat_interval;
  }
  AskForVotes(
      {.term = term_.Next(), .last_index = log_.last_index(), .last_term = log_.last_term(), .pre = true});
  OnVoteGranted(config_.self);
}

// `transfer`: the leader of the term that ends here wants it, so nobody waits for that leader's silence.
void RaftCore::Impl::Stand(bool transfer) {
  LeaveRole();
  leader_ = ReplicaId();
  RememberTerm(term_.Next());
  vote_ = config_.self;
  role_ = Candidate{.granted = {}, .own_vote = outbox_.next_token()};
  ResetElectionTimer();
  AskForVotes({.term = term_,
               .last_index = log_.last_index(),
               .last_term = log_.last_term(),
               .pre = false,
               .transfer = transfer});
}

void RaftCore::Impl::AskForVotes(const VoteRequest& request) {
  for (const Member& member : active().members) {
    if (member.id == config_.self || member.role == MemberRole::kLearner) continue;
#ifdef TENURE_MUTANT_candidacy_before_persist
    outbox_.Send(member.id, request);
    continue;
#endif
    if (request.pre) {
      outbox_.Send(member.id, request);
    } else {
      outbox_.SendWhenDurable(member.id, request);
    }
  }
}

// Only the candidacy's own term comes here: older answers were dropped.
void RaftCore::Impl::OnVoteGranted(ReplicaId from) {
  if (auto* pre = std::get_if<PreCandidate>(&role_)) {
    AddDistinct(pre->granted, from);
    if (IsMajority(active(), pre->granted)) Stand(false);
  } else if (auto* candidate = std::get_if<Candidate>(&role_)) {
    AddDistinct(candidate->granted, from);
    if (IsMajority(active(), candidate->granted)) BecomeLeader();
  }
}

void RaftCore::Impl::Handle(ReplicaId from, const VoteRequest& request) {
  const auto refuse = [&] {
    outbox_.Send(from, VoteResponse{.term = term_, .pre = request.pre, .granted = false});
  };
  if (request.term < term_ || (request.pre && request.term == term_)) return refuse();
  if (!MayRaiseTerm(from, request.last_term, request.last_index)) return;
  // A leader's lease is its own promise to itself not to help anybody else into office.
  const Leader* leader = AsLeader();
  const bool hears_leader = IsSticky() || quiescent_ || (leader != nullptr && now_ < leader->lease_until);
  if (quiescent_) Unquiesce();
  if (IsWaitingAfterRestart()) {
    TENURE_RARE_PATH("raft: a vote is refused in the wait after a restart");
    return refuse();
  }
  if (hears_leader && !request.transfer) {
    TENURE_RARE_PATH("raft: a vote is refused because a leader is heard");
    return refuse();
  }
#ifdef TENURE_MUTANT_vote_any_log
  const bool up_to_date = true;
#else
  const bool up_to_date = log_.IsUpToDate(request.last_term, request.last_index);
#endif
  if (request.pre) {
    if (!up_to_date) return refuse();
    outbox_.Send(from, VoteResponse{.term = request.term, .pre = true, .granted = true});
    return;
  }
  if (request.term > term_) BecomeFollower(request.term, ReplicaId());
  if (!vote_.IsNone() && vote_ != from) {
    TENURE_RARE_PATH("raft: a second candidate of a term is refused");
    return refuse();
  }
  if (!up_to_date) {
    TENURE_RARE_PATH("raft: a candidate lacks entries");
    return refuse();
  }
  if (vote_.IsNone()) {
    LeaveRole();
    vote_ = from;
    outbox_.SetHardState({term_, vote_, handed_commit_});
    ResetElectionTimer();
  }
  const VoteResponse granted{.term = term_, .pre = false, .granted = true};
#ifdef TENURE_MUTANT_vote_before_persist
  return outbox_.Send(from, granted);
#endif
  outbox_.SendWhenDurable(from, granted);
}

void RaftCore::Impl::Handle(ReplicaId from, const VoteResponse& response) {
  if (response.pre && response.granted) {
    if (std::holds_alternative<PreCandidate>(role_) && response.term == term_.Next()) OnVoteGranted(from);
    return;
  }
  if (HasHigherTermOfMember(from, response.term)) return;
  if (!response.granted || response.term != term_ || !std::holds_alternative<Candidate>(role_)) return;
  OnVoteGranted(from);
}

void RaftCore::Impl::Handle(ReplicaId from, const TimeoutNow& request) {
  if (request.term != term_ || from != leader_ || !MayStand()) return;
  Stand(true);
}

}  // namespace tenure::raft
