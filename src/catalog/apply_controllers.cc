// The cluster's record and the controllers: who is to be a member of group 0. The configuration of the group
// follows these records, except for `voter`, which is written down after the configuration
// (docs/consensus.md).
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "catalog/apply.h"
#include "catalog/controllers.h"
#include "catalog/keys.h"

namespace tenure::catalog::apply {

using namespace ::tenure::v1;

namespace {

// Null, or the refusal of a command for a controller that is not there.
std::optional<CatalogResult> Absent(const Record* found, uint64_t id) {
  if (found == nullptr) return Refused(REASON_NOT_FOUND, fmt::format("controller {} does not exist", id));
  if (found->controller().state() != CONTROLLER_REMOVED) return std::nullopt;
  return Refused(REASON_NOT_FOUND, fmt::format("controller {} was removed", id), found->modify_revision());
}

void Write(Records& records, ControllerRecord controller, Change& change) {
  const uint64_t id = controller.id();
  Record record;
  *record.mutable_controller() = std::move(controller);
  records.controllers.Put(id, std::move(record), change);
}

// Other than `except`, not removed.
const ControllerRecord* HolderOf(const Records& records, std::string_view address, uint64_t except) {
  for (const auto& [id, record] : records.controllers.all()) {
    if (id == except || IsRemoved(record.controller())) continue;
    if (record.controller().address() == address) return &record.controller();
  }
  return nullptr;
}

}  // namespace

CatalogResult InitializeCluster(Records& records, commands::InitializeCluster& command, Change& change) {
  if (records.cluster) {
    return Refused(REASON_ALREADY_EXISTS,
                   fmt::format("the cluster exists already: {}", records.cluster->cluster().cluster_id()),
                   records.cluster->modify_revision());
  }
  Record record;
  record.set_create_revision(change.revision.value());
  record.set_modify_revision(change.revision.value());
  *record.mutable_cluster() = std::move(*command.mutable_cluster());
  change.state.Put(kClusterKey, record.SerializeAsString());
  Event& event = change.events.records.emplace_back();
  event.set_revision(change.revision.value());
  *event.mutable_new_record() = record;
  records.cluster = std::move(record);

  records.ids.set_next_node(1);
  records.ids.set_next_database(1);
  records.ids.set_next_region(1);
  change.state.Put(kIdsKey, records.ids.SerializeAsString());
  for (ControllerRecord& controller : *command.mutable_controllers()) {
    const uint64_t id = controller.id();
    controller.set_state(CONTROLLER_MEMBER);
    Record of_controller;
    *of_controller.mutable_controller() = std::move(controller);
    records.controllers.Put(id, std::move(of_controller), change);
  }
  return Done(change);
}

CatalogResult AddController(Records& records, commands::AddController& command, Change& change) {
  ControllerRecord& controller = *command.mutable_controller();
  const uint64_t id = controller.id();
  if (const Record* found = records.controllers.Find(id)) {
    const bool removed = IsRemoved(found->controller());
    return Refused(
        REASON_ALREADY_EXISTS,
        removed ? fmt::format("id {} belonged to a controller that was removed: ids are not used again", id)
                : fmt::format("controller {} exists already, at {}", id, found->controller().address()),
        found->modify_revision());
  }
  const ControllerRecord* holder = HolderOf(records, controller.address(), id);
  if (holder != nullptr && holder->id() != command.take_address_from()) {
    return Refused(REASON_ALREADY_EXISTS,
                   fmt::format("address {} belongs to controller {}", controller.address(), holder->id()));
  }
  const Census census = CensusOf(records.controllers.all());
  if (census.voters + census.learners + census.removing >= kMaxControllers) {
    return Refused(REASON_CONDITION_FAILED, fmt::format("there are {} controllers already, the limit is {}",
                                                        kMaxControllers, kMaxControllers));
  }
  controller.set_state(CONTROLLER_MEMBER);
  controller.set_voter(false);
  controller.clear_uuid();
  controller.clear_promote();
  controller.clear_no_spare();
  if (controller.name().empty()) controller.set_name(fmt::format("{}", id));
  if (holder != nullptr) {
    ControllerRecord moved = *holder;
    moved.clear_address();  // nothing is sent there in its name any more
    Write(records, std::move(moved), change);
  }
  Write(records, std::move(controller), change);
  return Done(change, true, id);
}

CatalogResult UpdateController(Records& records, commands::UpdateController& command, Change& change) {
  std::vector<ControllerRecord> wanted(command.others().begin(), command.others().end());
  wanted.push_back(command.controller());
  std::map<uint64_t, ControllerRecord> after;
  for (const auto& [id, record] : records.controllers.all()) after[id] = record.controller();
  for (const ControllerRecord& update : wanted) {
    const Record* found = records.controllers.Find(update.id());
    if (auto absent = Absent(found, update.id())) return *std::move(absent);
#ifndef TENURE_MUTANT_emptied_directory_returns
    // Whoever says it is this controller has to be it: the directory decides, the address does not.
    if (!update.uuid().empty() && !found->controller().uuid().empty() &&
        update.uuid() != found->controller().uuid()) {
      return Refused(REASON_CONDITION_FAILED,
                     fmt::format("controller {} belongs to another data directory (uuid {}, not {})",
                                 update.id(), found->controller().uuid(), update.uuid()),
                     found->modify_revision());
    }
#endif
    ControllerRecord& controller = after[update.id()];
    controller.set_address(update.address());
    controller.set_name(update.name());
    controller.set_zone(update.zone());
    if (!update.uuid().empty()) controller.set_uuid(update.uuid());
    if (update.newest_format() != 0) controller.set_newest_format(update.newest_format());
    if (!update.software_version().empty()) controller.set_software_version(update.software_version());
  }
  std::map<std::string_view, uint64_t> holders;
  for (const auto& [id, controller] : after) {
    if (IsRemoved(controller) || controller.address().empty()) continue;
    const auto [holder, free] = holders.emplace(controller.address(), id);
    if (free) continue;
    const uint64_t other = holder->second == command.controller().id() ? id : holder->second;
    return Refused(REASON_ALREADY_EXISTS,
                   fmt::format("address {} belongs to controller {}", controller.address(), other));
  }
  for (const ControllerRecord& update : wanted) Write(records, std::move(after[update.id()]), change);
  return Done(change, true, command.controller().id());
}

CatalogResult RemoveController(Records& records, commands::RemoveController& command, Change& change) {
  const Record* found = records.controllers.Find(command.controller());
  if (auto absent = Absent(found, command.controller())) return *std::move(absent);
  ControllerRecord controller = found->controller();
  const bool again = controller.state() == CONTROLLER_REMOVING;
  if (again && (controller.no_spare() || !command.force())) return Done(change, false, controller.id());
  const Census census = CensusOf(records.controllers.all());
  if (!again && census.removing > 0) {
    return Refused(REASON_BUSY,
                   fmt::format("controller {} is being removed: one at a time", census.removing_id));
  }
  if (controller.voter() && !again) {
    const uint32_t left = census.voters - 1;
    if (left + census.learners == 0) {
      return Refused(REASON_CONDITION_FAILED,
                     fmt::format("controller {} is the last one: add another first", controller.id()));
    }
    const uint32_t target = VoterTarget(records.cluster->cluster(), census.voters);
    if (!command.force() && left + census.learners < std::min(target, census.voters)) {
      return Refused(
          REASON_CONDITION_FAILED,
          fmt::format("controller {} is one of {} voters, the target is {}, and there is no other controller "
                      "to replace it: add one, lower the target, or force it",
                      controller.id(), census.voters, target),
          found->modify_revision());
    }
  }
  controller.set_state(CONTROLLER_REMOVING);
  controller.set_no_spare(command.force());
  controller.clear_promote();
  Write(records, std::move(controller), change);
  return Done(change, true, command.controller());
}

CatalogResult PromoteController(Records& records, commands::PromoteController& command, Change& change) {
  const Record* found = records.controllers.Find(command.controller());
  if (auto absent = Absent(found, command.controller())) return *std::move(absent);
  ControllerRecord controller = found->controller();
  if (controller.state() == CONTROLLER_REMOVING) {
    return Refused(REASON_CONDITION_FAILED, fmt::format("controller {} is being removed", controller.id()),
                   found->modify_revision());
  }
  if (controller.voter() || controller.promote()) return Done(change, false, controller.id());
  const Census census = CensusOf(records.controllers.all());
  const uint32_t target = VoterTarget(records.cluster->cluster(), census.voters);
  if (census.voters >= target) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("there are {} voters, and that is the target: raise the target, or remove one",
                               census.voters),
                   found->modify_revision());
  }
  controller.set_promote(true);
  Write(records, std::move(controller), change);
  return Done(change, true, command.controller());
}

CatalogResult SetVoterTarget(Records& records, commands::SetVoterTarget& command, Change& change) {
  if (records.cluster->cluster().voter_target() == command.target()) return Done(change, false);
  Event& event = change.events.records.emplace_back();
  event.set_revision(change.revision.value());
  *event.mutable_old_record() = *records.cluster;
  records.cluster->mutable_cluster()->set_voter_target(command.target());
  records.cluster->set_modify_revision(change.revision.value());
  *event.mutable_new_record() = *records.cluster;
  change.state.Put(kClusterKey, records.cluster->SerializeAsString());
  return Done(change);
}

CatalogResult SetControllerRole(Records& records, commands::SetControllerRole& command, Change& change) {
  const Record* found = records.controllers.Find(command.controller());
  if (auto absent = Absent(found, command.controller())) return *std::move(absent);
  ControllerRecord controller = found->controller();
  if (command.removed() && controller.state() != CONTROLLER_REMOVING) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("controller {} is not being removed", controller.id()),
                   found->modify_revision());
  }
  if (!command.removed() && controller.voter() == command.voter())
    return Done(change, false, controller.id());
  controller.set_voter(command.voter() && !command.removed());
  controller.clear_promote();
  if (command.removed()) controller.set_state(CONTROLLER_REMOVED);
  Write(records, std::move(controller), change);
  return Done(change, true, command.controller());
}

}  // namespace tenure::catalog::apply
