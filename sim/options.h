// What one seed simulates: the shape of the cluster, the load, and which faults happen how often. Drawn from
// the seed, so that every seed is a different swarm: some runs have no partitions, some nothing else.
//
// Threading: values.
#pragma once

#include <cstdint>
#include <string>

#include "base/prng.h"
#include "base/time.h"
#include "sim/sim_disk.h"
#include "sim/sim_network.h"

namespace tenure::sim {

struct FaultWeights {
  uint32_t crash = 0;       // one process dies; its machine keeps what its page cache held
  uint32_t power_loss = 0;  // one machine loses power: unsynced writes are lost or torn
  uint32_t total_loss = 0;  // all machines lose power at once
  uint32_t pause = 0;       // a process stands still and goes on
  uint32_t isolate = 0;     // one machine from all others
  uint32_t one_way = 0;     // one direction of one link
  uint32_t split = 0;       // a random cut through all machines, clients included
  uint32_t hang_disk = 0;   // syncs do not end for a while
  uint32_t reset = 0;       // connections between two machines break
  uint32_t transfer = 0;    // an operator moves the catalog's leadership
  uint32_t rot = 0;         // a bit of a stopped machine's log flips and the log is repaired; once a run
  uint32_t total() const {
    return crash + power_loss + total_loss + pause + isolate + one_way + split + hang_disk + reset +
           transfer + rot;
  }
};

struct SimOptions {
  uint64_t seed = 0;
  uint32_t processes = 3;  // with both roles
  uint32_t spares = 0;  // machines for controllers that the operator adds; none: membership does not change
  Duration replace_after = std::chrono::seconds(30);  // a silent voter of the catalog's group
  uint32_t regions = 2;
  uint32_t key_clients = 3;
  uint32_t entry_clients = 2;
  uint32_t registers = 4;  // of each kind
  Duration fault_phase = std::chrono::seconds(40);
  Duration mean_fault_gap = std::chrono::seconds(3);
  Duration max_fault_length = std::chrono::seconds(8);
  // After the last fault everything must serve again within this time.
  Duration convergence_limit = std::chrono::seconds(60);
  FaultWeights faults;
  // Instead of all that: so often all machines lose power at once (power_losses.h). Not drawn.
  uint32_t power_losses = 0;
  SimLinkOptions links;
  SimDiskOptions disks;
  int64_t max_drift_ppm = 0;                         // of each clock, either way
  Duration quiesce_after = std::chrono::seconds(1);  // of region groups
  // Now and then a client of the store does nothing for up to this long: groups become quiescent.
  Duration max_rest = Duration::zero();
  bool small_log =
      false;  // segments, caches and kept entries so small that trimming and snapshots happen all the time
};

SimOptions DrawOptions(uint64_t seed);
// One line, for a failure's report.
std::string Describe(const SimOptions& options);

}  // namespace tenure::sim
