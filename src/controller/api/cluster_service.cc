#include "controller/api/cluster_service.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "catalog/refusal.h"
#include "catalog/state_moves.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
using catalog::Refuse;
using runtime::CallInfo;
using runtime::Reply;

namespace {

constexpr Duration kPoll = std::chrono::milliseconds(10);
constexpr Duration kControllerTransferLimit = std::chrono::seconds(10);
constexpr Duration kRegionTransferLimit = std::chrono::seconds(10);
constexpr Duration kRepeatTransfer = std::chrono::seconds(1);
constexpr Duration kMargin = std::chrono::milliseconds(100);  // before the caller's deadline

Instant Until(Instant now, Instant deadline, Duration limit) {
  return deadline == kFarFuture ? now + limit : std::min(deadline - kMargin, now + limit);
}

}  // namespace

ClusterService::ClusterService(runtime::Executor& executor, CatalogAccess& access,
                               const Leadership& leadership, const Observation& observation)
    : executor_(executor),
      access_(access),
      leadership_(leadership),
      observation_(observation),
      scope_(executor) {
  calls_["Status"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::StatusRequest, pb::StatusResponse>(bytes, std::move(reply),
                                                 [this](auto, auto done) { done(observation_.Status()); });
  };
  calls_["ListControllers"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::ListControllersRequest, pb::ListControllersResponse>(
        bytes, std::move(reply), [this](auto, auto done) { done(observation_.Controllers()); });
  };
  calls_["ListNodes"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::ListNodesRequest, pb::ListNodesResponse>(bytes, std::move(reply), [this](auto, auto done) {
      // Only the leader hears from nodes.
      if (const Status leading = leadership_.CheckLeading(); !leading.ok()) return done(leading);
      done(observation_.Nodes());
    });
  };
  calls_["TransferLeadership"] = [this](const CallInfo& info, std::string bytes, Reply reply) {
    Serve<pb::TransferLeadershipRequest, pb::TransferLeadershipResponse>(
        bytes, std::move(reply), [this, deadline = info.deadline](auto request, auto done) {
          scope_.Spawn(Transfer(deadline, ReplicaId(request.to()), std::move(done)));
        });
  };
}

void ClusterService::OnCall(const CallInfo& info, std::string request, Reply reply) {
  Route(calls_, info, std::move(request), std::move(reply));
}

StatusOr<ReplicaId> ClusterService::ChooseSuccessor(ReplicaId wanted) const {
  const auto group = access_.group().StatusOf();
  if (!group) return Refuse(pb::REASON_UNAVAILABLE, "this controller is starting");
  if (!wanted.IsNone()) {
    if (!group->configuration.IsVoter(wanted)) {
      return Refuse(pb::REASON_NOT_FOUND, "to: controller {} is no voter of the cluster", wanted);
    }
    return wanted;
  }
  const raft::RaftCore::PeerStatus* best = nullptr;
  for (const auto& peer : group->peers) {
    if (peer.id == group->self || !peer.active || !group->configuration.IsVoter(peer.id)) continue;
    if (best == nullptr || peer.match > best->match) best = &peer;
  }
  if (best == nullptr) return Refuse(pb::REASON_UNAVAILABLE, "no other voter has been heard from");
  return best->id;
}

runtime::Task<void> ClusterService::Transfer(Instant deadline, ReplicaId to,
                                             Answer<pb::TransferLeadershipResponse> done) {
  const auto stop = scope_.token();
  if (const Status leading = leadership_.CheckLeading(); !leading.ok()) {
    done(leading);
    co_return;
  }
  const StatusOr<ReplicaId> chosen = ChooseSuccessor(to);
  if (!chosen.ok()) {
    done(chosen.status());
    co_return;
  }
  pb::TransferLeadershipResponse response;
  const raft::ProposeResult accepted = access_.group().TransferLeadership(*chosen);
  if (accepted != raft::ProposeResult::kAccepted && accepted != raft::ProposeResult::kTransferring) {
    done(accepted == raft::ProposeResult::kNotLeader
             ? leadership_.NotLeader()
             : Refuse(pb::REASON_BUSY, "leadership cannot be handed to controller {} now", *chosen));
    co_return;
  }
  const Instant until = Until(executor_.Now(), deadline, kControllerTransferLimit);
  while (executor_.Now() < until) {
    const ReplicaId leader = leadership_.leader();
    if (!leader.IsNone() && (leader == *chosen || leader != leadership_.self())) {
      response.set_leader_id(leader.value());
      done(std::move(response));
      co_return;
    }
    if (!co_await runtime::SleepFor(executor_, kPoll, stop)) break;
  }
  done(Refuse(pb::REASON_UNAVAILABLE, "controller {} has not taken over yet", *chosen));
}

RegionsService::RegionsService(runtime::Executor& executor, CatalogAccess& access,
                               const Leadership& leadership, const Observation& observation,
                               AgentService& agents)
    : executor_(executor),
      access_(access),
      leadership_(leadership),
      observation_(observation),
      agents_(agents),
      scope_(executor) {
  calls_["List"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::ListRegionsRequest, pb::ListRegionsResponse>(
        bytes, std::move(reply), [this](auto request, auto done) { List(request, std::move(done)); });
  };
  calls_["TransferLeader"] = [this](const CallInfo& info, std::string bytes, Reply reply) {
    Serve<pb::TransferRegionRequest, pb::TransferRegionResponse>(
        bytes, std::move(reply), [this, deadline = info.deadline](auto request, auto done) {
          TransferLeader(deadline, request, std::move(done));
        });
  };
  calls_["Recover"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::RecoverRegionsRequest, pb::RecoverRegionsResponse>(
        bytes, std::move(reply), [this](auto request, auto done) { Recover(request, std::move(done)); });
  };
}

void RegionsService::OnCall(const CallInfo& info, std::string request, Reply reply) {
  Route(calls_, info, std::move(request), std::move(reply));
}

void RegionsService::List(const pb::ListRegionsRequest& request, Answer<pb::ListRegionsResponse> done) {
  if (const Status leading = leadership_.CheckLeading(); !leading.ok()) return done(leading);
  if (request.database().empty()) return done(observation_.Regions(std::nullopt));
  const pb::Record* database = access_.catalog().FindDatabase(request.database());
  if (database == nullptr) {
    return done(Refuse(pb::REASON_NOT_FOUND, "database: there is no database '{}'", request.database()));
  }
  done(observation_.Regions(database->database().id()));
}

void RegionsService::TransferLeader(Instant deadline, const pb::TransferRegionRequest& request,
                                    Answer<pb::TransferRegionResponse> done) {
  if (const Status serving = leadership_.CheckServing(); !serving.ok()) return done(serving);
  const auto found = access_.catalog().regions().find(request.region());
  if (found == access_.catalog().regions().end()) {
    return done(Refuse(pb::REASON_NOT_FOUND, "region: there is no region {}", request.region()));
  }
  const pb::RegionRecord& region = found->second.region();
  if (region.state() == pb::REGION_REMOVING) {
    return done(Refuse(pb::REASON_CONDITION_FAILED, "region {} is being removed", request.region()));
  }
  for (const pb::ReplicaRecord& replica : region.replicas()) {
    if (replica.node() != request.to_node() || replica.role() != pb::REPLICA_VOTER) continue;
    scope_.Spawn(Transfer(deadline, RegionId(request.region()), NodeId(request.to_node()),
                          ReplicaId(replica.id()), std::move(done)));
    return;
  }
  done(Refuse(pb::REASON_INVALID_ARGUMENT, "to_node: node {} holds no voting replica of region {}",
              request.to_node(), request.region()));
}

runtime::Task<void> RegionsService::Transfer(Instant deadline, RegionId region, NodeId to_node, ReplicaId to,
                                             Answer<pb::TransferRegionResponse> done) {
  const auto stop = scope_.token();
  const Term epoch = leadership_.epoch();
  const Instant until = Until(executor_.Now(), deadline, kRegionTransferLimit);
  Instant ask_again = executor_.Now();
  NodeId leader;
  while (executor_.Now() < until && leadership_.epoch() == epoch) {
    const RegionLeaderView* view = agents_.region_leaders().Find(region);
    leader = view == nullptr ? NodeId() : view->node;
    if (leader == to_node) {
      pb::TransferRegionResponse response;
      response.set_leader_node(leader.value());
      done(std::move(response));
      co_return;
    }
    if (!leader.IsNone() && executor_.Now() >= ask_again) {
      agents_.RequestTransfer(leader, region, to);
      ask_again = executor_.Now() + kRepeatTransfer;
    }
    if (!co_await runtime::SleepFor(executor_, kPoll, stop)) break;
  }
  if (leadership_.epoch() != epoch) {
    done(leadership_.NotLeader());
  } else if (leader.IsNone()) {
    done(Refuse(pb::REASON_UNAVAILABLE, "region {} has no leader that could hand over", region));
  } else {
    done(Refuse(pb::REASON_UNAVAILABLE, "region {} is still led by node {}", region, leader));
  }
}

}  // namespace tenure::controller
