#include "base/utf8.h"

#include <gtest/gtest.h>

namespace tenure {
namespace {

TEST(Utf8, NothingOverlongNoSurrogatesNothingBeyondTheLastCodePoint) {
  for (const char* good : {"", "plain", "\u00e9", "\u20ac", "\ud7ff", "\ue000", "\U0001F600", "\U0010FFFF"})
    EXPECT_TRUE(IsValidUtf8(good)) << good;
  for (const char* bad : {"\x80", "\xff", "\xC0\x80", "\xC0\xAF", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80",
                          "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE2\x82", "a\x80"})
    EXPECT_FALSE(IsValidUtf8(bad));
}

TEST(Utf8, ACodePointHasAValueAndALength) {
  EXPECT_EQ(FrontCodePoint("a").value, 0x61u);
  EXPECT_EQ(FrontCodePoint("\u20acx").value, 0x20acu);
  EXPECT_EQ(FrontCodePoint("\u20acx").length, 3u);
  EXPECT_EQ(FrontCodePoint("\U0010FFFF").value, 0x10ffffu);
  EXPECT_EQ(FrontCodePoint("\xE2\x82").length, 0u);
}

}  // namespace
}  // namespace tenure
