// Moves leaderships of regions between nodes: serves other nodes' requests to hand one over, and asks for
// them.
//
// Threading:  one executor.
// Errors:     nothing is lost by a failed hand-over; the leader goes on leading.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "group/group_host.h"
#include "node/catalog_view.h"
#include "node/data_service.h"
#include "node/node_options.h"
#include "node/region_table.h"
#include "runtime/network.h"
#include "runtime/task.h"

namespace tenure::node {

// Answers tenure.internal.v1.NodeInternal/TransferLeader, and hands over when the leading controller asks for
// it.
class LeadershipService {
 public:
  LeadershipService(group::GroupHost& host, const RegionTable& table, Logger logger)
      : host_(host), table_(table), logger_(std::move(logger)) {}
  void SetClusterId(std::string cluster_id) { cluster_id_ = std::move(cluster_id); }

  void OnTransferLeader(const std::string& request, runtime::Reply reply);
  // Hands the leadership of a region led here to `to`.
  Status HandOver(RegionId region, ReplicaId to);
  // The voters of a region led here, as its log says: its record may be older.
  std::vector<raft::Member> VotersOf(const Region& region) const;

 private:
  group::GroupHost& host_;
  const RegionTable& table_;
  Logger logger_;
  std::string cluster_id_;
};

// CLUSTER FAILOVER: asks the leaders of a database's regions of which this node holds a replica to hand over,
// and waits until it leads them or the time is up, which is that of every operation: its answer is from the
// view that it began with, which nodes must not go on using.
class LeadershipTaker {
 public:
  LeadershipTaker(runtime::Executor& executor, runtime::Network& network, const RegionTable& table,
                  const CatalogView& view, const NodeOptions& options);
  void SetClusterId(std::string cluster_id) { cluster_id_ = std::move(cluster_id); }
  void Take(DatabaseId database, Callback<Outcome> done);
  void StopAndJoin(Closure joined) { scope_.StopAndJoin(std::move(joined)); }

 private:
  struct Asking;
  runtime::Task<void> Run(DatabaseId database, Callback<Outcome> done);
  // The next ones that nobody has asked for, one after the other; several of these run at once.
  runtime::Task<void> AskFor(std::shared_ptr<Asking> asking);
  runtime::Task<Status> Ask(RegionId region, Instant until);
  size_t CountMissing(const std::vector<RegionId>& wanted) const;
  const Region* RegionAt(RegionId region) const;

  runtime::Executor& executor_;
  runtime::Network& network_;
  const RegionTable& table_;
  const CatalogView& view_;
  const NodeOptions& options_;
  std::string cluster_id_;
  size_t takes_ = 0;  // under way
  runtime::TaskScope scope_;
};

}  // namespace tenure::node
