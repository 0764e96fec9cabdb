#include "node/range_copier.h"

#include <utility>

#include "base/format.h"
#include "base/rare_path.h"

namespace tenure::node {

namespace ipb = ::tenure::internal::v1;
using ipb::RangeChange;

namespace {

constexpr Duration kCallTimeout = std::chrono::seconds(10);

store::SlotRange SlotsOf(const ipb::SlotCopy& copy) {
  return {static_cast<uint16_t>(copy.slots().first()), static_cast<uint16_t>(copy.slots().last())};
}

RangeChange Change(RangeChange::Op op, uint64_t procedure, uint64_t if_version) {
  RangeChange change;
  change.set_op(op);
  change.set_procedure(procedure);
  change.set_if_version(if_version);
  return change;
}

bool IsComplete(const ipb::RegionRange& range, uint64_t procedure) {
  return range.has_incoming() && range.incoming().procedure() == procedure && range.incoming().complete();
}

}  // namespace

Status RangeCopier::CheckFrozen(const SlotCopy& copy) const {
  const Region* region = surroundings_.table.Find(RegionId(copy.from_region()));
  if (region == nullptr || !region->running)
    return Error(StatusCode::kFailedPrecondition, "region {} has no replica here", copy.from_region());
#ifndef TENURE_MUTANT_copy_before_freeze
  const auto& outgoing = region->store->range().outgoing;
  if (!outgoing || outgoing->procedure != copy.procedure() || !(outgoing->slots == SlotsOf(copy))) {
    return Error(StatusCode::kUnavailable,
                 "region {}: the replica here has not applied yet that slots {}-{} are frozen",
                 copy.from_region(), copy.slots().first(), copy.slots().last());
  }
#endif
  return OkStatus();
}

void RangeCopier::Copy(const SlotCopy& copy, Callback<Status> done) {
  if (scope_.running() >= kMaxCopies || scope_.stop_requested()) {
    return done(Error(StatusCode::kUnavailable, "{} copies of slots are under way, the limit is {}",
                      scope_.running(), kMaxCopies));
  }
  scope_.Spawn(Run(copy, std::move(done)));
}

runtime::Task<void> RangeCopier::Run(SlotCopy copy, Callback<Status> done) {
  const Instant begin = surroundings_.executor.Now();
  const uint64_t procedure = copy.procedure();
  const uint64_t from = copy.from_region();
  const uint64_t to = copy.to_region();
  Status status = co_await Transfer(std::move(copy));
  logger_.Info("procedure {}: copying slots of region {} to region {}: {} after {} ms", procedure, from, to,
               status.ok() ? std::string("done") : std::string(MessageOf(status)),
               ToMillis(surroundings_.executor.Now() - begin));
  done(std::move(status));
}

runtime::Task<StatusOr<RangeCopier::Response>> RangeCopier::Ask(uint64_t id,
                                                                std::optional<RangeChange> change) {
  const Region* region = surroundings_.table.Find(RegionId(id));
  if (region == nullptr) co_return Error(StatusCode::kUnavailable, "region {} is not known here", id);
  const pb::NodeRecord* leader = surroundings_.view.FindNode(surroundings_.table.LeaderOf(*region));
  if (leader == nullptr)
    co_return Error(StatusCode::kUnavailable, "region {} has no leader at the moment", id);
  ipb::ChangeRangeRequest request;
  request.set_cluster_id(cluster_id_);
  request.set_leader_epoch(surroundings_.agent.leader_epoch());
  request.set_incarnation(surroundings_.agent.incarnation());
  request.set_region(id);
  if (change) *request.mutable_change() = *std::move(change);
  auto call = [this, address = leader->address(),
               bytes = request.SerializeAsString()](Callback<StatusOr<std::string>> done) mutable {
    surroundings_.network.Call(address, "tenure.internal.v1.NodeInternal/ChangeRange", std::move(bytes),
                               kCallTimeout, std::move(done));
  };
  const StatusOr<std::string> answer = co_await runtime::AsyncUntil<StatusOr<std::string>>(
      surroundings_.executor, scope_.token(), std::move(call));
  if (!answer.ok()) co_return answer.status();
  Response response;
  if (!response.ParseFromString(*answer))
    co_return Error(StatusCode::kInternal, "region {}: no valid answer", id);
  co_return response;
}

runtime::Task<Status> RangeCopier::Transfer(SlotCopy copy) {
  const uint64_t to = copy.to_region();
  const uint64_t procedure = copy.procedure();
  TENURE_CO_RETURN_IF_ERROR(CheckFrozen(copy));
  TENURE_CO_ASSIGN_OR_RETURN(const Response now, co_await Ask(to, std::nullopt));
  if (IsComplete(now.range(), procedure)) co_return OkStatus();
  if (now.range().has_incoming()) TENURE_RARE_PATH("node: a copy of slots begins anew");
  RangeChange begin = Change(RangeChange::IMPORT, procedure, copy.to_version());
  *begin.mutable_slots() = copy.slots();
  TENURE_CO_ASSIGN_OR_RETURN(const Response begun, co_await Ask(to, std::move(begin)));
  const uint64_t version = begun.range().incoming().copy();
  while (true) {
    RangeChange clear = Change(RangeChange::CLEAR, procedure, version);
    clear.set_limit(kKeysPerClear);
    TENURE_CO_ASSIGN_OR_RETURN(const Response cleared, co_await Ask(to, std::move(clear)));
    if (cleared.result() == 0) break;
  }
  // What is frozen is read as it is now, with everything that was acknowledged before.
  TENURE_CO_RETURN_IF_ERROR(CheckFrozen(copy));
  const Region& from = *surroundings_.table.Find(RegionId(copy.from_region()));
  const std::unique_ptr<kv::Reader> state = surroundings_.host.NewSnapshot(from.group());
  const auto status = surroundings_.host.StatusOf(from.group());
  if (state == nullptr || !status)
    co_return Error(StatusCode::kUnavailable, "region {} stopped here", copy.from_region());
  RangeChange complete = Change(RangeChange::COMPLETE, procedure, version);
  complete.set_version_base(from.store->VersionBound(status->applied));
  complete.set_newest_ms(store::RegionStore::NewestMillis(*state));
  store::RegionExport source(*state, SlotsOf(copy));
  for (uint64_t chunk = 0;; ++chunk) {
    RangeChange part = Change(RangeChange::CHUNK, procedure, version);
    part.set_chunk(chunk);
    for (auto& [key, value] : source.Next(surroundings_.chunk_bytes)) {
      RangeChange::Pair& pair = *part.add_pairs();
      pair.set_key(std::move(key));
      pair.set_value(std::move(value));
    }
    if (part.pairs().empty()) break;
    TENURE_CO_RETURN_IF_ERROR((co_await Ask(to, std::move(part))).status());
  }
  complete.set_keys(source.keys());
  complete.set_pair_count(source.pairs());
  complete.set_hash(source.hash());
  co_return (co_await Ask(to, std::move(complete))).status();
}

}  // namespace tenure::node
