// Makes sure the catalog says what this process was started with: the cluster's record and controllers on the
// first leadership of an empty cluster, this controller's own address later.
#pragma once

#include <string>
#include <vector>

#include "base/log.h"
#include "controller/catalog_access.h"
#include "controller/leadership/leader_service.h"
#include "runtime/executor.h"

namespace tenure::controller {

class ClusterRecordService : public LeaderService {
 public:
  // `cluster_id` is empty while the cluster forms: its first leader then names it `new_cluster_id`.
  ClusterRecordService(runtime::Executor& executor, CatalogAccess& access, std::string cluster_id,
                       ::tenure::v1::ControllerRecord self,
                       std::vector<::tenure::v1::ControllerRecord> initial, std::string new_cluster_id = {},
                       ::tenure::v1::FencingSettings fencing = {})
      : executor_(executor),
        access_(access),
        cluster_id_(std::move(cluster_id)),
        new_cluster_id_(std::move(new_cluster_id)),
        self_(std::move(self)),
        initial_(std::move(initial)),
        fencing_(std::move(fencing)) {}

  std::string_view name() const override { return "cluster record"; }
  bool required() const override { return true; }
  runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) override;
  void Stop() override {}

 private:
  runtime::Executor& executor_;
  CatalogAccess& access_;
  const std::string cluster_id_;
  const std::string new_cluster_id_;
  const ::tenure::v1::ControllerRecord self_;
  const std::vector<::tenure::v1::ControllerRecord> initial_;
  const ::tenure::v1::FencingSettings fencing_;  // of a new cluster
};

}  // namespace tenure::controller
