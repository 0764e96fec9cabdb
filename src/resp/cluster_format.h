// What CLUSTER SLOTS, SHARDS, NODES, INFO and LINKS say, computed from the node's view of the cluster.
//
// Redis' model knows masters that own slots and replicas of masters. Here a region has a leader and followers
// and a node is in many regions in either role. So every node is shown as a master that owns the slots it
// leads (NODES), and followers are shown per slot range (SLOTS) and per shard (SHARDS), where a shard is a
// region.
//
// Threading:  pure functions.
// Source:     Redis 7.0 cluster.c; https://redis.io/commands/cluster-nodes
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/host_port.h"
#include "node/data_service.h"
#include "resp/reply_writer.h"

namespace tenure::resp {

// Null if there is none known.
const node::NodeView* FindNode(const node::ClusterView& view, NodeId id);
const node::NodeView* FindNodeByRedisId(const node::ClusterView& view, std::string_view redis_id);

// Ranges of the slots a node leads, neighbours joined, ascending.
std::vector<store::SlotRange> RangesLedBy(const node::ClusterView& view, NodeId id);

void WriteClusterSlots(const node::ClusterView& view, ReplyWriter& reply);
void WriteClusterShards(const node::ClusterView& view, ReplyWriter& reply);
void WriteClusterLinks(const node::ClusterView& view, WallTime now, ReplyWriter& reply);
std::string ClusterNodeLine(const node::ClusterView& view, const node::NodeView& node, WallTime now);
std::string ClusterNodesText(const node::ClusterView& view, WallTime now);
// `view` may be null: nothing is known.
std::string ClusterInfoText(const node::ClusterView* view, bool down);
// 40 hex digits that stand for the shard of which the node is master.
std::string ShardIdOf(const node::NodeView& node);

// Host alone and port 0 if it is not "host:port".
HostPort SplitAddress(std::string_view address);

}  // namespace tenure::resp
