#include "controller/procedure/types/schema_announcement.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "controller/procedure/types/move_slots.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

constexpr Duration kPause = std::chrono::milliseconds(200);  // before a node that failed is asked again

}  // namespace

SchemaAnnouncement::SchemaAnnouncement(StepContext& context, uint64_t database,
                                       ipb::ChangeSchemaRequest change, Duration call_timeout)
    : context_(context), database_(database), change_(std::move(change)), call_timeout_(call_timeout) {}

SchemaAnnouncement::Regions SchemaAnnouncement::RegionsNow() const {
  Regions regions;
  for (const auto& [id, record] : context_.catalog().regions()) {
    const pb::RegionRecord& region = record.region();
    if (region.database() == database_ && region.state() != pb::REGION_REMOVING)
      regions[id] = region.range_version();
  }
  return regions;
}

bool SchemaAnnouncement::SlotsAreMoving(const Regions& regions) const {
  const auto& procedures = context_.catalog().procedures();
  return std::any_of(procedures.begin(), procedures.end(), [&](const auto& entry) {
    const pb::ProcedureRecord& procedure = entry.second.procedure();
    return MoveSlots::MovesSlots(procedure) && regions.contains(procedure.object());
  });
}

bool SchemaAnnouncement::DatabaseIsThere() const {
  const auto found = context_.catalog().databases().find(database_);
  return found != context_.catalog().databases().end() &&
         found->second.database().state() != pb::DATABASE_PRE_DELETE;
}

runtime::Task<void> SchemaAnnouncement::Call(NodeId node, std::set<uint64_t> regions,
                                             runtime::StopToken stop) {
  ipb::ChangeSchemaRequest request = change_;
  request.set_cluster_id(context_.catalog().cluster()->cluster_id());
  request.set_leader_epoch(context_.epoch().value());
  request.set_incarnation(context_.catalog().cluster()->incarnation());
  for (const uint64_t region : regions) request.add_regions(region);
  auto answer = co_await context_.CallNode(node, "tenure.internal.v1.NodeInternal/ChangeSchema",
                                           request.SerializeAsString(), call_timeout_);
  if (stop.stop_requested()) co_return;
  calling_.erase(node);
  not_before_[node] = context_.executor().Now() + kPause;
  ipb::ChangeSchemaResponse response;
  if (!answer.ok()) {
    last_error_ = fmt::format("node {}: {}", node.value(), MessageOf(answer.status()));
  } else if (response.ParseFromString(*answer)) {
    for (const uint64_t region : response.done()) done_.insert(region);
    announced_ts_ = std::max(announced_ts_, response.announced_ts());
    for (const auto& failed : response.failed())
      last_error_ = fmt::format("region {} on node {}: {}", failed.region(), node.value(), failed.error());
  }
  context_.Wake();
}

std::string SchemaAnnouncement::AskLeaders(runtime::TaskScope& calls, const Regions& regions) {
  std::map<NodeId, std::set<uint64_t>> by_leader;
  std::string missing;
  for (const auto& [id, version] : regions) {
    if (done_.contains(id)) continue;
    const RegionLeaderView* leader = context_.agents().region_leaders().Find(RegionId(id));
    if (leader == nullptr || leader->node.IsNone()) {
      missing = fmt::format(", region {} has no leader", id);
      continue;
    }
    by_leader[leader->node].insert(id);
  }
  const Instant now = context_.executor().Now();
  for (auto& [node, ids] : by_leader) {
    const auto not_before = not_before_.find(node);
    if (calling_.contains(node) || (not_before != not_before_.end() && now < not_before->second)) continue;
    calling_.insert(node);
    calls.Spawn(Call(node, std::move(ids), calls.token()));
  }
  return missing;
}

runtime::Task<Status> SchemaAnnouncement::Run() {
  runtime::TaskScope calls(context_.executor());
  Regions began;
  bool quiet = false;  // no slots were on their way in this pass
  const auto begin = [&] {
    done_.clear();
    began = RegionsNow();
    quiet = !SlotsAreMoving(began);
  };
  begin();
  Status status;
  while (true) {
    if (!DatabaseIsThere()) {
      status = Error(StatusCode::kNotFound, "the database was dropped");
      break;
    }
    const Regions now = RegionsNow();
    const auto left = static_cast<size_t>(std::count_if(
        now.begin(), now.end(), [this](const auto& region) { return !done_.contains(region.first); }));
    const bool moving = SlotsAreMoving(now);
    quiet = quiet && !moving;
    if (left == 0) {
      if (quiet && now == began) break;
      // Slots may have been copied out of a region before it was told: another pass, once they have arrived.
      if (!moving) {
        begin();
        continue;
      }
      context_.WaitsFor("slots that are on their way between regions");
    } else {
      const std::string missing = AskLeaders(calls, now);
      context_.WaitsFor(fmt::format("{} of {} regions have to be told{}{}{}", left, now.size(), missing,
                                    last_error_.empty() ? "" : "; ", last_error_));
    }
    if (!co_await context_.News(left == 0 ? StepContext::kLook : kPause)) {
      status = absl::CancelledError("stopped");
      break;
    }
  }
  co_await calls.StopAndJoin();
  co_return status;
}

}  // namespace tenure::controller
