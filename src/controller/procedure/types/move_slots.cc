#include "controller/procedure/types/move_slots.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "catalog/procedures.h"
#include "catalog/state_moves.h"
#include "controller/procedure/types/bodies.h"
#include "controller/procedure/types/create_replica.h"
#include "controller/procedure/types/feed_history.h"
#include "controller/procedure/types/remove_regions.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

constexpr std::array<std::string_view, 8> kMoveSteps = {"",     "prepare", "create", "freeze",
                                                        "copy", "switch",  "drop",   "undo"};

constexpr std::string_view kDrop = "drop";

// Null: there is none, or it is being removed.
const pb::RegionRecord* Find(const StepContext& context, uint64_t id) {
  const auto record = context.catalog().regions().find(id);
  if (record == context.catalog().regions().end() || record->second.region().state() == pb::REGION_REMOVING)
    return nullptr;
  return &record->second.region();
}

// The region that this split has made; null: none yet, or it is being removed.
const pb::RegionRecord* FindMade(const StepContext& context) {
  for (const auto& [id, record] : context.catalog().regions()) {
    const pb::RegionRecord& region = record.region();
    if (region.state() == pb::REGION_CREATING && region.split_off() &&
        region.range_procedure() == context.procedure().id()) {
      return &region;
    }
  }
  return nullptr;
}

StepEnd RegionGone() {
  return StepEnd::Ended(pb::PROCEDURE_CANCELLED, "the region is being removed");
}

NodeId LeaderOf(const StepContext& context, uint64_t region) {
  const RegionLeaderView* leader = context.agents().region_leaders().Find(RegionId(region));
  return leader == nullptr ? NodeId() : leader->node;
}

ipb::RangeChange Change(const StepContext& context, ipb::RangeChange::Op op, const ipb::RegionRange& range) {
  ipb::RangeChange change;
  change.set_op(op);
  change.set_procedure(context.procedure().id());
  change.set_if_version(range.version());
  return change;
}

void FillSlots(const ipb::MoveSlotsBody& body, pb::SlotRange& slots) {
  slots.set_first(body.first());
  slots.set_last(body.last());
}

bool Holds(const ipb::RegionRange& range, const ipb::MoveSlotsBody& body) {
  return range.has_slots() && range.slots().first() <= body.first() && range.slots().last() >= body.last();
}

bool IsDown(const catalog::Catalog& catalog, NodeId id) {
  const auto node = catalog.nodes().find(id.value());
  return node == catalog.nodes().end() || !catalog::IsLive(node->second.node().state());
}

bool IsSilent(const catalog::Catalog& catalog, NodeId id) {
  const auto node = catalog.nodes().find(id.value());
  return node != catalog.nodes().end() && node->second.node().state() == pb::NODE_SUSPECT;
}

pb::ProcedureRecord New(std::string_view type, std::string description, const ipb::MoveSlotsBody& body) {
  pb::ProcedureRecord procedure = NewProcedure(type, std::move(description), body.SerializeAsString());
  procedure.set_object(body.from());
  procedure.set_cancellable(true);
  AddLock(procedure, pb::LOCKED_REGION, body.from());
  if (body.to() != 0) AddLock(procedure, pb::LOCKED_REGION, body.to());
  return procedure;
}

}  // namespace

pb::ProcedureRecord MoveSlots::NewSplit(const pb::RegionRecord& region, uint32_t at_slot) {
  Body body;
  body.set_from(region.id());
  body.set_first(at_slot);
  body.set_last(region.slots().last());
  return New(kSplit, fmt::format("split region {} at slot {}", region.id(), at_slot), body);
}

pb::ProcedureRecord MoveSlots::NewMerge(const pb::RegionRecord& region, const pb::RegionRecord& with) {
  Body body;
  body.set_from(region.id());
  body.set_to(with.id());
  body.set_first(region.slots().first());
  body.set_last(region.slots().last());
  return New(kMerge, fmt::format("merge region {} into region {}", region.id(), with.id()), body);
}

bool MoveSlots::MovesSlots(const pb::ProcedureRecord& procedure) {
  return (procedure.type() == kSplit || procedure.type() == kMerge) && !catalog::IsEnded(procedure.state()) &&
         procedure.step() != kDrop;
}

uint64_t MoveSlots::DroppingIn(const catalog::Catalog& catalog, uint64_t region) {
  for (const auto& [id, record] : catalog.procedures()) {
    const pb::ProcedureRecord& procedure = record.procedure();
    if (procedure.type() == kSplit && procedure.object() == region && procedure.step() == kDrop &&
        !catalog::IsEnded(procedure.state())) {
      return id;
    }
  }
  return 0;
}

bool MoveSlots::IsCancellable(std::string_view step) const {
  return step == "prepare" || step == "create" || step == "freeze" || step == "copy";
}

Status MoveSlots::Check(const pb::ProcedureRecord& procedure) const {
  TENURE_RETURN_IF_ERROR(BodyOf<Body>(procedure).status());
  const bool known = std::find(kMoveSteps.begin(), kMoveSteps.end(), procedure.step()) != kMoveSteps.end();
  return known ? OkStatus() : UnknownStep(procedure);
}

runtime::Task<StatusOr<StepEnd>> MoveSlots::Run(StepContext& context) {
  TENURE_CO_ASSIGN_OR_RETURN(Body body, BodyOf<Body>(context.procedure()));
  const std::string step = context.procedure().step();
  if (step == "prepare") co_return co_await Prepare(context, std::move(body));
  if (step == "create") co_return co_await Create(context, std::move(body));
  if (step == "freeze") co_return co_await Freeze(context, std::move(body));
  if (step == "copy") co_return co_await Copy(context, std::move(body));
  if (step == "switch") co_return co_await Switch(context, std::move(body));
  if (step == kDrop) co_return co_await Drop(context, std::move(body));
  co_return co_await Undo(context, std::move(body));
}

// ---- asking a region ----

runtime::Task<std::optional<MoveSlots::Range>> MoveSlots::Ask(StepContext& context, uint64_t region,
                                                              std::optional<RangeChange> change,
                                                              uint64_t* result) {
  const NodeId leader = LeaderOf(context, region);
  if (leader.IsNone()) {
    context.WaitsFor(fmt::format("region {} has no leader", region));
    co_return std::nullopt;
  }
  ipb::ChangeRangeRequest request;
  request.set_cluster_id(context.catalog().cluster()->cluster_id());
  request.set_leader_epoch(context.epoch().value());
  request.set_incarnation(context.catalog().cluster()->incarnation());
  request.set_region(region);
  if (change) *request.mutable_change() = *std::move(change);
  std::string bytes = request.SerializeAsString();
  const auto answer = co_await context.CallNode(leader, "tenure.internal.v1.NodeInternal/ChangeRange",
                                                std::move(bytes), options_.call_timeout);
  ipb::ChangeRangeResponse response;
  if (!answer.ok() || !response.ParseFromString(*answer)) {
    context.WaitsFor(fmt::format("node {} about region {}: {}", leader.value(), region,
                                 answer.ok() ? "no valid answer" : MessageOf(answer.status())));
    co_return std::nullopt;
  }
  if (result != nullptr) *result = response.result();
  co_return response.range();
}

runtime::Task<std::optional<MoveSlots::Range>> MoveSlots::Look(StepContext& context, uint64_t region) {
  co_return co_await Ask(context, region, std::nullopt);
}

// ---- steps ----

// What a region gave away before is deleted first. That is soon, unless somebody has to read it.
MoveSlots::End MoveSlots::Prepare(StepContext& context, Body body) {
  while (true) {
    if (context.cancel_requested()) co_return StepEnd::Ended(pb::PROCEDURE_CANCELLED, "cancelled");
    uint64_t region = body.from();
    uint64_t other = DroppingIn(context.catalog(), region);
    if (other == 0 && body.to() != 0) other = DroppingIn(context.catalog(), region = body.to());
    if (other == 0) break;
    const std::string waits = fmt::format("procedure {} to delete what region {} gave away", other, region);
    if (const std::string needed = SnapshotNeeded(context.catalog(), region); !needed.empty())
      co_return StepEnd::Ended(pb::PROCEDURE_FAILED,
                               fmt::format("it waits for {}, and that for {}", waits, needed));
    context.WaitsFor(waits);
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
  const pb::RegionRecord* from = Find(context, body.from());
  if (from == nullptr) co_return RegionGone();
  const bool as_planned = splits()
                              ? body.first() > from->slots().first() && body.last() == from->slots().last() &&
                                    body.first() <= body.last()
                              : body.first() == from->slots().first() && body.last() == from->slots().last();
  if (!as_planned) {
    co_return StepEnd::Ended(pb::PROCEDURE_FAILED,
                             fmt::format("region {} has slots {}-{} by now", body.from(),
                                         from->slots().first(), from->slots().last()));
  }
  if (splits()) {
    StepEnd end = StepEnd::Next("create");
    auto& effect = *end.effect.mutable_begin_split();
    effect.set_from(body.from());
    effect.set_procedure(context.procedure().id());
    FillSlots(body, *effect.mutable_slots());
    co_return end;
  }
  const pb::RegionRecord* to = Find(context, body.to());
  if (to == nullptr || (to->slots().last() + 1 != body.first() && body.last() + 1 != to->slots().first())) {
    co_return StepEnd::Ended(pb::PROCEDURE_FAILED, fmt::format("region {} is not beside region {} any more",
                                                               body.to(), body.from()));
  }
  co_return StepEnd::Next("freeze");
}

MoveSlots::End MoveSlots::Create(StepContext& context, Body body) {
  std::optional<Instant> majority_since;
  while (true) {
    const pb::RegionRecord* made = FindMade(context);
    if (made == nullptr || Find(context, body.from()) == nullptr) co_return RegionGone();
    const uint64_t id = made->id();
    std::vector<NodeTask> tasks;
    for (const pb::ReplicaRecord& replica : made->replicas()) {
      NodeTask& task = tasks.emplace_back();
      task.node = NodeId(replica.node());
      task.revision = Revision(context.catalog().regions().at(id).modify_revision());
      auto& item = *task.payload.mutable_create_replicas()->add_items();
      item.set_region(id);
      item.set_replica(replica.id());
    }
    const std::vector<pb::ReplicaRecord> replicas(made->replicas().begin(), made->replicas().end());
    TENURE_CO_ASSIGN_OR_RETURN(const TaskLooks looks, co_await context.Tend(std::move(tasks)));
    size_t there = 0;
    size_t never = 0;
    std::string reason;
    std::vector<pb::ProcedureRecord> missing;
    for (const pb::ReplicaRecord& replica : replicas) {
      const TaskLook& look = looks.at(NodeId(replica.node()));
      if (look.state == TaskLook::State::kDone) {
        ++there;
        continue;
      }
      missing.push_back(CreateReplica::New(id, replica));
      const bool down = IsDown(context.catalog(), NodeId(replica.node()));
      if (look.state != TaskLook::State::kGone && !down && look.failures < options_.max_failures) continue;
      ++never;
      reason = fmt::format("node {} {}", replica.node(), down ? "is down" : look.last_error);
    }
    const size_t majority = replicas.size() / 2 + 1;
    if (context.cancel_requested()) co_return StepEnd::RollBack("undo", "cancelled");
    if (replicas.size() - never < majority) {
      co_return StepEnd::RollBack("undo", fmt::format("region {} cannot get {} of its {} replicas: {}", id,
                                                      majority, replicas.size(), reason));
    }
    const bool usable = there >= majority && context.agents().region_leaders().HasLeader(RegionId(id));
    if (!usable) majority_since.reset();
    if (usable && !majority_since) majority_since = context.executor().Now();
    if (usable &&
        (there + never == replicas.size() || context.executor().Now() - *majority_since >= options_.grace)) {
      StepEnd end = StepEnd::Next("freeze");
      body.set_to(id);
      end.body = body.SerializeAsString();
      end.spawn = std::move(missing);
      co_return end;
    }
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

MoveSlots::End MoveSlots::Freeze(StepContext& context, Body body) {
  while (true) {
    if (Find(context, body.from()) == nullptr || Find(context, body.to()) == nullptr) co_return RegionGone();
    if (context.cancel_requested()) co_return StepEnd::RollBack("undo", "cancelled");
    const auto to = co_await Look(context, body.to());
    const auto from = to ? co_await Look(context, body.from()) : std::nullopt;
    if (from && from->outgoing().procedure() == context.procedure().id()) {
      StepEnd end = StepEnd::Next("copy");
      body.set_to_version(to->version());
      body.set_copy_node(LeaderOf(context, body.from()).value());
      end.body = body.SerializeAsString();
      co_return end;
    }
    if (from) {
      RangeChange freeze = Change(context, RangeChange::FREEZE, *from);
      FillSlots(body, *freeze.mutable_slots());
      if (co_await Ask(context, body.from(), std::move(freeze))) continue;
    }
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

MoveSlots::End MoveSlots::Copy(StepContext& context, Body body) {
  while (true) {
    if (Find(context, body.from()) == nullptr || Find(context, body.to()) == nullptr) co_return RegionGone();
    if (context.cancel_requested()) co_return StepEnd::RollBack("undo", "cancelled");
    NodeTask task{.node = NodeId(body.copy_node()),
                  .revision = Revision(context.catalog().regions().at(body.to()).modify_revision())};
    auto& copy = *task.payload.mutable_copy_slots();
    copy.set_procedure(context.procedure().id());
    copy.set_from_region(body.from());
    copy.set_to_region(body.to());
    FillSlots(body, *copy.mutable_slots());
    copy.set_to_version(body.to_version());
    TaskLook look{.state = TaskLook::State::kGone};
    if (body.copy_node() != 0 && !IsDown(context.catalog(), task.node)) {
      std::vector<NodeTask> tasks;
      tasks.push_back(std::move(task));
      TENURE_CO_ASSIGN_OR_RETURN(const TaskLooks looks, co_await context.Tend(std::move(tasks)));
      look = looks.begin()->second;
    }
    if (look.state == TaskLook::State::kDone) co_return StepEnd::Next("switch");
    if (look.failures >= options_.max_copy_failures) {
      co_return StepEnd::RollBack(
          "undo", fmt::format("node {} cannot copy slots {}-{} of region {}: {}", body.copy_node(),
                              body.first(), body.last(), body.from(), look.last_error));
    }
    // Any replica that has the freeze can copy; the leader's node is a good choice, unless it was tried in
    // vain. Writes wait for the copy, so a silent node is not waited for: a copy that begins supersedes what
    // one that still runs would write.
    const NodeId leader = LeaderOf(context, body.from());
    const bool given_up = look.state == TaskLook::State::kGone || look.failures >= options_.max_failures ||
                          IsSilent(context.catalog(), NodeId(body.copy_node()));
    if (given_up && !leader.IsNone() && leader.value() != body.copy_node()) {
      StepEnd end = StepEnd::Next("copy");
      body.set_copy_node(leader.value());
      end.body = body.SerializeAsString();
      co_return end;
    }
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

MoveSlots::End MoveSlots::Switch(StepContext& context, Body body) {
  while (true) {
    if (Find(context, body.from()) == nullptr || Find(context, body.to()) == nullptr) co_return RegionGone();
    const auto to = co_await Look(context, body.to());
    const auto from = to ? co_await Look(context, body.from()) : std::nullopt;
    const bool released =
        from && from->outgoing().procedure() == context.procedure().id() && from->outgoing().released();
    if (released && Holds(*to, body)) {
      StepEnd end = splits() ? StepEnd::Next(kDrop) : StepEnd::Ended(pb::PROCEDURE_SUCCEEDED);
      end.ends_locks = true;
      auto& effect = *end.effect.mutable_publish_slots();
      effect.set_from(body.from());
      effect.set_to(body.to());
      effect.set_procedure(context.procedure().id());
      FillSlots(body, *effect.mutable_slots());
      effect.set_released_ts(from->outgoing().released_ts());
      effect.set_opened_ts(to->opened_ts());
      if (!splits()) end.spawn.push_back(RemoveRegions::NewOf(context.catalog(), body.from()));
      co_return end;
    }
    const bool complete =
        to && to->incoming().procedure() == context.procedure().id() && to->incoming().complete();
    if (from && !complete) {
      // Only a region that was recovered with an older log forgets it. The keys are still where they come
      // from.
      const std::string lost =
          fmt::format("region {} has lost the copy of slots {}-{}", body.to(), body.first(), body.last());
      co_return released ? StepEnd::Retry(lost) : StepEnd::RollBack("undo", lost);
    }
    if (from && !released) {
      RangeChange release = Change(context, RangeChange::RELEASE, *from);
      release.set_keys(to->incoming().keys());
      if (co_await Ask(context, body.from(), std::move(release))) continue;
    } else if (from) {
      RangeChange open = Change(context, RangeChange::OPEN, *to);
      open.set_after_ts(from->outgoing().released_ts());
      open.set_keep_changes(from->outgoing().keeps_changes());
      if (co_await Ask(context, body.to(), std::move(open))) continue;
    }
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

MoveSlots::End MoveSlots::Drop(StepContext& context, Body body) {
  if (!context.procedure().locks().empty()) {  // as an earlier program has left it
    StepEnd end = StepEnd::Next(kDrop);
    end.ends_locks = true;
    co_return end;
  }
  while (true) {
    const std::string needed = SnapshotNeeded(context.catalog(), body.from());
    if (!needed.empty()) {
      context.WaitsFor(needed);
    } else if (Find(context, body.from()) == nullptr || co_await Tidy(context, body.from()))
      co_return StepEnd::Ended(pb::PROCEDURE_SUCCEEDED);
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

// A request that is still on its way names a version that is over once anything was changed after it was
// sent.
runtime::Task<bool> MoveSlots::Tidy(StepContext& context, uint64_t region, bool keep_released) {
  bool changed = false;
  while (true) {
    const auto range = co_await Look(context, region);
    if (!range) co_return false;
    const uint64_t id = context.procedure().id();
    const bool mine = range->outgoing().procedure() == id || range->incoming().procedure() == id;
    if (changed && !mine) co_return true;
    if (range->outgoing().procedure() == id && range->outgoing().released()) {
      if (keep_released) co_return false;
      RangeChange clear = Change(context, RangeChange::CLEAR, *range);
      clear.set_limit(options_.keys_per_clear);
      uint64_t cleared = 0;
      if (!co_await Ask(context, region, std::move(clear), &cleared)) co_return false;
      if (cleared > 0) continue;
    }
    if (!co_await Ask(context, region, Change(context, RangeChange::END, *range))) co_return false;
    changed = true;
  }
}

MoveSlots::End MoveSlots::Undo(StepContext& context, Body body) {
  while (true) {
    bool tidy = Find(context, body.from()) == nullptr;
    if (!tidy) {
      tidy = co_await Tidy(context, body.from(), /*keep_released=*/true);
      const auto range = tidy ? std::nullopt : co_await Look(context, body.from());
      if (range && range->outgoing().procedure() == context.procedure().id() &&
          range->outgoing().released()) {
        // The catalog is older than the regions' logs, as after a recovery: the keys are kept in both of
        // them.
        co_return StepEnd::Retry(
            fmt::format("region {} has released slots {}-{} already: this cannot be undone", body.from(),
                        body.first(), body.last()));
      }
    }
    if (tidy && !splits() && Find(context, body.to()) != nullptr) tidy = co_await Tidy(context, body.to());
    if (tidy) {
      StepEnd end =
          StepEnd::Ended(context.cancel_requested() ? pb::PROCEDURE_CANCELLED : pb::PROCEDURE_ROLLED_BACK,
                         context.procedure().last_error());
      const pb::RegionRecord* made = splits() ? FindMade(context) : nullptr;
      if (made != nullptr) {
        end.effect.mutable_abandon_split()->set_region(made->id());
        end.spawn.push_back(RemoveRegions::NewOf(context.catalog(), made->id()));
      }
      co_return end;
    }
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

}  // namespace tenure::controller
