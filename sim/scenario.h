// A scenario: one run written down - the shape of the cluster, its load and its faults by time - in TOML
// (docs/simulator.md). Whoever operates a cluster rehearses a failure with it; what is left of a failing seed
// after --minimize is one.
//
// Threading: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "sim/options.h"

namespace tenure::sim {

// INVALID_ARGUMENT names source, line, key and limit.
StatusOr<SimOptions> ParseScenario(std::string_view text, const std::string& source);
// Gives the same run when parsed: everything that differs from the defaults, and the plan of faults.
std::string FormatScenario(const SimOptions& options);

}  // namespace tenure::sim
