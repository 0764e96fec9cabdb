#include "controller/changefeeds/node_change_history.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/format.h"
#include "controller/procedure/types/feed_history.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
using changefeed::CommitTs;

runtime::Task<StatusOr<CommitTs>> NodeChangeHistory::BeginOf(uint64_t database, runtime::StopToken stop) {
  const StatusOr<Range> range = co_await Ask(database, stop);
  if (!range.ok()) co_return range.status();
  co_return range->begin;
}

runtime::Task<StatusOr<CommitTs>> NodeChangeHistory::ResolvedOf(uint64_t database, runtime::StopToken stop) {
  const std::map<uint64_t, uint64_t> asked = RangesOf(database);
  const StatusOr<Range> range = co_await Ask(database, stop);
  if (!range.ok()) co_return range.status();
  const std::string between = SlotsInBetween(access_.catalog(), database);
  if (!between.empty()) co_return Error(StatusCode::kUnavailable, "it waits for {}", between);
  if (RangesOf(database) != asked)
    co_return Error(StatusCode::kUnavailable, "regions of database {} were split or merged meanwhile",
                    database);
  co_return std::max(range->begin, range->resolved);
}

std::map<uint64_t, uint64_t> NodeChangeHistory::RangesOf(uint64_t database) const {
  std::map<uint64_t, uint64_t> versions;
  for (const auto& [id, record] : access_.catalog().regions()) {
    if (record.region().database() == database) versions[id] = record.region().range_version();
  }
  return versions;
}

runtime::Task<StatusOr<NodeChangeHistory::Range>> NodeChangeHistory::Ask(uint64_t database,
                                                                         runtime::StopToken stop) {
  std::map<NodeId, ipb::BeginOfChangesRequest> requests;
  std::set<uint64_t> missing;
  // Of the newest changefeed: what was kept for earlier ones may be on its way out.
  uint64_t revision = 0;
  for (const auto& [id, record] : access_.catalog().changefeeds()) {
    if (record.changefeed().database() == database) revision = std::max(revision, record.create_revision());
  }
  for (const auto& [id, record] : access_.catalog().regions()) {
    if (record.region().database() != database || record.region().state() == pb::REGION_REMOVING) continue;
    if (record.region().state() == pb::REGION_CREATING)
      continue;  // split off another one, which has the slots
    const RegionLeaderView* leader = agents_.region_leaders().Find(RegionId(id));
    if (leader == nullptr || leader->node.IsNone())
      co_return Error(StatusCode::kUnavailable, "region {} has no leader", id);
    ipb::BeginOfChangesRequest& request = requests[leader->node];
    request.set_cluster_id(nodes_.ClusterId());
    request.set_leader_epoch(access_.leadership().epoch().value());
    request.set_incarnation(nodes_.incarnation());
    request.set_revision(revision);
    request.add_regions(id);
    missing.insert(id);
  }
  Range range;
  for (auto& [node, request] : requests) {
    const auto bytes = co_await nodes_.Call(node, "tenure.internal.v1.NodeInternal/BeginOfChanges",
                                            request.SerializeAsString(), NodeCalls::kTimeout, stop);
    if (!bytes.ok()) co_return Annotate(bytes.status(), fmt::format("node {}", node));
    ipb::BeginOfChangesResponse response;
    if (!response.ParseFromString(*bytes))
      co_return Error(StatusCode::kInternal, "node {}: BeginOfChangesResponse: malformed", node);
    for (const auto& failure : response.failed())
      co_return Error(StatusCode::kUnavailable, "region {}: {}", failure.region(), failure.error());
    for (const auto& log : response.logs()) {
      range.begin = std::max(range.begin, CommitTs(log.begin_ts()));
      range.resolved = std::max(range.resolved, CommitTs(log.resolved_ts()));
      missing.erase(log.region());
    }
  }
  if (!missing.empty())
    co_return Error(StatusCode::kUnavailable, "region {} was not answered for", *missing.begin());
  if (range.begin.IsNone()) co_return Error(StatusCode::kUnavailable, "database {} has no regions", database);
  co_return range;
}

}  // namespace tenure::controller
