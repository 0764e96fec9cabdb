// What one seed simulates: the shape of the cluster, the load, and which faults happen how often. Drawn from
// the seed, so that every seed is a different swarm: some runs have no partitions, some nothing else.
//
// Threading: values.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/prng.h"
#include "base/time.h"
#include "sim/atlas.h"
#include "sim/sim_disk.h"
#include "sim/sim_network.h"

namespace tenure::sim {

struct SimOptions {
  uint64_t seed = 0;
  uint32_t processes = 3;  // with both roles
  uint32_t spares = 0;  // machines for controllers that the operator adds; none: membership does not change
  uint32_t data_nodes = 0;                            // machines that are nodes only
  Duration replace_after = std::chrono::seconds(30);  // a silent voter of the catalog's group
  Duration down_after = std::chrono::seconds(30);     // a silent node is DOWN
  Duration repair_after = std::chrono::minutes(5);    // of being DOWN, its replicas are made elsewhere
  uint32_t regions = 2;
  uint32_t replicas = 3;  // of each. Not drawn
  uint32_t key_clients = 3;
  uint32_t entry_clients = 2;
  uint32_t registers = 4;                                // of each kind
  Duration think_time = std::chrono::milliseconds(200);  // of a client between two operations, at most
  uint32_t databases = 0;  // names under which an operator creates and drops databases
  uint32_t tables = 0;     // tables whose schemas an operator changes all the time
  // Leader services beside the product's, whose starts hang, fail and take their time (erratic_service.h).
  uint32_t erratic_services = 0;
  bool storms = false;  // an operator hands the catalog's leadership to and fro (leadership_storms.h)
  Duration fence_time = std::chrono::seconds(10);  // of a new cluster: how long leases are
  bool change_fencing = false;                     // an operator changes that, and the mode, now and then
  Duration fault_phase = std::chrono::seconds(40);
  Duration mean_fault_gap = std::chrono::seconds(3);
  Duration max_fault_length = std::chrono::seconds(8);
  // After the last fault everything must serve again within this time.
  Duration convergence_limit = std::chrono::seconds(60);
  FaultWeights faults{};
  // Instead of one that is drawn from the weights.
  std::optional<std::vector<Fault>> plan;
  // Instead of all that: so often all machines lose power at once (power_losses.h). Not drawn.
  uint32_t power_losses = 0;
  SimLinkOptions links;
  SimDiskOptions disks;
  int64_t max_drift_ppm = 0;                         // of each clock, either way
  Duration quiesce_after = std::chrono::seconds(1);  // of region groups
  // Replicas are moved for evenness. Not drawn.
  bool balance = true;
  bool placement = false;  // an operator moves replicas, drains nodes and cancels procedures all the time
  // Now and then a client of the store does nothing for up to this long: groups become quiescent.
  Duration max_rest = Duration::zero();
  // Segments, caches and kept entries so small that trimming and snapshots happen all the time.
  bool small_log = false;
  // After the last fault a disk hangs, then the groups are to sleep (docs/testing.md).
  bool more_phases = true;
  bool token = false;        // processes are let in by a token, which is being changed all the time
  uint32_t changefeeds = 0;  // that an operator creates, moves, pauses, resumes and removes
  bool slot_moves = false;   // regions are split and merged all the time
  bool recovery = false;     // in the end a majority is lost for good, recovered from, and revived
};

// A number among the options, by the name it has in scenarios and reports. Times are in the unit that the
// name ends in.
struct OptionField {
  std::string_view section;
  std::string_view key;
  int64_t min = 0;
  int64_t max = 0;  // 1 from 0 on: true or false
  int64_t (*get)(const SimOptions&) = nullptr;
  void (*set)(SimOptions&, int64_t) = nullptr;
};
std::span<const OptionField> OptionFields();

SimOptions DrawOptions(uint64_t seed);
// The plan that is given, or drawn.
std::vector<Fault> PlanOf(const SimOptions& options);
// One line, for a failure's report: what differs from the defaults.
std::string Describe(const SimOptions& options);

}  // namespace tenure::sim
