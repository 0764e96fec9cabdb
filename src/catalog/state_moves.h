// Which states a node, a database, a region, a table, a view and a changefeed may move between. Staying is no
// move.
//
// Threading:  pure functions.
// Reference:  docs/catalog.md, whose diagrams the test compares with these tables.
#pragma once

#include <span>
#include <string_view>
#include <utility>

#include "tenure/v1/catalog.pb.h"

namespace tenure::catalog {

bool IsLegalMove(::tenure::v1::NodeState from, ::tenure::v1::NodeState to);
bool IsLegalMove(::tenure::v1::DatabaseState from, ::tenure::v1::DatabaseState to);
bool IsLegalMove(::tenure::v1::RegionState from, ::tenure::v1::RegionState to);
bool IsLegalMove(::tenure::v1::TableState from, ::tenure::v1::TableState to);  // of views too

bool IsLegalMove(::tenure::v1::ChangefeedState from, ::tenure::v1::ChangefeedState to);
// A changefeed in this state runs, or is to.
bool WantsOwner(::tenure::v1::ChangefeedState state);

// A node in this state may come back and holds its addresses against others.
bool IsLive(::tenure::v1::NodeState state);

// "UP", "PRE_DELETE": the enum's name without its kind, as people read it.
std::string_view NameOf(::tenure::v1::NodeState state);
std::string_view NameOf(::tenure::v1::DatabaseState state);
std::string_view NameOf(::tenure::v1::RegionState state);
std::string_view NameOf(::tenure::v1::TableState state);
std::string_view NameOf(::tenure::v1::ChangefeedState state);

}  // namespace tenure::catalog
