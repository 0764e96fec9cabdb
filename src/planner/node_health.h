// Which state a node's record should move to, from what the leader has heard of the node.
//
// Called by controller/nodes for every node, at every event and periodically; keeps nothing.
// Threading:  pure function.
// Reference:  docs/catalog.md, "node states".
// Invariants: H1 the answer is a legal move or none.
//             H2 DRAINING, REMOVING and REMOVED are the operator's: never left from here.
//             H3 a node that was never contacted in this leadership has its silence counted from the
//             leadership's start, and no closed connection is held against it.
//             H4 a node that other nodes reach is not DOWN, however long the leader has not heard it:
//             SUSPECT.
#pragma once

#include <optional>

#include "base/time.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::planner {

struct NodeEvidence {
  ::tenure::v1::NodeState state = ::tenure::v1::NODE_STATE_UNSPECIFIED;  // the record's
  bool heard = false;       // a heartbeat of its present registration in this leadership
  bool connected = false;   // its heartbeat stream is open
  bool stopping = false;    // said itself that its process ends
  Duration silence{};       // since its last heartbeat or since this leadership began, whichever is later
  bool suspicious = false;  // such a silence is unusual for it (phi_accrual.h)
  bool reached = false;     // another node got an answer from it just now
};

struct NodeHealthOptions {
  Duration down_after = std::chrono::seconds(30);
};

// Total: every combination has an answer.
std::optional<::tenure::v1::NodeState> ComputeNodeMove(const NodeEvidence& evidence,
                                                       const NodeHealthOptions& options);

}  // namespace tenure::planner
