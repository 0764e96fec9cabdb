#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "catalog/apply.h"
#include "catalog/procedures.h"
#include "catalog/state_moves.h"

namespace tenure::catalog::apply {

using namespace ::tenure::v1;

namespace {

using Replicas = google::protobuf::RepeatedPtrField<ReplicaRecord>;

bool Has(const Replicas& replicas, uint64_t id) {
  return std::any_of(replicas.begin(), replicas.end(),
                     [id](const ReplicaRecord& replica) { return replica.id() == id; });
}

void Drop(Replicas& replicas, uint64_t id) {
  const auto end = std::remove_if(replicas.begin(), replicas.end(),
                                  [id](const ReplicaRecord& replica) { return replica.id() == id; });
  replicas.erase(end, replicas.end());
}

// Terms of before a recovery say nothing (configuration_term is raised by it), an index that is known nothing
// new.
bool IsNewer(const commands::ReportRegions::Item& item, const RegionRecord& region) {
  return item.term() >= region.configuration_term() && item.index() > region.configuration_index();
}

void Take(commands::ReportRegions::Item& item, RegionRecord& region) {
  region.set_next_replica(NextReplica(region));
  for (const ReplicaRecord& old : region.replicas()) {
    if (!Has(item.replicas(), old.id()) && !Has(region.leaving(), old.id())) *region.add_leaving() = old;
  }
#ifdef TENURE_MUTANT_leaving_forgotten
  region.clear_leaving();
#endif
  for (const ReplicaRecord& replica : item.replicas()) Drop(*region.mutable_joining(), replica.id());
  // The index rises without a change too, when the entry has left the leader's log: then it is that of its
  // first one.
  const bool same = std::equal(region.replicas().begin(), region.replicas().end(), item.replicas().begin(),
                               item.replicas().end(), [](const ReplicaRecord& a, const ReplicaRecord& b) {
                                 return a.id() == b.id() && a.role() == b.role();
                               });
  if (!same) {
    *region.mutable_replicas() = std::move(*item.mutable_replicas());
    region.set_configuration_version(region.configuration_version() + 1);
  }
  region.set_configuration_term(item.term());
  region.set_configuration_index(item.index());
}

CatalogResult FindChangeable(const Records& records, uint64_t id, const Record** found) {
  *found = records.regions.Find(id);
  if (*found == nullptr) return Refused(REASON_NOT_FOUND, fmt::format("region {} does not exist", id));
  return {};
}

CatalogResult CheckJoin(const Records& records, const Record& found, const ReplicaRecord& join) {
  const RegionRecord& region = found.region();
  if (region.state() == REGION_REMOVING || region.state() == REGION_CREATING) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("region {} is {}", region.id(), NameOf(region.state())),
                   found.modify_revision());
  }
  if (join.id() != NextReplica(region)) {
    return Refused(
        REASON_CONDITION_FAILED,
        fmt::format("region {}: the next replica is {}, not {}", region.id(), NextReplica(region), join.id()),
        found.modify_revision());
  }
  for (const auto* list : {&region.replicas(), &region.joining(), &region.leaving()}) {
    for (const ReplicaRecord& replica : *list) {
      if (replica.node() != join.node()) continue;
      return Refused(REASON_CONDITION_FAILED,
                     fmt::format("region {} has replica {} on node {} already", region.id(), replica.id(),
                                 replica.node()),
                     found.modify_revision());
    }
  }
  const Record* node = records.nodes.Find(join.node());
  if (node == nullptr) return Refused(REASON_NOT_FOUND, fmt::format("node {} does not exist", join.node()));
  const NodeState state = node->node().state();
  if (state == NODE_UP || state == NODE_SUSPECT) return {};
  return Refused(REASON_CONDITION_FAILED, fmt::format("node {} is {}", join.node(), NameOf(state)),
                 node->modify_revision());
}

}  // namespace

CatalogResult ReportRegions(Records& records, commands::ReportRegions& command, Change& change) {
  bool changed = false;
  for (auto& item : *command.mutable_items()) {
    const Record* found = records.regions.Find(item.region());
    if (found == nullptr || found->region().state() == REGION_REMOVING) continue;
    if (!IsNewer(item, found->region())) continue;
    Record record = *found;
    Take(item, *record.mutable_region());
    records.regions.Put(item.region(), std::move(record), change);
    changed = true;
  }
  return Done(change, changed);
}

CatalogResult ChangeReplica(Records& records, commands::ProcedureEffect::ChangeReplica& command,
                            Change& change) {
  const Record* found = nullptr;
  if (CatalogResult refused = FindChangeable(records, command.region(), &found); IsRefusal(refused))
    return refused;
  if (command.has_join()) {
    if (CatalogResult refused = CheckJoin(records, *found, command.join()); IsRefusal(refused))
      return refused;
  }
  Record record = *found;
  RegionRecord& region = *record.mutable_region();
  if (command.has_join()) {
    region.set_next_replica(command.join().id() + 1);
    *region.add_joining() = std::move(*command.mutable_join());
  }
  if (command.end_joining() != 0) {
    for (const ReplicaRecord& replica : region.joining()) {
      if (replica.id() == command.end_joining()) *region.add_leaving() = replica;
    }
    Drop(*region.mutable_joining(), command.end_joining());
  }
  if (command.end_leaving() != 0) {
    region.set_next_replica(NextReplica(region));
    Drop(*region.mutable_leaving(), command.end_leaving());
  }
  records.regions.Put(command.region(), std::move(record), change);
  return Done(change);
}

CatalogResult RemoveRegions(Records& records, const commands::ProcedureEffect::RemoveRegions& command,
                            Change& change) {
  const std::set<uint64_t> ids(command.regions().begin(), command.regions().end());
  for (const uint64_t id : ids) {
    const Record* found = records.regions.Find(id);
    if (found == nullptr || found->region().state() == REGION_REMOVING) continue;
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("region {} is {}, expected REMOVING", id, NameOf(found->region().state())),
                   found->modify_revision());
  }
  for (const uint64_t id : ids) {
    if (records.regions.Find(id) != nullptr) records.regions.Erase(id, change);
  }
  const Record* database = records.databases.Find(command.database());
  if (database == nullptr || database->database().state() != DATABASE_PRE_DELETE) return Done(change);
  const bool empty =
      std::none_of(records.regions.all().begin(), records.regions.all().end(),
                   [&](const auto& entry) { return entry.second.region().database() == command.database(); });
#ifdef TENURE_MUTANT_name_freed_late
  if (empty) records.database_by_name.erase(database->database().name());
#endif
  if (empty) {
    EraseSchemaOf(records, command.database(), change);
    records.databases.Erase(command.database(), change);
  }
  return Done(change);
}

}  // namespace tenure::catalog::apply
