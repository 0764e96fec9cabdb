#include "controller/placement/cluster_view.h"

#include <algorithm>
#include <utility>

#include "catalog/procedures.h"
#include "controller/procedure/types/hold_node.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;

planner::PlacementView ClusterView(const catalog::Catalog& catalog, const AgentService& agents) {
  planner::PlacementLoads loads;
  for (const auto& [node, load] : agents.load().all()) {
    planner::NodeSpace& space = loads.nodes[node];
    if (load.disk_free_bytes != 0) space.free_bytes = load.disk_free_bytes;  // 0: not measured yet
    for (const auto& [id, region] : load.regions) {
      planner::RegionObservation& observed = loads.regions[RegionId(id)];
      observed.bytes = std::max(observed.bytes, region.bytes());
    }
  }
  for (const NodeId node : HeldNodes(catalog)) loads.nodes[node].held_back = "it is going to be stopped";
  for (const auto& [id, record] : catalog.regions()) {
    const RegionLeaderView* leader = agents.region_leaders().Find(RegionId(id));
    if (leader != nullptr) loads.regions[RegionId(id)].leader = leader->node;
  }
  // Whatever changes a region has it locked.
  std::set<RegionId> changing;
  for (const auto& [id, record] : catalog.procedures()) {
    if (catalog::IsEnded(record.procedure().state())) continue;
    for (const pb::ProcedureLock& lock : record.procedure().locks()) {
      if (lock.object() == pb::LOCKED_REGION) changing.insert(RegionId(lock.id()));
    }
  }
  planner::PlacementView view = planner::ViewOf(catalog, loads);
  for (planner::PlacementRegion& region : view.regions) {
    const pb::RegionRecord& record = catalog.regions().at(region.id.value()).region();
    region.changing = region.changing || !record.joining().empty() || !record.leaving().empty() ||
                      changing.contains(region.id);
    // One that is being made takes its place on the node already.
    for (const pb::ReplicaRecord& replica : record.joining())
      region.replicas.push_back({.node = NodeId(replica.node()), .learner = true});
  }
  return view;
}

uint64_t ChangeUnderWay(const catalog::Catalog& catalog, RegionId region) {
  for (const auto& [id, record] : catalog.procedures()) {
    if (catalog::IsEnded(record.procedure().state())) continue;
    for (const pb::ProcedureLock& lock : record.procedure().locks()) {
      if (lock.object() == pb::LOCKED_REGION && RegionId(lock.id()) == region) return id;
    }
  }
  return 0;
}

std::set<NodeId> HeldNodes(const catalog::Catalog& catalog) {
  std::set<NodeId> held;
  for (const auto& [id, record] : catalog.procedures()) {
    const pb::ProcedureRecord& procedure = record.procedure();
    if (procedure.type() == HoldNode::kName && !catalog::IsEnded(procedure.state()))
      held.insert(NodeId(procedure.object()));
  }
  return held;
}

size_t ReplicasOn(const catalog::Catalog& catalog, NodeId node) {
  size_t count = 0;
  for (const auto& [id, record] : catalog.regions()) {
    const pb::RegionRecord& region = record.region();
    for (const auto* list : {&region.replicas(), &region.joining(), &region.leaving()}) {
      count += static_cast<size_t>(
          std::count_if(list->begin(), list->end(),
                        [node](const pb::ReplicaRecord& replica) { return NodeId(replica.node()) == node; }));
    }
  }
  return count;
}

std::vector<std::string> ChangefeedsOn(const catalog::Catalog& catalog, NodeId node) {
  std::vector<std::string> names;
  for (const auto& [id, record] : catalog.changefeeds()) {
    if (NodeId(record.changefeed().owner_node()) == node) names.push_back(record.changefeed().name());
  }
  return names;
}

}  // namespace tenure::controller
