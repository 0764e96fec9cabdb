// One decision at a time, with its reasons: which nodes a database's replicas may be on, which of them is
// best for a replica, and why each other one is not. What the planning functions of placement.h have in
// common.
//
// Threading:  one owner.
// Lifetime:   refers to the state.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/prng.h"
#include "base/status.h"
#include "planner/candidate_tree.h"
#include "planner/placement_explanation.h"
#include "planner/placement_state.h"

namespace tenure::planner {

// The node carries every label that the database requires.
bool HasLabels(const PlacementNode& node, const DatabaseConstraints& constraints);

// It serves what it holds: UP, or about to leave in an orderly way.
bool IsAlive(const PlacementNode& node);

// It may be given replicas of the database, if it has room.
bool IsCandidate(const PlacementState& state, uint32_t database, uint32_t node);

// What a decision is about, for messages: a region, and its replica that is to be made.
std::string SubjectOf(const PlacementState& state, uint32_t region);
std::string SubjectOfAdded(const PlacementState& state, uint32_t region, NodeId replaces);

// The voter that should lead when `from` does not: in the database's preferred zone if there is one, then
// with fewest leaderships of the database, then in all. Only UP nodes that are not held back; kNone: there is
// none.
uint32_t ChooseLeader(const PlacementState& state, uint32_t region, uint32_t from);
// The nodes that it may be handed to, `from` among them if it may keep it.
std::vector<uint32_t> LeaderCandidates(const PlacementState& state, uint32_t region);

class PlacementChoice {
 public:
  // For replicas of one database. `excluded`: nodes that none may go to.
  PlacementChoice(const PlacementState& state, uint32_t database, std::vector<uint32_t> excluded, Prng prng);

  // kNone: there is no node. `excluded`: for this choice.
  uint32_t Best(std::span<const uint32_t> beside, uint64_t bytes, std::span<const uint32_t> excluded = {});
  // Takes the node out for good.
  void Exclude(uint32_t node) { tree_.Exclude(node); }
  PlacementScore ScoreOf(uint32_t node, std::span<const uint32_t> beside) const {
    return tree_.ScoreOf(node, beside);
  }
  void Refresh(uint32_t node) { tree_.Refresh(node); }
  // Nodes that can take a replica now.
  size_t size() const { return tree_.size(); }
  bool Contains(uint32_t node) const { return tree_.Contains(node); }

  // The verdict on every node but the chosen ones. Compared with the last of the chosen ones, for which
  // `beside` are the region's other replicas.
  void ExplainRejected(std::span<const uint32_t> chosen, std::span<const uint32_t> beside, uint64_t bytes,
                       size_t limit, Explanation& explanation) const;
  ChosenNode ExplainChosen(uint32_t node, std::span<const uint32_t> beside) const;
  // The levels at which a region with these replicas is not spread although labels tell nodes apart.
  std::vector<GivenUp> GivenUpBy(std::span<const uint32_t> members) const;
  // NOT_ENOUGH_NODES: what is needed, how many candidates there are, and why each other node is none.
  Status NotEnough(std::string_view what, size_t needed, std::span<const uint32_t> beside,
                   uint64_t bytes) const;
  // Why the node is no candidate; none: it is one.
  std::optional<RejectedNode> Unfit(uint32_t node, std::span<const uint32_t> beside, uint64_t bytes) const;
  // The failure domain by which it lost; none: it is spread as well as the winner.
  std::optional<RejectedNode> LostBySpread(uint32_t node, uint32_t winner,
                                           std::span<const uint32_t> beside) const;

 private:
  static std::vector<bool> FitNodes(const PlacementState& state, uint32_t database,
                                    const std::vector<uint32_t>& excluded);
  RejectedNode Lost(uint32_t node, uint32_t winner, std::span<const uint32_t> beside) const;
  std::string Neighbours(uint32_t node, std::span<const uint32_t> beside,
                         uint32_t PlacementState::Node::* domain) const;

  const PlacementState& state_;
  const uint32_t database_;
  std::vector<uint32_t> excluded_;  // sorted
  CandidateTree tree_;
  // That had a candidate at the start.
  size_t hosts_ = 0;
  size_t racks_ = 0;
  size_t zones_ = 0;
};

}  // namespace tenure::planner
