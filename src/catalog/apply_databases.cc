#include <fmt/format.h>

#include <utility>
#include <vector>

#include "base/hash.h"
#include "catalog/apply.h"
#include "catalog/keys.h"
#include "catalog/state_moves.h"

namespace tenure::catalog::apply {

using namespace ::tenure::v1;

namespace {

constexpr uint64_t kFirstReplica = 1;

CatalogResult CheckPlacement(const Records& records, const commands::CreateDatabase& command) {
  for (const auto& placement : command.regions()) {
    for (const uint64_t node : placement.nodes()) {
      const Record* found = records.nodes.Find(node);
      if (found == nullptr)
        return Refused(REASON_CONDITION_FAILED, fmt::format("node {} does not exist", node));
      const NodeState state = found->node().state();
      if (state == NODE_REMOVING || state == NODE_REMOVED) {
        return Refused(REASON_CONDITION_FAILED, fmt::format("node {} is {}", node, NameOf(state)),
                       found->modify_revision());
      }
    }
  }
  return {};
}

void PutRegion(Records& records, const commands::CreateDatabase::Placement& placement, uint64_t database,
               Change& change) {
  const uint64_t id = records.ids.next_region();
  records.ids.set_next_region(id + 1);
  Record record;
  RegionRecord& region = *record.mutable_region();
  region.set_id(id);
  region.set_database(database);
  *region.mutable_slots() = placement.slots();
  uint64_t replica_id = kFirstReplica;
  for (const uint64_t node : placement.nodes()) {
    ReplicaRecord& replica = *region.add_replicas();
    replica.set_id(replica_id++);
    replica.set_node(node);
    replica.set_role(REPLICA_VOTER);
  }
  region.set_configuration_version(1);
  region.set_range_version(1);
  region.set_state(REGION_CREATING);
  region.set_preferred_leader(kFirstReplica);
  records.regions.Put(id, std::move(record), change);
}

// A region's database is dropped: all of its regions go, in the same command.
void RemoveRegionsOf(Records& records, uint64_t database, Change& change) {
  std::vector<uint64_t> ids;
  for (const auto& [id, record] : records.regions.all()) {
    if (record.region().database() == database && record.region().state() != REGION_REMOVING)
      ids.push_back(id);
  }
  for (const uint64_t id : ids) {
    Record record = *records.regions.Find(id);
    record.mutable_region()->set_state(REGION_REMOVING);
    records.regions.Put(id, std::move(record), change);
  }
}

// Common to both state changes; `what` is "database 7 ('orders')".
template <class State>
CatalogResult CheckMove(const std::string& what, State now, State from, State to, uint64_t revision) {
  if (!IsLegalMove(from, to)) {
    return Refused(REASON_INVALID_ARGUMENT,
                   fmt::format("{}: {} -> {} is no legal move", what, NameOf(from), NameOf(to)));
  }
  if (now != from) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("{} is {}, expected {}", what, NameOf(now), NameOf(from)), revision);
  }
  return {};
}

}  // namespace

CatalogResult CreateDatabase(Records& records, commands::CreateDatabase& command, Change& change) {
  if (const auto found = records.database_by_name.find(command.name());
      found != records.database_by_name.end()) {
    return Refused(REASON_ALREADY_EXISTS,
                   fmt::format("database '{}' exists already (id {})", command.name(), found->second),
                   records.databases.Find(found->second)->modify_revision());
  }
  if (CatalogResult refused = CheckPlacement(records, command); refused.reason() != REASON_UNSPECIFIED)
    return refused;

  const uint64_t id = records.ids.next_database();
  records.ids.set_next_database(id + 1);
  Record record;
  DatabaseRecord& database = *record.mutable_database();
  database.set_id(id);
  database.set_name(command.name());
  database.set_replicas(command.replicas());
  database.set_regions(static_cast<uint32_t>(command.regions_size()));
  database.set_slots(kSlotCount);
  database.set_state(DATABASE_CREATING);
  database.set_strict(command.strict());
  database.set_created_at_ms(change.now_ms);
  records.databases.Put(id, std::move(record), change);
  records.database_by_name.emplace(command.name(), id);
  for (const auto& placement : command.regions()) PutRegion(records, placement, id, change);
  change.state.Put(kIdsKey, records.ids.SerializeAsString());
  return Done(change, true, id);
}

CatalogResult SetDatabaseState(Records& records, commands::SetDatabaseState& command, Change& change) {
  const Record* found = records.databases.Find(command.database());
  if (found == nullptr) {
    return Refused(REASON_NOT_FOUND, fmt::format("database {} does not exist", command.database()));
  }
  const std::string what = fmt::format("database {} ('{}')", command.database(), found->database().name());
  if (CatalogResult refused =
          CheckMove(what, found->database().state(), command.from(), command.to(), found->modify_revision());
      refused.reason() != REASON_UNSPECIFIED) {
    return refused;
  }
  if (command.to() == DATABASE_PRE_DELETE) {
    if (CatalogResult refused = CheckNotFollowed(records, command.database()); IsRefusal(refused))
      return refused;
  }
  if (command.to() == DATABASE_PUBLIC) {
    for (const auto& [id, region] : records.regions.all()) {
      if (region.region().database() == command.database() && region.region().state() == REGION_CREATING) {
        return Refused(REASON_CONDITION_FAILED, fmt::format("{}: region {} is still CREATING", what, id),
                       region.modify_revision());
      }
    }
  }
  Record record = *found;
  record.mutable_database()->set_state(command.to());
  if (command.to() == DATABASE_PRE_DELETE) {
#ifndef TENURE_MUTANT_name_freed_late
    records.database_by_name.erase(record.database().name());
#endif
    RemoveRegionsOf(records, command.database(), change);
  }
  records.databases.Put(command.database(), std::move(record), change);
  return Done(change, true, command.database());
}

CatalogResult DropDatabase(Records& records, uint64_t database, Change& change) {
  commands::SetDatabaseState command;
  command.set_database(database);
  if (const Record* found = records.databases.Find(database)) {
    // Its creation has failed, or another drop was faster: for whoever asks it is gone.
    if (found->database().state() == DATABASE_PRE_DELETE) {
      return Refused(
          REASON_NOT_FOUND,
          fmt::format("database {} ('{}') is being removed already", database, found->database().name()),
          found->modify_revision());
    }
    command.set_from(found->database().state());
  }
  command.set_to(DATABASE_PRE_DELETE);
  return SetDatabaseState(records, command, change);
}

CatalogResult PublishDatabase(Records& records, uint64_t database, Change& change) {
  const Record* found = records.databases.Find(database);
  if (found == nullptr) return Refused(REASON_NOT_FOUND, fmt::format("database {} does not exist", database));
  if (CatalogResult refused =
          CheckMove(fmt::format("database {} ('{}')", database, found->database().name()),
                    found->database().state(), DATABASE_CREATING, DATABASE_PUBLIC, found->modify_revision());
      IsRefusal(refused)) {
    return refused;
  }
  std::vector<uint64_t> creating;
  for (const auto& [id, region] : records.regions.all()) {
    if (region.region().database() == database && region.region().state() == REGION_CREATING)
      creating.push_back(id);
  }
  for (const uint64_t id : creating) {
    Record record = *records.regions.Find(id);
    record.mutable_region()->set_state(REGION_SERVING);
    records.regions.Put(id, std::move(record), change);
  }
  Record record = *found;
  record.mutable_database()->set_state(DATABASE_PUBLIC);
  records.databases.Put(database, std::move(record), change);
  return Done(change, true, database);
}

CatalogResult SetRegionState(Records& records, commands::SetRegionState& command, Change& change) {
  const Record* found = records.regions.Find(command.region());
  if (found == nullptr)
    return Refused(REASON_NOT_FOUND, fmt::format("region {} does not exist", command.region()));
  if (CatalogResult refused = CheckMove(fmt::format("region {}", command.region()), found->region().state(),
                                        command.from(), command.to(), found->modify_revision());
      refused.reason() != REASON_UNSPECIFIED) {
    return refused;
  }
  Record record = *found;
  record.mutable_region()->set_state(command.to());
  records.regions.Put(command.region(), std::move(record), change);
  return Done(change, true, command.region());
}

CatalogResult RemoveRegion(Records& records, commands::RemoveRegion& command, Change& change) {
  const Record* found = records.regions.Find(command.region());
  if (found == nullptr)
    return Refused(REASON_NOT_FOUND, fmt::format("region {} does not exist", command.region()));
  if (found->region().state() != REGION_REMOVING) {
    return Refused(
        REASON_CONDITION_FAILED,
        fmt::format("region {} is {}, expected REMOVING", command.region(), NameOf(found->region().state())),
        found->modify_revision());
  }
  records.regions.Erase(command.region(), change);
  return Done(change, true, command.region());
}

CatalogResult RemoveDatabase(Records& records, commands::RemoveDatabase& command, Change& change) {
  const Record* found = records.databases.Find(command.database());
  if (found == nullptr) {
    return Refused(REASON_NOT_FOUND, fmt::format("database {} does not exist", command.database()));
  }
  if (found->database().state() != DATABASE_PRE_DELETE) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("database {} is {}, expected PRE_DELETE", command.database(),
                               NameOf(found->database().state())),
                   found->modify_revision());
  }
  for (const auto& [id, region] : records.regions.all()) {
    if (region.region().database() == command.database()) {
      return Refused(REASON_CONDITION_FAILED,
                     fmt::format("database {} still has region {}", command.database(), id),
                     region.modify_revision());
    }
  }
  EraseSchemaOf(records, command.database(), change);
  records.databases.Erase(command.database(), change);
  return Done(change, true, command.database());
}

}  // namespace tenure::catalog::apply
