#include "node/region_reporter.h"

#include <utility>

namespace tenure::node {
namespace {

bool Same(const pb::RegionLoad& a, const pb::RegionLoad& b) {
  return a.applied() == b.applied() && a.term() == b.term() && a.leader_replica() == b.leader_replica() &&
         a.is_leader() == b.is_leader() && a.bytes() == b.bytes() && a.keys() == b.keys() &&
         a.replica() == b.replica();
}

}  // namespace

void RegionReporter::RefreshSizes() {
  const auto& regions = table_.regions();
  std::erase_if(bytes_, [&regions](const auto& entry) { return !regions.contains(entry.first); });
  auto it = regions.lower_bound(next_size_);
  for (size_t i = 0; i < std::min(kSizesPerReport, regions.size()); ++i) {
    if (it == regions.end()) it = regions.begin();
    const Region& region = it->second;
    if (region.running) {
      const std::string prefix = group::GroupHost::StatePrefix(region.group());
      bytes_[it->first] = engine_.ApproximateBytes(prefix, kv::PrefixEnd(prefix));
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
  return load;
}

void RegionReporter::FillReport(bool full, ipb::HeartbeatRequest& request) {
  RefreshSizes();
  if (full) reported_.clear();
  for (const auto& [id, region] : table_.regions()) {
    const auto status = region.running ? host_.StatusOf(region.group()) : std::nullopt;
    if (!status) {
      reported_.erase(id);
      continue;
    }
    pb::RegionLoad load = LoadOf(region, *status);
    const auto it = reported_.find(id);
    if (it != reported_.end() && Same(it->second, load)) continue;
    *request.add_regions() = load;
    reported_[id] = std::move(load);
  }
  std::erase_if(reported_, [this](const auto& entry) { return !table_.regions().contains(entry.first); });
  for (const RegionId region : reconciler_.removed()) request.add_removed_regions(region.value());
  request.set_revision(view_.revision().value());
  request.set_disk_free_bytes(load_.disk_free_bytes);
  request.set_fsync_p99_us(load_.fsync_p99_us);
  request.set_memory_bytes(load_.memory_bytes);
}

}  // namespace tenure::node
