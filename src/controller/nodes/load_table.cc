#include "controller/nodes/load_table.h"

#include <algorithm>

namespace tenure::controller {

namespace ipb = ::tenure::internal::v1;

void LoadTable::Begin(Instant now) {
  Clear();
  observing_since_ = now;
}

void LoadTable::Clear() {
  nodes_.clear();
  reached_.clear();
}

void LoadTable::ForgiveSilence(Instant now) {
  observing_since_ = now;
  for (auto& [node, load] : nodes_) load.arrivals.Skip();
}

std::optional<Instant> LoadTable::ReachedAt(NodeId node) const {
  const auto found = reached_.find(node);
  return found == reached_.end() ? std::nullopt : std::optional(found->second);
}

bool LoadTable::IsSuspicious(NodeId node, Duration silence) const {
  const NodeLoad* load = Find(node);
  static const planner::ArrivalHistory kNothing;
  return (load == nullptr ? kNothing : load->arrivals).IsSuspicious(silence, phi_);
}

void LoadTable::OnConnected(NodeId node, uint64_t registration_epoch, Instant now) {
  NodeLoad& load = nodes_[node];
  if (load.registration_epoch > registration_epoch) return;
  if (load.registration_epoch < registration_epoch) load = NodeLoad{.registration_epoch = registration_epoch};
  load.connected = true;
  load.stopping = false;
  load.full = false;  // a new stream begins with everything
  load.last_heard = now;
}

void LoadTable::OnDisconnected(NodeId node, uint64_t registration_epoch) {
  const auto found = nodes_.find(node);
  if (found != nodes_.end() && found->second.registration_epoch == registration_epoch)
    found->second.connected = false;
}

bool LoadTable::OnReport(const ipb::HeartbeatRequest& report, Instant now) {
  const auto found = nodes_.find(NodeId(report.node_id()));
  if (found == nodes_.end() || found->second.registration_epoch != report.registration_epoch()) return false;
  NodeLoad& load = found->second;
  load.last_heard = now;
  load.arrivals.Add(now, phi_);
  load.stopping = load.stopping || report.stopping();
  load.disk_free_bytes = report.disk_free_bytes();
  load.fsync_p99_us = report.fsync_p99_us();
  load.memory_bytes = report.memory_bytes();
  if (!load.full && !report.full()) return false;
  load.revision = std::max(load.revision, Revision(report.revision()));
  if (report.full()) {
    load.full = true;
    load.regions.clear();
  }
  load.lost = {report.lost_regions().begin(), report.lost_regions().end()};
  for (const auto& region : report.regions()) load.regions[region.region()] = region;
  for (const uint64_t region : report.removed_regions()) load.regions.erase(region);
  return true;
}

const NodeLoad* LoadTable::Find(NodeId node) const {
  const auto found = nodes_.find(node);
  return found == nodes_.end() ? nullptr : &found->second;
}

Duration LoadTable::SilenceOf(NodeId node, Instant now) const {
  const NodeLoad* load = Find(node);
  const Instant since = load == nullptr ? observing_since_ : std::max(observing_since_, load->last_heard);
  return now - since;
}

uint32_t LoadTable::LeadersOf(const NodeLoad& load) {
  uint32_t leaders = 0;
  for (const auto& [id, region] : load.regions) leaders += region.is_leader() ? 1 : 0;
  return leaders;
}

}  // namespace tenure::controller
