#include "sim/schema_timeline.h"

#include <gtest/gtest.h>

namespace tenure::sim {
namespace {

Instant AtNanos(int64_t t) {
  return Instant(Duration(t));
}

TEST(SchemaTimelineTest, AUseTakesEffectBeforeTheEndIsMade) {
  SchemaTimeline timeline;
  EXPECT_EQ(timeline.LatestUse("t", AtNanos(0), AtNanos(9)), std::nullopt);
  timeline.Begin("t", AtNanos(10));
  EXPECT_EQ(timeline.LatestUse("t", AtNanos(0), AtNanos(9)), std::nullopt);
  EXPECT_EQ(timeline.LatestUse("t", AtNanos(0), AtNanos(12)), AtNanos(12));
  timeline.Settle("t", AtNanos(20));
  timeline.Doom("t", AtNanos(30));
  timeline.End("t", AtNanos(40));
  EXPECT_EQ(timeline.LatestUse("t", AtNanos(15), AtNanos(99)), AtNanos(40));
  EXPECT_EQ(timeline.LatestUse("t", AtNanos(40), AtNanos(99)), AtNanos(40));
  EXPECT_EQ(timeline.LatestUse("t", AtNanos(41), AtNanos(99)), std::nullopt);
}

TEST(SchemaTimelineTest, ANameThatIsUsedAgain) {
  SchemaTimeline timeline;
  timeline.Begin("t", AtNanos(10));
  timeline.End("t", AtNanos(20));
  timeline.Begin("t", AtNanos(30));
  EXPECT_EQ(timeline.LatestUse("t", AtNanos(15), AtNanos(25)), AtNanos(20));
  EXPECT_EQ(timeline.LatestUse("t", AtNanos(15), AtNanos(35)), AtNanos(35));
  EXPECT_EQ(timeline.LatestUse("t", AtNanos(21), AtNanos(29)), std::nullopt);
  EXPECT_EQ(timeline.EarliestBirth("t", AtNanos(15), AtNanos(35)), AtNanos(10));
  EXPECT_EQ(timeline.EarliestBirth("t", AtNanos(21), AtNanos(35)), AtNanos(30));
}

TEST(SchemaTimelineTest, StableFromItsMakingToTheWishForItsEnd) {
  SchemaTimeline timeline;
  timeline.Begin("t", AtNanos(10));
  EXPECT_FALSE(timeline.Stable("t", AtNanos(10), AtNanos(11)));
  timeline.Settle("t", AtNanos(20));
  EXPECT_FALSE(timeline.Stable("t", AtNanos(19), AtNanos(25)));
  EXPECT_TRUE(timeline.Stable("t", AtNanos(20), AtNanos(35)));
  timeline.Doom("t", AtNanos(30));
  EXPECT_TRUE(timeline.Stable("t", AtNanos(20), AtNanos(29)));
  EXPECT_FALSE(timeline.Stable("t", AtNanos(20), AtNanos(30)));
  timeline.Spare("t");
  EXPECT_TRUE(timeline.Stable("t", AtNanos(20), AtNanos(35)));
}

// Of a change that was rolled back somebody may know until the table is gone.
TEST(SchemaTimelineTest, TheEndIsThatOfAllThatIsOpen) {
  SchemaTimeline timeline;
  timeline.Begin("c", AtNanos(10));
  timeline.Begin("c", AtNanos(20));
  timeline.End("c", AtNanos(30));
  EXPECT_EQ(timeline.LatestUse("c", AtNanos(5), AtNanos(99)), AtNanos(30));
  EXPECT_EQ(timeline.LatestUse("c", AtNanos(31), AtNanos(99)), std::nullopt);
}

}  // namespace
}  // namespace tenure::sim
