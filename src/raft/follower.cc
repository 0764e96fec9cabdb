// What a follower does with its leader's messages (order rules 2, 3, 5).
#include <algorithm>

#include "base/check.h"
#include "base/format.h"
#include "base/rare_path.h"
#include "raft/core.h"

namespace tenure::raft {
namespace {

bool IsWellFormed(const AppendRequest& request) {
  LogIndex index = request.prev_index;
  Term term = request.prev_term;
  for (const Entry& entry : request.entries) {
    if (entry.index != index.Next() || entry.term < term || entry.term > request.term) return false;
    index = entry.index;
    term = entry.term;
  }
  return true;
}

}  // namespace

// Whether `from` is this term's leader to us; (entry_term, entry_index) is the furthest position its message
// names.
bool RaftCore::Impl::FollowSender(ReplicaId from, Term term, Term entry_term, LogIndex entry_index) {
  if (term < term_) return false;
  if (term > term_) {
    if (!MayRaiseTerm(from, entry_term, entry_index)) return false;
    BecomeFollower(term, from);
  }
  TENURE_CHECK(AsLeader() == nullptr, "one leader per term: {} says it leads term {}, as {} does", from, term,
               config_.self);
  TENURE_CHECK(leader_.IsNone() || leader_ == from, "one leader per term: {} leads term {}, so did {}", from,
               term, leader_);
  HeardFromLeader(from);
  return true;
}

void RaftCore::Impl::Handle(ReplicaId from, AppendRequest&& request) {
  if (!IsWellFormed(request)) return;
  const bool probe = request.entries.empty();
  if (!FollowSender(from, request.term, probe ? request.prev_term : request.entries.back().term,
                    probe ? request.prev_index : request.entries.back().index)) {
    return RejectAppend(from, request);
  }
  if (installing_) return;  // the log is about to be replaced; the leader asks again
  // What lies before the mark is committed, here and there, so the append begins at the mark at the earliest.
  if (request.prev_index >= log_.mark_index() && !log_.Matches(request.prev_index, request.prev_term)) {
    return RejectAppend(from, request);
  }
  const LogIndex commit = request.commit;
  const LogIndex verified = MergeEntries(std::move(request));
  AdvanceCommit(std::min(commit, verified));
  Acknowledge(from, verified);
}

void RaftCore::Impl::RejectAppend(ReplicaId from, const AppendRequest& request) {
  const LogIndex hint = log_.LastPossibleMatch(request.prev_index, request.prev_term);
  const AppendResponse rejected{.term = term_,
                                .accepted = false,
                                .index = request.prev_index,
                                .hint_index = hint,
                                .hint_term = log_.TermAt(hint)};
  // In the leader's own term the answer also says that we are in it, which is true once that is durable.
  if (request.term == term_) return outbox_.SendWhenDurable(from, rejected);
  outbox_.Send(from, rejected);
}

// Makes the log hold the request's entries; returns the last index that the request verified.
LogIndex RaftCore::Impl::MergeEntries(AppendRequest&& request) {
  const LogIndex verified = request.prev_index.Plus(request.entries.size());
  auto entry = request.entries.begin();
  while (entry != request.entries.end() && entry->index <= log_.last_index() &&
         (entry->index <= log_.mark_index() || log_.Matches(entry->index, entry->term))) {
    ++entry;
  }
  if (entry == request.entries.end()) return verified;
  if (entry->index <= log_.last_index()) {
    TENURE_CHECK(entry->index > commit_, "committed entry {} of term {} would be replaced by one of term {}",
                 entry->index, log_.TermAt(entry->index), entry->term);
    const LogIndex configured_at = log_.configuration_index();
    log_.TruncateFrom(entry->index);
    outbox_.TruncateFrom(entry->index);
    TENURE_RARE_PATH("raft: a conflict truncates the log");
    if (configured_at >= entry->index) {
      TENURE_RARE_PATH("raft: a truncation rolls a configuration back");
      OnConfigurationInForce();
    }
  }
  for (; entry != request.entries.end(); ++entry) AppendToLog(std::move(*entry));
  return verified;
}

void RaftCore::Impl::Acknowledge(ReplicaId from, LogIndex verified) {
  AppendResponse accepted{.term = term_, .accepted = true, .index = verified};
#ifdef TENURE_MUTANT_ack_tail
  accepted.index = log_.last_index();
#endif
#ifdef TENURE_MUTANT_ack_before_persist
  return outbox_.Send(from, accepted);
#endif
  outbox_.SendWhenDurable(from, accepted, accepted.index);
}

void RaftCore::Impl::Handle(ReplicaId from, const HeartbeatRequest& request) {
  // A heartbeat proves nothing about its sender's log: one from a stranger waits until an append has
  // introduced it.
  const bool follows = FollowSender(from, request.term, Term(), LogIndex());
  // Rounds are numbered per term, and the sender may lead our term by now: refusing names no round.
#ifdef TENURE_MUTANT_round_of_any_term
  if (!follows) return outbox_.Send(from, HeartbeatResponse{.term = term_, .round = request.round});
#endif
  if (!follows) return outbox_.Send(from, HeartbeatResponse{.term = term_, .round = 0});
  if (!installing_) AdvanceCommit(request.commit);
  quiescent_ = request.quiesce && commit_ == log_.last_index() && outbox_.persisted() == log_.last_index();
  outbox_.SendWhenDurable(from, HeartbeatResponse{.term = term_, .round = request.round});
}

void RaftCore::Impl::Handle(ReplicaId from, const InstallSnapshot& request) {
  const SnapshotMark& mark = request.mark;
  if (!FollowSender(from, request.term, mark.term, mark.index)) {
    outbox_.Send(from, AppendResponse{.term = term_, .accepted = false, .index = mark.index});
    return;
  }
  if (installing_) return;
  if (mark.index <= commit_ || log_.Matches(mark.index, mark.term)) {
    TENURE_RARE_PATH("raft: a snapshot is offered that brings nothing new");
    AdvanceCommit(mark.index);
    return Acknowledge(from, mark.index);
  }
  installing_ = request;
  outbox_.effects().install_snapshot = mark;
}

void RaftCore::Impl::OnSnapshotInstalled(const SnapshotMark& mark) {
  TENURE_CHECK(installing_ && installing_->mark == mark, "no snapshot at {} was asked to be installed",
               mark.index);
  const Term offered_in = installing_->term;
  installing_.reset();
  log_.Reset(mark);
  outbox_.OnLogReplaced(mark.index);
  commit_ = handed_commit_ = applied_ = mark.index;
  OnConfigurationInForce();
  // A leader that took over meanwhile has verified nothing yet: it asks by itself.
  if (term_ == offered_in) Acknowledge(leader_, mark.index);
}

}  // namespace tenure::raft
