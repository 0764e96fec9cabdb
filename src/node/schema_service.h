// Tells regions that are led here of schema changes, as the leading controller asks
// (tenure.internal.v1.NodeInternal/ChangeSchema): through their logs, so that a write which was checked
// against an older schema is refused wherever it lands, and a dropped table's rows go on every replica.
//
// Threading: one executor.
// Ordering:  answered when every region's entry is applied here, or was not taken.
// Errors:    a region's own failure stands in the answer beside its id; what did happen to it is not known
//            then, and repeating the request is harmless.
// Bounds:    kMaxRegions in a request.
#pragma once

#include <memory>
#include <string>

#include "group/group_host.h"
#include "node/agent.h"
#include "node/region_table.h"
#include "runtime/network.h"
#include "tenure/internal/v1/node.pb.h"

namespace tenure::node {

class SchemaService {
 public:
  static constexpr int kMaxRegions = 16384;

  SchemaService(runtime::Executor& executor, group::GroupHost& host, RegionTable& table, const Agent& agent)
      : executor_(executor), host_(host), table_(table), agent_(agent) {}
  void SetClusterId(std::string cluster_id) { cluster_id_ = std::move(cluster_id); }

  void OnChangeSchema(const std::string& request, runtime::Reply reply);

 private:
  struct Pending;

  runtime::Executor& executor_;
  group::GroupHost& host_;
  RegionTable& table_;
  const Agent& agent_;
  std::string cluster_id_;
};

}  // namespace tenure::node
