// SplitRegion, MergeRegions: slots at an end of a region, or all of them, go to another region of its
// database with everything that is in them; a split makes that one first, a merge ends the one that gives.
//
//   (split) prepare --record made--> create --majority, leader--> freeze      (merge) prepare --> freeze
//   freeze --the log refuses writes to the slots--> copy --all of it is in the other's log--> switch --the
//   log of the one has released them, that of the other serves them, the records say so--> (split) drop
//   --keys gone--> SUCCEEDED
//
// In `drop` a split holds no locks: it may wait long for a changefeed that has to read the keys, and nobody
// else needs to know of them but who wants to move slots of the region again.
//
//   before switch --cancelled, or the new region or the copy cannot be made--> undo --written again; what was
//   copied is gone--> CANCELLED or ROLLED_BACK
//
// The ranges are the regions' own: every look at one goes through its leader, every change is conditional on
// the version that was seen. No slot is served by two regions, since the other one is asked to open only when
// the first is known to have released; from `switch` on there is only forward. A database that is dropped
// meanwhile ends it all.
#pragma once

#include <optional>
#include <string>

#include "controller/procedure/procedure_type.h"
#include "controller/procedure/step_context.h"
#include "tenure/internal/v1/node.pb.h"
#include "tenure/internal/v1/procedure.pb.h"

namespace tenure::controller {

struct MoveSlotsOptions {
  Duration call_timeout = std::chrono::seconds(10);
  uint32_t max_failures = 3;  // of a new replica's creation, or of a copy at a node that leads no more
  uint32_t max_copy_failures =
      10;  // at one node: then the split or merge is given up, since writes wait for it
  Duration grace = std::chrono::seconds(3);  // once there is a majority: for replicas that are still missing
  uint64_t keys_per_clear = 1000;
  size_t max_running = 8;
};

class MoveSlots : public ProcedureType {
 public:
  static constexpr std::string_view kSplit = "SplitRegion";
  static constexpr std::string_view kMerge = "MergeRegions";
  static constexpr std::string_view kSwitch = "switch";  // the step in which the slots change hands

  MoveSlots(std::string_view name, MoveSlotsOptions options) : name_(name), options_(options) {}

  // The slots from `at_slot` to the region's last one go to a new region.
  static ::tenure::v1::ProcedureRecord NewSplit(const ::tenure::v1::RegionRecord& region, uint32_t at_slot);
  // All slots of `region` go to `with`.
  static ::tenure::v1::ProcedureRecord NewMerge(const ::tenure::v1::RegionRecord& region,
                                                const ::tenure::v1::RegionRecord& with);

  // Slots are on their way between regions, or going to be: not if only keys are left to be deleted.
  static bool MovesSlots(const ::tenure::v1::ProcedureRecord& procedure);
  // The procedure that deletes what the region has given away, whose end the next move of its slots has to
  // wait for; 0: none.
  static uint64_t DroppingIn(const catalog::Catalog& catalog, uint64_t region);

  std::string_view name() const override { return name_; }
  std::string_view first_step() const override { return "prepare"; }
  size_t max_running() const override { return options_.max_running; }
  bool IsCounted(std::string_view step) const override { return step != "drop"; }
  bool IsCancellable(std::string_view step) const override;
  Status Check(const ::tenure::v1::ProcedureRecord& procedure) const override;
  runtime::Task<StatusOr<StepEnd>> Run(StepContext& context) override;

 private:
  using Body = ::tenure::internal::v1::MoveSlotsBody;
  using Range = ::tenure::internal::v1::RegionRange;
  using RangeChange = ::tenure::internal::v1::RangeChange;
  using End = runtime::Task<StatusOr<StepEnd>>;

  bool splits() const { return name_ == kSplit; }
  End Prepare(StepContext& context, Body body);
  End Create(StepContext& context, Body body);
  End Freeze(StepContext& context, Body body);
  End Copy(StepContext& context, Body body);
  End Switch(StepContext& context, Body body);
  End Drop(StepContext& context, Body body);
  End Undo(StepContext& context, Body body);
  // Ends what this procedure left in a region's range; the last change is always one that was made now. What
  // the region has given away, or was to take, is cleared; `keep_released`: what it has given away is not,
  // and then this never comes to an end.
  runtime::Task<bool> Tidy(StepContext& context, uint64_t region, bool keep_released = false);
  // The range as the region's leader has it, nothing if it does not answer now.
  runtime::Task<std::optional<Range>> Look(StepContext& context, uint64_t region);
  // The range after the change, nothing if it was refused or there was no answer: to be looked at again.
  runtime::Task<std::optional<Range>> Ask(StepContext& context, uint64_t region,
                                          std::optional<RangeChange> change, uint64_t* result = nullptr);

  const std::string name_;
  const MoveSlotsOptions options_;
};

}  // namespace tenure::controller
