#include "node/local_replicas.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "node/region_state_machine.h"

namespace tenure::node {
namespace {

raft::Configuration MembersOf(const pb::RegionRecord& record) {
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

bool IsMember(const pb::RegionRecord& record, ReplicaId id) {
  return std::any_of(record.replicas().begin(), record.replicas().end(),
                     [id](const pb::ReplicaRecord& replica) { return ReplicaId(replica.id()) == id; });
}

}  // namespace

LocalReplicas::LocalReplicas(group::GroupHost& host, RegionTable& table, const CatalogView& view,
                             std::set<RegionId> recovered, Logger logger)
    : host_(host),
      table_(table),
      view_(view),
      logger_(std::move(logger)),
      recovered_(recovered),
      local_(std::move(recovered)) {}

bool LocalReplicas::IsBuried(RegionId region, ReplicaId replica) const {
  return host_.IsBuried(GroupId(region.value()), replica);
}

ReplicaId LocalReplicas::IdOf(RegionId region) const {
  if (!Has(region)) return ReplicaId();
  if (const auto remains = remains_.find(region); remains != remains_.end()) return remains->second;
  return host_.ReplicaOf(GroupId(region.value()));
}

const pb::ReplicaRecord* LocalReplicas::NamedHere(const pb::RegionRecord& record) const {
  if (table_.self().IsNone()) return nullptr;
  for (const auto* replicas : {&record.replicas(), &record.joining()}) {
    for (const pb::ReplicaRecord& replica : *replicas) {
      if (NodeId(replica.node()) == table_.self()) return &replica;
    }
  }
  return nullptr;
}

bool LocalReplicas::HasPlace(const pb::RegionRecord& record, ReplicaId replica) const {
  for (const auto* replicas : {&record.replicas(), &record.joining(), &record.leaving()}) {
    for (const pb::ReplicaRecord& named : *replicas) {
      if (NodeId(named.node()) != table_.self()) continue;
      // A replica that goes on with the log of the one here: the recovery is still to come.
      if (replica.IsNone() || replica == ReplicaId(named.id()) ||
          replica == ReplicaId(named.recovered_from())) {
        return true;
      }
    }
  }
  return false;
}

bool LocalReplicas::IsAheadOf(const pb::RegionRecord& record, ReplicaId replica) const {
  for (const pb::ReplicaRecord& named : record.replicas()) {
    if (named.recovered_from() != 0) return false;
  }
  const auto log = host_.KnownConfigurationOf(GroupId(record.id()));
  // A node whose own record is lost has another id now, under which its log may not know it.
  const bool member = log && (replica.IsNone() || log->members.Contains(replica));
  return member && log->index > LogIndex(record.configuration_index()) &&
         log->term >= Term(record.configuration_term());
}

std::unique_ptr<group::StateMachine> LocalReplicas::MachineFor(const pb::RegionRecord& record) const {
  // What every replica of the region begins with, whenever it begins: the log leads on from there.
  const pb::SlotRange& first = record.has_initial_slots() ? record.initial_slots() : record.slots();
  std::optional<store::SlotRange> initial;
  if (!record.split_off()) {
    initial = store::SlotRange{static_cast<uint16_t>(first.first()), static_cast<uint16_t>(first.last())};
  }
  const RegionId id(record.id());
  return std::make_unique<RegionStateMachine>(
      id, initial, [this, id](const store::RegionRange& range) { table_.SetRange(id, range); },
      [this, id](const store::ChangeLogState& log) { table_.SetChangeLog(id, log); });
}

// ---- starting ----

Status LocalReplicas::StartGroup(const pb::RegionRecord& record, ReplicaId self,
                                 const raft::Configuration& initial, bool campaign) {
  const RegionId id(record.id());
  const bool known = recovered_.contains(id);
  TENURE_RETURN_IF_ERROR(host_.Start(GroupId(record.id()), self, initial, MachineFor(record), campaign,
                                     [this, id](const Status& status) { AnswerCreators(id, status); }));
  if (!known) not_durable_[id];
  recovered_.erase(id);
  local_.insert(id);
  table_.SetRunning(id, true);
  logger_.Info("region {} (slots {}-{}): replica {} {}", id, record.slots().first(), record.slots().last(),
               self, known ? "started with the state found on disk" : "created");
  return OkStatus();
}

void LocalReplicas::AnswerCreators(RegionId region, const Status& status) {
  auto waiting = not_durable_.extract(region);
  if (waiting.empty()) return;
  for (auto& done : waiting.mapped()) done(status);
}

void LocalReplicas::WhenDurable(RegionId region, Callback<Status> done) {
  const auto it = not_durable_.find(region);
  if (it == not_durable_.end()) return done(OkStatus());
  it->second.push_back(std::move(done));
}

Status LocalReplicas::StartDormant(const pb::RegionRecord& record, const pb::ReplicaRecord& self) {
  const auto log = host_.ConfigurationOf(GroupId(record.id()));
  const ReplicaId here = host_.ReplicaOf(GroupId(record.id()));
  if (log && !log->Contains(ReplicaId(self.id())) && !here.IsNone() && here != ReplicaId(self.id())) {
    return Error(StatusCode::kFailedPrecondition,
                 "the log here has the configuration {}, the catalog's record names replica {}: it is not "
                 "started until the record is newer",
                 raft::ToString(*log), self.id());
  }
  return StartGroup(record, ReplicaId(self.id()), {}, /*campaign=*/false);
}

// The operator declared the majority of this region's replicas lost; this one goes on under a new id.
void LocalReplicas::Recover(const pb::RegionRecord& record, const pb::ReplicaRecord& self,
                            Callback<Status> done) {
  const RegionId id(record.id());
  recovering_.insert(id);
  table_.SetRunning(id, false);
  host_.Recover(GroupId(record.id()), ReplicaId(self.recovered_from()), ReplicaId(self.id()), self.node(),
                Term(self.recovered_above_term()), MachineFor(record),
                [this, id, from = self.recovered_from(), to = self.id(),
                 done = std::move(done)](Status status) mutable {
                  recovering_.erase(id);
                  if (!status.ok()) {
                    table_.SetRunning(id, host_.Runs(GroupId(id.value())));
                    return done(std::move(status));
                  }
                  recovered_.erase(id);
                  local_.insert(id);
                  table_.SetRunning(id, true);
                  logger_.Warn("region {}: recovered: replica {} goes on alone with the log of replica {}",
                               id, to, from);
                  done(OkStatus());
                });
}

// ---- creating ----

Status LocalReplicas::CheckCreation(RegionId region, ReplicaId replica) const {
  const pb::RegionRecord* record = view_.FindRegion(region);
  if (record == nullptr) {
    return Error(StatusCode::kFailedPrecondition, "the catalog has no such region at revision {}",
                 view_.revision());
  }
  if (record->state() == pb::REGION_REMOVING) {
    return Error(StatusCode::kFailedPrecondition, "it is being removed");
  }
  const pb::ReplicaRecord* self = NamedHere(*record);
  if (self == nullptr || ReplicaId(self->id()) != replica) {
    return Error(StatusCode::kFailedPrecondition, "the catalog's record places {} on node {}, not replica {}",
                 self == nullptr ? std::string("no replica") : fmt::format("replica {}", self->id()),
                 table_.self(), replica);
  }
  if (table_.Find(region) == nullptr) {
    return Error(StatusCode::kUnavailable, "its record has just come, after the revision that was asked for");
  }
  if (IsBusy(region)) {
    return Error(StatusCode::kUnavailable, "a replica here is being {}",
                 recovering_.contains(region) ? "recovered" : "destroyed");
  }
  if (IsBuried(region, replica)) {
    return Error(StatusCode::kFailedPrecondition, "replica {} was here and is gone for good", replica);
  }
  const ReplicaId here = IdOf(region);
  if (remains_.contains(region)) {
    return Error(StatusCode::kUnavailable, "replica {} was here, and not all of it could be removed yet",
                 here);
  }
  if (!here.IsNone() && here != replica) {
    return Error(StatusCode::kFailedPrecondition, "replica {} of it is here, replica {} cannot be made", here,
                 replica);
  }
  if (!Has(region) && self->recovered_from() != 0) {
    return Error(StatusCode::kFailedPrecondition,
                 "replica {} goes on with the log of replica {}, which is not here", replica,
                 self->recovered_from());
  }
  return OkStatus();
}

void LocalReplicas::Create(RegionId region, ReplicaId replica, Callback<Status> done) {
  if (Status status = CheckCreation(region, replica); !status.ok()) return done(std::move(status));
  if (host_.Runs(GroupId(region.value()))) return WhenDurable(region, std::move(done));
  const pb::RegionRecord& record = *view_.FindRegion(region);
  Status status;
  if (IsDormant(region)) {
    status = StartDormant(record, *NamedHere(record));
  } else if (IsMember(record, replica) && record.configuration_index() == 0) {
    // The members are still those that the region began with: what every one of them begins with.
    status = StartGroup(record, replica, MembersOf(record), ReplicaId(record.preferred_leader()) == replica);
  } else {
    // The log that the leader sends has the configuration that names it.
    status = StartGroup(record, replica, {}, /*campaign=*/false);
  }
  if (!status.ok()) return done(std::move(status));
  WhenDurable(region, std::move(done));
}

// ---- destroying ----

void LocalReplicas::Destroy(RegionId region, ReplicaId replica, std::string_view reason,
                            Callback<Status> done) {
  const ReplicaId here = IdOf(region);
  if (here > replica) {
    logger_.Info("region {}: replica {} is not destroyed: it is replica {} that is here", region, replica,
                 here);
    return done(OkStatus());
  }
  if (recovering_.contains(region)) {
    return done(Error(StatusCode::kUnavailable, "the replica here is being recovered"));
  }
  auto [it, first] = destroying_.try_emplace(region);
  it->second.push_back(std::move(done));
  if (!first) return;
  if (Has(region)) logger_.Warn("region {}: the replica here is destroyed: {}", region, reason);
  AnswerCreators(region, Error(StatusCode::kAborted, "it was destroyed before it was durable"));
  table_.SetRunning(region, false);
  // A region that is still there may have another replica here later. Before format 3 none ever has, and the
  // log is not to contain what an older program cannot read: such a record has never given another replica
  // id.
  const pb::RegionRecord* record = view_.FindRegion(region);
  const bool stays =
      record != nullptr && record->state() != pb::REGION_REMOVING && record->next_replica() != 0;
  host_.Destroy(GroupId(region.value()), stays ? replica : ReplicaId(),
                [this, region, replica](const Status& status) { OnDestroyed(region, replica, status); });
}

void LocalReplicas::OnDestroyed(RegionId region, ReplicaId replica, const Status& status) {
  auto waiting = destroying_.extract(region);
  recovered_.erase(region);
  if (status.ok()) {
    local_.erase(region);
    remains_.erase(region);
  } else if (Has(region)) {
    remains_[region] = replica;
  }
  for (auto& done : waiting.mapped()) done(status);
}

}  // namespace tenure::node
