// One replica's share of one Raft group: elections, replication, commitment, membership, reads, leases.
// Inputs are method calls that carry the time they happen at; outputs are collected with TakeEffects after
// each input. The core never blocks, does no I/O and calls nobody.
//
// Driven by group/ (one owner, one executor). It does not apply entries, move snapshots' content, know
// addresses or keep the whole log: entries beyond its cache are asked for by FetchRequest.
//
// Invariants (numbers reappear in TENURE_CHECK messages and in the simulator's checkers; docs/consensus.md):
//   R1 term and vote are durable before a granted vote or an own candidacy leaves; the vote never changes in
//      a term
//   R2 an acknowledgement names what that append verified, in its leader's term, and leaves when that is durable
//   R3 a truncation is durable before anything appended after it is acknowledged
//   R4 the leader counts itself only for what is durable; only entries of its term commit by counting
//   R5 `commit` given to the driver never exceeds what is durable locally
//   R6 votes only for possible voters with a log at least as up to date; messages from outside never raise the
//      term
//   R8 for one minimum election timeout after start: no vote granted, no candidacy
//   L1 the lease counts from the send time of a round that a majority acknowledged, lasts
//      election_timeout_min / (1 + drift), is void once TimeoutNow leaves and does not return in that term
//
// Source: Raft thesis (Ongaro 2014) 3, 4 (joint consensus 4.3), 6.4 (reads), 9.6 (pre-vote), 10.2
//         (pipelining).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.h"
#include "base/time.h"
#include "raft/effects.h"
#include "raft/messages.h"
#include "raft/types.h"

namespace tenure::raft {

struct RaftConfig {
  GroupId group;
  ReplicaId self;
  Duration heartbeat_interval = std::chrono::milliseconds(100);
  Duration election_timeout_min = std::chrono::milliseconds(1000);  // actual: uniform in [min, 2 * min)
  uint32_t drift_permille = 10;             // bound on the relative drift of two clocks
  size_t max_append_bytes = 1 << 20;        // of one AppendRequest
  size_t max_inflight_appends = 64;         // unacknowledged per peer
  size_t max_inflight_bytes = 16 << 20;     // unacknowledged per peer
  size_t max_uncommitted_bytes = 64 << 20;  // proposals beyond this are Overloaded
  // An idle leader and its followers stop their timers after this long; zero: never. Only for drivers that
  // learn of dead processes otherwise, and call Wake then.
  Duration quiesce_after = Duration::zero();
};

enum class ProposeResult : uint8_t {
  kAccepted,
  kNotLeader,
  kTransferring,   // leadership is being handed over: ask the next leader
  kOverloaded,     // max_uncommitted_bytes
  kChangePending,  // see ProposeConfiguration, TransferLeadership
  kInvalid,        // a configuration without voters, with joint roles, unsorted or with too many voters
};

class RaftCore {
 public:
  RaftCore(const RaftConfig& config, PersistedState state, Prng prng, Instant now);
  ~RaftCore();

  // --- inputs ---
  // `now` that lies before an earlier input's counts as that one's.
  void Tick(Instant now);
  // The time at which Tick has something to do; kFarFuture if nothing is scheduled.
  Instant NextTick() const;
  void Step(Instant now, ReplicaId from, Message message);
  // Appends one entry per payload, consecutive from *first. On anything but kAccepted nothing happened.
  ProposeResult Propose(Instant now, std::vector<Bytes> payloads, LogIndex* first, Term* term);
  // Moves to `target` (no joint roles in it) through a joint configuration, which is left by itself once
  // committed; directly if only learners change. *index is the first step's entry; the change is done when
  // configuration() equals `target` and configuration_index() is committed. A leader that is no voter in
  // `target` hands over, or steps down, after that. kChangePending while another change is under way or no
  // entry of this term is committed yet.
  ProposeResult ProposeConfiguration(Instant now, const Configuration& target, LogIndex* index, Term* term);
  // Confirms leadership for a linearizable read. Answered by ReadReady or failed_reads with `context`; at
  // once if the lease holds. False (nothing will follow) if this is not the leader.
  bool ReadIndex(Instant now, uint64_t context);
  // Hands leadership to a voter: stops accepting proposals, brings `to` up to date, voids the lease, sends
  // TimeoutNow. Given up after an election timeout: proposals are accepted again at once if TimeoutNow had
  // not left (the lease was never void), else after this leader's re-election in a new term, which it calls
  // by itself. kAccepted also if `to` leads already; kNotLeader; kChangePending if `to` cannot lead now.
  ProposeResult TransferLeadership(Instant now, ReplicaId to);
  // Calls an election at once (by pre-vote) if that is legal: a voter, not waiting after a restart, that has
  // not heard from a leader within the minimum election timeout. Else nothing happens.
  void Campaign(Instant now);
  // Ends quiescence, for the driver, when the process of a quiescent group's leader went silent or came back,
  // or, at the leader, that of a member. After `delay` a leader heartbeats and a follower stands, unless it
  // has heard from a leader by then; but never while it owes its silence to a leader (L1). Without `delay` a
  // leader heartbeats at once and a follower waits for an election timeout. A leader is quiescent again as
  // soon as everybody has answered.
  void Wake(Instant now, std::optional<Duration> delay = std::nullopt);
  // The driver lost its connection to the leader's process, and chose this replica to be the first to stand
  // then: it does so as soon as it owes the leader no more silence, and `delay` from now at the earliest. It
  // is called off by the leader's next word.
  void OnLeaderUnreachable(Instant now, Duration delay);
  // What the driver knows of the members' processes, for quiescence: `silent` ones do not answer, and the
  // driver calls Wake when they come back, so that the group need not stay awake for their sake. nullopt:
  // somebody is not watched, the group stays awake. At first nobody counts as silent.
  void SetSilentPeers(std::optional<std::vector<ReplicaId>> silent);
  // The driver used the group without an input here (a read under the lease): it is not idle.
  void NoteUse(Instant now);
  // The driver's disk does not finish what it was given (or does again). Meanwhile this replica does not
  // stand, and a leader that has somebody to leave it to gives its office up at once: its followers could go
  // on committing for a long time what it can neither apply nor answer.
  void SetDiskStalled(Instant now, bool stalled);
  // The driver made Effects with this token (and all earlier ones) durable.
  void OnPersisted(Instant now, uint64_t persist_token);
  // Before the first other input it also says what the state machine held at the start, which may be beyond
  // the commit index in PersistedState.
  void OnApplied(LogIndex index);
  void OnFetched(Instant now, ReplicaId peer, LogIndex from, std::vector<Entry> entries);
  // The snapshot stream to `peer` ended; `ok`: it holds the content of a snapshot at `mark_index`. The core
  // then sends InstallSnapshot, again until it is answered; when it is not, or `ok` is false, or the log has
  // meanwhile been compacted beyond the mark, it asks for another one by snapshots_needed.
  void OnSnapshotSent(Instant now, ReplicaId peer, LogIndex mark_index, bool ok);
  // Effects::install_snapshot was carried out and is durable: state and log are replaced, after everything
  // that was handed out before it was persisted. An InstallSnapshot whose content is not there must not reach
  // Step: the driver drops it.
  void OnSnapshotInstalled(Instant now, const SnapshotMark& mark);
  // The driver does not hold the content that install_snapshot asked for: nothing changed, the leader offers
  // it again.
  void OnSnapshotRejected();
  // The log now begins after `mark.index` (it is applied and covered by the state machine): drops older
  // terms.
  void OnCompacted(const SnapshotMark& mark);
  // Entries up to `index` may leave the cache (they are durable and can be fetched).
  void EvictCache(LogIndex index);

  // --- outputs ---
  bool HasEffects() const;
  Effects TakeEffects();

  // --- state, for the driver and for people ---
  Role role() const;
  Term term() const;
  ReplicaId leader() const;  // none if unknown
  ReplicaId voted_for() const;
  LogIndex commit_index() const;
  LogIndex last_index() const;
  LogIndex persisted_index() const;            // the log in memory is durable up to here
  LogIndex mark_index() const;                 // the log begins after it
  Term TermAt(LogIndex index) const;           // zero if unknown (compacted or beyond the end)
  const Configuration& configuration() const;  // in force
  LogIndex configuration_index() const;        // its entry, or the mark's index
  // The configuration in force at `index`, for snapshots.
  Configuration ConfigurationAt(LogIndex index) const;
  // What a restart would find once everything handed out so far is durable.
  PersistedState Persistent() const;
  // Entries [from, to] as far as they are cached; stops at the first gap or after max_bytes (at least one).
  std::vector<Entry> CachedEntries(LogIndex from, LogIndex to, size_t max_bytes) const;
  size_t cached_bytes() const;
  // The leader lease holds at `now` and an entry of this term is committed: local reads are linearizable.
  bool HasLease(Instant now) const;
  bool quiescent() const;
  // Per peer, on the leader: highest index known durable there, for status.
  struct PeerStatus {
    ReplicaId id;
    LogIndex match;
    bool active;  // heard from within an election timeout
    bool in_snapshot;
    LogIndex offered;  // mark of the snapshot that it was asked to install
  };
  std::vector<PeerStatus> Peers(Instant now) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenure::raft
