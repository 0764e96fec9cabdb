#include "planner/node_health.h"

namespace tenure::planner {

using namespace ::tenure::v1;

namespace {

// What the evidence says, whatever the record says now: UP, SUSPECT or DOWN; none if it says nothing yet.
std::optional<NodeState> Observed(const NodeEvidence& evidence, const NodeHealthOptions& options) {
  // It says so when it leads nothing any more, and waits to hear that it is recorded before it closes its
  // stream.
  if (evidence.stopping) return NODE_DOWN;
  if (evidence.silence >= options.down_after && !evidence.reached) return NODE_DOWN;
  if (evidence.suspicious || evidence.silence >= options.down_after) return NODE_SUSPECT;
  if (!evidence.heard) return std::nullopt;
  return evidence.connected ? NODE_UP : NODE_SUSPECT;
}

}  // namespace

std::optional<NodeState> ComputeNodeMove(const NodeEvidence& evidence, const NodeHealthOptions& options) {
  const std::optional<NodeState> observed = Observed(evidence, options);
  if (!observed || *observed == evidence.state) return std::nullopt;
  switch (evidence.state) {
    case NODE_JOINING:
      // Not UP yet, so nothing relies on it: a short silence says nothing.
      if (*observed == NODE_SUSPECT) return std::nullopt;
      return observed;
    case NODE_UP:
    case NODE_SUSPECT:
      return observed;
    case NODE_DOWN:
      if (*observed == NODE_UP) return observed;
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace tenure::planner
