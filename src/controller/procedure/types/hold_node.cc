#include "controller/procedure/types/hold_node.h"

#include <fmt/format.h>

#include <algorithm>

#include "controller/procedure/types/bodies.h"
#include "tenure/internal/v1/procedure.pb.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

pb::ProcedureRecord HoldNode::New(NodeId node, int64_t until_ms) {
  ipb::HoldNodeBody body;
  body.set_node(node.value());
  body.set_until_ms(until_ms);
  pb::ProcedureRecord procedure = NewProcedure(
      kName, fmt::format("hold node {} until it has been stopped", node.value()), body.SerializeAsString());
  procedure.set_object(node.value());
  procedure.set_cancellable(true);
  return procedure;
}

int64_t HoldNode::UntilMs(const pb::ProcedureRecord& procedure) {
  const auto body = BodyOf<ipb::HoldNodeBody>(procedure);
  return body.ok() ? body->until_ms() : 0;
}

Status HoldNode::Check(const pb::ProcedureRecord& procedure) const {
  TENURE_RETURN_IF_ERROR(BodyOf<ipb::HoldNodeBody>(procedure).status());
  return procedure.step().empty() || procedure.step() == first_step() ? OkStatus() : UnknownStep(procedure);
}

runtime::Task<StatusOr<StepEnd>> HoldNode::Run(StepContext& context) {
  TENURE_CO_ASSIGN_OR_RETURN(const auto body, BodyOf<ipb::HoldNodeBody>(context.procedure()));
  while (true) {
    const int64_t left = body.until_ms() - ToMillis(context.executor().WallNow());
    if (left <= 0) co_return StepEnd::Ended(pb::PROCEDURE_SUCCEEDED);
    if (context.cancel_requested()) co_return StepEnd::Ended(pb::PROCEDURE_CANCELLED, "released");
    context.WaitsFor(fmt::format("{} s are left", left / 1000));
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

}  // namespace tenure::controller
