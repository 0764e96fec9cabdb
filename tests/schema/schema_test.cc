#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schema/shape.h"
#include "schema/values.h"

namespace tenure::schema {
namespace {

using namespace ::tenure::v1;
using ::testing::HasSubstr;

std::string MessageFor(const Status& status) {
  return std::string(MessageOf(status));
}

TEST(ValuesTest, EqualValuesHaveOneText) {
  const struct {
    ColumnType type;
    std::string_view in;
    std::string_view out;
  } cases[] = {
      {COLUMN_INT64, "-9223372036854775808", "-9223372036854775808"},
      {COLUMN_INT64, "9223372036854775807", "9223372036854775807"},
      {COLUMN_FLOAT64, "1.50", "1.5"},
      {COLUMN_FLOAT64, "1e2", "100"},
      {COLUMN_FLOAT64, "0.1", "0.1"},
      {COLUMN_FLOAT64, "1e300", "1e+300"},
      {COLUMN_BOOL, "1", "true"},
      {COLUMN_BOOL, "false", "false"},
      {COLUMN_TEXT, "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
      {COLUMN_TEXT, "", ""},
      {COLUMN_BYTES, std::string_view("\x00\xff", 2), std::string_view("\x00\xff", 2)},
      {COLUMN_TIMESTAMP, "2024-05-06T07:08:09Z", "2024-05-06T07:08:09Z"},
      {COLUMN_TIMESTAMP, "2024-05-06 07:08:09.120+02:00", "2024-05-06T05:08:09.12Z"},
      {COLUMN_TIMESTAMP, "0", "1970-01-01T00:00:00Z"},
      {COLUMN_TIMESTAMP, "-1", "1969-12-31T23:59:59.999Z"},
      {COLUMN_TIMESTAMP, "2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"},
      {COLUMN_TIMESTAMP, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"},
      {COLUMN_TIMESTAMP, "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"},
  };
  for (const auto& c : cases) {
    const auto value = Canonical(c.type, c.in);
    ASSERT_TRUE(value.ok()) << c.in << ": " << value.status();
    EXPECT_EQ(*value, c.out);
    EXPECT_EQ(Canonical(c.type, *value).value(), c.out) << "the canonical text is its own";
  }
}

TEST(ValuesTest, WhatIsNoValueOfTheTypeIsRefused) {
  const std::pair<ColumnType, std::string_view> cases[] = {
      {COLUMN_INT64, ""},
      {COLUMN_INT64, "9223372036854775808"},
      {COLUMN_INT64, "007"},
      {COLUMN_INT64, "+1"},
      {COLUMN_INT64, "1 "},
      {COLUMN_INT64, "1.0"},
      {COLUMN_FLOAT64, "nan"},
      {COLUMN_FLOAT64, "inf"},
      {COLUMN_FLOAT64, "1e400"},
      {COLUMN_FLOAT64, "one"},
      {COLUMN_BOOL, "yes"},
      {COLUMN_TEXT, "\xff"},
      {COLUMN_TIMESTAMP, "2023-02-29T00:00:00Z"},
      {COLUMN_TIMESTAMP, "2024-05-06"},
      {COLUMN_TIMESTAMP, "2024-05-06T07:08:09"},
      {COLUMN_TIMESTAMP, "2024-05-06T07:08:09.1234567Z"},
      {COLUMN_TIMESTAMP, "0001-01-01T00:00:00+01:00"},
      {COLUMN_TIMESTAMP, "9223372036854775807"},
      {COLUMN_TYPE_UNSPECIFIED, "x"},
  };
  for (const auto& [type, text] : cases)
    EXPECT_EQ(Canonical(type, text).status().code(), StatusCode::kInvalidArgument) << NameOf(type) << text;
  EXPECT_THAT(MessageFor(Canonical(COLUMN_INT64, "a\x01").status()), HasSubstr("'a\\x01' is not an int64"));
}

TEST(ValuesTest, TimestampsAreReadAsTheyAreWritten) {
  for (int64_t micros = -62'135'596'800'000'000; micros < 253'402'300'799'999'999;
       micros += 86'399'123'456 * 977) {
    ASSERT_EQ(ParseTimestamp(FormatTimestamp(micros)), micros) << FormatTimestamp(micros);
  }
}

TEST(ValuesTest, TypesHaveNames) {
  for (int number = COLUMN_INT64; number <= ColumnType_MAX; ++number) {
    const auto type = static_cast<ColumnType>(number);
    EXPECT_EQ(ParseType(NameOf(type)), type);
    EXPECT_THAT(TypeNames(), HasSubstr(std::string(NameOf(type))));
  }
  EXPECT_FALSE(ParseType("int32"));
}

ColumnRecord Column(std::string name, ColumnType type = COLUMN_INT64, bool nullable = true) {
  ColumnRecord column;
  column.set_name(std::move(name));
  column.set_type(type);
  column.set_nullable(nullable);
  return column;
}

TableShape Shape(std::initializer_list<const char*> names) {
  Columns columns;
  for (const char* name : names) *columns.Add() = Column(name);
  uint32_t next = 1;
  TableShape shape;
  shape.set_name("orders");
  shape.set_version(1);
  *shape.mutable_columns() = WithIds(columns, next);
  return shape;
}

std::string Text(const TableShape& shape) {
  std::string text;
  for (const ColumnRecord& column : shape.columns())
    text += fmt::format("{}={} ", column.id(), column.name());
  return text + fmt::format("ttl {}", shape.ttl_ms());
}

TEST(ShapeTest, NamesHaveLimits) {
  EXPECT_TRUE(CheckName("name", std::string(128, 'a')).ok());
  EXPECT_EQ(MessageFor(CheckName("name", std::string(129, 'a'))), "name: has 129 bytes, the limit is 128");
  EXPECT_EQ(MessageFor(CheckName("name", "")), "name: must not be empty");
  EXPECT_EQ(MessageFor(CheckName("name", "a:b")), "name: 'a:b' must not contain ':'");
  EXPECT_THAT(MessageFor(CheckName("name", "a\nb")), HasSubstr("control characters (U+000A)"));
  EXPECT_THAT(MessageFor(CheckName("name", "\xff")), HasSubstr("not valid UTF-8"));
}

TEST(ShapeTest, ColumnsOfANewTable) {
  Columns columns;
  EXPECT_THAT(MessageFor(CheckColumns(columns)), HasSubstr("at least one is needed"));
  *columns.Add() = Column("a");
  EXPECT_TRUE(CheckColumns(columns).ok());
  *columns.Add() = Column("a");
  EXPECT_THAT(MessageFor(CheckColumns(columns)), HasSubstr("'a' is given twice"));
  columns.RemoveLast();
  *columns.Add() = Column("b", COLUMN_TYPE_UNSPECIFIED);
  EXPECT_THAT(MessageFor(CheckColumns(columns)), HasSubstr("column 'b' has no type that is known"));
  columns.Mutable(1)->set_type(COLUMN_INT64);
  columns.Mutable(1)->set_default_value("x");
  EXPECT_THAT(MessageFor(CheckColumns(columns)), HasSubstr("the default of column 'b': 'x' is not an int64"));
  columns.Mutable(1)->set_type(COLUMN_TEXT);
  columns.Mutable(1)->set_default_value(std::string(1025, 'x'));
  EXPECT_THAT(MessageFor(CheckColumns(columns)), HasSubstr("has 1025 bytes, the limit is 1024"));
  columns.Clear();
  for (int i = 0; i <= kMaxColumns; ++i) *columns.Add() = Column(fmt::format("c{}", i));
  EXPECT_EQ(MessageFor(CheckColumns(columns)), "columns: there are 1001, the limit is 1000");
}

TEST(ShapeTest, TtlHasLimits) {
  EXPECT_TRUE(CheckTtl(0).ok());
  EXPECT_TRUE(CheckTtl(kMaxTtlMs).ok());
  EXPECT_FALSE(CheckTtl(-1).ok());
  EXPECT_FALSE(CheckTtl(kMaxTtlMs + 1).ok());
  EXPECT_FALSE(CheckTtl(INT64_MAX).ok());
}

TEST(ShapeTest, AnAlterationGivesNewIdsAndKeepsOldOnes) {
  uint32_t next = 4;
  TableAlteration alteration;
  alteration.add_drop_columns("b");
  auto* rename = alteration.add_rename_columns();
  rename->set_from("c");
  rename->set_to("d");
  *alteration.add_add_columns() = Column("b", COLUMN_TEXT);
  alteration.set_ttl_ms(5);
  ASSERT_TRUE(CheckAlteration(alteration).ok());
  const auto altered = Altered(Shape({"a", "b", "c"}), alteration, next);
  ASSERT_TRUE(altered.ok()) << altered.status();
  EXPECT_EQ(Text(*altered), "1=a 3=d 4=b ttl 5");
  EXPECT_EQ(next, 5u);
}

TEST(ShapeTest, ColumnsMaySwapTheirNames) {
  uint32_t next = 3;
  TableAlteration alteration;
  for (const auto& [from, to] : {std::pair("a", "b"), std::pair("b", "a")}) {
    auto* rename = alteration.add_rename_columns();
    rename->set_from(from);
    rename->set_to(to);
  }
  ASSERT_TRUE(CheckAlteration(alteration).ok());
  EXPECT_EQ(Text(*Altered(Shape({"a", "b"}), alteration, next)), "1=b 2=a ttl 0");
}

TEST(ShapeTest, AlterationsThatDoNotFitAreRefused) {
  const auto status = [](TableAlteration alteration) {
    uint32_t next = 3;
    const Status valid = CheckAlteration(alteration);
    return valid.ok() ? Altered(Shape({"a", "b"}), alteration, next).status() : valid;
  };
  EXPECT_THAT(MessageFor(status({})), HasSubstr("changes nothing"));
  TableAlteration alteration;
  alteration.add_drop_columns("x");
  EXPECT_EQ(status(alteration).code(), StatusCode::kNotFound);
  EXPECT_EQ(MessageFor(status(alteration)), "table 'orders' has no column 'x'");
  alteration.set_drop_columns(0, "a");
  alteration.add_drop_columns("a");
  EXPECT_THAT(MessageFor(status(alteration)), HasSubstr("column 'a' is named twice"));
  alteration.set_drop_columns(1, "b");
  EXPECT_THAT(MessageFor(status(alteration)), HasSubstr("at least one is needed"));
  alteration.Clear();
  *alteration.add_add_columns() = Column("b");
  EXPECT_EQ(status(alteration).code(), StatusCode::kAlreadyExists);
  *alteration.mutable_add_columns(0) = Column("c", COLUMN_INT64, /*nullable=*/false);
  EXPECT_THAT(MessageFor(status(alteration)), HasSubstr("has to be nullable or to have a default"));
  alteration.mutable_add_columns(0)->set_default_value("7");
  EXPECT_TRUE(status(alteration).ok());
  alteration.Clear();
  auto* rename = alteration.add_rename_columns();
  rename->set_from("a");
  rename->set_to("b");
  EXPECT_EQ(status(alteration).code(), StatusCode::kAlreadyExists);
  rename->set_to("b:c");
  EXPECT_EQ(status(alteration).code(), StatusCode::kInvalidArgument);
  rename->set_from("x");
  rename->set_to("c");
  EXPECT_EQ(status(alteration).code(), StatusCode::kNotFound);
  alteration.Clear();
  alteration.set_ttl_ms(-5);
  EXPECT_EQ(status(alteration).code(), StatusCode::kInvalidArgument);
}

TEST(ShapeTest, AViewShowsColumnsUnderOtherNames) {
  ViewColumnRequests columns;
  columns.Add()->set_column("b");
  auto* renamed = columns.Add();
  renamed->set_column("a");
  renamed->set_name("x");
  ASSERT_TRUE(CheckViewColumns(columns).ok());
  const auto resolved = Resolve(columns, Shape({"a", "b"}));
  ASSERT_TRUE(resolved.ok());
  EXPECT_EQ(resolved->Get(0).column(), 2u);
  EXPECT_EQ(resolved->Get(0).name(), "b");
  EXPECT_EQ(resolved->Get(1).column(), 1u);
  EXPECT_EQ(resolved->Get(1).name(), "x");
  renamed->set_name("b");
  EXPECT_THAT(MessageFor(CheckViewColumns(columns)), HasSubstr("two columns 'b'"));
  renamed->set_name("");
  renamed->set_column("y");
  EXPECT_EQ(Resolve(columns, Shape({"a", "b"})).status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace tenure::schema
