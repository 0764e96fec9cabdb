#include "changefeed/format/filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tenure::changefeed {
namespace {

using testing::HasSubstr;

Filter Of(std::string_view text) {
  auto filter = Filter::Parse(text);
  EXPECT_TRUE(filter.ok()) << filter.status().ToString();
  return *std::move(filter);
}

TEST(Filter, TheLastRuleThatMatchesDecides) {
  const Filter filter =
      Of("table:ord*,!table:orders_tmp,table:orders_tmp2,prefix:session:,!prefix:session:x:");
  EXPECT_TRUE(filter.FollowsTable("orders"));
  EXPECT_FALSE(filter.FollowsTable("orders_tmp"));
  EXPECT_TRUE(filter.FollowsTable("orders_tmp2"));
  EXPECT_FALSE(filter.FollowsTable("customers"));
  EXPECT_TRUE(filter.FollowsKey("session:1"));
  EXPECT_FALSE(filter.FollowsKey("session:x:1"));
  EXPECT_FALSE(filter.FollowsKey("other"));
  EXPECT_TRUE(filter.FollowsPlainKeys());
}

TEST(Filter, RulesThatOnlyExcludeFollowTheRest) {
  const Filter filter = Of("!table:tmp_*");
  EXPECT_TRUE(filter.FollowsTable("orders"));
  EXPECT_FALSE(filter.FollowsTable("tmp_1"));
  EXPECT_TRUE(filter.FollowsKey("anything"));
}

TEST(Filter, PatternsHaveStarsAndQuestionMarks) {
  const std::vector<std::tuple<std::string, std::string, bool>> cases{
      {"table:*", "", true},     {"table:a*b*c", "aXbYc", true}, {"table:a*b*c", "aXcYb", false},
      {"table:?", "a", true},    {"table:?", "", false},         {"table:a**", "a", true},
      {"table:*a", "bba", true}, {"table:*a", "bab", false},     {"table:a", "a", true},
      {"table:a", "ab", false},  {"table:*aab", "aaaab", true}};
  for (const auto& [rule, name, expected] : cases)
    EXPECT_EQ(Of(rule).FollowsTable(name), expected) << rule << name;
}

TEST(Filter, PrefixesMayHoldCommas) {
  EXPECT_TRUE(Of("prefix:a%2Cb%25").FollowsKey("a,b%c"));
  EXPECT_FALSE(Of("table:orders").FollowsPlainKeys());
}

TEST(Filter, EveryNameThatATableMayHaveCanBeWritten) {
  for (const auto& [rule, name] :
       std::vector<std::pair<std::string, std::string>>{{"table:a.b c", "a.b c"},
                                                        {"table:caf\u00e9", "caf\u00e9"},
                                                        {"table:caf?", "caf\u00e9"},
                                                        {"table:a%2Cb%25c%2Ad%3Fe", "a,b%c*d?e"},
                                                        {"table:*%2A", "x*"}}) {
    EXPECT_TRUE(Of(rule).FollowsTable(name)) << rule;
    EXPECT_FALSE(Of(rule).FollowsTable(name + "x")) << rule;
  }
  EXPECT_FALSE(Of("table:%2A").FollowsTable("x"));
  EXPECT_FALSE(Of("table:%3F").FollowsTable("x"));
  EXPECT_FALSE(Of("table:*??").FollowsTable("\u00e9")) << "it is one character";
  EXPECT_THAT(Of("table:a,table:b%2Cc,!table:d,table:e*,prefix:f,table:g%2A").NamedTables(),
              testing::ElementsAre("a", "b,c", "g*"));
}

TEST(Filter, ErrorsNameThePlace) {
  const std::vector<std::pair<std::string, std::string>> cases{{"", "is empty"},
                                                               {"orders", "at character 1: \"orders\""},
                                                               {"table:a,", "at character 9"},
                                                               {"table:a,!tabel:b", "at character 10"},
                                                               {"table:", "needs a name"},
                                                               {"table:a:b", "at character 8: ':'"},
                                                               {"table:a%2", "at character 8: \"%2\""},
                                                               {"prefix:a%2", "at character 9"}};
  for (const auto& [text, message] : cases) {
    const auto filter = Filter::Parse(text);
    EXPECT_EQ(filter.status().code(), StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(MessageOf(filter.status())), HasSubstr(message)) << text;
  }
  std::string many = "table:a";
  for (int i = 0; i < 256; ++i) many += ",table:a";
  EXPECT_THAT(std::string(MessageOf(Filter::Parse(many).status())), HasSubstr("256"));
}

}  // namespace
}  // namespace tenure::changefeed
