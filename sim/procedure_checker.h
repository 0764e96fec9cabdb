// Invariants of procedures, their tasks, and the replicas that they make and destroy.
//
// At every event, judged by what is applied and what nodes really do, not by what a leader believes:
//   P1 the body of a task begins at most once under its key on one registration of a node, and only if the
//      catalog has that attempt for that registration
//   P2 a step of which a task is waited for is left only after the task has ended with success
//   P3 the catalog forgets a replica only when its node has destroyed it, was removed, or was lost at some
//      time since the present step of the procedure began
//   P4 a region's voters never become fewer than its database wants
//   P5 a learner is promoted only once the region's log has told it that it is one
// At rest (Unsettled): every procedure has ended; every region has the voters that its database wants, each
// running where the record says and under that id, nothing joining and nothing leaving; nothing of any other
// replica runs or is left on a disk; a drained node holds nothing.
//
// After a majority was lost for good (a machine is `lost`) only what a recovery promises holds: none of this
// is judged then.
//
// Threading: the simulation's thread. Lives as long as the world: it remembers across crashes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "base/ids.h"
#include "controller/controller.h"
#include "group/group_host.h"
#include "node/tasks/task_trace.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::sim {

class World;
struct Machine;

class ProcedureChecker final : public group::GroupTrace {
 public:
  explicit ProcedureChecker(World& world) : world_(world) {}

  // Told of each change of a procedure's record when the first controller applies it; `before` is null for a
  // new one.
  using OnChange = std::function<void(const ::tenure::v1::ProcedureRecord* before,
                                      const ::tenure::v1::ProcedureRecord& after, LogIndex index)>;
  void SetOnChange(OnChange on_change) { on_change_ = std::move(on_change); }
  // Told when a controller has applied an entry of the catalog.
  void SetOnApplied(std::function<void(ReplicaId controller, LogIndex index)> on_applied) {
    on_applied_ = std::move(on_applied);
  }

  // From nodes.
  void OnTaskStart(const Machine& machine, uint64_t registration_epoch, const node::TaskKey& key,
                   const ::tenure::internal::v1::TaskPayload& payload);
  void OnTaskEnd(const Machine& machine, uint64_t registration_epoch, const node::TaskKey& key,
                 const Status& status);

  // group::GroupTrace
  void OnApply(GroupId group, ReplicaId self, const raft::Entry& entry) override;
  void OnLead(GroupId group, ReplicaId self, Term term) override;
  void OnStateHash(GroupId, ReplicaId, LogIndex, uint64_t) override {}
  void OnConfiguration(GroupId group, ReplicaId self, bool leads,
                       const raft::Configuration& configuration) override;

  // What a world at rest still lacks, as the serving controller's catalog says it should be; empty if
  // nothing.
  std::string Unsettled(controller::Controller& serving);

  // The controller that leads the catalog's group, as the last election went.
  ReplicaId leader() const { return leader_; }
  uint64_t tasks() const { return tasks_.size(); }
  // By type: procedures that have ended.
  const std::map<std::string, uint64_t>& ended() const { return ended_; }
  // The catalog forgot this replica without its destruction, since its node was lost: the node destroys it
  // when it is back.
  bool WasGivenUp(uint64_t region, uint64_t machine, ReplicaId replica) const {
    const auto last = given_up_.find({region, machine});
    return last != given_up_.end() && replica <= last->second;
  }
  // A task of this procedure's step works now on this machine.
  bool IsWorking(const Machine& machine, uint64_t procedure, const std::string& step) const;
  // How often tasks of this procedure's step have begun, and ended, anywhere.
  uint64_t Begun(uint64_t procedure, const std::string& step) const;
  uint64_t Succeeded(uint64_t procedure, const std::string& step) const;

 private:
  struct TaskId {
    uint64_t machine;
    uint64_t registration_epoch;
    node::TaskKey key;
    friend auto operator<=>(const TaskId&, const TaskId&) = default;
  };
  struct Work {
    ::tenure::internal::v1::TaskPayload payload;
    uint64_t boot = 0;  // of the machine
    bool ended = false;
    bool succeeded = false;
  };

  void Compare(const catalog::Catalog& now, LogIndex index);
  // A leader decides by what it has applied: the node may be back by the time its decision is applied.
  bool WasLost(uint64_t node, LogIndex since, const catalog::Catalog& now) const;
  // When the step began that the region's procedure is in.
  LogIndex StepOfRegion(uint64_t region) const;
  void CheckStep(const ::tenure::v1::ProcedureRecord& before, const ::tenure::v1::ProcedureRecord& after,
                 const catalog::Catalog& now);
  void CheckForgotten(const ::tenure::v1::RegionRecord& before, const ::tenure::v1::RegionRecord* after,
                      const catalog::Catalog& now);
  void GiveUp(uint64_t region, const ::tenure::v1::ReplicaRecord& replica, const catalog::Catalog& now);
  // True for one that was removed as well: nobody waits for it.
  bool HasSucceeded(const ::tenure::v1::ProcedureRecord& procedure, const ::tenure::v1::TaskAttempt& attempt,
                    const catalog::Catalog& now) const;
  bool WasDestroyed(uint64_t region, const ::tenure::v1::ReplicaRecord& replica,
                    const catalog::Catalog& now) const;
  // Null: no machine has the node's address any more, or the node was removed.
  const Machine* MachineOf(uint64_t node, const catalog::Catalog& catalog) const;
  std::string UnsettledRegion(controller::Controller& serving,
                              const ::tenure::v1::RegionRecord& region) const;
  std::string UnsettledMachine(controller::Controller& serving, const Machine& machine) const;
  bool AnyLost() const;

  World& world_;
  OnChange on_change_;
  std::function<void(ReplicaId, LogIndex)> on_applied_;
  LogIndex seen_;  // of the catalog's log
  Term term_;      // of the catalog's group
  ReplicaId leader_;
  std::map<uint64_t, ::tenure::v1::Record> procedures_;
  std::map<uint64_t, ::tenure::v1::RegionRecord> regions_;
  std::map<uint64_t, LogIndex> step_since_;  // of procedures
  std::map<uint64_t, LogIndex> lost_;        // nodes: when they were last
  // Procedure, step, attempt, node -> registration.
  std::map<std::tuple<uint64_t, std::string, uint32_t, uint64_t>, uint64_t> attempts_;
  std::map<TaskId, Work> tasks_;
  std::set<std::tuple<uint64_t, uint64_t, uint64_t>> destroyed_;  // machine, region, replica
  std::map<std::pair<uint64_t, uint64_t>, ReplicaId> given_up_;   // by region and machine, the last
  std::map<GroupId, size_t> voters_;                              // of a leader's last configuration
  std::map<GroupId, std::set<ReplicaId>> was_voter_;              // ever
  std::set<std::pair<GroupId, ReplicaId>> knows_itself_;  // a configuration that names it was in force there
  std::map<std::string, uint64_t> ended_;
};

}  // namespace tenure::sim
