#include "sim/membership_operator.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/format.h"
#include "catalog/controllers.h"
#include "sim/server.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;

namespace {

// Of a controller; null if it has none.
const pb::ControllerRecord* RecordOf(controller::Controller& serving, uint64_t id) {
  const auto found = serving.catalog().controllers().find(id);
  return found == serving.catalog().controllers().end() ? nullptr : &found->second.controller();
}

}  // namespace

void MembershipOperator::Start() {
  next_id_ = world_.machines().size() + 1;
  if (world_.options().spares > 0) Schedule();
}

void MembershipOperator::Schedule() {
  const Duration gap =
      finishing_ ? std::chrono::milliseconds(500) : std::chrono::milliseconds(prng_.Between(100, 3000));
  next_ = world_.scheduler().At(world_.scheduler().now() + gap, "operator", [this] {
    if (asked_ < 2) {
      if (finishing_) {
        Tidy();
      } else {
        Act();
      }
    }
    Schedule();
  });
}

std::string MembershipOperator::Unfinished() const {
  if (world_.options().spares == 0) return {};
  if (lost_) return fmt::format("the operator to replace the lost controller {}", lost_->old_id);
  return asked_ == 0 ? std::string() : "an answer to the operator";
}

void MembershipOperator::Ask(std::string_view method, const std::string& request, const std::string& what) {
  ++asked_;
  ++actions_;
  world_.Note("operator: " + what);
  world_.Ask(method, request, [this, what](const StatusOr<std::string>& answer) {
    --asked_;
    world_.Note(fmt::format("operator: {}: {}", what,
                            answer.ok() ? "done" : std::string(MessageOf(answer.status()))));
  });
}

void MembershipOperator::Act() {
  if (lost_) return ReplaceLost();
  switch (prng_.Below(8)) {
    case 0:
    case 1:
      return AddSpare();
    case 2:
    case 3:
      if (const auto id = DrawMember()) Remove(*id);
      return;
    case 4:
      return SetTarget(prng_.Chance(1, 2) ? 3 : 5);
    case 5:
      if (const auto id = DrawMember()) Promote(*id);
      return;
    default:
      return LoseDisk();
  }
}

// The target must be possible in the end.
void MembershipOperator::Tidy() {
  if (lost_) return ReplaceLost();
  controller::Controller* serving = world_.ServingController();
  if (serving == nullptr || asked_ > 0) return;
  const catalog::Census census = catalog::CensusOf(serving->catalog().controllers());
  const uint32_t target = catalog::VoterTarget(*serving->catalog().cluster(), census.voters);
  if (census.voters + census.learners >= target) return;
  if (FreeSpare()) return AddSpare();
  if (target != 3) SetTarget(3);
}

std::optional<size_t> MembershipOperator::FreeSpare() const {
  controller::Controller* serving = world_.ServingController();
  if (serving == nullptr) return std::nullopt;
  for (size_t i = 0; i < world_.machines().size(); ++i) {
    const Machine& machine = *world_.machines()[i];
    if (machine.node || (lost_ && lost_->machine == i)) continue;
    if (machine.controller_id == 0) return i;
    const pb::ControllerRecord* record = RecordOf(*serving, machine.controller_id);
    if (record != nullptr && catalog::IsRemoved(*record)) return i;
  }
  return std::nullopt;
}

std::optional<uint64_t> MembershipOperator::DrawMember() {
  controller::Controller* serving = world_.ServingController();
  if (serving == nullptr) return std::nullopt;
  std::vector<uint64_t> members;
  for (const auto& [id, record] : serving->catalog().controllers()) {
    if (!catalog::IsRemoved(record.controller())) members.push_back(id);
  }
  if (members.empty()) return std::nullopt;
  return members[prng_.Below(members.size())];
}

void MembershipOperator::AddSpare() {
  if (const auto machine = FreeSpare()) Add(*machine);
}

// A new controller on an empty disk: its process is started before or after it is added.
void MembershipOperator::Add(size_t index) {
  Machine& machine = *world_.machines()[index];
  world_.Kill(index, CrashKind::kPower);
  world_.EmptyDisk(index);
  machine.emptied = false;
  machine.former_controller_id = machine.controller_id;
  machine.controller_id = next_id_++;
  machine.controller_uuid = fmt::format("directory {} of {}", machine.controller_id, machine.name);
  const auto boot = [this, index, id = machine.controller_id] {
    if (!world_.Up(index) && world_.machines()[index]->controller_id == id) world_.Boot(index);
  };
  if (prng_.Chance(1, 2)) {
    boot();
  } else {
    world_.scheduler().After(std::chrono::milliseconds(prng_.Between(0, 3000)), "operator boots", boot);
  }
  pb::AddControllerRequest request;
  *request.mutable_id() = world_.NextRequestId();
  request.set_controller(machine.controller_id);
  request.set_address(machine.address);
  Ask("tenure.v1.Cluster/AddController", request.SerializeAsString(),
      fmt::format("add controller {} on {}", machine.controller_id, machine.name));
}

void MembershipOperator::Remove(uint64_t id) {
  pb::RemoveControllerRequest request;
  *request.mutable_id() = world_.NextRequestId();
  request.set_controller(id);
  Ask("tenure.v1.Cluster/RemoveController", request.SerializeAsString(),
      fmt::format("remove controller {}", id));
}

void MembershipOperator::SetTarget(uint32_t target) {
  pb::SetVoterTargetRequest request;
  *request.mutable_id() = world_.NextRequestId();
  request.set_target(target);
  Ask("tenure.v1.Cluster/SetVoterTarget", request.SerializeAsString(), fmt::format("target {}", target));
}

void MembershipOperator::Promote(uint64_t id) {
  pb::PromoteControllerRequest request;
  *request.mutable_id() = world_.NextRequestId();
  request.set_controller(id);
  Ask("tenure.v1.Cluster/PromoteController", request.SerializeAsString(),
      fmt::format("promote controller {}", id));
}

// The disk of a controller is gone. Its process is started again as if nothing had happened, and must be
// refused.
void MembershipOperator::LoseDisk() {
  controller::Controller* serving = world_.ServingController();
  if (serving == nullptr) return;
  const auto status = serving->host().StatusOf(kCatalogGroup);
  if (!status || status->configuration.IsJoint() || status->configuration_index > status->commit) return;
  const auto& members = status->configuration.members;
  const auto voters = std::count_if(members.begin(), members.end(), [](const raft::Member& member) {
    return member.role == raft::MemberRole::kVoter;
  });
  if (voters < 3) return;
  const size_t index = prng_.Below(world_.machines().size());
  Machine& machine = *world_.machines()[index];
  const pb::ControllerRecord* record = RecordOf(*serving, machine.controller_id);
  // One that has never announced itself has nothing to forget.
  if (machine.node || record == nullptr || catalog::IsRemoved(*record) || record->uuid().empty()) return;
  ++actions_;
  world_.Note(
      fmt::format("operator: the disk of controller {} on {} is lost", machine.controller_id, machine.name));
  world_.Kill(index, CrashKind::kPower);
  world_.EmptyDisk(index);
  machine.emptied = true;
  machine.controller_uuid = fmt::format("directory after {} of {}", machine.controller_id, machine.name);
  lost_ = Lost{.machine = index, .old_id = machine.controller_id};
  world_.Boot(index);
}

void MembershipOperator::ReplaceLost() {
  if (!lost_->replaced) {
    Add(lost_->machine);
    lost_->replaced = true;
    return;
  }
  controller::Controller* serving = world_.ServingController();
  if (serving == nullptr) return;
  const Machine& machine = *world_.machines()[lost_->machine];
  const pb::ControllerRecord* old = RecordOf(*serving, lost_->old_id);
  const pb::ControllerRecord* fresh = RecordOf(*serving, machine.controller_id);
  if (fresh == nullptr && asked_ == 0) {
    // The addition was refused or lost: the same again, under the same id.
    pb::AddControllerRequest request;
    *request.mutable_id() = world_.NextRequestId();
    request.set_controller(machine.controller_id);
    request.set_address(machine.address);
    return Ask("tenure.v1.Cluster/AddController", request.SerializeAsString(),
               fmt::format("add controller {} again", machine.controller_id));
  }
  if (old == nullptr || catalog::IsRemoved(*old)) {
    lost_.reset();
  } else if (asked_ == 0) {
    // A voter is not removed without a replacement: there is one, or the target is lowered. A removal that is
    // recorded may have lost its replacement since: it was promoted to fill another place.
    const catalog::Census census = catalog::CensusOf(serving->catalog().controllers());
    if (census.learners == 0 && serving->catalog().cluster()->voter_target() > 3) return SetTarget(3);
    if (census.learners == 0 && census.voters <= serving->catalog().cluster()->voter_target() && FreeSpare())
      return AddSpare();
    if (!catalog::IsRemoving(*old)) Remove(lost_->old_id);
  }
}

}  // namespace tenure::sim
