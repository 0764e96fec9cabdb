#include "node/leadership.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "tenure/internal/v1/node.pb.h"

namespace tenure::node {
namespace {

namespace ipb = ::tenure::internal::v1;
constexpr std::string_view kTransfer = "tenure.internal.v1.NodeInternal/TransferLeader";
constexpr Duration kCallTimeout = std::chrono::seconds(2);
constexpr Duration kTransferPoll = std::chrono::milliseconds(20);
constexpr size_t kMaxTakes = 4;
constexpr size_t kMaxAsking = 64;  // at once, of one take

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

std::vector<raft::Member> LeadershipService::VotersOf(const Region& region) const {
  std::vector<raft::Member> voters;
  const auto status = host_.StatusOf(region.group());
  if (!status) return voters;
  for (const raft::Member& member : status->configuration.members) {
    if (status->configuration.IsVoter(member.id)) voters.push_back(member);
  }
  return voters;
}

LeadershipTaker::LeadershipTaker(runtime::Executor& executor, runtime::Network& network,
                                 const RegionTable& table, const CatalogView& view,
                                 const NodeOptions& options)
    : executor_(executor),
      network_(network),
      table_(table),
      view_(view),
      options_(options),
      scope_(executor) {}

void LeadershipTaker::Take(DatabaseId database, Callback<Outcome> done) {
  if (takes_ >= kMaxTakes || scope_.stop_requested()) {
    return done(Refused{Refused::Kind::kTryAgain, "leaderships are being taken already"});
  }
  ++takes_;
  scope_.Spawn(Run(database, std::move(done)));
}

const Region* LeadershipTaker::RegionAt(RegionId region) const {
  const auto it = table_.regions().find(region.value());
  return it == table_.regions().end() ? nullptr : &it->second;
}

runtime::Task<Status> LeadershipTaker::Ask(RegionId id, Instant until) {
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
  const Duration limit = std::min(kCallTimeout, until - executor_.Now());
  auto call = [this, address = record->address(), limit,
               bytes = request.SerializeAsString()](Callback<StatusOr<std::string>> done) mutable {
    network_.Call(address, kTransfer, std::move(bytes), limit, std::move(done));
  };
  const StatusOr<std::string> answer =
      co_await runtime::AsyncUntil<StatusOr<std::string>>(executor_, scope_.token(), std::move(call));
  co_return answer.ok() ? OkStatus() : Annotate(answer.status(), fmt::format("region {}", id));
}

struct LeadershipTaker::Asking {
  std::vector<RegionId> wanted;
  Instant until;
  size_t next = 0;
  size_t running = 0;
  size_t failed = 0;
  std::string failure;  // the first one
};

runtime::Task<void> LeadershipTaker::AskFor(std::shared_ptr<Asking> asking) {
  while (asking->next < asking->wanted.size() && executor_.Now() < asking->until) {
    const RegionId id = asking->wanted[asking->next++];
    const Status status = co_await Ask(id, asking->until);
    if (status.ok()) continue;
    if (asking->failed++ == 0) asking->failure = MessageOf(status);
  }
  --asking->running;
}

size_t LeadershipTaker::CountMissing(const std::vector<RegionId>& wanted) const {
  size_t missing = 0;
  for (const RegionId id : wanted) {
    const Region* region = RegionAt(id);
    if (region != nullptr && region->running && region->serving_term.IsNone()) ++missing;
  }
  return missing;
}

runtime::Task<void> LeadershipTaker::Run(DatabaseId database, Callback<Outcome> done) {
  const auto asking = std::make_shared<Asking>();
  asking->until = executor_.Now() + options_.write_timeout;
  for (const auto& [id, region] : table_.regions()) {
    if (region.database == database && region.running && region.votes && !region.leads())
      asking->wanted.push_back(region.id);
  }
  asking->running = std::min(kMaxAsking, asking->wanted.size());
  for (size_t i = 0; i < asking->running; ++i) scope_.Spawn(AskFor(asking));
  size_t missing = 0;
  while ((missing = CountMissing(asking->wanted)) > 0) {
    // Those that could not be asked for do not come any more.
    if (asking->running == 0 && missing <= asking->failed) break;
    if (executor_.Now() >= asking->until) break;
    if (!co_await runtime::SleepFor(executor_, kTransferPoll, scope_.token())) break;
  }
  --takes_;
  if (missing == 0) {
    done(store::Reply::Ok());
  } else {
    done(store::Reply::Error(fmt::format("ERR {} of {} leaderships were not taken{}{}", missing,
                                         asking->wanted.size(), asking->failure.empty() ? "" : ": ",
                                         asking->failure)));
  }
}

}  // namespace tenure::node
