#include "changefeed/protocol/owner_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tenure::changefeed {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const Process kHere{NodeId(1), Incarnation(5)};
const Process kThere{NodeId(2), Incarnation(6)};
const SpanId kA{1};
const SpanId kB{2};

Claim From(const Process& owner, uint64_t epoch, uint64_t leadership = 0) {
  return {LeadershipEpoch(leadership), OwnerEpoch(epoch), owner};
}

// Unfenced, in an epoch that belongs to `owner`.
OwnerGate GateIn(uint64_t epoch, const Process& owner) {
  OwnerGate gate(kHere);
  gate.OnView(OwnerEpoch(epoch), owner);
  gate.OnUnfenced();
  return gate;
}

OwnerGate Writing(uint64_t epoch, const Process& owner) {
  OwnerGate gate = GateIn(epoch, owner);
  EXPECT_EQ(gate.OnBootstrap(From(owner, epoch)).decision.acceptance, Acceptance::kTakeOver);
  EXPECT_EQ(gate.OnCreate(From(owner, epoch), kHere.incarnation, ScheduleSequence(1), kA).decision.acceptance,
            Acceptance::kContinue);
  EXPECT_TRUE(gate.MayWrite(kA));
  return gate;
}

TEST(OwnerGate, BeginsFencedAndRefusesEverythingThatStarts) {
  OwnerGate gate(kHere);
  gate.OnView(OwnerEpoch(3), kHere);
  EXPECT_EQ(gate.OnAddMaintainer(From(kHere, 3)).decision.acceptance, Acceptance::kFenced);
  EXPECT_EQ(gate.OnBootstrap(From(kHere, 3)).decision.acceptance, Acceptance::kFenced);
  gate.OnUnfenced();
  EXPECT_EQ(gate.OnAddMaintainer(From(kHere, 3)).decision.acceptance, Acceptance::kTakeOver);
}

TEST(OwnerGate, AHigherEpochStopsWhatRanUnderTheOldOne) {
  OwnerGate gate = Writing(3, kThere);
  EXPECT_THAT(gate.OnView(OwnerEpoch(4), kHere).stop, ElementsAre(kA));
  EXPECT_FALSE(gate.MayWrite(kA));
  EXPECT_EQ(gate.OnBootstrap(From(kThere, 3)).decision, (Decision{Acceptance::kStaleEpoch, OwnerEpoch(4)}));
  EXPECT_EQ(gate.OnBootstrap(From(kHere, 4)).decision.acceptance, Acceptance::kTakeOver);
}

TEST(OwnerGate, AnEpochBelongsToTheOwnerInTheView) {
  OwnerGate gate = GateIn(3, kHere);
  EXPECT_EQ(gate.OnBootstrap(From(kThere, 3)).decision.acceptance, Acceptance::kOtherOwner);
  EXPECT_EQ(gate.OnAddMaintainer(From(kThere, 3)).decision.acceptance, Acceptance::kOtherOwner);
  const Process next{kHere.node, Incarnation(6)};
  EXPECT_EQ(gate.OnAddMaintainer(From(next, 3)).decision.acceptance, Acceptance::kOtherOwner);
}

TEST(OwnerGate, AnAddThatNamesAnotherProcessStartsNothing) {
  OwnerGate gate = GateIn(3, kThere);
  EXPECT_EQ(gate.OnAddMaintainer(From(kThere, 3)).decision.acceptance, Acceptance::kOtherIncarnation);
  EXPECT_TRUE(gate.maintainer().IsNone());
}

TEST(OwnerGate, AMaintainerRunsOncePerEpoch) {
  OwnerGate gate = GateIn(3, kHere);
  EXPECT_TRUE(gate.OnAddMaintainer(From(kHere, 3)).decision.accepted());
  EXPECT_EQ(gate.OnAddMaintainer(From(kHere, 3)).decision.acceptance, Acceptance::kRepeated);
  gate.OnMaintainerEnded();
  EXPECT_EQ(gate.OnAddMaintainer(From(kHere, 3)).decision.acceptance, Acceptance::kEnded);
  gate.OnView(OwnerEpoch(4), kHere);
  EXPECT_TRUE(gate.OnAddMaintainer(From(kHere, 4)).decision.accepted());
  EXPECT_TRUE(gate.OnFenced().stop_maintainer);
  gate.OnUnfenced();
  EXPECT_EQ(gate.OnAddMaintainer(From(kHere, 4)).decision.acceptance, Acceptance::kEnded);
}

TEST(OwnerGate, CreateAndRemoveCountOnceAndForThisProcessOnly) {
  OwnerGate gate = Writing(3, kThere);
  const Claim claim = From(kThere, 3);
  EXPECT_EQ(gate.OnCreate(claim, Incarnation(4), ScheduleSequence(2), kB).decision.acceptance,
            Acceptance::kOtherIncarnation);
  EXPECT_EQ(gate.OnCreate(claim, kHere.incarnation, ScheduleSequence(1), kA).decision.acceptance,
            Acceptance::kRepeated);
  EXPECT_THAT(gate.OnRemove(claim, kHere.incarnation, ScheduleSequence(4), kA).stop, ElementsAre(kA));
  EXPECT_EQ(gate.OnCreate(claim, kHere.incarnation, ScheduleSequence(3), kA).decision.acceptance,
            Acceptance::kStaleSequence);
  EXPECT_FALSE(gate.MayWrite(kA));
  EXPECT_EQ(gate.OnCreate(From(kThere, 4), kHere.incarnation, ScheduleSequence(5), kA).decision.acceptance,
            Acceptance::kNotInView);
}

TEST(OwnerGate, BeforeABootstrapNothingIsCreated) {
  OwnerGate gate = GateIn(3, kThere);
  EXPECT_EQ(gate.OnCreate(From(kThere, 3), kHere.incarnation, ScheduleSequence(1), kA).decision.acceptance,
            Acceptance::kNotBooted);
  EXPECT_EQ(gate.OnPlan(From(kThere, 3), kHere.incarnation, ScheduleSequence(9), {}).decision.acceptance,
            Acceptance::kNotBooted);
}

TEST(OwnerGate, FencingStopsWritersAndKeepsWhatWasTaken) {
  OwnerGate gate = Writing(3, kThere);
  EXPECT_THAT(gate.OnFenced().stop, ElementsAre(kA));
  EXPECT_FALSE(gate.MayWrite(kA));
  gate.OnUnfenced();
  EXPECT_EQ(gate.OnCreate(From(kThere, 3), kHere.incarnation, ScheduleSequence(1), kA).decision.acceptance,
            Acceptance::kRepeated);
  EXPECT_FALSE(gate.MayWrite(kA)) << "a repeated create starts nothing";
  EXPECT_EQ(gate.OnBootstrap(From(kThere, 3)).decision.acceptance, Acceptance::kContinue);
}

TEST(OwnerGate, WhatIsNotInThePlanIsDropped) {
  OwnerGate gate = Writing(3, kThere);
  gate.OnCreate(From(kThere, 3), kHere.incarnation, ScheduleSequence(2), kB);
  EXPECT_EQ(gate.OnPlan(From(kThere, 3), Incarnation(4), ScheduleSequence(9), {}).decision.acceptance,
            Acceptance::kOtherIncarnation);
  EXPECT_THAT(gate.OnPlan(From(kThere, 3), kHere.incarnation, ScheduleSequence(2), {kB}).stop,
              ElementsAre(kA));
  EXPECT_TRUE(gate.MayWrite(kB));
  // A plan that comes late says nothing of what was created after it was made.
  EXPECT_THAT(gate.OnPlan(From(kThere, 3), kHere.incarnation, ScheduleSequence(1), {}).stop, IsEmpty());
  EXPECT_TRUE(gate.MayWrite(kB));
}

TEST(OwnerGate, ACloseLeavesATombstoneUntilTheStopIsRecorded) {
  OwnerGate gate = Writing(3, kThere);
  // A new epoch that never got started anywhere closes the old one, by the leader or ahead of the view.
  const auto closed = gate.OnRemoveMaintainer(From(Process(), 4, 2));
  EXPECT_EQ(closed.decision, (Decision{Acceptance::kTakeOver, OwnerEpoch(4)}));
  EXPECT_THAT(closed.stop, ElementsAre(kA));
  EXPECT_FALSE(gate.OnBootstrap(From(kThere, 3)).decision.accepted());
  EXPECT_EQ(gate.OnRemoveMaintainer(From(Process(), 4, 2)).decision.acceptance, Acceptance::kContinue);
  gate.ForgetTombstone(OwnerEpoch(4));
  EXPECT_FALSE(gate.OnBootstrap(From(kThere, 3)).decision.accepted()) << "the view does not have epoch 4 yet";
  gate.OnView(OwnerEpoch(5), kHere);
  gate.ForgetTombstone(OwnerEpoch(4));
  EXPECT_EQ(gate.OnBootstrap(From(kHere, 5)).decision.acceptance, Acceptance::kTakeOver);
}

TEST(OwnerGate, AnEpochThatIsClosedIsNotBegunAgain) {
  OwnerGate gate = Writing(3, kHere);
  EXPECT_TRUE(gate.OnAddMaintainer(From(kHere, 3)).decision.accepted());
  const auto closed = gate.OnRemoveMaintainer(From(Process(), 3, 2));
  EXPECT_TRUE(closed.stop_maintainer);
  EXPECT_THAT(closed.stop, ElementsAre(kA));
  EXPECT_EQ(gate.OnAddMaintainer(From(kHere, 3)).decision.acceptance, Acceptance::kClosed);
  EXPECT_EQ(gate.OnCreate(From(kHere, 3), kHere.incarnation, ScheduleSequence(9), kA).decision.acceptance,
            Acceptance::kClosed);
}

TEST(OwnerGate, AMaintainerClosesItsOwnEpochOnly) {
  OwnerGate gate = Writing(3, kThere);
  EXPECT_EQ(gate.OnClose(From(kHere, 3)).decision.acceptance, Acceptance::kOtherOwner);
  EXPECT_TRUE(gate.MayWrite(kA));
  EXPECT_THAT(gate.OnClose(From(kThere, 3)).stop, ElementsAre(kA));
}

TEST(OwnerGate, AnOlderLeadershipIsNotHeardAfterANewerOne) {
  OwnerGate gate = GateIn(3, kHere);
  EXPECT_TRUE(gate.OnAddMaintainer(From(kHere, 3, 8)).decision.accepted());
  EXPECT_EQ(gate.OnRemoveMaintainer(From(kHere, 3, 7)).decision.acceptance, Acceptance::kStaleLeadership);
  EXPECT_EQ(gate.maintainer(), OwnerEpoch(3));
}

TEST(OwnerGate, EpochZeroCountsOnlyWhileMembersWithoutEpochsMayExist) {
  OwnerGate gate = GateIn(0, Process());
  EXPECT_EQ(gate.OnBootstrap(From(Process(), 0)).decision.acceptance, Acceptance::kWithoutEpoch);
  gate.set_members_without_epochs(true);
  EXPECT_TRUE(gate.OnBootstrap(From(Process(), 0)).decision.accepted());
  gate.OnView(OwnerEpoch(1), kThere);
  EXPECT_EQ(gate.OnBootstrap(From(Process(), 0)).decision.acceptance, Acceptance::kStaleEpoch);
}

}  // namespace
}  // namespace tenure::changefeed
