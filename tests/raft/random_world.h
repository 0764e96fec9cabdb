// A small random world for RaftCore: replicas with disks, clocks that drift, a network that drops, delays,
// reorders and duplicates, crashes that lose unsynced writes, pauses, partitions, membership changes,
// transfers, reads and snapshots - all from one seed, with the safety properties checked at every event and
// liveness at the end.
//
// The properties know nothing of the core's inside; a violation aborts with the seed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/raft/fake_replica.h"

namespace tenure::raft {

struct WorldOptions {
  uint64_t seed = 1;
  Duration length = std::chrono::seconds(20);
  bool trace = false;
  // Three voters that hand their leadership over again and again. Who is to take over has a slow disk and
  // dies in the middle, and what the old leader said comes to it once more, seconds later: the only way by
  // which a replica that forgot its own candidacy could stand in that term again, since a pre-vote would tell
  // it.
  bool hand_overs = false;
};

struct WorldCounts {
  uint64_t events = 0, elections = 0, committed = 0, reads = 0, lease_reads = 0, crashes = 0, snapshots = 0,
           changes = 0, transfers = 0, truncations = 0;
};

class RandomWorld {
 public:
  explicit RandomWorld(const WorldOptions& options);
  // Runs to the end; aborts on a violated property.
  WorldCounts Run();

 private:
  enum class What : uint8_t {
    kMessage,
    kTick,
    kPersist,
    kFault,
    kClient,
    kFetch,
    kSnapshot,
    kRestart,
    kCrash
  };
  struct Event {
    What what;
    uint64_t replica = 0;  // position in replicas_
    uint64_t life = 0;     // of the replica, for what dies with it
    uint64_t other = 0;    // sender, or the peer of a fetch or snapshot
    Message message;
    LogIndex from;
    size_t bytes = 0;
    FakeSnapshot snapshot;
  };
  struct Slot {
    FakeReplica replica;
    uint64_t life = 0;
    double rate = 1;
    Duration offset{};
    Duration paused_until{};
    Duration ticking_at = Duration::max();
    bool persisting = false;
    Duration disk_speed{};
    Term seen_leading;
    LogIndex recorded_commit;
  };
  struct Logged {
    uint64_t hash;
    Term previous;
  };

  void Schedule(Duration delay, Event event);
  void Dispatch(Event event);
  void Deliver(Slot& slot, Event& event);
  void AfterInput(Slot& slot);
  void SendAll(Slot& from, std::vector<Outgoing> messages);
  void Send(Slot& from, Outgoing outgoing);
  void Tick(Slot& slot);
  void ScheduleTick(Slot& slot);
  void Fault();
  void Client();
  void ProposeChange(Slot& slot);
  void ReadAt(Slot& slot);
  // All writes that wait are lost, or any number of the last.
  void Crash(Slot& slot, bool lose_all = false);
  void HandOver();
  void Repeat(const Slot& from, size_t target, const Message& message);
  void Restart(Slot& slot);
  void Heal();
  bool HasConverged() const;
  std::string Describe() const;

  void CheckNewEntries(const Slot& slot, const Effects& effects);
  void CheckLeader(Slot& slot);
  void CheckCommit(Slot& slot);
  void CheckReads(const Effects& effects);
  void CheckLeases();
  // Before a message is taken, and after: who is outside the group does not raise its term.
  bool MayRaiseTerm(const Slot& slot, const Event& event) const;

  Instant LocalTime(const Slot& slot) const;
  Slot& At(uint64_t position) { return slots_[position]; }
  Slot* Any(bool leading);
  size_t PositionOf(ReplicaId id) const { return id.value() - 1; }

  WorldOptions options_;
  Prng prng_;
  Prng hand_over_draws_;
  RaftConfig base_;
  Duration now_{};
  uint64_t sequence_ = 0;
  std::map<std::pair<Duration, uint64_t>, Event> events_;
  std::vector<Slot> slots_;
  std::vector<std::vector<bool>> cut_;  // [from][to]
  bool calm_ = false;
  // A third of the worlds: three or five voters that crash, write slowly and get late mail all the time, so
  // that elections are contended and few entries are committed in the term that appended them.
  bool contended_ = false;
  uint32_t drop_percent_ = 5;
  // Of appends alone: leaders are heard, but their logs do not get through, so that all logs stay equal.
  uint32_t append_drop_percent_ = 0;

  std::map<Term, ReplicaId> leaders_;
  Term newest_leader_term_;
  std::map<std::pair<LogIndex, Term>, Logged> entries_;
  std::vector<FakeState> committed_;  // by index
  std::vector<Term> committed_terms_;
  std::vector<Term> committed_in_;           // the term whose leader committed it
  std::map<uint64_t, LogIndex> read_floor_;  // context -> what had been committed when it was asked
  uint64_t next_context_ = 1;
  uint64_t next_payload_ = 1;
  WorldCounts counts_;
};

}  // namespace tenure::raft
