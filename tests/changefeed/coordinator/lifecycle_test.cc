#include "changefeed/coordinator/lifecycle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tenure::changefeed {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;
using S = FeedState;

const WallTime kWall = WallFromMillis(1'000'000);
const FeedError kDown{
    .code = FeedErrorCode::kSinkUnavailable, .message = "connection refused", .node = NodeId(3)};

class LifecycleTest : public testing::Test {
 protected:
  Lifecycle Make(S state = S::kNormal) {
    return Lifecycle({}, Prng(1), {.state = state, .checkpoint = CommitTs(100), .halted_at = kWall}, now_);
  }
  void Pass(Duration step) { now_ += step; }
  Instant now_ = Instant(hours(1));
};

TEST_F(LifecycleTest, LegalMovesAreExactlyThese) {
  const std::vector<S> all{S::kNormal, S::kWarning, S::kPaused, S::kFailed, S::kFinished, S::kRemoving};
  const std::set<std::pair<S, S>> legal{
      {S::kNormal, S::kWarning},  {S::kNormal, S::kPaused},    {S::kNormal, S::kFailed},
      {S::kNormal, S::kFinished}, {S::kWarning, S::kNormal},   {S::kWarning, S::kPaused},
      {S::kWarning, S::kFailed},  {S::kWarning, S::kFinished}, {S::kPaused, S::kNormal},
      {S::kPaused, S::kFailed},   {S::kFailed, S::kNormal},    {S::kFailed, S::kPaused},
      {S::kNormal, S::kRemoving}, {S::kWarning, S::kRemoving}, {S::kPaused, S::kRemoving},
      {S::kFailed, S::kRemoving}, {S::kFinished, S::kRemoving}};
  for (S from : all) {
    for (S to : all) {
      EXPECT_EQ(IsLegalMove(from, to), from == to || legal.contains({from, to}))
          << NameOf(from) << NameOf(to);
    }
  }
}

TEST_F(LifecycleTest, BacksOffFromTenSecondsToTenMinutesWithJitter) {
  Lifecycle feed = Make();
  Duration expected = seconds(10);
  for (int i = 0; i < 8; ++i) {
    feed.OnError(now_, kWall, kDown);
    const Duration wait = feed.retry_at() - now_;
    EXPECT_LE(wait, expected);
    EXPECT_GE(wait, expected * 4 / 5);
    EXPECT_FALSE(feed.WantsMaintainer(now_));
    EXPECT_EQ(feed.state(), S::kWarning);
    EXPECT_TRUE(feed.WantsMaintainer(feed.retry_at()));
    now_ = feed.retry_at();
    expected = std::min<Duration>(expected * 2, minutes(10));
  }
}

TEST_F(LifecycleTest, ErrorsWithinOneBackoffFoldIntoOne) {
  Lifecycle feed = Make();
  feed.OnError(now_, kWall, kDown);
  const Instant until = feed.retry_at();
  for (int i = 0; i < 50; ++i) {
    Pass(milliseconds(100));
    FeedError again = kDown;
    again.message = "again";
    feed.OnError(now_, kWall, again);
  }
  EXPECT_EQ(feed.retry_at(), until);
  EXPECT_EQ(feed.error_count(), 51u);
  EXPECT_EQ(feed.error()->message, "again");
}

TEST_F(LifecycleTest, AMessageIsAsLongAsTheRecordTakes) {
  Lifecycle feed = Make();
  FeedError error = kDown;
  error.message = std::string(Lifecycle::kMaxMessageBytes - 1, 'x') + "\u00e9 and more";
  feed.OnError(now_, kWall, error);
  EXPECT_EQ(feed.error()->message, std::string(Lifecycle::kMaxMessageBytes - 1, 'x'));
  error.code = FeedErrorCode::kNotAuthorized;
  feed.OnError(now_, kWall, error);
  EXPECT_EQ(feed.error()->message.size(), Lifecycle::kMaxMessageBytes - 1);
}

TEST_F(LifecycleTest, ProgressResetsBackoffAndError) {
  Lifecycle feed = Make();
  for (int i = 0; i < 4; ++i) {
    feed.OnError(now_, kWall, kDown);
    now_ = feed.retry_at();
  }
  feed.OnProgress(now_, CommitTs(100), "", NodeId(1));
  EXPECT_EQ(feed.state(), S::kWarning) << "the same checkpoint is no progress";
  feed.OnProgress(now_, CommitTs(101), "", NodeId(1));
  EXPECT_EQ(feed.state(), S::kNormal);
  EXPECT_FALSE(feed.error().has_value());
  feed.OnError(now_, kWall, kDown);
  EXPECT_LE(feed.retry_at() - now_, seconds(10));
}

TEST_F(LifecycleTest, GivesUpAfterHalfAnHourWithoutProgress) {
  Lifecycle feed = Make();
  while (feed.state() != S::kFailed && now_ < Instant(hours(3))) {
    if (feed.WantsMaintainer(now_)) feed.OnError(now_, kWall, kDown);
    feed.Tick(now_, kWall);
    Pass(seconds(5));
  }
  EXPECT_NEAR(static_cast<double>(ToMillis(now_ - Instant(hours(1)))), 1'800'000, 10'000);
  EXPECT_EQ(feed.error()->code, FeedErrorCode::kSinkUnavailable);
  EXPECT_THAT(feed.error()->message, HasSubstr("connection refused"));
  EXPECT_THAT(feed.error()->message, HasSubstr("no progress for 1800 s"));
}

TEST_F(LifecycleTest, WhatCannotHealFailsAtOnce) {
  for (const auto code :
       {FeedErrorCode::kBadSinkAddress, FeedErrorCode::kUnknownTopic, FeedErrorCode::kHistoryGone,
        FeedErrorCode::kIncompatibleProtocol, FeedErrorCode::kNotAuthorized, FeedErrorCode::kMessageTooLarge,
        FeedErrorCode::kFencedBySink}) {
    Lifecycle feed = Make();
    feed.OnError(now_, kWall, {.code = code, .message = "x"});
    EXPECT_EQ(feed.state(), S::kFailed) << NameOf(code);
    EXPECT_FALSE(feed.WantsMaintainer(now_ + hours(1)));
  }
}

TEST_F(LifecycleTest, ACheckpointThatStandsStillIsAWarningWithCauseAndNode) {
  Lifecycle feed = Make();
  feed.OnProgress(now_, CommitTs(101), "", NodeId(1));
  Pass(seconds(30));
  feed.OnProgress(now_, CommitTs(101), "region 7 of orders has no leader", NodeId(4));
  feed.Tick(now_, kWall);
  EXPECT_EQ(feed.state(), S::kNormal);
  Pass(seconds(31));
  feed.Tick(now_, kWall);
  EXPECT_EQ(feed.state(), S::kWarning);
  EXPECT_EQ(feed.error()->code, FeedErrorCode::kStalled);
  EXPECT_EQ(feed.error()->node, NodeId(4));
  EXPECT_THAT(feed.error()->message, HasSubstr("region 7 of orders has no leader"));
  feed.OnProgress(now_, CommitTs(102), "", NodeId(4));
  EXPECT_EQ(feed.state(), S::kNormal);
}

TEST_F(LifecycleTest, AnInitialSnapshotMayTakeItsTimeWhileRowsAreDelivered) {
  Lifecycle feed = Make();
  for (int i = 0; i < 5; ++i) {
    feed.OnError(now_, kWall, kDown);
    now_ = feed.retry_at();
  }
  for (int i = 0; i < 31; ++i) {
    Pass(minutes(1));
    feed.OnProgress(now_, CommitTs(100), "the initial snapshot", NodeId(1));
    feed.OnSnapshotRows(now_);
    feed.Tick(now_, kWall);
    ASSERT_EQ(feed.state(), S::kNormal) << i;
    EXPECT_FALSE(feed.error().has_value());
  }
  feed.OnError(now_, kWall, kDown);
  EXPECT_GT(feed.retry_at() - now_, minutes(4))
      << "a sink that fails in the middle is tried ever more rarely";
  now_ = feed.retry_at() + minutes(30);
  feed.Tick(now_, kWall);
  EXPECT_EQ(feed.state(), S::kFailed);
}

TEST_F(LifecycleTest, SilenceOfTheMaintainerIsAStallToo) {
  Lifecycle feed = Make();
  Pass(seconds(61));
  feed.Tick(now_, kWall);
  EXPECT_EQ(feed.state(), S::kWarning);
  EXPECT_THAT(feed.error()->message, HasSubstr("has not reported"));
}

TEST_F(LifecycleTest, APauseKeepsHistoryForGcTtlThenFails) {
  Lifecycle feed = Make();
  ASSERT_TRUE(feed.Pause(kWall).ok());
  EXPECT_EQ(feed.HistoryFloor(), CommitTs(100));
  feed.Tick(now_, kWall + hours(24) - milliseconds(1));
  EXPECT_EQ(feed.state(), S::kPaused);
  EXPECT_EQ(feed.HistoryFloor(), CommitTs(100));
  feed.Tick(now_, kWall + hours(24));
  EXPECT_EQ(feed.state(), S::kFailed);
  EXPECT_EQ(feed.error()->code, FeedErrorCode::kHistoryGone);
  EXPECT_FALSE(feed.HistoryFloor().has_value());
}

TEST_F(LifecycleTest, AFailedOneKeepsHistoryForGcTtlToo) {
  Lifecycle feed = Make();
  feed.OnError(now_, kWall, {.code = FeedErrorCode::kUnknownTopic});
  EXPECT_TRUE(feed.HistoryFloor().has_value());
  feed.Tick(now_, kWall + hours(25));
  EXPECT_EQ(feed.error()->code, FeedErrorCode::kUnknownTopic);
  EXPECT_FALSE(feed.HistoryFloor().has_value());
  EXPECT_EQ(feed.Resume(now_, CommitTs(100)).ok(), true) << "what is still there is enough";
}

TEST_F(LifecycleTest, PausingAFailedOneDoesNotProlongItsHistory) {
  Lifecycle feed = Make();
  feed.OnError(now_, kWall, {.code = FeedErrorCode::kUnknownTopic});
  ASSERT_TRUE(feed.Pause(kWall + hours(23)).ok());
  feed.Tick(now_, kWall + hours(24));
  EXPECT_EQ(feed.state(), S::kFailed);
}

TEST_F(LifecycleTest, ResumeIsRefusedWhenHistoryIsGone) {
  Lifecycle feed = Make(S::kPaused);
  const Status refused = feed.Resume(now_, CommitTs(101));
  EXPECT_EQ(refused.code(), StatusCode::kOutOfRange);
  EXPECT_THAT(std::string(MessageOf(refused)), HasSubstr("100"));
  EXPECT_THAT(std::string(MessageOf(refused)), HasSubstr("101"));
  EXPECT_TRUE(feed.Resume(now_, CommitTs(100)).ok());
  EXPECT_EQ(feed.state(), S::kNormal);
}

TEST_F(LifecycleTest, ProgressDoesNotEraseAnIntent) {
  for (const S state : {S::kPaused, S::kFailed, S::kFinished, S::kRemoving}) {
    Lifecycle feed = Make(state);
    feed.OnProgress(now_, CommitTs(500), "", NodeId(1));
    feed.OnError(now_, kWall, kDown);
    feed.OnFinished();
    EXPECT_EQ(feed.state(), state);
    EXPECT_EQ(feed.checkpoint(), CommitTs(100));
  }
}

TEST_F(LifecycleTest, UpdatesOnlyWhilePausedOrFailed) {
  EXPECT_TRUE(Make(S::kPaused).MayUpdate().ok());
  EXPECT_TRUE(Make(S::kFailed).MayUpdate().ok());
  for (const S state : {S::kNormal, S::kWarning, S::kFinished, S::kRemoving}) {
    EXPECT_THAT(std::string(MessageOf(Make(state).MayUpdate())), HasSubstr(std::string(NameOf(state))));
  }
}

TEST_F(LifecycleTest, RequestsAreRefusedWithTheState) {
  Lifecycle removing = Make(S::kRemoving);
  EXPECT_THAT(std::string(MessageOf(removing.Pause(kWall))), HasSubstr("REMOVING"));
  EXPECT_THAT(std::string(MessageOf(removing.Resume(now_, CommitTs()))), HasSubstr("REMOVING"));
  Lifecycle finished = Make(S::kFinished);
  EXPECT_FALSE(finished.Resume(now_, CommitTs()).ok());
}

TEST(FeedError, NamesAreUniqueAndRead) {
  std::set<std::string> names;
  for (int i = 0; i <= static_cast<int>(FeedErrorCode::kFencedBySink); ++i) {
    const auto code = static_cast<FeedErrorCode>(i);
    EXPECT_TRUE(names.insert(std::string(NameOf(code))).second);
    EXPECT_EQ(FeedErrorCodeNamed(NameOf(code)), code);
  }
  EXPECT_FALSE(FeedErrorCodeNamed("NONSENSE").has_value());
}

}  // namespace
}  // namespace tenure::changefeed
