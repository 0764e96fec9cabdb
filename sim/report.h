// What is printed of runs: one seed's failure with all that is needed to see it again, and the sum of many.
//
// Threading: one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "sim/run.h"

namespace tenure::sim {

struct Totals {
  uint64_t passed = 0;
  uint64_t failed = 0;
  uint64_t runs = 0;     // a seed is run twice
  Duration simulated{};  // of all runs
  uint64_t events = 0;   // of all runs
  RunResult sum;         // of the first run of each seed

  void Add(const RunResult& result);
};

// Wall and processor time are the caller's. The line beginning with "totals:" is for scripts/run_sim.py.
std::string FormatTotals(const Totals& totals, double wall_s, double core_s);
// One line, and if it failed options, what was violated and the last lines.
std::string FormatResult(const SimOptions& options, const RunResult& result,
                         const std::deque<std::string>& last_lines, const std::string& replay);

}  // namespace tenure::sim
