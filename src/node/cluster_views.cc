#include "node/cluster_views.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "base/hash.h"

namespace tenure::node {

std::string RedisIdOf(std::string_view uuid) {
  const uint64_t a = HashBytes(uuid, 1);
  const uint64_t b = HashBytes(uuid, 2);
  const uint64_t c = HashBytes(uuid, 3);
  return fmt::format("{:016x}{:016x}{:08x}", a, b, c & 0xffffffffu);
}

const ClusterView* ClusterViews::View(DatabaseId id) {
  const auto& databases = table_.databases();
  const auto it = databases.find(id.value());
  if (it == databases.end()) return nullptr;
  Cached& cached = cached_[id];
  if (cached.table_version != table_.version()) {
    cached.view = Build(it->second);
    cached.table_version = table_.version();
    std::erase_if(cached_, [&](const auto& entry) { return !databases.contains(entry.first.value()); });
  }
  return &cached.view;
}

ClusterView ClusterViews::Build(const Database& database) const {
  ClusterView view;
  view.database = database.id;
  view.revision = table_.version();
  view.self = table_.self();
  for (const auto& [id, node] : catalog_.nodes()) {
    if (node.state() == pb::NODE_REMOVED) continue;
    view.nodes.push_back({.id = NodeId(id),
                          .name = node.name(),
                          .redis_id = RedisIdOf(node.uuid()),
                          .rpc_address = node.address(),
                          .resp_address = node.resp_address(),
                          .alive = table_.IsHealthy(NodeId(id)) && node.state() != pb::NODE_DOWN});
  }
  for (const Region* region : database.regions) {
    if (region->hidden) continue;
    ShardView shard{.region = region->id, .slots = region->slots, .replicas = {}};
    const NodeId leader = table_.LeaderOf(*region);
    for (const Region::Replica& replica : region->replicas) {
      if (!replica.voter && replica.node != leader) continue;
      shard.replicas.push_back({.node = replica.node,
                                .leader = replica.node == leader,
                                .healthy = table_.IsHealthy(replica.node)});
    }
    const auto first = std::find_if(shard.replicas.begin(), shard.replicas.end(),
                                    [](const ShardView::Replica& replica) { return replica.leader; });
    if (first != shard.replicas.end()) std::rotate(shard.replicas.begin(), first, first + 1);
    view.shards.push_back(std::move(shard));
  }
  return view;
}

std::string ClusterViews::RespAddressOf(NodeId node) const {
  const pb::NodeRecord* record = catalog_.FindNode(node);
  return record == nullptr ? std::string() : record->resp_address();
}

std::string ClusterViews::NameOf(NodeId node) const {
  const pb::NodeRecord* record = catalog_.FindNode(node);
  if (record == nullptr || record->name().empty()) return fmt::format("node {}", node);
  return fmt::format("{} (node {})", record->name(), node);
}

}  // namespace tenure::node
