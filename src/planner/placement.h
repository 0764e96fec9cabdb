// Where replicas and leaderships go. One family of functions from a view and a request to a plan with its
// reasons.
//
// Called by the leader's services, which act on the plan; keeps nothing.
//
// Threading: pure functions.  Lifetime: the view must outlive the call.
// Determinism: the same view, request and seed give the same plan, whatever the order in the view.
// Errors:      NOT_ENOUGH_NODES when nodes are lacking, naming how many there are, how many are needed and
// why
//              each other one is none; NOT_FOUND, INVALID_ARGUMENT for what the request names.
// Invariants:  P1 a region's replicas are on distinct nodes, and new ones on candidates only: UP, not held
//                 back, with every required label, with room.
//              P2 replicas share no host, else no rack, else no zone, as far as candidates allow; the answer
//                 says what was given up.
//              P3 among candidates that are equal but for their load, counts of a database's replicas made by
//                 creation differ by at most one, and no chain of hand-overs improves its leaders.
#pragma once

#include <cstdint>
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

}  // namespace tenure::planner
