#include "controller/procedure/types/create_replica.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "controller/procedure/types/bodies.h"
#include "tenure/internal/v1/procedure.pb.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

pb::ProcedureRecord CreateReplica::New(uint64_t region, const pb::ReplicaRecord& replica) {
  ipb::CreateReplicaBody body;
  body.set_region(region);
  body.set_replica(replica.id());
  body.set_node(replica.node());
  pb::ProcedureRecord procedure = NewProcedure(
      kName, fmt::format("create replica {} of region {} on node {}", replica.id(), region, replica.node()),
      body.SerializeAsString());
  procedure.set_object(region);
  return procedure;
}

Status CreateReplica::Check(const pb::ProcedureRecord& procedure) const {
  TENURE_RETURN_IF_ERROR(BodyOf<ipb::CreateReplicaBody>(procedure).status());
  return procedure.step().empty() || procedure.step() == first_step() ? OkStatus() : UnknownStep(procedure);
}

runtime::Task<StatusOr<StepEnd>> CreateReplica::Run(StepContext& context) {
  TENURE_CO_ASSIGN_OR_RETURN(const auto body, BodyOf<ipb::CreateReplicaBody>(context.procedure()));
  while (true) {
    const auto record = context.catalog().regions().find(body.region());
    const bool wanted =
        record != context.catalog().regions().end() &&
        record->second.region().state() != pb::REGION_REMOVING &&
        std::any_of(record->second.region().replicas().begin(), record->second.region().replicas().end(),
                    [&](const pb::ReplicaRecord& replica) { return replica.id() == body.replica(); });
    if (!wanted)
      co_return StepEnd::Ended(pb::PROCEDURE_CANCELLED, "the region does not have this replica any more");
    const NodeLoad* load = context.agents().load().Find(NodeId(body.node()));
    if (load != nullptr && load->connected && load->lost.contains(body.region())) {
      co_return StepEnd::Ended(
          pb::PROCEDURE_FAILED,
          fmt::format("replica {} was dropped by a repair of node {}'s log and does not run again: it is "
                      "replaced like one of a lost node",
                      body.replica(), body.node()));
    }
    NodeTask task{.node = NodeId(body.node()), .revision = Revision(record->second.modify_revision())};
    auto& item = *task.payload.mutable_create_replicas()->add_items();
    item.set_region(body.region());
    item.set_replica(body.replica());
    std::vector<NodeTask> tasks;
    tasks.push_back(std::move(task));
    TENURE_CO_ASSIGN_OR_RETURN(const TaskLooks looks, co_await context.Tend(std::move(tasks)));
    const TaskLook& look = looks.begin()->second;
    if (look.state == TaskLook::State::kDone) co_return StepEnd::Ended(pb::PROCEDURE_SUCCEEDED);
    if (look.state == TaskLook::State::kGone)
      co_return StepEnd::Ended(pb::PROCEDURE_CANCELLED, "the node was removed");
    if (!co_await context.News()) co_return absl::CancelledError("stopped");
  }
}

}  // namespace tenure::controller
