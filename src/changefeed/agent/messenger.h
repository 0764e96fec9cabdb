// Messages of the changefeed protocol from a node: to other nodes and to the coordinator, each with its
// answer.
//
// Threading:  the node's executor.
// Lifetime:   answers that come after destruction are dropped.
// Errors:     as runtime/network.h: it may have arrived. A node without an address is UNAVAILABLE.
#pragma once

#include <memory>
#include <utility>

#include "base/format.h"
#include "changefeed/protocol/ids.h"
#include "node/cluster_link.h"
#include "node/node_facts.h"
#include "runtime/network.h"
#include "tenure/internal/v1/node.pb.h"

namespace tenure::changefeed {

namespace ipb = ::tenure::internal::v1;

class Messenger {
 public:
  static constexpr Duration kTimeout = std::chrono::seconds(3);
  static constexpr std::string_view kNode = "tenure.internal.v1.ChangefeedNode/Deliver";
  static constexpr std::string_view kCoordinator = "tenure.internal.v1.ChangefeedCoordinator/Deliver";
  using Done = Callback<StatusOr<ipb::ChangefeedMessage>>;

  Messenger(runtime::Network& network, node::ClusterLink& link, const node::NodeFacts& node)
      : network_(network), link_(link), node_(node), alive_(std::make_shared<bool>(true)) {}
  ~Messenger() { *alive_ = false; }
  Messenger(const Messenger&) = delete;
  Messenger& operator=(const Messenger&) = delete;

  // No controller speaks: a node does.
  ipb::ChangefeedSender Sender() const {
    ipb::ChangefeedSender sender;
    sender.set_node(node_.self().value());
    sender.set_incarnation(node_.registration_epoch());
    return sender;
  }
  void ToNode(NodeId to, ipb::ChangefeedMessage message, Done done) {
    const auto* record = node_.catalog().FindNode(to);
    if (record == nullptr) return done(Error(StatusCode::kUnavailable, "node {} is in no view", to));
    network_.Call(record->address(), kNode, Wrap(std::move(message)), kTimeout, Decode(std::move(done)));
  }
  void ToCoordinator(ipb::ChangefeedMessage message, Done done) {
    link_.Call(kCoordinator, Wrap(std::move(message)), kTimeout, Decode(std::move(done)));
  }

 private:
  std::string Wrap(ipb::ChangefeedMessage message) const {
    ipb::ChangefeedEnvelope envelope;
    envelope.set_cluster_id(node_.cluster_id());
    envelope.set_incarnation(node_.cluster_incarnation());
    *envelope.mutable_message() = std::move(message);
    return envelope.SerializeAsString();
  }
  Callback<StatusOr<std::string>> Decode(Done done) const {
    return [alive = alive_, done = std::move(done)](StatusOr<std::string> bytes) mutable {
      if (!*alive) return;
      if (!bytes.ok()) return done(bytes.status());
      ipb::ChangefeedMessage message;
      if (!message.ParseFromString(*bytes))
        return done(Error(StatusCode::kInternal, "ChangefeedMessage: malformed answer"));
      done(std::move(message));
    };
  }

  runtime::Network& network_;
  node::ClusterLink& link_;
  const node::NodeFacts& node_;
  std::shared_ptr<bool> alive_;
};

}  // namespace tenure::changefeed
