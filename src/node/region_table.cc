#include "node/region_table.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "base/hash.h"
#include "base/rare_path.h"

namespace tenure::node {

const Region::Replica* Region::FindReplica(ReplicaId replica) const {
  for (const Replica& candidate : replicas) {
    if (candidate.id == replica) return &candidate;
  }
  return nullptr;
}

void RegionTable::Changed() {
  ++version_;
  if (listener_ != nullptr) listener_->OnTableChanged();
}

void RegionTable::SetSelf(NodeId self) {
  if (self_ == self) return;
  self_ = self;
  for (auto& [id, region] : regions_) FindSelf(region);
  Changed();
}

void RegionTable::FindSelf(Region& region) const {
  region.self = ReplicaId();
  region.votes = false;
  if (self_.IsNone()) return;
  for (const Region::Replica& replica : region.replicas) {
    if (replica.node != self_) continue;
    region.self = replica.id;
    region.votes = replica.voter;
  }
}

void RegionTable::Update(const CatalogView& view) {
  for (const auto& [id, record] : view.regions()) UpdateRegion(record);
  std::erase_if(regions_, [&view](const auto& entry) { return !view.regions().contains(entry.first); });
  TakeEarlyReports(view.revision());
  UpdateDatabases(view);
  Changed();
}

void RegionTable::UpdateRegion(const pb::RegionRecord& record) {
  Region& region = regions_[record.id()];
  region.id = RegionId(record.id());
  region.database = DatabaseId(record.database());
  region.state = record.state();
  region.slots = {static_cast<uint16_t>(record.slots().first()),
                  static_cast<uint16_t>(record.slots().last())};
  region.hidden = record.split_off() && record.state() == pb::REGION_CREATING;
  region.range_procedure = record.range_procedure();
  if (!region.store) region.store = std::make_unique<store::RegionStore>(std::nullopt);
  for (const pb::ReplicaRecord& replica : record.replicas()) {
    if (replica.recovered_from() == 0 || region.FindReplica(ReplicaId(replica.id())) != nullptr) continue;
    // The group goes on under this new id alone: what was reported of its leader is the past, whatever the
    // term.
    region.reported_leader = NodeId();
    region.reported_term = Term();
  }
  region.replicas.clear();
  for (const pb::ReplicaRecord& replica : record.replicas()) {
    region.replicas.push_back(
        {ReplicaId(replica.id()), NodeId(replica.node()), replica.role() != pb::REPLICA_LEARNER});
  }
  // One that joins may lead before its record says that it is a member.
  for (const pb::ReplicaRecord& replica : record.joining()) {
    region.replicas.push_back({ReplicaId(replica.id()), NodeId(replica.node()), false});
  }
  FindSelf(region);
  std::sort(region.replicas.begin(), region.replicas.end(),
            [](const Region::Replica& a, const Region::Replica& b) { return a.id < b.id; });
}

void RegionTable::UpdateDatabases(const CatalogView& view) {
  std::erase_if(databases_, [&view](const auto& entry) { return !view.databases().contains(entry.first); });
  for (const auto& [id, record] : view.databases()) {
    Database& database = databases_[id];
    database.id = DatabaseId(id);
    database.name = record.name();
    database.state = record.state();
    database.proposed_by_slot.resize(kSlotCount);
    database.regions.clear();
  }
  for (auto& [id, region] : regions_) {
    const auto it = databases_.find(region.database.value());
    if (it == databases_.end() || region.state == pb::REGION_REMOVING) continue;
    it->second.regions.push_back(&region);
  }
  for (auto& [id, database] : databases_) {
    std::sort(database.regions.begin(), database.regions.end(),
              [](const Region* a, const Region* b) { return a->slots.first < b->slots.first; });
    RouteSlots(database);
  }
}

void RegionTable::RouteSlots(Database& database) const {
  database.by_slot.assign(kSlotCount, nullptr);
  std::vector<uint64_t> claims(kSlotCount);  // the procedure behind the claim in by_slot, plus one
  const auto claim = [&](Region& region, const store::SlotRange& slots, uint64_t procedure) {
    for (uint32_t slot = slots.first; slot <= slots.last && slot < kSlotCount; ++slot) {
      if (claims[slot] > procedure) continue;
      claims[slot] = procedure + 1;
      database.by_slot[slot] = &region;
    }
  };
  // Who could have a slot that nobody claims: where it goes to, else where it was.
  for (Region* region : database.regions) {
    for (uint32_t slot = region->slots.first; slot <= region->slots.last && slot < kSlotCount; ++slot) {
      if (database.by_slot[slot] == nullptr || region->hidden) database.by_slot[slot] = region;
    }
  }
  for (Region* region : database.regions) {
    const uint64_t procedure = region->running ? region->store->range().changed_by : region->range_procedure;
    if (const auto held = region->Held()) claim(*region, *held, procedure);
  }
}

void RegionTable::Route(const Region& region) {
  const auto it = databases_.find(region.database.value());
  if (it != databases_.end()) RouteSlots(it->second);
}

void RegionTable::SetChangeLog(RegionId id, const store::ChangeLogState& log) {
  Region* region = Find(id);
  if (region == nullptr) return;
  region->change_log = log;
  if (listener_ != nullptr) listener_->OnChangeLog(*region);
}

void RegionTable::SetRange(RegionId id, const store::RegionRange& range) {
  Region* region = Find(id);
  if (region == nullptr) return;
  const bool moved = region->running && region->store->range().slots != range.slots;
  region->store->SetRange(range);
  if (!moved) return;
  Route(*region);
  Changed();
}

void RegionTable::SetRunning(RegionId id, bool running) {
  Region* region = Find(id);
  if (region == nullptr || region->running == running) return;
  // Where its log says what its record says, nothing is routed in another way.
  const bool routed = region->hidden || region->store->range().slots != region->slots ||
                      region->store->range().changed_by != region->range_procedure;
  region->running = running;
  if (routed) Route(*region);
  if (!running) {
    region->role = {raft::Role::kFollower, Term(), ReplicaId()};
    region->serving_term = Term();
  }
  Changed();
}

void RegionTable::ReportLeader(RegionId id, NodeId leader, Term term, Revision as_of) {
  Region* region = Find(id);
  if (region == nullptr) {
    TENURE_RARE_PATH("node: who leads a region is heard before there is one");
    early_reports_[id.value()] = {leader, term, as_of};
    return;
  }
  if (term < region->reported_term) return;
  if (region->reported_leader == leader && region->reported_term == term) return;
  region->reported_leader = leader;
  region->reported_term = term;
  Changed();
}

void RegionTable::TakeEarlyReports(Revision seen) {
  std::erase_if(early_reports_, [this, seen](const auto& entry) {
    const auto& [id, report] = entry;
    const auto region = regions_.find(id);
    // A view that has got there without the region will not have it: it is gone again.
    if (region == regions_.end()) return report.as_of <= seen;
#ifndef TENURE_MUTANT_early_leader_forgotten
    if (report.term >= region->second.reported_term) {
      region->second.reported_leader = report.leader;
      region->second.reported_term = report.term;
    }
#endif
    return true;
  });
}

void RegionTable::SetUnhealthy(std::set<NodeId> nodes) {
  if (nodes == unhealthy_) return;
  unhealthy_ = std::move(nodes);
  Changed();
}

void RegionTable::OnRoleChange(GroupId group, const raft::RoleChange& change) {
  Region* region = Find(RegionId(group.value()));
  if (region == nullptr) return;
  region->role = change;
  if (change.role != raft::Role::kLeader || region->serving_term != change.term)
    region->serving_term = Term();
  Changed();
  if (listener_ != nullptr) listener_->OnLocalRoleChanged(*region);
}

void RegionTable::OnServing(GroupId group, Term term) {
  Region* region = Find(RegionId(group.value()));
  if (region == nullptr) return;
  region->serving_term = term;
  Changed();
  if (listener_ != nullptr) listener_->OnLocalRoleChanged(*region);
}

void RegionTable::OnConfiguration(GroupId group, const raft::Configuration& configuration) {
  // Membership follows the catalog's record; the group finds its peers by the hosts in its own configuration.
  (void)group;
  (void)configuration;
}

Region* RegionTable::Find(RegionId region) {
  const auto it = regions_.find(region.value());
  return it == regions_.end() ? nullptr : &it->second;
}

Database* RegionTable::Find(DatabaseId database) {
  const auto it = databases_.find(database.value());
  return it == databases_.end() ? nullptr : &it->second;
}

NodeId RegionTable::LeaderOf(const Region& region) const {
  if (region.running && !region.role.leader.IsNone() && region.role.term >= region.reported_term) {
    const Region::Replica* leader = region.FindReplica(region.role.leader);
    if (leader != nullptr) return leader->node;
  }
  // The local replica is in an election of that term or a later one: what the controller knows is the past.
  if (region.running && region.role.term >= region.reported_term) return NodeId();
  // It says we lead; the local group knows better.
  if (region.reported_leader == self_ && !region.leads()) return NodeId();
  return region.reported_leader;
}

NodeId RegionTable::RedirectTarget(const Region& region) const {
  const NodeId leader = LeaderOf(region);
  if (!leader.IsNone() && leader != self_) return leader;
  if (region.running) return NodeId();
  for (const Region::Replica& replica : region.replicas) {
    if (replica.voter && replica.node != self_ && IsHealthy(replica.node)) return replica.node;
  }
  return NodeId();
}

std::string RegionTable::DescribeLeaderless(const Region& region) const {
  std::string text = fmt::format("region {} (slots {}-{}) has no leader at the moment", region.id,
                                 region.slots.first, region.slots.last);
  std::string down;
  size_t voters = 0;
  for (const Region::Replica& replica : region.replicas) {
    if (!replica.voter) continue;
    ++voters;
    if (IsHealthy(replica.node)) continue;
    down += fmt::format("{}{}", down.empty() ? "" : ", ", replica.node);
  }
  if (!down.empty()) text += fmt::format("; {} replicas, nodes not reachable: {}", voters, down);
  return text;
}

}  // namespace tenure::node
