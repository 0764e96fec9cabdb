#include "resp/cluster_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/hash.h"

namespace tenure::resp {
namespace {

using node::ClusterView;
using node::NodeView;
using node::ShardView;

// The replica that leads, if its node is known and alive.
const NodeView* LiveLeader(const ClusterView& view, const ShardView& shard) {
  for (const ShardView::Replica& replica : shard.replicas) {
    if (!replica.leader) continue;
    const NodeView* node = FindNode(view, replica.node);
    return node != nullptr && node->alive ? node : nullptr;
  }
  return nullptr;
}

const NodeView* AnyLeader(const ClusterView& view, const ShardView& shard) {
  for (const ShardView::Replica& replica : shard.replicas) {
    if (replica.leader) return FindNode(view, replica.node);
  }
  return nullptr;
}

// Who to ask about a range: its leader, then the followers that can serve. While no leader is known some
// replica stands in the leader's place: it answers with a redirection or with the reason.
std::vector<const NodeView*> NodesToAsk(const ClusterView& view, const ShardView& shard) {
  std::vector<const NodeView*> nodes;
  if (const NodeView* leader = AnyLeader(view, shard)) nodes.push_back(leader);
  for (const ShardView::Replica& replica : shard.replicas) {
    const NodeView* node = FindNode(view, replica.node);
    if (node != nullptr && !replica.leader && replica.healthy && node->alive) nodes.push_back(node);
  }
  if (nodes.empty() && !shard.replicas.empty()) {
    if (const NodeView* node = FindNode(view, shard.replicas.front().node)) nodes.push_back(node);
  }
  std::erase_if(nodes, [](const NodeView* node) { return node->resp_address.empty(); });  // serves no clients
  return nodes;
}

void WriteSlotsEntry(store::SlotRange slots, const std::vector<const NodeView*>& nodes, size_t shown,
                     ReplyWriter& reply) {
  reply.Array(2 + shown);
  reply.Integer(slots.first);
  reply.Integer(slots.last);
  for (size_t i = 0; i < shown; ++i) {
    const HostPort address = SplitAddress(nodes[i]->resp_address);
    reply.Array(4);
    reply.Bulk(address.host);
    reply.Integer(address.port);
    reply.Bulk(nodes[i]->redis_id);
    reply.Map(0);
  }
}

uint64_t CountSlots(store::SlotRange slots) {
  return uint64_t{slots.last} - slots.first + 1;
}

}  // namespace

HostPort SplitAddress(std::string_view address) {
  return ParseHostPort(address, 0).value_or(HostPort{std::string(address), 0});
}

const NodeView* FindNode(const ClusterView& view, NodeId id) {
  for (const NodeView& node : view.nodes) {
    if (node.id == id) return &node;
  }
  return nullptr;
}

const NodeView* FindNodeByRedisId(const ClusterView& view, std::string_view redis_id) {
  for (const NodeView& node : view.nodes) {
    if (node.redis_id == redis_id) return &node;
  }
  return nullptr;
}

std::vector<store::SlotRange> RangesLedBy(const ClusterView& view, NodeId id) {
  std::vector<store::SlotRange> ranges;
  for (const ShardView& shard : view.shards) {
    const NodeView* leader = AnyLeader(view, shard);
    if (leader == nullptr || leader->id != id) continue;
    if (!ranges.empty() && ranges.back().last + 1 == shard.slots.first) {
      ranges.back().last = shard.slots.last;
    } else {
      ranges.push_back(shard.slots);
    }
  }
  return ranges;
}

void WriteClusterSlots(const ClusterView& view, ReplyWriter& reply) {
  struct Entry {
    store::SlotRange slots;
    std::vector<const NodeView*> nodes;
    size_t shown;
  };
  std::vector<Entry> ranges;
  for (const ShardView& shard : view.shards) {
    std::vector<const NodeView*> nodes = NodesToAsk(view, shard);
    if (nodes.empty()) continue;
    const size_t shown = nodes.size();
    ranges.push_back({shard.slots, std::move(nodes), shown});
  }
  // redis-py takes a node for a replica for good if that is how it meets it first, and then leaves it out of
  // SCAN, DBSIZE and the like. Nodes that lead something are therefore introduced as leaders: by one slot of
  // theirs.
  std::vector<Entry> introductions;
  std::set<NodeId> met;
  for (const Entry& range : ranges) {
    met.insert(range.nodes.front()->id);
    for (size_t i = 1; i < range.nodes.size(); ++i) {
      const NodeView* follower = range.nodes[i];
      if (!met.insert(follower->id).second) continue;
      const auto led = std::find_if(ranges.begin(), ranges.end(), [&](const Entry& other) {
        return other.nodes.front() == follower && CountSlots(other.slots) > 1;
      });
      if (led == ranges.end()) continue;
      introductions.push_back({{led->slots.first, led->slots.first}, led->nodes, 1});
      ++led->slots.first;
    }
  }
  reply.Array(introductions.size() + ranges.size());
  for (const Entry& entry : introductions) WriteSlotsEntry(entry.slots, entry.nodes, entry.shown, reply);
  for (const Entry& entry : ranges) WriteSlotsEntry(entry.slots, entry.nodes, entry.shown, reply);
}

void WriteClusterShards(const ClusterView& view, ReplyWriter& reply) {
  reply.Array(view.shards.size());
  for (const ShardView& shard : view.shards) {
    std::vector<ShardView::Replica> replicas = shard.replicas;
    std::erase_if(replicas, [&](const ShardView::Replica& r) { return FindNode(view, r.node) == nullptr; });
    const auto leader =
        std::find_if(replicas.begin(), replicas.end(), [](const ShardView::Replica& r) { return r.leader; });
    if (leader != replicas.end()) std::rotate(replicas.begin(), leader, leader + 1);
    reply.Map(2);
    reply.Bulk("slots");
    reply.Array(2);
    reply.Integer(shard.slots.first);
    reply.Integer(shard.slots.last);
    reply.Bulk("nodes");
    reply.Array(replicas.size());
    for (const ShardView::Replica& replica : replicas) {
      const NodeView& node = *FindNode(view, replica.node);
      const HostPort address = SplitAddress(node.resp_address);
      reply.Map(7);
      reply.Bulk("id");
      reply.Bulk(node.redis_id);
      reply.Bulk("port");
      reply.Integer(address.port);
      reply.Bulk("ip");
      reply.Bulk(address.host);
      reply.Bulk("endpoint");
      reply.Bulk(address.host);
      reply.Bulk("role");
      reply.Bulk(replica.leader ? "master" : "replica");
      reply.Bulk("replication-offset");
      reply.Integer(static_cast<int64_t>(view.revision));
      reply.Bulk("health");
      reply.Bulk(node.alive && replica.healthy ? "online" : "fail");
    }
  }
}

std::string ClusterNodeLine(const ClusterView& view, const NodeView& node, WallTime now) {
  const HostPort address = SplitAddress(node.resp_address);
  const bool self = node.id == view.self;
  std::string line =
      fmt::format("{} {}:{}@{} {}master{} - 0 {} {} {}", node.redis_id, address.host, address.port,
                  SplitAddress(node.rpc_address).port, self ? "myself," : "", node.alive ? "" : ",fail",
                  self ? 0 : ToMillis(now), view.revision, node.alive ? "connected" : "disconnected");
  for (const store::SlotRange& range : RangesLedBy(view, node.id)) {
    line += range.first == range.last ? fmt::format(" {}", range.first)
                                      : fmt::format(" {}-{}", range.first, range.last);
  }
  return line;
}

std::string ClusterNodesText(const ClusterView& view, WallTime now) {
  std::string text;
  for (const NodeView& node : view.nodes) {
    if (node.resp_address.empty()) continue;
    text += ClusterNodeLine(view, node, now);
    text += '\n';
  }
  return text;
}

std::string ClusterInfoText(const ClusterView* view, bool down) {
  uint64_t assigned = 0;
  uint64_t ok = 0;
  std::set<NodeId> leaders;
  if (view != nullptr) {
    for (const ShardView& shard : view->shards) {
      assigned += CountSlots(shard.slots);
      const NodeView* leader = LiveLeader(*view, shard);
      if (leader == nullptr) continue;
      ok += CountSlots(shard.slots);
      leaders.insert(leader->id);
    }
  }
  const uint64_t revision = view != nullptr ? view->revision : 0;
  return fmt::format(
      "cluster_state:{}\r\ncluster_slots_assigned:{}\r\ncluster_slots_ok:{}\r\ncluster_slots_pfail:0\r\n"
      "cluster_slots_fail:{}\r\ncluster_known_nodes:{}\r\ncluster_size:{}\r\ncluster_current_epoch:{}\r\n"
      "cluster_my_epoch:{}\r\ncluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n"
      "total_cluster_links_buffer_limit_exceeded:0\r\n",
      ok == kSlotCount && !down ? "ok" : "fail", assigned, ok, assigned - ok,
      view != nullptr ? view->nodes.size() : 0, leaders.size(), revision, revision);
}

void WriteClusterLinks(const ClusterView& view, WallTime now, ReplyWriter& reply) {
  std::vector<const NodeView*> peers;
  for (const NodeView& node : view.nodes) {
    if (node.id != view.self && node.alive) peers.push_back(&node);
  }
  reply.Array(peers.size() * 2);
  for (const NodeView* peer : peers) {
    for (const std::string_view direction : {"to", "from"}) {
      reply.Map(6);
      reply.Bulk("direction");
      reply.Bulk(direction);
      reply.Bulk("node");
      reply.Bulk(peer->redis_id);
      reply.Bulk("create-time");
      reply.Integer(ToMillis(now));
      reply.Bulk("events");
      reply.Bulk(direction == "to" ? "rw" : "r");
      reply.Bulk("send-buffer-allocated");
      reply.Integer(0);
      reply.Bulk("send-buffer-used");
      reply.Integer(0);
    }
  }
}

std::string ShardIdOf(const NodeView& node) {
  return fmt::format("{:016x}{:016x}{:08x}", HashBytes(node.redis_id, 1), HashBytes(node.redis_id, 2),
                     static_cast<uint32_t>(HashBytes(node.redis_id, 3)));
}

}  // namespace tenure::resp
