// How a new leader learns what the cluster is like: each registered controller and node gives one sample in
// this leadership, and until then nothing is decided that depends on load.
//
//   begun --every member sampled--> ready
//     |----a young standby view (standby_view.h) stands for the rest after `warm_round`--> ready
//     |----the tolerance has passed--> ready without some (unsampled)
//
// A node's sample is its first full report; of a node that does not report, a probe that is refused. Silence
// is none. Nodes that the catalog knows to be stopped, draining or removed are not waited for, nor those that
// the standby view knows to be silent.
//
// Threading:  the controller's executor.
// Invariants: W1 ready comes once in an epoch, and only in the epoch in which the samples were taken.
//             W2 what has to be safe does not depend on it: records change by conditions on states and
//             epochs.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/log.h"
#include "controller/catalog_access.h"
#include "controller/leadership/leader_service.h"
#include "controller/leadership/leadership.h"
#include "controller/leadership/load_readiness.h"
#include "controller/leadership/standby_view.h"
#include "controller/nodes/agent_service.h"
#include "runtime/executor.h"
#include "runtime/network.h"

namespace tenure::controller {

struct WarmUpOptions {
  Duration tolerance = std::chrono::seconds(15);  // lease + 5 s
  Duration warm_round = std::chrono::seconds(1);  // one heartbeat
  Duration view_age = std::chrono::seconds(10);   // a lease: an older standby view is no use
  Duration probe_after = std::chrono::milliseconds(100);
  Duration probe_interval = std::chrono::milliseconds(500);
  Duration probe_timeout = std::chrono::milliseconds(400);
};

class WarmUp : public LeaderService, public LoadReadiness {
 public:
  WarmUp(runtime::Executor& executor, runtime::Network& network, CatalogAccess& access, AgentService& agents,
         StandbyView& standby, Leadership& leadership, WarmUpOptions options, Logger logger);
  ~WarmUp() override;

  // LoadReadiness
  std::vector<std::string> missing() const override;
  Duration remaining() const override;
  std::vector<std::string> unsampled() const override;

  // LeaderService
  std::string_view name() const override { return "warm-up"; }
  runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) override;
  void Stop() override;

 private:
  // Waited for, and not in the standby view.
  struct Missing {
    std::vector<ReplicaId> controllers;
    std::vector<NodeId> nodes;
    bool empty() const { return controllers.empty() && nodes.empty(); }
  };

  bool waiting() const { return !epoch_.IsNone() && !ready_; }
  Missing FindMissing() const;
  bool HasSample(NodeId node, const ::tenure::v1::NodeRecord& record) const;
  void ScheduleLook();
  void Look();
  void OnTick();
  void Probe(NodeId node, const std::string& address);
  void Ready(std::string how);
  std::vector<std::string> GoOnWithout(Missing missing);
  static std::vector<std::string> NamesOf(const Missing& missing);

  runtime::Executor& executor_;
  runtime::Network& network_;
  CatalogAccess& access_;
  AgentService& agents_;
  StandbyView& standby_;
  Leadership& leadership_;
  const WarmUpOptions options_;
  Logger logger_;

  Term epoch_;  // none while stopped
  Instant began_{};
  bool warm_ = false;  // a young standby view was there
  bool ready_ = false;
  std::set<NodeId> refused_;    // refused a connection in this leadership
  std::set<NodeId> under_way_;  // probes
  Missing unsampled_;           // when it became ready
  runtime::Timer tick_;
  runtime::Timer limit_;
  bool look_posted_ = false;
  std::shared_ptr<WarmUp*> self_;  // null inside once this is gone
};

}  // namespace tenure::controller
