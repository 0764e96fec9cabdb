#include "sim/slot_operator.h"

#include <fmt/format.h>

#include <vector>

#include "base/format.h"
#include "catalog/procedures.h"
#include "controller/procedure/types/move_slots.h"
#include "sim/server.h"
#include "tenure/v1/procedures.pb.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;

namespace {

constexpr size_t kMaxRegions = 10;

bool MovesSlots(const pb::ProcedureRecord& procedure) {
  const bool one =
      procedure.type() == controller::MoveSlots::kSplit || procedure.type() == controller::MoveSlots::kMerge;
  return one && !catalog::IsEnded(procedure.state());
}

}  // namespace

void SlotOperator::Start() {
  if (world_.options().slot_moves) Schedule();
}

void SlotOperator::Schedule() {
  const Duration gap = std::chrono::milliseconds(prng_.Between(200, 4000));
  next_ = world_.scheduler().At(world_.scheduler().now() + gap, "slot operator", [this] {
    Act();
    Schedule();
  });
}

std::string SlotOperator::Unfinished() const {
  if (!world_.options().slot_moves) return {};
  controller::Controller* serving = world_.ServingController();
  if (serving == nullptr) return "a serving controller";
  for (const auto& [id, record] : serving->catalog().procedures()) {
    const pb::ProcedureRecord& procedure = record.procedure();
    if (MovesSlots(procedure)) {
      return fmt::format("procedure {} ({}) to end, it is in step '{}': {}", id, procedure.description(),
                         procedure.step(), procedure.last_error());
    }
  }
  return {};
}

void SlotOperator::Act() {
  controller::Controller* serving = world_.ServingController();
  if (serving == nullptr) return;
  std::vector<const pb::RegionRecord*> regions;
  for (const auto& [id, record] : serving->catalog().regions()) {
    if (record.region().state() == pb::REGION_SERVING) regions.push_back(&record.region());
  }
  if (regions.empty()) return;
  const pb::RegionRecord region = *regions[prng_.Below(regions.size())];
  const uint64_t draw = prng_.Below(10);
  if (draw == 0) return Cancel();
  if (regions.size() >= kMaxRegions || draw < 5) return Merge(region);
  Split(region);
}

void SlotOperator::Split(const pb::RegionRecord& region) {
  const uint32_t first = region.slots().first();
  const uint32_t last = region.slots().last();
  if (first == last) return;
  pb::SplitRegionRequest request;
  *request.mutable_id() = world_.NextRequestId();
  request.set_region(region.id());
  request.set_at_slot(first + 1 + static_cast<uint32_t>(prng_.Below(last - first)));
  Ask("tenure.v1.Regions/Split", request.SerializeAsString(),
      fmt::format("split region {} at {}", region.id(), request.at_slot()));
}

// With the one below or above it.
void SlotOperator::Merge(const pb::RegionRecord& region) {
  controller::Controller* serving = world_.ServingController();
  const bool above = prng_.Chance(1, 2);
  for (const auto& [id, record] : serving->catalog().regions()) {
    const pb::RegionRecord& other = record.region();
    if (other.database() != region.database() || other.state() != pb::REGION_SERVING) continue;
    if (above ? other.slots().first() != region.slots().last() + 1
              : other.slots().last() + 1 != region.slots().first())
      continue;
    pb::MergeRegionsRequest request;
    *request.mutable_id() = world_.NextRequestId();
    request.set_region(region.id());
    request.set_with(id);
    return Ask("tenure.v1.Regions/Merge", request.SerializeAsString(),
               fmt::format("merge region {} into {}", region.id(), id));
  }
}

void SlotOperator::Cancel() {
  for (const auto& [id, record] : world_.ServingController()->catalog().procedures()) {
    if (!MovesSlots(record.procedure())) continue;
    pb::CancelProcedureRequest request;
    *request.mutable_id() = world_.NextRequestId();
    request.set_procedure(id);
    return Ask("tenure.v1.Procedures/Cancel", request.SerializeAsString(),
               fmt::format("cancel procedure {}", id));
  }
}

void SlotOperator::Ask(std::string_view method, const std::string& request, const std::string& what) {
  world_.Note("slot operator: " + what);
  world_.Ask(method, request, [this, what](const StatusOr<std::string>& answer) {
    world_.Note(fmt::format("slot operator: {}: {}", what,
                            answer.ok() ? "done" : std::string(MessageOf(answer.status()))));
  });
}

}  // namespace tenure::sim
