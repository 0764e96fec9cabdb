// What a node of the simulation runs of changefeeds: the same parts as daemon/changefeed_role.h, with sinks
// of the simulation.
//
// Threading: made on the node's executor; destroyed outside of any event, when the process is dead.
#pragma once

#include "base/log.h"
#include "changefeed/agent/changefeed_agent.h"
#include "changefeed/dispatcher/span_dispatchers.h"
#include "changefeed/views/catalog_schemas.h"
#include "changefeed/views/local_change_source.h"
#include "node/node.h"
#include "sim/feed_sinks.h"

namespace tenure::sim {

class FeedRole final {
 public:
  FeedRole(runtime::Executor& regions, runtime::Executor& dispatchers, runtime::Network& network,
           node::ClusterLink& link, node::Node& node, FeedSinks& sinks, Logger logger)
      : node_(node),
        source_(dispatchers, regions, node.change_logs()),
        schemas_(dispatchers),
        dispatchers_({.executor = dispatchers,
                      .source = source_,
                      .schemas = schemas_,
                      .make_sink =
                          [&dispatchers, &sinks](
                              const changefeed::SinkAddress&, const changefeed::SinkIdentity& identity,
                              changefeed::SinkObserver& observer, changefeed::WritePermit permit) {
                            return sinks.MakeSink(dispatchers, identity, observer, std::move(permit));
                          },
                      .options = {}}),
        agent_({.executor = regions,
                .dispatchers = dispatchers,
                .network = network,
                .link = link,
                .node = node,
                .factory = dispatchers_,
                .check_sink = [](const changefeed::SinkAddress&,
                                 Callback<std::optional<changefeed::FeedError>> done) { done(std::nullopt); },
                .follow =
                    [&node](node::FollowedDatabases followed) {
                      node.SetFollowedDatabases(std::move(followed));
                    },
                .on_view = [this](const node::CatalogView& view) { schemas_.Update(view); },
                .logger = std::move(logger)},
               {}) {
    node_.SetObserver(&agent_);
    agent_.Start();
  }
  ~FeedRole() { node_.SetObserver(nullptr); }
  FeedRole(const FeedRole&) = delete;
  FeedRole& operator=(const FeedRole&) = delete;
  changefeed::ChangefeedAgent& agent() { return agent_; }
  const changefeed::SpanDispatchers& dispatchers() const { return dispatchers_; }

 private:
  node::Node& node_;
  changefeed::LocalChangeSource source_;
  changefeed::CatalogSchemas schemas_;
  changefeed::SpanDispatchers dispatchers_;
  changefeed::ChangefeedAgent agent_;
};

}  // namespace tenure::sim
