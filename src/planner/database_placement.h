// Where the replicas of a new database's regions go, and which of them lead at first.
//
// Called by controller/api when a database is created; looks at inputs only, keeps nothing. Order of wishes:
// nodes UP; replicas of a region in different zones, then on different hosts; even counts of this database's
// replicas per node, then of all replicas; even leaders of this database, then of all.
//
// Threading:  pure functions.   Determinism: no chance; ties go round the nodes in order of their ids.
// Invariants: P1 a region's replicas are on distinct nodes. P2 without zones and hosts to prefer, two nodes'
//             counts of the database's replicas differ by at most one. P3 leaders are as even as the
//             placement of the replicas allows: no chain of single hand-overs improves them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "catalog/catalog.h"

namespace tenure::planner {

struct NodeCandidate {
  NodeId id;
  ::tenure::v1::NodeState state = ::tenure::v1::NODE_STATE_UNSPECIFIED;
  std::string zone;
  std::string host;
  uint32_t replicas = 0;  // that it already has, of all databases
  uint32_t leaders = 0;   // that prefer it
};

struct DatabaseRequest {
  std::string name;
  uint32_t regions = 8;
  uint32_t replicas = 3;
  bool strict = false;
};

// Nodes and their load as the catalog's regions have it. The host is the label "host", else that of the
// address.
std::vector<NodeCandidate> CandidatesOf(const catalog::Catalog& catalog);

// A complete command. NOT_ENOUGH_NODES if fewer nodes are UP than a region has replicas, saying how many
// there are.
StatusOr<::tenure::internal::v1::CreateDatabase> PlanCreateDatabase(const DatabaseRequest& request,
                                                                    std::vector<NodeCandidate> nodes);

}  // namespace tenure::planner
