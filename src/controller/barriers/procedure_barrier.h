// The cluster's barrier as procedures wait for it.
//
// Threading:  the controller's executor.
// Lifetime:   not longer than the service.
#pragma once

#include <utility>

#include "base/format.h"
#include "controller/barriers/barrier_service.h"
#include "controller/procedure/cluster_barrier.h"

namespace tenure::controller {

class ProcedureBarrier final : public ClusterBarrier {
 public:
  explicit ProcedureBarrier(BarrierService& barriers) : barriers_(barriers) {}

  runtime::Task<Status> Pass(Revision revision, Duration budget, runtime::StopToken stop) override {
    const auto outcome = co_await barriers_.Pass(revision, budget, std::move(stop));
    if (!outcome.ok()) co_return outcome.status();
    if (outcome->proceeded) co_return OkStatus();
    co_return Error(
        StatusCode::kDeadlineExceeded,
        "after {} ms not every node was known to serve from revision {} of the catalog or to serve "
        "nothing: {}",
        ToMillis(outcome->waited), revision, Obstacles(*outcome));
  }

 private:
  BarrierService& barriers_;
};

}  // namespace tenure::controller
