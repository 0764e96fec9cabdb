#include "controller/procedure/types/drain_node.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/format.h"
#include "catalog/fencing.h"
#include "catalog/procedures.h"
#include "controller/placement/cluster_view.h"
#include "controller/procedure/types/bodies.h"
#include "controller/procedure/types/change_replica.h"
#include "tenure/internal/v1/procedure.pb.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

size_t RunningChildren(const StepContext& context) {
  const auto& procedures = context.catalog().procedures();
  return static_cast<size_t>(std::count_if(procedures.begin(), procedures.end(), [&](const auto& entry) {
    const pb::ProcedureRecord& child = entry.second.procedure();
    return child.parent() == context.procedure().id() && !catalog::IsEnded(child.state());
  }));
}

}  // namespace

pb::ProcedureRecord DrainNode::New(const catalog::Catalog& catalog, NodeId node) {
  ipb::DrainNodeBody body;
  body.set_node(node.value());
  body.set_replicas(static_cast<uint32_t>(ReplicasOn(catalog, node)));
  pb::ProcedureRecord procedure =
      NewProcedure(kName, fmt::format("drain node {} of {} replicas", node.value(), body.replicas()),
                   body.SerializeAsString());
  procedure.set_object(node.value());
  procedure.set_cancellable(true);
  AddLock(procedure, pb::LOCKED_NODE, node.value());
  return procedure;
}

std::string DrainNode::Progress(size_t replicas, size_t left, size_t running, Duration elapsed,
                                const std::vector<std::string>& changefeeds) {
  const size_t moved = replicas > left ? replicas - left : 0;
  std::string text = fmt::format("{} of {} replicas have left, {} are left, {} move now", moved,
                                 std::max(replicas, left), left, running);
  if (moved > 0 && elapsed > Duration::zero()) {
    const auto rest = std::chrono::duration_cast<std::chrono::seconds>(elapsed * static_cast<int64_t>(left) /
                                                                       static_cast<int64_t>(moved));
    text += fmt::format(", about {} s more at the rate so far", rest.count());
  }
  if (!changefeeds.empty()) {
    text += fmt::format("; {} maintainers are left, of changefeed '{}'{}", changefeeds.size(),
                        changefeeds.front(), changefeeds.size() > 1 ? " and others" : "");
  }
  return text;
}

Status DrainNode::Check(const pb::ProcedureRecord& procedure) const {
  TENURE_RETURN_IF_ERROR(BodyOf<ipb::DrainNodeBody>(procedure).status());
  return procedure.step().empty() || procedure.step() == first_step() ? OkStatus() : UnknownStep(procedure);
}

std::vector<pb::ProcedureRecord> DrainNode::NextMoves(StepContext& context, NodeId node,
                                                      Instant& next_transfer) const {
  const catalog::Catalog& catalog = context.catalog();
  const WallTime now = context.executor().WallNow();
  size_t running = RunningChildren(context);
  std::set<uint64_t> resting;
  for (const auto& [id, record] : catalog.procedures()) {
    const pb::ProcedureRecord& child = record.procedure();
    if (child.parent() == context.procedure().id() &&
        ChangeReplica::FailedLately(child, now, options_.retry_after)) {
      resting.insert(child.object());
    }
  }
  std::vector<pb::ProcedureRecord> moves;
  const auto plan = planner::PlanDrain(ClusterView(catalog, context.agents()),
                                       {.node = node, .seed = context.prng().Next64()});
  if (!plan.ok()) {
    context.WaitsFor(std::string(MessageOf(plan.status())));
    return moves;
  }
  if (context.executor().Now() >= next_transfer) {
    next_transfer = context.executor().Now() + options_.transfer_every;
    for (const planner::LeaderTransfer& transfer : plan->transfers) {
      for (const pb::ReplicaRecord& replica :
           catalog.regions().at(transfer.region.value()).region().replicas()) {
        if (NodeId(replica.node()) == transfer.to)
          context.agents().RequestTransfer(transfer.from, transfer.region, ReplicaId(replica.id()));
      }
    }
  }
  for (const planner::ReplicaMove& move : plan->moves) {
    if (running >= options_.max_moves) break;
    if (resting.contains(move.region.value()) || ChangeUnderWay(catalog, move.region) != 0) continue;
    const pb::RegionRecord& region = catalog.regions().at(move.region.value()).region();
    for (const pb::ReplicaRecord& replica : region.replicas()) {
      if (NodeId(replica.node()) != node) continue;
      pb::ProcedureRecord child = ChangeReplica::New(ChangeReplica::kMove, region, move.to,
                                                     ReplicaId(replica.id()), ChangeReplica::kDrain);
      child.set_parent(context.procedure().id());
      moves.push_back(std::move(child));
      ++running;
    }
  }
  const auto body = BodyOf<ipb::DrainNodeBody>(context.procedure());
  const Duration elapsed = std::chrono::milliseconds(ToMillis(now) - context.procedure().step_began_at_ms());
  std::string progress = Progress(body.ok() ? body->replicas() : 0, ReplicasOn(catalog, node), running,
                                  elapsed, ChangefeedsOn(catalog, node));
  // One that moves already has no further place to go: that is no obstacle.
  const auto stuck = std::find_if(plan->stuck.begin(), plan->stuck.end(), [&](const auto& region) {
    return ChangeUnderWay(catalog, region.region) == 0;
  });
  if (stuck != plan->stuck.end())
    progress += fmt::format("; region {} cannot be moved: {}", stuck->region.value(), stuck->why);
  context.WaitsFor(std::move(progress));
  return moves;
}

StepEnd DrainNode::Withdraw(const catalog::Catalog& catalog, const pb::ProcedureRecord& procedure) const {
  StepEnd end = StepEnd::Ended(pb::PROCEDURE_CANCELLED, "the node was resumed");
  const auto node = catalog.nodes().find(procedure.object());
  if (node != catalog.nodes().end() && node->second.node().state() == pb::NODE_DRAINING) {
    end.effect.mutable_set_node_state()->set_node(procedure.object());
    end.effect.mutable_set_node_state()->set_state(pb::NODE_UP);
  }
  return end;
}

runtime::Task<StatusOr<StepEnd>> DrainNode::Run(StepContext& context) {
  TENURE_CO_ASSIGN_OR_RETURN(const auto body, BodyOf<ipb::DrainNodeBody>(context.procedure()));
  const NodeId node(body.node());
  Instant next_transfer{};
  // What follows looks at all regions, and every heartbeat of every node is news.
  Instant next_look{};
  size_t running_then = 0;
  while (true) {
    const auto record = context.catalog().nodes().find(body.node());
    const pb::NodeState state =
        record == context.catalog().nodes().end() ? pb::NODE_REMOVED : record->second.node().state();
    if (context.cancel_requested()) co_return Withdraw(context.catalog(), context.procedure());
    if (state == pb::NODE_REMOVING || state == pb::NODE_REMOVED)
      co_return StepEnd::Ended(pb::PROCEDURE_CANCELLED, "the node is being removed");
    const size_t running = RunningChildren(context);
    if (context.executor().Now() < next_look && running == running_then) {
      if (!co_await context.News()) co_return absl::CancelledError("stopped");
      continue;
    }
    next_look = context.executor().Now() + StepContext::kLook;
    running_then = running;
    bool maintainers = !ChangefeedsOn(context.catalog(), node).empty();
#ifdef TENURE_MUTANT_drain_leaves_maintainers
    maintainers = false;
#endif
    if (ReplicasOn(context.catalog(), node) == 0 && !maintainers)
      co_return StepEnd::Ended(pb::PROCEDURE_SUCCEEDED);
    std::vector<pb::ProcedureRecord> moves = NextMoves(context, node, next_transfer);
    if (!moves.empty()) {
      StepEnd end = StepEnd::Wait(first_step());
      end.spawn = std::move(moves);
      co_return end;
    }
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

pb::ProcedureRecord RemoveNode::New(NodeId node, const std::vector<uint64_t>& force_regions, bool gone) {
  ipb::RemoveNodeBody body;
  body.set_node(node.value());
  body.mutable_force_regions()->Assign(force_regions.begin(), force_regions.end());
  body.set_gone(gone);
  pb::ProcedureRecord procedure =
      NewProcedure(kName, fmt::format("remove node {} for good", node.value()), body.SerializeAsString());
  procedure.set_object(node.value());
  AddLock(procedure, pb::LOCKED_NODE, node.value());
  return procedure;
}

Status RemoveNode::Check(const pb::ProcedureRecord& procedure) const {
  TENURE_RETURN_IF_ERROR(BodyOf<ipb::RemoveNodeBody>(procedure).status());
  return procedure.step().empty() || procedure.step() == first_step() ? OkStatus() : UnknownStep(procedure);
}

namespace {

// Why the node may still serve somebody; empty: it does not.
std::string MayStillServe(StepContext& context, uint64_t node) {
#ifdef TENURE_MUTANT_removed_at_once
  (void)context;
  (void)node;
  return {};
#endif
  const auto record = context.catalog().nodes().find(node);
  if (record == context.catalog().nodes().end()) return {};
  const auto evidence = context.agents().contacts().EvidenceOf(
      NodeId(node), record->second.node(), context.catalog().format_version(), context.executor().Now());
  // A program that knows no leases serves as long as it likes, and no barrier has to go by it.
  if (!evidence.by_leases || evidence.said_fenced) return {};
  const auto proceed_after = catalog::ProceedAfter(catalog::FencingOf(context.catalog().cluster()));
  if (!proceed_after) {
    return "with the fencing mode `available` it may still serve: stop its process in order, or vouch with "
           "--force that it has ended";
  }
  if (evidence.silence >= *proceed_after) return {};
  return fmt::format("its lease may last for {} ms more", ToMillis(*proceed_after - evidence.silence));
}

}  // namespace

runtime::Task<StatusOr<StepEnd>> RemoveNode::Run(StepContext& context) {
  TENURE_CO_ASSIGN_OR_RETURN(const auto body, BodyOf<ipb::RemoveNodeBody>(context.procedure()));
  const std::set<uint64_t> forced(body.force_regions().begin(), body.force_regions().end());
  Instant next_look{};
  while (true) {
    if (context.executor().Now() < next_look) {  // as for a drain
      if (!co_await context.News()) co_return absl::CancelledError("stopped");
      continue;
    }
    next_look = context.executor().Now() + StepContext::kLook;
    size_t left = 0;
    for (const auto& [id, record] : context.catalog().regions()) {
      const pb::RegionRecord& region = record.region();
      // A replica that is leaving, or of a region that is being removed, ends with the node.
      if (region.state() == pb::REGION_REMOVING || forced.contains(id)) continue;
      for (const auto* list : {&region.replicas(), &region.joining()}) {
        left += static_cast<size_t>(
            std::count_if(list->begin(), list->end(),
                          [&](const pb::ReplicaRecord& replica) { return replica.node() == body.node(); }));
      }
    }
    std::string obstacle = fmt::format("{} replicas are left to be replaced", left);
    if (left == 0) obstacle = body.gone() ? std::string() : MayStillServe(context, body.node());
    if (obstacle.empty()) {
      StepEnd end = StepEnd::Ended(pb::PROCEDURE_SUCCEEDED);
      end.effect.mutable_set_node_state()->set_node(body.node());
      end.effect.mutable_set_node_state()->set_state(pb::NODE_REMOVED);
      co_return end;
    }
    context.WaitsFor(std::move(obstacle));
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

}  // namespace tenure::controller
