// What the placement planner looks at, taken from the catalog, the nodes' last reports and the procedures
// under way.
//
// Threading: the controller's executor; a snapshot per call.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "catalog/catalog.h"
#include "controller/nodes/agent_service.h"
#include "planner/placement.h"

namespace tenure::controller {

planner::PlacementView ClusterView(const catalog::Catalog& catalog, const AgentService& agents);

// The procedure that changes replicas of the region now, or is going to; 0: none.
uint64_t ChangeUnderWay(const catalog::Catalog& catalog, RegionId region);
// Nodes that are kept from being disturbed because somebody is going to stop them (HoldNode).
std::set<NodeId> HeldNodes(const catalog::Catalog& catalog);
// Replicas that the catalog places on the node, those that are being made and destroyed there included.
size_t ReplicasOn(const catalog::Catalog& catalog, NodeId node);
// Names of the changefeeds whose maintainer the catalog places on the node.
std::vector<std::string> ChangefeedsOn(const catalog::Catalog& catalog, NodeId node);

}  // namespace tenure::controller
