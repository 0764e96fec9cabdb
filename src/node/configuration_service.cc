#include "node/configuration_service.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "catalog/refusal.h"
#include "node/sender_check.h"
#include "raft/config_change.h"

namespace tenure::node {

namespace ipb = ::tenure::internal::v1;
using catalog::Refuse;
using group::ProposeOutcome;

namespace {

constexpr Duration kCatchUpPoll = std::chrono::milliseconds(10);

Status NotLedHere(uint64_t region) {
  return Error(StatusCode::kFailedPrecondition, "region {} is not led here", region);
}

}  // namespace

Status ConfigurationService::CheckGroup(const Request& request,
                                        const std::optional<group::GroupStatus>& now) const {
  if (!now || now->role != raft::Role::kLeader) return NotLedHere(request.region());
  if (now->commit < now->configuration_index || now->configuration.IsJoint()) {
    return Refuse(pb::REASON_BUSY, "region {}: a change of its configuration is under way", request.region());
  }
#ifndef TENURE_MUTANT_configuration_unconditional
  if (now->configuration_index != LogIndex(request.if_index())) {
    return Refuse(pb::REASON_CONDITION_FAILED,
                  "if_index {}: the configuration of region {} in force is {}, of index {}",
                  request.if_index(), request.region(), raft::ToString(now->configuration),
                  now->configuration_index);
  }
#endif
  return OkStatus();
}

StatusOr<raft::Configuration> ConfigurationService::TargetOf(const Request& request,
                                                             const group::GroupStatus& now) const {
  raft::Configuration target;
  for (const pb::ReplicaRecord& replica : request.replicas()) {
    const ReplicaId id(replica.id());
    if (replica.role() != pb::REPLICA_VOTER && replica.role() != pb::REPLICA_LEARNER) {
      return Refuse(pb::REASON_INVALID_ARGUMENT, "replicas: replica {} must be voter or learner", id);
    }
    const raft::Member* before = now.configuration.Find(id);
    if (before != nullptr && before->host != replica.node()) {
      return Refuse(pb::REASON_INVALID_ARGUMENT, "replicas: replica {} is on node {}, not on node {}", id,
                    before->host, replica.node());
    }
    const bool twice = std::any_of(
        target.members.begin(), target.members.end(),
        [&](const raft::Member& other) { return other.id == id || other.host == replica.node(); });
    if (twice) {
      return Refuse(pb::REASON_INVALID_ARGUMENT,
                    "replicas: replica {} on node {}: ids and nodes may be named once", id, replica.node());
    }
    // Whoever is added must be found by the group's messages.
    const pb::NodeRecord* node = surroundings_.view.FindNode(NodeId(replica.node()));
    if (before == nullptr && (node == nullptr || node->address().empty())) {
      return Refuse(pb::REASON_UNAVAILABLE,
                    "replicas: replica {}: the address of node {} is not known here at revision {}", id,
                    replica.node(), surroundings_.view.revision());
    }
    target.members.push_back(
        {id, replica.node(),
         replica.role() == pb::REPLICA_LEARNER ? raft::MemberRole::kLearner : raft::MemberRole::kVoter});
  }
  std::sort(target.members.begin(), target.members.end());
  if (const Status status = raft::ValidateTarget(target); !status.ok()) {
    return Refuse(pb::REASON_INVALID_ARGUMENT, "replicas: {}", MessageOf(status));
  }
  return target;
}

void ConfigurationService::OnChangeConfiguration(const runtime::CallInfo& info, const std::string& bytes,
                                                 runtime::Reply reply) {
  Request request;
  if (!request.ParseFromString(bytes)) {
    return reply(
        Refuse(pb::REASON_INVALID_ARGUMENT, "the message is not a valid ChangeConfigurationRequest"));
  }
  if (Status status = CheckSender(request, cluster_id_, surroundings_.agent); !status.ok())
    return reply(std::move(status));
  const GroupId group(request.region());
  const auto now = request.region() == 0 ? std::nullopt : surroundings_.host.StatusOf(group);
  if (Status status = CheckGroup(request, now); !status.ok()) return reply(std::move(status));
  StatusOr<raft::Configuration> target = TargetOf(request, *now);
  if (!target.ok()) return reply(target.status());
  if (scope_.running() >= kMaxChanges || scope_.stop_requested()) {
    return reply(Refuse(pb::REASON_OVERLOADED, "{} changes of configurations are under way, the limit is {}",
                        scope_.running(), kMaxChanges));
  }
  for (const raft::Member& member : target->members) {
    const pb::NodeRecord* node = surroundings_.view.FindNode(NodeId(member.host));
    if (node != nullptr) surroundings_.addresses.Set(member.host, node->address());
  }
  logger_.Info("region {}: the configuration goes from {} to {}", request.region(),
               raft::ToString(now->configuration), raft::ToString(*target));
  const Instant until = std::min(info.deadline, surroundings_.executor.Now() + kLimit);
  scope_.Spawn(Change(group, *std::move(target), until, std::move(reply)));
}

runtime::Task<void> ConfigurationService::Change(GroupId group, raft::Configuration target, Instant until,
                                                 runtime::Reply reply) {
  const StatusOr<uint64_t> index = co_await Propose(group, std::move(target), until);
  if (!index.ok()) {
    reply(index.status());
    co_return;
  }
  ipb::ChangeConfigurationResponse response;
  response.set_index(*index);
  reply(response.SerializeAsString());
  surroundings_.agent.NoteChange();
}

runtime::Task<StatusOr<uint64_t>> ConfigurationService::Propose(GroupId group, raft::Configuration target,
                                                                Instant until) {
  auto propose = [this, group, target](Callback<StatusOr<ProposeOutcome>> done) {
    surroundings_.host.ProposeConfiguration(
        group, target,
        [done = std::move(done)](ProposeOutcome outcome) mutable { done(std::move(outcome)); });
  };
  const StatusOr<ProposeOutcome> outcome = co_await runtime::AsyncUntil<StatusOr<ProposeOutcome>>(
      surroundings_.executor, scope_.token(), std::move(propose));
  if (!outcome.ok()) co_return Refuse(pb::REASON_UNKNOWN_OUTCOME, "region {}: this node is stopping", group);
  switch (outcome->kind) {
    case ProposeOutcome::Kind::kApplied:
      break;
    case ProposeOutcome::Kind::kNotLeader:
      co_return NotLedHere(group.value());
    case ProposeOutcome::Kind::kTransferring:
    case ProposeOutcome::Kind::kOverloaded:
    case ProposeOutcome::Kind::kOutOfSpace:
      co_return Refuse(pb::REASON_BUSY, "region {}: its leader cannot take a change at the moment", group);
    case ProposeOutcome::Kind::kUnknown:
      co_return Refuse(pb::REASON_UNKNOWN_OUTCOME, "region {}: its leader left office", group);
  }
  // The entry that is applied now may be the joint configuration; the group leaves it by itself.
  while (true) {
    const auto now = surroundings_.host.StatusOf(group);
    if (now && now->commit >= now->configuration_index && now->configuration == target) {
      co_return now->configuration_index.value();
    }
    if (surroundings_.executor.Now() >= until ||
        !co_await runtime::SleepFor(surroundings_.executor, kCatchUpPoll, scope_.token())) {
      co_return Refuse(pb::REASON_UNKNOWN_OUTCOME,
                       "region {}: the joint configuration is in force, leaving it takes long", group);
    }
  }
}

}  // namespace tenure::node
