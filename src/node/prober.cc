#include "node/prober.h"

#include <utility>

#include "catalog/refusal.h"

namespace tenure::node {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

constexpr Duration kTimeout = std::chrono::seconds(1);

}  // namespace

void Prober::Probe(NodeId node) {
  const pb::NodeRecord* record = view_.FindNode(node);
  if (record == nullptr || node == self_ || !under_way_.insert(node).second) return;
  ipb::PingRequest request;
  request.set_cluster_id(cluster_id_);
  network_.Call(record->address(), std::string(kName) + "/Ping", request.SerializeAsString(), kTimeout,
                [this, alive = alive_, node](const StatusOr<std::string>& bytes) {
                  if (!*alive) return;
                  under_way_.erase(node);
                  // Another process may live at that address by now.
                  ipb::PingResponse response;
                  ipb::ProbeResult& result = results_.emplace_back();
                  result.set_node(node.value());
                  result.set_reached(bytes.ok() && response.ParseFromString(*bytes) &&
                                     NodeId(response.node_id()) == node);
                  on_result_();
                });
}

void Prober::OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) {
  ipb::PingRequest ping;
  if (info.method != "Ping") {
    return reply(Error(StatusCode::kUnimplemented, "{} has no method {}", kName, info.method));
  }
  if (!ping.ParseFromString(request)) {
    return reply(catalog::Refuse(pb::REASON_INVALID_ARGUMENT, "the message is not a valid PingRequest"));
  }
  if (!ping.cluster_id().empty() && !cluster_id_.empty() && ping.cluster_id() != cluster_id_) {
    return reply(catalog::Refuse(pb::REASON_WRONG_CLUSTER, "this node belongs to cluster {}, not to {}",
                                 cluster_id_, ping.cluster_id()));
  }
  ipb::PingResponse response;
  response.set_node_id(self_.value());
  response.set_serves(serves_());
  reply(response.SerializeAsString());
}

}  // namespace tenure::node
