#include "node/region_reporter.h"

#include <algorithm>
#include <utility>

namespace tenure::node {
namespace {

bool Same(const pb::RegionLoad& a, const pb::RegionLoad& b) {
  return a.applied() == b.applied() && a.term() == b.term() && a.leader_replica() == b.leader_replica() &&
         a.is_leader() == b.is_leader() && a.bytes() == b.bytes() && a.keys() == b.keys() &&
         a.replica() == b.replica() && a.configuration_index() == b.configuration_index() &&
         a.has_configuration() == b.has_configuration() &&
         a.configuration().index() == b.configuration().index() &&
         std::equal(a.diverged_replicas().begin(), a.diverged_replicas().end(), b.diverged_replicas().begin(),
                    b.diverged_replicas().end());
}

}  // namespace

void RegionReporter::RefreshSizes() {
  const auto& regions = table_.regions();
  auto it = regions.lower_bound(next_size_);
  for (size_t i = 0; i < std::min(kSizesPerReport, regions.size()); ++i) {
    if (it == regions.end()) it = regions.begin();
    const Region& region = it->second;
    if (region.running) {
      const std::string prefix = group::GroupHost::StatePrefix(region.group());
      const uint64_t bytes = engine_.ApproximateBytes(prefix, kv::PrefixEnd(prefix));
      if (std::exchange(bytes_[it->first], bytes) != bytes) candidates_.insert(it->first);
    }
    ++it;
  }
  next_size_ = it == regions.end() ? 0 : it->first;
}

pb::RegionLoad RegionReporter::LoadOf(const Region& region, const group::GroupStatus& status) {
  pb::RegionLoad load;
  load.set_region(region.id.value());
  load.set_replica(status.self.value());
  load.set_applied(status.applied.value());
  load.set_term(status.term.value());
  load.set_last_index(status.last.value());
  load.set_last_term(status.last_term.value());
  load.set_leader_replica(status.leader.value());
  load.set_is_leader(status.role == raft::Role::kLeader);
  load.set_bytes(bytes_[region.id.value()]);
  load.set_keys(region.store->KeyCount(*host_.State(region.group())));
  for (const group::Divergence& diverged : status.diverged)
    load.add_diverged_replicas(diverged.replica.value());
  AddConfiguration(status, load);
  return load;
}

// A configuration is in force before it is decided, so what is reported may be the one before: of this
// replica the last one it has applied, of a leader none while a change is under way.
void RegionReporter::AddConfiguration(const group::GroupStatus& status, pb::RegionLoad& load) {
  uint64_t& applied = applied_configuration_[load.region()];
  if (status.applied >= status.configuration_index) applied = status.configuration_index.value();
  load.set_configuration_index(applied);
  if (status.role != raft::Role::kLeader || status.configuration.IsJoint() ||
      status.commit < status.configuration_index) {
    return;
  }
  pb::RegionConfiguration& configuration = *load.mutable_configuration();
  configuration.set_index(status.configuration_index.value());
  for (const raft::Member& member : status.configuration.members) {
    pb::ReplicaRecord& replica = *configuration.add_replicas();
    replica.set_id(member.id.value());
    replica.set_node(member.host);
    replica.set_role(member.role == raft::MemberRole::kLearner ? pb::REPLICA_LEARNER : pb::REPLICA_VOTER);
  }
}

void RegionReporter::FillReport(bool full, ipb::HeartbeatRequest& request) {
  RefreshSizes();
  // Nothing can have changed in a group that had nothing to do.
  for (const GroupId group : host_.TakeProcessed()) candidates_.insert(group.value());
  if (full) {
    std::erase_if(bytes_, [this](const auto& entry) { return !table_.regions().contains(entry.first); });
    std::erase_if(applied_configuration_,
                  [this](const auto& entry) { return !table_.regions().contains(entry.first); });
    reported_.clear();
    for (const auto& [id, region] : table_.regions()) Report(id, request);
  } else {
    for (const uint64_t id : candidates_) Report(id, request);
  }
  candidates_.clear();
  for (const RegionId region : reconciler_.lost()) request.add_lost_regions(region.value());
  for (ipb::ProbeResult& probe : prober_.TakeResults()) *request.add_probes() = std::move(probe);
  request.set_revision(view_.revision().value());
  request.set_disk_free_bytes(load_.disk_free_bytes);
  request.set_fsync_p99_us(load_.fsync_p99_us);
  request.set_memory_bytes(load_.memory_bytes);
}

void RegionReporter::Report(uint64_t id, ipb::HeartbeatRequest& request) {
  const auto region = table_.regions().find(id);
  const auto status = region == table_.regions().end() || !region->second.running
                          ? std::nullopt
                          : host_.StatusOf(region->second.group());
  if (!status) {
    reported_.erase(id);
    applied_configuration_.erase(id);
    return;
  }
  pb::RegionLoad load = LoadOf(region->second, *status);
  const auto it = reported_.find(id);
  if (it != reported_.end() && Same(it->second, load)) return;
  *request.add_regions() = load;
  reported_[id] = std::move(load);
}

}  // namespace tenure::node
