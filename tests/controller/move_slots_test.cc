// SplitRegion and MergeRegions over fake nodes: every step, what is undone, and leaders that change in
// between.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "catalog/format.h"
#include "catalog/procedures.h"
#include "catalog/refusal.h"
#include "catalog/state_moves.h"
#include "controller/changefeeds/node_change_history.h"
#include "controller/procedure/types/move_slots.h"
#include "controller/procedure/types/remove_regions.h"
#include "tenure/internal/v1/node.pb.h"
#include "tests/controller/move_slots_world.h"

namespace tenure::controller {
namespace {

using catalog::ReasonOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(MoveSlotsTest, ASplit) {
  CreateDatabase(1);
  const auto answer = Split(1, 0);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->at_slot(), 8192u);
  const uint64_t id = answer->procedure().procedure().id();
  ASSERT_TRUE(BeatUntilEnded(id));
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED) << Procedure(id).DebugString();
  EXPECT_EQ(Slots(), "1:0-8191 2:8192-16383");
  EXPECT_THAT(ranges.history, ElementsAre("FREEZE 1", "RELEASE 1", "OPEN 2", "CLEAR 1", "CLEAR 1", "CLEAR 1",
                                          "CLEAR 1", "END 1"));
  const pb::RegionRecord& one = t.machine.catalog().regions().at(1).region();
  const pb::RegionRecord& two = t.machine.catalog().regions().at(2).region();
  EXPECT_EQ(one.initial_slots().last(), 16383u);
  EXPECT_EQ(one.range_version(), 2u);
  EXPECT_EQ(two.range_version(), 2u);
  EXPECT_TRUE(two.split_off());
  EXPECT_EQ(two.replicas_size(), 3);
  EXPECT_EQ(one.range_procedure(), id);
  std::vector<std::string> steps;
  for (const auto& step : Procedure(id).steps()) steps.push_back(step.name());
  EXPECT_THAT(steps, ElementsAre("prepare", "create", "freeze", "copy", "switch", "drop"));
}

TEST_F(MoveSlotsTest, AMerge) {
  CreateDatabase(2);
  const auto answer = Merge(2, 1);
  ASSERT_TRUE(answer.ok()) << answer.status();
  const uint64_t id = answer->procedure().procedure().id();
  ASSERT_TRUE(BeatUntilEnded(id));
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED) << Procedure(id).DebugString();
  Beat(6);
  EXPECT_EQ(Slots(), "1:0-16383");
  EXPECT_THAT(ranges.history, ElementsAre("FREEZE 2", "RELEASE 2", "OPEN 1"));
  EXPECT_EQ(t.machine.catalog().regions().at(1).region().initial_slots().last(), 8191u);
  EXPECT_EQ(t.machine.catalog().databases().at(1).database().state(), pb::DATABASE_PUBLIC);
}

TEST_F(MoveSlotsTest, AMergedRegionStaysWhileAChangefeedNeedsItsHistory) {
  CreateDatabase(2);
  const auto propose = [this](ipb::CatalogCommand command) {
    command.set_version(catalog::FormatOf(command));
    command.set_now_ms(1);
    t.group.Propose(command.SerializeAsString(), [](const group::ProposeOutcome&) {});
    t.executor.Advance(milliseconds(1));
  };
  ipb::CatalogCommand create;
  auto& feed = *create.mutable_create_changefeed()->mutable_changefeed();
  feed.set_name("feed");
  feed.set_database(1);
  feed.set_filter("table:*");
  feed.set_sink("stdout:");
  feed.set_gc_ttl_ms(1000);
  feed.set_stall_after_ms(60000);
  propose(create);
  ASSERT_EQ(t.machine.catalog().changefeeds().size(), 1u);
  ranges.released_ts = 500;
  const uint64_t id = Merge(2, 1)->procedure().procedure().id();
  ASSERT_TRUE(BeatUntilEnded(id));
  Beat(50);
  ASSERT_TRUE(t.machine.catalog().regions().contains(2));
  const auto removal = std::prev(t.machine.catalog().procedures().end());
  EXPECT_EQ(removal->second.procedure().type(), "RemoveRegions");
  ipb::CatalogCommand done;
  done.mutable_progress_changefeed()->set_changefeed(1);
  done.mutable_progress_changefeed()->set_if_epoch(
      t.machine.catalog().changefeeds().at(1).changefeed().owner_epoch());
  done.mutable_progress_changefeed()->set_checkpoint_ts(500);
  propose(done);
  Beat(50);
  EXPECT_FALSE(t.machine.catalog().regions().contains(2));
}

// The keys that a split has given away stay for a changefeed that may be paused for a day: nobody else waits.
TEST_F(MoveSlotsTest, ASplitThatWaitsForAChangefeedHoldsNothingUp) {
  CreateDatabase(1);
  nodes.push_back(std::make_unique<FakeNode>(t, "n4"));
  nodes.back()->Register();
  nodes.back()->Connect();
  const auto propose = [this](ipb::CatalogCommand command) {
    command.set_version(catalog::FormatOf(command));
    command.set_now_ms(1);
    t.group.Propose(command.SerializeAsString(), [](const group::ProposeOutcome&) {});
    t.executor.Advance(milliseconds(1));
  };
  ipb::CatalogCommand create;
  auto& feed = *create.mutable_create_changefeed()->mutable_changefeed();
  feed.set_name("feed");
  feed.set_database(1);
  feed.set_filter("table:*");
  feed.set_sink("stdout:");
  feed.set_initial_snapshot(true);
  feed.set_gc_ttl_ms(3'600'000);
  feed.set_stall_after_ms(60000);
  propose(create);
  ipb::CatalogCommand pause;
  pause.mutable_change_changefeed()->set_changefeed(1);
  pause.mutable_change_changefeed()->set_pause(true);
  propose(pause);
  ranges.released_ts = 500;
  const uint64_t id = Split(1, 0)->procedure().procedure().id();
  BeatUntilStep(id, "drop");
  Beat(50);
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_RUNNING);
  EXPECT_EQ(ranges.keys[1], 2500u);
  // Its slots cannot be moved again: that is said, and locks nothing for long.
  EXPECT_EQ(ReasonOf(Split(1, 100).status()), pb::REASON_BUSY);
  EXPECT_EQ(ReasonOf(Merge(2, 1).status()), pb::REASON_BUSY);
  const auto& regions = t.machine.catalog().regions();
  ipb::CatalogCommand merge;
  *merge.mutable_submit_procedure()->mutable_procedure() =
      MoveSlots::NewMerge(regions.at(2).region(), regions.at(1).region());
  propose(merge);
  const uint64_t merging = t.machine.catalog().procedures().rbegin()->first;
  ASSERT_TRUE(BeatUntilEnded(merging));
  EXPECT_EQ(Procedure(merging).state(), pb::PROCEDURE_FAILED);
  EXPECT_THAT(Procedure(merging).last_error(), HasSubstr("changefeed 'feed' to deliver the rows"));
  // Its replicas can be changed.
  ipb::CatalogCommand move;
  *move.mutable_submit_procedure()->mutable_procedure() =
      ChangeReplica::New(ChangeReplica::kMove, regions.at(1).region(), NodeId(4), ReplicaId(2));
  propose(move);
  BeatUntilStep(t.machine.catalog().procedures().rbegin()->first, "add_learner");
  // The changefeed goes, and the keys with it.
  ipb::CatalogCommand gone;
  gone.mutable_change_changefeed()->set_changefeed(1);
  gone.mutable_change_changefeed()->set_remove(true);
  propose(gone);
  ASSERT_TRUE(BeatUntilEnded(id));
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED);
  EXPECT_EQ(ranges.keys[1], 0u);
}

// One that began then would find the rows of the slots nowhere.
TEST_F(MoveSlotsTest, NoChangefeedBeginsWhileSlotsAreReleasedAndNotOpened) {
  CreateDatabase(1);
  NodeChangeHistory history(t.access, t.agents, t.node_calls);
  runtime::TaskScope scope(t.executor);
  Status answer;
  const auto ask = [&]() -> runtime::Task<void> {
    answer = (co_await history.ResolvedOf(1, scope.token())).status();
  };
  const auto resolved = [&] {
    answer = absl::DeadlineExceededError("no answer");
    scope.Spawn(ask());
    t.executor.Advance(milliseconds(10));
    return answer;
  };
  ranges.holds_open = true;
  const uint64_t id = Split(1, 8192)->procedure().procedure().id();
  BeatUntilStep(id, "switch");
  Beat(10);
  ASSERT_EQ(ranges.history.back(), "RELEASE 1");
  EXPECT_THAT(std::string(MessageOf(resolved())),
              HasSubstr("slots 8192-16383 to have gone from region 1 to region 2"));
  ranges.holds_open = false;
  ASSERT_TRUE(BeatUntilEnded(id));
  EXPECT_TRUE(resolved().ok()) << resolved();
}

TEST_F(MoveSlotsTest, WhatIsRefused) {
  CreateDatabase(3);
  EXPECT_EQ(ReasonOf(Split(77, 0).status()), pb::REASON_NOT_FOUND);
  EXPECT_EQ(ReasonOf(Split(2, 5461).status()), pb::REASON_INVALID_ARGUMENT) << "its first slot";
  EXPECT_THAT(std::string(MessageOf(Split(2, 16383).status())),
              HasSubstr("at_slot: 16383 is not in 5462..10921"));
  EXPECT_EQ(ReasonOf(Merge(1, 3).status()), pb::REASON_INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(Merge(1, 1).status()), pb::REASON_INVALID_ARGUMENT);
  EXPECT_EQ(Split(2, 6000, /*dry_run=*/true)->procedure().procedure().id(), 0u);
  EXPECT_TRUE(Split(2, 6000).ok());
  EXPECT_EQ(ReasonOf(Split(2, 6000).status()), pb::REASON_BUSY);
  EXPECT_EQ(ReasonOf(Merge(1, 2).status()), pb::REASON_BUSY);
  EXPECT_EQ(ReasonOf(Merge(77, 1).status()), pb::REASON_NOT_FOUND);
  EXPECT_EQ(ReasonOf(Merge(1, 77).status()), pb::REASON_NOT_FOUND);
}

TEST_F(MoveSlotsTest, RegionsThatAreNotReadyAreRefused) {
  CreateDatabase(1);
  const uint64_t id = Split(1, 16383)->procedure().procedure().id();
  BeatUntilStep(id, "create");
  const auto made = Split(2, 0);
  EXPECT_EQ(ReasonOf(made.status()), pb::REASON_CONDITION_FAILED);
  EXPECT_THAT(std::string(MessageOf(made.status())), HasSubstr("region: region 2 is CREATING"));
  EXPECT_THAT(std::string(MessageOf(Merge(1, 2).status())), HasSubstr("procedure"));
  ASSERT_TRUE(BeatUntilEnded(id));
  EXPECT_EQ(Slots(), "1:0-16382 2:16383-16383");
  const auto one_slot = Split(2, 0);
  EXPECT_EQ(ReasonOf(one_slot.status()), pb::REASON_CONDITION_FAILED);
  EXPECT_THAT(std::string(MessageOf(one_slot.status())), HasSubstr("region 2 has one slot, 16383"));
  EXPECT_EQ(t.machine.catalog().databases().at(1).database().regions(), 2u);
  const uint64_t merge = Merge(2, 1)->procedure().procedure().id();
  ASSERT_TRUE(BeatUntilEnded(merge));
  EXPECT_EQ(t.machine.catalog().databases().at(1).database().regions(), 1u);
  const auto gone = Split(2, 0);
  EXPECT_THAT(gone.status().ok() ? "" : std::string(MessageOf(gone.status())),
              testing::AnyOf(HasSubstr("region 2 is REMOVING"), HasSubstr("there is no region 2")));
}

TEST_F(MoveSlotsTest, RegionsOfDifferentDatabasesDoNotMerge) {
  CreateDatabase(1);
  pb::CreateDatabaseRequest request;
  request.set_name("e");
  request.set_regions(2);
  t.Start<pb::ChangeResponse>("tenure.v1.Catalog/CreateDatabase", request, seconds(100), [](auto) {});
  t.executor.Advance(milliseconds(1));
  Beat(6);
  const auto refused = Merge(2, 1);
  EXPECT_EQ(ReasonOf(refused.status()), pb::REASON_INVALID_ARGUMENT);
  EXPECT_THAT(
      std::string(MessageOf(refused.status())),
      HasSubstr("with: region 1 (slots 0-16383 of database 1) is not beside region 2 (slots 0-8191 of "
                "database 2)"));
}

// A client that has lost the answer asks with the same id.
TEST_F(MoveSlotsTest, TheSameRequestIsOneSplit) {
  CreateDatabase(1);
  pb::SplitRegionRequest request;
  request.mutable_id()->set_client_id(9);
  request.mutable_id()->set_sequence(1);
  request.set_region(1);
  request.set_at_slot(100);
  const auto first = t.Call<pb::SplitRegionResponse>("tenure.v1.Regions/Split", request);
  const auto second = t.Call<pb::SplitRegionResponse>("tenure.v1.Regions/Split", request);
  ASSERT_TRUE(first.ok() && second.ok()) << second.status();
  EXPECT_EQ(first->procedure().procedure().id(), second->procedure().procedure().id());
  EXPECT_NE(first->procedure().procedure().id(), 0u);
}

TEST_F(MoveSlotsTest, ASplitIsCancelledBeforeTheSwitch) {
  for (const std::string step : {"create", "copy"}) {
    SCOPED_TRACE(step);
    if (t.machine.catalog().databases().empty()) CreateDatabase(1);
    failing_copies = 1000;
    const uint64_t id = Split(1, 100)->procedure().procedure().id();
    BeatUntilStep(id, step);
    Cancel(id);
    ASSERT_TRUE(BeatUntilEnded(id));
    EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_CANCELLED) << Procedure(id).DebugString();
    Beat(8);
    EXPECT_EQ(Slots(), "1:0-16383");
    EXPECT_FALSE(ranges.ranges[1].has_outgoing());
    EXPECT_EQ(ranges.history.back(), "END 1")
        << "a request to freeze that is still on its way must find another version";
  }
}

TEST_F(MoveSlotsTest, ACancelledMergeLeavesNothingBehind) {
  CreateDatabase(2);
  failing_copies = 1000;
  const uint64_t id = Merge(1, 2)->procedure().procedure().id();
  BeatUntilStep(id, "copy");
  for (int i = 0; i < 100 && copies == 0; ++i) Beat();
  ASSERT_TRUE(ranges.ranges[2].has_incoming()) << "a copy that came half way";
  Cancel(id);
  ASSERT_TRUE(BeatUntilEnded(id));
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_CANCELLED) << Procedure(id).DebugString();
  EXPECT_FALSE(ranges.ranges[2].has_incoming());
  EXPECT_FALSE(ranges.ranges[2].has_outgoing());
  EXPECT_EQ(ranges.keys[2], 0u);
  EXPECT_FALSE(ranges.ranges[1].has_outgoing());
  EXPECT_EQ(Slots(), "1:0-8191 2:8192-16383");
  // And both are free for the next one.
  failing_copies = 0;
  const uint64_t next = Merge(1, 2)->procedure().procedure().id();
  ASSERT_TRUE(BeatUntilEnded(next));
  EXPECT_EQ(Procedure(next).state(), pb::PROCEDURE_SUCCEEDED) << Procedure(next).DebugString();
}

// A request to release that was thought lost arrives while everything is being undone.
TEST_F(MoveSlotsTest, WhatIsReleasedIsNotClearedByUndoing) {
  CreateDatabase(1);
  failing_copies = 1000;
  const uint64_t id = Split(1, 100)->procedure().procedure().id();
  BeatUntilStep(id, "copy");
  ranges.ranges[1].mutable_outgoing()->set_released(true);
  Cancel(id);
  Beat(30);
  EXPECT_EQ(Procedure(id).step(), "undo");
  EXPECT_THAT(Procedure(id).last_error(), HasSubstr("cannot be undone"));
  EXPECT_THAT(ranges.history, ElementsAre("FREEZE 1"));
}

// Writes do not wait for ever for a copy that nobody can make.
TEST_F(MoveSlotsTest, ACopyThatAlwaysFailsIsUndone) {
  CreateDatabase(1);
  failing_copies = 1000;
  const uint64_t id = Split(1, 100)->procedure().procedure().id();
  for (int i = 0; i < 3000 && !catalog::IsEnded(Procedure(id).state()); ++i) Beat();
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_ROLLED_BACK) << Procedure(id).DebugString();
  EXPECT_THAT(Procedure(id).last_error(), HasSubstr("cannot copy slots 100-16383 of region 1"));
  EXPECT_EQ(copies, 10);
  EXPECT_FALSE(ranges.ranges[1].has_outgoing());
  Beat(8);
  EXPECT_EQ(Slots(), "1:0-16383");
}

// A node that cannot copy leads no more: the one that leads by then goes on with it.
TEST_F(MoveSlotsTest, AnotherNodeCopies) {
  CreateDatabase(1);
  failing_copies = 1000;
  const uint64_t id = Split(1, 100)->procedure().procedure().id();
  BeatUntilStep(id, "copy");
  for (int i = 0; i < 100 && copies < 3; ++i) Beat();
  leader_replica = 2;
  failing_copies = 0;
  ASSERT_TRUE(BeatUntilEnded(id));
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED) << Procedure(id).DebugString();
  EXPECT_EQ(Slots(), "1:0-99 2:100-16383");
}

// What a node kept of an earlier run is not taken for the result of a later one.
TEST_F(MoveSlotsTest, ANodeThatCopiesAgainGetsAnotherAttempt) {
  CreateDatabase(1);
  failing_copies = 6;
  const uint64_t id = Split(1, 100)->procedure().procedure().id();
  BeatUntilStep(id, "copy");
  for (int i = 0; i < 200 && copies < 3; ++i) Beat();
  leader_replica = 2;
  for (int i = 0; i < 200 && copies < 6; ++i) Beat();
  leader_replica = 1;
  for (auto& node : nodes) node->regions.clear();
  for (int i = 0; i < 100 && !catalog::IsEnded(Procedure(id).state()); ++i) {
    Report();
    for (auto& node : nodes) {
      for (auto& load : *node->next.mutable_regions()) load.set_term(9);
    }
    t.executor.Advance(milliseconds(30));
    for (auto& node : nodes) node->Beat();
    t.executor.Advance(milliseconds(30));
  }
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED) << Procedure(id).DebugString();
  std::map<uint64_t, std::vector<uint32_t>> attempts;
  for (const auto& node : nodes) {
    for (const ipb::TaskSubmit& submit : node->submits) {
      if (submit.payload().has_copy_slots()) attempts[node->id].push_back(submit.key().attempt());
    }
  }
  const uint64_t first = t.machine.catalog().regions().at(1).region().replicas(0).node();
  const uint64_t second = t.machine.catalog().regions().at(1).region().replicas(1).node();
  EXPECT_THAT(attempts[first], ElementsAre(1, 2, 3, 5));
  EXPECT_THAT(attempts[second], ElementsAre(1, 2, 3));
}

// Writes wait for the copy, so nobody waits until a silent node is taken for lost.
TEST_F(MoveSlotsTest, ASilentNodeIsNotWaitedFor) {
  CreateDatabase(1);
  failing_copies = 1000;
  const uint64_t id = Split(1, 100)->procedure().procedure().id();
  BeatUntilStep(id, "copy");
  for (int i = 0; i < 100 && copies < 1; ++i) Beat();
  silent = nodes[0].get();
  leader_replica = 2;
  failing_copies = 0;
  const auto state = [this] { return t.machine.catalog().nodes().at(1).node().state(); };
  for (int i = 0; i < 200 && state() != pb::NODE_SUSPECT; ++i) Beat();
  Beat(20);
  EXPECT_EQ(state(), pb::NODE_SUSPECT);
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED) << Procedure(id).DebugString();
  EXPECT_EQ(Slots(), "1:0-99 2:100-16383");
}

TEST_F(MoveSlotsTest, AfterTheSwitchHasBegunThereIsOnlyForward) {
  CreateDatabase(1);
  const uint64_t id = Split(1, 100)->procedure().procedure().id();
  ranges.drop_answers = true;
  BeatUntilStep(id, "switch");
  pb::CancelProcedureRequest request;
  request.set_procedure(id);
  EXPECT_EQ(ReasonOf(t.Call<pb::ChangeResponse>("tenure.v1.Procedures/Cancel", request).status()),
            pb::REASON_CONDITION_FAILED);
  ranges.drop_answers = false;
  ASSERT_TRUE(BeatUntilEnded(id));
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED) << Procedure(id).DebugString();
}

TEST_F(MoveSlotsTest, ADroppedDatabaseEndsIt) {
  CreateDatabase(1);
  failing_copies = 1000;
  const uint64_t id = Split(1, 100)->procedure().procedure().id();
  BeatUntilStep(id, "copy");
  pb::DropDatabaseRequest drop;
  drop.set_name("d");
  ASSERT_TRUE(t.Call<pb::ChangeResponse>("tenure.v1.Catalog/DropDatabase", drop).ok());
  ASSERT_TRUE(BeatUntilEnded(id));
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_CANCELLED);
  Beat(20);
  EXPECT_TRUE(t.machine.catalog().regions().empty());
  EXPECT_TRUE(t.machine.catalog().databases().empty());
}

// A split has made a region by the time the drop is in the log, which was not there when it was asked for.
TEST_F(MoveSlotsTest, ADropTakesTheRegionsThatThereAreByThen) {
  CreateDatabase(1);
  t.group.hold = true;
  pb::SplitRegionRequest split;
  split.set_region(1);
  split.set_at_slot(100);
  t.Start<pb::SplitRegionResponse>("tenure.v1.Regions/Split", split, seconds(10), [](auto) {});
  t.executor.Advance(milliseconds(1));
  ApplyHeld();  // the procedure
  ApplyHeld();  // its first step
  StartDrop();  // the new region is on its way
  ASSERT_FALSE(t.machine.catalog().regions().contains(2));
  ApplyHeld();
  EXPECT_EQ(Slots(), "1:0-16383 REMOVING 2:100-16383 REMOVING");
  t.group.Release();
  Beat(20);
  EXPECT_EQ(Slots(), "");
  EXPECT_EQ(Removals(), 1) << "one takes both";
  EXPECT_TRUE(t.machine.catalog().databases().empty());
  EXPECT_THAT(Destroyed(), ElementsAre(testing::Pair(1, 3), testing::Pair(2, 3)));
}

// A merge has given a region up that was still there when the drop was asked for: it has a removal of its
// own.
TEST_F(MoveSlotsTest, ADropLeavesAMergedRegionToItsRemoval) {
  CreateDatabase(2);
  const auto merge = Merge(2, 1);
  ASSERT_TRUE(merge.ok()) << merge.status();
  failing_copies = 1000;
  BeatUntilStep(merge->procedure().procedure().id(), "copy");
  failing_copies = 0;
  t.group.hold = true;
  for (int i = 0; i < 100 && ranges.history.back() != "OPEN 1"; ++i) {
    Beat();
    ApplyHeld();
  }
  ASSERT_EQ(ranges.history.back(), "OPEN 1");
  StartDrop();  // the records that say so are on their way
  EXPECT_EQ(Slots(), "1:0-8191 2:8192-16383");
  ApplyHeld();
  EXPECT_EQ(Slots(), "1:0-16383 REMOVING 2:8192-16383 REMOVING");
  t.group.Release();
  Beat(20);
  EXPECT_EQ(Slots(), "");
  EXPECT_TRUE(t.machine.catalog().databases().empty());
  EXPECT_THAT(Destroyed(), ElementsAre(testing::Pair(1, 3), testing::Pair(2, 3))) << "each of them once";
}

// As programs asked for it that went by the regions of the moment.
TEST_F(MoveSlotsTest, WhatAnEarlierRemovalLeftIsRemovedToo) {
  CreateDatabase(2);
  ipb::RemoveRegionsBody body;
  body.set_database(1);
  body.add_regions(1);
  ipb::CatalogCommand drop;
  auto& submit = *drop.mutable_submit_procedure();
  *submit.mutable_procedure() =
      NewProcedure("RemoveRegions", "remove the 1 regions", body.SerializeAsString());
  submit.mutable_procedure()->set_object(1);
  submit.mutable_effect()->mutable_drop_database()->set_database(1);
  t.access.ProposeInEpoch(std::move(drop), t.leadership.epoch(),
                          [](const auto& result) { ASSERT_TRUE(result.ok()) << result.status(); });
  Beat(20);
  EXPECT_EQ(Slots(), "");
  EXPECT_TRUE(t.machine.catalog().databases().empty());
  EXPECT_THAT(Destroyed(), ElementsAre(testing::Pair(1, 3), testing::Pair(2, 3)));
}

// Two that remove all of a database, as two leaders that found none may have submitted them.
TEST_F(MoveSlotsTest, OfTwoRemovalsOfADatabaseOneRemovesIt) {
  CreateDatabase(2);
  for (const bool drops : {true, false}) {
    ipb::CatalogCommand command;
    auto& submit = *command.mutable_submit_procedure();
    *submit.mutable_procedure() = RemoveRegions::New(t.machine.catalog(), 1);
    if (drops) submit.mutable_effect()->mutable_drop_database()->set_database(1);
    t.access.ProposeInEpoch(std::move(command), t.leadership.epoch(),
                            [](const auto& result) { ASSERT_TRUE(result.ok()) << result.status(); });
  }
  Beat(20);
  EXPECT_EQ(Slots(), "");
  EXPECT_TRUE(t.machine.catalog().databases().empty());
  for (const auto& [id, record] : t.machine.catalog().procedures())
    EXPECT_EQ(record.procedure().state(), pb::PROCEDURE_SUCCEEDED) << record.procedure().DebugString();
  EXPECT_THAT(Destroyed(), ElementsAre(testing::Pair(1, 3), testing::Pair(2, 3)));
}

// The leader changes after every single command.
TEST_F(MoveSlotsTest, ASplitAndAMergeSurviveALeaderChangeAtEveryStep) {
  CreateDatabase(1);
  uint64_t term = 8;
  const auto run = [&](uint64_t id) {
    for (int i = 0; i < 60 && !catalog::IsEnded(Procedure(id).state()); ++i) {
      t.Follow(term++, 2);
      t.Lead(term++);
      for (auto& node : nodes) node->Connect();
      Beat();
      t.group.hold = true;
      Beat();
      t.group.Release();
      t.executor.Advance(milliseconds(1));
    }
    EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED) << Procedure(id).DebugString();
  };
  run(Split(1, 100)->procedure().procedure().id());
  EXPECT_EQ(Slots(), "1:0-99 2:100-16383");
  Beat(10);
  const auto merge = Merge(2, 1);
  ASSERT_TRUE(merge.ok()) << merge.status();
  run(merge->procedure().procedure().id());
  Beat(20);
  EXPECT_EQ(Slots(), "1:0-16383");
  EXPECT_EQ(ranges.ranges[1].slots().last(), 16383u);
}

}  // namespace
}  // namespace tenure::controller
