// Hands over the leaderships of a node that has lost its lease: it may live, be reached by the other nodes,
// and lead its regions for ever, while it answers nobody. It asks the nodes that have other voters of them
// whether they serve, and goes on leading where none does: if no controller leads, all are fenced, and
// leaderships would only go round.
//
// Safety does not depend on it: what the log of a region accepts is decided by consensus, and what leaves a
// node by its lease.
//
// Threading:  the node's executor.
// Lifetime:   destruction drops what is under way.
// Errors:     a node that does not answer is asked again; a hand-over that fails is tried again.
#pragma once

#include <memory>
#include <set>

#include "node/catalog_view.h"
#include "node/leadership.h"
#include "node/lease/request_fence.h"
#include "node/region_table.h"
#include "runtime/executor.h"
#include "runtime/network.h"

namespace tenure::node {

class FencedLeader {
 public:
  // So long a node without a lease waits for another one first: a change of the leading controller, or a
  // short pause, moves nothing.
  static constexpr Duration kPatience = std::chrono::seconds(1);
  static constexpr Duration kInterval = std::chrono::milliseconds(500);

  struct Dependencies {
    runtime::Executor& executor;
    runtime::Network& network;
    const CatalogView& view;
    const RegionTable& table;
    const RequestFence& fence;
    LeadershipService& leadership;
  };
  explicit FencedLeader(const Dependencies& dependencies) : d_(dependencies) {}
  ~FencedLeader() { *alive_ = false; }
  FencedLeader(const FencedLeader&) = delete;
  FencedLeader& operator=(const FencedLeader&) = delete;

  void SetClusterId(const std::string& cluster_id) { cluster_id_ = cluster_id; }
  void Start() { Schedule(); }
  void Stop() { timer_.Cancel(); }

 private:
  void Schedule();
  bool IsFenced() const;
  void Look();
  void Ask(NodeId node);
  void HandOverTo(NodeId node);

  const Dependencies d_;
  std::string cluster_id_;
  runtime::Timer timer_;
  std::set<NodeId> asked_;  // and not answered yet
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::node
