#include "node/fenced_leader.h"

#include <string>

#include "node/prober.h"
#include "tenure/internal/v1/agent.pb.h"

namespace tenure::node {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

constexpr Duration kTimeout = std::chrono::seconds(1);

}  // namespace

void FencedLeader::Schedule() {
  timer_ = d_.executor.After(kInterval, [this] {
    Look();
    Schedule();
  });
}

bool FencedLeader::IsFenced() const {
  const Instant now = d_.executor.Now();
  const auto since = d_.fence.lease().FencedSince(now);
  return since.has_value() && now - *since >= kPatience;
}

void FencedLeader::Look() {
#ifdef TENURE_MUTANT_fenced_leader_stays
  return;
#endif
  if (!IsFenced()) return;
  std::set<NodeId> nodes;
  for (const auto& [id, region] : d_.table.regions()) {
    if (!region.leads()) continue;
    // A record says who they are once a controller has heard of them, from this node.
    for (const raft::Member& voter : d_.leadership.VotersOf(region)) {
      if (NodeId(voter.host) != d_.table.self()) nodes.insert(NodeId(voter.host));
    }
  }
  for (const NodeId node : nodes) Ask(node);
}

void FencedLeader::Ask(NodeId node) {
  const pb::NodeRecord* record = d_.view.FindNode(node);
  if (record == nullptr || !asked_.insert(node).second) return;
  ipb::PingRequest request;
  request.set_cluster_id(cluster_id_);
  d_.network.Call(record->address(), std::string(Prober::kName) + "/Ping", request.SerializeAsString(),
                  kTimeout, [this, alive = alive_, node](const StatusOr<std::string>& bytes) {
                    if (!*alive) return;
                    asked_.erase(node);
                    ipb::PingResponse response;
                    if (bytes.ok() && response.ParseFromString(*bytes) &&
                        NodeId(response.node_id()) == node && response.serves() && IsFenced())
                      HandOverTo(node);
                  });
}

void FencedLeader::HandOverTo(NodeId node) {
  for (const auto& [id, region] : d_.table.regions()) {
    if (!region.leads()) continue;
    for (const raft::Member& voter : d_.leadership.VotersOf(region)) {
      // One that lags behind, or is asked at a bad moment, is asked again with the next look.
      if (NodeId(voter.host) == node) d_.leadership.HandOver(region.id, voter.id).IgnoreError();
    }
  }
}

}  // namespace tenure::node
