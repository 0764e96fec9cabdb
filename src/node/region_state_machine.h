// A region as a state machine of its Raft group: decodes commands for store::RegionStore, encodes its
// replies.
//
// Driven by group::GroupHost. Holds nothing of its own: the region's state is in kv.
// Threading: the regions' executor.
// Errors:    a committed command that cannot be decoded was written by a program this one does not
// understand:
//            going on would let the replicas part, so it is a broken invariant.
#pragma once

#include <string>
#include <string_view>

#include "base/ids.h"
#include "group/state_machine.h"
#include "store/region_store.h"

namespace tenure::node {

class RegionStateMachine final : public group::StateMachine {
 public:
  RegionStateMachine(RegionId region, store::SlotRange slots) : region_(region), store_(slots) {}

  void Reset(const kv::Reader& state, LogIndex applied) override;
  // The result is the encoded store::Reply.
  std::string Apply(const group::ApplyContext& context, std::string_view command, kv::View& state) override;

 private:
  const RegionId region_;
  store::RegionStore store_;
};

}  // namespace tenure::node
