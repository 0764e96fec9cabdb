// Which regions have lost the majority of their replicas, and which of their living replicas goes on: the one
// with the most up-to-date log (last term, then last index).
//
// Called by controller/api for one request of an operator; keeps nothing. Regions whose majority lives are
// left out: they elect a leader by themselves and lose nothing.
// Threading:  pure function.
// Reference:  docs/recovery.md, "regions".
// Invariants: Y1 a region is planned for only if every living voter has reported where its log ends, and none
//             of them has a leader.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "base/ids.h"
#include "catalog/catalog.h"
#include "tenure/v1/cluster.pb.h"

namespace tenure::planner {

// What a node reported of its replica in this leadership.
struct ReplicaReport {
  Term last_term;  // of its log
  LogIndex last_index;
  bool has_leader = false;  // leads, or knows who does
};

class ReplicaReports {
 public:
  virtual ~ReplicaReports() = default;
  // None: the node has not reported that replica.
  virtual std::optional<ReplicaReport> Find(NodeId node, RegionId region, ReplicaId replica) const = 0;
};

// `wanted`: empty for all regions. `executed` of the answer is left alone; no digest if there is no plan.
::tenure::v1::RecoverRegionsResponse PlanRegionRecovery(const catalog::Catalog& catalog,
                                                        const ReplicaReports& reports,
                                                        const std::set<uint64_t>& wanted);

}  // namespace tenure::planner
