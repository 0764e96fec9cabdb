// The nodes that may take a replica of one database, ordered so that the best one for a region is found
// without looking at all of them.
//
// A tree of zones, racks, hosts and nodes. The children of every vertex are kept in the order of the best
// node below them, so a choice goes down the left side and steps aside only where replicas of the region
// already are; after a choice the counts on one path change. Both cost O(log nodes), for few replicas.
//
// Order of nodes: fewest conflicts (host, rack, zone); fewest replicas of the database; the zone, then the
// rack, then the host with fewest of them per node, larger ones first; fewest replicas in all; fewest bytes,
// in steps; fewest regions shared with the nodes of the other replicas; by chance. Sharing is compared among
// the first kTies nodes that are equal up to there.
//
// Driven by the planning functions.
// Threading:  one owner.
// Lifetime:   refers to the state. Determinism: state, order of calls and generator. Invariant: C1 the counts
//             a node is ordered by are those of the state when Refresh was last called for it.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "planner/placement_state.h"

namespace tenure::planner {

// How full a failure domain is with replicas of the database.
struct DomainLoad {
  uint64_t per_node = 0;  // replicas per node that may take one, in 1/65536
  uint32_t nodes = 0;
  friend bool operator==(const DomainLoad&, const DomainLoad&) = default;
  friend std::strong_ordering operator<=>(const DomainLoad& a, const DomainLoad& b) {
    const auto load = a.per_node <=> b.per_node;
    return load != 0 ? load : b.nodes <=> a.nodes;  // the larger one has more to catch up
  }
};

// What a node is chosen by, in this order.
struct PlacementScore {
  Conflicts conflicts;
  uint32_t database_replicas = 0;
  std::array<DomainLoad, 3> domains;  // zone, rack, host
  uint32_t replicas = 0;
  uint64_t byte_steps = 0;
  uint32_t shared = 0;  // regions it shares with the nodes of the other replicas
  friend auto operator<=>(const PlacementScore&, const PlacementScore&) = default;
};

// What a replica needs of its node.
struct ReplicaDemand {
  std::span<const uint32_t> beside;    // nodes of the region's other replicas
  std::span<const uint32_t> excluded;  // nodes that must not be chosen
  uint64_t bytes = 0;
};

class CandidateTree {
 public:
  static constexpr size_t kTies = 16;

  // `fit[i]`: node i may be chosen; nodes without room for anything are left out as well.
  CandidateTree(const PlacementState& state, uint32_t database, const std::vector<bool>& fit, Prng prng);

  // kNone: no node can take it.
  uint32_t Best(const ReplicaDemand& demand);
  // The counts of the node have changed. Nodes that were never in the tree are passed over.
  void Refresh(uint32_t node);
  // Takes the node out for good.
  void Exclude(uint32_t node) {
    if (Contains(node)) Erase(leaf_of_[node]);
  }

  bool Contains(uint32_t node) const { return leaf_of_[node] != kNowhere; }
  size_t size() const { return vertices_[0].nodes; }
  // Of a node, in the tree or not.
  PlacementScore ScoreOf(uint32_t node, std::span<const uint32_t> beside) const;

 private:
  static constexpr uint32_t kNowhere = UINT32_MAX;
  static constexpr size_t kLevels = 3;  // zone, rack, host; nodes are below

  // What vertices are ordered by: the score of the best node below, with the loads of the domains at and
  // below the vertex; those above are the same for all that it is compared with.
  struct Key {
    uint32_t database_replicas = 0;
    std::array<DomainLoad, kLevels> domains;
    uint32_t replicas = 0;
    uint64_t byte_steps = 0;
    uint32_t tie = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Vertex {
    uint32_t parent = kNowhere;
    size_t level = 0;          // of its children: 0 zones ... 3 nodes; 4 for a node
    uint32_t node = kNowhere;  // of a leaf
    uint64_t replicas = 0;     // of the database, below
    uint32_t nodes = 0;        // below
    Key best;
    std::set<std::pair<Key, uint32_t>> children;
    // For the choice numbered `touched`: replicas in this domain, and not to be chosen.
    uint64_t touched = 0;
    uint32_t used = 0;
    bool blocked = false;
  };
  struct Found {
    std::optional<std::pair<Conflicts, Key>> best;  // without the tie
    std::vector<uint32_t> ties;                     // leaves
  };

  uint32_t Child(uint32_t parent, std::map<std::pair<uint32_t, uint32_t>, uint32_t>& known, uint32_t domain);
  void Insert(uint32_t leaf);
  void Erase(uint32_t leaf);
  void Reorder(uint32_t leaf);
  Vertex& Touch(uint32_t vertex);
  bool IsTouched(const Vertex& vertex) const { return vertex.touched == choice_; }
  void Mark(const ReplicaDemand& demand);
  void MarkPath(uint32_t vertex);
  static Conflicts Beside(Conflicts conflicts, const Vertex& parent, uint32_t used);
  void Collect(uint32_t vertex, Conflicts conflicts, const Key& path, const ReplicaDemand& demand,
               Found& found);

  const PlacementState& state_;
  const uint32_t database_;
  Prng prng_;
  std::vector<Vertex> vertices_;  // 0 is the root
  std::vector<uint32_t> leaf_of_;
  std::vector<uint32_t> zones_;  // domain of the state -> vertex
  std::vector<uint32_t> racks_;
  std::vector<std::vector<uint32_t>> hosts_;  // a host's name may stand in several racks
  uint64_t choice_ = 0;
};

}  // namespace tenure::planner
