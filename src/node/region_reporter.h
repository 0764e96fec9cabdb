// What heartbeats say: of this node's regions all in a full report, the changed ones in the others; how the
// process is; what probes found.
//
// Threading: one executor.
// Cost:      of a full report one look at every local replica; of the others one at those whose group had
//            something to do since the last. Size estimates are refreshed for kSizesPerReport of them.
#pragma once

#include <cstdint>
#include <map>
#include <set>

#include "group/group_host.h"
#include "kv/kv.h"
#include "node/agent.h"
#include "node/catalog_view.h"
#include "node/prober.h"
#include "node/region_reconciler.h"
#include "node/region_table.h"

namespace tenure::node {

// Of the process, for the leading controller and for people; refreshed by whoever builds the node.
struct ProcessLoad {
  uint64_t disk_free_bytes = 0;
  int64_t fsync_p99_us = 0;
  uint64_t memory_bytes = 0;
};

class RegionReporter final {
 public:
  static constexpr size_t kSizesPerReport = 32;

  RegionReporter(group::GroupHost& host, const RegionTable& table, const kv::Engine& engine,
                 const RegionReconciler& reconciler, const CatalogView& view, Prober& prober)
      : host_(host), table_(table), engine_(engine), reconciler_(reconciler), view_(view), prober_(prober) {}

  // Everything if `full`, else what changed since the last call.
  void FillReport(bool full, ipb::HeartbeatRequest& request);
  void SetLoad(const ProcessLoad& load) { load_ = load; }
  const ProcessLoad& load() const { return load_; }

 private:
  void RefreshSizes();
  void Report(uint64_t region, ipb::HeartbeatRequest& request);
  pb::RegionLoad LoadOf(const Region& region, const group::GroupStatus& status);
  void AddConfiguration(const group::GroupStatus& status, pb::RegionLoad& load);

  group::GroupHost& host_;
  const RegionTable& table_;
  const kv::Engine& engine_;
  const RegionReconciler& reconciler_;
  const CatalogView& view_;
  Prober& prober_;
  ProcessLoad load_;
  std::map<uint64_t, uint64_t> bytes_;                  // by region
  std::map<uint64_t, uint64_t> applied_configuration_;  // by region: index of the one last applied
  std::set<uint64_t> candidates_;                       // regions that may differ from what was reported
  uint64_t next_size_ = 0;                              // region whose size is refreshed next
  std::map<uint64_t, pb::RegionLoad> reported_;         // by region
};

}  // namespace tenure::node
