#include "planner/database_placement.h"

#include <algorithm>
#include <deque>
#include <map>
#include <tuple>

#include "base/hash.h"
#include "catalog/refusal.h"
#include "catalog/state_moves.h"

namespace tenure::planner {
namespace {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

struct Node {
  NodeCandidate candidate;
  uint32_t replicas = 0;  // of this database
  uint32_t leaders = 0;
};

// Indices into the nodes; the first one leads.
using Members = std::vector<size_t>;

std::string HostOf(const pb::NodeRecord& node) {
  for (const pb::Label& label : node.labels()) {
    if (label.key() == "host") return label.value();
  }
  return node.address().substr(0, node.address().rfind(':'));
}

Members ChooseMembers(std::vector<Node>& nodes, size_t region, uint32_t replicas) {
  Members members;
  std::vector<bool> taken(nodes.size());
  while (members.size() < replicas) {
    const auto cost = [&](size_t i) {
      const NodeCandidate& candidate = nodes[i].candidate;
      uint32_t same_zone = 0;
      uint32_t same_host = 0;
      for (const size_t other : members) {
        same_zone += nodes[other].candidate.zone == candidate.zone ? 1 : 0;
        same_host += nodes[other].candidate.host == candidate.host ? 1 : 0;
      }
      const size_t turn = (i + nodes.size() - region % nodes.size()) % nodes.size();
      return std::tuple(same_zone, same_host, nodes[i].replicas, candidate.replicas + nodes[i].replicas,
                        turn);
    };
    size_t best = nodes.size();
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (!taken[i] && (best == nodes.size() || cost(i) < cost(best))) best = i;
    }
    taken[best] = true;
    ++nodes[best].replicas;
    members.push_back(best);
  }
  return members;
}

void Lead(std::vector<Node>& nodes, Members& members) {
  const auto best = std::min_element(members.begin(), members.end(), [&](size_t a, size_t b) {
    return std::tuple(nodes[a].leaders, nodes[a].candidate.leaders) <
           std::tuple(nodes[b].leaders, nodes[b].candidate.leaders);
  });
  std::iter_swap(members.begin(), best);
  ++nodes[members.front()].leaders;
}

// Hands one leadership on along a chain of nodes that ends at one with at least two fewer; false if there is
// no chain from any node.
bool EvenOut(std::vector<Node>& nodes, std::vector<Members>& regions, size_t from) {
  std::map<size_t, size_t> reached_by;  // node -> region that is handed to it
  std::deque<size_t> queue{from};
  while (!queue.empty()) {
    const size_t at = queue.front();
    queue.pop_front();
    if (nodes[at].leaders + 1 < nodes[from].leaders) {
      for (size_t to = at; to != from;) {
        Members& members = regions[reached_by.at(to)];
        const size_t giver = members.front();
        std::iter_swap(members.begin(), std::find(members.begin(), members.end(), to));
        to = giver;
      }
      --nodes[from].leaders;
      ++nodes[at].leaders;
      return true;
    }
    for (size_t region = 0; region < regions.size(); ++region) {
      if (regions[region].front() != at) continue;
      for (const size_t to : regions[region]) {
        if (to != from && reached_by.emplace(to, region).second) queue.push_back(to);
      }
    }
  }
  return false;
}

}  // namespace

std::vector<NodeCandidate> CandidatesOf(const catalog::Catalog& catalog) {
  std::map<uint64_t, NodeCandidate> nodes;
  for (const auto& [id, record] : catalog.nodes()) {
    const pb::NodeRecord& node = record.node();
    nodes[id] = {.id = NodeId(id), .state = node.state(), .zone = node.zone(), .host = HostOf(node)};
  }
  for (const auto& [id, record] : catalog.regions()) {
    if (record.region().state() == pb::REGION_REMOVING) continue;
    for (const pb::ReplicaRecord& replica : record.region().replicas()) {
      const auto node = nodes.find(replica.node());
      if (node == nodes.end()) continue;
      ++node->second.replicas;
      if (replica.id() == record.region().preferred_leader()) ++node->second.leaders;
    }
  }
  std::vector<NodeCandidate> result;
  for (auto& [id, node] : nodes) result.push_back(std::move(node));
  return result;
}

StatusOr<ipb::CreateDatabase> PlanCreateDatabase(const DatabaseRequest& request,
                                                 std::vector<NodeCandidate> nodes) {
  if (request.regions == 0 || request.regions > kSlotCount) {
    return catalog::Refuse(pb::REASON_INVALID_ARGUMENT, "regions: {} is not in 1..{}", request.regions,
                           kSlotCount);
  }
  if (request.replicas == 0) return catalog::Refuse(pb::REASON_INVALID_ARGUMENT, "replicas: must not be 0");
  std::sort(nodes.begin(), nodes.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  std::vector<Node> usable;
  for (NodeCandidate& node : nodes) {
    if (node.state == pb::NODE_UP) usable.push_back({.candidate = std::move(node)});
  }
  if (usable.size() < request.replicas) {
    return catalog::Refuse(
        pb::REASON_NOT_ENOUGH_NODES, "database '{}' needs {} nodes that are UP for its replicas; {} of {} {}",
        request.name, request.replicas, usable.size(), nodes.size(), usable.size() == 1 ? "is" : "are");
  }

  std::vector<Members> regions;
  for (size_t i = 0; i < request.regions; ++i) regions.push_back(ChooseMembers(usable, i, request.replicas));
  for (Members& members : regions) Lead(usable, members);
  for (bool improved = true; improved;) {
    improved = false;
    for (size_t i = 0; i < usable.size(); ++i) improved = EvenOut(usable, regions, i) || improved;
  }

  ipb::CreateDatabase command;
  command.set_name(request.name);
  command.set_replicas(request.replicas);
  command.set_strict(request.strict);
  for (uint32_t i = 0; i < request.regions; ++i) {
    auto& placement = *command.add_regions();
    placement.mutable_slots()->set_first(static_cast<uint32_t>(uint64_t{i} * kSlotCount / request.regions));
    placement.mutable_slots()->set_last(
        static_cast<uint32_t>(uint64_t{i + 1} * kSlotCount / request.regions - 1));
    for (const size_t member : regions[i]) placement.add_nodes(usable[member].candidate.id.value());
  }
  return command;
}

}  // namespace tenure::planner
