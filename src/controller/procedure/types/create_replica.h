// CreateReplica: a replica that a region's configuration names and that its node has not made yet, made
// later. Goes on until it is there, or the region does not want it any more, or its node says that it has
// lost it for good: then it is replaced (RegionScheduler). Who gives the replica up removes it from the region;
// cancelling this would leave the region with a replica that nobody makes.
#pragma once

#include "controller/procedure/procedure_type.h"
#include "controller/procedure/step_context.h"

namespace tenure::controller {

class CreateReplica : public ProcedureType {
 public:
  static constexpr std::string_view kName = "CreateReplica";

  static ::tenure::v1::ProcedureRecord New(uint64_t region, const ::tenure::v1::ReplicaRecord& replica);

  std::string_view name() const override { return kName; }
  std::string_view first_step() const override { return "create_replica"; }
  size_t max_running() const override { return 256; }
  bool IsCancellable(std::string_view) const override { return false; }
  Status Check(const ::tenure::v1::ProcedureRecord& procedure) const override;
  runtime::Task<StatusOr<StepEnd>> Run(StepContext& context) override;
};

}  // namespace tenure::controller
