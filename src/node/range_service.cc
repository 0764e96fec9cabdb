#include "node/range_service.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/format.h"
#include "base/hash.h"
#include "catalog/refusal.h"
#include "node/sender_check.h"

namespace tenure::node {

namespace ipb = ::tenure::internal::v1;
using catalog::Refuse;
using group::ProposeOutcome;

namespace {

Status NotLedHere(RegionId region) {
  return Error(StatusCode::kFailedPrecondition, "region {} is not led here", region);
}

bool IsValid(const ipb::RangeChange& change) {
  return change.op() >= ipb::RangeChange::FREEZE && change.op() <= ipb::RangeChange::END &&
         change.procedure() != 0 && change.slots().first() < kSlotCount && change.slots().last() < kSlotCount;
}

store::RangeCommand CommandOf(ipb::RangeChange& change) {
  store::RangeCommand command{
      .op = static_cast<store::RangeCommand::Op>(change.op()),
      .procedure = change.procedure(),
      .if_version = change.if_version(),
      .slots = {static_cast<uint16_t>(change.slots().first()), static_cast<uint16_t>(change.slots().last())},
      .chunk = change.chunk(),
      .limit = change.limit(),
      .keys = change.keys(),
      .pair_count = change.pair_count(),
      .hash = change.hash(),
      .version_base = change.version_base(),
      .newest_ms = change.newest_ms(),
      .after_ts = change.after_ts(),
      .keep_changes = change.keep_changes()};
  for (ipb::RangeChange::Pair& pair : *change.mutable_pairs())
    command.pairs.emplace_back(std::move(*pair.mutable_key()), std::move(*pair.mutable_value()));
  return command;
}

void Fill(const store::SlotRange& slots, pb::SlotRange& out) {
  out.set_first(slots.first);
  out.set_last(slots.last);
}

}  // namespace

void RangeService::OnChangeRange(const std::string& bytes, runtime::Reply reply) {
  ipb::ChangeRangeRequest request;
  if (!request.ParseFromString(bytes) || (request.has_change() && !IsValid(request.change()))) {
    return reply(Refuse(pb::REASON_INVALID_ARGUMENT, "the message is not a valid ChangeRangeRequest"));
  }
  if (Status status = CheckSender(request, cluster_id_, agent_); !status.ok())
    return reply(std::move(status));
  const RegionId region(request.region());
  const Region* led = table_.Find(region);
  if (led == nullptr || !led->leads()) return reply(NotLedHere(region));
  auto answer = [reply = std::move(reply)](StatusOr<Response> response) mutable {
    if (!response.ok()) return reply(response.status());
    reply(response->SerializeAsString());
  };
  if (!request.has_change()) return Read(region, std::move(answer));
  store::RangeCommand command = CommandOf(*request.mutable_change());
  command.incarnation = std::max<uint64_t>(request.incarnation(), 1);
  command.epoch = request.leader_epoch();
  Change(region, std::move(command), std::move(answer));
}

void RangeService::Read(RegionId region, Callback<StatusOr<Response>> done) {
  host_.Read(GroupId(region.value()), [this, region, done = std::move(done)](Status status) mutable {
    if (!status.ok()) return done(std::move(status));
    done(Describe(region, 0));
  });
}

void RangeService::Change(RegionId region, store::RangeCommand command, Callback<StatusOr<Response>> done) {
  store::WriteCommand write;
  write.now = executor_.WallNow();
  write.kind = store::WriteCommand::Kind::kRange;
  write.range = std::move(command);
  std::string encoded;
  store::EncodeWriteCommand(write, encoded);
  host_.Propose(GroupId(region.value()), std::move(encoded),
                [this, region, done = std::move(done)](ProposeOutcome outcome) mutable {
                  done(AnswerOf(region, outcome));
                });
}

StatusOr<RangeService::Response> RangeService::AnswerOf(RegionId region,
                                                        const ProposeOutcome& outcome) const {
  switch (outcome.kind) {
    case ProposeOutcome::Kind::kApplied:
      break;
    case ProposeOutcome::Kind::kNotLeader:
      return NotLedHere(region);
    case ProposeOutcome::Kind::kTransferring:
    case ProposeOutcome::Kind::kOverloaded:
    case ProposeOutcome::Kind::kOutOfSpace:
      return Refuse(pb::REASON_BUSY, "region {}: its leader cannot take a change at the moment", region);
    case ProposeOutcome::Kind::kUnknown:
      return Refuse(pb::REASON_UNKNOWN_OUTCOME, "region {}: its leader left office", region);
  }
  const StatusOr<store::Reply> reply = store::DecodeReply(outcome.result);
  TENURE_CHECK(reply.ok(), "region {}: the reply of its own log: {}", region, MessageOf(reply.status()));
  if (reply->IsError()) return Refuse(pb::REASON_CONDITION_FAILED, "region {}: {}", region, reply->text);
  return Describe(region, static_cast<uint64_t>(reply->integer));
}

StatusOr<RangeService::Response> RangeService::Describe(RegionId id, uint64_t result) const {
  const Region* region = table_.Find(id);
  if (region == nullptr || !region->running) return NotLedHere(id);
  const store::RegionRange& range = region->store->range();
  Response response;
  response.set_result(result);
  ipb::RegionRange& out = *response.mutable_range();
  out.set_version(range.version);
  out.set_opened_ts(range.opened_ts);
  if (range.slots) Fill(*range.slots, *out.mutable_slots());
  if (range.outgoing) {
    Fill(range.outgoing->slots, *out.mutable_outgoing()->mutable_slots());
    out.mutable_outgoing()->set_procedure(range.outgoing->procedure);
    out.mutable_outgoing()->set_released(range.outgoing->released);
    out.mutable_outgoing()->set_released_ts(range.outgoing->released_ts);
    out.mutable_outgoing()->set_keeps_changes(range.outgoing->keeps_changes);
  }
  if (range.incoming) {
    Fill(range.incoming->slots, *out.mutable_incoming()->mutable_slots());
    out.mutable_incoming()->set_procedure(range.incoming->procedure);
    out.mutable_incoming()->set_copy(range.incoming->copy);
    out.mutable_incoming()->set_keys(range.incoming->keys);
    out.mutable_incoming()->set_complete(range.incoming->complete);
  }
  return response;
}

}  // namespace tenure::node
