#include "daemon/changefeed_role.h"

#include <utility>

#include "changefeed/sink/net/factory.h"

namespace tenure::daemon {

ChangefeedRole::ChangefeedRole(Threads& threads, runtime::Network& network, node::ClusterLink& link,
                               node::Node& node, Logger logger)
    : threads_(threads),
      node_(node),
      sink_threads_(threads.changefeeds),
      source_(threads.changefeeds, threads.regions, node.change_logs()),
      schemas_(threads.changefeeds),
      dispatchers_(Parts()),
      agent_(
          {.executor = threads.regions,
           .dispatchers = threads.changefeeds,
           .network = network,
           .link = link,
           .node = node,
           .factory = dispatchers_,
           .check_sink = Checker(),
           .follow =
               [&node](node::FollowedDatabases followed) { node.SetFollowedDatabases(std::move(followed)); },
           .on_view = [this](const node::CatalogView& view) { schemas_.Update(view); },
           .logger = std::move(logger)},
          {}) {
  node_.SetObserver(&agent_);
}

ChangefeedRole::~ChangefeedRole() {
  node_.SetObserver(nullptr);
  sink_threads_.StopAll();
}

changefeed::DispatcherParts ChangefeedRole::Parts() {
  return {.executor = threads_.changefeeds,
          .source = source_,
          .schemas = schemas_,
          .make_sink =
              [this](const changefeed::SinkAddress& address, const changefeed::SinkIdentity& identity,
                     changefeed::SinkObserver& observer, changefeed::WritePermit permit) {
                return changefeed::MakeSink(threads_.changefeeds, Backgrounds(), observer, identity, address,
                                            {.budget = sink_budget_}, std::move(permit));
              },
          .options = {}};
}

changefeed::Backgrounds ChangefeedRole::Backgrounds() {
  return [this](const std::string& destination) { return sink_threads_.For(destination); };
}

changefeed::SinkChecker ChangefeedRole::Checker() {
  return [this](changefeed::SinkAddress address, Callback<std::optional<changefeed::FeedError>> done) {
    threads_.changefeeds.Post([this, address = std::move(address), done = std::move(done)]() mutable {
      changefeed::CheckSink(threads_.changefeeds, Backgrounds(), address,
                            [&regions = threads_.regions,
                             done = std::move(done)](std::optional<changefeed::FeedError> error) mutable {
                              regions.Post([error = std::move(error), done = std::move(done)]() mutable {
                                done(std::move(error));
                              });
                            });
    });
  };
}

}  // namespace tenure::daemon
