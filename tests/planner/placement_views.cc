#include "tests/planner/placement_views.h"

#include <utility>

namespace tenure::planner {

PlacementView RandomNodes(Prng& prng, uint32_t nodes, bool healthy) {
  PlacementView view = NodesView(nodes);
  const uint32_t zones = Draw(prng, 0, 4);
  const uint32_t racks = Draw(prng, 0, 3);
  const uint32_t hosts = Draw(prng, 0, 3);
  for (PlacementNode& node : view.nodes) {
    if (zones != 0) node.zone = "z" + std::to_string(prng.Below(zones));
    if (racks != 0) node.rack = "r" + std::to_string(prng.Below(racks));
    // A host stands in one rack.
    if (hosts != 0) node.host = node.zone + node.rack + "h" + std::to_string(prng.Below(hosts));
    if (healthy) continue;
    if (prng.Chance(1, 8)) node.state = ::tenure::v1::NODE_DOWN;
    if (prng.Chance(1, 12)) node.state = ::tenure::v1::NODE_DRAINING;
    if (prng.Chance(1, 12)) node.held_back = "reserved";
    if (prng.Chance(1, 8)) node.free_bytes = 1000;
    if (prng.Chance(1, 8)) node.max_replicas = Draw(prng, 1, 20);
    if (prng.Chance(1, 2)) node.labels.push_back({"disk", "ssd"});
  }
  return view;
}

void AddRandomRegions(Prng& prng, PlacementView& view, uint32_t databases, uint32_t regions) {
  for (uint32_t id = 1; id <= databases; ++id) {
    view.databases.push_back({.id = DatabaseId(id), .name = "d" + std::to_string(id)});
    view.databases.back().replicas = Draw(prng, 1, std::min<uint64_t>(4, view.nodes.size()));
  }
  for (uint32_t i = 0; i < regions; ++i) {
    const PlacementDatabase& database = view.databases[prng.Below(databases)];
    PlacementRegion region{.id = RegionId(view.regions.size() + 1),
                           .database = database.id,
                           .bytes = prng.Below(uint64_t{4} << 30)};
    while (region.replicas.size() < database.replicas) {
      const NodeId node = view.nodes[prng.Below(view.nodes.size())].id;
      const auto nodes = NodesOf(region);
      if (std::find(nodes.begin(), nodes.end(), node) == nodes.end())
        region.replicas.push_back({.node = node});
    }
    region.leader = region.replicas[prng.Below(region.replicas.size())].node;
    view.regions.push_back(std::move(region));
  }
}

namespace {

template <class T>
void ShuffleVector(Prng& prng, std::vector<T>& vector) {
  for (size_t i = vector.size(); i > 1; --i) std::swap(vector[i - 1], vector[prng.Below(i)]);
}

}  // namespace

void Shuffle(Prng& prng, PlacementView& view) {
  ShuffleVector(prng, view.nodes);
  ShuffleVector(prng, view.databases);
  ShuffleVector(prng, view.regions);
}

CreateRegionsPlan PlanGreedily(const PlacementView& view, uint32_t regions, uint32_t replicas,
                               uint64_t seed) {
  Prng prng(seed);
  std::map<NodeId, uint32_t> counts;
  std::map<NodeId, uint32_t> leaders;
  CreateRegionsPlan plan;
  for (uint32_t i = 0; i < regions; ++i) {
    std::vector<std::pair<uint64_t, NodeId>> order;
    for (const PlacementNode& node : view.nodes) {
      if (node.state == ::tenure::v1::NODE_UP)
        order.emplace_back((uint64_t{counts[node.id]} << 32) | prng.Next32(), node.id);
    }
    std::sort(order.begin(), order.end());
    std::vector<NodeId>& nodes = plan.regions.emplace_back();
    for (uint32_t k = 0; k < replicas; ++k) {
      nodes.push_back(order[k].second);
      ++counts[order[k].second];
    }
    std::iter_swap(nodes.begin(), std::min_element(nodes.begin(), nodes.end(), [&](NodeId a, NodeId b) {
                     return leaders[a] < leaders[b];
                   }));
    ++leaders[nodes.front()];
  }
  return plan;
}

}  // namespace tenure::planner
