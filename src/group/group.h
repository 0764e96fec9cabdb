// One replica at work: feeds its RaftCore, persists what the core wants, applies what is committed, answers
// proposers and readers. Everything it wants from outside in a turn it leaves in its host's `Turn`.
//
// Driven by GroupHost, on its executor: inputs first, then Submit() and ApplyCommitted() once a turn.
// Invariants: G1 applied <= commit <= what is durable here (raft R5)
//             G2 every accepted proposal is answered exactly once
//             G3 a read callback runs only when applied >= the index that confirmed it
//
//   Start -> Running <-> Installing (a snapshot replaces the state; nothing is applied meanwhile)
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "group/group_host.h"
#include "group/host_monitor.h"
#include "group/snapshot_files.h"

namespace tenure::group {

// What a group's turn leaves for the host.
struct Turn {
  std::vector<wal::Write> writes;
  // What follows when all writes of this turn are durable.
  struct AfterPersist {
    GroupId group;
    uint64_t token;
    std::vector<raft::Outgoing> messages;
  };
  std::vector<AfterPersist> after_persist;
  std::vector<Closure> when_durable;  // of all writes of this turn
  std::vector<Closure> answers;       // callbacks to proposers, readers and the observer, run last
};

// What the groups of a host share.
struct GroupShared {
  GroupHost::Dependencies& dependencies;
  const SnapshotFiles& snapshots;
  const GroupHostOptions& options;
  size_t pending_bytes = 0;  // proposed and not answered, all groups
  size_t groups = 0;         // that share max_cache_bytes
  // Asks for a turn of the group.
  std::function<void(GroupId)> wake;
  // Members live on these hosts from now on; before: on those.
  std::function<void(const std::vector<uint64_t>& before, const std::vector<uint64_t>& now)> watch;
  std::function<HostHealth(uint64_t host)> health;
  // The oldest snapshot of the group that is being made for a member, or brought to one.
  std::function<std::optional<LogIndex>(GroupId)> snapshot_on_its_way;
  // Replaces the state in kv by a stored snapshot (SnapshotTransfer::Install).
  std::function<void(GroupId, const raft::SnapshotMark&, std::string applied_key,
                     Callback<StatusOr<uint64_t>>)>
      install;
};

class Group {
 public:
  Group(GroupShared& shared, GroupId id, ReplicaId self, raft::PersistedState state,
        std::unique_ptr<StateMachine> machine);
  ~Group();

  // Loads the state; a snapshot that was being installed when the process ended is installed first.
  void Start();

  // --- inputs ---
  void Propose(std::string command, Callback<ProposeOutcome> done);
  void ProposeConfiguration(const raft::Configuration& target, Callback<ProposeOutcome> done);
  void Read(Callback<Status> done);
  raft::ProposeResult TransferLeadership(ReplicaId to);
  // To the voter that holds most. False if this does not lead, or nobody is there to lead after it.
  bool HandOver();
  void Campaign();
  void Step(ReplicaId from, uint64_t from_host, raft::Message message);
  void Tick();
  // The process on `host` went silent or came back. Whoever is concerned by it wakes after `delay`, or, as
  // the second choice to stand, one election timeout later. False: this group is not concerned.
  bool OnHostSilent(uint64_t host, Duration delay);
  bool OnHostReturned(uint64_t host, bool restarted, Duration delay);
  // The connection to the process on `host` broke. False: it does not lead this group, or others stand first.
  bool OnHostUnreachable(uint64_t host, Duration delay);
  void SetDiskStalled(bool stalled);
  void OnPersisted(uint64_t token, std::vector<raft::Outgoing> messages);
  void OnSnapshotSent(ReplicaId peer, LogIndex mark_index, bool ok);
  // kv holds everything applied up to `flushed` durably: the log before it may go, less what is kept for
  // members that lag. `pinned`: of entries up to here nothing is kept that nobody is known to need.
  void Compact(LogIndex flushed, LogIndex pinned);
  // Ends every pending proposal and read (kUnknown, UNAVAILABLE) through `turn`.
  void Abandon(Turn& turn);

  // --- the turn ---
  // What came in: proposals, reads, and what the core made of messages. `turn` has what is to be persisted;
  // messages are with the transport.
  void Submit(Turn& turn);
  // One batch of what is committed, once that is on its way.
  void ApplyCommitted(Turn& turn);

  Instant NextTick() const { return core_.NextTick(); }
  LogIndex applied() const { return applied_; }
  LogIndex compacted() const { return compacted_; }
  // After a flush some of the log might go.
  bool CanCompact() const { return !installing_ && KeptFloor() > compacted_; }
  // The state is that of `applied`: not while a snapshot is being installed.
  bool HasWholeState() const { return !installing_; }
  bool Serving() const;
  bool ServingWithLease() const;
  // It was read from under the lease: it is not idle.
  void NoteUse() { used_ = true; }
  GroupStatus Describe() const;
  ReplicaId leader() const { return core_.leader(); }
  ReplicaId self() const { return self_; }
  std::optional<Duration> Staleness() const;
  const raft::RaftCore& core() const { return core_; }
  const kv::Reader& state() const { return state_; }
  // The replica the peers' answers came from last: where a member lives.
  uint64_t HostOf(ReplicaId replica) const;
  // Peers that asked for a snapshot since the last call.
  std::vector<ReplicaId> TakeSnapshotRequests() { return std::exchange(snapshot_requests_, {}); }
  raft::SnapshotMark MarkAt(LogIndex index) const;

 private:
  struct PendingProposal {
    LogIndex index;
    Term term;
    size_t bytes;
    Callback<ProposeOutcome> done;
  };
  struct QueuedProposal {
    std::string command;
    Callback<ProposeOutcome> done;
  };
  struct PendingRead {
    std::vector<Callback<Status>> done;
    LogIndex index;  // confirmed index; none while unconfirmed
    bool confirmed = false;
  };

  void WatchMembers(const raft::Configuration& configuration);
  std::optional<std::vector<ReplicaId>> SilentPeers() const;
  bool LivesOn(ReplicaId replica, uint64_t host) const;
  bool MajorityLives() const;
  Duration TurnToStand(ReplicaId lost) const;
  void NoteBytes(std::span<const raft::Entry> entries);
  uint64_t BytesAfter(LogIndex index) const;
  LogIndex KeptFloor() const;
  bool IsAllThatIsCommitted(LogIndex named) const;
  void SubmitProposals(Turn& turn);
  void SubmitReads(Turn& turn);
  void CollectEffects(Turn& turn);
  void OnRoleChange(const raft::RoleChange& change, Turn& turn);
  void OnReadEffects(const raft::Effects& effects, Turn& turn);
  void SendAll(std::vector<raft::Outgoing> messages);
  bool ApplyBatch(Turn& turn);
  // These return how many they applied: the rest is for a later turn.
  size_t ApplyEntries(std::span<const raft::Entry> entries, Turn& turn);
  size_t ApplyOneBatch(std::span<const raft::Entry> entries, Turn& turn);
  // How many of them have to be applied together.
  size_t Prepare(std::span<const raft::Entry> entries, const kv::Reader& state);
  void ApplyFetched(std::shared_ptr<const std::vector<raft::Entry>> entries, size_t from);
  void AnswerApplied(LogIndex index, Term term, std::string result, Turn& turn);
  void FetchForApply();
  void FetchForPeer(const raft::FetchRequest& request);
  void CompleteReads(Turn& turn);
  void CheckServing(Turn& turn);
  // Nobody will say what became of proposals, but for those that stand in the log up to `committed`, nor of
  // reads.
  void FailPending(LogIndex committed, Turn& turn);
  void AcceptSnapshot(const raft::SnapshotMark& mark, Turn& turn);
  void Install(const raft::SnapshotMark& mark, bool report);
  void OnInstalled(const raft::SnapshotMark& mark, uint64_t state_hash, bool report);
  LogIndex StoredApplied() const;
  void LoadStateHash();
  void RecordStateHash();
  void OnDigests(ReplicaId from, const std::vector<raft::StateDigest>& digests);

  GroupShared& shared_;
  const GroupId id_;
  const ReplicaId self_;
  Logger logger_;
  std::unique_ptr<StateMachine> machine_;
  const std::string host_prefix_;
  const std::string state_prefix_;
  kv::PrefixReader state_;
  raft::RaftCore core_;

  LogIndex applied_;
  LogIndex commit_;              // as the core gave it
  LogIndex compacted_;           // the log begins after this
  Term leading_term_;            // led, as of the last role change; none if not leading
  Term serving_term_;            // leading_term_ once its no-op is applied here
  LogIndex leader_first_index_;  // the no-op's index in the term led
  uint64_t state_hash_ = 0;      // of the state at applied_
  StateComparison comparison_;
  std::vector<ReplicaId> diverged_;  // as logged last
  bool fetching_ = false;            // a WAL read for applying is under way
  bool installing_ = false;
  bool used_ = false;           // since the last tick
  uint64_t applied_bytes_ = 0;  // in this run
  // (index, applied_bytes_ up to and with it), one per kSampleBytes, from compacted_ on.
  std::deque<std::pair<LogIndex, uint64_t>> byte_samples_;
  // When this replica last heard from its leader that it lacks nothing of what was committed then.
  std::optional<Instant> complete_at_;
  uint64_t next_read_context_ = 1;

  std::vector<QueuedProposal> queued_;
  std::deque<PendingProposal> pending_;
  std::vector<Callback<Status>> queued_reads_;
  std::map<uint64_t, PendingRead> reads_;
  std::map<ReplicaId, uint64_t> seen_hosts_;
  std::vector<uint64_t> watched_;  // hosts of the other members
  std::vector<ReplicaId> snapshot_requests_;
  // Callbacks that come back later look whether the group is still there.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::group
