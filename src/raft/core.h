// RaftCore's inside. Where its member functions are:
//   core.cc         construction, the clock, dispatch, changes of role, what ends every input
//   election.cc     pre-votes, votes, candidacy, TimeoutNow
//   follower.cc     appends, heartbeats and snapshots received
//   leader.cc       taking office, replication, commitment, answers of peers
//   reads.cc        heartbeat rounds, the lease, linearizable reads, check-quorum, quiescence
//   membership.cc   changes of configuration, transfer of leadership
//
// Every input is Enter(now) ... Leave(). `now_` is the input's time: there is no other clock.
//
// Threading: one owner.
#pragma once

#include <deque>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "raft/log.h"
#include "raft/outbox.h"
#include "raft/progress.h"
#include "raft/raft_core.h"

namespace tenure::raft {

struct Follower {};

struct PreCandidate {
  std::vector<ReplicaId> granted;  // distinct
};

struct Candidate {
  std::vector<ReplicaId> granted;  // distinct; itself once its vote is durable
  uint64_t own_vote;               // durable with this token
};

struct Leader {
  struct Round {
    uint64_t id;
    Instant sent;
  };
  struct Read {
    uint64_t context;
    uint64_t round;  // confirms it
    LogIndex index;
  };
  struct Handover {
    ReplicaId to;
    Instant deadline;
    bool timeout_now_sent;
  };
  struct Uncommitted {
    LogIndex last;
    size_t bytes;
  };

  LogIndex term_start;      // this term's no-op
  std::vector<Peer> peers;  // sorted by id, without itself

  uint64_t round = 0;            // the last one sent
  uint64_t confirmed_round = 0;  // the last one that a majority acknowledged
  bool round_is_fresh = false;   // the last one has not been handed to the driver yet
  std::deque<Round> rounds;      // not confirmed, oldest first
  Instant next_heartbeat;
  Instant lease_until = Instant::min();
  bool lease_is_void = false;  // for the rest of the term
  std::deque<Read> reads;      // by round

  std::optional<Handover> handover;
  std::deque<Uncommitted> uncommitted;  // proposals, oldest first
  size_t uncommitted_bytes = 0;
  Instant busy_at;          // for quiescence: last time there was something to do
  uint64_t woken_with = 0;  // the round that ended the last quiescence

  const Peer* Find(ReplicaId id) const;
  Peer* Find(ReplicaId id) { return const_cast<Peer*>(std::as_const(*this).Find(id)); }
};

class RaftCore::Impl {
 public:
  Impl(const RaftConfig& config, PersistedState state, Prng prng, Instant now);

  void Enter(Instant now);
  void Leave();

  // Inputs, see raft_core.h.
  void Tick();
  Instant NextTick() const;
  void Step(ReplicaId from, Message&& message);
  ProposeResult Propose(std::vector<Bytes> payloads, LogIndex* first, Term* term);
  ProposeResult ProposeConfiguration(const Configuration& target, LogIndex* index, Term* term);
  bool ReadIndex(uint64_t context);
  ProposeResult TransferLeadership(ReplicaId to);
  void Campaign();
  void Wake(std::optional<Duration> delay);
  void OnLeaderUnreachable(Duration delay);
  void NoteUse();
  void SetDiskStalled(bool stalled);
  void OnPersisted(uint64_t token);
  void OnFetched(ReplicaId peer, LogIndex from, std::vector<Entry> entries);
  void OnSnapshotSent(ReplicaId peer, LogIndex mark_index, bool ok);
  void OnSnapshotInstalled(const SnapshotMark& mark);
  void OnSnapshotRejected() { installing_.reset(); }
  void OnApplied(LogIndex index);

  Effects TakeEffects();

  // State.
  Role role() const;
  bool HasLease(Instant now) const;
  // In force: the last one in the log, committed or not (thesis 4.1).
  const Configuration& active() const;
  Instant now() const { return now_; }

  const RaftConfig config_;
  Term term_;
  ReplicaId vote_;
  ReplicaId leader_;
  LogIndex commit_;
  LogIndex handed_commit_;  // given to the driver
  LogIndex applied_;
  bool started_ = false;  // had an input
  bool quiescent_ = false;
  bool disk_stalled_ = false;
  std::optional<std::vector<ReplicaId>> silent_ = std::vector<ReplicaId>();  // SetSilentPeers
  RaftLog log_;
  Outbox outbox_;

 private:
  friend class RaftCore;

  // core.cc
  void RememberTerm(Term term);
  void BecomeFollower(Term term, ReplicaId leader);
  void LeaveRole();
  void ResetElectionTimer();
  void HeardFromLeader(ReplicaId leader);
  void AppendToLog(Entry entry);
  void OnConfigurationInForce();
  void AdvanceCommit(LogIndex commit);
  Leader* AsLeader() { return std::get_if<Leader>(&role_); }
  const Leader* AsLeader() const { return std::get_if<Leader>(&role_); }
  bool IsVoter() const { return active().IsVoter(config_.self); }
  // A leader of this term was heard within the minimum election timeout, or this may have been forgotten.
  bool IsSticky() const { return now_ < sticky_until_; }
  bool IsWaitingAfterRestart() const { return now_ < wait_until_; }
  // Rule 6: whether a message of `from`, whose log is known to hold `index` of `term`, may raise our term.
  bool MayRaiseTerm(ReplicaId from, Term term, LogIndex index) const;
  // For answers: they come from members only.
  bool HasHigherTermOfMember(ReplicaId from, Term term);

  // election.cc
  bool IsPossibleLeader() const;
  bool MayStand() const;
  void StartPreVote();
  void Stand(bool transfer);
  void AskForVotes(const VoteRequest& request);
  void OnVoteGranted(ReplicaId from);
  void Handle(ReplicaId from, const VoteRequest& request);
  void Handle(ReplicaId from, const VoteResponse& response);
  void Handle(ReplicaId from, const TimeoutNow& request);

  // follower.cc
  bool FollowSender(ReplicaId from, Term term, Term entry_term, LogIndex entry_index);
  void Handle(ReplicaId from, AppendRequest&& request);
  void Handle(ReplicaId from, const HeartbeatRequest& request);
  void Handle(ReplicaId from, const InstallSnapshot& request);
  void RejectAppend(ReplicaId from, const AppendRequest& request);
  LogIndex MergeEntries(AppendRequest&& request);
  void Acknowledge(ReplicaId from, LogIndex verified);

  // leader.cc
  void BecomeLeader();
  void RefreshPeers();
  void AppendOwn(EntryType type, Bytes payload);
  void SendAppendsToAll();
  void SendAppends(Peer& peer);
  void SendAppend(Peer& peer, std::vector<Entry> entries);
  void ResendIfStalled(Peer& peer);
  void OfferSnapshot(Peer& peer);
  void MaybeCommit();
  void OnCommitAdvanced();
  void Handle(ReplicaId from, const AppendResponse& response);
  void Handle(ReplicaId from, const HeartbeatResponse& response);

  // reads.cc
  void StartRound(bool quiesce);
  void OnRoundAcknowledged();
  Duration LeaseLength() const;
  bool HeardFromMajority() const;
  bool MayQuiesce() const;
  bool AllowsQuiescence(const Peer& peer) const;
  void Unquiesce();
  void StandSoon(Instant at);

  // membership.cc
  const Peer* BestSuccessor() const;
  void LeaveJointOrOffice();
  void StartHandover(ReplicaId to);
  void AdvanceHandover();
  void OnHandoverTimeout();

  std::variant<Follower, PreCandidate, Candidate, Leader> role_;
  Prng prng_;
  Instant now_;
  Instant wait_until_ = Instant::min();    // rule 8
  Instant sticky_until_ = Instant::min();  // no vote is granted and no election begun before
  Instant election_at_;
  static constexpr uint32_t kQuickVotes = 5;
  uint32_t quick_votes_ = 0;  // pre-votes to come that are repeated soon: the leader is probably gone
  std::optional<InstallSnapshot> installing_;
  RoleChange reported_role_;
};

}  // namespace tenure::raft
