#include "sim/procedure_checker.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/format.h"
#include "catalog/procedures.h"
#include "controller/placement/cluster_view.h"
#include "sim/leftovers.h"
#include "sim/server.h"
#include "sim/world.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

constexpr char kOnce[] = "P1 a task begins once, and only as the catalog has it";
constexpr char kAfterSuccess[] = "P2 a step ends after its tasks have ended with success";
constexpr char kForgotten[] = "P3 a replica is forgotten when its node has destroyed it";
constexpr char kVoters[] = "P4 a region's voters do not become fewer than its database wants";
constexpr char kCaughtUp[] = "P5 a learner is promoted once it has the log that names it";

std::string TextOf(const node::TaskKey& key) {
  return fmt::format("procedure {} step {} attempt {}", key.procedure, key.step, key.attempt);
}

bool ConcernsProcedures(const raft::Entry& entry) {
  if (entry.type != raft::EntryType::kCommand) return false;
  ipb::CatalogCommand command;
  if (!command.ParseFromString(std::string(entry.payload.view()))) return false;
  return command.has_submit_procedure() || command.has_advance_procedure() ||
         command.has_cancel_procedure() || command.has_forget_procedures();
}

// Whom a change of replicas does not wait for: the node destroys what it has when it is back, since the
// catalog has nothing of it there.
bool IsLost(const pb::NodeRecord& node) {
  const pb::NodeState state = node.state();
  return state == pb::NODE_DOWN || state == pb::NODE_DRAINING || state == pb::NODE_REMOVING ||
         state == pb::NODE_REMOVED;
}

bool Lists(const google::protobuf::RepeatedPtrField<pb::ReplicaRecord>& replicas, uint64_t id) {
  return std::any_of(replicas.begin(), replicas.end(),
                     [id](const pb::ReplicaRecord& replica) { return replica.id() == id; });
}

// The step whose tasks must all have succeeded before the procedure leaves it this way. (A database is made
// without those that are too slow, and what is undone needs no success.)
bool NeedsSuccess(const pb::ProcedureRecord& before, const pb::ProcedureRecord& after) {
  if (before.step() == "create") return after.step() == "add_learner";
  return before.step() == "destroy" || before.step() == "undo_destroy" || before.step() == "destroy_replicas";
}

}  // namespace

bool ProcedureChecker::AnyLost() const {
  return std::any_of(world_.machines().begin(), world_.machines().end(),
                     [](const auto& machine) { return machine->lost; });
}

const Machine* ProcedureChecker::MachineOf(uint64_t node, const catalog::Catalog& catalog) const {
  const auto record = catalog.nodes().find(node);
  if (record == catalog.nodes().end() || record->second.node().state() == pb::NODE_REMOVED) return nullptr;
  for (const auto& machine : world_.machines()) {
    if (machine->address == record->second.node().address()) return machine.get();
  }
  return nullptr;
}

// ---- tasks ----

void ProcedureChecker::OnTaskStart(const Machine& machine, uint64_t registration_epoch,
                                   const node::TaskKey& key, const ipb::TaskPayload& payload) {
  if (machine.process == nullptr || !machine.process->alive() || AnyLost()) return;  // dead hands
  const auto [it, first] = tasks_.try_emplace(TaskId{machine.number, registration_epoch, key});
  it->second = {.payload = payload, .boot = machine.boots};
  if (!first) world_.Fail(kOnce, fmt::format("{} begins the task of {} again", machine.name, TextOf(key)));
  const bool known = std::any_of(attempts_.begin(), attempts_.end(), [&](const auto& attempt) {
    const auto& [procedure, step, number, node] = attempt.first;
    return procedure == key.procedure && step == key.step && number == key.attempt &&
           attempt.second == registration_epoch;
  });
  if (!known) {
    world_.Fail(kOnce, fmt::format("{} (registration {}) begins the task of {}, which no commit names",
                                   machine.name, registration_epoch, TextOf(key)));
  }
}

void ProcedureChecker::OnTaskEnd(const Machine& machine, uint64_t registration_epoch,
                                 const node::TaskKey& key, const Status& status) {
  if (machine.process == nullptr || !machine.process->alive()) return;
  const auto it = tasks_.find(TaskId{machine.number, registration_epoch, key});
  if (it == tasks_.end()) return;
  it->second.ended = true;
  it->second.succeeded = status.ok();
  if (!status.ok()) return;
  for (const auto& item : it->second.payload.destroy_replicas().items())
    destroyed_.insert({machine.number, item.region(), item.replica()});
}

bool ProcedureChecker::IsWorking(const Machine& machine, uint64_t procedure, const std::string& step) const {
  return std::any_of(tasks_.begin(), tasks_.end(), [&](const auto& task) {
    return task.first.machine == machine.number && task.first.key.procedure == procedure &&
           task.first.key.step == step && !task.second.ended && task.second.boot == machine.boots;
  });
}

uint64_t ProcedureChecker::Begun(uint64_t procedure, const std::string& step) const {
  return static_cast<uint64_t>(std::count_if(tasks_.begin(), tasks_.end(), [&](const auto& task) {
    return task.first.key.procedure == procedure && task.first.key.step == step;
  }));
}

uint64_t ProcedureChecker::Succeeded(uint64_t procedure, const std::string& step) const {
  return static_cast<uint64_t>(std::count_if(tasks_.begin(), tasks_.end(), [&](const auto& task) {
    return task.first.key.procedure == procedure && task.first.key.step == step && task.second.succeeded;
  }));
}

// ---- the catalog ----

void ProcedureChecker::OnApply(GroupId group, ReplicaId self, const raft::Entry& entry) {
  if (group != kCatalogGroup || AnyLost()) return;
  if (entry.index > seen_) {
    for (const auto& machine : world_.machines()) {
      if (machine->controller_id != self.value() || !machine->server) continue;
      const controller::Controller* const controller = machine->server->controller();
      if (controller == nullptr) continue;
      for (const auto& [id, record] : controller->catalog().nodes()) {
        if (IsLost(record.node())) lost_[id] = entry.index;
      }
      if (ConcernsProcedures(entry)) Compare(controller->catalog(), entry.index);
    }
  }
  seen_ = std::max(seen_, entry.index);
  if (on_applied_) on_applied_(self, entry.index);
}

void ProcedureChecker::OnLead(GroupId group, ReplicaId self, Term term) {
  if (group != kCatalogGroup || term < term_) return;
  term_ = term;
  leader_ = self;
}

void ProcedureChecker::Compare(const catalog::Catalog& now, LogIndex index) {
  for (const auto& [id, region] : regions_) {
    const auto found = now.regions().find(id);
    CheckForgotten(region, found == now.regions().end() ? nullptr : &found->second.region(), now);
  }
  regions_.clear();
  for (const auto& [id, record] : now.regions()) regions_[id] = record.region();

  for (const auto& [id, record] : now.procedures()) {
    const auto known = procedures_.find(id);
    if (known != procedures_.end() && known->second.modify_revision() == record.modify_revision()) continue;
    const pb::ProcedureRecord& after = record.procedure();
    for (const pb::TaskAttempt& attempt : after.tasks()) {
      attempts_[{id, after.step(), attempt.attempt(), attempt.node()}] = attempt.registration_epoch();
    }
    const pb::ProcedureRecord* const before =
        known == procedures_.end() ? nullptr : &known->second.procedure();
    if (before != nullptr) CheckStep(*before, after, now);
    if (before == nullptr || before->step() != after.step()) step_since_[id] = index;
    if (catalog::IsEnded(after.state())) ++ended_[after.type()];
    if (on_change_) on_change_(before, after, index);
    procedures_[id] = record;
  }
}

bool ProcedureChecker::WasLost(uint64_t node, LogIndex since, const catalog::Catalog& now) const {
  if (!now.nodes().contains(node)) return true;
  const auto last = lost_.find(node);
  return last != lost_.end() && last->second >= since;
}

LogIndex ProcedureChecker::StepOfRegion(uint64_t region) const {
  LogIndex since = seen_;
  for (const auto& [id, record] : procedures_) {
    const pb::ProcedureRecord& procedure = record.procedure();
    const bool destroys = procedure.step() == "destroy" || procedure.step() == "undo_destroy";
    if (destroys && procedure.object() == region && !catalog::IsEnded(procedure.state()))
      since = std::min(since, step_since_.at(id));
  }
  return since;
}

bool ProcedureChecker::HasSucceeded(const pb::ProcedureRecord& procedure, const pb::TaskAttempt& attempt,
                                    const catalog::Catalog& now) const {
  const Machine* const machine = MachineOf(attempt.node(), now);
  if (machine == nullptr) return true;
  const auto task = tasks_.find(TaskId{
      machine->number, attempt.registration_epoch(), {procedure.id(), procedure.step(), attempt.attempt()}});
  return task != tasks_.end() && task->second.succeeded;
}

void ProcedureChecker::CheckStep(const pb::ProcedureRecord& before, const pb::ProcedureRecord& after,
                                 const catalog::Catalog& now) {
  if (before.step() == after.step() && !catalog::IsEnded(after.state())) return;
  // Slots are copied by one node after another until one has done it.
  if (before.step() == "copy" && after.step() == "switch" && Succeeded(before.id(), before.step()) == 0)
    world_.Fail(kAfterSuccess, fmt::format("procedure {} has no copy of the slots", before.id()));
  if (!NeedsSuccess(before, after)) return;
  if (before.type() != "RemoveRegions") {
    // A region that is dropped ends whatever was done to it.
    const auto region = now.regions().find(before.object());
    if (region == now.regions().end() || region->second.region().state() == pb::REGION_REMOVING) return;
  }
  if (before.step() == "create" && before.tasks().empty())
    world_.Fail(kAfterSuccess, fmt::format("procedure {} leaves step create without a task", before.id()));
  for (const pb::TaskAttempt& attempt : before.tasks()) {
    if (HasSucceeded(before, attempt, now)) continue;
    const bool destroys = before.step() == "destroy" || before.step() == "undo_destroy";
    if (destroys && WasLost(attempt.node(), step_since_[before.id()], now)) continue;
    world_.Fail(kAfterSuccess,
                fmt::format("procedure {} ({}) leaves step {}; attempt {} at node {} did not succeed",
                            before.id(), before.type(), before.step(), attempt.attempt(), attempt.node()));
  }
}

bool ProcedureChecker::WasDestroyed(uint64_t region, const pb::ReplicaRecord& replica,
                                    const catalog::Catalog& now) const {
  const Machine* const machine = MachineOf(replica.node(), now);
  return machine == nullptr || destroyed_.contains({machine->number, region, replica.id()});
}

void ProcedureChecker::CheckForgotten(const pb::RegionRecord& before, const pb::RegionRecord* after,
                                      const catalog::Catalog& now) {
  for (const auto* list : {&before.replicas(), &before.joining(), &before.leaving()}) {
    for (const pb::ReplicaRecord& replica : *list) {
      const bool kept = after != nullptr &&
                        (Lists(after->replicas(), replica.id()) || Lists(after->joining(), replica.id()) ||
                         Lists(after->leaving(), replica.id()));
      if (kept || WasDestroyed(before.id(), replica, now)) continue;
      if (after != nullptr && WasLost(replica.node(), StepOfRegion(before.id()), now)) {
        GiveUp(before.id(), replica, now);
        continue;
      }
      world_.Fail(kForgotten, fmt::format("replica {} of region {} on node {} has no record any more, and "
                                          "was not destroyed",
                                          replica.id(), before.id(), replica.node()));
    }
  }
}

void ProcedureChecker::GiveUp(uint64_t region, const pb::ReplicaRecord& replica,
                              const catalog::Catalog& now) {
  const Machine* const machine = MachineOf(replica.node(), now);
  if (machine == nullptr) return;
  ReplicaId& last = given_up_[{region, machine->number}];
  last = std::max(last, ReplicaId(replica.id()));
}

// ---- configurations of regions ----

void ProcedureChecker::OnConfiguration(GroupId group, ReplicaId self, bool leads,
                                       const raft::Configuration& configuration) {
  if (group == kCatalogGroup || AnyLost()) return;
  if (configuration.Contains(self)) knows_itself_.insert({group, self});
  if (!leads) return;
  const raft::Configuration left = configuration.Left();
  std::set<ReplicaId>& were = was_voter_[group];
  size_t voters = 0;
  for (const raft::Member& member : left.members) {
    if (member.role != raft::MemberRole::kVoter) continue;
    ++voters;
    // The first configuration is that of the region's creation: nothing was promoted.
    if (voters_.contains(group) && were.insert(member.id).second &&
        !knows_itself_.contains({group, member.id})) {
      world_.Fail(kCaughtUp, fmt::format("region {}: replica {} becomes a voter and has nothing of the log",
                                         group, member.id));
    }
    were.insert(member.id);
  }
  const auto region = regions_.find(group.value());
  const auto before = voters_.find(group);
  if (region != regions_.end() && before != voters_.end()) {
    const controller::Controller* const serving = world_.ServingController();
    if (serving != nullptr) {
      const auto database = serving->catalog().databases().find(region->second.database());
      const size_t wanted =
          database == serving->catalog().databases().end() ? 0 : database->second.database().replicas();
      if (voters < std::min(wanted, before->second)) {
        world_.Fail(kVoters, fmt::format("region {}: {} voters after {}, {} are wanted", group, voters,
                                         before->second, wanted));
      }
    }
  }
  voters_[group] = voters;
}

// ---- at rest ----

std::string ProcedureChecker::Unsettled(controller::Controller& serving) {
  if (AnyLost()) return {};
  const catalog::Catalog& catalog = serving.catalog();
  for (const auto& [id, record] : catalog.procedures()) {
    const pb::ProcedureRecord& procedure = record.procedure();
    if (catalog::IsEnded(procedure.state())) continue;
    return fmt::format("procedure {} ({}) to end; it is {} in step '{}', attempt {} {}", id,
                       procedure.description(), catalog::NameOf(procedure.state()), procedure.step(),
                       procedure.attempt(), procedure.last_error());
  }
  for (const auto& [id, record] : catalog.regions()) {
    if (std::string missing = UnsettledRegion(serving, record.region()); !missing.empty()) return missing;
  }
  for (const auto& machine : world_.machines()) {
    if (!machine->node) continue;
    if (std::string rest = UnsettledMachine(serving, *machine); !rest.empty()) return rest;
  }
  for (const auto& [id, record] : catalog.nodes()) {
    const size_t replicas = controller::ReplicasOn(catalog, NodeId(id));
    if (record.node().state() == pb::NODE_DRAINING && replicas > 0)
      return fmt::format("{} replicas to leave node {}, which is drained", replicas, id);
  }
  return {};
}

std::string ProcedureChecker::UnsettledRegion(controller::Controller& serving,
                                              const pb::RegionRecord& region) const {
  const catalog::Catalog& catalog = serving.catalog();
  if (!region.joining().empty() || !region.leaving().empty()) {
    return fmt::format("region {} to end {} joining and {} leaving replicas", region.id(),
                       region.joining_size(), region.leaving_size());
  }
  // Where every node has a replica of it nobody can take the place of one that was lost.
  const auto nodes = std::count_if(catalog.nodes().begin(), catalog.nodes().end(), [](const auto& record) {
    return record.second.node().state() != pb::NODE_REMOVED;
  });
  if (world_.lost_replicas() && nodes <= region.replicas_size()) return {};
  const auto database = catalog.databases().find(region.database());
  const int wanted =
      database == catalog.databases().end() ? 0 : static_cast<int>(database->second.database().replicas());
  if (region.replicas_size() != wanted)
    return fmt::format("region {} to have {} replicas, it has {}", region.id(), wanted,
                       region.replicas_size());
  for (const pb::ReplicaRecord& replica : region.replicas()) {
    if (replica.role() != pb::REPLICA_VOTER)
      return fmt::format("replica {} of region {} to be a voter", replica.id(), region.id());
    const Machine* const machine = MachineOf(replica.node(), catalog);
    if (machine == nullptr) return fmt::format("region {} to leave node {}", region.id(), replica.node());
    if (!machine->server || !machine->server->started()) return machine->name + " to be up";
    const auto status = machine->server->node()->groups().StatusOf(GroupId(region.id()));
    if (!status || status->self.value() != replica.id()) {
      return fmt::format("replica {} of region {} to run on {}", replica.id(), region.id(), machine->name);
    }
    if (status->configuration.IsJoint() ||
        status->configuration.members.size() != static_cast<size_t>(region.replicas_size())) {
      return fmt::format("region {} on {} to have the members of its record, it has {}", region.id(),
                         machine->name, raft::ToString(status->configuration));
    }
  }
  return {};
}

std::string ProcedureChecker::UnsettledMachine(controller::Controller& serving,
                                               const Machine& machine) const {
  const catalog::Catalog& catalog = serving.catalog();
  const auto has_place = [&](GroupId group) {
    const auto region = catalog.regions().find(group.value());
    if (region == catalog.regions().end()) return false;
    const auto& replicas = region->second.region().replicas();
    return std::any_of(replicas.begin(), replicas.end(), [&](const pb::ReplicaRecord& replica) {
      return MachineOf(replica.node(), catalog) == &machine;
    });
  };
  if (!machine.server || !machine.server->started()) return machine.name + " to be up";
  return FindLeftover(machine, has_place);
}

}  // namespace tenure::sim
