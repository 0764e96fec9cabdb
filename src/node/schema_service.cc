#include "node/schema_service.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "catalog/refusal.h"
#include "node/sender_check.h"

namespace tenure::node {

namespace ipb = ::tenure::internal::v1;
using catalog::Refuse;
using group::ProposeOutcome;

namespace {

// Empty: it is applied.
std::string FailureOf(const ProposeOutcome& outcome) {
  switch (outcome.kind) {
    case ProposeOutcome::Kind::kApplied:
      return "";
    case ProposeOutcome::Kind::kNotLeader:
      return "not led here";
    case ProposeOutcome::Kind::kTransferring:
      return "its leadership is being handed over";
    case ProposeOutcome::Kind::kOverloaded:
      return "its leader is overloaded";
    case ProposeOutcome::Kind::kOutOfSpace:
      return "its leader's disk has no space left above its reserve";
    case ProposeOutcome::Kind::kUnknown:
      return "its leader left office";
  }
  return "unknown outcome";
}

}  // namespace

// One request; the last region's outcome answers it.
struct SchemaService::Pending {
  ipb::ChangeSchemaResponse response;
  runtime::Reply reply;
  int open = 1;  // regions, and the loop over them

  // `ts`: of the region's change log, behind the entry; 0: it keeps none.
  void Done(uint64_t region, const std::string& failure, uint64_t ts = 0) {
    if (failure.empty()) {
      response.add_done(region);
      response.set_announced_ts(std::max(response.announced_ts(), ts));
    } else {
      auto& failed = *response.add_failed();
      failed.set_region(region);
      failed.set_error(failure);
    }
    Close();
  }
  void Close() {
    if (--open == 0) reply(response.SerializeAsString());
  }
};

void SchemaService::OnChangeSchema(const std::string& bytes, runtime::Reply reply) {
  ipb::ChangeSchemaRequest request;
  if (!request.ParseFromString(bytes) || request.table() == 0 ||
      (request.version() == 0 && !request.drop()) || request.regions_size() > kMaxRegions) {
    return reply(Refuse(pb::REASON_INVALID_ARGUMENT, "the message is not a valid ChangeSchemaRequest"));
  }
  if (Status status = CheckSender(request, cluster_id_, agent_); !status.ok())
    return reply(std::move(status));
  store::WriteCommand command;
  command.now = executor_.WallNow();
  command.kind = store::WriteCommand::Kind::kSchema;
  command.schema = store::SchemaCommand{request.table(), request.version(), request.drop()};
  std::string encoded;
  store::EncodeWriteCommand(command, encoded);
  const auto pending = std::make_shared<Pending>();
  pending->reply = std::move(reply);
  for (const uint64_t id : request.regions()) {
    ++pending->open;
    const Region* region = table_.Find(RegionId(id));
    if (region == nullptr || !region->leads()) {
      pending->Done(id, "not led here");
      continue;
    }
    host_.Propose(GroupId(id), encoded, [this, pending, id](const ProposeOutcome& outcome) {
      const Region* told = table_.Find(RegionId(id));
      const bool kept = told != nullptr && told->change_log.keeps;
      pending->Done(id, FailureOf(outcome), kept ? told->change_log.last_ts : 0);
    });
  }
  pending->Close();
}

}  // namespace tenure::node
