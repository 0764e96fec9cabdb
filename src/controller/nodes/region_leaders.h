// Who leads which region, from what replicas report: the highest term wins. Told to nodes as changes since a
// version.
//
// Threading:  the controller's executor.
// Invariants: L1 a region's term never goes back in one leadership.
//             L2 within a term the leader is one replica; a term whose leader gave up is without leader until
//             a higher one has one.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/ids.h"
#include "tenure/v1/catalog.pb.h"
#include "tenure/v1/cluster.pb.h"

namespace tenure::controller {

struct RegionLeaderView {
  NodeId node;  // none: no leader known
  ReplicaId replica;
  Term term;
  uint64_t version = 0;  // when it last changed
};

class RegionLeaders {
 public:
  void Clear();
  // What the replica on `from` says; `record` is the region's.
  void OnReport(NodeId from, const ::tenure::v1::RegionLoad& report,
                const ::tenure::v1::RegionRecord& record);
  // The region has no record any more.
  void Forget(RegionId region);

  // Null if nothing was ever reported.
  const RegionLeaderView* Find(RegionId region) const;
  bool HasLeader(RegionId region) const;
  // Rises with every change; Changes(v) are the regions that changed after version v, in order of change.
  uint64_t version() const { return version_; }
  std::vector<std::pair<RegionId, RegionLeaderView>> Changes(uint64_t after_version) const;

 private:
  void Set(RegionId region, RegionLeaderView& view, NodeId node, ReplicaId replica, Term term);

  uint64_t version_ = 0;
  std::map<RegionId, RegionLeaderView> regions_;
  std::map<uint64_t, RegionId> by_version_;
};

}  // namespace tenure::controller
