#include "planner/candidate_tree.h"

#include <algorithm>

namespace tenure::planner {

CandidateTree::CandidateTree(const PlacementState& state, uint32_t database, const std::vector<bool>& fit,
                             Prng prng)
    : state_(state),
      database_(database),
      prng_(prng),
      vertices_(1),
      leaf_of_(state.nodes().size(), kNowhere) {
  uint32_t zones = 0;
  uint32_t racks = 0;
  uint32_t hosts = 0;
  for (const PlacementState::Node& node : state.nodes()) {
    zones = std::max(zones, node.zone + 1);
    racks = std::max(racks, node.rack + 1);
    hosts = std::max(hosts, node.host + 1);
  }
  zones_.assign(zones, kNowhere);
  racks_.assign(racks, kNowhere);
  hosts_.resize(hosts);
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> known;  // (parent, domain) -> vertex
  for (uint32_t i = 0; i < state.nodes().size(); ++i) {
    if (!fit[i] || !state.HasRoomFor(i, 0)) continue;
    const PlacementState::Node& node = state.nodes()[i];
    const uint32_t zone = zones_[node.zone] = Child(0, known, node.zone);
    const uint32_t rack = racks_[node.rack] = Child(zone, known, node.rack);
    const size_t before = vertices_.size();
    const uint32_t host = Child(rack, known, node.host);
    if (vertices_.size() != before) hosts_[node.host].push_back(host);
    const uint32_t leaf = Child(host, known, i);
    vertices_[leaf].node = i;
    leaf_of_[i] = leaf;
    Insert(leaf);
  }
}

uint32_t CandidateTree::Child(uint32_t parent, std::map<std::pair<uint32_t, uint32_t>, uint32_t>& known,
                              uint32_t domain) {
  const auto [found, is_new] =
      known.emplace(std::pair(parent, domain), static_cast<uint32_t>(vertices_.size()));
  if (is_new) {
    Vertex vertex;
    vertex.parent = parent;
    vertex.level = vertices_[parent].level + 1;
    vertices_.push_back(std::move(vertex));
  }
  return found->second;
}

void CandidateTree::Insert(uint32_t leaf) {
  for (uint32_t at = leaf; at != kNowhere; at = vertices_[at].parent) ++vertices_[at].nodes;
  Reorder(leaf);
}

void CandidateTree::Erase(uint32_t leaf) {
  const uint64_t replicas = vertices_[leaf].replicas;
  for (uint32_t at = leaf; at != kNowhere; at = vertices_[at].parent) {
    --vertices_[at].nodes;
    vertices_[at].replicas -= replicas;
  }
  leaf_of_[vertices_[leaf].node] = kNowhere;
  Reorder(leaf);
}

// Brings the path from a leaf to the root in order: every vertex leaves its parent's set under the key it
// stands there with, takes its new key and goes back.
void CandidateTree::Reorder(uint32_t leaf) {
  if (vertices_[leaf].nodes != 0) {
    const uint32_t node = vertices_[leaf].node;
    const uint64_t replicas = state_.ReplicasOf(node, database_);
    const uint64_t change = replicas - vertices_[leaf].replicas;
    for (uint32_t at = leaf; at != kNowhere; at = vertices_[at].parent) vertices_[at].replicas += change;
  }
  for (uint32_t at = leaf; at != 0; at = vertices_[at].parent) {
    Vertex& vertex = vertices_[at];
    auto& siblings = vertices_[vertex.parent].children;
    siblings.erase({vertex.best, at});
    if (vertex.nodes == 0) continue;
    if (at == leaf) {
      const PlacementState::Node& node = state_.nodes()[vertex.node];
      vertex.best = {.database_replicas = static_cast<uint32_t>(vertex.replicas),
                     .replicas = node.replicas,
                     .byte_steps = node.bytes / state_.byte_step(),
                     .tie = prng_.Next32()};
    } else {
      vertex.best = vertex.children.begin()->first;
      vertex.best.domains[vertex.level - 1] = {(vertex.replicas << 16) / vertex.nodes, vertex.nodes};
    }
    siblings.emplace(vertex.best, at);
  }
}

void CandidateTree::Refresh(uint32_t node) {
  const uint32_t leaf = leaf_of_[node];
  if (leaf == kNowhere) return;
  if (state_.HasRoomFor(node, 0)) {
    Reorder(leaf);
  } else {
    Erase(leaf);
  }
}

CandidateTree::Vertex& CandidateTree::Touch(uint32_t index) {
  Vertex& vertex = vertices_[index];
  if (vertex.touched != choice_) {
    vertex.touched = choice_;
    vertex.used = 0;
    vertex.blocked = false;
  }
  return vertex;
}

void CandidateTree::MarkPath(uint32_t vertex) {
  for (uint32_t at = vertex; at != kNowhere; at = vertices_[at].parent) Touch(at);
}

void CandidateTree::Mark(const ReplicaDemand& demand) {
  ++choice_;
  for (const uint32_t other : demand.beside) {
    const PlacementState::Node& node = state_.nodes()[other];
    if (zones_[node.zone] != kNowhere) Touch(zones_[node.zone]).used += state_.zones_known() ? 1 : 0;
    if (racks_[node.rack] != kNowhere) {
      MarkPath(racks_[node.rack]);
      vertices_[racks_[node.rack]].used += state_.racks_known() ? 1 : 0;
    }
    for (const uint32_t host : hosts_[node.host]) {
      MarkPath(host);
      ++vertices_[host].used;
    }
  }
  for (const auto& nodes : {demand.beside, demand.excluded}) {
    for (const uint32_t node : nodes) {
      if (leaf_of_[node] == kNowhere) continue;
      MarkPath(leaf_of_[node]);
      vertices_[leaf_of_[node]].blocked = true;
    }
  }
}

Conflicts CandidateTree::Beside(Conflicts conflicts, const Vertex& parent, uint32_t used) {
  switch (parent.level) {
    case 0:
      conflicts.zone = used;
      break;
    case 1:
      conflicts.rack = used;
      break;
    case 2:
      conflicts.host = used;
      break;
    default:
      break;
  }
  return conflicts;
}

// Looks at the children in their order. What is below an untouched child is no better than the child's key,
// and what comes after it neither: not even a touched one, which has the same conflicts above and more below.
// So the first untouched child that is worse than what was found ends the search.
void CandidateTree::Collect(uint32_t index, Conflicts conflicts, const Key& path, const ReplicaDemand& demand,
                            Found& found) {
  const Vertex& vertex = vertices_[index];
  for (const auto& [key, child_index] : vertex.children) {
    const Vertex& child = vertices_[child_index];
    const bool touched = IsTouched(child);
    Key full = key;
    for (size_t level = 0; level < std::min(vertex.level, kLevels); ++level)
      full.domains[level] = path.domains[level];
    full.tie = 0;
    const Conflicts with = Beside(conflicts, vertex, touched ? child.used : 0);
    const std::pair bound(with, full);
    if (found.best && bound > *found.best) {
      if (!touched) break;
      continue;
    }
    if (child.node == kNowhere) {
      Collect(child_index, with, full, demand, found);
    } else if (!(touched && child.blocked) && state_.HasRoomFor(child.node, demand.bytes)) {
      if (!found.best || bound < *found.best) {
        found.best = bound;
        found.ties.clear();
      }
      if (found.ties.size() < kTies) found.ties.push_back(child_index);
    }
    if (!touched && found.ties.size() == kTies && bound == *found.best) break;
  }
}

uint32_t CandidateTree::Best(const ReplicaDemand& demand) {
  Mark(demand);
  Found found;
  Collect(0, {}, {}, demand, found);
  if (found.ties.empty()) return PlacementState::kNone;
  const uint32_t best = *std::min_element(found.ties.begin(), found.ties.end(), [&](uint32_t a, uint32_t b) {
    const auto rank = [&](uint32_t leaf) {
      return std::pair(state_.SharedWith(vertices_[leaf].node, demand.beside), vertices_[leaf].best.tie);
    };
    return rank(a) < rank(b);
  });
  return vertices_[best].node;
}

PlacementScore CandidateTree::ScoreOf(uint32_t node, std::span<const uint32_t> beside) const {
  const PlacementState::Node& of = state_.nodes()[node];
  PlacementScore score{.conflicts = state_.ConflictsOf(node, beside),
                       .database_replicas = state_.ReplicasOf(node, database_),
                       .replicas = of.replicas,
                       .byte_steps = of.bytes / state_.byte_step(),
                       .shared = state_.SharedWith(node, beside)};
  uint32_t host = kNowhere;
  for (const uint32_t vertex : hosts_[of.host]) {
    if (vertices_[vertex].parent == racks_[of.rack]) host = vertex;
  }
  const std::array<uint32_t, kLevels> path{zones_[of.zone], racks_[of.rack], host};
  for (size_t level = 0; level < kLevels; ++level) {
    if (path[level] == kNowhere || vertices_[path[level]].nodes == 0) continue;
    const Vertex& vertex = vertices_[path[level]];
    score.domains[level] = {(vertex.replicas << 16) / vertex.nodes, vertex.nodes};
  }
  return score;
}

}  // namespace tenure::planner
