// Keeps the states of the nodes' records in step with what is heard of them: sees a difference, proposes one
// change per node, looks again. What a node's state should be is planner/node_health.h.
//
// Threading: the controller's executor.
// Invariant: a change is conditional on the node's registration and on the leadership epoch.
#pragma once

#include <map>
#include <memory>
#include <set>

#include "base/ids.h"
#include "base/log.h"
#include "controller/catalog_access.h"
#include "controller/leadership/leader_service.h"
#include "controller/nodes/agent_service.h"
#include "planner/node_health.h"
#include "runtime/executor.h"

namespace tenure::controller {

class NodeMonitor : public LeaderService {
 public:
  NodeMonitor(runtime::Executor& executor, CatalogAccess& access, AgentService& agents,
              planner::NodeHealthOptions options, Logger logger);
  ~NodeMonitor() override;

  // LeaderService
  std::string_view name() const override { return "node monitor"; }
  runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) override;
  void Stop() override;

 private:
  void OnNews();
  void OnTick();
  void Look();
  void LookAt(NodeId node, const ::tenure::v1::NodeRecord& record);
  void Probe(NodeId silent, Instant now);

  runtime::Executor& executor_;
  CatalogAccess& access_;
  AgentService& agents_;
  const planner::NodeHealthOptions options_;
  Logger logger_;

  Term epoch_;  // none while stopped
  Instant last_tick_{};
  runtime::Timer tick_;
  std::set<NodeId> in_flight_;
  std::map<NodeId, Instant> probed_at_;
  bool look_posted_ = false;
  std::shared_ptr<NodeMonitor*> self_;  // null inside once this is gone
};

}  // namespace tenure::controller
