// What a machine holds of regions that have no place there: a replica that runs, state in its engine,
// snapshot files.
//
// Called by checkers of cases at rest.
// Threading:  the simulation's thread; keeps nothing.
#pragma once

#include <functional>
#include <string>

#include "base/ids.h"

namespace tenure::sim {

struct Machine;

// What is still to go, for people; empty: nothing. `has_place`: the region has a replica on this machine.
// The machine's node runs.
std::string FindLeftover(const Machine& machine, const std::function<bool(GroupId)>& has_place);

}  // namespace tenure::sim
