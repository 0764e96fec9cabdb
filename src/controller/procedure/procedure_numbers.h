// What /metrics tells of procedures. Values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "base/time.h"

namespace tenure::controller {

struct ProcedureNumbers {
  struct Durations {
    uint64_t count = 0;
    Duration sum{};
  };
  // In the catalog now, those that have ended and are still listed too: (type, state).
  std::map<std::pair<std::string, std::string>, size_t> records;
  // Ended by this controller since it was started: (type, state, cause).
  std::map<std::tuple<std::string, std::string, std::string>, uint64_t> ended;
  // Steps that ended likewise: (type, step).
  std::map<std::pair<std::string, std::string>, Durations> steps;
  size_t isolated = 0;         // that this program cannot run
  size_t tasks_under_way = 0;  // at nodes, without a result yet
  size_t repairs_running = 0;  // lost or missing replicas that are being made anew
  size_t repairs_stuck = 0;    // that cannot be
  size_t repairs_queued = 0;   // that wait for others to end
};

}  // namespace tenure::controller
