#include "sim/placement_operator.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/format.h"
#include "catalog/procedures.h"
#include "sim/server.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;

namespace {

// Of every database of the simulation.
constexpr size_t kReplicas = 3;

uint64_t Draw(Prng& prng, const std::vector<uint64_t>& from) {
  return from.empty() ? 0 : from[prng.Below(from.size())];
}

}  // namespace

void PlacementOperator::Start() {
  if (world_.options().placement) Schedule();
}

void PlacementOperator::Schedule() {
  const Duration gap =
      finishing_ ? std::chrono::milliseconds(500) : std::chrono::milliseconds(prng_.Between(100, 2500));
  next_ = world_.scheduler().At(world_.scheduler().now() + gap, "placement operator", [this] {
    if (asked_ < 2 && world_.ServingController() != nullptr) {
      if (finishing_) {
        Tidy();
      } else {
        Act();
      }
    }
    Schedule();
  });
}

std::string PlacementOperator::Unfinished() const {
  if (!world_.options().placement) return {};
  if (asked_ > 0) return "an answer to the operator of placement";
  if (const uint64_t region = Overfull(); region != 0)
    return fmt::format("the operator to remove a replica of region {}", region);
  return {};
}

void PlacementOperator::Ask(std::string_view method, const std::string& request, const std::string& what) {
  ++asked_;
  world_.Note("operator: " + what);
  world_.Ask(method, request, [this, what](const StatusOr<std::string>& answer) {
    --asked_;
    world_.Note(fmt::format("operator: {}: {}", what,
                            answer.ok() ? "done" : std::string(MessageOf(answer.status()))));
  });
}

void PlacementOperator::Act() {
  switch (prng_.Below(12)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return Change(pb::REPLICA_MOVE);
    case 4:
      return Change(pb::REPLICA_ADD);
    case 5:
      return Change(pb::REPLICA_REMOVE);
    case 6:
    case 7:
      return Drain();
    case 8:
      return Resume(Draw(prng_, {draining_.begin(), draining_.end()}));
    case 9:
    case 10:
      return Cancel();
    default:
      return Reserve();
  }
}

void PlacementOperator::Tidy() {
  if (asked_ > 0) return;
  for (const auto& [id, record] : world_.ServingController()->catalog().procedures()) {
    if (record.procedure().type() == "HoldNode" && !catalog::IsEnded(record.procedure().state()))
      return CancelOne(id);
  }
  if (world_.lost_replicas() && !draining_.empty()) return Resume(*draining_.begin());
  const uint64_t region = Overfull();
  if (region == 0) return;
  pb::ChangeReplicaRequest request;
  *request.mutable_id() = world_.NextRequestId();
  request.set_change(pb::REPLICA_REMOVE);
  request.set_region(region);
  Ask("tenure.v1.Regions/ChangeReplica", request.SerializeAsString(),
      fmt::format("remove the replica too many of region {}", region));
}

uint64_t PlacementOperator::Overfull() const {
  controller::Controller* const serving = world_.ServingController();
  if (serving == nullptr) return 0;
  for (const auto& [id, record] : serving->catalog().regions()) {
    const auto database = serving->catalog().databases().find(record.region().database());
    if (database == serving->catalog().databases().end()) continue;
    if (record.region().replicas_size() > static_cast<int>(database->second.database().replicas())) return id;
  }
  return 0;
}

uint64_t PlacementOperator::DrawNode() {
  std::vector<uint64_t> nodes;
  for (const auto& [id, record] : world_.ServingController()->catalog().nodes()) {
    if (record.node().state() != pb::NODE_REMOVED) nodes.push_back(id);
  }
  return Draw(prng_, nodes);
}

void PlacementOperator::Change(pb::ReplicaChange change) {
  const auto& regions = world_.ServingController()->catalog().regions();
  std::vector<uint64_t> ids;
  for (const auto& [id, record] : regions) ids.push_back(id);
  const uint64_t id = Draw(prng_, ids);
  if (id == 0) return;
  const pb::RegionRecord& region = regions.at(id).region();
  pb::ChangeReplicaRequest request;
  *request.mutable_id() = world_.NextRequestId();
  request.set_change(change);
  request.set_region(id);
  if (change != pb::REPLICA_ADD && (change == pb::REPLICA_MOVE || prng_.Chance(1, 2))) {
    std::vector<uint64_t> nodes;
    for (const pb::ReplicaRecord& replica : region.replicas()) nodes.push_back(replica.node());
    request.set_from_node(Draw(prng_, nodes));
  }
  if (change != pb::REPLICA_REMOVE && prng_.Chance(1, 2)) request.set_to_node(DrawNode());
  Ask("tenure.v1.Regions/ChangeReplica", request.SerializeAsString(),
      fmt::format("{} of region {} from {} to {}", pb::ReplicaChange_Name(change), id, request.from_node(),
                  request.to_node()));
}

void PlacementOperator::Drain() {
  const size_t nodes = world_.NodeAddresses().size();
  const uint64_t node = DrawNode();
  if (node == 0 || draining_.contains(node) || draining_.size() + kReplicas >= nodes) return;
  draining_.insert(node);
  pb::DrainNodeRequest request;
  *request.mutable_id() = world_.NextRequestId();
  request.set_node(node);
  Ask("tenure.v1.Cluster/DrainNode", request.SerializeAsString(), fmt::format("drain node {}", node));
}

void PlacementOperator::Resume(uint64_t node) {
  if (node == 0) return;
  const auto& nodes = world_.ServingController()->catalog().nodes();
  const auto record = nodes.find(node);
  // A request to drain it may still be on its way while it is UP.
  if (asked_ == 0 && (record == nodes.end() || record->second.node().state() != pb::NODE_DRAINING)) {
    draining_.erase(node);
    return;
  }
  pb::DrainNodeRequest request;
  *request.mutable_id() = world_.NextRequestId();
  request.set_node(node);
  request.set_resume(true);
  Ask("tenure.v1.Cluster/DrainNode", request.SerializeAsString(), fmt::format("resume node {}", node));
}

void PlacementOperator::Cancel() {
  std::vector<uint64_t> running;
  for (const auto& [id, record] : world_.ServingController()->catalog().procedures()) {
    // A database whose creation is cancelled is not there; others here rely on it.
    if (!catalog::IsEnded(record.procedure().state()) && record.procedure().type() != "CreateDatabase")
      running.push_back(id);
  }
  if (const uint64_t id = Draw(prng_, running); id != 0) CancelOne(id);
}

void PlacementOperator::CancelOne(uint64_t id) {
  pb::CancelProcedureRequest request;
  *request.mutable_id() = world_.NextRequestId();
  request.set_procedure(id);
  Ask("tenure.v1.Procedures/Cancel", request.SerializeAsString(), fmt::format("cancel procedure {}", id));
}

void PlacementOperator::Reserve() {
  pb::CanStopRequest request;
  request.set_node(DrawNode());
  if (request.node() == 0) return;
  if (prng_.Chance(1, 4)) {
    request.set_release(true);
  } else {
    request.set_reserve_ms(prng_.Between(0, 8000));
  }
  Ask("tenure.v1.Cluster/CanStop", request.SerializeAsString(),
      fmt::format("may node {} stop for {} ms", request.node(), request.reserve_ms()));
}

}  // namespace tenure::sim
