#include "planner/placement_view.h"

#include <utility>

namespace tenure::planner {

namespace pb = ::tenure::v1;

namespace {

PlacementNode NodeOf(const pb::NodeRecord& record, const PlacementLoads& loads) {
  PlacementNode node{.id = NodeId(record.id()), .state = record.state(), .zone = record.zone()};
  node.host = record.address().substr(0, record.address().rfind(':'));
  for (const pb::Label& label : record.labels()) {
    if (label.key() == "host") node.host = label.value();
    if (label.key() == "rack") node.rack = label.value();
    node.labels.push_back({label.key(), label.value()});
  }
  // A constraint may name the zone as it names any label.
  if (!node.zone.empty()) node.labels.push_back({"zone", node.zone});
  if (const auto found = loads.nodes.find(node.id); found != loads.nodes.end()) {
    node.free_bytes = found->second.free_bytes;
    node.capacity_bytes = found->second.capacity_bytes;
    node.max_replicas = found->second.max_replicas;
    node.held_back = found->second.held_back;
  }
  return node;
}

PlacementRegion RegionOf(const pb::RegionRecord& record, const PlacementLoads& loads) {
  PlacementRegion region{.id = RegionId(record.id()), .database = DatabaseId(record.database())};
  region.changing = record.state() == pb::REGION_CREATING;
  for (const pb::ReplicaRecord& replica : record.replicas()) {
    const bool learner = replica.role() == pb::REPLICA_LEARNER;
    region.changing = region.changing || learner;
    region.replicas.push_back({.node = NodeId(replica.node()), .learner = learner});
    if (replica.id() == record.preferred_leader()) region.leader = NodeId(replica.node());
  }
  if (const auto found = loads.regions.find(region.id); found != loads.regions.end()) {
    region.bytes = found->second.bytes;
    if (!found->second.leader.IsNone()) region.leader = found->second.leader;
  }
  return region;
}

}  // namespace

PlacementView ViewOf(const catalog::Catalog& catalog, const PlacementLoads& loads) {
  PlacementView view{.space = loads.space};
  view.nodes.reserve(catalog.nodes().size());
  for (const auto& [id, record] : catalog.nodes()) view.nodes.push_back(NodeOf(record.node(), loads));
  for (const auto& [id, record] : catalog.databases()) {
    PlacementDatabase database{
        .id = DatabaseId(id), .name = record.database().name(), .replicas = record.database().replicas()};
    const auto found = loads.constraints.find(database.id);
    if (found != loads.constraints.end()) database.constraints = found->second;
    view.databases.push_back(std::move(database));
  }
  view.regions.reserve(catalog.regions().size());
  for (const auto& [id, record] : catalog.regions()) {
    if (record.region().state() != pb::REGION_REMOVING)
      view.regions.push_back(RegionOf(record.region(), loads));
  }
  return view;
}

}  // namespace tenure::planner
