#include "cli/nodes_conf.h"

#include "base/format.h"
#include "cli/output.h"
#include "node/cluster_views.h"

namespace tenure::cli {
namespace {

namespace pb = ::tenure::v1;

std::string_view PortOf(std::string_view address) {
  const size_t colon = address.rfind(':');
  return colon == std::string_view::npos ? "0" : address.substr(colon + 1);
}

// Leaders are not on disk: slots stand with the node of the replica that is preferred to lead.
std::string SlotsOf(const DirectoryInspection& found, uint64_t node) {
  std::string slots;
  for (const pb::Record& record : found.catalog) {
    if (!record.has_region() || record.region().state() == pb::REGION_REMOVING) continue;
    for (const pb::ReplicaRecord& replica : record.region().replicas()) {
      if (replica.node() != node || replica.id() != record.region().preferred_leader()) continue;
      slots += fmt::format(" {}-{}", record.region().slots().first(), record.region().slots().last());
    }
  }
  return slots;
}

std::string NodeLine(const DirectoryInspection& found, const pb::NodeRecord& node) {
  const bool myself = !found.identity.node_uuid.empty() && node.uuid() == found.identity.node_uuid;
  const bool down = node.state() == pb::NODE_DOWN || node.state() == pb::NODE_REMOVED;
  return fmt::format("{} {}@{},{} {}{} - 0 0 {} {}{}\n", node::RedisIdOf(node.uuid()),
                     node.resp_address().empty() ? ":0" : node.resp_address(), PortOf(node.address()),
                     node.name().empty() ? "-" : node.name(), myself ? "myself,master" : "master",
                     down ? ",fail" : "", node.registration_epoch(), down ? "disconnected" : "connected",
                     SlotsOf(found, node.id()));
}

}  // namespace

std::string NodesConf(const DirectoryInspection& found, GroupId group) {
  std::string text;
  for (const pb::Record& record : found.catalog) {
    if (record.has_node()) text += NodeLine(found, record.node());
  }
  raft::HardState hard_state;
  LogIndex applied;
  if (const auto it = found.log.groups.find(group); it != found.log.groups.end())
    hard_state = it->second.state.hard_state;
  if (const auto it = found.applied.find(group); it != found.applied.end()) applied = it->second;
  text += fmt::format("vars currentTerm {} votedFor {} lastApplied {}\n", hard_state.term, hard_state.vote,
                      applied);
  for (const LogEntryView& entry : found.entries) {
    if (entry.group != group) continue;
    // One line whatever the entry holds: JSON escapes line ends.
    text += fmt::format("log {} {} {} {}\n", entry.index, entry.term, entry.type,
                        entry.command.dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  return text;
}

}  // namespace tenure::cli
