#include "raft/core.h"

#include <algorithm>

#include "base/check.h"
#include "base/format.h"
#include "raft/quorum.h"

namespace tenure::raft {
namespace {

// It has never heard anybody: what a replica acknowledges (in a term >= 1) leaves after the term is durable.
bool HasNeverRun(const PersistedState& state) {
  return state.hard_state.term.IsNone() && state.mark.index.IsNone() && state.last_index.IsNone();
}

}  // namespace

RaftCore::Impl::Impl(const RaftConfig& config, PersistedState state, Prng prng, Instant now)
    : config_(config),
      term_(state.hard_state.term),
      vote_(state.hard_state.vote),
      commit_(std::max(state.hard_state.commit, state.mark.index)),
      handed_commit_(state.mark.index),
      applied_(state.mark.index),
      log_(state),
      outbox_(state.hard_state, state.last_index),
      prng_(prng),
      now_(now) {
  TENURE_CHECK(!config.self.IsNone(), "a replica of group {} has no id", config.group);
  TENURE_CHECK(log_.last_term() <= term_, "R1: the log has term {}, the hard state {}", log_.last_term(),
               term_);
  TENURE_CHECK(commit_ <= log_.last_index(), "R5: commit {} is beyond the log's end {}", commit_,
               log_.last_index());
  reported_role_ = {Role::kFollower, term_, leader_};
  const Duration timeout = config.election_timeout_min;
  const bool alone = IsVoter() && HasMajority(active(), [&](ReplicaId id) { return id == config.self; });
  Duration wait = timeout;
#ifdef TENURE_MUTANT_restart_no_wait
  wait = Duration::zero();
#endif
  if (HasNeverRun(state)) {
    // Nobody can hold a lease on its silence, so only a fair spread of candidates counts, not the full
    // timeout.
    election_at_ = alone ? now : now + timeout / 4 + Duration(prng_.Between(0, timeout.count() - 1));
  } else {
    wait_until_ = now + wait;
    election_at_ = alone ? wait_until_ : now + timeout + Duration(prng_.Between(0, timeout.count() - 1));
  }
  Leave();
}

void RaftCore::Impl::Enter(Instant now) {
  now_ = std::max(now_, now);
  started_ = true;
}

// Ends every input: what follows from it for the driver.
void RaftCore::Impl::Leave() {
#ifdef TENURE_MUTANT_apply_undurable
  const LogIndex appliable = commit_;
#else
  const LogIndex appliable = std::min(commit_, outbox_.persisted());
#endif
  if (appliable > handed_commit_) outbox_.effects().commit = handed_commit_ = appliable;
  const RoleChange now_is{role(), term_, leader_};
  if (now_is == reported_role_) return;
  reported_role_ = now_is;
  outbox_.effects().role_change = now_is;
}

void RaftCore::Impl::Tick() {
  if (Leader* leader = AsLeader()) {
    if (leader->handover && now_ >= leader->handover->deadline) OnHandoverTimeout();
    leader = AsLeader();
    if (leader == nullptr || quiescent_ || now_ < leader->next_heartbeat) return;
    if (!HeardFromMajority()) {
      BecomeFollower(term_, ReplicaId());
    } else {
      leader->next_heartbeat = now_ + config_.heartbeat_interval;
      StartRound(MayQuiesce());
    }
    return;
  }
  if (quiescent_ || now_ < election_at_) return;
  if (MayStand()) {
    StartPreVote();
  } else {
    ResetElectionTimer();
  }
}

Instant RaftCore::Impl::NextTick() const {
  if (const Leader* leader = AsLeader()) {
    const Instant heartbeat = quiescent_ ? kFarFuture : leader->next_heartbeat;
    return leader->handover ? std::min(heartbeat, leader->handover->deadline) : heartbeat;
  }
  return quiescent_ || !IsPossibleLeader() ? kFarFuture : election_at_;
}

void RaftCore::Impl::Step(ReplicaId from, Message&& message) {
  if (from.IsNone() || from == config_.self) return;
  std::visit([&](auto&& m) { Handle(from, std::forward<decltype(m)>(m)); }, std::move(message));
}

void RaftCore::Impl::OnPersisted(uint64_t token) {
  if (!outbox_.OnPersisted(token)) return;
  if (auto* candidate = std::get_if<Candidate>(&role_);
      candidate != nullptr && outbox_.IsDurable(candidate->own_vote)) {
    OnVoteGranted(config_.self);
  }
  if (AsLeader() != nullptr) MaybeCommit();
  if (AsLeader() != nullptr) AdvanceHandover();
}

void RaftCore::Impl::OnApplied(LogIndex index) {
  if (!started_) {
    // What the state machine holds is committed and durable, though the hard state may not say so yet.
    commit_ = std::max(commit_, index);
    handed_commit_ = std::max(handed_commit_, index);
    if (outbox_.effects().commit && *outbox_.effects().commit < commit_) outbox_.effects().commit = commit_;
  }
  TENURE_CHECK(index <= handed_commit_ && index <= outbox_.persisted(),
               "R5: applied {}, commit is {}, durable {}", index, handed_commit_, outbox_.persisted());
  applied_ = std::max(applied_, index);
}

Effects RaftCore::Impl::TakeEffects() {
  if (Leader* leader = AsLeader()) leader->round_is_fresh = false;
  return outbox_.Take({term_, vote_, handed_commit_});
}

Role RaftCore::Impl::role() const {
  static_assert(static_cast<size_t>(Role::kLeader) == 3);
  return static_cast<Role>(role_.index());
}

const Configuration& RaftCore::Impl::active() const {
#ifdef TENURE_MUTANT_config_on_commit
  return log_.ConfigurationAt(commit_);
#else
  return log_.configuration();
#endif
}

void RaftCore::Impl::RememberTerm(Term term) {
  TENURE_CHECK(term > term_, "R1: the term would go from {} to {}", term_, term);
  term_ = term;
  vote_ = ReplicaId();
  outbox_.DropWaiting();
  outbox_.SetHardState({term_, vote_, handed_commit_});
}

void RaftCore::Impl::BecomeFollower(Term term, ReplicaId leader) {
  LeaveRole();
  if (term > term_) RememberTerm(term);
  leader_ = leader;
}

// Whatever the role was, it is a follower's now.
void RaftCore::Impl::LeaveRole() {
  quiescent_ = false;
  if (std::holds_alternative<Follower>(role_)) return;
  if (Leader* leader = AsLeader()) {
    for (const Leader::Read& read : leader->reads) outbox_.effects().failed_reads.push_back(read.context);
  }
  role_ = Follower{};
  leader_ = ReplicaId();
  ResetElectionTimer();
}

void RaftCore::Impl::ResetElectionTimer() {
  const Duration timeout = config_.election_timeout_min;
  election_at_ = now_ + timeout + Duration(prng_.Between(0, timeout.count() - 1));
}

void RaftCore::Impl::HeardFromLeader(ReplicaId leader) {
  LeaveRole();
  leader_ = leader;
  sticky_until_ = now_ + config_.election_timeout_min;
  quick_votes_ = 0;
#ifdef TENURE_MUTANT_reset_vote
  outbox_.SetHardState({term_, vote_ = ReplicaId(), handed_commit_});
#endif
  ResetElectionTimer();
}

void RaftCore::Impl::AppendToLog(Entry entry) {
  log_.Append(entry);
  const bool configures = entry.type == EntryType::kConfiguration;
  outbox_.AppendEntry(std::move(entry));
  if (configures) OnConfigurationInForce();
}

// A configuration was appended, rolled back or replaced.
void RaftCore::Impl::OnConfigurationInForce() {
  outbox_.effects().configuration = active();
  if (AsLeader() != nullptr) RefreshPeers();
}

void RaftCore::Impl::AdvanceCommit(LogIndex commit) {
  if (commit <= commit_) return;
  TENURE_CHECK(commit <= log_.last_index(), "R2: commit {} is beyond the log's end {}", commit,
               log_.last_index());
#ifdef TENURE_MUTANT_config_on_commit
  const bool configures = log_.configuration_index() > commit_;
  commit_ = commit;
  if (configures) OnConfigurationInForce();
#endif
  commit_ = commit;
}

bool RaftCore::Impl::MayRaiseTerm(ReplicaId from, Term term, LogIndex index) const {
#ifdef TENURE_MUTANT_outsider_raises_term
  if (!from.IsNone()) return true;
#endif
  // One that is no voter here may be a voter of a configuration that we lack - if its log has more than ours.
  return active().IsVoter(from) || log_.IsAhead(term, index);
}

bool RaftCore::Impl::HasHigherTermOfMember(ReplicaId from, Term term) {
  if (term <= term_) return false;
  const bool raises = active().Contains(from) || MayRaiseTerm(from, Term(), LogIndex());
  if (raises) BecomeFollower(term, ReplicaId());
  return true;
}

}  // namespace tenure::raft
