#include "store/number.h"

#include <gtest/gtest.h>

#include <limits>

namespace tenure::store {
namespace {

TEST(Number, IntegersAreReadStrictly) {
  const std::pair<std::string_view, std::optional<int64_t>> cases[] = {
      {"0", 0},
      {"1", 1},
      {"-1", -1},
      {"9223372036854775807", std::numeric_limits<int64_t>::max()},
      {"-9223372036854775808", std::numeric_limits<int64_t>::min()},
      {"9223372036854775808", std::nullopt},
      {"-9223372036854775809", std::nullopt},
      {"", std::nullopt},
      {"-", std::nullopt},
      {"--1", std::nullopt},
      {"+1", std::nullopt},
      {"-0", std::nullopt},
      {"00", std::nullopt},
      {"01", std::nullopt},
      {"-01", std::nullopt},
      {" 1", std::nullopt},
      {"1 ", std::nullopt},
      {"1.0", std::nullopt},
      {"0x1", std::nullopt},
      {"1e3", std::nullopt},
      {std::string_view("1\0", 2), std::nullopt},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(ParseInteger(text), expected) << '"' << text << '"';
}

TEST(Number, FloatsAreReadAsStrtoldDoes) {
  for (const std::string_view good :
       {"1", "-1.5", "+2", ".5", "5.", "3e2", "0x1p3", "inf", "-infinity", "1e4932"}) {
    EXPECT_TRUE(ParseFloat(good)) << good;
  }
  for (const std::string_view bad :
       {"", " 1", "1 ", "abc", "nan", "1e5000", "-1e5000", "1e-5000", "1.0.0", "\t1"}) {
    EXPECT_FALSE(ParseFloat(bad)) << bad;
  }
  EXPECT_FALSE(ParseFloat(std::string_view("1\0", 2)));
  EXPECT_FALSE(ParseFloat(std::string(6000, '1')));
}

TEST(Number, FloatsAreWrittenWithoutExponent) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"0", "0"},      {"-0.0", "0"},      {"1.50", "1.5"},
      {"3e3", "3000"}, {"10", "10"},       {"1e17", "100000000000000000"},
      {"0.1", "0.1"},  {"-2.25", "-2.25"}, {"1e-17", "0.00000000000000001"},
      {"1e-20", "0"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(FormatFloat(*ParseFloat(text)), expected) << text;
  EXPECT_EQ(FormatFloat(*ParseFloat("1e4932")).size(), 4933u);
}

TEST(Number, SumsDoNotOverflow) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  EXPECT_EQ(AddIntegers(kMax, 0), kMax);
  EXPECT_EQ(AddIntegers(kMax, 1), std::nullopt);
  EXPECT_EQ(AddIntegers(kMin, -1), std::nullopt);
  EXPECT_EQ(AddIntegers(kMax, kMin), -1);
}

}  // namespace
}  // namespace tenure::store
