#include "planner/node_health.h"

#include <gtest/gtest.h>

#include "catalog/state_moves.h"

namespace tenure::planner {
namespace {

using namespace ::tenure::v1;
using std::chrono::milliseconds;
using std::chrono::seconds;

NodeEvidence Of(NodeState state, bool heard, bool connected, bool stopping, Duration silence) {
  return {.state = state,
          .heard = heard,
          .connected = connected,
          .stopping = stopping,
          .silence = silence,
          .suspicious = silence >= seconds(5)};
}

TEST(NodeHealth, Table) {
  struct Row {
    NodeEvidence evidence;
    std::optional<NodeState> expected;
  };
  const std::vector<Row> rows = {
      // A new node's first heartbeat.
      {Of(NODE_JOINING, true, true, false, seconds(0)), NODE_UP},
      {Of(NODE_JOINING, false, false, false, seconds(29)), std::nullopt},
      {Of(NODE_JOINING, false, false, false, seconds(30)), NODE_DOWN},
      {Of(NODE_JOINING, true, false, false, seconds(1)), std::nullopt},
      // In service.
      {Of(NODE_UP, true, true, false, milliseconds(4999)), std::nullopt},
      {Of(NODE_UP, true, true, false, seconds(5)), NODE_SUSPECT},
      {Of(NODE_UP, true, false, false, seconds(0)), NODE_SUSPECT},   // its connection closed: at once
      {Of(NODE_UP, false, false, false, seconds(4)), std::nullopt},  // H3: not heard by this leader yet
      {Of(NODE_UP, false, false, false, seconds(5)), NODE_SUSPECT},
      {Of(NODE_UP, true, false, false, seconds(30)), NODE_DOWN},
      {Of(NODE_UP, true, false, true, seconds(0)), NODE_DOWN},  // said so
      {Of(NODE_UP, true, true, true, seconds(0)), NODE_DOWN},   // and waits for its leave
      {Of(NODE_JOINING, true, true, true, seconds(0)), NODE_DOWN},
      {Of(NODE_DOWN, true, true, true, seconds(0)), std::nullopt},  // its last words change nothing
      // Back.
      {Of(NODE_SUSPECT, true, true, false, seconds(0)), NODE_UP},
      {Of(NODE_SUSPECT, false, false, false, seconds(1)), std::nullopt},
      {Of(NODE_SUSPECT, true, false, false, seconds(29)), std::nullopt},
      {Of(NODE_SUSPECT, true, false, false, seconds(30)), NODE_DOWN},
      {Of(NODE_DOWN, true, true, false, seconds(0)), NODE_UP},
      {Of(NODE_DOWN, true, false, false, seconds(0)), std::nullopt},
      {Of(NODE_DOWN, false, false, false, seconds(99)), std::nullopt},
      // Others reach it: its process lives, and so does what it holds.
      {{.state = NODE_UP, .heard = true, .silence = seconds(31), .reached = true}, NODE_SUSPECT},
      {{.state = NODE_SUSPECT, .heard = true, .silence = seconds(300), .reached = true}, std::nullopt},
      {{.state = NODE_SUSPECT, .heard = true, .stopping = true, .silence = seconds(1), .reached = true},
       NODE_DOWN},
      // How long a silence is suspicious depends on its rhythm.
      {{.state = NODE_UP, .heard = true, .connected = true, .silence = seconds(7), .suspicious = false},
       std::nullopt},
      {{.state = NODE_UP, .heard = true, .connected = true, .silence = seconds(3), .suspicious = true},
       NODE_SUSPECT},
      // The operator's states.
      {Of(NODE_DRAINING, true, true, false, seconds(0)), std::nullopt},
      {Of(NODE_DRAINING, true, false, false, seconds(60)), std::nullopt},
      {Of(NODE_REMOVED, true, true, false, seconds(0)), std::nullopt},
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(ComputeNodeMove(rows[i].evidence, {}), rows[i].expected) << "row " << i;
  }
}

// H1 over every combination.
TEST(NodeHealth, EveryAnswerIsALegalMove) {
  for (int state = 0; state <= NodeState_MAX; ++state) {
    for (int bits = 0; bits < 8; ++bits) {
      for (const Duration silence : {Duration(0), Duration(seconds(5)), Duration(seconds(30))}) {
        const auto evidence =
            Of(static_cast<NodeState>(state), (bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, silence);
        const auto move = ComputeNodeMove(evidence, {});
        if (move) EXPECT_TRUE(catalog::IsLegalMove(evidence.state, *move)) << state << " " << bits;
      }
    }
  }
}

}  // namespace
}  // namespace tenure::planner
