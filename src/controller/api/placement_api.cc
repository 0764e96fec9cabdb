#include "controller/api/placement_api.h"

#include <algorithm>
#include <set>
#include <sstream>
#include <utility>

#include "base/format.h"
#include "catalog/controllers.h"
#include "catalog/procedures.h"
#include "catalog/refusal.h"
#include "catalog/state_moves.h"
#include "controller/placement/cluster_view.h"
#include "controller/procedure/types/change_replica.h"
#include "controller/procedure/types/drain_node.h"
#include "controller/procedure/types/hold_node.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
using catalog::Refuse;
using Change = ::tenure::controller::ChangeReplica;

namespace {

constexpr int64_t kMaxHoldMs = 24 * 3600 * 1000;
constexpr size_t kNamedRegions = 10;  // of those that stand in a node's way

template <class List>
void AddLines(const std::string& text, List& lines) {
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) *lines.Add() = line;
}

const pb::ReplicaRecord* ReplicaOn(const pb::RegionRecord& region, NodeId node) {
  for (const pb::ReplicaRecord& replica : region.replicas()) {
    if (NodeId(replica.node()) == node) return &replica;
  }
  return nullptr;
}

int Voters(const pb::RegionRecord& region) {
  return static_cast<int>(
      std::count_if(region.replicas().begin(), region.replicas().end(),
                    [](const pb::ReplicaRecord& replica) { return replica.role() == pb::REPLICA_VOTER; }));
}

}  // namespace

StatusOr<const pb::RegionRecord*> PlacementApi::FindRegion(uint64_t id) const {
  const auto found = access_.catalog().regions().find(id);
  if (found == access_.catalog().regions().end())
    return Refuse(pb::REASON_NOT_FOUND, "region: there is no region {}", id);
  return &found->second.region();
}

StatusOr<const pb::NodeRecord*> PlacementApi::FindNode(uint64_t id) const {
  const auto found = access_.catalog().nodes().find(id);
  if (found == access_.catalog().nodes().end())
    return Refuse(pb::REASON_NOT_FOUND, "node: there is no node {}", id);
  return &found->second.node();
}

template <class Answered>
void PlacementApi::Submit(ipb::CatalogCommand command, Answered response, Answer<Answered> done) {
  const std::string type = command.submit_procedure().procedure().type();
  access_.ProposeInEpoch(std::move(command), leadership_.epoch(),
                         [this, type, response = std::move(response),
                          done = std::move(done)](StatusOr<ipb::CatalogResult> result) mutable {
                           if (!result.ok()) return done(result.status());
                           response.set_revision(result->revision());
                           // Submissions with an effect answer with the object of it: the newest procedure
                           // about it is this one.
                           for (const auto& [id, record] : access_.catalog().procedures()) {
                             const pb::ProcedureRecord& procedure = record.procedure();
                             if (procedure.type() == type &&
                                 (id == result->object_id() || procedure.object() == result->object_id()))
                               *response.mutable_procedure() = record;
                           }
                           done(std::move(response));
                         });
}

// ---- replicas ----

Status PlacementApi::CheckTarget(const pb::RegionRecord& region, NodeId node) const {
  TENURE_ASSIGN_OR_RETURN(const pb::NodeRecord* record, FindNode(node.value()));
  if (record->state() != pb::NODE_UP) {
    return Refuse(pb::REASON_CONDITION_FAILED, "to_node: node {} is {}, it must be UP", node,
                  catalog::NameOf(record->state()));
  }
  if (ReplicaOn(region, node) != nullptr) {
    return Refuse(pb::REASON_CONDITION_FAILED, "to_node: node {} holds a replica of region {} already", node,
                  region.id());
  }
  if (HeldNodes(access_.catalog()).contains(node))
    return Refuse(pb::REASON_BUSY, "to_node: node {} is held: it is going to be stopped", node);
  return OkStatus();
}

Status PlacementApi::ChooseTarget(const pb::RegionRecord& region, NodeId from, Response& response) {
  TENURE_ASSIGN_OR_RETURN(
      const auto plan,
      planner::PlanAddReplica(ClusterView(access_.catalog(), agents_),
                              {.region = RegionId(region.id()), .replaces = from, .seed = prng_.Next64()}));
  response.set_to_node(plan.node.value());
  AddLines(plan.explanation.Text(), *response.mutable_explanation());
  return OkStatus();
}

Status PlacementApi::ChooseSource(const pb::RegionRecord& region, Response& response) {
  TENURE_ASSIGN_OR_RETURN(
      const auto plan, planner::PlanRemoveReplica(ClusterView(access_.catalog(), agents_),
                                                  {.region = RegionId(region.id()), .seed = prng_.Next64()}));
  response.set_from_node(plan.node.value());
  AddLines(plan.explanation.Text(), *response.mutable_explanation());
  return OkStatus();
}

Status PlacementApi::Choose(const pb::ChangeReplicaRequest& request, const pb::RegionRecord& region,
                            Response& response) {
  const bool adds = request.change() == pb::REPLICA_MOVE || request.change() == pb::REPLICA_ADD;
  const bool removes = request.change() == pb::REPLICA_MOVE || request.change() == pb::REPLICA_REMOVE;
  if (!adds && !removes) {
    return Refuse(pb::REASON_INVALID_ARGUMENT, "change: {} is none", static_cast<int>(request.change()));
  }
  if (!removes && request.from_node() != 0)
    return Refuse(pb::REASON_INVALID_ARGUMENT, "from_node: nothing is removed by an addition");
  if (!adds && request.to_node() != 0)
    return Refuse(pb::REASON_INVALID_ARGUMENT, "to_node: nothing is added by a removal");
  if (request.change() == pb::REPLICA_MOVE && request.from_node() == 0)
    return Refuse(pb::REASON_INVALID_ARGUMENT, "from_node: must be given for a move");
  if (request.change() == pb::REPLICA_REMOVE) {
    const auto database = access_.catalog().databases().find(region.database());
    const int wanted = database == access_.catalog().databases().end()
                           ? 1
                           : static_cast<int>(database->second.database().replicas());
    if (Voters(region) <= std::max(wanted, 1)) {
      return Refuse(
          pb::REASON_CONDITION_FAILED,
          "region {} has {} voting replicas and its database wants {}: another would be made at once",
          region.id(), Voters(region), wanted);
    }
  }
  if (request.change() == pb::REPLICA_ADD &&
      region.replicas_size() >= static_cast<int>(access_.limits().max_replicas)) {
    return Refuse(pb::REASON_INVALID_ARGUMENT, "region {} has {} replicas, the limit is {}", region.id(),
                  region.replicas_size(), access_.limits().max_replicas);
  }
  if (removes && request.from_node() != 0) {
    if (ReplicaOn(region, NodeId(request.from_node())) == nullptr) {
      return Refuse(pb::REASON_INVALID_ARGUMENT, "from_node: node {} holds no replica of region {}",
                    request.from_node(), region.id());
    }
    response.set_from_node(request.from_node());
  }
  if (removes && request.from_node() == 0) TENURE_RETURN_IF_ERROR(ChooseSource(region, response));
  if (!adds) return OkStatus();
  if (request.to_node() == 0) return ChooseTarget(region, NodeId(request.from_node()), response);
  TENURE_RETURN_IF_ERROR(CheckTarget(region, NodeId(request.to_node())));
  response.set_to_node(request.to_node());
  return OkStatus();
}

void PlacementApi::ChangeReplica(const pb::ChangeReplicaRequest& request, Answer<Response> done) {
  if (const Status ready = leadership_.CheckLoadReady(); !ready.ok()) return done(ready);
  Response response;
  // Before the region is looked for: it may have gone since.
  if (const auto known = access_.catalog().FindAnswer(request.id());
      known && known->reason() == pb::REASON_UNSPECIFIED) {
    response.set_revision(known->revision());
    const auto procedure = access_.catalog().procedures().find(known->object_id());
    if (procedure != access_.catalog().procedures().end()) {
      *response.mutable_procedure() = procedure->second;
      response.set_from_node(Change::SourceOf(procedure->second.procedure()).value());
      response.set_to_node(Change::TargetOf(procedure->second.procedure()).value());
    }
    return done(std::move(response));
  }
  const auto region = FindRegion(request.region());
  if (!region.ok()) return done(region.status());
  if ((*region)->state() == pb::REGION_REMOVING || (*region)->state() == pb::REGION_CREATING) {
    return done(Refuse(pb::REASON_CONDITION_FAILED, "region {} is {}", request.region(),
                       catalog::NameOf((*region)->state())));
  }
  if (const uint64_t other = ChangeUnderWay(access_.catalog(), RegionId(request.region())); other != 0) {
    return done(
        Refuse(pb::REASON_BUSY, "region {} is being changed by procedure {}", request.region(), other));
  }
  if (const Status chosen = Choose(request, **region, response); !chosen.ok()) return done(chosen);
  if (request.dry_run()) {
    response.set_revision(access_.applied().value());
    return done(std::move(response));
  }
  const pb::ReplicaRecord* source = ReplicaOn(**region, NodeId(response.from_node()));
  ipb::CatalogCommand command;
  if (request.has_id()) *command.mutable_id() = request.id();
  *command.mutable_submit_procedure()->mutable_procedure() =
      Change::New(request.change() == pb::REPLICA_MOVE  ? Change::kMove
                  : request.change() == pb::REPLICA_ADD ? Change::kAdd
                                                        : Change::kRemove,
                  **region, NodeId(response.to_node()), ReplicaId(source == nullptr ? 0 : source->id()),
                  Change::kOperator);
  Submit(std::move(command), std::move(response), std::move(done));
}

void PlacementApi::Explain(const pb::ExplainRegionRequest& request,
                           Answer<pb::ExplainRegionResponse> done) const {
  if (const Status ready = leadership_.CheckLoadReady(); !ready.ok()) return done(ready);
  if (const auto region = FindRegion(request.region()); !region.ok()) return done(region.status());
  const auto explanations =
      planner::ExplainRegion(ClusterView(access_.catalog(), agents_),
                             {.region = RegionId(request.region()), .explain = {.decisions = 9}});
  if (!explanations.ok()) return done(explanations.status());
  pb::ExplainRegionResponse response;
  for (const planner::Explanation& explanation : *explanations)
    AddLines(explanation.Text(), *response.mutable_explanation());
  done(std::move(response));
}

// ---- nodes ----

namespace {

// The answer to a request that was done already, whose answer was lost; nullopt: it was not. `type`: of the
// procedure about the node that it has submitted.
template <class Answered>
std::optional<Answered> AnswerAgain(const catalog::Catalog& catalog, const pb::RequestId& id,
                                    std::string_view type, uint64_t node) {
  const auto known = catalog.FindAnswer(id);
  if (!known || known->reason() != pb::REASON_UNSPECIFIED) return std::nullopt;
  Answered response;
  response.set_revision(known->revision());
  for (const auto& [number, record] : catalog.procedures()) {
    if (record.procedure().type() == type && record.procedure().object() == node)
      *response.mutable_procedure() = record;
  }
  return response;
}

}  // namespace

void PlacementApi::Resume(const pb::DrainNodeRequest& request, Answer<pb::DrainNodeResponse> done) {
  for (const auto& [id, record] : access_.catalog().procedures()) {
    const pb::ProcedureRecord& procedure = record.procedure();
    if (procedure.type() != DrainNode::kName || procedure.object() != request.node() ||
        catalog::IsEnded(procedure.state())) {
      continue;
    }
    // It ends, and makes the node UP again.
    ipb::CatalogCommand command;
    if (request.has_id()) *command.mutable_id() = request.id();
    command.mutable_cancel_procedure()->set_procedure(id);
    access_.ProposeInEpoch(std::move(command), leadership_.epoch(),
                           [done = std::move(done)](StatusOr<ipb::CatalogResult> result) mutable {
                             if (!result.ok()) return done(result.status());
                             pb::DrainNodeResponse response;
                             response.set_revision(result->revision());
                             done(std::move(response));
                           });
    return;
  }
  ipb::CatalogCommand command;
  if (request.has_id()) *command.mutable_id() = request.id();
  command.mutable_set_node_state()->set_node(request.node());
  command.mutable_set_node_state()->set_state(pb::NODE_UP);
  access_.ProposeInEpoch(std::move(command), leadership_.epoch(),
                         [done = std::move(done)](StatusOr<ipb::CatalogResult> result) mutable {
                           if (!result.ok()) return done(result.status());
                           pb::DrainNodeResponse response;
                           response.set_revision(result->revision());
                           done(std::move(response));
                         });
}

void PlacementApi::Drain(const pb::DrainNodeRequest& request, Answer<pb::DrainNodeResponse> done) {
  if (const Status ready = leadership_.CheckLoadReady(); !ready.ok()) return done(ready);
  const auto node = FindNode(request.node());
  if (!node.ok()) return done(node.status());
  if (auto again = AnswerAgain<pb::DrainNodeResponse>(access_.catalog(), request.id(), DrainNode::kName,
                                                      request.node())) {
    if (request.resume()) again->clear_procedure();
    return done(*std::move(again));
  }
  if (request.resume()) {
    if ((*node)->state() != pb::NODE_DRAINING) {
      return done(Refuse(pb::REASON_CONDITION_FAILED, "node {} is {}, not DRAINING", request.node(),
                         catalog::NameOf((*node)->state())));
    }
    return Resume(request, std::move(done));
  }
  const auto plan = planner::PlanDrain(ClusterView(access_.catalog(), agents_),
                                       {.node = NodeId(request.node()), .seed = prng_.Next64()});
  if (!plan.ok()) return done(plan.status());
  pb::DrainNodeResponse response;
  response.set_revision(access_.applied().value());
  for (const planner::LeaderTransfer& transfer : plan->transfers)
    response.add_plan(fmt::format("region {}: leadership to node {}", transfer.region, transfer.to));
  for (const planner::ReplicaMove& move : plan->moves)
    response.add_plan(fmt::format("region {}: replica to node {}", move.region, move.to));
  for (const std::string& feed : ChangefeedsOn(access_.catalog(), NodeId(request.node())))
    response.add_plan(fmt::format("changefeed '{}': its maintainer to another node", feed));
  for (const planner::StuckRegion& stuck : plan->stuck)
    response.add_stuck(fmt::format("region {}: {}", stuck.region, stuck.why));
  if (request.dry_run()) return done(std::move(response));
  if (!response.stuck().empty()) {
    return done(Refuse(pb::REASON_NOT_ENOUGH_NODES, "node {} cannot be drained: {}", request.node(),
                       response.stuck(0)));
  }
  if ((*node)->state() != pb::NODE_UP && (*node)->state() != pb::NODE_SUSPECT) {
    return done(Refuse(pb::REASON_CONDITION_FAILED, "node {} is {}, it must be UP", request.node(),
                       catalog::NameOf((*node)->state())));
  }
  ipb::CatalogCommand command;
  if (request.has_id()) *command.mutable_id() = request.id();
  ipb::SubmitProcedure& submit = *command.mutable_submit_procedure();
  *submit.mutable_procedure() = DrainNode::New(access_.catalog(), NodeId(request.node()));
  submit.mutable_effect()->mutable_set_node_state()->set_node(request.node());
  submit.mutable_effect()->mutable_set_node_state()->set_state(pb::NODE_DRAINING);
  Submit(std::move(command), std::move(response), std::move(done));
}

bool PlacementApi::IsAlive(NodeId node) const {
  const auto record = access_.catalog().nodes().find(node.value());
  if (record == access_.catalog().nodes().end()) return false;
  const pb::NodeState state = record->second.node().state();
  const NodeLoad* load = agents_.load().Find(node);
  return (state == pb::NODE_UP || state == pb::NODE_DRAINING) && load != nullptr && load->connected;
}

std::vector<uint64_t> PlacementApi::LastCopiesOn(NodeId node) const {
  std::vector<uint64_t> regions;
  for (const auto& [id, record] : access_.catalog().regions()) {
    const pb::RegionRecord& region = record.region();
    if (region.state() == pb::REGION_REMOVING || ReplicaOn(region, node) == nullptr) continue;
    const bool elsewhere = std::any_of(
        region.replicas().begin(), region.replicas().end(), [&](const pb::ReplicaRecord& replica) {
          return replica.role() == pb::REPLICA_VOTER && NodeId(replica.node()) != node &&
                 IsAlive(NodeId(replica.node()));
        });
    // Without a majority elsewhere what the others hold may not be all of it.
    if (!elsewhere || !agents_.region_leaders().HasLeader(RegionId(id))) regions.push_back(id);
  }
  return regions;
}

void PlacementApi::Remove(const pb::RemoveNodeRequest& request, Answer<pb::RemoveNodeResponse> done) {
  if (const Status ready = leadership_.CheckLoadReady(); !ready.ok()) return done(ready);
  const NodeId id(request.node());
  const auto node = FindNode(request.node());
  if (!node.ok()) return done(node.status());
  if (auto again = AnswerAgain<pb::RemoveNodeResponse>(access_.catalog(), request.id(), RemoveNode::kName,
                                                       request.node())) {
    return done(*std::move(again));
  }
  const pb::NodeState state = (*node)->state();
  if (state == pb::NODE_REMOVING || state == pb::NODE_REMOVED) {
    return done(
        Refuse(pb::REASON_CONDITION_FAILED, "node {} is {} already", request.node(), catalog::NameOf(state)));
  }
  const size_t replicas = ReplicasOn(access_.catalog(), id);
  if (state == pb::NODE_UP || state == pb::NODE_SUSPECT) {
    return done(Refuse(
        pb::REASON_CONDITION_FAILED,
        "node {} is {}: drain it first (`tenure node drain {}`), or stop its process and wait until it is "
        "DOWN",
        request.node(), catalog::NameOf(state), request.node()));
  }
  if (state == pb::NODE_DRAINING && replicas > 0) {
    return done(Refuse(pb::REASON_CONDITION_FAILED, "node {} is not drained yet: {} replicas are left on it",
                       request.node(), replicas));
  }
  const std::vector<uint64_t> last = LastCopiesOn(id);
  const std::set<uint64_t> named(request.force_regions().begin(), request.force_regions().end());
  if (last.empty() && !named.empty()) {
    return done(Refuse(pb::REASON_INVALID_ARGUMENT,
                       "force_regions: node {} holds the last good copy of no region", request.node()));
  }
  if (named != std::set<uint64_t>(last.begin(), last.end())) {
    std::string list;
    for (const uint64_t region : last) list += fmt::format("{}{}", list.empty() ? "" : ",", region);
    return done(Refuse(
        pb::REASON_CONDITION_FAILED,
        "node {} holds the last good copies of regions {}: they would be lost; to remove it even so name "
        "exactly these with --force-regions",
        request.node(), list));
  }
  ipb::CatalogCommand command;
  if (request.has_id()) *command.mutable_id() = request.id();
  ipb::SubmitProcedure& submit = *command.mutable_submit_procedure();
  *submit.mutable_procedure() = RemoveNode::New(id, last, request.gone());
  submit.mutable_effect()->mutable_set_node_state()->set_node(request.node());
  submit.mutable_effect()->mutable_set_node_state()->set_state(pb::NODE_REMOVING);
  Submit(std::move(command), pb::RemoveNodeResponse(), std::move(done));
}

std::vector<std::string> PlacementApi::WhyNotStop(NodeId node) const {
  std::vector<std::string> reasons;
  std::set<NodeId> absent = HeldNodes(access_.catalog());
  for (const NodeId other : absent) {
    if (other != node) reasons.push_back(fmt::format("node {} is held: it is going to be stopped", other));
  }
  absent.insert(node);
  size_t hurt = 0;
  for (const auto& [id, record] : access_.catalog().regions()) {
    const pb::RegionRecord& region = record.region();
    if (region.state() == pb::REGION_REMOVING || ReplicaOn(region, node) == nullptr) continue;
    int alive = 0;
    for (const pb::ReplicaRecord& replica : region.replicas()) {
      const NodeId on(replica.node());
      if (replica.role() != pb::REPLICA_VOTER || absent.contains(on) || !IsAlive(on)) continue;
      const NodeLoad* load = agents_.load().Find(on);
      if (load->regions.contains(id) && !load->lost.contains(id)) ++alive;
    }
    if (alive < Voters(region) / 2 + 1 && ++hurt <= kNamedRegions) {
      reasons.push_back(fmt::format("region {} would have {} of {} voters, which is no majority", id, alive,
                                    Voters(region)));
    }
  }
  if (hurt > kNamedRegions) reasons.push_back(fmt::format("and {} more regions", hurt - kNamedRegions));
  // The process may be a controller as well.
  const std::string& address = access_.catalog().nodes().at(node.value()).node().address();
  const auto status = access_.group().StatusOf();
  int voters = 0;
  int active = 0;
  bool concerned = false;
  for (const auto& [id, record] : access_.catalog().controllers()) {
    const pb::ControllerRecord& controller = record.controller();
    if (!controller.voter() || catalog::IsRemoved(controller)) continue;
    ++voters;
    if (controller.address() == address) {
      concerned = true;
      continue;
    }
    const bool self = ReplicaId(id) == leadership_.self();
    const bool heard =
        status && std::any_of(status->peers.begin(), status->peers.end(), [&](const auto& peer) {
          return peer.id == ReplicaId(controller.id()) && peer.active;
        });
    if (self || heard) ++active;
  }
  if (concerned && active < voters / 2 + 1) {
    reasons.push_back(
        fmt::format("its process is a controller, and {} of {} voters would be left, which is no majority",
                    active, voters));
  }
  return reasons;
}

void PlacementApi::CanStop(const pb::CanStopRequest& request, Answer<pb::CanStopResponse> done) {
  if (const Status ready = leadership_.CheckLoadReady(); !ready.ok()) return done(ready);
  const auto node = FindNode(request.node());
  if (!node.ok()) return done(node.status());
  // Two promises that were both checked before either is in the catalog could contradict each other.
  if (promising_ && (request.reserve_ms() > 0 || request.release()))
    return done(Refuse(pb::REASON_BUSY, "node {}: another node is being reserved", request.node()));
  if (request.reserve_ms() < 0 || request.reserve_ms() > kMaxHoldMs) {
    return done(Refuse(pb::REASON_INVALID_ARGUMENT, "reserve_ms: {} is not in 0..{}", request.reserve_ms(),
                       kMaxHoldMs));
  }
  const int64_t now = ToMillis(executor_.WallNow());
  uint64_t holder = 0;
  pb::CanStopResponse response;
  for (const auto& [id, record] : access_.catalog().procedures()) {
    const pb::ProcedureRecord& procedure = record.procedure();
    if (procedure.type() != HoldNode::kName || procedure.object() != request.node() ||
        catalog::IsEnded(procedure.state())) {
      continue;
    }
    holder = id;
    response.set_reserved_ms(std::max<int64_t>(HoldNode::UntilMs(procedure) - now, 0));
  }
  ipb::CatalogCommand command;
  if (request.release()) {
    if (holder == 0) return done(Refuse(pb::REASON_NOT_FOUND, "node {} is not held", request.node()));
    command.mutable_cancel_procedure()->set_procedure(holder);
    response.set_reserved_ms(0);
  }
  for (std::string& reason : WhyNotStop(NodeId(request.node()))) response.add_reasons(std::move(reason));
  response.set_yes(response.reasons().empty());
  if (!request.release()) {
    if (request.reserve_ms() == 0 || !response.yes() || holder != 0) return done(std::move(response));
    *command.mutable_submit_procedure()->mutable_procedure() =
        HoldNode::New(NodeId(request.node()), now + request.reserve_ms());
    response.set_reserved_ms(request.reserve_ms());
  }
  promising_ = true;
  access_.ProposeInEpoch(
      std::move(command), leadership_.epoch(),
      [this, response, done = std::move(done)](StatusOr<ipb::CatalogResult> result) mutable {
        promising_ = false;
        if (!result.ok()) return done(result.status());
        done(std::move(response));
      });
}

}  // namespace tenure::controller
