#include "controller/nodes/region_leaders.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;

namespace {

NodeId NodeOf(const pb::RegionRecord& record, uint64_t replica) {
  for (const pb::ReplicaRecord& member : record.replicas()) {
    if (member.id() == replica) return NodeId(member.node());
  }
  return NodeId();
}

}  // namespace

void RegionLeaders::Clear() {
  // Versions go on: who asks for changes since an older one is sent everything that comes.
  regions_.clear();
  by_version_.clear();
}

void RegionLeaders::OnReport(NodeId from, const pb::RegionLoad& report, const pb::RegionRecord& record) {
  const RegionId region(report.region());
  const Term term(report.term());
  // A leader speaks for itself; a follower tells what it has heard.
  const ReplicaId leader(report.is_leader() ? report.replica() : report.leader_replica());
  const NodeId node = report.is_leader() ? from : NodeOf(record, leader.value());
  const auto found = regions_.find(region);
  if (found == regions_.end()) {
    if (term.IsNone()) return;
    Set(region, regions_[region], leader.IsNone() ? NodeId() : node, leader, term);
    return;
  }
  RegionLeaderView& view = found->second;
  if (term < view.term) return;
  if (term > view.term) {
    // A candidate's term without a leader does not unseat one that may still serve; only its own word does.
    const bool silent = leader.IsNone() || node.IsNone();
    if (silent && view.node != from) return;
    Set(region, view, silent ? NodeId() : node, silent ? ReplicaId() : leader, term);
    return;
  }
  if (!leader.IsNone() && !node.IsNone()) {
    if (view.node.IsNone() || report.is_leader()) Set(region, view, node, leader, term);
  } else if (view.node == from && !report.is_leader()) {
    Set(region, view, NodeId(), ReplicaId(), term);
  }
}

void RegionLeaders::Set(RegionId region, RegionLeaderView& view, NodeId node, ReplicaId replica, Term term) {
  if (view.version != 0 && view.node == node && view.replica == replica && view.term == term) return;
  by_version_.erase(view.version);
  view = {.node = node, .replica = replica, .term = term, .version = ++version_};
  by_version_[version_] = region;
}

void RegionLeaders::Forget(RegionId region) {
  const auto found = regions_.find(region);
  if (found == regions_.end()) return;
  by_version_.erase(found->second.version);
  regions_.erase(found);
}

const RegionLeaderView* RegionLeaders::Find(RegionId region) const {
  const auto found = regions_.find(region);
  return found == regions_.end() ? nullptr : &found->second;
}

bool RegionLeaders::HasLeader(RegionId region) const {
  const RegionLeaderView* view = Find(region);
  return view != nullptr && !view->node.IsNone();
}

std::vector<std::pair<RegionId, RegionLeaderView>> RegionLeaders::Changes(uint64_t after_version) const {
  std::vector<std::pair<RegionId, RegionLeaderView>> result;
  for (auto next = by_version_.upper_bound(after_version); next != by_version_.end(); ++next) {
    result.emplace_back(next->second, regions_.at(next->second));
  }
  return result;
}

}  // namespace tenure::controller
