// The change logs of the regions that are led here: kept while changefeeds follow their database, trimmed to
// what those need, resolved once in a while, and read by dispatchers.
//
// A region keeps a log only because its own log says so; its leader proposes that by itself, from the node's
// view of the catalog. Whichever leader is newer, a view that is older than the one that decided does not
// count.
//
// Threading: one executor, the node's. The listener is called there, must not call back, and is told of a
//            region when its log or its leader has changed.
// Errors:    of Read and ReadRows: FAILED_PRECONDITION: not led here. OUT_OF_RANGE: the log does not reach
//            back that far; what is asked for is not there any more.
// Bounds:    one proposal per region is under way; a read gives about as many bytes as it is asked for.
// Cost:      each followed region proposes one entry per resolve_interval while nothing else is written, and
//            is never idle. A region that is not followed costs nothing.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "group/group_host.h"
#include "node/agent.h"
#include "node/followed_databases.h"
#include "node/node_options.h"
#include "node/region_table.h"
#include "runtime/network.h"
#include "store/change_log.h"

namespace tenure::node {

class ChangeLogs {
 public:
  static constexpr int kMaxRegions = 16384;  // of one question

  ChangeLogs(runtime::Executor& executor, group::GroupHost& host, RegionTable& table, const Agent& agent,
             const NodeOptions& options)
      : executor_(executor), host_(host), table_(table), agent_(agent), options_(options) {}
  void Start() { Schedule(); }
  void Stop() {
    timer_.Cancel();
    soon_.Cancel();
  }
  void SetClusterId(std::string cluster_id) { cluster_id_ = std::move(cluster_id); }

  // Before the first call no region is told anything.
  void SetFollowed(FollowedDatabases followed);
  // Gets the region and the bytes that its log has ever had. Null: nobody listens.
  using Listener = std::function<void(RegionId, uint64_t)>;
  void SetListener(Listener listener) { listener_ = std::move(listener); }
  void OnRegionChanged(const Region& region);

  // Of a region that is led here and keeps a log: its newest commit timestamp.
  std::optional<uint64_t> ResolvedOf(RegionId region) const;
  // Changes of a table (0: plain keys) of a region after a timestamp.
  StatusOr<store::ChangeRead> Read(RegionId region, uint64_t table, uint64_t after, size_t max_bytes) const;
  // Rows as of a timestamp.
  StatusOr<store::RowsRead> ReadRows(RegionId region, uint64_t table, uint64_t as_of, std::string_view from,
                                     size_t max_bytes) const;

  // tenure.internal.v1.NodeInternal/BeginOfChanges
  void OnBeginOfChanges(const std::string& request, runtime::Reply reply);

 private:
  void Schedule();
  void LookSoon();
  void Look();
  // What the region has to be told now, if anything.
  std::optional<store::WriteCommand> Due(const Region& region) const;
  void Propose(const Region& region, const store::WriteCommand& command);
  StatusOr<const Region*> FindLog(RegionId region, uint64_t after) const;

  runtime::Executor& executor_;
  group::GroupHost& host_;
  RegionTable& table_;
  const Agent& agent_;
  const NodeOptions& options_;
  std::string cluster_id_;
  FollowedDatabases followed_;
  Listener listener_;
  std::set<RegionId> proposing_;
  std::set<RegionId> skipped_;      // at a look, since a proposal was under way
  std::map<RegionId, Term> leads_;  // regions that are served here, in which term
  // Somebody asked whether the log is kept by the word of a view of this incarnation and revision, or a newer
  // one.
  std::map<RegionId, std::pair<uint64_t, uint64_t>> asked_;
  runtime::Timer timer_;
  runtime::Timer soon_;
};

}  // namespace tenure::node
