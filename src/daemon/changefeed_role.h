// What a node of a process runs of changefeeds: the agent on the regions' executor, dispatchers and sinks on
// one of their own, and what blocks on sink threads.
//
// Threading: built, and asked for numbers, on the regions' executor.
// Lifetime:  `node`, `network` and `link` outlive it, and it is destroyed when the executors have stopped.
#pragma once

#include <memory>

#include "base/log.h"
#include "changefeed/agent/changefeed_agent.h"
#include "changefeed/dispatcher/span_dispatchers.h"
#include "changefeed/views/catalog_schemas.h"
#include "changefeed/views/local_change_source.h"
#include "daemon/sink_threads.h"
#include "daemon/threads.h"
#include "node/node.h"

namespace tenure::daemon {

class ChangefeedRole {
 public:
  ChangefeedRole(Threads& threads, runtime::Network& network, node::ClusterLink& link, node::Node& node,
                 Logger logger);
  ~ChangefeedRole();

  void Start() { agent_.Start(); }
  void Stop() { agent_.Stop(); }
  changefeed::ChangefeedAgent::Numbers numbers() const { return agent_.GetNumbers(); }

 private:
  changefeed::DispatcherParts Parts();
  changefeed::SinkChecker Checker();
  changefeed::Backgrounds Backgrounds();

  Threads& threads_;
  node::Node& node_;
  SinkThreads sink_threads_;
  const std::shared_ptr<changefeed::SinkBudget> sink_budget_ = std::make_shared<changefeed::SinkBudget>();
  changefeed::LocalChangeSource source_;
  changefeed::CatalogSchemas schemas_;
  changefeed::SpanDispatchers dispatchers_;
  changefeed::ChangefeedAgent agent_;
};

}  // namespace tenure::daemon
