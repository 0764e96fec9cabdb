// INFO CONFIG TIME DBSIZE WAIT.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "resp/front_end.h"
#include "resp/handlers.h"
#include "resp/outcome.h"

namespace tenure::resp {
namespace {

using Lines = std::vector<std::pair<std::string, std::string>>;
struct Section {
  std::string_view name;
  Lines (*lines)(CommandContext&);
};

Lines ServerLines(CommandContext& c) {
  const auto up =
      std::chrono::duration_cast<std::chrono::seconds>(c.front.clock().Now() - c.front.started_at());
  return {{"redis_version", "7.0.15"},
          {"tenure_version", c.front.settings().version},
          {"redis_mode", "cluster"},
          {"os", "Linux"},
          {"arch_bits", "64"},
          {"tcp_port", std::to_string(c.front.settings().port)},
          {"server_time_usec", std::to_string(ToMillis(c.front.service().Now()) * 1000)},
          {"uptime_in_seconds", std::to_string(up.count())},
          {"uptime_in_days", std::to_string(up.count() / 86400)}};
}

Lines ClientLines(CommandContext& c) {
  return {{"connected_clients", std::to_string(c.front.client_count())},
          {"maxclients", std::to_string(c.front.settings().max_clients)},
          {"blocked_clients", "0"},
          {"tracking_clients", "0"}};
}

Lines MemoryLines(CommandContext& c) {
  return {{"mem_clients_normal", std::to_string(c.front.total_bytes())},
          {"maxmemory", "0"},
          {"maxmemory_human", "0B"},
          {"maxmemory_policy", "noeviction"}};
}

Lines PersistenceLines(CommandContext&) {
  return {{"loading", "0"},
          {"async_loading", "0"},
          {"rdb_bgsave_in_progress", "0"},
          {"rdb_last_bgsave_status", "ok"},
          {"aof_enabled", "1"},
          {"aof_rewrite_in_progress", "0"},
          {"aof_last_write_status", "ok"}};
}

Lines StatsLines(CommandContext& c) {
  const FrontEndCounters& n = c.front.counters();
  return {{"total_connections_received", std::to_string(n.connections)},
          {"total_commands_processed", std::to_string(n.commands)},
          {"total_net_input_bytes", std::to_string(n.input_bytes)},
          {"total_net_output_bytes", std::to_string(n.output_bytes)},
          {"rejected_connections", std::to_string(n.rejected_connections)},
          {"evicted_keys", "0"},
          {"evicted_clients", std::to_string(n.evicted_clients)},
          {"client_output_buffer_limit_disconnections", std::to_string(n.output_limit_clients)},
          {"protocol_errors", std::to_string(n.protocol_errors)},
          {"total_error_replies", std::to_string(n.error_replies)}};
}

// Replication is per region; clients that look here want to know that this node takes writes.
Lines ReplicationLines(CommandContext&) {
  return {{"role", "master"}, {"connected_slaves", "0"}, {"master_failover_state", "no-failover"}};
}

Lines ClusterLines(CommandContext&) {
  return {{"cluster_enabled", "1"}};
}

Lines KeyspaceLines(CommandContext& c) {
  const std::optional<DatabaseId> database = CurrentDatabase(c.front, c.client);
  if (!database) return {};
  const uint64_t keys = c.front.service().KeyCount(*database);
  if (keys == 0) return {};
  return {{"db0", fmt::format("keys={},expires=0,avg_ttl=0", keys)}};
}

Lines TenureLines(CommandContext& c) {
  return c.front.service().InfoLines();
}

constexpr std::array kSections = {
    Section{"Server", ServerLines},     Section{"Clients", ClientLines},
    Section{"Memory", MemoryLines},     Section{"Persistence", PersistenceLines},
    Section{"Stats", StatsLines},       Section{"Replication", ReplicationLines},
    Section{"Cluster", ClusterLines},   Section{"Tenure", TenureLines},
    Section{"Keyspace", KeyspaceLines},
};

bool WantsSection(CommandContext& c, std::string_view name) {
  if (c.size() == 1) return true;
  for (size_t i = 1; i < c.size(); ++i) {
    const std::string wanted = Lower(c[i]);
    if (wanted == "all" || wanted == "default" || wanted == "everything" || wanted == Lower(name))
      return true;
  }
  return false;
}

std::vector<std::pair<std::string, std::string>> ConfigValues(CommandContext& c) {
  const FrontEndSettings& s = c.front.settings();
  return {{"appendfsync", "always"},
          {"appendonly", "yes"},
          {"client-query-buffer-limit", std::to_string(s.parser.max_request_bytes)},
          {"cluster-enabled", "yes"},
          {"cluster-require-full-coverage", "no"},
          {"databases", "1"},
          {"maxclients", std::to_string(s.max_clients)},
          {"maxmemory", "0"},
          {"maxmemory-clients", std::to_string(s.max_total_bytes)},
          {"maxmemory-policy", "noeviction"},
          {"port", std::to_string(s.port)},
          {"proto-max-bulk-len", std::to_string(s.parser.max_argument_bytes)},
          {"save", ""},
          {"slave-read-only", "yes"},
          {"replica-read-only", "yes"},
          {"tcp-keepalive", "300"},
          {"timeout", "0"}};
}

}  // namespace

void Info(CommandContext& c) {
  std::string text;
  for (const Section& section : kSections) {
    if (!WantsSection(c, section.name)) continue;
    if (!text.empty()) text += "\r\n";
    text += fmt::format("# {}\r\n", section.name);
    for (const auto& [name, value] : section.lines(c)) text += fmt::format("{}:{}\r\n", name, value);
  }
  c.reply.Verbatim(text);
}

void ConfigGet(CommandContext& c) {
  std::vector<std::pair<std::string, std::string>> found;
  for (auto& entry : ConfigValues(c)) {
    const bool wanted =
        std::any_of(c.arguments.begin() + 2, c.arguments.end(),
                    [&](const std::string& pattern) { return MatchesPattern(pattern, entry.first); });
    if (wanted) found.push_back(std::move(entry));
  }
  c.reply.Map(found.size());
  for (const auto& [name, value] : found) {
    c.reply.Bulk(name);
    c.reply.Bulk(value);
  }
}

void ConfigSet(CommandContext& c) {
  c.reply.Error(
      "ERR settings are not changed over this protocol: they are in tenured's configuration (--config, "
      "flags)");
}

void ConfigResetStat(CommandContext& c) {
  c.front.counters() = FrontEndCounters{};
  c.reply.Ok();
}

void ConfigHelp(CommandContext& c) {
  constexpr std::string_view kLines[] = {
      "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
      "GET <pattern>",
      "    Return parameters matching the glob-like <pattern> and their values.",
      "RESETSTAT",
      "    Reset statistics reported by the INFO command.",
      "HELP",
      "    Prints this help."};
  c.reply.Array(std::size(kLines));
  for (const std::string_view line : kLines) c.reply.Simple(line);
}

void Time(CommandContext& c) {
  const int64_t now = ToMillis(c.front.service().Now());
  c.reply.Array(2);
  c.reply.Bulk(std::to_string(now / 1000));
  c.reply.Bulk(std::to_string(now % 1000 * 1000));
}

void DbSize(CommandContext& c) {
  const std::optional<DatabaseId> database = CurrentDatabase(c.front, c.client);
  if (!database) return c.reply.Error(NoDatabaseText(c.front, c.client));
  c.reply.Integer(static_cast<int64_t>(c.front.service().KeyCount(*database)));
}

// An acknowledged write is on a majority already: of the smallest region's replicas, one half (rounded down)
// beside the leader.
void Wait(CommandContext& c) {
  int64_t wanted = 0;
  int64_t timeout = 0;
  if (!ParseInteger(c[1], wanted) || !ParseInteger(c[2], timeout)) {
    return c.reply.Error("ERR value is not an integer or out of range");
  }
  if (timeout < 0) return c.reply.Error("ERR timeout is negative");
  const std::optional<DatabaseId> database = CurrentDatabase(c.front, c.client);
  const node::ClusterView* view = database ? c.front.service().View(*database) : nullptr;
  if (view == nullptr || view->shards.empty()) return c.reply.Integer(0);
  size_t replicas = view->shards.front().replicas.size();
  for (const node::ShardView& shard : view->shards) replicas = std::min(replicas, shard.replicas.size());
  c.reply.Integer(static_cast<int64_t>(replicas / 2));
}

}  // namespace tenure::resp
