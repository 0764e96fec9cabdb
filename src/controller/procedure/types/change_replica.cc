#include "controller/procedure/types/change_replica.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/format.h"
#include "catalog/procedures.h"
#include "catalog/state_moves.h"
#include "controller/procedure/types/bodies.h"
#include "tenure/internal/v1/node.pb.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

using Replicas = std::vector<pb::ReplicaRecord>;

// The region as its leader reported it in this leadership. No leader: nobody to ask, nothing to believe.
struct RegionNow {
  const pb::RegionRecord* record = nullptr;  // null: there is none, or it is being removed
  NodeId leader_node;
  ReplicaId leader;
  const pb::RegionLoad* leader_load = nullptr;
  bool known = false;  // the leader has reported a configuration
  uint64_t index = 0;
  Replicas replicas;

  bool Has(uint64_t replica) const { return Find(replica) != nullptr; }
  const pb::ReplicaRecord* Find(uint64_t id) const {
    const auto it =
        std::find_if(replicas.begin(), replicas.end(), [id](const auto& r) { return r.id() == id; });
    return it == replicas.end() ? nullptr : &*it;
  }
};

const pb::RegionLoad* LoadOf(const StepContext& context, NodeId node, uint64_t region) {
  const NodeLoad* load = context.agents().load().Find(node);
  if (load == nullptr) return nullptr;
  const auto it = load->regions.find(region);
  return it == load->regions.end() ? nullptr : &it->second;
}

template <class List>
bool SameMembers(const List& a, const List& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& one, const auto& other) {
    return one.id() == other.id() && one.role() == other.role();
  });
}

RegionNow Look(const StepContext& context, uint64_t id) {
  RegionNow now;
  const auto record = context.catalog().regions().find(id);
  if (record == context.catalog().regions().end() || record->second.region().state() == pb::REGION_REMOVING) {
    return now;
  }
  now.record = &record->second.region();
  const RegionLeaderView* leader = context.agents().region_leaders().Find(RegionId(id));
  if (leader == nullptr || leader->node.IsNone()) return now;
  now.leader_node = leader->node;
  now.leader = leader->replica;
  now.leader_load = LoadOf(context, leader->node, id);
  if (now.leader_load == nullptr || !now.leader_load->is_leader() || !now.leader_load->has_configuration())
    return now;
  const pb::RegionConfiguration& configuration = now.leader_load->configuration();
  // Not from before what the catalog knows. The index of one and the same configuration differs between
  // replicas: where its entry has left the log it is a later one.
  if (configuration.index() < now.record->configuration_index() &&
      !SameMembers(configuration.replicas(), now.record->replicas())) {
    return now;
  }
  now.known = true;
  now.index = configuration.index();
  now.replicas.assign(configuration.replicas().begin(), configuration.replicas().end());
  return now;
}

template <class List>
bool Lists(const List& replicas, uint64_t id) {
  return std::any_of(replicas.begin(), replicas.end(),
                     [id](const auto& replica) { return replica.id() == id; });
}

// A recovery of the region gives up what was being made: it leaves, and must not be asked for again.
bool IsGivenUp(const RegionNow& now, uint64_t replica) {
  return Lists(now.record->leaving(), replica);
}

StepEnd RegionGone() {
  return StepEnd::Ended(pb::PROCEDURE_CANCELLED, "the region is being removed");
}

// As long as for a node to become DOWN.
constexpr Duration kLostAfter = std::chrono::seconds(30);

// Why a node cannot be waited for; empty if it can.
std::string Lost(StepContext& context, uint64_t id) {
  const auto node = context.catalog().nodes().find(id);
  if (node == context.catalog().nodes().end()) return fmt::format("node {} does not exist", id);
  const pb::NodeState state = node->second.node().state();
  if (state == pb::NODE_DOWN || state == pb::NODE_REMOVING || state == pb::NODE_REMOVED)
    return fmt::format("node {} is {}", id, catalog::NameOf(state));
  // A node that is being drained stays DRAINING, however silent it is.
  const Duration silence = context.agents().load().SilenceOf(NodeId(id), context.executor().Now());
  if (state == pb::NODE_DRAINING && silence >= kLostAfter)
    return fmt::format("node {} has said nothing for {} s", id, ToMillis(silence) / 1000);
  return "";
}

// Why the new replica will never say that it has the log; empty if it may. Its node can be well and have
// dropped it in a repair of its log.
std::string WillNotFollow(StepContext& context, uint64_t node, uint64_t region) {
  const NodeLoad* load = context.agents().load().Find(NodeId(node));
  if (load != nullptr && load->connected && load->lost.contains(region))
    return fmt::format("node {} has dropped the replica in a repair of its log", node);
  return Lost(context, node);
}

// The region would have a majority if this replica was never seen again.
bool HasMajorityWithout(StepContext& context, const pb::RegionRecord& region, uint64_t except) {
  size_t voters = 0;
  size_t there = 0;
  for (const pb::ReplicaRecord& replica : region.replicas()) {
    if (replica.role() != pb::REPLICA_VOTER) continue;
    ++voters;
    if (replica.id() != except && WillNotFollow(context, replica.node(), region.id()).empty()) ++there;
  }
  return there * 2 > voters;
}

// Who should lead instead of a replica that goes: of the voters that are there the one that has applied most.
ReplicaId BestVoter(StepContext& context, const RegionNow& now, uint64_t except) {
  ReplicaId best;
  std::pair<bool, uint64_t> best_rank;
  for (const pb::ReplicaRecord& replica : now.replicas) {
    if (replica.role() != pb::REPLICA_VOTER || replica.id() == except) continue;
    const pb::RegionLoad* load = LoadOf(context, NodeId(replica.node()), now.record->id());
    const NodeLoad* node = context.agents().load().Find(NodeId(replica.node()));
    const bool there = node != nullptr && node->connected &&
                       WillNotFollow(context, replica.node(), now.record->id()).empty();
    // The dead one of an idle region has applied as much as the others.
    const std::pair<bool, uint64_t> rank(there, load == nullptr ? 0 : load->applied());
    if (!best.IsNone() && rank <= best_rank) continue;
    best = ReplicaId(replica.id());
    best_rank = rank;
  }
  return best;
}

std::string Describe(std::string_view type, uint64_t region, uint64_t add, uint64_t remove, uint64_t from) {
  if (add != 0 && remove != 0) {
    return fmt::format("{} replica {} of region {} from node {} to node {}",
                       type == ChangeReplica::kRepair ? "replace" : "move", remove, region, from, add);
  }
  if (add != 0) return fmt::format("add a replica of region {} on node {}", region, add);
  return fmt::format("remove replica {} of region {} from node {}", remove, region, from);
}

constexpr std::array<std::string_view, 10> kReplicaSteps = {
    "",       "prepare", "create",  "add_learner", "catch_up",
    "switch", "confirm", "destroy", "undo",        "undo_destroy"};

}  // namespace

pb::ProcedureRecord ChangeReplica::New(std::string_view type, const pb::RegionRecord& region, NodeId add_node,
                                       ReplicaId remove_replica, std::string_view cause) {
  Body body;
  body.set_cause(std::string(cause));
  body.set_region(region.id());
  body.set_add_node(add_node.value());
  body.set_remove_replica(remove_replica.value());
  for (const pb::ReplicaRecord& replica : region.replicas()) {
    if (replica.id() == remove_replica.value()) body.set_remove_node(replica.node());
  }
  pb::ProcedureRecord procedure = NewProcedure(
      type, Describe(type, region.id(), body.add_node(), body.remove_replica(), body.remove_node()),
      body.SerializeAsString());
  procedure.set_object(region.id());
  procedure.set_cancellable(true);
  AddLock(procedure, pb::LOCKED_REGION, region.id());
  return procedure;
}

NodeId ChangeReplica::TargetOf(const pb::ProcedureRecord& procedure) {
  const auto body = BodyOf<Body>(procedure);
  return body.ok() ? NodeId(body->add_node()) : NodeId();
}

NodeId ChangeReplica::SourceOf(const pb::ProcedureRecord& procedure) {
  const auto body = BodyOf<Body>(procedure);
  return body.ok() ? NodeId(body->remove_node()) : NodeId();
}

std::string ChangeReplica::CauseOf(const pb::ProcedureRecord& procedure) const {
  const auto body = BodyOf<Body>(procedure);
  return body.ok() ? body->cause() : std::string();
}

bool ChangeReplica::FailedLately(const pb::ProcedureRecord& procedure, WallTime now, Duration rest) {
  if (!catalog::IsEnded(procedure.state()) || procedure.state() == pb::PROCEDURE_SUCCEEDED) return false;
  const int64_t ago_ms = ToMillis(now) - procedure.ended_at_ms();
#ifdef TENURE_MUTANT_rest_until_a_time_to_come
  return ago_ms < ToMillis(rest);
#endif
  return ago_ms >= 0 && ago_ms < ToMillis(rest);
}

bool ChangeReplica::IsCancellable(std::string_view step) const {
  return step == "prepare" || step == "create" || step == "add_learner" || step == "catch_up";
}

Status ChangeReplica::Check(const pb::ProcedureRecord& procedure) const {
  TENURE_RETURN_IF_ERROR(BodyOf<Body>(procedure).status());
  const bool known =
      std::find(kReplicaSteps.begin(), kReplicaSteps.end(), procedure.step()) != kReplicaSteps.end();
  return known ? OkStatus() : UnknownStep(procedure);
}

runtime::Task<StatusOr<StepEnd>> ChangeReplica::Run(StepContext& context) {
  TENURE_CO_ASSIGN_OR_RETURN(Body body, BodyOf<Body>(context.procedure()));
  const std::string step = context.procedure().step();
  if (step == "prepare") co_return co_await Prepare(context, std::move(body));
  if (step == "create") co_return co_await Create(context, std::move(body));
  if (step == "add_learner") co_return co_await AddLearner(context, std::move(body));
  if (step == "catch_up") co_return co_await CatchUp(context, std::move(body));
  if (step == "switch") co_return co_await Switch(context, std::move(body));
  if (step == "confirm") co_return co_await Confirm(context, std::move(body));
  if (step == "undo") co_return co_await Undo(context, std::move(body));
  if (step == "destroy") {
    co_return co_await Destroy(context, body.region(), body.remove_replica(), body.remove_node(),
                               StepEnd::Ended(pb::PROCEDURE_SUCCEEDED));
  }
  const bool cancelled = context.cancel_requested();
  co_return co_await Destroy(context, body.region(), body.add_replica(), body.add_node(),
                             StepEnd::Ended(cancelled ? pb::PROCEDURE_CANCELLED : pb::PROCEDURE_ROLLED_BACK,
                                            context.procedure().last_error()));
}

ChangeReplica::End ChangeReplica::Prepare(StepContext& context, Body body) {
  const RegionNow now = Look(context, body.region());
  if (now.record == nullptr) co_return RegionGone();
  if (context.cancel_requested()) co_return StepEnd::Ended(pb::PROCEDURE_CANCELLED, "cancelled");
  if (body.remove_replica() != 0 && !Lists(now.record->replicas(), body.remove_replica())) {
    co_return StepEnd::Ended(pb::PROCEDURE_FAILED, fmt::format("region {} has no replica {} any more",
                                                               body.region(), body.remove_replica()));
  }
  if (body.add_node() == 0) co_return StepEnd::Next("switch");
  if (const std::string lost = Lost(context, body.add_node()); !lost.empty())
    co_return StepEnd::Ended(pb::PROCEDURE_FAILED, lost);
  // It may have been asked to leave since the node was chosen.
  const pb::NodeState state = context.catalog().nodes().at(body.add_node()).node().state();
  if (state != pb::NODE_UP && state != pb::NODE_SUSPECT) {
    co_return StepEnd::Ended(pb::PROCEDURE_FAILED,
                             fmt::format("node {} is {}", body.add_node(), catalog::NameOf(state)));
  }
  for (const auto* list : {&now.record->replicas(), &now.record->joining(), &now.record->leaving()}) {
    for (const pb::ReplicaRecord& replica : *list) {
      if (replica.node() != body.add_node()) continue;
      co_return StepEnd::Ended(
          pb::PROCEDURE_FAILED,
          fmt::format("node {} has replica {} of region {}", replica.node(), replica.id(), body.region()));
    }
  }
  StepEnd end = StepEnd::Next("create");
  body.set_add_replica(catalog::NextReplica(*now.record));
  end.body = body.SerializeAsString();
  auto& change = *end.effect.mutable_change_replica();
  change.set_region(body.region());
  change.mutable_join()->set_id(body.add_replica());
  change.mutable_join()->set_node(body.add_node());
  change.mutable_join()->set_role(pb::REPLICA_LEARNER);
  co_return end;
}

ChangeReplica::End ChangeReplica::Create(StepContext& context, Body body) {
  while (true) {
    const auto record = context.catalog().regions().find(body.region());
    if (Look(context, body.region()).record == nullptr) co_return RegionGone();
    NodeTask task{.node = NodeId(body.add_node()), .revision = Revision(record->second.modify_revision())};
    auto& item = *task.payload.mutable_create_replicas()->add_items();
    item.set_region(body.region());
    item.set_replica(body.add_replica());
    std::vector<NodeTask> tasks;
    tasks.push_back(std::move(task));
    TENURE_CO_ASSIGN_OR_RETURN(const TaskLooks looks, co_await context.Tend(std::move(tasks)));
    const TaskLook& look = looks.begin()->second;
    if (look.state == TaskLook::State::kDone) co_return StepEnd::Next("add_learner");
    if (context.cancel_requested()) co_return StepEnd::RollBack("undo", "cancelled");
    if (const std::string lost = WillNotFollow(context, body.add_node(), body.region()); !lost.empty())
      co_return StepEnd::RollBack("undo", lost);
    if (look.failures >= options_.max_failures) co_return StepEnd::RollBack("undo", look.last_error);
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

runtime::Task<void> ChangeReplica::Ask(StepContext& context, uint64_t region, Replicas replicas) {
  const RegionNow now = Look(context, region);
  if (!now.known) co_return;
  ipb::ChangeConfigurationRequest request;
  request.set_cluster_id(context.catalog().cluster()->cluster_id());
  request.set_leader_epoch(context.epoch().value());
  request.set_incarnation(context.catalog().cluster()->incarnation());
  request.set_region(region);
  request.set_if_index(now.index);
  for (pb::ReplicaRecord& replica : replicas) *request.add_replicas() = std::move(replica);
  // What came of it is reported; a refusal or a lost answer is asked again from what is reported then.
  const auto answer =
      co_await context.CallNode(now.leader_node, "tenure.internal.v1.NodeInternal/ChangeConfiguration",
                                request.SerializeAsString(), options_.call_timeout);
  if (!answer.ok())
    context.WaitsFor(fmt::format("node {} about the configuration: {}", now.leader_node.value(),
                                 MessageOf(answer.status())));
}

ChangeReplica::End ChangeReplica::AddLearner(StepContext& context, Body body) {
  while (true) {
    RegionNow now = Look(context, body.region());
    if (now.record == nullptr) co_return RegionGone();
    if (IsGivenUp(now, body.add_replica())) co_return StepEnd::RollBack("undo", "the region was recovered");
    if (now.known && now.Has(body.add_replica())) co_return StepEnd::Next("catch_up");
    if (context.cancel_requested()) co_return StepEnd::RollBack("undo", "cancelled");
    if (const std::string lost = WillNotFollow(context, body.add_node(), body.region()); !lost.empty())
      co_return StepEnd::RollBack("undo", lost);
    if (now.known) {
      pb::ReplicaRecord& added = now.replicas.emplace_back();
      added.set_id(body.add_replica());
      added.set_node(body.add_node());
      added.set_role(pb::REPLICA_LEARNER);
      co_await Ask(context, body.region(), std::move(now.replicas));
    }
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

ChangeReplica::End ChangeReplica::CatchUp(StepContext& context, Body body) {
  while (true) {
    const RegionNow now = Look(context, body.region());
    if (now.record == nullptr) co_return RegionGone();
    if (IsGivenUp(now, body.add_replica())) co_return StepEnd::RollBack("undo", "the region was recovered");
    const pb::RegionLoad* copy = LoadOf(context, NodeId(body.add_node()), body.region());
    const bool reported = now.known && now.Has(body.add_replica()) && copy != nullptr &&
                          copy->replica() == body.add_replica() && copy->applied() > 0;
    // It has applied the configuration that names it, so what it lacks is known.
#ifdef TENURE_MUTANT_promote_without_catching_up
    if (now.known && now.Has(body.add_replica())) co_return StepEnd::Next("switch");
#endif
    if (reported && copy->applied() >= now.index &&
        copy->applied() + options_.max_lag >= now.leader_load->applied()) {
      co_return StepEnd::Next("switch");
    }
    if (context.cancel_requested()) co_return StepEnd::RollBack("undo", "cancelled");
    if (const std::string why = WillNotFollow(context, body.add_node(), body.region()); !why.empty())
      co_return StepEnd::RollBack("undo", why);
    if (now.known && !now.Has(body.add_replica())) co_return StepEnd::Next("add_learner");
    if (now.leader_load != nullptr && copy != nullptr) {
      context.WaitsFor(fmt::format("the new replica has applied {} of {} entries", copy->applied(),
                                   now.leader_load->applied()));
    }
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

ChangeReplica::End ChangeReplica::Switch(StepContext& context, Body body) {
  Instant next_transfer{};
  std::string lost;  // why the new replica is to leave again
  while (true) {
    RegionNow now = Look(context, body.region());
    if (now.record == nullptr) co_return RegionGone();
    if (now.known) {
      const pb::ReplicaRecord* added = now.Find(body.add_replica());
      const bool is_voter = added != nullptr && added->role() == pb::REPLICA_VOTER;
      const bool done = (body.add_node() == 0 || is_voter) && !now.Has(body.remove_replica());
      // The catalog knows it as well: what has left is `leaving` there.
      if (done && now.record->configuration_index() >= now.index) co_return StepEnd::Next("confirm");
      if (!done && body.add_node() != 0 && added == nullptr) {
        if (lost.empty()) {
          lost = fmt::format(
              "replica {} is not in the configuration any more: the region was recovered or changed by hand",
              body.add_replica());
        }
        co_return StepEnd::RollBack("undo", lost);
      }
      lost =
          done || added == nullptr || is_voter ? "" : WillNotFollow(context, body.add_node(), body.region());
      if (!lost.empty()) {
        // As a voter it would be missed. What was asked for before starts from the same configuration: only
        // one of the two happens.
        std::erase_if(now.replicas, [&](const auto& replica) { return replica.id() == body.add_replica(); });
        co_await Ask(context, body.region(), std::move(now.replicas));
      } else if (!done && now.leader.value() == body.remove_replica()) {
        const ReplicaId next = BestVoter(context, now, body.remove_replica());
        if (next.IsNone()) {
          // It is the only voter: the new one joins it before it takes over.
          for (pb::ReplicaRecord& replica : now.replicas) {
            if (replica.id() == body.add_replica()) replica.set_role(pb::REPLICA_VOTER);
          }
          co_await Ask(context, body.region(), std::move(now.replicas));
        } else if (context.executor().Now() >= next_transfer) {
          next_transfer = context.executor().Now() + std::chrono::seconds(2);
          context.agents().RequestTransfer(now.leader_node, RegionId(body.region()), next);
        }
      } else if (!done) {
#ifdef TENURE_MUTANT_remove_before_promote
        if (now.Has(body.remove_replica())) added = nullptr;
#endif
        std::erase_if(now.replicas,
                      [&](const auto& replica) { return replica.id() == body.remove_replica(); });
        for (pb::ReplicaRecord& replica : now.replicas) {
#ifdef TENURE_MUTANT_remove_before_promote
          if (added == nullptr) continue;
#endif
          if (replica.id() == body.add_replica()) replica.set_role(pb::REPLICA_VOTER);
        }
        co_await Ask(context, body.region(), std::move(now.replicas));
      }
    }
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

ChangeReplica::End ChangeReplica::Confirm(StepContext& context, Body body) {
  while (true) {
    const RegionNow now = Look(context, body.region());
    if (now.record == nullptr) co_return RegionGone();
    const pb::RegionLoad* copy = LoadOf(context, NodeId(body.add_node()), body.region());
    const bool proved =
        body.add_node() == 0 || (copy != nullptr && copy->replica() == body.add_replica() && now.known &&
                                 copy->applied() >= now.record->configuration_index());
    // It is a voter by now and its region is to be repaired, which this procedure's lock keeps from
    // beginning.
    const std::string lost =
        body.add_node() == 0 ? "" : WillNotFollow(context, body.add_node(), body.region());
    if (proved || (!lost.empty() && body.remove_replica() == 0)) {
      co_return body.remove_replica() == 0 ? StepEnd::Ended(pb::PROCEDURE_SUCCEEDED)
                                           : StepEnd::Next("destroy");
    }
    // A region that does not go on without the new replica cannot be repaired anyway, and the old one may
    // hold the only data that are left.
    if (!lost.empty() && HasMajorityWithout(context, *now.record, body.add_replica()))
      co_return StepEnd::Next("destroy");
    if (!lost.empty()) {
      context.WaitsFor(
          fmt::format("replica {} to be there again, or region {} to be recovered ({}); replica {} is kept",
                      body.add_replica(), body.region(), lost, body.remove_replica()));
    }
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

ChangeReplica::End ChangeReplica::Destroy(StepContext& context, uint64_t region, uint64_t replica,
                                          uint64_t node, StepEnd end) {
#ifdef TENURE_MUTANT_skip_step_after_recovery
  if (!context.procedure().tasks().empty()) co_return end;
#endif
  while (true) {
    const auto record = context.catalog().regions().find(region);
    if (Look(context, region).record == nullptr) co_return RegionGone();
    const pb::RegionRecord& now = record->second.region();
    if (!Lists(now.leaving(), replica)) {
      if (!Lists(now.replicas(), replica) && !Lists(now.joining(), replica)) co_return end;
      co_return StepEnd::Retry(
          fmt::format("replica {} of region {} has not left the configuration", replica, region));
    }
    // It may never come back, and the region, whose lock this holds, may need another change before it does.
    // Without a record of the replica the node destroys it by itself.
    if (const std::string lost = Lost(context, node); !lost.empty()) {
      end.error += fmt::format("{}{}: replica {} was not destroyed, the node does that when it is back",
                               end.error.empty() ? "" : "; ", lost, replica);
      end.effect.mutable_change_replica()->set_region(region);
      end.effect.mutable_change_replica()->set_end_leaving(replica);
      co_return end;
    }
    NodeTask task{.node = NodeId(node), .revision = Revision(record->second.modify_revision())};
    auto& item = *task.payload.mutable_destroy_replicas()->add_items();
    item.set_region(region);
    item.set_replica(replica);
    std::vector<NodeTask> tasks;
    tasks.push_back(std::move(task));
    TENURE_CO_ASSIGN_OR_RETURN(const TaskLooks looks, co_await context.Tend(std::move(tasks)));
    if (looks.begin()->second.state != TaskLook::State::kRunning) {
      end.effect.mutable_change_replica()->set_region(region);
      end.effect.mutable_change_replica()->set_end_leaving(replica);
      co_return end;
    }
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

ChangeReplica::End ChangeReplica::Undo(StepContext& context, Body body) {
  while (true) {
    RegionNow now = Look(context, body.region());
    if (now.record == nullptr) co_return RegionGone();
    const bool in_record = Lists(now.record->replicas(), body.add_replica());
    if (now.known && !now.Has(body.add_replica()) && !in_record) {
      StepEnd end = StepEnd::RollBack("undo_destroy", context.procedure().last_error());
      end.effect.mutable_change_replica()->set_region(body.region());
      end.effect.mutable_change_replica()->set_end_joining(body.add_replica());
      co_return end;
    }
    if (now.known && now.Has(body.add_replica())) {
      std::erase_if(now.replicas, [&](const auto& replica) { return replica.id() == body.add_replica(); });
      co_await Ask(context, body.region(), std::move(now.replicas));
    }
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

}  // namespace tenure::controller
