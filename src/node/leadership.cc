#include "node/leadership.h"

#include <utility>

#include "base/format.h"
#include "tenure/internal/v1/node.pb.h"

namespace tenure::node {
namespace {

namespace ipb = ::tenure::internal::v1;
constexpr std::string_view kTransfer = "tenure.internal.v1.NodeInternal/TransferLeader";
constexpr Duration kCallTimeout = std::chrono::seconds(2);
constexpr Duration kTakeTimeout = std::chrono::seconds(5);
constexpr Duration kTransferPoll = std::chrono::milliseconds(20);
constexpr size_t kMaxTakes = 4;

}  // namespace

void LeadershipService::OnTransferLeader(const std::string& bytes, runtime::Reply reply) {
  ipb::TransferLeaderRequest request;
  if (!request.ParseFromString(bytes)) {
    return reply(Error(StatusCode::kInvalidArgument, "TransferLeaderRequest: malformed"));
  }
  if (cluster_id_.empty() || request.cluster_id() != cluster_id_) {
    return reply(Error(StatusCode::kFailedPrecondition, "cluster_id {}: this node belongs to cluster {}",
                       request.cluster_id(), cluster_id_));
  }
  const Status status = HandOver(RegionId(request.region()), ReplicaId(request.to_replica()));
  if (!status.ok()) return reply(status);
  reply(ipb::TransferLeaderResponse().SerializeAsString());
}

Status LeadershipService::HandOver(RegionId id, ReplicaId to) {
  const auto it = table_.regions().find(id.value());
  if (it == table_.regions().end() || !it->second.leads()) {
    return Error(StatusCode::kFailedPrecondition, "region {} is not led here", id);
  }
  if (it->second.self == to) return OkStatus();
  switch (host_.TransferLeadership(it->second.group(), to)) {
    case raft::ProposeResult::kAccepted:
      logger_.Info("region {}: leadership goes to replica {}", id, to);
      return OkStatus();
    case raft::ProposeResult::kNotLeader:
      return Error(StatusCode::kFailedPrecondition, "region {} is not led here", id);
    case raft::ProposeResult::kTransferring:
      return Error(StatusCode::kUnavailable, "region {}: a hand-over is under way already", id);
    case raft::ProposeResult::kOverloaded:
    case raft::ProposeResult::kChangePending:
    case raft::ProposeResult::kInvalid:
      break;
  }
  return Error(StatusCode::kFailedPrecondition, "region {}: replica {} cannot lead it now", id, to);
}

LeadershipTaker::LeadershipTaker(runtime::Executor& executor, runtime::Network& network,
                                 const RegionTable& table, const CatalogView& view)
    : executor_(executor), network_(network), table_(table), view_(view), scope_(executor) {}

void LeadershipTaker::Take(DatabaseId database, Callback<Outcome> done) {
  if (scope_.running() >= kMaxTakes || scope_.stop_requested()) {
    return done(Refused{Refused::Kind::kTryAgain, "leaderships are being taken already"});
  }
  scope_.Spawn(Run(database, std::move(done)));
}

const Region* LeadershipTaker::RegionAt(RegionId region) const {
  const auto it = table_.regions().find(region.value());
  return it == table_.regions().end() ? nullptr : &it->second;
}

runtime::Task<Status> LeadershipTaker::Ask(RegionId id) {
  const Region* region = RegionAt(id);
  if (region == nullptr || region->leads()) co_return OkStatus();
  const NodeId leader = table_.LeaderOf(*region);
  const pb::NodeRecord* record = view_.FindNode(leader);
  if (leader.IsNone() || record == nullptr) {
    co_return Error(StatusCode::kUnavailable, "region {} has no leader that could hand over", id);
  }
  ipb::TransferLeaderRequest request;
  request.set_cluster_id(cluster_id_);
  request.set_region(id.value());
  request.set_to_replica(region->self.value());
  auto call = [this, address = record->address(),
               bytes = request.SerializeAsString()](Callback<StatusOr<std::string>> done) mutable {
    network_.Call(address, kTransfer, std::move(bytes), kCallTimeout, std::move(done));
  };
  const StatusOr<std::string> answer =
      co_await runtime::AsyncUntil<StatusOr<std::string>>(executor_, scope_.token(), std::move(call));
  co_return answer.ok() ? OkStatus() : Annotate(answer.status(), fmt::format("region {}", id));
}

runtime::Task<void> LeadershipTaker::Run(DatabaseId database, Callback<Outcome> done) {
  std::vector<RegionId> wanted;
  for (const auto& [id, region] : table_.regions()) {
    if (region.database == database && region.running && region.votes && !region.leads())
      wanted.push_back(region.id);
  }
  std::string failure;
  for (const RegionId id : wanted) {
    const Status status = co_await Ask(id);
    if (!status.ok() && failure.empty()) failure = MessageOf(status);
  }
  const Instant until = executor_.Now() + kTakeTimeout;
  size_t missing = 0;
  while (true) {
    missing = 0;
    for (const RegionId id : wanted) {
      const Region* region = RegionAt(id);
      if (region != nullptr && region->running && region->serving_term.IsNone()) ++missing;
    }
    if (missing == 0 || !failure.empty() || executor_.Now() >= until) break;
    if (!co_await runtime::SleepFor(executor_, kTransferPoll, scope_.token())) break;
  }
  if (missing == 0) {
    done(store::Reply::Ok());
  } else {
    done(store::Reply::Error(fmt::format("ERR {} of {} leaderships were not taken{}{}", missing,
                                         wanted.size(), failure.empty() ? "" : ": ", failure)));
  }
}

}  // namespace tenure::node
