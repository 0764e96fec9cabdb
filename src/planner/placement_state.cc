#include "planner/placement_state.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/format.h"

namespace tenure::planner {
namespace {

// Position of `id` in a vector that is sorted by what `id_of` gives; kNone if it is not there.
template <class Vector, class Id, class IdOf>
uint32_t FindSorted(const Vector& sorted, size_t size, Id id, IdOf id_of) {
  const auto end = sorted.begin() + static_cast<std::ptrdiff_t>(size);
  const auto found = std::lower_bound(
      sorted.begin(), end, id, [&](const auto& element, Id wanted) { return id_of(element) < wanted; });
  if (found == end || id_of(*found) != id) return PlacementState::kNone;
  return static_cast<uint32_t>(found - sorted.begin());
}

void Decrease(std::map<uint32_t, uint32_t>& counts, uint32_t key) {
  const auto found = counts.find(key);
  TENURE_CHECK(found != counts.end(), "S2: database {} has no count", key);
  if (--found->second == 0) counts.erase(found);
}

constexpr uint64_t kSmallestByteStep = uint64_t{64} << 20;

}  // namespace

PlacementState::PlacementState(const PlacementView& view) : view_(view) {
  for (const PlacementNode& node : view.nodes) nodes_.push_back({.node = &node});
  for (const PlacementDatabase& database : view.databases) databases_.push_back(&database);
  SortByIds();
  // What regions name and the view does not have.
  std::set<NodeId> nodes;
  std::set<DatabaseId> databases;
  for (const PlacementRegion& region : view.regions) {
    if (FindDatabase(region.database) == kNone) databases.insert(region.database);
    for (const PlacementReplica& replica : region.replicas) {
      if (FindNode(replica.node) == kNone) nodes.insert(replica.node);
    }
  }
  for (const NodeId id : nodes) {
    invented_.push_back({.id = id, .state = ::tenure::v1::NODE_REMOVED});
    nodes_.push_back({.node = &invented_.back()});
  }
  for (const DatabaseId id : databases)
    databases_.push_back(&invented_databases_.emplace_back(PlacementDatabase{.id = id}));
  SortByIds();
  NumberDomains();
  if (nodes_.size() <= kMaxSharingNodes) shared_.resize(nodes_.size() * nodes_.size());

  std::vector<const PlacementRegion*> sorted;
  sorted.reserve(view.regions.size());
  for (const PlacementRegion& region : view.regions) sorted.push_back(&region);
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->id < b->id; });
  regions_.reserve(sorted.size());
  uint64_t bytes = 0;
  for (const PlacementRegion* from : sorted) {
    const auto index = static_cast<uint32_t>(regions_.size());
    regions_.push_back({.id = from->id,
                        .database = FindDatabase(from->database),
                        .bytes = from->bytes,
                        .changing = from->changing});
    for (const PlacementReplica& replica : from->replicas) {
      const uint32_t node = FindNode(replica.node);
      if (IsMember(index, node)) continue;
      regions_.back().members.push_back({node, replica.learner});
      AddToCounts(index, node, false);
      bytes += from->bytes;
      if (replica.node == from->leader && !replica.learner) SetLeader(index, node);
    }
  }
  view_regions_ = regions_.size();
  byte_step_ = std::max(kSmallestByteStep, bytes / std::max<uint64_t>(1, nodes_.size()) / 8);
}

void PlacementState::SortByIds() {
  std::sort(nodes_.begin(), nodes_.end(),
            [](const Node& a, const Node& b) { return a.node->id < b.node->id; });
  std::sort(databases_.begin(), databases_.end(), [](const auto* a, const auto* b) { return a->id < b->id; });
}

void PlacementState::NumberDomains() {
  for (const Node& node : nodes_) {
    racks_known_ = racks_known_ || !node.node->rack.empty();
    zones_known_ = zones_known_ || !node.node->zone.empty();
  }
  std::map<std::string, uint32_t> zones;
  std::map<std::pair<uint32_t, std::string>, uint32_t> racks;  // a rack's name means something in its zone
  std::map<std::pair<uint64_t, std::string>, uint32_t> hosts;  // a nameless one is its node's own
  const auto number = [](auto& map, auto key) {
    return map.emplace(std::move(key), static_cast<uint32_t>(map.size())).first->second;
  };
  for (Node& node : nodes_) {
    const PlacementNode& from = *node.node;
    node.zone = number(zones, from.zone);
    node.rack = number(racks, std::pair(node.zone, from.rack));
    node.host = number(hosts, std::pair(from.host.empty() ? from.id.value() : 0, from.host));
  }
}

uint32_t PlacementState::FindRegion(RegionId id) const {
  return FindSorted(regions_, view_regions_, id, [](const Region& region) { return region.id; });
}

uint32_t PlacementState::FindNode(NodeId id) const {
  return FindSorted(nodes_, nodes_.size(), id, [](const Node& node) { return node.node->id; });
}

uint32_t PlacementState::FindDatabase(DatabaseId id) const {
  return FindSorted(databases_, databases_.size(), id, [](const auto* database) { return database->id; });
}

uint32_t PlacementState::ReplicasOf(uint32_t node, uint32_t database) const {
  const auto found = nodes_[node].replicas_of.find(database);
  return found == nodes_[node].replicas_of.end() ? 0 : found->second;
}

uint32_t PlacementState::LeadersOf(uint32_t node, uint32_t database) const {
  const auto found = nodes_[node].leaders_of.find(database);
  return found == nodes_[node].leaders_of.end() ? 0 : found->second;
}

Conflicts PlacementState::ConflictsOf(uint32_t node, std::span<const uint32_t> others) const {
  Conflicts conflicts;
  for (const uint32_t other : others) {
    if (other == node) continue;
    conflicts.host += nodes_[other].host == nodes_[node].host ? 1 : 0;
    conflicts.rack += racks_known_ && nodes_[other].rack == nodes_[node].rack ? 1 : 0;
    conflicts.zone += zones_known_ && nodes_[other].zone == nodes_[node].zone ? 1 : 0;
  }
  return conflicts;
}

Conflicts PlacementState::ConflictsOf(std::span<const uint32_t> members) const {
  Conflicts sum;
  for (size_t i = 0; i < members.size(); ++i) {
    const Conflicts one = ConflictsOf(members[i], members.first(i));
    sum.host += one.host;
    sum.rack += one.rack;
    sum.zone += one.zone;
  }
  return sum;
}

uint32_t PlacementState::SharedWith(uint32_t node, std::span<const uint32_t> others) const {
  if (shared_.empty()) return 0;
  uint32_t sum = 0;
  for (const uint32_t other : others) {
    if (other != node) sum += shared_[node * nodes_.size() + other];
  }
  return sum;
}

uint64_t PlacementState::FreeLimit(const PlacementNode& node) const {
  return std::max(view_.space.min_free_bytes, node.capacity_bytes / 100 * view_.space.min_free_percent);
}

bool PlacementState::HasRoomFor(uint32_t index, uint64_t bytes) const {
  const Node& node = nodes_[index];
  if (node.node->max_replicas != 0 && node.replicas >= node.node->max_replicas) return false;
  return !node.node->free_bytes || *node.node->free_bytes >= FreeLimit(*node.node) + node.incoming + bytes;
}

std::string PlacementState::NoRoomFor(uint32_t index, uint64_t bytes) const {
  if (HasRoomFor(index, bytes)) return "";
  const Node& node = nodes_[index];
  if (node.node->max_replicas != 0 && node.replicas >= node.node->max_replicas)
    return fmt::format("has {} replicas, its limit is {}", node.replicas, node.node->max_replicas);
  return fmt::format("full: {} bytes free, {} are needed beside the {} that stay free",
                     *node.node->free_bytes, node.incoming + bytes, FreeLimit(*node.node));
}

uint32_t PlacementState::AddRegion(uint32_t database) {
  regions_.push_back({.database = database});
  return static_cast<uint32_t>(regions_.size() - 1);
}

uint32_t PlacementState::AddDatabase(const PlacementDatabase& database) {
  databases_.push_back(&database);
  return database_count() - 1;
}

void PlacementState::CountSharing(uint32_t region, uint32_t node, int by) {
  if (shared_.empty()) return;
  for (const Member& other : regions_[region].members) {
    if (other.node == node) continue;
    for (const size_t at : {node * nodes_.size() + other.node, other.node * nodes_.size() + node}) {
      const int count = shared_[at] + by;
      shared_[at] = static_cast<uint16_t>(std::clamp<int>(count, 0, std::numeric_limits<uint16_t>::max()));
    }
  }
}

void PlacementState::AddToCounts(uint32_t region, uint32_t index, bool planned) {
  Node& node = nodes_[index];
  ++node.replicas;
  ++node.replicas_of[regions_[region].database];
  node.bytes += regions_[region].bytes;
  if (planned) node.incoming += regions_[region].bytes;
  node.regions.push_back(region);
  CountSharing(region, index, 1);
}

void PlacementState::AddMember(uint32_t region, uint32_t node) {
  TENURE_CHECK(!IsMember(region, node), "S1: region {} has a replica on node {} already", regions_[region].id,
               IdOf(node));
  regions_[region].members.push_back({node, false});
  AddToCounts(region, node, true);
}

void PlacementState::RemoveMember(uint32_t region, uint32_t index) {
  TENURE_CHECK(IsMember(region, index), "S2: region {} has no replica on node {}", regions_[region].id,
               IdOf(index));
  if (regions_[region].leader == index) SetLeader(region, kNone);
  Node& node = nodes_[index];
  CountSharing(region, index, -1);
  --node.replicas;
  Decrease(node.replicas_of, regions_[region].database);
  node.bytes -= regions_[region].bytes;
  std::erase(node.regions, region);
  std::erase_if(regions_[region].members, [&](const Member& member) { return member.node == index; });
}

void PlacementState::SetLeader(uint32_t region, uint32_t node) {
  Region& of = regions_[region];
  if (of.leader != kNone) {
    --nodes_[of.leader].leaders;
    Decrease(nodes_[of.leader].leaders_of, of.database);
  }
  of.leader = node;
  if (node == kNone) return;
  ++nodes_[node].leaders;
  ++nodes_[node].leaders_of[of.database];
}

bool PlacementState::IsMember(uint32_t region, uint32_t node) const {
  const auto& members = regions_[region].members;
  return std::any_of(members.begin(), members.end(), [&](const Member& m) { return m.node == node; });
}

std::vector<uint32_t> PlacementState::NodesOf(uint32_t region) const {
  return OthersOf(region, kNone);
}

std::vector<uint32_t> PlacementState::OthersOf(uint32_t region, uint32_t node) const {
  std::vector<uint32_t> others;
  others.reserve(regions_[region].members.size());
  for (const Member& member : regions_[region].members) {
    if (member.node != node) others.push_back(member.node);
  }
  return others;
}

}  // namespace tenure::planner
