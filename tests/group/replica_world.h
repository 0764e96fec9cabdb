// Three machines and one group whose replicas leave them and come back under higher ids, one after the other,
// under load: GroupHosts with their logs, engines and snapshots on simulated disks and a network that loses,
// delays and repeats. Machines crash at any boundary of their disks and lose power.
//
// The operator stands for the procedures of the controller: it remembers how far it came, and repeats what
// was not confirmed. What it was told to be durable must be there after every crash.
//
// Checked: one entry at every index and one leader of every term, for all replicas there ever were; equal
// states; nothing that was acknowledged is lost; no replica that is gone starts again; at the end everything
// is in order again.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/prng.h"
#include "group/group_host.h"
#include "kv/memory_engine.h"
#include "sim/scheduler.h"
#include "sim/sim_clock.h"
#include "sim/sim_disk.h"
#include "sim/sim_network.h"

namespace tenure::group {

struct ReplicaWorldOptions {
  uint64_t seed = 1;
  bool crashes = true;  // at random
  bool trace = false;   // prints what the machines log
};

class ReplicaWorld final : private GroupTrace {
 public:
  static constexpr GroupId kGroup{5};
  static constexpr uint64_t kMachines = 3;

  explicit ReplicaWorld(ReplicaWorldOptions options);
  ~ReplicaWorld() override;

  // Lets the operator move replicas for so long.
  void RunFor(Duration duration);
  // Until the operator has ended the move that is under way.
  bool FinishMove(Duration limit);
  // The next move is of the replica there.
  void MoveNext(uint64_t machine) {
    next_machine_ = machine;
    moving_ = true;
  }
  // No load and no move: whether the group sleeps.
  bool FallAsleep();
  // The machine crashes after so many more operations of its disk, once what is there begins to leave.
  void CrashWhileMoving(uint64_t operations, sim::CrashKind kind);
  bool crash_is_due() const { return crash_after_.has_value(); }
  // No more faults: everything must come to rest, and nothing may be missing.
  void Settle();

  // The first thing that was wrong; empty: nothing.
  const std::string& violation() const { return violation_; }
  uint64_t moves() const { return moves_; }
  uint64_t crashes() const { return crash_count_; }
  uint64_t snapshots() const { return snapshots_; }
  // Starts that found the state of a replica which had left before the one that was there.
  uint64_t stale_states() const { return sink_.stale; }
  size_t acknowledged() const { return acknowledged_.size(); }

 private:
  struct Process;
  struct Machine;
  // One replica leaves and another comes.
  enum class Step { kIdle, kRemove, kDestroy, kCreate, kAdd, kPromote };

  struct Sink final : LogSink {
    explicit Sink(ReplicaWorld& world_in) : world(world_in) {}
    bool Enabled(LogLevel level) const override { return level >= LogLevel::kInfo; }
    void Write(LogLevel, std::string_view component, std::string_view message) override {
      stale += message.find("a replica that left") != std::string_view::npos ? 1 : 0;
      world.Trace(component, message);
    }
    ReplicaWorld& world;
    uint64_t stale = 0;
  };

  void OnApply(GroupId group, ReplicaId self, const raft::Entry& entry) override;
  void OnLead(GroupId group, ReplicaId self, Term term) override;
  void OnStateHash(GroupId group, ReplicaId self, LogIndex index, uint64_t hash) override;
  void OnConfiguration(GroupId, ReplicaId, bool, const raft::Configuration&) override {}

  void Trace(std::string_view who, std::string_view what);
  void Require(bool holds, const std::string& what);
  Machine& At(uint64_t number) { return *machines_[number - 1]; }
  void StartProcess(Machine& machine);
  void StartReplica(Machine& machine, Process& process);
  void Kill(Machine& machine, sim::CrashKind kind);
  void ScheduleCrash();
  void ScheduleLoad();
  void ScheduleOperator();
  // Runs where the leader is, if there is one.
  void WithLeader(const std::function<void(Process&, const GroupStatus&)>& act);
  void Operate();
  void BeginMove();
  void Remove();
  void Destroy();
  void Create();
  void Add();
  void Promote();
  void EndMove();
  void SendLateRequests();
  void Propose(Process& process, const raft::Configuration& target);
  bool IsWhole();

  const ReplicaWorldOptions options_;
  Prng prng_;
  sim::Scheduler world_;
  sim::SimNetwork network_;
  std::vector<std::unique_ptr<Machine>> machines_;
  std::string violation_;
  Sink sink_{*this};
  bool faults_ = true;
  bool load_ = true;
  bool moving_ = true;

  // The operator's memory.
  Step step_ = Step::kIdle;
  uint64_t machine_ = 0;  // where
  uint64_t next_machine_ = 0;
  ReplicaId old_;
  ReplicaId new_;
  uint64_t last_id_ = kMachines;
  std::map<uint64_t, ReplicaId> confirmed_here_;  // by machine: told to be durable
  std::map<uint64_t, ReplicaId> confirmed_gone_;  // told to be destroyed
  std::optional<std::pair<uint64_t, sim::CrashKind>> crash_after_;
  uint64_t moves_ = 0;
  uint64_t crash_count_ = 0;
  uint64_t snapshots_ = 0;

  std::map<LogIndex, raft::Entry> applied_;
  std::map<Term, ReplicaId> leaders_;
  std::map<LogIndex, uint64_t> hashes_;
  std::set<std::string> acknowledged_;
  uint64_t next_value_ = 1;
};

}  // namespace tenure::group
