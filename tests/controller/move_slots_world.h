// A database over fake nodes whose slots are moved: the ranges of its regions, and the copies that nodes make.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "catalog/format.h"
#include "catalog/procedures.h"
#include "catalog/refusal.h"
#include "catalog/state_moves.h"
#include "controller/procedure/types/move_slots.h"
#include "tenure/internal/v1/node.pb.h"
#include "tests/controller/test_controller.h"

namespace tenure::controller {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Op = ipb::RangeChange;

// The ranges of all regions, wherever they are led, as store/region_range.h has them.
struct FakeRanges : public runtime::Service {
  void OnCall(const runtime::CallInfo& info, std::string bytes, runtime::Reply reply) override {
    if (info.method == "BeginOfChanges") return reply(ResolvedTo(700, bytes));
    ipb::ChangeRangeRequest request;
    ASSERT_EQ(info.method, "ChangeRange");
    ASSERT_TRUE(request.ParseFromString(bytes));
    ipb::RegionRange& range = ranges[request.region()];
    ipb::ChangeRangeResponse response;
    if (request.has_change()) {
      const ipb::RangeChange& change = request.change();
      if (holds_open && change.op() == Op::OPEN) return reply(absl::UnavailableError("not now"));
      if (request.leader_epoch() < epoch) return reply(absl::AbortedError("a leader of the past"));
      epoch = request.leader_epoch();
      if (change.if_version() != range.version())
        return reply(absl::AbortedError("another version is in force"));
      if (change.op() != Op::CLEAR) range.set_version(range.version() + 1);
      history.push_back(fmt::format("{} {}", ipb::RangeChange::Op_Name(change.op()), request.region()));
      if (const std::string wrong = Apply(request.region(), change, range, response); !wrong.empty()) {
        ADD_FAILURE() << history.back() << ": " << wrong;
        return reply(absl::AbortedError(wrong));
      }
      if (drop_answers) return reply(absl::UnavailableError("the answer is lost"));
    }
    *response.mutable_range() = range;
    reply(response.SerializeAsString());
  }
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }
  // Empty: done.
  std::string Apply(uint64_t region, const ipb::RangeChange& change, ipb::RegionRange& range,
                    ipb::ChangeRangeResponse& response) {
    switch (change.op()) {
      case Op::FREEZE:
        if (range.has_outgoing() || range.has_incoming()) return "something moves already";
        *range.mutable_outgoing()->mutable_slots() = change.slots();
        range.mutable_outgoing()->set_procedure(change.procedure());
        return "";
      case Op::RELEASE: {
        if (!range.has_outgoing()) return "nothing is frozen";
        range.mutable_outgoing()->set_released(true);
        range.mutable_outgoing()->set_released_ts(released_ts);
        range.mutable_outgoing()->set_keeps_changes(released_ts != 0);
        keys[region] = 2500;
        const auto& slots = range.outgoing().slots();
        if (slots.first() == range.slots().first()) {
          range.clear_slots();
        } else {
          range.mutable_slots()->set_last(slots.first() - 1);
        }
        CheckServedOnce();
        return "";
      }
      case Op::OPEN: {
        if (!range.incoming().complete()) return "no copy is complete";
        if (change.after_ts() != released_ts || change.keep_changes() != (released_ts != 0))
          return "it is not said when the slots were released";
        if (released_ts != 0) range.set_opened_ts(released_ts + 1);
        const pb::SlotRange slots = range.incoming().slots();
        const bool has = range.has_slots();
        range.mutable_slots()->set_first(has ? std::min(slots.first(), range.slots().first())
                                             : slots.first());
        range.mutable_slots()->set_last(has ? std::max(slots.last(), range.slots().last()) : slots.last());
        range.clear_incoming();
        CheckServedOnce();
        return "";
      }
      case Op::CLEAR: {
        if (!range.outgoing().released()) return "nothing is to be cleared";
        response.set_result(std::min(keys[region], change.limit()));
        keys[region] -= response.result();
        return "";
      }
      case Op::END:
        if (range.outgoing().released() && keys[region] > 0) return "keys are left";
        if (range.has_incoming()) {
          *range.mutable_outgoing()->mutable_slots() = range.incoming().slots();
          range.mutable_outgoing()->set_procedure(range.incoming().procedure());
          range.mutable_outgoing()->set_released(true);
          range.clear_incoming();
          keys[region] = 100;
        } else {
          range.clear_outgoing();
        }
        return "";
      default:
        return "a controller does not ask for that";
    }
  }
  void CheckServedOnce() const {
    uint32_t served = 0;
    for (const auto& [id, range] : ranges) {
      if (range.has_slots()) served += range.slots().last() - range.slots().first() + 1;
    }
    EXPECT_LE(served, 16384u) << "a slot is served twice";
  }
  std::map<uint64_t, ipb::RegionRange> ranges;
  std::map<uint64_t, uint64_t> keys;
  std::vector<std::string> history;
  uint64_t epoch = 0;
  uint64_t released_ts = 0;  // of all releases, by the change logs; 0: there are none
  bool drop_answers = false;
  bool holds_open = false;
};

class MoveSlotsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    t.Lead();
    for (int i = 1; i <= 3; ++i) {
      nodes.push_back(std::make_unique<FakeNode>(t, "n" + std::to_string(i)));
      nodes.back()->Register();
      nodes.back()->Connect();
      nodes.back()->work = [this](const ipb::TaskSubmit& submit) { return Work(submit); };
      views.push_back(t.fake_network.MakeView(fmt::format("n{}:1", nodes.back()->id)));
      views.back()->Serve("tenure.internal.v1.NodeInternal", ranges);
    }
  }
  // A copy is what a node does in one go.
  ipb::TaskState Work(const ipb::TaskSubmit& submit) {
    if (!submit.payload().has_copy_slots()) return ipb::TASK_SUCCESS;
    ++copies;
    const ipb::SlotCopy& copy = submit.payload().copy_slots();
    // What comes after it was given up is refused by the node's log.
    if (ranges.ranges[copy.from_region()].outgoing().procedure() != copy.procedure()) return ipb::TASK_FAIL;
    auto& incoming = *ranges.ranges[copy.to_region()].mutable_incoming();
    ranges.ranges[copy.to_region()].set_version(ranges.ranges[copy.to_region()].version() + 1);
    incoming.set_procedure(copy.procedure());
    *incoming.mutable_slots() = copy.slots();
    incoming.set_keys(3);
    if (failing_copies > 0) {
      --failing_copies;
      return ipb::TASK_FAIL;
    }
    incoming.set_complete(true);
    return ipb::TASK_SUCCESS;
  }
  void Beat(int rounds = 1) {
    for (int i = 0; i < rounds; ++i) {
      Report();
      t.executor.Advance(milliseconds(30));
      for (auto& node : nodes) {
        if (node.get() != silent) node->Beat();
      }
      t.executor.Advance(milliseconds(30));
    }
  }
  // Each region is led on the node of this replica.
  void Report() {
    for (const auto& [id, record] : t.machine.catalog().regions()) {
      for (const pb::ReplicaRecord& replica : record.region().replicas()) {
        pb::RegionLoad load;
        load.set_region(id);
        load.set_replica(replica.id());
        load.set_term(1 + leader_replica);
        load.set_is_leader(replica.id() == leader_replica);
        load.set_leader_replica(leader_replica);
        FakeNode& node = *nodes[replica.node() - 1];
        node.regions[id] = load;
        *node.next.add_regions() = load;
      }
    }
  }
  void CreateDatabase(uint32_t regions) {
    pb::CreateDatabaseRequest request;
    request.set_name("d");
    request.set_regions(regions);
    t.Start<pb::ChangeResponse>("tenure.v1.Catalog/CreateDatabase", request, seconds(100), [](auto) {});
    t.executor.Advance(milliseconds(1));
    for (const auto& [id, record] : t.machine.catalog().regions())
      *ranges.ranges[id].mutable_slots() = record.region().slots();
    Beat(6);
    ASSERT_EQ(t.machine.catalog().databases().at(1).database().state(), pb::DATABASE_PUBLIC);
  }
  StatusOr<pb::SplitRegionResponse> Split(uint64_t region, uint32_t at_slot, bool dry_run = false) {
    pb::SplitRegionRequest request;
    request.set_region(region);
    request.set_at_slot(at_slot);
    request.set_dry_run(dry_run);
    return t.Call<pb::SplitRegionResponse>("tenure.v1.Regions/Split", request);
  }
  StatusOr<pb::MergeRegionsResponse> Merge(uint64_t region, uint64_t with) {
    pb::MergeRegionsRequest request;
    request.set_region(region);
    request.set_with(with);
    return t.Call<pb::MergeRegionsResponse>("tenure.v1.Regions/Merge", request);
  }
  const pb::ProcedureRecord& Procedure(uint64_t id) const {
    return t.machine.catalog().procedures().at(id).procedure();
  }
  void Cancel(uint64_t id) {
    pb::CancelProcedureRequest request;
    request.set_procedure(id);
    ASSERT_TRUE(t.Call<pb::ChangeResponse>("tenure.v1.Procedures/Cancel", request).ok());
  }
  bool BeatUntilEnded(uint64_t id) {
    for (int i = 0; i < 100 && !catalog::IsEnded(Procedure(id).state()); ++i) Beat();
    return catalog::IsEnded(Procedure(id).state());
  }
  void BeatUntilStep(uint64_t id, const std::string& step) {
    for (int i = 0; i < 100 && Procedure(id).step() != step; ++i) Beat();
    ASSERT_EQ(Procedure(id).step(), step);
  }
  // What is held is applied, and what follows from it is held.
  void ApplyHeld() {
    t.group.Release();
    t.group.hold = true;
    t.executor.Advance(milliseconds(1));
  }
  void StartDrop() {
    pb::DropDatabaseRequest drop;
    drop.set_name("d");
    t.Start<pb::ChangeResponse>("tenure.v1.Catalog/DropDatabase", drop, seconds(10),
                                [](const auto& answer) { EXPECT_TRUE(answer.ok()) << answer.status(); });
    t.executor.Advance(milliseconds(1));
  }
  int Removals() const {
    const auto& procedures = t.machine.catalog().procedures();
    return static_cast<int>(std::count_if(procedures.begin(), procedures.end(), [](const auto& entry) {
      return entry.second.procedure().type() == "RemoveRegions";
    }));
  }
  // How many replicas of each region nodes were asked to destroy.
  std::map<uint64_t, int> Destroyed() const {
    std::map<uint64_t, int> destroyed;
    for (const auto& node : nodes) {
      for (const ipb::TaskSubmit& submit : node->submits) {
        for (const auto& item : submit.payload().destroy_replicas().items()) ++destroyed[item.region()];
      }
    }
    return destroyed;
  }
  // "1:0-99 2:100-16383 CREATING", by id; records agree with the ranges unless they are being moved.
  std::string Slots() const {
    std::string text;
    for (const auto& [id, record] : t.machine.catalog().regions()) {
      const pb::RegionRecord& region = record.region();
      text += fmt::format("{}{}:{}-{}", text.empty() ? "" : " ", id, region.slots().first(),
                          region.slots().last());
      if (region.state() != pb::REGION_SERVING) text += " " + std::string(catalog::NameOf(region.state()));
    }
    return text;
  }

  FakeRanges ranges;
  std::vector<std::unique_ptr<runtime::Network>> views;
  uint64_t leader_replica = 1;
  int copies = 0;
  int failing_copies = 0;
  TestController t;
  std::vector<std::unique_ptr<FakeNode>> nodes;
  const FakeNode* silent = nullptr;
};

}  // namespace tenure::controller
