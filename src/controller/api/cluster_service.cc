#include "controller/api/cluster_service.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "catalog/refusal.h"
#include "catalog/state_moves.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
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
                               const Leadership& leadership, const Observation& observation,
                               PlacementApi& placement, FencingApi& fencing)
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
  calls_["Upgrade"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::UpgradeRequest, pb::UpgradeResponse>(bytes, std::move(reply), [this](auto request, auto done) {
      scope_.Spawn(Upgrade(request.finalize(), std::move(done)));
    });
  };
  calls_["DrainNode"] = [&placement](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::DrainNodeRequest, pb::DrainNodeResponse>(
        bytes, std::move(reply),
        [&placement](const auto& request, auto done) { placement.Drain(request, std::move(done)); });
  };
  calls_["RemoveNode"] = [&placement](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::RemoveNodeRequest, pb::RemoveNodeResponse>(
        bytes, std::move(reply),
        [&placement](const auto& request, auto done) { placement.Remove(request, std::move(done)); });
  };
  calls_["CanStop"] = [&placement](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::CanStopRequest, pb::CanStopResponse>(
        bytes, std::move(reply),
        [&placement](const auto& request, auto done) { placement.CanStop(request, std::move(done)); });
  };
  calls_["Barrier"] = [&fencing](const CallInfo& info, std::string bytes, Reply reply) {
    Serve<pb::BarrierRequest, pb::BarrierResponse>(
        bytes, std::move(reply), [&fencing, deadline = info.deadline](const auto& request, auto done) {
          fencing.Barrier(deadline, request, std::move(done));
        });
  };
  calls_["Fencing"] = [&fencing](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::FencingRequest, pb::FencingResponse>(
        bytes, std::move(reply),
        [&fencing](const auto& request, auto done) { fencing.Fencing(request, std::move(done)); });
  };
  RegisterChanges();
}

void ClusterService::RegisterChanges() {
  calls_["AddController"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::AddControllerRequest, pb::ChangeResponse>(
        bytes, std::move(reply), [this](const auto& request, auto done) {
          ipb::CatalogCommand command;
          *command.mutable_id() = request.id();
          pb::ControllerRecord& controller = *command.mutable_add_controller()->mutable_controller();
          controller.set_id(request.controller());
          controller.set_address(request.address());
          controller.set_zone(request.zone());
          controller.set_name(request.name());
          command.mutable_add_controller()->set_take_address_from(FindSilentAt(request.address()));
          Change(std::move(command), request.controller(), std::move(done));
        });
  };
  calls_["RemoveController"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::RemoveControllerRequest, pb::ChangeResponse>(
        bytes, std::move(reply), [this](const auto& request, auto done) {
          ipb::CatalogCommand command;
          *command.mutable_id() = request.id();
          command.mutable_remove_controller()->set_controller(request.controller());
          command.mutable_remove_controller()->set_force(request.force());
          Change(std::move(command), request.controller(), std::move(done));
        });
  };
  calls_["PromoteController"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::PromoteControllerRequest, pb::ChangeResponse>(
        bytes, std::move(reply), [this](const auto& request, auto done) {
          ipb::CatalogCommand command;
          *command.mutable_id() = request.id();
          command.mutable_promote_controller()->set_controller(request.controller());
          Change(std::move(command), request.controller(), std::move(done));
        });
  };
  calls_["SetVoterTarget"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::SetVoterTargetRequest, pb::ChangeResponse>(
        bytes, std::move(reply), [this](const auto& request, auto done) {
          ipb::CatalogCommand command;
          *command.mutable_id() = request.id();
          command.mutable_set_voter_target()->set_target(request.target());
          Change(std::move(command), 0, std::move(done));
        });
  };
}

uint64_t ClusterService::FindSilentAt(const std::string& address) const {
  const auto group = access_.group().StatusOf();
  if (!group) return 0;
  for (const auto& peer : group->peers) {
    const auto found = access_.catalog().controllers().find(peer.id.value());
    if (found == access_.catalog().controllers().end() || peer.active) continue;
    if (found->second.controller().address() == address) return peer.id.value();
  }
  return 0;
}

void ClusterService::Change(ipb::CatalogCommand command, uint64_t controller,
                            Answer<pb::ChangeResponse> done) {
  if (const Status serving = leadership_.CheckServing(); !serving.ok()) return done(serving);
  access_.Propose(std::move(command),
                  [this, controller, done = std::move(done)](StatusOr<ipb::CatalogResult> result) mutable {
                    if (!result.ok()) return done(result.status());
                    pb::ChangeResponse response;
                    response.set_revision(result->revision());
                    response.set_changed(result->changed());
                    const auto& records = access_.catalog().controllers();
                    if (const auto found = records.find(controller); found != records.end()) {
                      *response.mutable_record() = found->second;
                    }
                    done(std::move(response));
                  });
}

void ClusterService::OnCall(const CallInfo& info, std::string request, Reply reply) {
  Route(calls_, info, std::move(request), std::move(reply));
}

pb::UpgradeResponse ClusterService::UpgradeState() const {
  pb::UpgradeResponse response;
  const catalog::Catalog& catalog = access_.catalog();
  response.set_format(catalog.format_version());
  uint32_t possible = catalog::kNewestFormat;
  const auto add = [&](std::string kind, const auto& record) {
    pb::UpgradeMember& member = *response.add_members();
    member.set_kind(std::move(kind));
    member.set_id(record.id());
    member.set_name(record.name());
    member.set_newest_format(catalog::NewestFormatOr1(record.newest_format()));
    member.set_software_version(record.software_version());
    possible = std::min(possible, member.newest_format());
  };
  for (const auto& [id, record] : catalog.controllers()) {
    if (!catalog::IsRemoved(record.controller())) add("controller", record.controller());
  }
  for (const auto& [id, record] : catalog.nodes()) {
    if (record.node().state() != pb::NODE_REMOVED) add("node", record.node());
  }
  response.set_possible(std::max(possible, response.format()));
  for (const catalog::Feature& feature : catalog::Features()) {
    pb::UpgradeFeature& said = *response.add_features();
    said.set_name(std::string(feature.name));
    said.set_since(feature.since);
  }
  return response;
}

runtime::Task<void> ClusterService::Upgrade(bool finalize, Answer<pb::UpgradeResponse> done) {
  const auto stop = scope_.token();
  if (const Status serving = leadership_.CheckServing(); !serving.ok()) {
    done(serving);
    co_return;
  }
  pb::UpgradeResponse before = UpgradeState();
  if (!finalize || before.possible() == before.format()) {
    done(std::move(before));
    co_return;
  }
  ipb::CatalogCommand command;
  command.mutable_raise_format()->set_to(before.possible());
  const auto raised = co_await access_.ProposeAndWait(std::move(command), leadership_.epoch(), stop);
  if (!raised.ok()) {
    done(raised.status());
    co_return;
  }
  pb::UpgradeResponse after = UpgradeState();
  after.set_raised(raised->changed());
  done(std::move(after));
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
                               AgentService& agents, PlacementApi& placement)
    : executor_(executor),
      access_(access),
      leadership_(leadership),
      observation_(observation),
      agents_(agents),
      ranges_(access, leadership),
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
  calls_["ChangeReplica"] = [&placement](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::ChangeReplicaRequest, pb::ChangeReplicaResponse>(
        bytes, std::move(reply),
        [&placement](const auto& request, auto done) { placement.ChangeReplica(request, std::move(done)); });
  };
  calls_["Explain"] = [&placement](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::ExplainRegionRequest, pb::ExplainRegionResponse>(
        bytes, std::move(reply),
        [&placement](const auto& request, auto done) { placement.Explain(request, std::move(done)); });
  };
  calls_["Split"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::SplitRegionRequest, pb::SplitRegionResponse>(
        bytes, std::move(reply),
        [this](const auto& request, auto done) { ranges_.Split(request, std::move(done)); });
  };
  calls_["Merge"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::MergeRegionsRequest, pb::MergeRegionsResponse>(
        bytes, std::move(reply),
        [this](const auto& request, auto done) { ranges_.Merge(request, std::move(done)); });
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
  if (const Status ready = leadership_.CheckLoadReady(); !ready.ok()) return done(ready);
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
