#include "sim/membership_checker.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/format.h"
#include "catalog/controllers.h"
#include "raft/quorum.h"
#include "sim/server.h"
#include "sim/world.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;

namespace {

// A leader does not know at once that somebody died: the election timeout, drift, and a pause of its own
// event loop.
constexpr Duration kMoment = std::chrono::seconds(4);
// The reconciler allows 100; what was committed in the same turn comes on top.
constexpr uint64_t kMaxLag = 300;

Machine* MachineOf(World& world, uint64_t controller) {
  for (const auto& machine : world.machines()) {
    if (machine->controller_id == controller) return machine.get();
  }
  return nullptr;
}

}  // namespace

// Whether it crashed, or lost its disk, so lately that no leader can know.
bool MembershipChecker::DiedAMomentAgo(const Machine& machine) const {
  return (machine.server == nullptr || machine.emptied) &&
         world_.scheduler().now() - machine.killed_at < kMoment;
}

// Its machine was given to another controller so lately that no leader can know.
bool MembershipChecker::GaveWayAMomentAgo(uint64_t controller) const {
  for (const auto& machine : world_.machines()) {
    if (machine->former_controller_id == controller &&
        world_.scheduler().now() - machine->killed_at < kMoment)
      return true;
  }
  return false;
}

bool MembershipChecker::Runs(uint64_t controller) const {
  const Machine* machine = MachineOf(world_, controller);
  if (machine == nullptr) return GaveWayAMomentAgo(controller);
  return (machine->server != nullptr && !machine->emptied) || DiedAMomentAgo(*machine);
}

void MembershipChecker::CheckPromoted(uint64_t id, LogIndex commit, const std::string& what) {
  if (GaveWayAMomentAgo(id)) return;
  const Machine* machine = MachineOf(world_, id);
  if (machine != nullptr && DiedAMomentAgo(*machine)) return;  // what it held is hidden
  if (machine == nullptr || machine->emptied || (machine->server == nullptr && machine->boots == 0)) {
    return world_.Fail("M3 only who runs and has caught up is promoted", what + " does not run");
  }
  if (machine->server == nullptr || !machine->server->started()) return;  // hidden as well
  controller::Controller* controller = machine->server->controller();
  const auto status = controller == nullptr ? std::nullopt : controller->host().StatusOf(kCatalogGroup);
  if (!status) return world_.Fail("M3 only who runs and has caught up is promoted", what + " has no replica");
  if (status->last.value() + kMaxLag >= commit.value() && status->last.value() > 0) return;
  world_.Fail("M3 only who runs and has caught up is promoted",
              fmt::format("{} holds the log up to {}, committed is {}", what, status->last, commit));
}

void MembershipChecker::OnConfiguration(uint64_t leader_id, const raft::Configuration& configuration) {
  if (!configuration.IsJoint()) return;
  ++changes_;
  const Machine* machine = MachineOf(world_, leader_id);
  if (machine == nullptr || !machine->server || machine->server->controller() == nullptr) return;
  controller::Controller& leader = *machine->server->controller();
  const size_t before = raft::VoterCount(configuration, raft::Half::kOld);
  const size_t after = raft::VoterCount(configuration, raft::Half::kNew);
  const size_t target = catalog::VoterTarget(*leader.catalog().cluster(), static_cast<uint32_t>(before));
  const std::string what = fmt::format("controller {} appends {} with target {}", leader_id,
                                       raft::ToString(configuration), target);
  world_.Note(what);
  if (after > target && after > before) world_.Fail("M1 no more voters than the target", what);
  if (after < std::min(before, target)) world_.Fail("M2 no fewer voters without a replacement", what);
  size_t running = 0;
  const auto status = leader.host().StatusOf(kCatalogGroup);
  for (const raft::Member& member : configuration.members) {
    if (!raft::VotesIn(member.role, raft::Half::kNew)) continue;
    if (Runs(member.id.value())) ++running;
    if (member.role == raft::MemberRole::kIncoming && status) {
      CheckPromoted(member.id.value(), status->commit, fmt::format("{}: {}", what, member.id));
    }
  }
  if (2 * running <= after) {
    world_.Fail("M4 a majority of the new voters runs",
                fmt::format("{}: {} of {} run", what, running, after));
  }
}

std::string MembershipChecker::Unsettled(controller::Controller& serving) const {
  const auto status = serving.host().StatusOf(kCatalogGroup);
  if (!status || status->configuration.IsJoint()) return "the configuration to be decided";
  size_t voters = 0;
  size_t members = 0;
  for (const auto& [id, record] : serving.catalog().controllers()) {
    const pb::ControllerRecord& controller = record.controller();
    if (catalog::IsRemoving(controller)) return fmt::format("controller {} to be removed", id);
    const raft::Member* member = status->configuration.Find(ReplicaId(id));
    if (catalog::IsRemoved(controller)) {
      if (member != nullptr) return fmt::format("removed controller {} to leave the group", id);
      continue;
    }
    if (member == nullptr) return fmt::format("controller {} to join the group", id);
    ++members;
    if (controller.voter()) ++voters;
    if (controller.voter() != status->configuration.IsVoter(ReplicaId(id))) {
      return fmt::format("the record of controller {} to say what it is", id);
    }
  }
  // After a recovery there may be fewer than the target.
  const size_t target = std::min<size_t>(
      members, catalog::VoterTarget(*serving.catalog().cluster(), static_cast<uint32_t>(voters)));
  if (status->configuration.members.size() != members) return "the group to have the members of the catalog";
  if (voters != target) return fmt::format("{} voters, there are {}", target, voters);
  for (const auto& machine : world_.machines()) {
    const auto found = serving.catalog().controllers().find(machine->controller_id);
    if (machine->lost || machine->controller_id == 0 || found == serving.catalog().controllers().end())
      continue;
    const bool removed = catalog::IsRemoved(found->second.controller());
    if (removed && !machine->server->retired() && machine->server->controller() != nullptr) {
      return fmt::format("{} to know that controller {} was removed", machine->name, machine->controller_id);
    }
    if (!removed && machine->server->controller() == nullptr) {
      return fmt::format("controller {} on {} to run", machine->controller_id, machine->name);
    }
  }
  return {};
}

}  // namespace tenure::sim
