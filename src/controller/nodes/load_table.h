// The last report of every node, in this leadership.
//
// Driven by AgentService; read by NodeMonitor, procedures, status.
// Threading:  the controller's executor.
// Invariants: T1 what is known of a node belongs to its present registration: a report of a newer one
//             replaces all.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>

#include "base/ids.h"
#include "base/time.h"
#include "planner/phi_accrual.h"
#include "tenure/internal/v1/agent.pb.h"

namespace tenure::controller {

struct NodeLoad {
  uint64_t registration_epoch = 0;
  Instant last_heard{};
  planner::ArrivalHistory arrivals;
  bool connected = false;
  bool stopping = false;
  bool full = false;  // a full report arrived
  Revision revision;  // catalog revision the node has applied
  std::map<uint64_t, ::tenure::v1::RegionLoad> regions;
  std::set<uint64_t> lost;  // regions whose replica there was dropped by a repair
  uint64_t disk_free_bytes = 0;
  int64_t fsync_p99_us = 0;
  uint64_t memory_bytes = 0;
};

class LoadTable {
 public:
  explicit LoadTable(planner::PhiOptions phi = {}) : phi_(phi) {}
  // A leadership begins: nothing is known.
  void Begin(Instant now);
  void Clear();

  void OnConnected(NodeId node, uint64_t registration_epoch, Instant now);
  void OnDisconnected(NodeId node, uint64_t registration_epoch);
  // False if a full report is needed first: nothing was taken but the sign of life.
  bool OnReport(const ::tenure::internal::v1::HeartbeatRequest& report, Instant now);
  // Silence before `now` proves nothing: the observer itself stood still.
  void ForgiveSilence(Instant now);
  // Another node got an answer from `node`.
  void OnReached(NodeId node, Instant now) { reached_[node] = now; }
  // When another node reached it last; none if none did, in this leadership.
  std::optional<Instant> ReachedAt(NodeId node) const;

  const NodeLoad* Find(NodeId node) const;
  const std::map<NodeId, NodeLoad>& all() const { return nodes_; }
  // Since the node's last heartbeat, or since this leadership (or the observer's last pause), whichever is
  // later.
  Duration SilenceOf(NodeId node, Instant now) const;
  // That silence is unusual for the node.
  bool IsSuspicious(NodeId node, Duration silence) const;
  // Regions with a leader on this node, as it reports.
  static uint32_t LeadersOf(const NodeLoad& load);

 private:
  planner::PhiOptions phi_;
  Instant observing_since_{};
  std::map<NodeId, NodeLoad> nodes_;
  std::map<NodeId, Instant> reached_;
};

}  // namespace tenure::controller
