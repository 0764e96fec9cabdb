// Rows of tables on a cluster of three nodes: where they are found, schemas that change meanwhile.
#include <gmock/gmock.h>

#include "tests/node/test_cluster.h"

namespace tenure::node {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class RowsTest : public TestCluster {
 protected:
  static pb::Record OrdersTable(uint64_t version = 1) {
    pb::Record record;
    pb::TableRecord& table = *record.mutable_table();
    table.set_id(7);
    table.set_database(1);
    table.set_state(pb::TABLE_PUBLIC);
    table.set_slot_name("orders");
    table.mutable_shape()->set_name("orders");
    table.mutable_shape()->set_version(version);
    const auto add = [&table](uint32_t id, const std::string& name, pb::ColumnType type, bool nullable) {
      pb::ColumnRecord& column = *table.mutable_shape()->add_columns();
      column.set_id(id);
      column.set_name(name);
      column.set_type(type);
      column.set_nullable(nullable);
    };
    add(1, "qty", pb::COLUMN_INT64, false);
    add(2, version == 1 ? "note" : "remark", pb::COLUMN_TEXT, true);
    return record;
  }
  void Put(const pb::Record& record) {
    controllers_.Put(record);
    executor_.Advance(300ms);
  }
  // Through the region's log, as a leading controller would have it; answered later.
  void Tell(int leader, store::SchemaCommand schema) {
    store::WriteCommand command{.now = executor_.WallNow(), .kind = store::WriteCommand::Kind::kSchema};
    command.schema = schema;
    std::string encoded;
    store::EncodeWriteCommand(command, encoded);
    at(leader).node().groups().Propose(GroupId(1), std::move(encoded), [](group::ProposeOutcome) {});
  }
  int StartWithTable() {
    StartWithDatabase();
    Put(OrdersTable());
    return LeaderOf(1);
  }
};

TEST_F(RowsTest, AKeyIsARowFromTheTableOnAndPlainAgainAfterIt) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  ASSERT_NE(leader, 0);
  EXPECT_EQ(Text(Do(leader, {"SET", "orders:0", "plain"})), "OK");
  Put(OrdersTable());
  EXPECT_EQ(Text(Do(leader, {"HSET", "orders:1", "qty", "3"})), "1");
  EXPECT_EQ(Text(Do(leader, {"HGET", "orders:1", "qty"})), "3");
  EXPECT_THAT(Text(Do(leader, {"GET", "orders:0"})), StartsWith("WRONGTYPE table 'orders'"));
  EXPECT_THAT(Text(Do(leader, {"HSET", "orders:1", "qty", "x"})),
              HasSubstr("column 'qty': 'x' is not an int64"));
  EXPECT_EQ(Text(Do(leader, {"SET", "plain", "x"})), "OK");
  EXPECT_EQ(Text(Do(leader % 3 + 1, {"HGET", "orders:1", "qty"})), "MOVED " + at(leader).resp_address());
  EXPECT_EQ(Text(Do(leader % 3 + 1, {"HGET", "orders:1", "qty"}, ReadMode::kReplica)), "3");
  EXPECT_EQ(at(leader).node().KeyCount(kDatabase), 3u);
  pb::Record dropped = OrdersTable();
  dropped.mutable_table()->set_state(pb::TABLE_PRE_DELETE);
  Put(dropped);
  EXPECT_EQ(Text(Do(leader, {"HGET", "orders:1", "qty"})), "ERR table 'orders' is being dropped");
  EXPECT_EQ(at(leader).node().KeyCount(kDatabase), 2u);
}

TEST_F(RowsTest, CommandsOfOneRowKeepTheirOrder) {
  const int leader = StartWithTable();
  ASSERT_NE(leader, 0);
  Do(leader, {"HSET", "orders:1", "qty", "0"});
  std::vector<std::shared_ptr<std::optional<Outcome>>> answers;
  for (int i = 0; i < 5; ++i) {
    answers.push_back(Submit(leader, {"HINCRBY", "orders:1", "qty", "1"}));
    answers.push_back(Submit(leader, {"HGET", "orders:1", "qty"}));
  }
  executor_.Advance(2s);
  for (size_t i = 0; i < answers.size(); ++i) {
    ASSERT_TRUE(answers[i]->has_value()) << i;
    EXPECT_EQ(Text(**answers[i]), std::to_string(i / 2 + 1));
  }
}

TEST_F(RowsTest, ATransactionOfRowsAndPlainKeysIsOneEntry) {
  const int leader = StartWithTable();
  ASSERT_NE(leader, 0);
  std::optional<Outcome> version;
  at(leader).node().VersionOf(kDatabase, SlotOfKey("orders:{a}"), "orders:{a}",
                              [&](Outcome outcome) { version = std::move(outcome); });
  executor_.Advance(1s);
  ASSERT_EQ(Text(*version), "0");
  const auto execute = [&](std::vector<store::Arguments> commands) {
    std::optional<Outcome> done;
    at(leader).node().ExecuteTransaction(kDatabase, SlotOfKey("{a}"), std::move(commands),
                                         {{"orders:{a}", 0}},
                                         [&](Outcome outcome) { done = std::move(outcome); });
    executor_.Advance(1s);
    return Text(*done);
  };
  EXPECT_EQ(execute({{"HSET", "orders:{a}", "qty", "1"},
                     {"HSET", "orders:{a}", "nothing", "1"},
                     {"SET", "plain{a}", "x"},
                     {"HGET", "orders:{a}", "qty"}}),
            "[1 ERR table 'orders' has no column 'nothing' OK 1]");
  EXPECT_EQ(execute({{"DEL", "orders:{a}"}}), "(null)") << "the row is not absent any more";
}

TEST_F(RowsTest, AWriteThatMissedAChangeIsRefusedAndCheckedOnceMore) {
  const int leader = StartWithTable();
  ASSERT_NE(leader, 0);
  Do(leader, {"HSET", "orders:1", "qty", "1"});
  // The region knows of a version that this node does not know yet.
  Tell(leader, {.table = 7, .version = 2});
  executor_.Advance(200ms);
  EXPECT_THAT(Text(Do(leader, {"HSET", "orders:1", "qty", "2"})),
              StartsWith("TRYAGAIN The table was changed: the write was checked against version 1"));
  EXPECT_EQ(Text(Do(leader, {"HGET", "orders:1", "qty"})), "1");
  // It lies in the log behind a change whose schema this node gets to know meanwhile.
  for (int i = 1; i <= 3; ++i) {
    if (i != leader) fabric_.cut.insert(static_cast<uint64_t>(i));
  }
  const auto late = Submit(leader, {"HSET", "orders:1", "qty", "2"});
  const auto gone = Submit(leader, {"HSET", "orders:2", "qty", "2", "note", "x"});
  controllers_.Put(OrdersTable(2));
  executor_.Advance(300ms);
  EXPECT_FALSE(late->has_value());
  fabric_.cut.clear();
  executor_.Advance(3s);
  ASSERT_TRUE(late->has_value() && gone->has_value());
  EXPECT_EQ(Text(**late), "0") << "checked against the new schema, and done";
  EXPECT_EQ(Text(**gone), "ERR table 'orders' has no column 'note'");
  EXPECT_EQ(Text(Do(LeaderOf(1), {"HGET", "orders:1", "qty"})), "2");
  EXPECT_EQ(Text(Do(LeaderOf(1), {"EXISTS", "orders:2"})), "0");
}

TEST_F(RowsTest, ARefusedWriteIsNotCheckedAgainBehindALaterOne) {
  const int leader = StartWithTable();
  ASSERT_NE(leader, 0);
  Do(leader, {"HSET", "orders:1", "qty", "1"});
  Tell(leader, {.table = 7, .version = 2});
  executor_.Advance(200ms);
  for (int i = 1; i <= 3; ++i) {
    if (i != leader) fabric_.cut.insert(static_cast<uint64_t>(i));
  }
  const auto first = Submit(leader, {"HSET", "orders:1", "qty", "2"});
  controllers_.Put(OrdersTable(2));
  executor_.Advance(300ms);
  const auto second = Submit(leader, {"HSET", "orders:1", "qty", "3"});
  fabric_.cut.clear();
  executor_.Advance(3s);
  ASSERT_TRUE(first->has_value() && second->has_value());
  EXPECT_THAT(Text(**first), StartsWith("TRYAGAIN The table was changed"));
  EXPECT_EQ(Text(**second), "0");
  EXPECT_EQ(Text(Do(LeaderOf(1), {"HGET", "orders:1", "qty"})), "3");
}

TEST_F(RowsTest, RowsOfARenamedTableLieWhereTheyLay) {
  const int leader = StartWithTable();
  ASSERT_NE(leader, 0);
  Do(leader, {"HSET", "orders:1", "qty", "1"});
  pb::Record renamed = OrdersTable(2);
  renamed.mutable_table()->mutable_shape()->set_name("sales");
  Put(renamed);
  EXPECT_EQ(Text(Do(leader, {"HGET", "sales:1", "qty"})), "1");
  Node& node = at(leader).node();
  const uint16_t asked = SlotOfKey("sales:1");
  EXPECT_EQ(node.MovedElsewhere(kDatabase, asked, {"HGET", "sales:1", "qty"}), std::nullopt);
  Node& other = at(leader % 3 + 1).node();
  EXPECT_EQ(other.MovedElsewhere(kDatabase, asked, {"HGET", "sales:1", "qty"})->slot, asked);
  // Whoever asks elsewhere is sent to the leader for the slot that he knows.
  const Outcome moved = Do(leader % 3 + 1, {"HGET", "sales:1", "qty"});
  EXPECT_EQ(std::get<Moved>(moved).slot, SlotOfKey("sales:1"));
  EXPECT_THAT(Text(Do(leader, {"DEL", "sales:1", "sales:2"})), StartsWith("CROSSSLOT"));
}

TEST_F(RowsTest, AStrictDatabaseHasNoPlainKeys) {
  StartWithDatabase();
  const int leader = LeaderOf(1);
  ASSERT_NE(leader, 0);
  pb::Record database;
  database.mutable_database()->set_id(1);
  database.mutable_database()->set_name("default");
  database.mutable_database()->set_state(pb::DATABASE_PUBLIC);
  database.mutable_database()->set_strict(true);
  Put(database);
  const std::string refusal =
      "ERR the database is strict and has rows of tables only: no table is named by the key ";
  EXPECT_EQ(Text(Do(leader, {"SET", "plain", "x"})), refusal + "'plain'");
  EXPECT_EQ(Text(Do(leader, {"GET", "orders:1"})), refusal + "'orders:1'");
  Put(OrdersTable());
  EXPECT_EQ(Text(Do(leader, {"HSET", "orders:1", "qty", "1"})), "1");
  EXPECT_EQ(Text(Do(leader, {"DEL", "orders:{a}", "plain{a}"})), refusal + "'plain{a}'");
}

}  // namespace
}  // namespace tenure::node
