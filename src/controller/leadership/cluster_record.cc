#include "controller/leadership/cluster_record.h"

#include <utility>

#include "catalog/controllers.h"
#include "catalog/refusal.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

runtime::Task<Status> ClusterRecordService::Start(Term epoch, runtime::StopToken stop) {
  if (access_.catalog().cluster() == nullptr) {
    ipb::CatalogCommand command;
    ipb::InitializeCluster& initialize = *command.mutable_initialize_cluster();
    initialize.mutable_cluster()->set_cluster_id(cluster_id_.empty() ? new_cluster_id_ : cluster_id_);
    initialize.mutable_cluster()->set_incarnation(1);
    initialize.mutable_cluster()->set_format_version(catalog::kNewestFormat);
    initialize.mutable_cluster()->set_created_at_ms(ToMillis(executor_.WallNow()));
    initialize.mutable_cluster()->set_voter_target(
        catalog::DefaultVoterTarget(static_cast<uint32_t>(initial_.size())));
    if (fencing_.fence_ms() > 0) *initialize.mutable_cluster()->mutable_fencing() = fencing_;
    for (const pb::ControllerRecord& controller : initial_) {
      pb::ControllerRecord& record = *initialize.add_controllers();
      record = controller;
      record.set_voter(true);
    }
    const auto done = co_await access_.ProposeAndWait(std::move(command), epoch, stop);
    if (!done.ok() && !catalog::IsReason(done.status(), pb::REASON_ALREADY_EXISTS)) co_return done.status();
  }
  const pb::ClusterRecord* cluster = access_.catalog().cluster();
  if (cluster == nullptr)
    co_return catalog::Refuse(pb::REASON_UNAVAILABLE, "the cluster record is not there yet");
  if (!cluster_id_.empty() && cluster->cluster_id() != cluster_id_) {
    co_return catalog::Refuse(pb::REASON_WRONG_CLUSTER,
                              "the catalog belongs to cluster {}, this process to {}", cluster->cluster_id(),
                              cluster_id_);
  }
  const auto known = access_.catalog().controllers().find(self_.id());
  if (known == access_.catalog().controllers().end()) co_return OkStatus();
  const pb::ControllerRecord& record = known->second.controller();
  pb::ControllerRecord wanted = record;
  wanted.set_address(self_.address());
  wanted.set_name(self_.name());
  if (!self_.zone().empty()) wanted.set_zone(self_.zone());
  if (wanted.uuid().empty()) wanted.set_uuid(self_.uuid());
  wanted.set_newest_format(self_.newest_format());
  wanted.set_software_version(self_.software_version());
  if (wanted.SerializeAsString() == record.SerializeAsString()) co_return OkStatus();
  ipb::CatalogCommand command;
  *command.mutable_update_controller()->mutable_controller() = std::move(wanted);
  const auto done = co_await access_.ProposeAndWait(std::move(command), epoch, stop);
  // Another record may still hold this address: its controller has moved and will say so once there is a
  // leader.
  if (catalog::IsReason(done.status(), pb::REASON_ALREADY_EXISTS)) co_return OkStatus();
  co_return done.status();
}

}  // namespace tenure::controller
