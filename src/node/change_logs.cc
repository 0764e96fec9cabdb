#include "node/change_logs.h"

#include <algorithm>

#include "base/format.h"
#include "catalog/refusal.h"
#include "node/sender_check.h"
#include "tenure/internal/v1/node.pb.h"

namespace tenure::node {

namespace ipb = ::tenure::internal::v1;

namespace {

// A timestamp further ahead than that is no clock's that was wrong. Commit timestamps never go back, so it is not
// followed.
constexpr int64_t kFurthestAheadMs = int64_t{366} * 24 * 3600 * 1000;

}  // namespace

// ---- keeping ----

void ChangeLogs::SetFollowed(FollowedDatabases followed) {
  const bool same =
      !followed_.as_of.IsNone() && followed.floors == followed_.floors && followed.newest == followed_.newest;
  followed_ = std::move(followed);
  if (!same) Look();
}

void ChangeLogs::Schedule() {
  timer_ = executor_.After(options_.resolve_interval, [this] {
    Look();
    Schedule();
  });
}

void ChangeLogs::LookSoon() {
  soon_ = executor_.After(Duration::zero(), [this] { Look(); });
}

void ChangeLogs::OnRegionChanged(const Region& region) {
  if (listener_) listener_(region.id, region.change_log.bytes_total);
  if (!region.leads() || region.serving_term.IsNone()) {
    leads_.erase(region.id);
  } else if (Term& term = leads_[region.id]; term != region.serving_term) {
    // What has changed meanwhile was nobody's to propose.
    term = region.serving_term;
    LookSoon();
  }
}

void ChangeLogs::Look() {
  if (followed_.as_of.IsNone()) return;
  for (const auto& [id, region] : table_.regions()) {
    if (!region.leads() || region.serving_term.IsNone()) continue;
    if (proposing_.contains(region.id)) {
      skipped_.insert(region.id);
      continue;
    }
    if (const auto command = Due(region)) Propose(region, *command);
  }
  std::erase_if(asked_, [this](const auto& asked) {
    const Region* region = table_.Find(asked.first);
    if (region == nullptr || !region->leads()) return true;  // whoever wants to know asks again
    return std::pair(region->change_log.incarnation, region->change_log.revision) >= asked.second;
  });
}

std::optional<store::WriteCommand> ChangeLogs::Due(const Region& region) const {
  const store::ChangeLogState& log = region.change_log;
  const auto followed = followed_.floors.find(region.database.value());
  const bool wanted = followed != followed_.floors.end();
  if (!wanted && !log.keeps) return std::nullopt;
  store::WriteCommand command{.now = executor_.WallNow()};
  const uint64_t interval = store::TimestampOf(WallFromMillis(ToMillis(options_.resolve_interval)));
  // A floor is worth an entry of the log when it has moved on by some intervals. It may be ahead of all that
  // was committed here, by another region's clock: then there is no more to trim.
  const bool trims =
      wanted && log.keeps && std::min(followed->second, log.last_ts) > log.begin_ts + 8 * interval;
  const std::pair as_of(std::max<uint64_t>(agent_.incarnation(), 1), followed_.as_of.value());
  const std::pair decided(log.incarnation, log.revision);
  const auto asked = asked_.find(region.id);
  const bool confirms = wanted && asked != asked_.end() && decided < asked->second && asked->second <= as_of;
  if (wanted != log.keeps || trims || confirms || (wanted && log.max_bytes != options_.change_log_bytes)) {
    if (as_of >= decided) {
      command.kind = store::WriteCommand::Kind::kKeepChanges;
      command.keep_changes = store::KeepChangesCommand{.keep = wanted,
                                                       .floor_ts = wanted ? followed->second : 0,
                                                       .max_bytes = options_.change_log_bytes,
                                                       .incarnation = as_of.first,
                                                       .revision = as_of.second};
      return command;
    }
    // A newer view has decided whether it keeps a log; what it keeps is resolved whoever leads.
    if (!log.keeps) return std::nullopt;
  }
  command.kind = store::WriteCommand::Kind::kResolve;
  const auto newest = followed_.newest.find(region.database.value());
  if (newest != followed_.newest.end() && log.last_ts < newest->second) {
    const auto millis = static_cast<int64_t>(newest->second >> store::kTimestampLogicalBits) + 1;
    if (millis <= ToMillis(command.now) + kFurthestAheadMs) {
      command.now = std::max(command.now, WallFromMillis(millis));
      return command;
    }
  }
  if (log.last_ts + interval / 2 > store::TimestampOf(command.now)) return std::nullopt;
  return command;
}

void ChangeLogs::Propose(const Region& region, const store::WriteCommand& command) {
  std::string encoded;
  store::EncodeWriteCommand(command, encoded);
  proposing_.insert(region.id);
  // Whatever becomes of it, the next look says what is due then.
  host_.Propose(region.group(), std::move(encoded), [this, id = region.id](const group::ProposeOutcome&) {
    proposing_.erase(id);
    if (skipped_.erase(id) != 0) LookSoon();
  });
}

// ---- reading ----

StatusOr<const Region*> ChangeLogs::FindLog(RegionId id, uint64_t after) const {
  const Region* region = table_.Find(id);
  if (region == nullptr || !region->leads() || region->serving_term.IsNone())
    return Error(StatusCode::kFailedPrecondition, "region {} is not led by this node", id);
  const store::ChangeLogState& log = region->change_log;
  if (!log.keeps) return Error(StatusCode::kOutOfRange, "region {} keeps no change log", id);
  if (after < log.begin_ts) {
    return Error(StatusCode::kOutOfRange,
                 "the change log of region {} begins at {}, what was committed after {} is needed", id,
                 log.begin_ts, after);
  }
  return region;
}

std::optional<uint64_t> ChangeLogs::ResolvedOf(RegionId id) const {
  const auto region = FindLog(id, ~uint64_t{0});
  if (!region.ok()) return std::nullopt;
  return (*region)->change_log.last_ts;
}

StatusOr<store::ChangeRead> ChangeLogs::Read(RegionId id, uint64_t table, uint64_t after,
                                             size_t max_bytes) const {
  TENURE_ASSIGN_OR_RETURN(const Region* region, FindLog(id, after));
  return store::ReadChanges(*host_.State(region->group()), table, after, max_bytes);
}

StatusOr<store::RowsRead> ChangeLogs::ReadRows(RegionId id, uint64_t table, uint64_t as_of,
                                               std::string_view from, size_t max_bytes) const {
  TENURE_ASSIGN_OR_RETURN(const Region* region, FindLog(id, as_of));
  auto rows = store::ReadRowsAsOf(*host_.State(region->group()), region->store->range(), table, as_of, from,
                                  max_bytes);
  if (rows) return *std::move(rows);
  return Error(StatusCode::kOutOfRange,
               "slots of region {} went or came since {}: the rows as of then cannot be told any more", id,
               as_of);
}

void ChangeLogs::OnBeginOfChanges(const std::string& bytes, runtime::Reply reply) {
  ipb::BeginOfChangesRequest request;
  if (!request.ParseFromString(bytes) || request.regions_size() > kMaxRegions) {
    return reply(
        catalog::Refuse(pb::REASON_INVALID_ARGUMENT, "the message is not a valid BeginOfChangesRequest"));
  }
  if (Status status = CheckSender(request, cluster_id_, agent_); !status.ok())
    return reply(std::move(status));
  ipb::BeginOfChangesResponse response;
  for (const uint64_t id : request.regions()) {
    const StatusOr<const Region*> region = FindLog(RegionId(id), ~uint64_t{0});
    if (!region.ok()) {
      auto& failed = *response.add_failed();
      failed.set_region(id);
      failed.set_error(std::string(MessageOf(region.status())));
      continue;
    }
#ifndef TENURE_MUTANT_history_of_any_view
    const std::pair wanted(std::max<uint64_t>(request.incarnation(), 1), request.revision());
    const store::ChangeLogState& kept = (*region)->change_log;
    if (request.revision() != 0 && std::pair(kept.incarnation, kept.revision) < wanted) {
      asked_[RegionId(id)] = wanted;
      auto& failed = *response.add_failed();
      failed.set_region(id);
      failed.set_error(fmt::format("keeps its change log by the catalog of revision {}, {} is needed",
                                   kept.revision, request.revision()));
      continue;
    }
#endif
    auto& log = *response.add_logs();
    log.set_region(id);
    log.set_begin_ts((*region)->change_log.begin_ts);
    log.set_resolved_ts((*region)->change_log.last_ts);
  }
  if (response.failed_size() != 0) Look();
  reply(response.SerializeAsString());
}

}  // namespace tenure::node
