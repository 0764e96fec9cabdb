#include "controller/procedure/types/create_database.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "controller/procedure/types/bodies.h"
#include "controller/procedure/types/create_replica.h"
#include "controller/procedure/types/remove_regions.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

std::vector<const pb::RegionRecord*> RegionsOf(const catalog::Catalog& catalog, uint64_t database) {
  std::vector<const pb::RegionRecord*> regions;
  for (const auto& [id, record] : catalog.regions()) {
    if (record.region().database() == database) regions.push_back(&record.region());
  }
  return regions;
}

std::vector<NodeTask> TasksFor(const catalog::Catalog& catalog,
                               const std::vector<const pb::RegionRecord*>& regions) {
  std::map<NodeId, NodeTask> tasks;
  for (const pb::RegionRecord* region : regions) {
    const Revision revision(catalog.regions().at(region->id()).modify_revision());
    for (const pb::ReplicaRecord& replica : region->replicas()) {
      NodeTask& task = tasks[NodeId(replica.node())];
      task.node = NodeId(replica.node());
      task.revision = std::max(task.revision, revision);
      auto& item = *task.payload.mutable_create_replicas()->add_items();
      item.set_region(region->id());
      item.set_replica(replica.id());
    }
  }
  std::vector<NodeTask> list;
  for (auto& [node, task] : tasks) list.push_back(std::move(task));
  return list;
}

bool IsDown(const catalog::Catalog& catalog, NodeId id) {
  const auto node = catalog.nodes().find(id.value());
  if (node == catalog.nodes().end()) return true;
  const pb::NodeState state = node->second.node().state();
  return state == pb::NODE_DOWN || state == pb::NODE_REMOVING || state == pb::NODE_REMOVED;
}

}  // namespace

pb::ProcedureRecord CreateDatabase::New(const std::string& database, int regions) {
  pb::ProcedureRecord procedure =
      NewProcedure(kName, fmt::format("create database '{}' with {} regions", database, regions));
  AddLock(procedure, pb::LOCKED_DATABASE, 0);
  return procedure;
}

Status CreateDatabase::Check(const pb::ProcedureRecord& procedure) const {
  return procedure.step().empty() || procedure.step() == first_step() ? OkStatus() : UnknownStep(procedure);
}

// How many replicas of the regions are there, may still come, and will not.
struct CreateDatabase::Census {
  bool complete = true;    // every replica is there or will not come
  bool majorities = true;  // every region has one, and a leader
  std::string hopeless;    // why some region cannot get one; empty if all can
  std::vector<std::pair<const pb::RegionRecord*, const pb::ReplicaRecord*>> missing;
};

CreateDatabase::Census CreateDatabase::Count(StepContext& context,
                                             const std::vector<const pb::RegionRecord*>& regions,
                                             const TaskLooks& looks) const {
  Census census;
  for (const pb::RegionRecord* region : regions) {
    int there = 0;
    int never = 0;
    std::string reason;
    for (const pb::ReplicaRecord& replica : region->replicas()) {
      const NodeId node(replica.node());
      const TaskLook& look = looks.at(node);
      if (look.state == TaskLook::State::kDone) {
        ++there;
        continue;
      }
      census.missing.emplace_back(region, &replica);
      const bool down = IsDown(context.catalog(), node);
      if (look.state != TaskLook::State::kGone && !down && look.failures < options_.max_failures) {
        census.complete = false;
        continue;
      }
      ++never;
      reason += fmt::format("{}node {} {}", reason.empty() ? "" : ", ", node.value(),
                            down ? "is down" : look.last_error);
    }
    const int majority = region->replicas_size() / 2 + 1;
    const bool led = context.agents().region_leaders().HasLeader(RegionId(region->id()));
    census.majorities = census.majorities && there >= majority && led;
    if (region->replicas_size() - never < majority && census.hopeless.empty()) {
      census.hopeless = fmt::format("region {} cannot get {} of its {} replicas: {}", region->id(), majority,
                                    region->replicas_size(), reason);
    }
  }
  return census;
}

runtime::Task<StatusOr<StepEnd>> CreateDatabase::Run(StepContext& context) {
  const uint64_t id = context.procedure().object();
  std::optional<Instant> majorities_since;
  while (true) {
    const auto database = context.catalog().databases().find(id);
    if (database == context.catalog().databases().end() ||
        database->second.database().state() == pb::DATABASE_PRE_DELETE) {
      co_return StepEnd::Ended(pb::PROCEDURE_CANCELLED, "the database was dropped meanwhile");
    }
    std::string failed;
    if (context.cancel_requested()) failed = "cancelled";
    TENURE_CO_ASSIGN_OR_RETURN(
        const TaskLooks looks,
        co_await context.Tend(TasksFor(context.catalog(), RegionsOf(context.catalog(), id))));
    // As they are now: the catalog may have changed while an attempt was committed.
    const std::vector<const pb::RegionRecord*> regions = RegionsOf(context.catalog(), id);
    const Census census = Count(context, regions, looks);
    if (failed.empty()) failed = census.hopeless;
    if (!failed.empty()) {
      StepEnd end = StepEnd::Ended(
          context.cancel_requested() ? pb::PROCEDURE_CANCELLED : pb::PROCEDURE_FAILED, std::move(failed));
      end.effect.mutable_drop_database()->set_database(id);
      end.spawn.push_back(RemoveRegions::New(context.catalog(), id));
      co_return end;
    }
    if (!census.majorities) majorities_since.reset();
    if (census.majorities && !majorities_since) majorities_since = context.executor().Now();
    if (census.majorities &&
        (census.complete || context.executor().Now() - *majorities_since >= options_.grace)) {
      StepEnd end = StepEnd::Ended(pb::PROCEDURE_SUCCEEDED);
      end.effect.mutable_publish_database()->set_database(id);
      for (const auto& [region, replica] : census.missing)
        end.spawn.push_back(CreateReplica::New(region->id(), *replica));
      co_return end;
    }
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

}  // namespace tenure::controller
