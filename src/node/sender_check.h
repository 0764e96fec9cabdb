// Whether whoever sent a request may speak for the cluster: the same cluster, no incarnation and no
// leadership of the controllers of before those that this node has seen.
#pragma once

#include <algorithm>
#include <string>

#include "catalog/refusal.h"
#include "node/agent.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::node {

namespace pb = ::tenure::v1;

// `Request` has cluster_id, incarnation (0 is 1) and leader_epoch.
template <class Request>
Status CheckSender(const Request& request, const std::string& cluster_id, const Agent& agent) {
  if (cluster_id.empty() || request.cluster_id() != cluster_id) {
    return catalog::Refuse(pb::REASON_WRONG_CLUSTER, "cluster_id {}: this node belongs to cluster {}",
                           request.cluster_id(), cluster_id);
  }
  const uint64_t incarnation = std::max<uint64_t>(request.incarnation(), 1);
  if (incarnation < agent.incarnation()) {
    return catalog::Refuse(pb::REASON_STALE_INCARNATION,
                           "incarnation {}: this node has seen incarnation {} of the cluster", incarnation,
                           agent.incarnation());
  }
  if (incarnation == agent.incarnation() && request.leader_epoch() < agent.leader_epoch()) {
    return catalog::Refuse(pb::REASON_STALE_EPOCH, "leader_epoch {}: this node has seen leadership epoch {}",
                           request.leader_epoch(), agent.leader_epoch());
  }
  return OkStatus();
}

}  // namespace tenure::node
