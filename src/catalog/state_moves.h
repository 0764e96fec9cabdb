// Which states a node, a database and a region may move between. Staying is no move.
//
// Threading: pure functions. Reference: docs/catalog.md, whose diagrams the test compares with these tables.
#pragma once

#include <span>
#include <utility>

#include "tenure/v1/catalog.pb.h"

namespace tenure::catalog {

bool IsLegalMove(::tenure::v1::NodeState from, ::tenure::v1::NodeState to);
bool IsLegalMove(::tenure::v1::DatabaseState from, ::tenure::v1::DatabaseState to);
bool IsLegalMove(::tenure::v1::RegionState from, ::tenure::v1::RegionState to);

// A node in this state may come back and holds its addresses against others.
bool IsLive(::tenure::v1::NodeState state);

// "UP", "PRE_DELETE": the enum's name without its kind, as people read it.
std::string_view NameOf(::tenure::v1::NodeState state);
std::string_view NameOf(::tenure::v1::DatabaseState state);
std::string_view NameOf(::tenure::v1::RegionState state);

}  // namespace tenure::catalog
