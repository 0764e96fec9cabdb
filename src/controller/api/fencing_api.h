// tenure.v1.Cluster/Barrier and /Fencing: barriers on demand, and the settings of nodes' leases.
//
// Threading:  the controller's executor.
// Lifetime:   StopAndJoin is called and finished before destruction, unless the executor has stopped for
//             good.
#pragma once

#include "controller/api/call.h"
#include "controller/barriers/barrier_service.h"
#include "controller/catalog_access.h"
#include "controller/leadership/leadership.h"
#include "controller/nodes/agent_service.h"
#include "runtime/executor.h"
#include "runtime/task.h"

namespace tenure::controller {

class FencingApi {
 public:
  FencingApi(runtime::Executor& executor, CatalogAccess& access, const Leadership& leadership,
             AgentService& agents, BarrierService& barriers);

  void Barrier(Instant deadline, const ::tenure::v1::BarrierRequest& request,
               Answer<::tenure::v1::BarrierResponse> done);
  void Fencing(const ::tenure::v1::FencingRequest& request, Answer<::tenure::v1::FencingResponse> done);
  void StopAndJoin(Closure done) { scope_.StopAndJoin(std::move(done)); }

 private:
  runtime::Task<void> Wait(Revision revision, Duration budget, Answer<::tenure::v1::BarrierResponse> done);
  ::tenure::v1::FencingResponse Settings() const;

  runtime::Executor& executor_;
  CatalogAccess& access_;
  const Leadership& leadership_;
  AgentService& agents_;
  BarrierService& barriers_;
  runtime::TaskScope scope_;
};

}  // namespace tenure::controller
