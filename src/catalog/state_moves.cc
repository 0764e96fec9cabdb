#include "catalog/state_moves.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace tenure::catalog {
namespace {

using namespace ::tenure::v1;

template <class State>
using Move = std::pair<State, State>;

constexpr std::array kNodeMoves = {
    Move<NodeState>{NODE_JOINING, NODE_UP},    // first heartbeat of a new node
    Move<NodeState>{NODE_JOINING, NODE_DOWN},  // registered and never heard again
    Move<NodeState>{NODE_JOINING, NODE_REMOVING},
    Move<NodeState>{NODE_UP, NODE_SUSPECT},  // silent for a while, or its connection closed
    Move<NodeState>{NODE_UP, NODE_DOWN},     // said that it stops
    Move<NodeState>{NODE_UP, NODE_DRAINING},
    Move<NodeState>{NODE_SUSPECT, NODE_UP},    // heard again
    Move<NodeState>{NODE_SUSPECT, NODE_DOWN},  // silent for long
    Move<NodeState>{NODE_SUSPECT, NODE_DRAINING},
    Move<NodeState>{NODE_DOWN, NODE_UP},  // heard again
    Move<NodeState>{NODE_DOWN, NODE_REMOVING},
    Move<NodeState>{NODE_DRAINING, NODE_UP},        // resumed by the operator
    Move<NodeState>{NODE_DRAINING, NODE_REMOVING},  // drained
    Move<NodeState>{NODE_REMOVING, NODE_REMOVED},   // nothing of it is left
};
constexpr std::array kDatabaseMoves = {
    Move<DatabaseState>{DATABASE_CREATING, DATABASE_PUBLIC},      // every region serves
    Move<DatabaseState>{DATABASE_CREATING, DATABASE_PRE_DELETE},  // dropped before it was ready
    Move<DatabaseState>{DATABASE_PUBLIC, DATABASE_PRE_DELETE},    // dropped
};
constexpr std::array kRegionMoves = {
    Move<RegionState>{REGION_CREATING, REGION_SERVING},   // its leader reported
    Move<RegionState>{REGION_CREATING, REGION_REMOVING},  // dropped with its database
    Move<RegionState>{REGION_SERVING, REGION_DEGRADED},  Move<RegionState>{REGION_SERVING, REGION_REMOVING},
    Move<RegionState>{REGION_DEGRADED, REGION_SERVING},  Move<RegionState>{REGION_DEGRADED, REGION_REMOVING},
};

constexpr std::array kTableMoves = {
    Move<TableState>{TABLE_CREATING, TABLE_PUBLIC},    // every node knows of it
    Move<TableState>{TABLE_PUBLIC, TABLE_ALTERING},    // a change was asked for
    Move<TableState>{TABLE_ALTERING, TABLE_PUBLIC},    // every node knows both shapes; or it was rolled back
    Move<TableState>{TABLE_PUBLIC, TABLE_PRE_DELETE},  // a drop was asked for
    Move<TableState>{TABLE_PRE_DELETE, TABLE_PUBLIC},  // rolled back, before data were deleted
};

constexpr std::array kChangefeedMoves = {
    Move<ChangefeedState>{CHANGEFEED_NORMAL, CHANGEFEED_WARNING},  // an error, or the checkpoint stands still
    Move<ChangefeedState>{CHANGEFEED_WARNING, CHANGEFEED_NORMAL},  // progress
    Move<ChangefeedState>{CHANGEFEED_NORMAL, CHANGEFEED_PAUSED},   // by the operator
    Move<ChangefeedState>{CHANGEFEED_WARNING, CHANGEFEED_PAUSED},  // by the operator
    Move<ChangefeedState>{CHANGEFEED_FAILED, CHANGEFEED_PAUSED},   // by the operator
    Move<ChangefeedState>{CHANGEFEED_NORMAL, CHANGEFEED_FAILED},   // an error that cannot heal
    Move<ChangefeedState>{CHANGEFEED_WARNING, CHANGEFEED_FAILED},  // no progress for too long
    Move<ChangefeedState>{CHANGEFEED_PAUSED, CHANGEFEED_FAILED},   // its history is not kept any more
    Move<ChangefeedState>{CHANGEFEED_PAUSED, CHANGEFEED_NORMAL},   // resumed
    Move<ChangefeedState>{CHANGEFEED_FAILED, CHANGEFEED_NORMAL},   // resumed
    Move<ChangefeedState>{CHANGEFEED_NORMAL, CHANGEFEED_FINISHED},  // the target timestamp is reached
    Move<ChangefeedState>{CHANGEFEED_WARNING, CHANGEFEED_FINISHED},
    Move<ChangefeedState>{CHANGEFEED_NORMAL, CHANGEFEED_REMOVING},
    Move<ChangefeedState>{CHANGEFEED_WARNING, CHANGEFEED_REMOVING},
    Move<ChangefeedState>{CHANGEFEED_PAUSED, CHANGEFEED_REMOVING},
    Move<ChangefeedState>{CHANGEFEED_FAILED, CHANGEFEED_REMOVING},
    Move<ChangefeedState>{CHANGEFEED_FINISHED, CHANGEFEED_REMOVING},
};

template <class Moves, class State>
bool Contains(const Moves& moves, State from, State to) {
  return std::find(moves.begin(), moves.end(), Move<State>{from, to}) != moves.end();
}

template <class State>
std::string_view Strip(const std::string& name, std::string_view prefix, State) {
  // Names of protobuf enums live as long as the program.
  if (name.empty()) return "UNKNOWN";
  return std::string_view(name).substr(name.starts_with(prefix) ? prefix.size() : 0);
}

}  // namespace

bool IsLegalMove(NodeState from, NodeState to) {
  return Contains(kNodeMoves, from, to);
}
bool IsLegalMove(DatabaseState from, DatabaseState to) {
  return Contains(kDatabaseMoves, from, to);
}
bool IsLegalMove(RegionState from, RegionState to) {
  return Contains(kRegionMoves, from, to);
}

bool IsLegalMove(TableState from, TableState to) {
  return Contains(kTableMoves, from, to);
}

bool IsLegalMove(ChangefeedState from, ChangefeedState to) {
  return Contains(kChangefeedMoves, from, to);
}
bool WantsOwner(ChangefeedState state) {
  return state == CHANGEFEED_NORMAL || state == CHANGEFEED_WARNING;
}

bool IsLive(NodeState state) {
  return state != NODE_DOWN && state != NODE_REMOVING && state != NODE_REMOVED;
}

std::string_view NameOf(NodeState state) {
  return Strip(NodeState_Name(state), "NODE_", state);
}
std::string_view NameOf(DatabaseState state) {
  return Strip(DatabaseState_Name(state), "DATABASE_", state);
}
std::string_view NameOf(RegionState state) {
  return Strip(RegionState_Name(state), "REGION_", state);
}
std::string_view NameOf(TableState state) {
  return Strip(TableState_Name(state), "TABLE_", state);
}
std::string_view NameOf(ChangefeedState state) {
  return Strip(ChangefeedState_Name(state), "CHANGEFEED_", state);
}

}  // namespace tenure::catalog
