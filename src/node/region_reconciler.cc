#include "node/region_reconciler.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "node/region_state_machine.h"

namespace tenure::node {
namespace {

raft::Configuration InitialConfiguration(const pb::RegionRecord& record) {
  raft::Configuration configuration;
  for (const pb::ReplicaRecord& replica : record.replicas()) {
    configuration.members.push_back({.id = ReplicaId(replica.id()),
                                     .host = replica.node(),
                                     .role = replica.role() == pb::REPLICA_LEARNER
                                                 ? raft::MemberRole::kLearner
                                                 : raft::MemberRole::kVoter});
  }
  std::sort(configuration.members.begin(), configuration.members.end(),
            [](const raft::Member& a, const raft::Member& b) { return a.id < b.id; });
  return configuration;
}

}  // namespace

RegionReconciler::RegionReconciler(group::GroupHost& host, RegionTable& table, const CatalogView& view,
                                   std::set<RegionId> recovered, std::function<void()> on_removed,
                                   Logger logger)
    : host_(host),
      table_(table),
      view_(view),
      on_removed_(std::move(on_removed)),
      logger_(std::move(logger)),
      recovered_(recovered),
      local_(std::move(recovered)) {}

const pb::ReplicaRecord* RegionReconciler::ReplicaHere(const pb::RegionRecord& record) const {
  if (table_.self().IsNone()) return nullptr;
  for (const pb::ReplicaRecord& replica : record.replicas()) {
    if (NodeId(replica.node()) == table_.self()) return &replica;
  }
  return nullptr;
}

void RegionReconciler::Reconcile(bool current) {
  if (table_.self().IsNone()) return;  // not known which replicas are ours
  for (const auto& [id, record] : view_.regions()) {
    const pb::ReplicaRecord* replica = ReplicaHere(record);
    if (replica == nullptr || record.state() == pb::REGION_REMOVING) continue;
    if (destroying_.contains(RegionId(id)) || recovering_.contains(RegionId(id))) continue;
    const auto status = host_.StatusOf(GroupId(id));
    if (host_.IsBuried(GroupId(id), ReplicaId(replica->id()))) {
      LogOnce(RegionId(id),
              Error(StatusCode::kDataLoss,
                    "replica {} was here and was dropped: it does not run again, the region has one "
                    "replica less",
                    replica->id()));
    } else if (!status) {
      StartReplica(record, *replica);
    } else if (status->self != ReplicaId(replica->id()) &&
               replica->recovered_from() == status->self.value()) {
      RecoverReplica(record, *replica);
    }
  }
  const std::vector<RegionId> local(local_.begin(), local_.end());
  for (const RegionId id : local) {
    if (destroying_.contains(id) || recovering_.contains(id)) continue;
    const pb::RegionRecord* record = view_.FindRegion(id);
    if (record != nullptr && record->state() == pb::REGION_REMOVING) {
      Destroy(id, "it is being removed");
    } else if (current && record == nullptr) {
      Destroy(id, "the catalog has no such region any more");
    } else if (current && ReplicaHere(*record) == nullptr) {
      Destroy(id, "the catalog places no replica of it here");
    }
  }
  FindRemoved();
}

void RegionReconciler::StartReplica(const pb::RegionRecord& record, const pb::ReplicaRecord& self) {
  const RegionId id(record.id());
  const bool known = recovered_.contains(id);
  if (const auto log = host_.ConfigurationOf(GroupId(record.id()));
      known && log && !log->Contains(ReplicaId(self.id())) &&
      host_.ReplicaOf(GroupId(record.id())) != ReplicaId(self.id())) {
    if (self.recovered_from() != 0) return RecoverReplica(record, self);
    return LogOnce(
        id, Error(StatusCode::kFailedPrecondition,
                  "the log here has the configuration {}, the catalog's record names replica {}: it is "
                  "not started until the record is newer",
                  raft::ToString(*log), self.id()));
  }
  const bool campaign = !known && record.preferred_leader() == self.id();
  const Status status = host_.Start(GroupId(record.id()), ReplicaId(self.id()), InitialConfiguration(record),
                                    MachineFor(record), campaign);
  if (!status.ok()) return LogOnce(id, status);
  failures_.erase(id);
  recovered_.erase(id);
  local_.insert(id);
  table_.SetRunning(id, true);
  logger_.Info("region {} (slots {}-{}): replica {} {}", id, record.slots().first(), record.slots().last(),
               self.id(), known ? "started with the state found on disk" : "created");
}

std::unique_ptr<group::StateMachine> RegionReconciler::MachineFor(const pb::RegionRecord& record) const {
  const store::SlotRange slots{static_cast<uint16_t>(record.slots().first()),
                               static_cast<uint16_t>(record.slots().last())};
  return std::make_unique<RegionStateMachine>(RegionId(record.id()), slots);
}

// The operator declared the majority of this region's replicas lost; this one goes on under a new id.
void RegionReconciler::RecoverReplica(const pb::RegionRecord& record, const pb::ReplicaRecord& self) {
  const RegionId id(record.id());
  recovering_.insert(id);
  table_.SetRunning(id, false);
  host_.Recover(GroupId(record.id()), ReplicaId(self.recovered_from()), ReplicaId(self.id()), self.node(),
                Term(self.recovered_above_term()), MachineFor(record),
                [this, id, from = self.recovered_from(), to = self.id()](Status status) {
                  recovering_.erase(id);
                  if (!status.ok()) {
                    table_.SetRunning(id, host_.Runs(GroupId(id.value())));
                    return LogOnce(id, status);  // the next look tries again
                  }
                  failures_.erase(id);
                  recovered_.erase(id);
                  local_.insert(id);
                  table_.SetRunning(id, true);
                  logger_.Warn("region {}: recovered: replica {} goes on alone with the log of replica {}",
                               id, to, from);
                });
}

void RegionReconciler::Destroy(RegionId id, const char* reason) {
  logger_.Warn("region {}: the replica here is destroyed: {}", id, reason);
  destroying_.insert(id);
  table_.SetRunning(id, false);
  // A region that is still there may have another replica here later.
  const pb::RegionRecord* record = view_.FindRegion(id);
  const bool stays = record != nullptr && record->state() != pb::REGION_REMOVING;
  const GroupId group(id.value());
  host_.Destroy(group, stays ? host_.ReplicaOf(group) : ReplicaId(), [this, id](Status status) {
    destroying_.erase(id);
    if (!status.ok()) return LogOnce(id, status);  // the next look tries again
    local_.erase(id);
    recovered_.erase(id);
    failures_.erase(id);
    FindRemoved();
    on_removed_();
  });
}

void RegionReconciler::FindRemoved() {
  removed_.clear();
  for (const auto& [id, record] : view_.regions()) {
    if (record.state() != pb::REGION_REMOVING || ReplicaHere(record) == nullptr) continue;
    if (!local_.contains(RegionId(id))) removed_.push_back(RegionId(id));
  }
}

std::vector<RegionId> RegionReconciler::lost() const {
  std::vector<RegionId> lost;
  for (const auto& [id, record] : view_.regions()) {
    const pb::ReplicaRecord* replica = ReplicaHere(record);
    if (record.state() == pb::REGION_REMOVING || replica == nullptr) continue;
    if (host_.IsBuried(GroupId(id), ReplicaId(replica->id())) && !destroying_.contains(RegionId(id)))
      lost.push_back(RegionId(id));
  }
  return lost;
}

void RegionReconciler::LogOnce(RegionId region, const Status& status) {
  std::string& last = failures_[region];
  const std::string_view text = MessageOf(status);
  if (last == text) return;
  last = text;
  logger_.Warn("region {}: {}", region, text);
}

}  // namespace tenure::node
