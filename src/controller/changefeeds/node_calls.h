// Messages of the changefeed protocol to nodes, each with its answer, and what is certain about their
// processes.
//
// Threading:  the controller's executor.
// Lifetime:   outlives the tasks that call.
// Errors:     UNAVAILABLE, DEADLINE_EXCEEDED: it may have arrived. Refusals of the protocol are answers.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "changefeed/protocol/ids.h"
#include "controller/catalog_access.h"
#include "controller/nodes/agent_service.h"
#include "runtime/executor.h"
#include "runtime/network.h"
#include "runtime/task.h"
#include "tenure/internal/v1/node.pb.h"

namespace tenure::controller {

class NodeCalls {
 public:
  static constexpr Duration kTimeout = std::chrono::seconds(3);

  // `self`: this controller's id.
  NodeCalls(runtime::Executor& executor, runtime::Network& network, CatalogAccess& access,
            AgentService& agents, uint64_t self, uint64_t incarnation)
      : executor_(executor),
        network_(network),
        access_(access),
        agents_(agents),
        self_(self),
        incarnation_(incarnation) {}

  // What every message of this leadership says of its sender.
  ::tenure::internal::v1::ChangefeedSender Sender(Term epoch) const;
  runtime::Task<StatusOr<::tenure::internal::v1::ChangefeedMessage>> Deliver(
      NodeId to, ::tenure::internal::v1::ChangefeedMessage message, runtime::StopToken stop);
  runtime::Task<StatusOr<std::string>> Call(NodeId to, std::string method, std::string request,
                                            Duration timeout, runtime::StopToken stop);

  // The present run of a node's process, as it registered; none of a node that there is not.
  changefeed::Process ProcessOf(NodeId node) const;
  // It has ended, or certainly holds no lease at this moment: nothing that it owned is written by it any
  // more.
  bool IsGone(const changefeed::Process& process) const;
  std::set<changefeed::Process> Gone() const;
  // Processes that may be asked: of every node that is not removed.
  std::vector<changefeed::Process> Processes() const;
  // Those that a maintainer may be given to: up, connected, not draining.
  std::vector<changefeed::Process> Candidates() const;
  std::string ClusterId() const;
  uint64_t incarnation() const { return incarnation_; }

 private:
  runtime::Executor& executor_;
  runtime::Network& network_;
  CatalogAccess& access_;
  AgentService& agents_;
  const uint64_t self_;
  const uint64_t incarnation_;  // of the cluster
};

}  // namespace tenure::controller
