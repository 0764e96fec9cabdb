#include "controller/procedure/types/remove_regions.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "catalog/fencing.h"
#include "catalog/procedures.h"
#include "controller/procedure/types/bodies.h"
#include "controller/procedure/types/feed_history.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

constexpr std::string_view kDestroyReplicas = "destroy_replicas";

// The records of regions in state REMOVING do not change: the tasks are the same at every look.
std::vector<NodeTask> TasksFor(const catalog::Catalog& catalog, const ipb::RemoveRegionsBody& body) {
  std::map<NodeId, NodeTask> tasks;
  for (const uint64_t id : body.regions()) {
    const auto record = catalog.regions().find(id);
    if (record == catalog.regions().end()) continue;
    const pb::RegionRecord& region = record->second.region();
    for (const auto* list : {&region.replicas(), &region.joining(), &region.leaving()}) {
      for (const pb::ReplicaRecord& replica : *list) {
        NodeTask& task = tasks[NodeId(replica.node())];
        task.node = NodeId(replica.node());
        task.revision = std::max(task.revision, Revision(record->second.modify_revision()));
        auto& item = *task.payload.mutable_destroy_replicas()->add_items();
        item.set_region(id);
        item.set_replica(replica.id());
      }
    }
  }
  std::vector<NodeTask> list;
  for (auto& [node, task] : tasks) list.push_back(std::move(task));
  return list;
}

// What a dropped database still has that neither `body` names nor another procedure removes.
std::vector<uint64_t> LeftOf(const StepContext& context, const ipb::RemoveRegionsBody& body) {
  const catalog::Catalog& catalog = context.catalog();
  const auto database = catalog.databases().find(body.database());
  if (database == catalog.databases().end() ||
      database->second.database().state() != pb::DATABASE_PRE_DELETE) {
    return {};
  }
  std::set<uint64_t> taken(body.regions().begin(), body.regions().end());
  for (const auto& [id, record] : catalog.procedures()) {
    const pb::ProcedureRecord& procedure = record.procedure();
    if (procedure.type() != RemoveRegions::kName || id == context.procedure().id() ||
        catalog::IsEnded(procedure.state())) {
      continue;
    }
    const auto other = BodyOf<ipb::RemoveRegionsBody>(procedure);
    if (!other.ok()) continue;
    if (other->whole_database() && other->database() == body.database()) {
      // Of two that remove all of it the older one does.
      if (!body.whole_database() || id < context.procedure().id()) return {};
      continue;
    }
    taken.insert(other->regions().begin(), other->regions().end());
  }
  std::vector<uint64_t> left;
  for (const auto& [id, record] : catalog.regions()) {
    if (record.region().database() == body.database() && !taken.contains(id)) left.push_back(id);
  }
  return left;
}

// The changefeed that has not delivered what one of the regions committed; empty: none.
std::string StillNeeded(const catalog::Catalog& catalog, const ipb::RemoveRegionsBody& body) {
  for (const uint64_t id : body.regions()) {
    if (std::string needed = HistoryNeeded(catalog, id); !needed.empty()) return needed;
  }
  return "";
}

}  // namespace

pb::ProcedureRecord RemoveRegions::New(const catalog::Catalog& catalog, uint64_t database) {
  ipb::RemoveRegionsBody body;
  body.set_database(database);
  body.set_whole_database(true);
  for (const auto& [id, record] : catalog.regions()) {
    if (record.region().database() == database) body.add_regions(id);
  }
  const auto record = catalog.databases().find(database);
  pb::ProcedureRecord procedure = NewProcedure(
      kName,
      fmt::format("remove the regions of database {}{}", database,
                  record == catalog.databases().end() ? "" : " ('" + record->second.database().name() + "')"),
      body.SerializeAsString());
  procedure.set_object(database);
  return procedure;
}

pb::ProcedureRecord RemoveRegions::NewOf(const catalog::Catalog& catalog, uint64_t region) {
  ipb::RemoveRegionsBody body;
  const auto record = catalog.regions().find(region);
  if (record != catalog.regions().end()) body.set_database(record->second.region().database());
  body.add_regions(region);
  pb::ProcedureRecord procedure =
      NewProcedure(kName, fmt::format("remove region {}", region), body.SerializeAsString());
  procedure.set_object(region);
  return procedure;
}

Status RemoveRegions::Check(const pb::ProcedureRecord& procedure) const {
  TENURE_RETURN_IF_ERROR(BodyOf<ipb::RemoveRegionsBody>(procedure).status());
  const bool known =
      procedure.step().empty() || procedure.step() == first_step() || procedure.step() == kDestroyReplicas;
  return known ? OkStatus() : UnknownStep(procedure);
}

// Nobody's data go while somebody is still served from them.
runtime::Task<StatusOr<StepEnd>> RemoveRegions::Announce(StepContext& context, Body body) {
  const auto record = context.catalog().databases().find(body.database());
  const bool dropped = record != context.catalog().databases().end() &&
                       record->second.database().state() == pb::DATABASE_PRE_DELETE;
  // Programs of before leases confirm nothing.
  if (dropped && context.catalog().format_version() >= catalog::kFormatOfLeases) {
    const Revision revision(record->second.modify_revision());
    context.WaitsFor(
        fmt::format("every node to know revision {}, or to have lost its lease", revision.value()));
    const Status passed = co_await barrier_.Pass(revision, Duration(), context.stop());
    // There is no way back: it waits for as long as it takes.
    if (passed.code() == StatusCode::kDeadlineExceeded)
      co_return StepEnd::Retry(std::string(MessageOf(passed)));
    if (!passed.ok()) co_return passed;
  }
  StepEnd end = StepEnd::Next(kDestroyReplicas);
#ifndef TENURE_MUTANT_drop_goes_by_request
  if (body.whole_database()) {
    // What it has, not what it had when its drop was asked for.
    body.clear_regions();
    for (const uint64_t region : LeftOf(context, body)) body.add_regions(region);
    end.body = body.SerializeAsString();
  }
#endif
  co_return end;
}

runtime::Task<StatusOr<StepEnd>> RemoveRegions::Destroy(StepContext& context, Body body) {
  while (true) {
    if (const std::string needed = StillNeeded(context.catalog(), body); !needed.empty()) {
      context.WaitsFor(needed);
      if (!co_await context.News()) co_return absl::CancelledError("stopped");
      continue;
    }
    TENURE_CO_ASSIGN_OR_RETURN(const TaskLooks looks,
                               co_await context.Tend(TasksFor(context.catalog(), body)));
#ifdef TENURE_MUTANT_removal_unconfirmed
    const bool done = !looks.empty();
#else
    const bool done = std::all_of(looks.begin(), looks.end(), [](const auto& entry) {
      return entry.second.state != TaskLook::State::kRunning;
    });
#endif
    if (done) {
      StepEnd end = StepEnd::Ended(pb::PROCEDURE_SUCCEEDED);
      auto& effect = *end.effect.mutable_remove_regions();
      *effect.mutable_regions() = body.regions();
      effect.set_database(body.database());
#ifndef TENURE_MUTANT_rest_left_behind
      // A program that went by what was asked for has begun this.
      if (!LeftOf(context, body).empty()) end.spawn.push_back(New(context.catalog(), body.database()));
#endif
      co_return end;
    }
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

runtime::Task<StatusOr<StepEnd>> RemoveRegions::Run(StepContext& context) {
  TENURE_CO_ASSIGN_OR_RETURN(Body body, BodyOf<Body>(context.procedure()));
  if (context.procedure().step() == first_step()) co_return co_await Announce(context, std::move(body));
  co_return co_await Destroy(context, std::move(body));
}

}  // namespace tenure::controller
