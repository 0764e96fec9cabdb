// Changes the configuration of regions that are led here, as the leading controller asks
// (tenure.internal.v1.NodeInternal/ChangeConfiguration).
//
// A request names the configuration that it changes by its index: a copy that comes late, or one of a
// controller that has not heard of a later change, does nothing. Which configuration is wanted, and in which
// order members come and go, is decided by procedures.
//
// Threading: one executor.
// Ordering:  answered when the new configuration is committed, a joint one on the way to it left.
// Errors:    refusals say what is wrong with which field, and nothing has happened. UNKNOWN_OUTCOME: the
//            change was begun, and its leader left office, or the joint configuration was not left within
//            the caller's deadline (kLimit at most).
// Bounds:    kMaxChanges under way.
#pragma once

#include <string>

#include "base/log.h"
#include "group/group_host.h"
#include "node/agent.h"
#include "node/catalog_view.h"
#include "runtime/network.h"
#include "runtime/task.h"
#include "tenure/internal/v1/node.pb.h"

namespace tenure::node {

class ConfigurationService {
 public:
  static constexpr size_t kMaxChanges = 256;
  static constexpr Duration kLimit = std::chrono::seconds(10);

  struct Surroundings {
    runtime::Executor& executor;
    group::GroupHost& host;
    const CatalogView& view;        // where nodes are
    group::AddressBook& addresses;  // of the groups' transport
    Agent& agent;                   // which leadership was heard of; is told of changes
  };
  ConfigurationService(Surroundings surroundings, Logger logger)
      : surroundings_(surroundings), logger_(std::move(logger)), scope_(surroundings.executor) {}
  void SetClusterId(std::string cluster_id) { cluster_id_ = std::move(cluster_id); }

  void OnChangeConfiguration(const runtime::CallInfo& info, const std::string& request, runtime::Reply reply);
  void StopAndJoin(Closure joined) { scope_.StopAndJoin(std::move(joined)); }

 private:
  using Request = ::tenure::internal::v1::ChangeConfigurationRequest;
  StatusOr<raft::Configuration> TargetOf(const Request& request, const group::GroupStatus& now) const;
  Status CheckGroup(const Request& request, const std::optional<group::GroupStatus>& now) const;
  runtime::Task<void> Change(GroupId group, raft::Configuration target, Instant until, runtime::Reply reply);
  runtime::Task<StatusOr<uint64_t>> Propose(GroupId group, raft::Configuration target, Instant until);

  Surroundings surroundings_;
  Logger logger_;
  std::string cluster_id_;
  runtime::TaskScope scope_;
};

}  // namespace tenure::node
