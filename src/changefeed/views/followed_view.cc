#include "changefeed/views/followed_view.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace tenure::changefeed {

namespace pb = ::tenure::v1;

namespace {

bool Matches(const pb::TableRecord& table, const Filter& filter) {
  if (filter.FollowsTable(table.shape().name())) return true;
  if (table.has_next() && filter.FollowsTable(table.next().name())) return true;
  return std::any_of(table.history().begin(), table.history().end(), [&](const pb::TableVersion& version) {
    return filter.FollowsTable(version.shape().name());
  });
}

bool Matches(const pb::DroppedTable& table, const Filter& filter) {
  return std::any_of(table.history().begin(), table.history().end(), [&](const pb::TableVersion& version) {
    return filter.FollowsTable(version.shape().name());
  });
}

template <class Versions>
void AddChanges(uint64_t table, const Versions& history, std::vector<SchemaChange>& changes) {
  for (const pb::TableVersion& version : history) {
    if (version.since_ts() == 0) continue;
    changes.push_back({.at = CommitTs(version.since_ts()),
                       .table = table,
                       .schema_version = version.shape().version(),
                       .statement = version.statement()});
  }
}

void AddTables(const node::CatalogView& view, DatabaseId database, const Filter& filter, FollowedView& out) {
  for (const auto& [id, table] : view.tables()) {
    if (table.database() != database.value() || !Matches(table, filter)) continue;
    out.followed.push_back({.table = id, .name = table.shape().name()});
    AddChanges(id, table.history(), out.changes);
  }
  const bool any = !out.followed.empty();
  const auto found = view.databases().find(database.value());
  if (found != view.databases().end()) {
    for (const pb::DroppedTable& dropped : found->second.dropped_tables()) {
      if (!Matches(dropped, filter) || view.tables().contains(dropped.id())) continue;
      const std::string& name = dropped.history(dropped.history_size() - 1).shape().name();
      out.followed.push_back({.table = dropped.id(), .name = name, .until = CommitTs(dropped.dropped_ts())});
      AddChanges(dropped.id(), dropped.history(), out.changes);
      out.changes.push_back(
          {.at = CommitTs(dropped.dropped_ts()), .table = dropped.id(), .statement = dropped.statement()});
    }
  }
  if (filter.FollowsPlainKeys()) {
    out.followed.push_back({.name = "plain keys"});
  } else if (!any) {
    out.followed.push_back({.name = "(no table yet)", .placeholder = true});
  }
}

void AddRegion(const pb::RegionRecord& region, const Process& leader, FollowedView& out) {
  const RegionId id(region.id());
  if (region.generations().empty()) {
    // Slots that are still to come to a region that a split makes have their history where they lie.
    if (region.state() == pb::REGION_CREATING && region.split_off()) return;
    // What is removed without ever having changed its range went with its database.
    if (region.state() == pb::REGION_REMOVING) return;
    out.regions.push_back({.generation = {id, region.range_version()}, .leader = leader});
    return;
  }
  for (const pb::RegionGeneration& generation : region.generations()) {
    RegionView& one = out.regions.emplace_back();
    one.generation = {id, generation.range_version()};
    one.begin = CommitTs(generation.begin_ts());
    if (generation.end_ts() != 0) one.end = CommitTs(generation.end_ts());
    for (const auto& predecessor : generation.predecessors())
      one.predecessors.push_back({RegionId(predecessor.region()), predecessor.range_version()});
    one.leader = leader;
  }
}

}  // namespace

FollowedView ComputeFollowedView(const node::CatalogView& view, DatabaseId database, const Filter& filter,
                                 const std::function<NodeId(RegionId)>& leader_of) {
  FollowedView out;
  for (const auto& [id, region] : view.regions()) {
    if (region.database() != database.value()) continue;
    const pb::NodeRecord* node = view.FindNode(leader_of(RegionId(id)));
    Process leader;
    if (node != nullptr) leader = {NodeId(node->id()), Incarnation(node->registration_epoch())};
    AddRegion(region, leader, out);
  }
  AddTables(view, database, filter, out);
  std::sort(out.changes.begin(), out.changes.end(),
            [](const SchemaChange& a, const SchemaChange& b) { return a.at < b.at; });
  if (view.revision() < view.newest()) out.changes.clear();
  if (!out.regions.empty()) out.schema_known = CommitTs(std::numeric_limits<uint64_t>::max());
  return out;
}

std::vector<Process> ProcessesOf(const node::CatalogView& view) {
  std::vector<Process> processes;
  for (const auto& [id, node] : view.nodes()) {
    if (node.state() != pb::NODE_REMOVED)
      processes.push_back({NodeId(id), Incarnation(node.registration_epoch())});
  }
  return processes;
}

}  // namespace tenure::changefeed
