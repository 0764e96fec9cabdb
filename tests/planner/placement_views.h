// Views for tests of the placement planner: made by hand, at random, or changed as a plan says; and what is
// measured on them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/prng.h"
#include "planner/placement.h"

namespace tenure::planner {

// Nodes 1..count, UP, each on a host of its own; spread over `zones` zones, if any.
inline PlacementView NodesView(uint32_t count, uint32_t zones = 0) {
  PlacementView view;
  for (uint32_t i = 1; i <= count; ++i) {
    PlacementNode node{.id = NodeId(i), .state = ::tenure::v1::NODE_UP, .host = "h" + std::to_string(i)};
    if (zones != 0) node.zone = "z" + std::to_string(i % zones);
    view.nodes.push_back(node);
  }
  return view;
}

struct Spread {
  uint64_t least = UINT64_MAX;
  uint64_t most = 0;
  void Add(uint64_t count) { least = std::min(least, count), most = std::max(most, count); }
  uint64_t width() const { return most - least; }
};

struct NodeCounts {
  uint64_t replicas = 0;
  uint64_t leaders = 0;
  uint64_t bytes = 0;
};

// Of one database, or of all if it is none. Every node of the view has an entry.
inline std::map<NodeId, NodeCounts> CountsOf(const PlacementView& view, DatabaseId database = {}) {
  std::map<NodeId, NodeCounts> counts;
  for (const PlacementNode& node : view.nodes) counts[node.id];
  for (const PlacementRegion& region : view.regions) {
    if (!database.IsNone() && region.database != database) continue;
    for (const PlacementReplica& replica : region.replicas) {
      ++counts[replica.node].replicas;
      counts[replica.node].bytes += region.bytes;
    }
    if (!region.leader.IsNone()) ++counts[region.leader].leaders;
  }
  return counts;
}

// Of the nodes that are UP.
inline Spread SpreadOf(const PlacementView& view, uint64_t NodeCounts::* what, DatabaseId database = {}) {
  const auto counts = CountsOf(view, database);
  Spread spread;
  for (const PlacementNode& node : view.nodes) {
    if (node.state == ::tenure::v1::NODE_UP) spread.Add(counts.at(node.id).*what);
  }
  return spread;
}

// Mean over nodes with replicas: with how many others they share a region.
inline double ScatterWidthOf(const PlacementView& view) {
  std::map<NodeId, std::set<NodeId>> partners;
  for (const PlacementRegion& region : view.regions) {
    for (const PlacementReplica& a : region.replicas) {
      for (const PlacementReplica& b : region.replicas) {
        if (a.node != b.node) partners[a.node].insert(b.node);
      }
    }
  }
  size_t sum = 0;
  for (const auto& [node, others] : partners) sum += others.size();
  return partners.empty() ? 0 : static_cast<double>(sum) / static_cast<double>(partners.size());
}

inline PlacementNode& NodeOf(PlacementView& view, uint64_t id) {
  return *std::find_if(view.nodes.begin(), view.nodes.end(),
                       [&](const PlacementNode& node) { return node.id == NodeId(id); });
}
inline PlacementRegion& RegionOf(PlacementView& view, RegionId id) {
  return *std::find_if(view.regions.begin(), view.regions.end(),
                       [&](const PlacementRegion& region) { return region.id == id; });
}

// Appends regions as planned; the first node leads.
inline void AddRegions(PlacementView& view, DatabaseId database, const CreateRegionsPlan& plan,
                       uint64_t bytes = 0) {
  uint64_t id = view.regions.size();
  for (const auto& nodes : plan.regions) {
    PlacementRegion region{
        .id = RegionId(++id), .database = database, .leader = nodes.front(), .bytes = bytes};
    for (const NodeId node : nodes) region.replicas.push_back({.node = node});
    view.regions.push_back(std::move(region));
  }
}

inline void AddRegion(PlacementView& view, uint64_t database, std::vector<uint64_t> nodes,
                      uint64_t bytes = 0) {
  CreateRegionsPlan plan;
  plan.regions.emplace_back();
  for (const uint64_t node : nodes) plan.regions.back().push_back(NodeId(node));
  AddRegions(view, DatabaseId(database), plan, bytes);
}

inline void Apply(PlacementView& view, const ReplicaMove& move) {
  PlacementRegion& region = RegionOf(view, move.region);
  for (PlacementReplica& replica : region.replicas) {
    if (replica.node == move.from) replica.node = move.to;
  }
  if (region.leader == move.from) region.leader = move.leader_to.IsNone() ? move.to : move.leader_to;
}
inline void Apply(PlacementView& view, const LeaderTransfer& transfer) {
  RegionOf(view, transfer.region).leader = transfer.to;
}

// Pairs of a region's replicas that share a host, a rack, a zone, as docs/placement.md counts them; written
// for clarity, not taken from the planner.
struct SharedDomains {
  uint32_t hosts = 0;
  uint32_t racks = 0;
  uint32_t zones = 0;
  friend auto operator<=>(const SharedDomains&, const SharedDomains&) = default;
};
inline SharedDomains SharedDomainsOf(const PlacementView& view, const std::vector<NodeId>& nodes) {
  const auto labelled = [&](std::string PlacementNode::* label) {
    return std::any_of(view.nodes.begin(), view.nodes.end(),
                       [&](const auto& node) { return node.*label != ""; });
  };
  const bool racks = labelled(&PlacementNode::rack);
  const bool zones = labelled(&PlacementNode::zone);
  std::map<NodeId, const PlacementNode*> by_id;
  for (const PlacementNode& node : view.nodes) by_id[node.id] = &node;
  SharedDomains shared;
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const PlacementNode& a = *by_id.at(nodes[i]);
      const PlacementNode& b = *by_id.at(nodes[j]);
      shared.hosts += !a.host.empty() && a.host == b.host ? 1 : 0;
      shared.racks += racks && a.zone == b.zone && a.rack == b.rack ? 1 : 0;
      shared.zones += zones && a.zone == b.zone ? 1 : 0;
    }
  }
  return shared;
}
inline std::vector<NodeId> NodesOf(const PlacementRegion& region) {
  std::vector<NodeId> nodes;
  for (const PlacementReplica& replica : region.replicas) nodes.push_back(replica.node);
  return nodes;
}

inline uint32_t Draw(Prng& prng, uint64_t low, uint64_t high) {
  return static_cast<uint32_t>(low + prng.Below(high - low + 1));
}

// Some nodes down, full, held back; labels at some levels, nested; `healthy`: all UP and with room.
PlacementView RandomNodes(Prng& prng, uint32_t nodes, bool healthy);
// Databases 1.. with regions anywhere, not where a planner would put them; leaders among the replicas.
void AddRandomRegions(Prng& prng, PlacementView& view, uint32_t databases, uint32_t regions);
// The same view in another order.
void Shuffle(Prng& prng, PlacementView& view);

// The baseline: for every replica the node with the fewest, chance among equals; each region is led by its
// replica on the node that leads fewest.
CreateRegionsPlan PlanGreedily(const PlacementView& view, uint32_t regions, uint32_t replicas, uint64_t seed);

}  // namespace tenure::planner
