#include "changefeed/maintainer/maintainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/prng.h"

namespace tenure::changefeed {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using K = Outgoing::Kind;

const OwnerEpoch kEpoch{3};
const Process kA{NodeId(1), Incarnation(1)};
const Process kB{NodeId(2), Incarnation(1)};
const Generation kRegion{RegionId(7), 1};

TEST(CheckpointTracker, KnowsTheLeastAfterAnyChange) {
  Prng prng(7);
  CheckpointTracker tracker;
  std::map<CheckpointTracker::Slot, std::pair<CommitTs, uint64_t>> model;
  uint64_t tag = 0;
  for (int i = 0; i < 20000; ++i) {
    const uint64_t what = prng.Below(4);
    const CommitTs position(prng.Below(50));
    if (what == 0 || model.empty()) {
      const auto slot = tracker.Add(position, ++tag);
      ASSERT_FALSE(model.contains(slot));
      model[slot] = {position, tag};
    } else {
      auto it = model.begin();
      std::advance(it, prng.Below(model.size()));
      if (what == 1 && model.size() > 1) {
        tracker.Remove(it->first);
        model.erase(it);
      } else {
        tracker.Set(it->first, position);
        it->second.first = position;
      }
    }
    std::pair<CommitTs, uint64_t> least{CommitTs(~uint64_t{0}), 0};
    for (const auto& [slot, value] : model) least = std::min(least, value);
    ASSERT_EQ(tracker.Least()->position, least.first);
    ASSERT_EQ(tracker.Least()->tag, least.second);
    ASSERT_EQ(tracker.size(), model.size());
  }
}

class MaintainerTest : public testing::Test {
 protected:
  MaintainerTest() {
    maintainer_.SetNodes({kA, kB});
    maintainer_.SetSchemaKnown(CommitTs(1000));
    maintainer_.SetFollowed({{.table = 1, .name = "orders"}});
  }
  RegionView Region(const Process& leader) { return {.generation = kRegion, .leader = leader}; }
  void Boot(const Process& process) { maintainer_.OnBootstrapped(process, kEpoch, Acceptance::kTakeOver); }
  std::vector<Outgoing> Take(K kind) {
    std::vector<Outgoing> found;
    for (auto& message : maintainer_.TakeMessages()) {
      if (message.kind == kind) found.push_back(std::move(message));
    }
    return found;
  }
  // A region led by A whose dispatcher runs there.
  Outgoing Running() {
    maintainer_.SetRegions({Region(kA)});
    Boot(kA);
    Boot(kB);
    const auto creates = Take(K::kCreate);
    EXPECT_THAT(creates, SizeIs(1));
    maintainer_.OnScheduled(kA, kEpoch, Acceptance::kContinue, creates[0].span, creates[0].sequence, true,
                            CommitTs());
    return creates[0];
  }
  Maintainer maintainer_{kEpoch, CommitTs(100)};
  Instant now_ = Instant(std::chrono::hours(1));
};

TEST_F(MaintainerTest, CreatesWhereTheRegionIsLedAndOnlyOnBootedNodes) {
  maintainer_.SetRegions({Region(kB)});
  EXPECT_THAT(Take(K::kCreate), IsEmpty());
  EXPECT_THAT(maintainer_.Explain(now_).text, HasSubstr("has not answered the bootstrap"));
  Boot(kA);
  EXPECT_THAT(Take(K::kCreate), IsEmpty());
  Boot(kB);
  const auto creates = Take(K::kCreate);
  ASSERT_THAT(creates, SizeIs(1));
  EXPECT_EQ(creates[0].to, kB);
  EXPECT_EQ(creates[0].start, CommitTs(100));
}

TEST_F(MaintainerTest, MovesOnlyAfterTheOldDispatcherIsGoneAndFromItsFinalPosition) {
  const Outgoing create = Running();
  maintainer_.SetRegions({Region(kB)});
  const auto messages = maintainer_.TakeMessages();
  ASSERT_THAT(messages, SizeIs(1));
  EXPECT_EQ(messages[0].kind, K::kRemove);
  EXPECT_GT(messages[0].sequence, create.sequence);
  // What was said before the remove arrived changes nothing.
  maintainer_.OnScheduled(kA, kEpoch, Acceptance::kContinue, create.span, create.sequence, false,
                          CommitTs(500));
  EXPECT_THAT(Take(K::kCreate), IsEmpty());
  EXPECT_THAT(maintainer_.Explain(now_).text, HasSubstr("moves away"));
  maintainer_.OnScheduled(kA, kEpoch, Acceptance::kContinue, create.span, messages[0].sequence, false,
                          CommitTs(250));
  const auto creates = Take(K::kCreate);
  ASSERT_THAT(creates, SizeIs(1));
  EXPECT_EQ(creates[0].to, kB);
  EXPECT_EQ(creates[0].start, CommitTs(250)) << "the final checkpoint of the origin";
  EXPECT_EQ(maintainer_.checkpoint(), CommitTs(250));
}

TEST_F(MaintainerTest, ARestartedNodeIsBootedAnewAndItsSpansGoOnFromWhatWasReported) {
  const Outgoing create = Running();
  maintainer_.OnProgress(kA, kEpoch, {{.span = create.span, .flushed = CommitTs(300)}}, now_);
  const Process next{kA.node, Incarnation(2)};
  maintainer_.SetNodes({next, kB});
  maintainer_.SetRegions({Region(next)});
  EXPECT_THAT(Take(K::kBootstrap), SizeIs(1));
  maintainer_.OnProgress(kA, kEpoch, {{.span = create.span, .flushed = CommitTs(900)}}, now_);
  EXPECT_EQ(maintainer_.checkpoint(), CommitTs(300)) << "the process before is not heard any more";
  Boot(next);
  const auto creates = Take(K::kCreate);
  ASSERT_THAT(creates, SizeIs(1));
  EXPECT_EQ(creates[0].start, CommitTs(300));
}

TEST_F(MaintainerTest, ReportsOfAnotherEpochAreNotHeard) {
  const Outgoing create = Running();
  maintainer_.OnProgress(kA, OwnerEpoch(2), {{.span = create.span, .flushed = CommitTs(900)}}, now_);
  EXPECT_EQ(maintainer_.checkpoint(), CommitTs(100));
}

TEST_F(MaintainerTest, AFinalRefusalEndsIt) {
  EXPECT_FALSE(maintainer_.ended());
  maintainer_.OnBootstrapped(kA, kEpoch, Acceptance::kFenced);
  maintainer_.OnBootstrapped(kA, kEpoch, Acceptance::kNotInView);
  EXPECT_FALSE(maintainer_.ended()) << "these pass";
  maintainer_.OnBootstrapped(kA, kEpoch, Acceptance::kStaleEpoch);
  EXPECT_TRUE(maintainer_.ended());
}

TEST_F(MaintainerTest, TheCheckpointStaysBelowWhatIsKnownOfTheSchema) {
  const Outgoing create = Running();
  maintainer_.OnProgress(kA, kEpoch, {{.span = create.span, .flushed = CommitTs(5000)}}, now_);
  EXPECT_EQ(maintainer_.checkpoint(), CommitTs(1000));
  EXPECT_THAT(maintainer_.Explain(now_).text, HasSubstr("schema is known"));
  maintainer_.SetSchemaKnown(CommitTs(4000));
  EXPECT_EQ(maintainer_.checkpoint(), CommitTs(4000));
}

TEST_F(MaintainerTest, ASuccessorOfASplitWaitsForItsPredecessor) {
  const Outgoing create = Running();
  RegionView old = Region(kA);
  old.end = CommitTs(400);
  const RegionView left{{RegionId(7), 2}, CommitTs(400), {}, {kRegion}, kA};
  const RegionView right{{RegionId(8), 1}, CommitTs(400), {}, {kRegion}, kB};
  maintainer_.SetRegions({old, left, right});
  EXPECT_THAT(maintainer_.TakeMessages(), IsEmpty());
  maintainer_.OnProgress(kA, kEpoch, {{.span = create.span, .flushed = CommitTs(399)}}, now_);
  EXPECT_THAT(maintainer_.TakeMessages(), IsEmpty());
  maintainer_.OnProgress(kA, kEpoch, {{.span = create.span, .flushed = CommitTs(400)}}, now_);
  const auto removes = Take(K::kRemove);
  ASSERT_THAT(removes, SizeIs(1));
  maintainer_.OnScheduled(kA, kEpoch, Acceptance::kContinue, create.span, removes[0].sequence, false,
                          CommitTs(400));
  const auto creates = Take(K::kCreate);
  ASSERT_THAT(creates, SizeIs(2));
  for (const auto& one : creates) EXPECT_EQ(one.start, CommitTs(400));
  EXPECT_EQ(maintainer_.checkpoint(), CommitTs(400));
}

TEST_F(MaintainerTest, ASchemaChangeIsDeliveredOnceAllStandAtIt) {
  maintainer_.SetRegions({Region(kA), {.generation = {RegionId(8), 1}, .leader = kB}});
  Boot(kA);
  Boot(kB);
  const auto creates = Take(K::kCreate);
  ASSERT_THAT(creates, SizeIs(2));
  for (const auto& one : creates) {
    maintainer_.OnScheduled(one.to, kEpoch, Acceptance::kContinue, one.span, one.sequence, true, CommitTs());
  }
  maintainer_.AddSchemaChange({.at = CommitTs(200), .table = 1, .statement = "ALTER TABLE orders"});
  EXPECT_THAT(Take(K::kHold), SizeIs(2));
  const auto arrive = [&](const Outgoing& create) {
    maintainer_.OnProgress(create.to, kEpoch,
                           {{.span = create.span, .flushed = CommitTs(199), .at_barrier = CommitTs(200)}},
                           now_);
  };
  arrive(creates[0]);
  EXPECT_THAT(Take(K::kWrite), IsEmpty());
  EXPECT_THAT(maintainer_.Explain(now_).text, HasSubstr("orders in region"));
  arrive(creates[1]);
  const auto writes = Take(K::kWrite);
  ASSERT_THAT(writes, SizeIs(1));
  EXPECT_EQ(maintainer_.checkpoint(), CommitTs(199));
  maintainer_.OnProgress(writes[0].to, kEpoch,
                         {{.span = writes[0].span,
                           .flushed = CommitTs(199),
                           .at_barrier = CommitTs(200),
                           .wrote_barrier = CommitTs(200)}},
                         now_);
  EXPECT_THAT(Take(K::kPass), SizeIs(2));
}

// The region was told of the change before it was split, and the change is dated behind the split.
TEST_F(MaintainerTest, ASuccessorThatWaitsDoesNotHoldUpASchemaChange) {
  const Outgoing create = Running();
  RegionView old = Region(kA);
  old.end = CommitTs(400);
  const RegionView left{{RegionId(7), 2}, CommitTs(400), {}, {kRegion}, kA};
  const RegionView right{{RegionId(8), 1}, CommitTs(401), {}, {kRegion}, kB};
  maintainer_.SetRegions({old, left, right});
  maintainer_.AddSchemaChange({.at = CommitTs(500), .table = 1, .schema_version = 2, .statement = "ALTER"});
  maintainer_.TakeMessages();
  maintainer_.OnProgress(
      kA, kEpoch, {{.span = create.span, .flushed = CommitTs(300), .at_barrier = CommitTs(500)}}, now_);
  const auto writes = Take(K::kWrite);
  ASSERT_THAT(writes, SizeIs(1));
  EXPECT_EQ(writes[0].span, create.span);
  EXPECT_EQ(maintainer_.checkpoint(), CommitTs(300));
}

TEST_F(MaintainerTest, ADroppedTableEndsItsDispatchersAfterItsLastSchemaChange) {
  const Outgoing create = Running();
  maintainer_.AddSchemaChange({.at = CommitTs(300), .table = 1, .statement = "DROP TABLE orders"});
  maintainer_.SetFollowed({{.table = 1, .name = "orders", .until = CommitTs(300)}});
  maintainer_.TakeMessages();
  maintainer_.OnProgress(
      kA, kEpoch, {{.span = create.span, .flushed = CommitTs(299), .at_barrier = CommitTs(300)}}, now_);
  ASSERT_THAT(Take(K::kWrite), SizeIs(1));
  maintainer_.OnProgress(
      kA, kEpoch, {{.span = create.span, .flushed = CommitTs(299), .wrote_barrier = CommitTs(300)}}, now_);
  maintainer_.OnProgress(kA, kEpoch, {{.span = create.span, .flushed = CommitTs(300)}}, now_);
  const auto removes = Take(K::kRemove);
  ASSERT_THAT(removes, SizeIs(1));
  maintainer_.OnScheduled(kA, kEpoch, Acceptance::kContinue, create.span, removes[0].sequence, false,
                          CommitTs(300));
  EXPECT_EQ(maintainer_.spans(), 0u);
  EXPECT_EQ(maintainer_.checkpoint(), CommitTs(1000));
}

TEST_F(MaintainerTest, ANewTableIsFollowedFromItsCreation) {
  Running();
  maintainer_.SetFollowed(
      {{.table = 1, .name = "orders"}, {.table = 2, .name = "items", .since = CommitTs(600)}});
  const auto creates = Take(K::kCreate);
  ASSERT_THAT(creates, SizeIs(1));
  EXPECT_EQ(creates[0].start, CommitTs(600));
}

TEST_F(MaintainerTest, APlaceholderEndsWhenATableComesAndComesBackWhenItIsGone) {
  const Followed placeholder{.name = "(no table yet)", .placeholder = true};
  const Followed table{.table = 1, .name = "orders"};
  maintainer_.SetFollowed({placeholder});
  const Outgoing create = Running();
  EXPECT_EQ(create.key.table, 0u);
  maintainer_.OnProgress(kA, kEpoch, {{.span = create.span, .flushed = CommitTs(300)}}, now_);
  EXPECT_EQ(maintainer_.checkpoint(), CommitTs(300)) << "it goes on with the region";
  maintainer_.SetFollowed({table});
  const auto messages = maintainer_.TakeMessages();
  ASSERT_THAT(messages, SizeIs(2));
  const bool first = messages[0].kind == K::kRemove;
  const Outgoing& remove = messages[first ? 0 : 1];
  const Outgoing& next = messages[first ? 1 : 0];
  EXPECT_EQ(remove.kind, K::kRemove);
  EXPECT_EQ(remove.span, create.span);
  EXPECT_EQ(next.key.table, 1u);
  EXPECT_EQ(next.start, CommitTs(300));
  maintainer_.OnScheduled(kA, kEpoch, Acceptance::kContinue, create.span, remove.sequence, false,
                          CommitTs(310));
  ASSERT_THAT(maintainer_.Show(), SizeIs(1));
  EXPECT_EQ(maintainer_.Show()[0].name, "orders");
  // The table is dropped, and all of it delivered: the regions go on.
  maintainer_.OnProgress(kA, kEpoch, {{.span = next.span, .flushed = CommitTs(400)}}, now_);
  Followed dropped = table;
  dropped.until = CommitTs(400);
  maintainer_.SetFollowed({dropped, placeholder});
  const auto creates = Take(K::kCreate);
  ASSERT_THAT(creates, SizeIs(1));
  EXPECT_EQ(creates[0].key.table, 0u);
  EXPECT_EQ(creates[0].start, CommitTs(400));
}

TEST_F(MaintainerTest, ADispatcherThatEndsIsCreatedAgainFromWhatItFlushed) {
  const Outgoing create = Running();
  const FeedError error{.code = FeedErrorCode::kSinkUnavailable, .message = "broken pipe"};
  const auto report = [&](ScheduleSequence sequence) {
    maintainer_.OnProgress(kA, kEpoch,
                           {{.span = create.span,
                             .flushed = CommitTs(150),
                             .error = error,
                             .ended = true,
                             .sequence = sequence}},
                           now_);
  };
  report(create.sequence.Previous());
  EXPECT_THAT(Take(K::kCreate), IsEmpty()) << "an earlier dispatcher ended";
  EXPECT_THAT(maintainer_.Explain(now_).text, HasSubstr("broken pipe"));
  report(create.sequence);
  const auto creates = Take(K::kCreate);
  ASSERT_THAT(creates, SizeIs(1));
  EXPECT_EQ(creates[0].start, CommitTs(150));
  EXPECT_GT(creates[0].sequence, create.sequence);
}

TEST_F(MaintainerTest, NothingIsCheckpointedBeforeItIsKnownWhatThereIs) {
  Maintainer fresh(kEpoch, CommitTs(100));
  fresh.SetSchemaKnown(CommitTs(900));
  EXPECT_EQ(fresh.checkpoint(), CommitTs(100));
  fresh.SetFollowed({{.table = 1}});
  EXPECT_EQ(fresh.checkpoint(), CommitTs(100));
  fresh.SetRegions({Region(kA)});
  EXPECT_EQ(fresh.checkpoint(), CommitTs(100));
}

}  // namespace
}  // namespace tenure::changefeed
