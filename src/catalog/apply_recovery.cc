// Recovery from lost majorities: what the catalog says afterwards (docs/recovery.md).
#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "base/format.h"
#include "catalog/apply.h"
#include "catalog/controllers.h"
#include "catalog/keys.h"
#include "catalog/procedures.h"

namespace tenure::catalog::apply {

using namespace ::tenure::v1;

namespace {

constexpr int kMaxRecoveries = 100;
// Of recoveries by programs that did not say how many ids are left out.
constexpr uint64_t kLeftOutOfOld = 100'000;
// Of every table and view. Changefeeds look at each number in between.
constexpr uint32_t kLeftOutVersions = 1000;

void PutCluster(Records& records, Record record, Change& change) {
  record.set_modify_revision(change.revision.value());
  Event& event = change.events.records.emplace_back();
  event.set_revision(change.revision.value());
  *event.mutable_old_record() = std::move(*records.cluster);
  *event.mutable_new_record() = record;
  change.state.Put(kClusterKey, record.SerializeAsString());
  records.cluster = std::move(record);
}

// Ids that a recovery of the catalog leaves out: what was made in the part of the log that is lost may still
// stand on nodes' disks, and must not be taken for something new.
void LeaveOutIds(Records& records, RecoveryRecord& recovery, Change& change) {
  const uint64_t count = recovery.left_out() == 0 ? kLeftOutOfOld : recovery.left_out();
  commands::CatalogIds& ids = records.ids;
  if (recovery.left_out() != 0) recovery.set_first_region(std::max<uint64_t>(ids.next_region(), 1));
  ids.set_next_node(ids.next_node() + count);
  ids.set_next_database(ids.next_database() + count);
  ids.set_next_region(ids.next_region() + count);
  if (recovery.left_out() != 0) {
    // None is given before the format that brought them; then the first one is 1.
    ids.set_next_procedure(std::max<uint64_t>(ids.next_procedure(), 1) + count);
    ids.set_next_table(std::max<uint64_t>(ids.next_table(), 1) + count);
    ids.set_next_changefeed(std::max<uint64_t>(ids.next_changefeed(), 1) + count);
  }
  change.state.Put(kIdsKey, ids.SerializeAsString());
}

void LeaveOutReplicas(Records& records, uint64_t count, Change& change) {
  // Before format 3 no region ever gets another replica.
  if (records.cluster->cluster().format_version() < kFormatOfProcedures) return;
  std::vector<Record> changed;
  for (const auto& [id, record] : records.regions.all()) changed.push_back(record);
  for (Record& record : changed) {
    RegionRecord& region = *record.mutable_region();
    region.set_next_replica(NextReplica(region) + count);
    records.regions.Put(region.id(), std::move(record), change);
  }
}

void Remember(ClusterRecord& cluster, RecoveryRecord recovery) {
  auto& recoveries = *cluster.mutable_recoveries();
  if (recoveries.size() >= kMaxRecoveries) {
    recoveries.DeleteSubrange(0, recoveries.size() - kMaxRecoveries + 1);
  }
  *recoveries.Add() = std::move(recovery);
}

// Why the region cannot be recovered as the item says; empty if it can.
std::string Objection(const Records& records, const commands::RecoverRegions::Item& item) {
  const Record* found = records.regions.Find(item.region());
  if (found == nullptr) return fmt::format("region {} does not exist", item.region());
  const RegionRecord& region = found->region();
  if (region.state() == REGION_REMOVING) return fmt::format("region {} is being removed", item.region());
  if (region.configuration_version() != item.configuration_version()) {
    return fmt::format("region {} has configuration version {}, the plan was made for {}", item.region(),
                       region.configuration_version(), item.configuration_version());
  }
  const bool known =
      std::any_of(region.replicas().begin(), region.replicas().end(),
                  [&](const ReplicaRecord& replica) { return replica.id() == item.replica(); });
  return known ? "" : fmt::format("region {} has no replica {}", item.region(), item.replica());
}

// A new replica id is what keeps the old replicas out: their messages are for an id that runs nowhere any
// more.
void Recover(Records& records, const commands::RecoverRegions::Item& item, Change& change) {
  Record record = *records.regions.Find(item.region());
  RegionRecord& region = *record.mutable_region();
  ReplicaRecord survivor;
  const uint64_t next = NextReplica(region);
  for (const ReplicaRecord& replica : region.replicas()) {
    if (replica.id() == item.replica()) survivor = replica;
  }
  survivor.set_id(next);
  survivor.set_role(REPLICA_VOTER);
  survivor.set_recovered_from(item.replica());
  survivor.set_recovered_above_term(item.highest_term());
  region.clear_replicas();
  *region.add_replicas() = survivor;
  region.set_preferred_leader(survivor.id());
  region.set_configuration_version(region.configuration_version() + 1);
  if (records.cluster->cluster().format_version() >= 3) {
    // Replicas that were being made go; what the lost ones may still report is of a term of before.
    region.mutable_leaving()->MergeFrom(region.joining());
    region.clear_joining();
    region.set_next_replica(next + 1);
    region.set_configuration_term(item.highest_term() + 1);
    region.set_configuration_index(0);
  }
  records.regions.Put(item.region(), std::move(record), change);
}

}  // namespace

CatalogResult RecoverCluster(Records& records, commands::RecoverCluster& command, Change& change) {
  const ClusterRecord& cluster = records.cluster->cluster();
  if (cluster.cluster_id() != command.cluster_id()) {
    return Refused(REASON_WRONG_CLUSTER, fmt::format("the recovery is of cluster {}, this is cluster {}",
                                                     command.cluster_id(), cluster.cluster_id()));
  }
  if (cluster.incarnation() >= command.recovery().incarnation()) {
    return Refused(REASON_STALE_INCARNATION,
                   fmt::format("the recovery leads to incarnation {}, the cluster is at {}",
                               command.recovery().incarnation(), cluster.incarnation()),
                   records.cluster->modify_revision());
  }
  const std::set<uint64_t> learners(command.learners().begin(), command.learners().end());
  std::vector<Record> changed;
  for (const auto& [id, record] : records.controllers.all()) {
    const bool voter = id == command.voter();
    const bool gone = !voter && !learners.contains(id) && !IsRemoved(record.controller());
    if (!gone && record.controller().voter() == voter) continue;
    changed.push_back(record);
    ControllerRecord& controller = *changed.back().mutable_controller();
    controller.set_voter(voter);
    if (!gone) continue;
    controller.set_state(CONTROLLER_REMOVED);
    controller.clear_promote();
  }
  for (Record& record : changed) {
    const uint64_t id = record.controller().id();
    records.controllers.Put(id, std::move(record), change);
  }
  RecoveryRecord& recovery = *command.mutable_recovery();
  LeaveOutIds(records, recovery, change);
  if (recovery.left_out() != 0) {
    LeaveOutReplicas(records, recovery.left_out(), change);
    LeaveOutVersions(records, kLeftOutVersions, change);
  }
  Record record = *records.cluster;
  record.mutable_cluster()->set_incarnation(command.recovery().incarnation());
  Remember(*record.mutable_cluster(), std::move(*command.mutable_recovery()));
  PutCluster(records, std::move(record), change);
  return Done(change);
}

CatalogResult RecoverRegions(Records& records, commands::RecoverRegions& command, Change& change) {
  for (const auto& item : command.items()) {
    if (const std::string objection = Objection(records, item); !objection.empty()) {
      return Refused(REASON_CONDITION_FAILED, objection);
    }
  }
  Record record = *records.cluster;
  for (auto& item : *command.mutable_items()) {
    Recover(records, item, change);
    item.mutable_recovery()->set_incarnation(record.cluster().incarnation());
    Remember(*record.mutable_cluster(), std::move(*item.mutable_recovery()));
  }
  PutCluster(records, std::move(record), change);
  return Done(change);
}

}  // namespace tenure::catalog::apply
