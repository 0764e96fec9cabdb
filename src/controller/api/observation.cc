#include "controller/api/observation.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/format.h"
#include "catalog/controllers.h"
#include "catalog/fencing.h"
#include "catalog/state_moves.h"
#include "controller/placement/cluster_view.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;

namespace {

template <class Ids>
bool Contains(const Ids& ids, uint64_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

pb::StatusResponse Observation::Status() const {
  pb::StatusResponse response;
  const pb::ClusterRecord* cluster = access_.catalog().cluster();
  response.set_cluster_id(cluster == nullptr ? cluster_id_ : cluster->cluster_id());
  response.set_incarnation(incarnation_);
  response.set_revision(access_.applied().value());
  response.set_phase(std::string(leadership_.phase()));
  const uint64_t leader = leadership_.leader().value();
  if (leader != 0) {
    response.set_leader_id(leader);
    response.set_leader_name(directory_.NameOf(leader));
    response.set_leader_address(directory_.AddressOf(leader));
    response.set_leader_since_ms(ToMillis(executor_.Now() - leadership_.since()));
  }
  const auto group = access_.group().StatusOf();
  if (group) {
    if (leader != 0) response.set_leader_epoch(group->term.value());
    response.set_commit_index(group->commit.value());
    response.set_applied_index(group->applied.value());
  }
  response.set_answered_by(leadership_.self().value());
  if (cluster != nullptr) {
    response.set_voter_target(
        catalog::VoterTarget(*cluster, catalog::CensusOf(access_.catalog().controllers()).voters));
  }
  *response.mutable_controllers() = std::move(*Controllers().mutable_controllers());
  *response.mutable_nodes() = std::move(*Nodes().mutable_nodes());
  for (auto& service : leadership_.services()) *response.add_services() = std::move(service);
  for (auto& transition : leadership_.transitions()) *response.add_transitions() = std::move(transition);
  AddAlarms(group, response);
  for (const AlarmSource& source : alarm_sources_) source(response);
  if (cluster != nullptr) {
    const catalog::Fencing fencing = catalog::FencingOf(cluster);
    response.mutable_fencing()->set_mode(fencing.mode);
    response.mutable_fencing()->set_fence_ms(ToMillis(fencing.fence_time));
    response.mutable_fencing()->set_version(fencing.version.value());
    response.mutable_fencing()->set_bound_ms(ToMillis(fencing.bound));
    response.mutable_fencing()->set_bound_available(fencing.bound_available);
  }
  pb::WarmingUp warm_up = leadership_.warm_up();
  response.set_warm_up_reason(warm_up.reason());
  response.set_warm_up_remaining_ms(warm_up.remaining_ms());
  response.mutable_warm_up_missing()->Swap(warm_up.mutable_missing());
  for (auto& name : leadership_.unsampled()) response.add_unsampled(std::move(name));
  const auto view_age = standby_.Age();
  response.set_standby_view_age_ms(view_age ? ToMillis(*view_age) : -1);
  return response;
}

void Observation::AddAlarms(const std::optional<group::GroupStatus>& group,
                            pb::StatusResponse& response) const {
  const auto add = [&response](const char* kind, std::string object, std::string text) {
    pb::Alarm& alarm = *response.add_alarms();
    alarm.set_kind(kind);
    alarm.set_object(std::move(object));
    alarm.set_text(std::move(text));
  };
  if (group) {
    for (const group::Divergence& diverged : group->diverged) {
      add("STATE_DIVERGED", fmt::format("controller {}", diverged.replica),
          fmt::format("its catalog at revision {} is not that of the others (hash {:016x}, theirs {:016x}): "
                      "remove it and "
                      "add a new controller with an empty directory",
                      diverged.index, diverged.found, diverged.expected));
    }
  }
  for (const auto& [id, record] : access_.catalog().regions()) {
    const pb::RegionStatus region = RegionOf(record.region());
    for (const pb::ReplicaRecord& replica : record.region().replicas()) {
      const std::string object =
          fmt::format("region {} replica {} on node {}", id, replica.id(), replica.node());
      if (Contains(region.lost_replicas(), replica.id())) {
        add("REPLICA_LOST", object,
            "dropped by a repair: it neither votes nor holds data; the region has one replica less");
      }
      if (Contains(region.diverged_replicas(), replica.id())) {
        add("STATE_DIVERGED", object,
            "its data is not that of the other replicas at the same index: do not rely on it");
      }
    }
  }
}

pb::ListControllersResponse Observation::Controllers() const {
  pb::ListControllersResponse response;
  const auto group = access_.group().StatusOf();
  for (const pb::ControllerRecord& record : directory_.All())
    *response.add_controllers() = ControllerOf(record, group);
  return response;
}

pb::ControllerStatus Observation::ControllerOf(const pb::ControllerRecord& record,
                                               const std::optional<group::GroupStatus>& group) const {
  pb::ControllerStatus status;
  *status.mutable_record() = record;
  status.set_state("unknown");
  if (!group) return status;
  const ReplicaId id(record.id());
  if (group->configuration.Contains(id)) status.mutable_record()->set_voter(group->configuration.IsVoter(id));
  if (id == group->self) {
    switch (group->role) {
      case raft::Role::kLeader:
        status.set_state("leader");
        break;
      case raft::Role::kFollower:
        status.set_state("follower");
        break;
      case raft::Role::kPreCandidate:
      case raft::Role::kCandidate:
        status.set_state("candidate");
        break;
    }
    status.set_match_index(group->last.value());
    return status;
  }
  if (id == group->leader) status.set_state("leader");
  for (const auto& peer : group->peers) {
    if (peer.id != id) continue;
    status.set_state(peer.active ? "follower" : "unreachable");
    status.set_match_index(peer.match.value());
  }
  return status;
}

pb::ListNodesResponse Observation::Nodes() const {
  pb::ListNodesResponse response;
  std::map<uint64_t, uint32_t> regions = RegionsByNode();
  for (const auto& [id, record] : access_.catalog().nodes())
    *response.add_nodes() = NodeOf(record.node(), regions[id]);
  return response;
}

// By the records: what a node reported may be a replica that it has been told to destroy.
std::map<uint64_t, uint32_t> Observation::RegionsByNode() const {
  std::map<uint64_t, uint32_t> counts;
  for (const auto& [id, record] : access_.catalog().regions()) {
    std::set<uint64_t> nodes;
    for (const pb::ReplicaRecord& replica : record.region().replicas()) nodes.insert(replica.node());
    for (const uint64_t node : nodes) {
      const NodeLoad* load = agents_.load().Find(NodeId(node));
      if (load == nullptr || load->regions.contains(id)) ++counts[node];
    }
  }
  return counts;
}

pb::NodeStatus Observation::NodeOf(const pb::NodeRecord& record, uint32_t regions) const {
  pb::NodeStatus status;
  *status.mutable_record() = record;
  status.set_state(std::string(catalog::NameOf(record.state())));
  status.set_last_heard_ms(-1);
  const NodeLoad* load = agents_.load().Find(NodeId(record.id()));
  if (const auto reached = agents_.load().ReachedAt(NodeId(record.id()));
      reached && (record.state() == pb::NODE_SUSPECT || record.state() == pb::NODE_DOWN)) {
    status.set_detail(fmt::format("other nodes reached it {} ms ago", ToMillis(executor_.Now() - *reached)));
  }
  if (record.state() == pb::NODE_DRAINING) {
    const size_t left = ReplicasOn(access_.catalog(), NodeId(record.id()));
    const size_t feeds = ChangefeedsOn(access_.catalog(), NodeId(record.id())).size();
    std::string detail = "drained";
    if (left > 0) detail = fmt::format("{} replicas are left", left);
    if (left == 0 && feeds > 0) detail = fmt::format("{} maintainers of changefeeds are left", feeds);
    status.set_detail(std::move(detail));
  }
  if (const LeaseReport* lease = agents_.contacts().Find(NodeId(record.id()))) {
    status.set_lease_ms(lease->lease_left_ms);
    status.set_fenced(lease->serving.IsNone());
    status.set_fenced_ms(lease->fenced_ms);
    status.set_fenced_reason(lease->fenced_reason);
    status.set_serving_revision(lease->serving.value());
  }
  status.set_regions(regions);
  if (load == nullptr) return status;
  status.set_last_heard_ms(ToMillis(executor_.Now() - load->last_heard));
  status.set_revision(load->revision.value());
  status.set_leaders(LoadTable::LeadersOf(*load));
  status.set_disk_free_bytes(load->disk_free_bytes);
  status.set_fsync_p99_us(load->fsync_p99_us);
  status.set_memory_bytes(load->memory_bytes);
  return status;
}

pb::ListRegionsResponse Observation::Regions(std::optional<uint64_t> database) const {
  pb::ListRegionsResponse response;
  for (const auto& [id, record] : access_.catalog().regions()) {
    if (!database || record.region().database() == *database)
      *response.add_regions() = RegionOf(record.region());
  }
  return response;
}

pb::RegionStatus Observation::RegionOf(const pb::RegionRecord& record) const {
  pb::RegionStatus status;
  *status.mutable_record() = record;
  status.set_state(std::string(catalog::NameOf(record.state())));
  const RegionLeaderView* leader = agents_.region_leaders().Find(RegionId(record.id()));
  if (leader != nullptr && !leader->node.IsNone()) {
    status.set_leader_node(leader->node.value());
    status.set_leader_replica(leader->replica.value());
    status.set_leader_term(leader->term.value());
  } else if (record.state() == pb::REGION_SERVING && leadership_.leading()) {
    status.set_state("NO_LEADER");
  }
  for (const pb::ReplicaRecord& replica : record.replicas()) {
    const NodeLoad* load = agents_.load().Find(NodeId(replica.node()));
    if (load == nullptr) continue;
    if (load->lost.contains(record.id())) status.add_lost_replicas(replica.id());
    const auto found = load->regions.find(record.id());
    if (found == load->regions.end()) continue;
    if (found->second.is_leader() && replica.id() == status.leader_replica())
      *status.mutable_diverged_replicas() = found->second.diverged_replicas();
    *status.add_replicas() = found->second;
    // The leader knows best; without one, who has most.
    const bool leads = leader != nullptr && leader->replica.value() == replica.id();
    if (leads || (status.leader_node() == 0 && found->second.bytes() > status.bytes())) {
      status.set_bytes(found->second.bytes());
      status.set_keys(found->second.keys());
    }
  }
  if (record.state() == pb::REGION_SERVING && status.state() != "NO_LEADER" &&
      status.lost_replicas_size() > 0)
    status.set_state(std::string(catalog::NameOf(pb::REGION_DEGRADED)));
  return status;
}

}  // namespace tenure::controller
