#include "controller/membership/membership_reconciler.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "base/rare_path.h"
#include "catalog/controllers.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
using planner::MembershipStep;

namespace {

constexpr Duration kReconcilerBeat = std::chrono::milliseconds(200);
// A beat this late means that this process stood still, and heard nobody because of itself.
constexpr Duration kLateBeat = 5 * kReconcilerBeat;
// How long a leader that is to go waits for its successor before it asks again.
constexpr Duration kTransferLimit = std::chrono::seconds(3);
// A learner this close behind the commit index catches up within a round trip or two.
constexpr uint64_t kMaxLag = 100;

}  // namespace

MembershipReconciler::MembershipReconciler(runtime::Executor& executor, CatalogAccess& access,
                                           planner::MembershipOptions options, Logger logger)
    : executor_(executor),
      access_(access),
      options_(options),
      logger_(std::move(logger)),
      self_(std::make_shared<MembershipReconciler*>(this)) {}

MembershipReconciler::~MembershipReconciler() {
  *self_ = nullptr;
}

runtime::Task<Status> MembershipReconciler::Start(Term epoch, runtime::StopToken) {
  epoch_ = epoch;
  last_beat_ = executor_.Now();
  heard_.clear();
  in_flight_ = false;
  transfer_until_ = executor_.Now();
  OnBeat();
  co_return OkStatus();
}

void MembershipReconciler::Stop() {
  epoch_ = Term();
  beat_.Cancel();
  waiting_.clear();
}

void MembershipReconciler::OnCatalogChanged(const std::vector<pb::Event>& events, Revision) {
  const bool concerns = std::any_of(events.begin(), events.end(), [](const pb::Event& event) {
    return event.new_record().has_controller() || event.new_record().has_cluster();
  });
  if (concerns) ScheduleLook();
}

void MembershipReconciler::ScheduleLook() {
  if (epoch_.IsNone() || std::exchange(look_posted_, true)) return;
  executor_.Post([self = self_] {
    if (*self == nullptr) return;
    (*self)->look_posted_ = false;
    (*self)->Look();
  });
}

void MembershipReconciler::OnBeat() {
  const Instant now = executor_.Now();
  if (now - last_beat_ > kLateBeat) heard_.clear();
  last_beat_ = now;
  beat_ = executor_.After(kReconcilerBeat, [this] { OnBeat(); });
  Look();
}

std::map<uint64_t, planner::MemberEvidence> MembershipReconciler::Observe(const group::GroupStatus& group) {
  const Instant now = executor_.Now();
  std::map<uint64_t, planner::MemberEvidence> members;
  for (const raft::Member& member : group.configuration.members) {
    planner::MemberEvidence& evidence = members[member.id.value()];
    evidence.voter = member.role == raft::MemberRole::kVoter;
    if (member.id == group.self) {
      evidence.active = evidence.caught_up = true;
      evidence.match = group.last.value();
    }
  }
  for (const raft::RaftCore::PeerStatus& peer : group.peers) {
    const auto found = members.find(peer.id.value());
    if (found == members.end()) continue;
    planner::MemberEvidence& evidence = found->second;
    const auto [heard, first] = heard_.try_emplace(peer.id.value(), now);
    if (peer.active) heard->second = now;
    evidence.active = peer.active;
    evidence.silence = now - heard->second;
    evidence.match = peer.match.value();
    // A new peer counts as active for a while: only what it acknowledged proves that it is there.
    evidence.caught_up = !peer.in_snapshot && peer.match >= group.configuration_index &&
                         peer.match.value() + kMaxLag >= group.commit.value();
  }
  return members;
}

void MembershipReconciler::Look() {
  if (epoch_.IsNone() || access_.catalog().cluster() == nullptr) return;
  const auto group = access_.group().StatusOf();
  if (!group || group->role != raft::Role::kLeader) return;
  const auto members = Observe(*group);
  const bool undecided = group->configuration.IsJoint() || group->configuration_index > group->commit;
  if (in_flight_ || undecided || executor_.Now() < transfer_until_) return;
  const auto voters = static_cast<uint32_t>(
      std::count_if(members.begin(), members.end(), [](const auto& member) { return member.second.voter; }));
  const uint32_t target = catalog::VoterTarget(*access_.catalog().cluster(), voters);
  MembershipStep step = planner::PlanMembership(access_.catalog().controllers(), members, group->self.value(),
                                                target, options_);
  if (step.kind != MembershipStep::Kind::kNone) return Take(std::move(step));
  if (step.reason == waiting_) return;
  waiting_ = std::move(step.reason);
  if (!waiting_.empty()) logger_.Info("{}", waiting_);
}

void MembershipReconciler::Take(MembershipStep step) {
  waiting_ = step.reason;
  const auto finish = [self = self_, epoch = epoch_](const Status& status) {
    if (*self != nullptr) (*self)->Finish(epoch, status);
  };
  switch (step.kind) {
    case MembershipStep::Kind::kNone:
      return;
    case MembershipStep::Kind::kTransfer:
      logger_.Info("leadership goes to controller {}: {}", step.controller, step.reason);
      transfer_until_ = executor_.Now() + kTransferLimit;
      access_.group().TransferLeadership(ReplicaId(step.controller));
      return;
    case MembershipStep::Kind::kConfigure: {
      raft::Configuration target;
      for (const auto& [id, voter] : step.members) {
        target.members.push_back({.id = ReplicaId(id),
                                  .host = id,
                                  .role = voter ? raft::MemberRole::kVoter : raft::MemberRole::kLearner});
      }
      logger_.Info("configuration {}: {}", raft::ToString(target), step.reason);
      in_flight_ = true;
      access_.group().ProposeConfiguration(target, [finish](group::ProposeOutcome outcome) {
        finish(outcome.kind == group::ProposeOutcome::Kind::kApplied
                   ? OkStatus()
                   : Error(StatusCode::kUnavailable,
                           "the configuration was not changed, or leadership was lost"));
      });
      return;
    }
    case MembershipStep::Kind::kRole:
    case MembershipStep::Kind::kRemoved: {
      const bool removed = step.kind == MembershipStep::Kind::kRemoved;
      logger_.Info("record of controller {}: {}", step.controller, step.reason);
      ipb::CatalogCommand command;
      ipb::SetControllerRole& set = *command.mutable_set_controller_role();
      set.set_controller(step.controller);
      set.set_voter(step.voter);
      set.set_removed(removed);
      in_flight_ = true;
      access_.ProposeInEpoch(
          std::move(command), epoch_,
          [finish](const StatusOr<ipb::CatalogResult>& result) { finish(result.status()); });
      return;
    }
  }
}

void MembershipReconciler::Finish(Term epoch, const Status& status) {
  if (epoch_ != epoch) return;
  in_flight_ = false;
  if (status.ok()) return ScheduleLook();
  TENURE_RARE_PATH("controller: a step of membership was not taken");
  logger_.Info("a step was not taken: {}", MessageOf(status));  // the next beat looks again
}

}  // namespace tenure::controller
