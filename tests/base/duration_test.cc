#include "base/duration.h"

#include <gtest/gtest.h>

namespace tenure {
namespace {

TEST(DurationTest, Units) {
  EXPECT_EQ(*ParseDuration("250ms"), std::chrono::milliseconds(250));
  EXPECT_EQ(*ParseDuration("5s"), std::chrono::seconds(5));
  EXPECT_EQ(*ParseDuration("10m"), std::chrono::minutes(10));
  EXPECT_EQ(*ParseDuration("2h"), std::chrono::hours(2));
  for (const char* wrong : {"", "5", "h", "-1s", "1.5s", "5d"})
    EXPECT_FALSE(ParseDuration(wrong).ok()) << wrong;
}

// 5124096 hours are 2^64 ns and a little.
TEST(DurationTest, NoneThatOverflows) {
  EXPECT_EQ(*ParseDuration("876000h"), std::chrono::hours(876000));
  for (const char* wrong :
       {"876001h", "5124096h", "4294967295m", "18446744073709551615ms", "99999999999999999999s"}) {
    EXPECT_FALSE(ParseDuration(wrong).ok()) << wrong;
  }
}

}  // namespace
}  // namespace tenure
