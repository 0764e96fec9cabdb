// tenure.internal.v1.Agent: registration of nodes and their heartbeat streams.
//
// A heartbeat is answered at once with what changed for the node since its last answer: region leaders,
// unhealthy nodes, transfers it should make, where the controllers are. Changes are also pushed, as answers
// with sequence 0, so that nodes hear of a new leader without waiting for their next heartbeat.
//
// An answer grants the node's lease, if this leader holds its own at that moment and has applied the first
// entry of its epoch, and the node is not on its way out (docs/fencing.md). What else goes on here does not
// depend on it.
//
// Threading:  the controller's executor.
// Lifetime:   streams may outlive this (the network owns their handlers).
// Invariants: A1 a stream belongs to one registration of one node; a report of any other is refused
//             (STALE_EPOCH) and the node registers again.
//             A2 a node that has seen a higher leadership epoch ends the stream: this leader is deposed and
//             does not know it yet.
//             A3 one stream per node: the newest.
//             A4 only the answer to a heartbeat grants, and only under the leader lease.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/log.h"
#include "base/order.h"
#include "catalog/join_tokens.h"
#include "controller/api/call.h"
#include "controller/catalog_access.h"
#include "controller/leadership/leader_service.h"
#include "controller/leases/node_contacts.h"
#include "controller/nodes/load_table.h"
#include "controller/nodes/region_leaders.h"
#include "controller/procedure/task_board.h"
#include "runtime/executor.h"
#include "runtime/network.h"
#include "tenure/internal/v1/agent.pb.h"

namespace tenure::controller {

struct AgentOptions {
  std::string cluster_id;    // until the catalog names it; may be empty while the cluster forms
  uint64_t incarnation = 1;  // of the cluster, as this controller's data directory says
  // A node has seen a higher incarnation: this controller was left behind by a recovery.
  std::function<void(uint64_t incarnation)> on_superseded;
  catalog::JoinTokens tokens{};  // that a node must have one of
  planner::PhiOptions phi;
  Duration push_delay = std::chrono::milliseconds(20);  // changes within it travel together
};

class AgentService : public runtime::Service, public CatalogListener, public LeaderService {
 public:
  static constexpr std::string_view kName = "tenure.internal.v1.Agent";

  AgentService(runtime::Executor& executor, CatalogAccess& access, const Leadership& leadership,
               TaskBoard& tasks, AgentOptions options, Logger logger);
  ~AgentService() override;

  // Called (within a turn) when a report, a connection or its end may call for action. Before the first
  // epoch.
  void AddObserver(std::function<void()> on_news) { observers_.push_back(std::move(on_news)); }

  LoadTable& load() { return load_; }
  const LoadTable& load() const { return load_; }
  const RegionLeaders& region_leaders() const { return leaders_; }
  const NodeContacts& contacts() const { return contacts_; }
  // A barrier waits until nodes report that revision, or does not any more: they are told, and report at
  // once.
  void Await(Revision revision);
  void EndAwait(Revision revision);
  // Asks the node that leads the region to hand it over.
  void RequestTransfer(NodeId leader, RegionId region, ReplicaId to);
  // Regions whose leaders have reported a configuration that their records do not know, since the last call.
  std::set<RegionId> TakeReconfigured() { return std::exchange(reconfigured_, {}); }
  // Asks `by` whether it reaches `node`; the answer goes to the load table.
  void RequestProbe(NodeId by, NodeId node);

  // runtime::Service
  bool IsStream(std::string_view method) const override { return method == "Heartbeat"; }
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override;
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo& info,
                                                   std::unique_ptr<runtime::Stream> stream) override;
  // CatalogListener
  void OnCatalogChanged(const std::vector<::tenure::v1::Event>& events, Revision applied) override;
  void OnCatalogReset(Revision) override {}
  // LeaderService
  std::string_view name() const override { return "nodes"; }
  runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) override;
  void Stop() override;

 private:
  class HeartbeatStream;

  void Register(::tenure::internal::v1::RegisterRequest request,
                Answer<::tenure::internal::v1::RegisterResponse> done);
  // Checks a report's right to be heard; a refusal ends the stream.
  Status CheckReport(const ::tenure::internal::v1::HeartbeatRequest& report) const;
  Status CheckIncarnation(const ::tenure::internal::v1::RegisterRequest& request) const;
  // Whether the node's data directory has no other process somewhere else.
  Status CheckOnlyOne(const ::tenure::v1::NodeRecord& node) const;
  void LookAtCatalog();
  void TakeLeaseReport(const ::tenure::internal::v1::HeartbeatRequest& report);
  // Grants the node's lease with this answer, if that may be.
  void Grant(const ::tenure::internal::v1::HeartbeatRequest& report,
             ::tenure::internal::v1::HeartbeatResponse& response);
  // The lowest revision that a barrier waits for and the node has not reported; none if there is none.
  Revision AwaitedOf(NodeId node) const;
  // The node has said that it ends, and its record says so, or has a state that this does not change.
  bool FarewellRecorded(NodeId node) const;
  void TakeRegions(const ::tenure::internal::v1::HeartbeatRequest& report);
  std::string ClusterId() const;
  void SchedulePush();
  void Push();
  void News();

  runtime::Executor& executor_;
  CatalogAccess& access_;
  const Leadership& leadership_;
  const AgentOptions options_;
  Logger logger_;

  Term epoch_;  // none while stopped
  TaskBoard& tasks_;
  std::set<RegionId> reconfigured_;
  LoadTable load_;
  NodeContacts contacts_;
  std::multiset<Revision> awaited_;
  RegionLeaders leaders_;
  std::vector<uint64_t> unhealthy_;              // SUSPECT or DOWN, sorted
  std::map<uint64_t, std::string> controllers_;  // where they are, by id
  std::map<NodeId, std::vector<::tenure::internal::v1::TransferRegion>> transfers_;
  std::map<NodeId, std::set<NodeId>> probes_;  // to be asked for, by whom
  std::set<HeartbeatStream*, ByNumber> streams_;
  uint64_t next_stream_ = 1;
  std::map<NodeId, HeartbeatStream*> by_node_;
  std::vector<std::function<void()>> observers_;
  bool push_scheduled_ = false;
  runtime::Timer push_;
};

}  // namespace tenure::controller
