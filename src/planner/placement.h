// Where replicas and leaderships go: for new regions, for one replica more or less, off a node that is being
// drained, and from full nodes to empty ones. One family of functions from a view and a request to a plan
// with its reasons.
//
// Called by the leader's services (creation, repair, drain, balancing, explanations, dry runs), which act on
// the plan; keeps nothing.
//
// Threading:  pure functions.
// Lifetime:   the view must outlive the call.
// Reference:  docs/placement.md. Determinism: the same view, request and seed give the same plan, whatever
//             the order in the view.
// Errors:     NOT_ENOUGH_NODES: how many nodes there are, how many are needed, why each other one is none;
//             NOT_FOUND, INVALID_ARGUMENT for what the request names.
// Invariants: P1 a region's replicas are on distinct nodes, and new ones on candidates only: UP, not held
//             back, with every required label, with room.
//             P2 replicas share no host, else no rack, else no zone, as far as candidates allow; the answer
//             says what was given up.
//             P3 among candidates that are equal but for their load, counts of a database's replicas made by
//             creation differ by at most one, and no chain of hand-overs improves its leaders.
//             P4 a rebalancing plan never worsens P2, unless to take a replica to where it has the required
//             labels. It strictly lowers (conflicts, squares of counts per database, squares of counts in
//             all, squares of bytes), or leaves them and lowers the same of leaders: so there is an end.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "planner/placement_explanation.h"
#include "planner/placement_view.h"

namespace tenure::planner {

// ---- new regions ----

struct CreateRegionsRequest {
  std::string database;  // for messages
  uint32_t regions = 0;
  uint32_t replicas = 0;
  DatabaseConstraints constraints;
  uint64_t seed = 0;
  ExplanationLimits explain;
};

struct CreateRegionsPlan {
  std::vector<std::vector<NodeId>> regions;  // nodes of each; the first one leads
  std::vector<GivenUp> given_up;
  std::vector<Explanation> explanations;
};

// Regions of a database that the view does not have.
StatusOr<CreateRegionsPlan> PlanCreateRegions(const PlacementView& view, const CreateRegionsRequest& request);

// ---- one replica ----

struct AddReplicaRequest {
  RegionId region;
  std::vector<NodeId> excluded;
  NodeId replaces;  // a replica that will go: it does not count when others are kept apart. None: one more
  uint64_t seed = 0;
  ExplanationLimits explain;
};

struct AddReplicaPlan {
  NodeId node;
  std::vector<GivenUp> given_up;
  Explanation explanation;
};

StatusOr<AddReplicaPlan> PlanAddReplica(const PlacementView& view, const AddReplicaRequest& request);

// A replica that a region should have: one more, or one instead of the one on `replaces`, which will go.
struct WantedReplica {
  RegionId region;
  NodeId replaces;
};

struct RepairRequest {
  std::vector<WantedReplica> wanted;    // in the order in which they are looked at, each region once
  size_t max_repairs = 16;              // of this plan
  uint32_t max_incoming = 4;            // per node, those of `incoming` included
  std::map<NodeId, uint32_t> incoming;  // replicas that are being made there now
  uint64_t seed = 0;
  size_t max_explained = 16;  // stuck ones whose reasons name the nodes
};

struct PlannedReplica {
  RegionId region;
  NodeId replaces;
  NodeId node;
};

struct StuckRegion {
  RegionId region;
  std::string why;
};

struct RepairPlan {
  std::vector<PlannedReplica> repairs;
  std::vector<RegionId> queued;    // not now: a limit of the plan, or of every node that could take it
  std::vector<StuckRegion> stuck;  // no node can take it
};

// What PlanAddReplica would choose for each, one on top of the other and within limits. The work is that of
// one plan, however many are wanted.
RepairPlan PlanRepairs(const PlacementView& view, const RepairRequest& request);

struct RemoveReplicaRequest {
  RegionId region;
  uint64_t seed = 0;
  ExplanationLimits explain;
};

struct RemoveReplicaPlan {
  NodeId node;
  NodeId leader_to;         // if the node leads: who should before; none: it does not lead, or nobody can
  Explanation explanation;  // chosen: the node that gives up; rejected: those that keep theirs, and why
};

// Which one to give up: on a node that is lost, a learner, one that does not belong where it is, then by what
// remains: best spread, then even. Never one without which the voters that are up lose their majority: if
// there is a majority, a lost one or any of the living ones can go. INVALID_ARGUMENT for the last replica.
StatusOr<RemoveReplicaPlan> PlanRemoveReplica(const PlacementView& view, const RemoveReplicaRequest& request);

struct ExplainRegionRequest {
  RegionId region;
  ExplanationLimits explain;
};

// Why the region's replicas are where they are, as things stand: each against all other nodes; the ones that
// would win today are marked NOT_LOST. One explanation per replica, `explain.decisions` of them at most.
StatusOr<std::vector<Explanation>> ExplainRegion(const PlacementView& view,
                                                 const ExplainRegionRequest& request);

// ---- moves ----

struct ReplicaMove {
  RegionId region;
  NodeId from;
  NodeId to;
  NodeId leader_to;  // if `from` leads: to whom first; none: it does not lead, or nobody else can
  std::string why;
};

struct LeaderTransfer {
  RegionId region;
  NodeId from;
  NodeId to;
  std::string why;
};

struct DrainRequest {
  NodeId node;
  uint64_t seed = 0;
  ExplanationLimits explain;
};

struct DrainPlan {
  std::vector<LeaderTransfer> transfers;   // first these: they need no copy
  std::vector<ReplicaMove> moves;          // of every replica of the node, those that are not stuck
  std::vector<StuckRegion> stuck;          // replicas that no node can take
  std::vector<StuckRegion> stuck_leaders;  // leaderships that no other voter can take before the move
  std::vector<GivenUp> given_up;
  std::vector<Explanation> explanations;
};

// The node itself is no candidate, whatever its state.
StatusOr<DrainPlan> PlanDrain(const PlacementView& view, const DrainRequest& request);

// The difference between two nodes that is left alone: the larger of the two.
struct Slack {
  uint64_t absolute = 1;  // at least 1
  uint32_t percent = 5;   // of the mean
};

struct RunningMove {
  RegionId region;
  NodeId from;  // none: a replica is added
  NodeId to;
};

struct RebalanceRequest {
  size_t max_moves = 8;  // those of `running` included
  size_t max_transfers = 32;
  // Per node, those of `running` included.
  uint32_t max_incoming = 2;
  uint32_t max_outgoing = 2;
  uint32_t max_transfers_per_node = 8;  // given or taken
  Slack replicas;                       // per database
  Slack total_replicas;
  Slack bytes{.absolute = uint64_t{1} << 30, .percent = 20};
  Slack leaders;
  Slack total_leaders;
  std::vector<RunningMove> running;    // counted as done
  std::vector<RegionId> cooling;       // moved or failed a short while ago: left alone
  std::vector<RegionId> under_repair;  // any: nothing is moved
  uint64_t seed = 0;
  ExplanationLimits explain;
};

struct RebalancePlan {
  std::vector<ReplicaMove> moves;
  std::vector<LeaderTransfer> transfers;
  std::string paused;                     // why nothing is looked at; empty: it was
  bool limited = false;                   // a limit stopped the search for moves: there may be more
  std::vector<Explanation> explanations;  // of moves
};

// The next steps towards even, each region at most once. No move and no transfer, and not limited: at rest.
// INVALID_ARGUMENT: a slack of 0.
StatusOr<RebalancePlan> PlanRebalance(const PlacementView& view, const RebalanceRequest& request);

}  // namespace tenure::planner
