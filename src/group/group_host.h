// Owner of the Raft groups of one executor: gives each its time, messages and persistence, applies what is
// committed and answers who proposed. Within one turn of the executor it gathers what all groups want
// persisted into one WAL append and what they want sent into one message per destination.
//
// Driven by controller/ (group 0) and node/ (regions). It does not decide membership or placement.
// Threading:  one executor, the one in Dependencies; every callback runs there.
// Lifetime:   Dependencies outlive the host. Destruction drops pending callbacks without running them.
// Ordering:   proposals of one group are answered in log order; a read confirmed after a proposal was
//             answered sees it.
// Durability: kApplied means durable on a majority, applied here.
// Bounds:     bytes proposed but not applied are limited per group and per host; beyond it proposals are
//             refused (kOverloaded), never queued.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/prng.h"
#include "base/status.h"
#include "group/state_hash.h"
#include "group/state_machine.h"
#include "group/transport.h"
#include "kv/caching_engine.h"
#include "kv/kv.h"
#include "raft/raft_core.h"
#include "runtime/executor.h"
#include "wal/snapshot_store.h"
#include "wal/wal.h"

namespace tenure::group {

// Outcome of a proposal.
struct ProposeOutcome {
  enum class Kind : uint8_t {
    kApplied,       // `index` and `result` are set
    kNotLeader,     // nothing happened; `leader` is a hint, none if unknown
    kTransferring,  // nothing happened; leadership is being handed over: try again shortly
    kOverloaded,    // nothing happened; try again shortly
    kOutOfSpace,    // nothing happened; the disk's reserve is reached
    kUnknown,       // leadership was lost meanwhile: it may or may not have been applied
  };
  Kind kind;
  LogIndex index;
  std::string result;
  ReplicaId leader;
};

struct GroupStatus {
  GroupId group;
  ReplicaId self;
  raft::Role role = raft::Role::kFollower;
  Term term;
  ReplicaId leader;
  ReplicaId vote;
  LogIndex commit;
  LogIndex applied;
  LogIndex last;
  Term last_term;
  raft::Configuration configuration;  // in force; decided once `commit` has reached `configuration_index`
  LogIndex configuration_index;
  std::vector<raft::RaftCore::PeerStatus> peers;  // on the leader
  bool serving = false;     // leads and has applied an entry of its term: reads and proposals are answered
  uint64_t state_hash = 0;  // at `applied`
  std::vector<Divergence> diverged;  // on the leader: replicas whose state is not that of the others
  bool quiescent = false;            // idle, without timers
};

// Called at the end of a turn, in order.
class GroupObserver {
 public:
  virtual ~GroupObserver() = default;
  // Role, term or known leader changed; `serving` as in GroupStatus.
  virtual void OnRoleChange(GroupId group, const raft::RoleChange& change) = 0;
  // This replica leads `term` and has applied the no-op of it.
  virtual void OnServing(GroupId group, Term term) = 0;
  virtual void OnConfiguration(GroupId group, const raft::Configuration& configuration) = 0;
};

// Sees what happens in the groups, for checkers outside the product (the simulator's invariants). Must not
// call back.
class GroupTrace {
 public:
  virtual ~GroupTrace() = default;
  // Before the entry's proposer is answered.
  virtual void OnApply(GroupId group, ReplicaId self, const raft::Entry& entry) = 0;
  virtual void OnLead(GroupId group, ReplicaId self, Term term) = 0;
  // The replica's state has this hash (group/state_hash.h) with everything up to `index` applied.
  virtual void OnStateHash(GroupId group, ReplicaId self, LogIndex index, uint64_t hash) = 0;
  // `configuration` is in force at this replica, at its start too; `leads`: it is the one that appended it.
  virtual void OnConfiguration(GroupId group, ReplicaId self, bool leads,
                               const raft::Configuration& configuration) = 0;
  // A follower concludes from a message of its leader that nothing is committed beyond `commit`: it is as recent
  // as that message (Staleness).
  virtual void OnComplete(GroupId, ReplicaId /*self*/, LogIndex /*commit*/) {}
};

struct GroupHostOptions {
  raft::RaftConfig raft;                // group and self are filled in per group
  size_t max_batch_bytes = 4 << 20;     // applied in one kv batch
  size_t max_cache_bytes = 64 << 20;    // log entries in memory, all groups
  kv::CachingOptions cache;             // records in memory, all groups
  size_t max_pending_bytes = 64 << 20;  // proposed, not applied, all groups
  uint64_t flush_bytes = 64 << 20;      // kv bytes written before a flush that allows the log to be trimmed
  Duration flush_interval = std::chrono::minutes(5);
  // Behind the flushed index entries are kept for members that lag, by either bound, unless they pin a
  // segment of a log that is too large.
  uint64_t keep_entries = 20000;
  size_t keep_bytes = 16 << 20;
  // A leader keeps what its slowest member lacks even so, up to this bound; then the member is sent a snapshot.
  // Four times as much for one that answers, and behind a snapshot that is on its way.
  size_t member_budget_bytes = 64 << 20;
  // Where the log of the process is larger than this, each group has its share of it for such members, no more:
  // one process that is away, or whose disk hangs, must not fill the disks of those that lead.
  uint64_t max_kept_bytes = 1 << 30;
  // Beyond it groups that pin the oldest segments are flushed and compacted, however cold they are.
  uint64_t trim_log_bytes = 96 << 20;
  size_t snapshot_chunk_bytes = 256 << 10;
};

class GroupHost : public MessageReceiver {
 public:
  struct Dependencies {
    runtime::Executor& executor;
    runtime::Executor& background;  // the one of `snapshots`
    wal::Wal& wal;
    kv::Engine& engine;
    wal::SnapshotStore& snapshots;
    Transport& transport;
    GroupObserver& observer;
    Prng prng;
    Logger logger;
    GroupTrace* trace = nullptr;
    // The state of a group cannot be restored here (its snapshot is damaged): the process has to end with
    // this reason. Null: a failed check ends it.
    std::function<void(Status)> on_failure = nullptr;
    // Log, engine and snapshots may be shared with another host: which of the groups in them are this one's.
    // Null: all.
    std::function<bool(GroupId)> owns = nullptr;
  };
  GroupHost(Dependencies dependencies, GroupHostOptions options);
  ~GroupHost() override;
  GroupHost(const GroupHost&) = delete;
  GroupHost& operator=(const GroupHost&) = delete;

  // Starts a replica that the log knows (wal.recovered()) or makes a new one whose log begins with `initial`.
  // `initial` is ignored for a known one. A replica that joins a group which is there already begins with an
  // empty one: it stands for nothing until the leader's log makes it a member. `campaign`: a new group need
  // not wait for its first election timeout. `durable`, if Start succeeds: OK when the log says that this
  // replica is here; ABORTED if it was destroyed before.
  // FAILED_PRECONDITION if this or a higher replica of the group was destroyed here, or the log is that of
  // another replica; ALREADY_EXISTS if the group runs here; UNAVAILABLE while what was here is being
  // destroyed or recovered: try again.
  Status Start(GroupId group, ReplicaId self, const raft::Configuration& initial,
               std::unique_ptr<StateMachine> machine, bool campaign, Callback<Status> durable = nullptr);
  // Region recovery: the log of replica `from`, whose group has lost its majority for good, goes on as that
  // of `to`, a replica id which the group has never had, on `host`, as the only voter. Appends that
  // configuration in a new term and starts the replica once it is durable; starts it only, if the log says so
  // already. Whatever still speaks for `from`, or to it, finds nobody here. `done`: FAILED_PRECONDITION if
  // the log is neither replica's, UNAVAILABLE while a snapshot is being installed. `above`: a term that was
  // known somewhere; the new one is higher, so that nobody takes the past for the present.
  void Recover(GroupId group, ReplicaId from, ReplicaId to, uint64_t host, Term above,
               std::unique_ptr<StateMachine> machine, Callback<Status> done);
  // Of a group that runs, or whose log was found at start: the configuration in force.
  std::optional<raft::Configuration> ConfigurationOf(GroupId group) const;
  // The same with the index of its entry, or of the log's begin if that is later, and the highest term that
  // the log knows.
  struct KnownConfiguration {
    raft::Configuration members;
    LogIndex index;
    Term term;
  };
  std::optional<KnownConfiguration> KnownConfigurationOf(GroupId group) const;
  // Stops the replica, writes a tombstone and removes its state and snapshots; `done` when the tombstone is
  // durable and the rest is gone (what a crash brings back of it, the next start removes). Pending proposals
  // end kUnknown. Neither `replica` nor one with a lower id starts here again; one with a higher id may.
  // None: no replica of the group ever does. Destroying what is absent is success, and remembered all the
  // same. If a replica with a higher id is here, `replica` left before: nothing happens.
  void Destroy(GroupId group, ReplicaId replica, Callback<Status> done);

  void Propose(GroupId group, std::string command, Callback<ProposeOutcome> done);
  // A linearizable read: `done` runs (OK) at a moment at which the state in kv contains everything
  // acknowledged before this call; read it within the callback. UNAVAILABLE if this replica does not lead or
  // loses leadership.
  void Read(GroupId group, Callback<Status> done);
  // For kNotLeader-style errors of Read.
  std::optional<ReplicaId> LeaderOf(GroupId group) const;
  raft::ProposeResult TransferLeadership(GroupId group, ReplicaId to);
  void ProposeConfiguration(GroupId group, const raft::Configuration& target, Callback<ProposeOutcome> done);

  // Groups that had anything to do since the last call; what StatusOf says of the others is as it was.
  std::set<GroupId> TakeProcessed();

  // The first index that can still be read from the log, minus one.
  LogIndex CompactedUpTo(GroupId group) const;

  bool Runs(GroupId group) const;
  // This replica is gone for good: it was destroyed here, or dropped by a repair, or one with a higher id
  // was.
  bool IsBuried(GroupId group, ReplicaId replica) const;
  // The replica that runs here, or whose log was found at start. None: there is none, or its log does not
  // tell (only logs of replicas that joined a group, or came back, always do).
  ReplicaId ReplicaOf(GroupId group) const;
  // The log's disk does not answer, and everything that was led here is being given up.
  bool disk_stalled() const;
  std::vector<GroupId> groups() const;
  std::optional<GroupStatus> StatusOf(GroupId group) const;
  // Leads, lease held now: cached answers may leave. Counts as a use of the group, which is not idle then.
  bool Serving(GroupId group);
  // Idle, without timers; false if it does not run here.
  bool IsQuiescent(GroupId group) const;
  // How old the state may be that is shown here: since when this replica has had no word from its leader that it
  // holds all that was committed (zero on the leader); nullopt: that is not known, or not all of it is applied.
  std::optional<Duration> Staleness(GroupId group) const;
  // Not while a snapshot replaces the state piece by piece.
  bool HasWholeState(GroupId group) const;
  // The group's state, prefix removed; valid while the group runs.
  const kv::Reader* State(GroupId group) const;
  // The same as it is now, and stays, whatever the group does; null if it does not run here, or is not whole.
  // Must not outlive this.
  std::unique_ptr<kv::Reader> NewSnapshot(GroupId group) const;

  // Hands over every leadership, flushes and reports; for a clean stop.
  void PrepareStop(Duration limit, Closure done);

  // From the transport.
  void OnRaftMessage(GroupId group, ReplicaId from, ReplicaId to, uint64_t from_host,
                     raft::Message message) override;
  void OnHostHeartbeat(const HostHeartbeat& heartbeat) override;
  void OnHostUnreachable(uint64_t host) override;
  void OnSnapshotOffer(SnapshotOffer offer, Callback<StatusOr<uint64_t>> done) override;
  void OnSnapshotChunk(SnapshotChunk chunk, Callback<StatusOr<uint64_t>> done) override;

  // kv prefix of a group: 8 bytes big-endian group id, then 'm' for the host's own keys, 's' for the state
  // machine's.
  static std::string HostPrefix(GroupId group);
  static std::string StatePrefix(GroupId group);
  // Whether the stored state is of a replica with an id above `gone`, the highest one that was destroyed
  // (wal::RecoveredGroup). If not, a crash brought it back, and it is removed at the next start.
  static bool IsStateAbove(const kv::Reader& engine, GroupId group, ReplicaId gone);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenure::group
