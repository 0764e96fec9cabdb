#include "cli/directory_repair.h"

#include <filesystem>
#include <future>

#include "base/format.h"
#include "base/time.h"
#include "cli/inspection.h"
#include "cli/output.h"
#include "recovery/intent.h"
#include "wal/inspect.h"
#include "wal/snapshot_store.h"

namespace tenure::cli {

DirectoryRepair::DirectoryRepair()
    : executor_("repair", runtime::RealExecutor::Work::kBlocking), disk_(executor_) {}

StatusOr<std::unique_ptr<DirectoryRepair>> DirectoryRepair::Open(const std::string& directory) {
  std::unique_ptr<DirectoryRepair> repair(new DirectoryRepair());
  TENURE_RETURN_IF_ERROR(repair->Look(directory));
  return repair;
}

Status DirectoryRepair::Look(const std::string& directory) {
  if (!wal::DataDirectory::IsInitialised(disk_, directory))
    return Error(StatusCode::kNotFound, "{} is no data directory of a process", directory);
  TENURE_ASSIGN_OR_RETURN(owned_, wal::DataDirectory::Open(disk_, directory));
  controller_id_ = identity().controller_id;
  unfinished_ = wal::SwapUnderWay(disk_, directory);
  if (unfinished_) return OkStatus();
  if (const Status there = owned_->CheckLog(); !there.ok()) return there;
  TENURE_RETURN_IF_ERROR(LookAtSnapshots());
  std::map<GroupId, wal::DamagedGroup> also_drop;
  for (const auto& [group, reason] : other_reasons_) also_drop[group].state_lost = true;
  TENURE_ASSIGN_OR_RETURN(plan_, wal::PlanRepair(disk_, directory, also_drop));
  return OkStatus();
}

// A group whose stored state ends before its log begins needs the snapshot between: the next start installs
// it.
Status DirectoryRepair::LookAtSnapshots() {
  TENURE_ASSIGN_OR_RETURN(const wal::Inspection log, wal::Inspect(disk_, owned_->log_path(), nullptr));
  std::map<GroupId, ReplicaId> groups;
  for (const auto& [id, group] : log.groups) {
    if (!group.tombstone && !group.state.mark.index.IsNone()) groups[id] = group.gone;
  }
  if (groups.empty()) return OkStatus();
  TENURE_ASSIGN_OR_RETURN(const auto applied, StoredAppliedOf(owned_->state_path(), groups));
  std::unique_ptr<wal::SnapshotStore> store;
  for (const auto& [id, gone] : groups) {
    const raft::SnapshotMark& mark = log.groups.at(id).state.mark;
    const auto stands = applied.find(id);
    if (stands != applied.end() && stands->second >= mark.index) continue;
    if (!store) {
      TENURE_ASSIGN_OR_RETURN(store, wal::SnapshotStore::Open(disk_, owned_->snapshots_path()));
    }
    const auto reader = store->NewReader({id, mark.index, mark.term});
    const Status usable = reader.ok() ? (*reader)->Verify() : reader.status();
    if (!usable.ok())
      other_reasons_[id] = fmt::format("the snapshot it needs cannot be read: {}", MessageOf(usable));
  }
  return OkStatus();
}

StatusOr<std::string> DirectoryRepair::Execute(bool drop_controller) {
  if (!unfinished_) {
    if (NothingLeft()) {
      return Error(
          StatusCode::kFailedPrecondition,
          "nothing in {} can be kept{}: put the directory aside and start the process with an empty one, as "
          "a "
          "new node and under a new controller id",
          path(),
          plan_.everything
              ? ", because part of the damage cannot be read and any replica here may have lost a vote "
                "in it"
              : "");
    }
    if (DropsController() && !drop_controller) {
      return Error(
          StatusCode::kFailedPrecondition,
          "group 0 (the catalog) is affected, and a controller cannot come back under its id {}: with "
          "--drop-controller the process goes on as a node only (--roles node); then `tenure controller "
          "remove` "
          "it and add another controller with an empty directory",
          identity().controller_id);
    }
    TENURE_RETURN_IF_ERROR(Build());
    TENURE_RETURN_IF_ERROR(RecordInIdentity());
    TENURE_ASSIGN_OR_RETURN(const auto store, wal::SnapshotStore::Open(disk_, owned_->snapshots_path()));
    for (const auto& [group, damage] : plan_.dropped) TENURE_RETURN_IF_ERROR(store->RemoveGroup(group));
  }
  return wal::SwapLogs(disk_, path());
}

Status DirectoryRepair::Build() {
  std::promise<Status> built;
  executor_.Post([this, &built] {
    wal::BuildRepairedLog(disk_, executor_, path(), plan_, wal::WalOptions(), Logger(),
                          [&built](Status status) { built.set_value(std::move(status)); });
  });
  return built.get_future().get();
}

// Before the logs are exchanged: a crash in between leaves a directory that is still damaged and says so.
Status DirectoryRepair::RecordInIdentity() {
  wal::Identity changed = identity();
  std::string groups;
  for (const auto& [group, damage] : plan_.dropped)
    groups += fmt::format("{}{}", groups.empty() ? "" : ", ", group);
  recovery::AddToHistory(
      changed, fmt::format("{} repair: dropped groups {}", FormatTime(ToMillis(executor_.WallNow())),
                           groups.empty() ? "none" : groups));
  if (DropsController()) changed.controller_id = ControllerId();
  return owned_->Update(changed);
}

}  // namespace tenure::cli
