// A view made fit for planning: dense indices instead of ids, and every count that a decision looks at kept
// up to date while a plan is being made, so that the tenth move is planned on top of the nine before it.
//
// Driven by the planning functions of placement.h, one instance for one plan. It decides nothing.
// Threading:  one owner.
// Lifetime:   refers to the view, which must outlive it. Determinism: indices follow ids, whatever the order
//             in the view.
// Limits:     kMaxSharingNodes.
// Invariants: S1 a region has at most one member on a node (a second one in the view is passed over).
//             S2 the counts of a node are those of the regions as they stand in `regions()`.
#pragma once

#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "planner/placement_view.h"

namespace tenure::planner {

// With how many of the other replicas of its region a replica shares a failure domain. Ordered as the
// constraints are: hosts weigh more than racks, racks more than zones.
struct Conflicts {
  uint32_t host = 0;
  uint32_t rack = 0;
  uint32_t zone = 0;
  friend auto operator<=>(const Conflicts&, const Conflicts&) = default;
};

class PlacementState {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  // Beyond so many nodes it is not counted which share data with which: a matrix of 32 MiB at this size.
  static constexpr size_t kMaxSharingNodes = 4096;

  struct Node {
    const PlacementNode* node = nullptr;
    // Ids of failure domains, dense; equal means shared.
    uint32_t host = 0;
    uint32_t rack = 0;
    uint32_t zone = 0;
    uint32_t replicas = 0;
    uint32_t leaders = 0;
    uint64_t bytes = 0;     // of its replicas
    uint64_t incoming = 0;  // of those, placed by this plan: not yet taken from the free space
    std::vector<uint32_t> regions;
    std::map<uint32_t, uint32_t> replicas_of;  // database -> count
    std::map<uint32_t, uint32_t> leaders_of;
  };
  struct Member {
    uint32_t node = kNone;
    bool learner = false;
  };
  struct Region {
    RegionId id;
    uint32_t database = kNone;
    std::vector<Member> members;
    uint32_t leader = kNone;
    uint64_t bytes = 0;
    bool changing = false;
  };

  explicit PlacementState(const PlacementView& view);
  PlacementState(const PlacementState&) = delete;
  PlacementState& operator=(const PlacementState&) = delete;

  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<Region>& regions() const { return regions_; }
  const PlacementDatabase& database(uint32_t index) const { return *databases_[index]; }
  uint32_t database_count() const { return static_cast<uint32_t>(databases_.size()); }
  // Of the view's regions by id; kNone if there is none.
  uint32_t FindRegion(RegionId id) const;
  uint32_t FindNode(NodeId id) const;
  uint32_t FindDatabase(DatabaseId id) const;

  NodeId IdOf(uint32_t node) const { return nodes_[node].node->id; }
  uint32_t ReplicasOf(uint32_t node, uint32_t database) const;
  uint32_t LeadersOf(uint32_t node, uint32_t database) const;
  // Some node carries such a label; where none does the level constrains nothing.
  bool racks_known() const { return racks_known_; }
  bool zones_known() const { return zones_known_; }
  // `node` against `others`; itself among them is passed over.
  Conflicts ConflictsOf(uint32_t node, std::span<const uint32_t> others) const;
  // Over all pairs of the region's members.
  Conflicts ConflictsOf(std::span<const uint32_t> members) const;
  // In how many regions `node` and one of the others both have a replica, summed over the others.
  uint32_t SharedWith(uint32_t node, std::span<const uint32_t> others) const;
  bool counts_sharing() const { return !shared_.empty(); }
  // Bytes are compared in steps, so that noise does not decide before the criteria that come after them.
  uint64_t byte_step() const { return byte_step_; }
  // Why the node has no room for another replica of so many bytes; empty: it has.
  std::string NoRoomFor(uint32_t node, uint64_t bytes) const;
  bool HasRoomFor(uint32_t node, uint64_t bytes) const;

  // A region that the view does not have; its id stays none.
  uint32_t AddRegion(uint32_t database);
  // A database that the view does not have; it must outlive the state.
  uint32_t AddDatabase(const PlacementDatabase& database);
  void AddMember(uint32_t region, uint32_t node);
  void RemoveMember(uint32_t region, uint32_t node);
  // kNone: no leader.
  void SetLeader(uint32_t region, uint32_t node);

  bool IsMember(uint32_t region, uint32_t node) const;
  std::vector<uint32_t> NodesOf(uint32_t region) const;
  // Without that node.
  std::vector<uint32_t> OthersOf(uint32_t region, uint32_t node) const;

 private:
  void SortByIds();
  void NumberDomains();
  uint64_t FreeLimit(const PlacementNode& node) const;
  void AddToCounts(uint32_t region, uint32_t node, bool planned);
  void CountSharing(uint32_t region, uint32_t node, int by);

  const PlacementView& view_;
  std::deque<PlacementNode> invented_;  // nodes that hold replicas and are not in the view: removed ones
  std::deque<PlacementDatabase> invented_databases_;
  std::vector<Node> nodes_;
  std::vector<const PlacementDatabase*> databases_;
  std::vector<Region> regions_;
  size_t view_regions_ = 0;  // the first ones, by id
  std::vector<uint16_t> shared_;
  uint64_t byte_step_ = 1;
  bool racks_known_ = false;
  bool zones_known_ = false;
};

}  // namespace tenure::planner
