#include "sim/schema_timeline.h"

#include <gtest/gtest.h>

namespace tenure::sim {
namespace {

Instant At(int64_t t) {
  return Instant(Duration(t));
}

TEST(SchemaTimelineTest, AUseTakesEffectBeforeTheEndIsMade) {
  SchemaTimeline timeline;
  EXPECT_EQ(timeline.LatestUse("t", At(0), At(9)), std::nullopt);
  timeline.Begin("t", At(10));
  EXPECT_EQ(timeline.LatestUse("t", At(0), At(9)), std::nullopt);
  EXPECT_EQ(timeline.LatestUse("t", At(0), At(12)), At(12));
  timeline.Settle("t", At(20));
  timeline.Doom("t", At(30));
  timeline.End("t", At(40));
  EXPECT_EQ(timeline.LatestUse("t", At(15), At(99)), At(40));
  EXPECT_EQ(timeline.LatestUse("t", At(40), At(99)), At(40));
  EXPECT_EQ(timeline.LatestUse("t", At(41), At(99)), std::nullopt);
}

TEST(SchemaTimelineTest, ANameThatIsUsedAgain) {
  SchemaTimeline timeline;
  timeline.Begin("t", At(10));
  timeline.End("t", At(20));
  timeline.Begin("t", At(30));
  EXPECT_EQ(timeline.LatestUse("t", At(15), At(25)), At(20));
  EXPECT_EQ(timeline.LatestUse("t", At(15), At(35)), At(35));
  EXPECT_EQ(timeline.LatestUse("t", At(21), At(29)), std::nullopt);
  EXPECT_EQ(timeline.EarliestBirth("t", At(15), At(35)), At(10));
  EXPECT_EQ(timeline.EarliestBirth("t", At(21), At(35)), At(30));
}

TEST(SchemaTimelineTest, StableFromItsMakingToTheWishForItsEnd) {
  SchemaTimeline timeline;
  timeline.Begin("t", At(10));
  EXPECT_FALSE(timeline.Stable("t", At(10), At(11)));
  timeline.Settle("t", At(20));
  EXPECT_FALSE(timeline.Stable("t", At(19), At(25)));
  EXPECT_TRUE(timeline.Stable("t", At(20), At(35)));
  timeline.Doom("t", At(30));
  EXPECT_TRUE(timeline.Stable("t", At(20), At(29)));
  EXPECT_FALSE(timeline.Stable("t", At(20), At(30)));
  timeline.Spare("t");
  EXPECT_TRUE(timeline.Stable("t", At(20), At(35)));
}

// Of a change that was rolled back somebody may know until the table is gone.
TEST(SchemaTimelineTest, TheEndIsThatOfAllThatIsOpen) {
  SchemaTimeline timeline;
  timeline.Begin("c", At(10));
  timeline.Begin("c", At(20));
  timeline.End("c", At(30));
  EXPECT_EQ(timeline.LatestUse("c", At(5), At(99)), At(30));
  EXPECT_EQ(timeline.LatestUse("c", At(31), At(99)), std::nullopt);
}

}  // namespace
}  // namespace tenure::sim
