// CLUSTER ...
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/hash.h"
#include "resp/cluster_format.h"
#include "resp/front_end.h"
#include "resp/handlers.h"
#include "resp/outcome.h"

namespace tenure::resp {
namespace {

// The selected database's view; null after the error was written.
const node::ClusterView* ViewOrError(CommandContext& c) {
  const std::optional<DatabaseId> database = CurrentDatabase(c.front, c.client);
  const node::ClusterView* view = database ? c.front.service().View(*database) : nullptr;
  if (view == nullptr) c.reply.Error(NoDatabaseText(c.front, c.client));
  return view;
}

bool ParseSlot(std::string_view text, int64_t& slot) {
  return ParseInteger(text, slot) && slot >= 0 && slot < static_cast<int64_t>(kSlotCount);
}

// Null after the error was written.
const node::NodeView* NamedNode(CommandContext& c, const node::ClusterView& view) {
  const node::NodeView* node = FindNodeByRedisId(view, c[2]);
  if (node == nullptr) c.reply.Error(fmt::format("ERR Unknown node {}", c[2]));
  return node;
}

const node::NodeView* Self(CommandContext& c) {
  const node::ClusterView* view = ViewOrError(c);
  if (view == nullptr) return nullptr;
  const node::NodeView* self = FindNode(*view, view->self);
  if (self == nullptr) c.reply.Error("CLUSTERDOWN this node is not registered yet");
  return self;
}

struct Elsewhere {
  std::string_view subcommand;
  std::string_view instead;
};
constexpr std::array kElsewhere = {
    Elsewhere{"addslots",
              "slots are given to regions when a database is created: tenure db create; later: tenure region "
              "split|merge"},
    Elsewhere{"addslotsrange",
              "slots are given to regions when a database is created: tenure db create; later: tenure region "
              "split|merge"},
    Elsewhere{"bumpepoch", "epochs are kept by the controllers: tenure status"},
    Elsewhere{"delslots", "a slot always belongs to a region: tenure region split|merge, tenure db drop"},
    Elsewhere{"delslotsrange",
              "a slot always belongs to a region: tenure region split|merge, tenure db drop"},
    Elsewhere{"flushslots", "a slot always belongs to a region: tenure region split|merge, tenure db drop"},
    Elsewhere{"forget", "use: tenure node drain, then tenure node remove"},
    Elsewhere{"meet",
              "a node joins by itself: start tenured on it with --controllers; see: tenure node list"},
    Elsewhere{"replicate", "replicas are placed by region: tenure region add-replica, tenure region move"},
    Elsewhere{"reset", "use: tenure node drain, then tenure node remove; to drop data: tenure db drop"},
    Elsewhere{"set-config-epoch", "epochs are kept by the controllers: tenure status"},
    Elsewhere{"setslot", "slots move with their region: tenure region move, tenure region transfer-leader"},
};

}  // namespace

void ClusterSlots(CommandContext& c) {
  if (const node::ClusterView* view = ViewOrError(c)) WriteClusterSlots(*view, c.reply);
}

void ClusterShards(CommandContext& c) {
  if (const node::ClusterView* view = ViewOrError(c)) WriteClusterShards(*view, c.reply);
}

void ClusterNodes(CommandContext& c) {
  const node::ClusterView* view = ViewOrError(c);
  if (view != nullptr) c.reply.Verbatim(ClusterNodesText(*view, c.front.service().Now()));
}

void ClusterInfo(CommandContext& c) {
  const std::optional<DatabaseId> database = CurrentDatabase(c.front, c.client);
  const node::ClusterView* view = database ? c.front.service().View(*database) : nullptr;
  const bool down = c.front.service().DownReason(database.value_or(DatabaseId{})).has_value();
  c.reply.Verbatim(ClusterInfoText(view, down));
}

void ClusterMyId(CommandContext& c) {
  if (const node::NodeView* self = Self(c)) c.reply.Bulk(self->redis_id);
}

void ClusterMyShardId(CommandContext& c) {
  if (const node::NodeView* self = Self(c)) c.reply.Bulk(ShardIdOf(*self));
}

void ClusterKeySlot(CommandContext& c) {
  c.reply.Integer(SlotOfKey(c[2]));
}

void ClusterCountKeysInSlot(CommandContext& c) {
  int64_t slot = 0;
  if (!ParseInteger(c[2], slot)) return c.reply.Error("ERR value is not an integer or out of range");
  if (!ParseSlot(c[2], slot)) return c.reply.Error("ERR Invalid slot");
  const std::optional<DatabaseId> database = CurrentDatabase(c.front, c.client);
  if (!database) return c.reply.Error(NoDatabaseText(c.front, c.client));
  WriteOutcome(c.front.service().CountKeysInSlot(*database, static_cast<uint16_t>(slot)), c.reply);
}

void ClusterGetKeysInSlot(CommandContext& c) {
  int64_t slot = 0;
  int64_t limit = 0;
  if (!ParseInteger(c[2], slot) || !ParseInteger(c[3], limit)) {
    return c.reply.Error("ERR value is not an integer or out of range");
  }
  if (!ParseSlot(c[2], slot) || limit < 0) return c.reply.Error("ERR Invalid slot or number of keys");
  const std::optional<DatabaseId> database = CurrentDatabase(c.front, c.client);
  if (!database) return c.reply.Error(NoDatabaseText(c.front, c.client));
  WriteOutcome(
      c.front.service().KeysInSlot(*database, static_cast<uint16_t>(slot), static_cast<size_t>(limit)),
      c.reply);
}

void ClusterLinks(CommandContext& c) {
  if (const node::ClusterView* view = ViewOrError(c))
    WriteClusterLinks(*view, c.front.service().Now(), c.reply);
}

// Every node is a master (cluster_format.h), so none has replicas in Redis' sense.
void ClusterReplicas(CommandContext& c) {
  const node::ClusterView* view = ViewOrError(c);
  if (view != nullptr && NamedNode(c, *view) != nullptr) c.reply.Array(0);
}

void ClusterCountFailureReports(CommandContext& c) {
  const node::ClusterView* view = ViewOrError(c);
  if (view == nullptr) return;
  if (const node::NodeView* node = NamedNode(c, *view)) c.reply.Integer(node->alive ? 0 : 1);
}

void ClusterSaveConfig(CommandContext& c) {
  c.reply.Ok();
}  // it always is

void ClusterElsewhere(CommandContext& c) {
  const std::string subcommand = Lower(c[1]);
  const auto row = std::find_if(kElsewhere.begin(), kElsewhere.end(),
                                [&](const Elsewhere& e) { return e.subcommand == subcommand; });
  c.reply.Error(fmt::format("ERR CLUSTER {} is not how this cluster is changed; {}", c[1],
                            row != kElsewhere.end() ? row->instead : "see: tenure --help"));
}

void ClusterHelp(CommandContext& c) {
  constexpr std::string_view kLines[] = {
      "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
      "COUNT-FAILURE-REPORTS <node-id>",
      "    Return 1 if <node-id> is considered dead, else 0.",
      "COUNTKEYSINSLOT <slot>",
      "    Return the number of keys in <slot>.",
      "FAILOVER [FORCE|TAKEOVER]",
      "    Take the leaderships of the regions this node holds.",
      "GETKEYSINSLOT <slot> <count>",
      "    Return key names stored by current node in a slot.",
      "INFO",
      "    Return information about the cluster.",
      "KEYSLOT <key>",
      "    Return the hash slot for <key>.",
      "LINKS",
      "    Return information about the links between this node and its peers.",
      "MYID",
      "    Return the node id.",
      "MYSHARDID",
      "    Return the node's shard id.",
      "NODES",
      "    Return cluster configuration seen by node. Output format:",
      "    <id> <ip:port@port> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
      "REPLICAS <node-id>",
      "    Return <node-id> replicas: none, every node leads some slots and follows in others.",
      "SHARDS",
      "    Return the regions with their slots and nodes.",
      "SLOTS",
      "    Return information about slots range mappings. Each range is made of:",
      "    start, end, leader and followers: addresses, ports and ids",
      "MEET, FORGET, RESET, REPLICATE, ADDSLOTS, DELSLOTS, SETSLOT, ...",
      "    Tell which command of `tenure` to use instead.",
      "HELP",
      "    Prints this help."};
  c.reply.Array(std::size(kLines));
  for (const std::string_view line : kLines) c.reply.Simple(line);
}

}  // namespace tenure::resp
