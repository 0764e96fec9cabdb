#include "store/schema_state.h"

#include <gtest/gtest.h>

#include "store/layout.h"
#include "store/region_store.h"
#include "tests/store/test_region.h"

namespace tenure::store {
namespace {

class SchemaStateTest : public ::testing::Test {
 protected:
  void Tell(SchemaCommand schema) {
    WriteCommand command{.now = region.now, .kind = WriteCommand::Kind::kSchema};
    command.schema = schema;
    std::string encoded;
    EncodeWriteCommand(command, encoded);
    const auto decoded = DecodeWriteCommand(encoded);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    ASSERT_EQ(decoded->schema, schema);
    region.index = region.index.Next();
    EXPECT_EQ(region.store.Apply(*decoded, region.index, region.state), Reply::Ok());
    CheckInvariants(region.state);
  }
  std::string Check(uint64_t table, uint64_t version) const {
    const auto error = CheckSchema(table, version, region.state);
    return error ? error->text : "taken";
  }
  void PutRow(uint64_t table, const std::string& key) {
    Writer keys(region.state, region.now, LogIndex(1), 100);
    tenure::store::PutRow({.table = table, .key = key}, Row{}, Row{.values = {{1, "x"}}}, keys);
  }
  size_t Rows(uint64_t table) const {
    size_t rows = 0;
    const std::string prefix = RowsPrefix(table);
    const auto it = region.state.NewIterator(prefix, kv::PrefixEnd(prefix));
    for (; it->Valid(); it->Next()) ++rows;
    return rows;
  }

  TestRegion region;
};

TEST_F(SchemaStateTest, OlderWritesAreRefusedFromTheChangeOn) {
  EXPECT_EQ(Check(7, 1), "taken") << "nothing was said of the table";
  Tell({.table = 7, .version = 3});
  EXPECT_EQ(
      Check(7, 2),
      "TRYAGAIN The table was changed: the write was checked against version 2 of its schema, it has 3");
  EXPECT_EQ(Check(7, 3), "taken");
  EXPECT_EQ(Check(7, 4), "taken");
  EXPECT_EQ(Check(8, 1), "taken") << "another table";
  Tell({.table = 7, .version = 2});
  EXPECT_EQ(FindSchemaMark(7, region.state), (SchemaMark{.version = 3})) << "a late copy lowers nothing";
}

TEST_F(SchemaStateTest, ADroppedTableLosesItsRowsAndTakesNoWriteAnyMore) {
  for (const uint64_t table : {6u, 7u, 8u}) PutRow(table, "a");
  PutRow(7, "b");
  Tell({.table = 7, .drop = true});
  EXPECT_EQ(Rows(7), 0u);
  EXPECT_EQ(Rows(6), 1u);
  EXPECT_EQ(Rows(8), 1u);
  EXPECT_EQ(Check(7, 99), "ERR The table has been dropped");
  Tell({.table = 7, .version = 9});
  EXPECT_EQ(Check(7, 99), "ERR The table has been dropped") << "it stays dropped";
  Tell({.table = 7, .drop = true});
  EXPECT_EQ(Check(7, 99), "ERR The table has been dropped");
}

TEST_F(SchemaStateTest, PlainKeysAreNotConcerned) {
  EXPECT_EQ(region.Ask("SET orders:1 x"), "OK");
  Tell({.table = 1, .drop = true});
  EXPECT_EQ(region.Ask("GET orders:1"), "\"x\"");
  EXPECT_EQ(region.store.KeyCount(region.state), 1u);
}

TEST(SchemaCommandTest, GoldenAndMalformed) {
  WriteCommand command{
      .now = WallFromMillis(1000), .kind = WriteCommand::Kind::kSchema, .max_value_bytes = 1};
  command.schema = SchemaCommand{.table = 300, .version = 2};
  std::string encoded;
  EncodeWriteCommand(command, encoded);
  EXPECT_EQ(encoded, std::string("\x05\xe8\x07\x01\xac\x02\x02\x00", 8));
  for (size_t size = 0; size < encoded.size(); ++size)
    EXPECT_FALSE(DecodeWriteCommand(encoded.substr(0, size)).ok()) << size;
  EXPECT_FALSE(DecodeWriteCommand(encoded + "x").ok());
  encoded.back() = 2;
  EXPECT_FALSE(DecodeWriteCommand(encoded).ok());
}

}  // namespace
}  // namespace tenure::store
