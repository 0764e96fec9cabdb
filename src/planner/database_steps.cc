#include "planner/database_steps.h"

#include <algorithm>
#include <map>

namespace tenure::planner {
namespace {

namespace pb = ::tenure::v1;

struct Census {
  uint32_t all = 0;
  uint32_t creating = 0;
};

bool IsGone(const catalog::Catalog& catalog, const RegionObservations& observations,
            const pb::Record& record) {
  const pb::RegionRecord& region = record.region();
  return std::all_of(region.replicas().begin(), region.replicas().end(),
                     [&](const pb::ReplicaRecord& replica) {
                       const auto node = catalog.nodes().find(replica.node());
                       if (node == catalog.nodes().end() || node->second.node().state() == pb::NODE_REMOVED)
                         return true;
                       return observations.ReplicaGone(NodeId(replica.node()), RegionId(region.id()),
                                                       Revision(record.modify_revision()));
                     });
}

}  // namespace

std::vector<DatabaseStep> PlanDatabaseSteps(const catalog::Catalog& catalog,
                                            const RegionObservations& observations, size_t limit) {
  std::vector<DatabaseStep> steps;
  std::map<uint64_t, Census> census;
  for (const auto& [id, record] : catalog.regions()) {
    const pb::RegionRecord& region = record.region();
    Census& of_database = census[region.database()];
    ++of_database.all;
    if (region.state() == pb::REGION_CREATING) ++of_database.creating;
    if (steps.size() >= limit) continue;
    if (region.state() == pb::REGION_CREATING && observations.HasLeader(RegionId(id))) {
      DatabaseStep& step = steps.emplace_back(DatabaseStep{DatabaseStep::Object::kRegion, id, {}});
      auto& set = *step.command.mutable_set_region_state();
      set.set_region(id);
      set.set_from(pb::REGION_CREATING);
      set.set_to(pb::REGION_SERVING);
    } else if (region.state() == pb::REGION_REMOVING && IsGone(catalog, observations, record)) {
      DatabaseStep& step = steps.emplace_back(DatabaseStep{DatabaseStep::Object::kRegion, id, {}});
      step.command.mutable_remove_region()->set_region(id);
    }
  }
  for (const auto& [id, record] : catalog.databases()) {
    if (steps.size() >= limit) break;
    const pb::DatabaseState state = record.database().state();
    if (state == pb::DATABASE_CREATING && census[id].creating == 0) {
      DatabaseStep& step = steps.emplace_back(DatabaseStep{DatabaseStep::Object::kDatabase, id, {}});
      auto& set = *step.command.mutable_set_database_state();
      set.set_database(id);
      set.set_from(pb::DATABASE_CREATING);
      set.set_to(pb::DATABASE_PUBLIC);
    } else if (state == pb::DATABASE_PRE_DELETE && census[id].all == 0) {
      DatabaseStep& step = steps.emplace_back(DatabaseStep{DatabaseStep::Object::kDatabase, id, {}});
      step.command.mutable_remove_database()->set_database(id);
    }
  }
  return steps;
}

bool IsSettled(const catalog::Catalog& catalog) {
  return std::none_of(catalog.regions().begin(), catalog.regions().end(),
                      [](const auto& entry) {
                        const pb::RegionState state = entry.second.region().state();
                        return state == pb::REGION_CREATING || state == pb::REGION_REMOVING;
                      }) &&
         std::none_of(catalog.databases().begin(), catalog.databases().end(), [](const auto& entry) {
           const pb::DatabaseState state = entry.second.database().state();
           return state == pb::DATABASE_CREATING || state == pb::DATABASE_PRE_DELETE;
         });
}

}  // namespace tenure::planner
