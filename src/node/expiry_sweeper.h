// Removes expired keys of the regions led here through their logs, so that every replica removes the same
// ones.
//
// Readers do not need it (an expired key is invisible at once); it gives space and key counts back.
// Threading: one executor.
// Bounds:    per interval it looks at sweep_regions regions; one sweep is under way per region, of at most
//            sweep_keys keys; a region with more is swept again as soon as that one is applied.
#pragma once

#include <set>

#include "group/group_host.h"
#include "node/node_options.h"
#include "node/region_table.h"
#include "runtime/executor.h"

namespace tenure::node {

class ExpirySweeper {
 public:
  ExpirySweeper(runtime::Executor& executor, group::GroupHost& host, RegionTable& table,
                const NodeOptions& options);
  void Start() { Schedule(); }
  void Stop() { timer_.Cancel(); }

 private:
  void Schedule();
  void Look();
  void Sweep(const Region& region);
  void OnSwept(RegionId id, const group::ProposeOutcome& outcome);

  runtime::Executor& executor_;
  group::GroupHost& host_;
  RegionTable& table_;
  const NodeOptions& options_;
  runtime::Timer timer_;
  uint64_t next_region_ = 0;  // id at which the next look begins
  std::set<RegionId> sweeping_;
};

}  // namespace tenure::node
