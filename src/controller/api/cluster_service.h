// tenure.v1.Cluster and tenure.v1.Regions: what the cluster looks like, and handing leaderships over.
//
// Cluster is answered by any controller from what it knows; Regions by the leader, which hears the nodes.
// Threading: the controller's executor.
// Lifetime:  Stop is called and finished before destruction, unless the executor has stopped for good.
#pragma once

#include <memory>

#include "controller/api/call.h"
#include "controller/api/fencing_api.h"
#include "controller/api/observation.h"
#include "controller/api/placement_api.h"
#include "controller/api/range_api.h"
#include "controller/catalog_access.h"
#include "controller/leadership/leadership.h"
#include "controller/nodes/agent_service.h"
#include "runtime/executor.h"
#include "runtime/network.h"
#include "runtime/task.h"

namespace tenure::controller {

class ClusterService : public runtime::Service {
 public:
  static constexpr std::string_view kName = "tenure.v1.Cluster";

  ClusterService(runtime::Executor& executor, CatalogAccess& access, const Leadership& leadership,
                 const Observation& observation, PlacementApi& placement, FencingApi& fencing);
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override;
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }
  void Stop(Closure done) { scope_.StopAndJoin(std::move(done)); }

 private:
  runtime::Task<void> Transfer(Instant deadline, ReplicaId to,
                               Answer<::tenure::v1::TransferLeadershipResponse> done);
  runtime::Task<void> Upgrade(bool finalize, Answer<::tenure::v1::UpgradeResponse> done);
  ::tenure::v1::UpgradeResponse UpgradeState() const;
  StatusOr<ReplicaId> ChooseSuccessor(ReplicaId wanted) const;
  // A change of the controllers' records: proposed as the user's, answered with the record.
  void Change(::tenure::internal::v1::CatalogCommand command, uint64_t controller,
              Answer<::tenure::v1::ChangeResponse> done);
  void RegisterChanges();
  // The member at this address, if it has not been heard for an election timeout; else 0.
  uint64_t FindSilentAt(const std::string& address) const;

  runtime::Executor& executor_;
  CatalogAccess& access_;
  const Leadership& leadership_;
  const Observation& observation_;
  CallTable calls_;
  runtime::TaskScope scope_;
};

class RegionsService : public runtime::Service {
 public:
  static constexpr std::string_view kName = "tenure.v1.Regions";

  RegionsService(runtime::Executor& executor, CatalogAccess& access, const Leadership& leadership,
                 const Observation& observation, AgentService& agents, PlacementApi& placement);
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override;
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }
  void Stop(Closure done) { scope_.StopAndJoin(std::move(done)); }

 private:
  void List(const ::tenure::v1::ListRegionsRequest& request, Answer<::tenure::v1::ListRegionsResponse> done);
  void TransferLeader(Instant deadline, const ::tenure::v1::TransferRegionRequest& request,
                      Answer<::tenure::v1::TransferRegionResponse> done);
  void Recover(const ::tenure::v1::RecoverRegionsRequest& request,
               Answer<::tenure::v1::RecoverRegionsResponse> done);
  runtime::Task<void> Transfer(Instant deadline, RegionId region, NodeId to_node, ReplicaId to,
                               Answer<::tenure::v1::TransferRegionResponse> done);

  runtime::Executor& executor_;
  CatalogAccess& access_;
  const Leadership& leadership_;
  const Observation& observation_;
  AgentService& agents_;
  RangeApi ranges_;
  CallTable calls_;
  runtime::TaskScope scope_;
};

}  // namespace tenure::controller
