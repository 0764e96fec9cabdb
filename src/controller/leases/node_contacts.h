// What the nodes' heartbeats prove in this leadership: what each serves from, since when it cannot have been
// granted a lease, whether it said that it is fenced. Kept apart from load samples: nothing but an answered
// heartbeat touches a contact time, and all of it dies with the epoch.
//
// Driven by AgentService; read by BarrierService, BoundKeeper, RemoveNode and status.
// Threading:  the controller's executor.
// Invariants: C1 silence is counted from the last grant of this epoch, or from the epoch's beginning.
//             C2 what counts is what the newest heartbeat said under this epoch, by the time it was sent.
//             C3 "I am fenced" counts if it was said under this epoch, and no later heartbeat was granted a
//                lease; a grant ends it.
// Reference:  docs/fencing.md; docs/models/node_lease.pml.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "catalog/fencing.h"
#include "planner/barrier_verdict.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::controller {

using NodeRecords = std::map<uint64_t, ::tenure::v1::Record>;

// One heartbeat, as far as leases are concerned.
struct LeaseReport {
  NodeId node;
  uint64_t registration_epoch = 0;
  int64_t sent_at_ns = 0;  // the node's clock
  Term seen_epoch;         // the highest that the node has seen
  Revision serving;        // none: fenced
  bool given_up = false;
  uint64_t confirms = 0;  // 1 + version; 0: none
  // For status.
  int64_t lease_left_ms = 0;
  int64_t fenced_ms = 0;
  std::string fenced_reason;
};

class NodeContacts {
 public:
  // A leadership begins: nothing is known.
  void Begin(Term epoch, Instant now);
  void Clear();

  void OnReport(const LeaseReport& report);
  // The heartbeat sent at that time is answered with a grant now.
  void OnGranted(NodeId node, int64_t sent_at_ns, Instant now);

  planner::BarrierEvidence EvidenceOf(NodeId node, const ::tenure::v1::NodeRecord& record,
                                      uint32_t format_version, Instant now) const;
  // Of every node that has ever been in the catalog: `nodes` are its records.
  std::vector<planner::BarrierEvidence> Evidence(const NodeRecords& nodes, uint32_t format_version,
                                                 Instant now) const;
  // Nodes that may still go by settings other than those of `fencing`.
  std::vector<NodeId> Unconfirmed(const NodeRecords& nodes, uint32_t format_version,
                                  const catalog::Fencing& fencing, Instant now) const;
  // The newest heartbeat's; null if there was none in this leadership.
  const LeaseReport* Find(NodeId node) const;

 private:
  struct Contact {
    LeaseReport newest;
    Revision acknowledged;  // by it, under this epoch
    bool granted = false;
    Instant granted_at{};
    int64_t granted_sent_at_ns = 0;  // of the latest heartbeat that was granted a lease
    bool said_fenced = false;
  };

  Term epoch_;
  Instant since_{};
  std::map<NodeId, Contact> contacts_;
};

}  // namespace tenure::controller
