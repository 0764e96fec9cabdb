#include "cli/schema_arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tenure::cli {
namespace {

namespace pb = ::tenure::v1;
using ::testing::HasSubstr;

template <class Value>
std::string MessageFor(const StatusOr<Value>& value) {
  return std::string(MessageOf(value.status()));
}

TEST(SchemaArgumentsTest, Columns) {
  const auto plain = ParseColumn("qty:int64");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->name(), "qty");
  EXPECT_EQ(plain->type(), pb::COLUMN_INT64);
  EXPECT_FALSE(plain->nullable());
  EXPECT_FALSE(plain->has_default_value());
  const auto full = ParseColumn("note:text:null=a=b:c");
  ASSERT_TRUE(full.ok());
  EXPECT_TRUE(full->nullable());
  EXPECT_EQ(full->default_value(), "a=b:c");
  EXPECT_TRUE(ParseColumn("note:text=")->has_default_value());
  for (const char* bad : {"qty", ":int64", "qty:", "qty:int64:nul", "qty:int64:null:null", "=x", ""})
    EXPECT_EQ(ParseColumn(bad).status().code(), StatusCode::kInvalidArgument) << bad;
  EXPECT_THAT(MessageFor(ParseColumn("qty:int32")), HasSubstr("'int32' is none of int64, float64"));
}

TEST(SchemaArgumentsTest, Names) {
  EXPECT_EQ(*ParseQualifiedName("app.orders"), std::pair(std::string("app"), std::string("orders")));
  EXPECT_EQ(ParseQualifiedName("app.a.b")->second, "a.b");
  for (const char* bad : {"orders", ".orders", "app.", ""})
    EXPECT_THAT(MessageFor(ParseQualifiedName(bad)), HasSubstr("is not DATABASE.NAME"));
  EXPECT_EQ(ParseRename("a=b")->to(), "b");
  EXPECT_FALSE(ParseRename("a").ok());
}

TEST(SchemaArgumentsTest, ViewColumns) {
  const auto columns = ParseViewColumns("a,b=c");
  ASSERT_TRUE(columns.ok());
  ASSERT_EQ(columns->size(), 2);
  EXPECT_EQ(columns->Get(0).column(), "a");
  EXPECT_EQ(columns->Get(0).name(), "");
  EXPECT_EQ(columns->Get(1).column(), "b");
  EXPECT_EQ(columns->Get(1).name(), "c");
  for (const char* bad : {"", "a,", ",a", "a,,b", "a=", "=a"})
    EXPECT_FALSE(ParseViewColumns(bad).ok()) << bad;
}

TEST(SchemaArgumentsTest, Ttl) {
  EXPECT_EQ(*ParseTtl("7d"), 7 * 86'400'000);
  EXPECT_EQ(*ParseTtl("250ms"), 250);
  EXPECT_EQ(*ParseTtl("0"), 0);
  for (const char* bad :
       {"", "7", "-1d", "d", "1w", "1 d", "0d", "9223372036854775807d", "99999999999999999999s"})
    EXPECT_EQ(ParseTtl(bad).status().code(), StatusCode::kInvalidArgument) << bad;
  EXPECT_THAT(MessageFor(ParseTtl("36601d")), HasSubstr("more than the longest ttl, 36600d"));
  EXPECT_EQ(TtlText(0), "-");
  EXPECT_EQ(TtlText(90'000), "90s");
  EXPECT_EQ(TtlText(7 * 86'400'000), "7d");
  EXPECT_EQ(TtlText(1001), "1001ms");
}

}  // namespace
}  // namespace tenure::cli
