// A region as a state machine of its Raft group: decodes commands for store::RegionStore, encodes its
// replies.
//
// Driven by group::GroupHost. Holds nothing of its own but the region's range, as the state has it.
// Threading: the regions' executor.
// Errors:    a committed command that cannot be decoded was written by a program this one does not
//            understand: going on would let the replicas part, so it is a broken invariant.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/ids.h"
#include "group/state_machine.h"
#include "store/region_store.h"

namespace tenure::node {

class RegionStateMachine final : public group::StateMachine {
 public:
  // `initial`: the slots that the region began with. `on_range` is told of the range whenever readers of the
  // state may find another one, `on_log` of the change log likewise.
  RegionStateMachine(RegionId region, std::optional<store::SlotRange> initial,
                     std::function<void(const store::RegionRange&)> on_range,
                     std::function<void(const store::ChangeLogState&)> on_log)
      : region_(region), store_(initial), on_range_(std::move(on_range)), on_log_(std::move(on_log)) {}

  void Reset(const kv::Reader& state, LogIndex applied) override;
  // The result is the encoded store::Reply.
  std::string Apply(const group::ApplyContext& context, std::string_view command, kv::View& state) override;
  void OnBatchWritten(LogIndex applied) override;

 private:
  const RegionId region_;
  store::RegionStore store_;
  std::function<void(const store::RegionRange&)> on_range_;
  std::function<void(const store::ChangeLogState&)> on_log_;
  store::ChangeLogState told_;  // on_log_, last
  bool range_changed_ = false;
};

}  // namespace tenure::node
