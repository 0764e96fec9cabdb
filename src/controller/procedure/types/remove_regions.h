// RemoveRegions: takes the replicas of regions in state REMOVING off their nodes, then the records away.
// Needs no majority, is never given up, and is nobody's child: it outlives whatever asked for it.
//
//   announce --no node serves the dropped database--> destroy_replicas
//   destroy_replicas --every replica confirmed gone, or its node removed--> SUCCEEDED: the regions' records
//   go, with the last
//                                                                           one that of the dropped database
//
// Which regions a dropped database has is known only once its drop is in the log: a split or a merge may have
// changed them since it was asked for. From then on none is added. One that a merge, or a split that was
// given up, removes already is left to that removal. What is left without a removal in the end gets one.
#pragma once

#include "controller/procedure/cluster_barrier.h"
#include "controller/procedure/procedure_type.h"
#include "controller/procedure/step_context.h"
#include "tenure/internal/v1/procedure.pb.h"

namespace tenure::controller {

class RemoveRegions : public ProcedureType {
 public:
  static constexpr std::string_view kName = "RemoveRegions";

  // `barrier` outlives this.
  explicit RemoveRegions(ClusterBarrier& barrier) : barrier_(barrier) {}

  // Of all regions of a database that is being dropped in the same command, or was before: those that it has
  // when their removal begins.
  static ::tenure::v1::ProcedureRecord New(const catalog::Catalog& catalog, uint64_t database);
  // Of one region that becomes REMOVING in the same command.
  static ::tenure::v1::ProcedureRecord NewOf(const catalog::Catalog& catalog, uint64_t region);

  std::string_view name() const override { return kName; }
  std::string_view first_step() const override { return "announce"; }
  size_t max_running() const override { return 64; }
  // A node that is away, or a changefeed that is paused, may be waited for as long as it likes.
  bool IsCounted(std::string_view step) const override { return step == first_step(); }
  bool IsCancellable(std::string_view) const override { return false; }
  Status Check(const ::tenure::v1::ProcedureRecord& procedure) const override;
  runtime::Task<StatusOr<StepEnd>> Run(StepContext& context) override;

 private:
  using Body = ::tenure::internal::v1::RemoveRegionsBody;
  runtime::Task<StatusOr<StepEnd>> Announce(StepContext& context, Body body);
  runtime::Task<StatusOr<StepEnd>> Destroy(StepContext& context, Body body);

  ClusterBarrier& barrier_;
};

}  // namespace tenure::controller
