// HoldNode: the promise that a node may be stopped (`tenure node can-stop --reserve`), for a while. As long
// as it lasts other nodes are refused, nothing is moved to or from the node, and its replicas count as
// absent. It is a procedure because the promise must outlive the leader that gave it.
//
//   hold --the time is over--> SUCCEEDED        hold --released--> CANCELLED
#pragma once

#include "controller/procedure/procedure_type.h"
#include "controller/procedure/step_context.h"

namespace tenure::controller {

class HoldNode : public ProcedureType {
 public:
  static constexpr std::string_view kName = "HoldNode";

  static ::tenure::v1::ProcedureRecord New(NodeId node, int64_t until_ms);
  // When the promise ends, of a record of this type.
  static int64_t UntilMs(const ::tenure::v1::ProcedureRecord& procedure);

  std::string_view name() const override { return kName; }
  std::string_view first_step() const override { return "hold"; }
  size_t max_running() const override { return 1000; }
  bool IsCancellable(std::string_view) const override { return true; }
  Status Check(const ::tenure::v1::ProcedureRecord& procedure) const override;
  runtime::Task<StatusOr<StepEnd>> Run(StepContext& context) override;
};

}  // namespace tenure::controller
