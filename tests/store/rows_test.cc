// Rows of tables: what commands do with them, what is refused, how they lie in the state and in the log.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/hash.h"
#include "store/layout.h"
#include "store/range_copy.h"
#include "tests/store/row_region.h"

namespace tenure::store {
namespace {

namespace pb = ::tenure::v1;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr std::string_view kColumns =
    "qty:int64 price:float64:null paid:bool:null note:text:null raw:bytes:null at:timestamp:null "
    "state:text=new";

class RowsTest : public ::testing::Test, protected RowRegion {
 protected:
  RowsTest() { schemas.Put(TableOf(7, "orders", kColumns)); }
  // A view that shows qty, and note as text.
  void PutView() {
    pb::ViewRecord view;
    view.set_id(9);
    view.set_table(7);
    view.set_state(pb::TABLE_PUBLIC);
    view.mutable_shape()->set_name("short");
    for (const auto& [column, name] : {std::pair(1u, "qty"), std::pair(4u, "text"), std::pair(7u, "state")}) {
      auto& shown = *view.mutable_shape()->add_columns();
      shown.set_column(column);
      shown.set_name(name);
    }
    schemas.Put(view);
  }
  RowKey Place(std::string_view key) const { return std::get<RowKey>(PlaceOf(*schemas.OfKey(key), key)); }
};

TEST_F(RowsTest, ValuesAreTypedAndShownCanonically) {
  Script(R"(
    > HSET orders:42 qty 3 price 1.50 paid 1 note "caf\xc3\xa9" raw "\x00\xff" at "2024-05-06 07:08:09+02:00"
    (integer) 6
    > HGETALL orders:42
    {"qty": "3", "price": "1.5", "paid": "true", "note": "caf\xc3\xa9", "raw": "\x00\xff", "at": "2024-05-06T05:08:09Z", "state": "new"}
    > HGET orders:42 state
    "new"
    > HMGET orders:42 qty note qty
    ["3", "caf\xc3\xa9", "3"]
    > HKEYS orders:42
    ["qty", "price", "paid", "note", "raw", "at", "state"]
    > HLEN orders:42
    (integer) 7
    > HSTRLEN orders:42 price
    (integer) 3
    > TYPE orders:42
    hash
    > HSET orders:42 qty 4 state sent
    (integer) 0
    > HDEL orders:42 price paid at raw
    (integer) 4
    > HVALS orders:42
    ["4", "caf\xc3\xa9", "sent"]
    > HEXISTS orders:42 price
    (integer) 0
    > HGET orders:42 price
    (nil)
    > HDEL orders:42 price
    (integer) 0
    > HSETNX orders:42 note other
    (integer) 0
    > HSETNX orders:42 price 2
    (integer) 1
    > HMSET orders:42 qty 1 qty 2
    OK
    > HGET orders:42 qty
    "2"
    > HINCRBY orders:42 qty -5
    (integer) -3
    > HINCRBYFLOAT orders:42 price 0.25
    "2.25"
    > HINCRBYFLOAT orders:43 price 1
    (error) ERR table 'orders': column 'qty' is missing: it is not nullable and has no default
    > HINCRBY orders:43 qty 5
    (integer) 5
    > EXISTS orders:42 orders:43 orders:44
    (error) CROSSSLOT The rows that the command names lie in different slots: rows of a table that was renamed, and of a view, lie where the table's first name puts them
    > HSET orders:{a}1 qty 1
    (integer) 1
    > SET plain{a} x
    OK
    > EXISTS orders:{a}1 plain{a} orders:{a}2 orders:{a}1
    (integer) 3
    > DEL orders:{a}1 plain{a} orders:{a}2
    (integer) 2
    > DEL orders:42
    (integer) 1
    > HGETALL orders:42
    {}
    > HLEN orders:42
    (integer) 0
    > TYPE orders:42
    none
    > TTL orders:43
    (integer) -1
    > TTL orders:42
    (integer) -2)");
  EXPECT_EQ(region.store.KeyCount(region.state, &schemas), 1u);
  EXPECT_EQ(Ask("UNLINK orders:43"), "(integer) 1");
  // Nothing of them is left.
  for (const auto& [key, value] : region.state.map()) EXPECT_EQ(key, "m") << Quoted(key);
}

TEST_F(RowsTest, RefusalsNameTableAndColumnAndChangeNothing) {
  schemas.Put(TableOf(8, "numbered", "a:text:null"));
  schemas.table(8).set_key_type(pb::COLUMN_INT64);
  schemas.Put(schemas.table(8));
  PutView();
  EXPECT_EQ(Ask("HSET orders:1 qty 9223372036854775807 price 1.7e308"), "(integer) 2");
  const MapView before = region.state;
  const std::vector<std::pair<std::string, std::string>> refused = {
      {"HSET orders:1 qty x", "ERR table 'orders': column 'qty': 'x' is not an int64"},
      {"HSET orders:1 qty 01", "ERR table 'orders': column 'qty': '01' is not an int64"},
      {"HSET orders:1 qty 9223372036854775808", "ERR table 'orders': column 'qty'"},
      {"HSET orders:1 price inf", "ERR table 'orders': column 'price': 'inf' is not a float64"},
      {"HSET orders:1 paid yes", "ERR table 'orders': column 'paid': 'yes' is not a bool"},
      {"HSET orders:1 note \"\\xff\"", "ERR table 'orders': column 'note': '\\xff' is not text"},
      {"HSET orders:1 at 2024-02-30T00:00:00Z", "ERR table 'orders': column 'at'"},
      {"HSET orders:1 qty 1 note", "ERR wrong number of arguments for 'hset' command"},
      {"HSET orders:1 qty 1 nothing 2", "ERR table 'orders' has no column 'nothing'"},
      {"HSET orders:1 \"a\\nb\" 2", "ERR table 'orders' has no column 'a b'"},
      {"HSET orders:1 \"\" 2", "ERR table 'orders' has no column ''"},
      {"HSET orders:1 QTY 2", "ERR table 'orders' has no column 'QTY'"},
      {"HGET orders:1 nothing", "ERR table 'orders' has no column 'nothing'"},
      {"HMGET orders:1 qty nothing", "ERR table 'orders' has no column 'nothing'"},
      {"HEXISTS orders:1 nothing", "ERR table 'orders' has no column 'nothing'"},
      {"HDEL orders:1 nothing", "ERR table 'orders' has no column 'nothing'"},
      {"HDEL orders:1 note qty", "ERR table 'orders': column 'qty' is not nullable"},
      {"HDEL orders:1 state", "ERR table 'orders': column 'state' is not nullable"},
      {"HSET orders:2 note x", "ERR table 'orders': column 'qty' is missing"},
      {"HSETNX orders:2 note x", "ERR table 'orders': column 'qty' is missing"},
      {"HMSET orders:2 note x", "ERR table 'orders': column 'qty' is missing"},
      {"HINCRBY orders:1 qty 1", "ERR table 'orders': column 'qty': increment or decrement would overflow"},
      {"HINCRBY orders:1 qty x", "ERR value is not an integer or out of range"},
      {"HINCRBY orders:1 price 1", "ERR table 'orders': column 'price' is float64: 'hincrby' is for int64"},
      {"HINCRBYFLOAT orders:1 price 1.7e308",
       "ERR table 'orders': column 'price': increment would produce NaN"},
      {"HINCRBYFLOAT orders:1 qty 1",
       "ERR table 'orders': column 'qty' is int64: 'hincrbyfloat' is for float64"},
      {"HINCRBYFLOAT orders:1 price x", "ERR value is not a valid float"},
      {"GET orders:1", "WRONGTYPE table 'orders': 'get' is for plain keys, not for rows"},
      {"SET orders:1 x", "WRONGTYPE table 'orders': 'set' is for plain keys, not for rows"},
      {"MSET plain x orders:1 x", "WRONGTYPE table 'orders': 'mset' is for plain keys, not for rows"},
      {"HSCAN orders:1 0", "WRONGTYPE table 'orders': 'hscan' is for plain keys, not for rows"},
      {"EXPIRE orders:1 10", "ERR table 'orders': 'expire' is for plain keys, rows expire by the ttl"},
      {"PERSIST orders:1", "ERR table 'orders': 'persist' is for plain keys, rows expire by the ttl"},
      {"HSET orders: qty 1", "ERR table 'orders': the key of a row is missing behind ':'"},
      {"HSET numbered:x a 1", "ERR table 'numbered': the key 'x' is not an int64"},
      {"HGET numbered:007 a", "ERR table 'numbered': the key '007' is not an int64"},
      {"HSET short:1 qty 1", "ERR view 'short' of table 'orders' cannot be written"},
      {"DEL short:1", "ERR view 'short' of table 'orders' cannot be written"},
      {"HGET short:1 note", "ERR view 'short' has no column 'note'"},
      {"GET short:1", "WRONGTYPE view 'short': 'get' is for plain keys, not for rows"},
  };
  for (const auto& [line, error] : refused) {
    EXPECT_THAT(Ask(line), ::testing::StartsWith("(error) " + error)) << line;
    EXPECT_EQ(region.state.map(), before.map()) << line;
  }
  // As commands of a transaction: each is its own reply, and those that are right are done.
  for (const auto& [line, error] : refused) {
    if (line.find("orders:1") == line.npos) continue;
    const Reply reply = Transaction({line, "HGET orders:1 qty"});
    EXPECT_THAT(Show(reply.elements.at(0)), ::testing::StartsWith("(error) " + error)) << line;
    EXPECT_EQ(Show(reply.elements.at(1)), "\"9223372036854775807\"") << line;
    EXPECT_EQ(region.state.map(), before.map()) << line;
  }
}

TEST_F(RowsTest, ARowIsNotLargerThanAValueMayBe) {
  WriteCommand command{.now = region.now, .kind = WriteCommand::Kind::kRows, .max_value_bytes = 10};
  command.steps = {Plan(Words("HSET orders:1 qty 1 note 0123456789"))};
  const MapView before = region.state;
  EXPECT_EQ(Show(region.store.Apply(command, LogIndex(1), region.state)),
            "(error) ERR table 'orders': the row would have 11 bytes, the limit is 10");
  EXPECT_EQ(region.state.map(), before.map());
  command.steps = {Plan(Words("HSET orders:1 qty 1 note 012345678"))};
  EXPECT_EQ(Show(region.store.Apply(command, LogIndex(2), region.state)), "(integer) 2");
}

TEST_F(RowsTest, AViewShowsItsColumnsUnderItsNames) {
  PutView();
  Script(R"(
    > HSET orders:1 qty 3 note hello price 2
    (integer) 3
    > HGETALL short:1
    {"qty": "3", "text": "hello", "state": "new"}
    > HGET short:1 text
    "hello"
    > HKEYS short:1
    ["qty", "text", "state"]
    > HLEN short:1
    (integer) 3
    > HEXISTS short:1 text
    (integer) 1
    > EXISTS short:1
    (integer) 1
    > EXISTS short:2
    (integer) 0)");
  EXPECT_EQ(Place("short:1").slot, SlotOfKey("orders:1"));
  EXPECT_THAT(ScanAll(10), ElementsAre("orders:1"));
}

TEST_F(RowsTest, AnAlterationMovesNoRow) {
  EXPECT_EQ(Ask("HSET orders:1 qty 3 note hello price 2"), "(integer) 3");
  pb::TableRecord table = schemas.table(7);
  // note becomes remark, price goes, and comes again as another column; extra has a default.
  pb::TableShape& next = *table.mutable_next();
  next = table.shape();
  next.set_version(2);
  next.mutable_columns(3)->set_name("remark");
  next.mutable_columns(1)->set_id(8);
  auto& extra = *next.add_columns();
  extra.set_id(9);
  extra.set_name("extra");
  extra.set_type(pb::COLUMN_INT64);
  extra.set_default_value("5");
  table.set_state(pb::TABLE_ALTERING);
  schemas.Put(table);
  // The shape in force is shown; names of the next one are understood.
  EXPECT_EQ(Ask("HGETALL orders:1"), R"({"qty": "3", "price": "2", "note": "hello", "state": "new"})");
  EXPECT_EQ(Ask("HGET orders:1 remark"), "\"hello\"");
  EXPECT_EQ(Ask("HGET orders:1 extra"), "\"5\"");
  EXPECT_EQ(Ask("HSET orders:2 qty 1 extra 6"), "(integer) 2");
  const Step older = Plan(Words("HSET orders:1 note late"));
  *table.mutable_shape() = table.next();
  table.clear_next();
  table.set_state(pb::TABLE_PUBLIC);
  schemas.Put(table);
  EXPECT_EQ(Ask("HGETALL orders:1"), R"({"qty": "3", "remark": "hello", "state": "new", "extra": "5"})");
  EXPECT_EQ(Ask("HGETALL orders:2"), R"({"qty": "1", "state": "new", "extra": "6"})");
  EXPECT_EQ(Ask("HGET orders:1 note"), "(error) ERR table 'orders' has no column 'note'");
  EXPECT_EQ(Ask("HINCRBY orders:1 extra 1"), "(integer) 6");
  // From the seal on what was checked against the old shape is refused, in a transaction all of it.
  Tell({.table = 7, .version = 2});
  const MapView before = region.state;
  WriteCommand late{.now = region.now, .kind = WriteCommand::Kind::kRows};
  late.steps = {older};
  const std::string refusal =
      "(error) TRYAGAIN The table was changed: the write was checked against version 1 of its schema, it has "
      "2";
  EXPECT_EQ(Show(region.store.Apply(late, LogIndex(100), region.state)), refusal);
  late.kind = WriteCommand::Kind::kRowTransaction;
  late.steps = {Arguments{"SET", "plain", "x"}, older};
  EXPECT_EQ(Show(region.store.Apply(late, LogIndex(101), region.state)), refusal);
  EXPECT_EQ(region.state.map(), before.map());
  EXPECT_EQ(Ask("HSET orders:1 remark now"), "(integer) 0");
}

TEST_F(RowsTest, ARenamedTableKeepsItsRowsWhereTheyAre) {
  EXPECT_EQ(Ask("HSET orders:1 qty 3"), "(integer) 1");
  pb::TableRecord table = schemas.table(7);
  schemas.Erase("orders");
  table.mutable_shape()->set_name("sales");
  table.mutable_shape()->set_version(2);
  schemas.Put(table);
  EXPECT_EQ(Ask("HGET sales:1 qty"), "\"3\"");
  EXPECT_EQ(Place("sales:1").slot, SlotOfKey("orders:1"));
  EXPECT_EQ(Place("sales:{x}1").slot, SlotOfKey("{x}"));
  EXPECT_THAT(ScanAll(10), ElementsAre("sales:1"));
  EXPECT_EQ(Ask("SET orders:1 plain"), "OK");
  EXPECT_EQ(Ask("HGET sales:1 qty"), "\"3\"");
  EXPECT_THAT(ScanAll(1), UnorderedElementsAre("sales:1", "orders:1"));
}

TEST_F(RowsTest, ATableOfTheSameNameSeesNothingOfTheOldOne) {
  EXPECT_EQ(Ask("HSET orders:1 qty 3"), "(integer) 1");
  EXPECT_EQ(Ask("HSET orders:2 qty 3"), "(integer) 1");
  schemas.Put(TableOf(8, "orders", kColumns));
  EXPECT_EQ(Ask("HGETALL orders:1"), "{}");
  EXPECT_EQ(Ask("HSET orders:1 qty 5"), "(integer) 1");
  EXPECT_EQ(Ask("HGET orders:1 qty"), "\"5\"");
  // What is dropped late takes nothing of the new one along.
  Tell({.table = 7, .drop = true});
  EXPECT_EQ(Ask("HGET orders:1 qty"), "\"5\"");
  EXPECT_EQ(RowCount(7, region.state), 0u);
  EXPECT_EQ(RowCount(8, region.state), 1u);
  EXPECT_EQ(StoredRows(region.state), (std::map<uint64_t, uint64_t>{{8, 1}}));
  EXPECT_THAT(ScanAll(10), ElementsAre("orders:1"));
}

TEST_F(RowsTest, ADroppedTableLeavesNothingBehind) {
  schemas.table(7).mutable_shape()->set_ttl_ms(1000);
  schemas.Put(schemas.table(7));
  for (int i = 0; i < 20; ++i) Ask(fmt::format("HSET orders:{} qty {}", i, i));
  const Step late = Plan(Words("HSET orders:99 qty 1"));
  schemas.table(7).set_state(pb::TABLE_PRE_DELETE);
  schemas.Put(schemas.table(7));
  EXPECT_EQ(Ask("HGET orders:1 qty"), "(error) ERR table 'orders' is being dropped");
  EXPECT_EQ(Ask("HSET orders:1 qty 1"), "(error) ERR table 'orders' is being dropped");
  EXPECT_THAT(ScanAll(10), IsEmpty());
  EXPECT_EQ(region.store.KeyCount(region.state, &schemas), 0u);
  for (int i = 0; i < 2; ++i) {
    Tell({.table = 7, .drop = true});
    for (const auto& [key, value] : region.state.map())
      EXPECT_TRUE(key[0] == 's' || key == "m") << Quoted(key);
  }
  WriteCommand command{.now = region.now, .kind = WriteCommand::Kind::kRows};
  command.steps = {late};
  EXPECT_EQ(Show(region.store.Apply(command, LogIndex(100), region.state)),
            "(error) ERR The table has been dropped");
  EXPECT_EQ(RowCount(7, region.state), 0u);
}

TEST_F(RowsTest, ATableThatIsBeingCreatedIsToBeTriedAgain) {
  schemas.table(7).set_state(pb::TABLE_CREATING);
  schemas.Put(schemas.table(7));
  EXPECT_EQ(Ask("HSET orders:1 qty 1"), "(error) TRYAGAIN table 'orders' is being created");
}

TEST_F(RowsTest, RowsExpireByTheTtlThatTheyWereWrittenWith) {
  schemas.table(7).mutable_shape()->set_ttl_ms(1000);
  schemas.Put(schemas.table(7));
  Script(R"(
    > HSET orders:1 qty 1
    (integer) 1
    > HSET orders:2 qty 2 note x
    (integer) 2
    > PTTL orders:1
    (integer) 1000
    + 600
    > HINCRBY orders:1 qty 1
    (integer) 2
    > TTL orders:1
    (integer) 1
    > PEXPIRETIME orders:1
    (integer) 1001600
    > PTTL orders:2
    (integer) 400
    + 401
    > HGETALL orders:2
    {}
    > TYPE orders:2
    none
    > EXISTS orders:1
    (integer) 1)");
  EXPECT_TRUE(region.store.HasExpired(region.now, region.state));
  EXPECT_THAT(ScanAll(10), ElementsAre("orders:1"));
  EXPECT_THAT(region.store.KeysInSlot(SlotOfKey("orders:2"), 10, region.now, region.state, &schemas),
              IsEmpty());
  // An expired row is an absent one: a part of it does not come back, and a refusal leaves it as it is.
  const MapView before = region.state;
  EXPECT_EQ(Ask("HSET orders:2 note y"),
            "(error) ERR table 'orders': column 'qty' is missing: it is not nullable and has no default");
  EXPECT_EQ(Ask("DEL orders:2"), "(integer) 0");
  EXPECT_EQ(RowCount(7, region.state), 1u) << "it is gone nevertheless";
  Ask("HSET orders:2 qty 2");
  // The ttl of the table is lifted: what was written before keeps its time, until it is written again.
  schemas.table(7).mutable_shape()->set_ttl_ms(0);
  schemas.Put(schemas.table(7));
  Ask("HSET orders:1 qty 9");
  EXPECT_EQ(Ask("TTL orders:1"), "(integer) -1");
  EXPECT_EQ(Ask("PTTL orders:2"), "(integer) 1000");
  region.now += std::chrono::milliseconds(1001);
  EXPECT_EQ(Ask("SET plain x PX 1"), "OK");
  region.now += std::chrono::milliseconds(2);
  EXPECT_EQ(Sweep(1), 1);
  EXPECT_EQ(Sweep(10), 1);
  EXPECT_EQ(Sweep(10), 0);
  EXPECT_FALSE(region.store.HasExpired(region.now, region.state));
  EXPECT_THAT(ScanAll(10), ElementsAre("orders:1"));
  EXPECT_EQ(RowCount(7, region.state), 1u);
}

TEST_F(RowsTest, TimeDoesNotGoBackForRows) {
  schemas.table(7).mutable_shape()->set_ttl_ms(1000);
  schemas.Put(schemas.table(7));
  Ask("HSET orders:1 qty 1");
  region.now += std::chrono::milliseconds(1001);
  EXPECT_EQ(Ask("HSET orders:1 note x").substr(0, 11), "(error) ERR");
  region.now -= std::chrono::milliseconds(500);  // another leader's clock
  EXPECT_EQ(Ask("EXISTS orders:1"), "(integer) 0");
}

TEST_F(RowsTest, TransactionsHaveRowsAndPlainKeysAndWatches) {
  EXPECT_EQ(Ask("HSET orders:{a} qty 1"), "(integer) 1");
  RowCommand version{.operation = RowOperation::kVersion, .columns = std::make_shared<RowColumns>()};
  version.keys = {Place("orders:{a}")};
  const auto watch = [&] {
    const auto now = static_cast<uint64_t>(region.store.Read(version, region.now, region.state).integer);
    return WatchedKey{.key = "{a}", .version = now, .table = 7, .slot = version.keys[0].slot};
  };
  const WatchedKey seen = watch();
  EXPECT_EQ(seen.version, 1u);
  EXPECT_EQ(
      Show(Transaction({"HINCRBY orders:{a} qty 2", "SET p{a} x", "HGETALL orders:{a}", "GET p{a}"}, {seen})),
      R"([(integer) 3, OK, {"qty": "3", "state": "new"}, "x"])");
  const MapView before = region.state;
  EXPECT_EQ(Show(Transaction({"HINCRBY orders:{a} qty 2"}, {seen})), "(nil)");
  EXPECT_EQ(region.state.map(), before.map());
  EXPECT_EQ(Show(Transaction({"DEL orders:{a}", "EXISTS orders:{a}"}, {watch()})),
            "[(integer) 1, (integer) 0]");
  EXPECT_EQ(watch().version, 0u);
}

TEST_F(RowsTest, ScansShowEveryKeyOnceInSteps) {
  schemas.Put(TableOf(3, "people", "name:text:null"));
  std::vector<std::string> expected;
  for (int i = 0; i < 60; ++i) {
    for (const std::string& line : {fmt::format("SET k{} x", i), fmt::format("HSET orders:{} qty 1", i),
                                    fmt::format("HSET people:{{{}}} name x", i)}) {
      Ask(line);
      expected.push_back(Words(line)[1]);
    }
  }
  // A plain key that nobody can reach.
  region.store.Apply({.now = region.now, .commands = {{"SET", "orders:999", "x"}}}, LogIndex(999),
                     region.state);
  for (const size_t count : {1u, 2u, 7u, 1000u}) {
    EXPECT_THAT(ScanAll(count), ::testing::UnorderedElementsAreArray(expected)) << count;
  }
  EXPECT_EQ(ScanAll(7, "hash").size(), 120u);
  EXPECT_EQ(ScanAll(7, "string").size(), 60u);
  uint64_t in_slots = 0;
  for (uint32_t slot = 0; slot < 16384; ++slot) {
    const auto number = static_cast<uint16_t>(slot);
    const uint64_t count = region.store.CountKeysInSlot(number, region.now, region.state, &schemas);
    EXPECT_EQ(region.store.KeysInSlot(number, 1000, region.now, region.state, &schemas).size(), count);
    in_slots += count;
  }
  EXPECT_EQ(in_slots, 180u);
  const uint16_t slot = SlotOfKey("orders:1");
  EXPECT_THAT(region.store.KeysInSlot(slot, 1, region.now, region.state, &schemas), ElementsAre("orders:1"));
  // Without schemas there are plain keys only, as ever.
  EXPECT_EQ(region.store.KeyCount(region.state), 61u);
}

TEST_F(RowsTest, RowsMoveWithTheirSlots) {
  schemas.table(7).mutable_shape()->set_ttl_ms(60'000);
  schemas.Put(schemas.table(7));
  schemas.Put(TableOf(8, "gone", "a:int64"));
  for (int i = 0; i < 40; ++i) {
    Ask(fmt::format("HSET orders:{} qty {}", i, i));
    Ask(fmt::format("HSET gone:{} a 1", i));
    Ask(fmt::format("SET plain{} x", i));
  }
  constexpr SlotRange kUpper{8192, 16383};
  constexpr SlotRange kLower{0, 8191};
  using Op = RangeCommand::Op;
  struct Side {
    RegionStore store;
    MapView state;
    LogIndex index{1000};
    WallTime now;
    Reply Change(RangeCommand range) {
      range.procedure = 5;
      range.epoch = 1;
      WriteCommand command{.now = now, .kind = WriteCommand::Kind::kRange, .range = std::move(range)};
      index = index.Next();
      return store.Apply(command, index, state);
    }
  };
  Side from{.store = RegionStore(SlotRange{0, 16383}), .state = region.state, .now = region.now};
  Side to{.store = RegionStore(std::nullopt), .now = region.now};
  // The taking side has heard of a drop that the copy has not seen.
  to.store.Apply({.kind = WriteCommand::Kind::kSchema, .schema = SchemaCommand{.table = 8, .drop = true}},
                 LogIndex(1), to.state);
  ASSERT_FALSE(from.Change({.op = Op::kFreeze, .slots = kUpper}).IsError());
  WriteCommand frozen{.now = region.now, .kind = WriteCommand::Kind::kRows};
  std::string upper;
  for (int i = 0; upper.empty(); ++i) {
    if (kUpper.Contains(SlotOfKey(fmt::format("orders:{}", i)))) upper = fmt::format("orders:{}", i);
  }
  frozen.steps = {Plan({"HSET", upper, "qty", "5"})};
  EXPECT_EQ(Show(from.store.Apply(frozen, LogIndex(2000), from.state)),
            "(error) TRYAGAIN The slot is moving to another region");
  ASSERT_FALSE(to.Change({.op = Op::kImport, .slots = kUpper}).IsError());
  const uint64_t copy = to.store.range().incoming->copy;
  RegionExport source(from.state, kUpper);
  for (uint64_t chunk = 0;; ++chunk) {
    auto pairs = source.Next(100);
    if (pairs.empty()) break;
    ASSERT_FALSE(to.Change({.op = Op::kChunk, .if_version = copy, .chunk = chunk, .pairs = std::move(pairs)})
                     .IsError());
  }
  CheckInvariants(to.state);
  EXPECT_EQ(to.store.KeyCount(to.state, &schemas), 0u) << "nothing is served yet";
  const Reply complete = to.Change({.op = Op::kComplete,
                                    .if_version = copy,
                                    .keys = source.keys(),
                                    .pair_count = source.pairs(),
                                    .hash = source.hash(),
                                    .version_base = 5000,
                                    .newest_ms = 0});
  ASSERT_FALSE(complete.IsError()) << complete.text;
  ASSERT_FALSE(
      from.Change({.op = Op::kRelease, .if_version = from.store.range().version, .keys = source.keys()})
          .IsError());
  ASSERT_FALSE(to.Change({.op = Op::kOpen, .if_version = to.store.range().version}).IsError());
  while (from.Change({.op = Op::kClear, .if_version = from.store.range().version, .limit = 7}).integer > 0) {
    CheckInvariants(from.state);
  }
  ASSERT_FALSE(from.Change({.op = Op::kEnd, .if_version = from.store.range().version}).IsError());
  CheckInvariants(from.state);
  CheckInvariants(to.state);
  // Each row is where its slot is, with what it had, and only there.
  for (int i = 0; i < 40; ++i) {
    const std::string key = fmt::format("orders:{}", i);
    const auto get = std::get<RowCommand>(Plan({"HGET", key, "qty"}));
    const auto ttl = std::get<RowCommand>(Plan({"PTTL", key}));
    Side& here = kLower.Contains(SlotOfKey(key)) ? from : to;
    Side& elsewhere = &here == &from ? to : from;
    EXPECT_EQ(Show(here.store.Read(get, region.now, here.state)), fmt::format("\"{}\"", i));
    EXPECT_EQ(Show(here.store.Read(ttl, region.now, here.state)), "(integer) 60000");
    EXPECT_EQ(Show(elsewhere.store.Read(get, region.now, elsewhere.state)),
              "(error) TRYAGAIN The region does not hold this slot any more");
  }
  EXPECT_EQ(RowCount(7, from.state) + RowCount(7, to.state), 40u);
  EXPECT_EQ(RowCount(8, to.state), 0u) << "S6";
  EXPECT_EQ(from.store.KeyCount(from.state) + to.store.KeyCount(to.state), 40u);
  // Writes go on where the row is, with versions that were not given before.
  frozen.steps = {Plan({"HINCRBY", upper, "qty", "1"})};
  EXPECT_FALSE(to.store.Apply(frozen, to.index.Next(), to.state).IsError());
  auto version = std::get<RowCommand>(Plan({"TYPE", upper}));
  version.operation = RowOperation::kVersion;
  EXPECT_GT(to.store.Read(version, region.now, to.state).integer, 5000);
}

std::string Hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{}{:02x}", out.empty() ? "" : " ", static_cast<uint8_t>(c));
  return out;
}

TEST(RowFormat, Golden) {
  EXPECT_EQ(Hex(RowStateKey(7, 0x1234, "ab")), "74 00 00 00 00 00 00 00 07 12 34 61 62");
  EXPECT_EQ(Hex(RowCountKey(7)), "63 00 00 00 00 00 00 00 07");
  EXPECT_EQ(Hex(RowExpiryKey(7, 256, 0x1234, "ab")),
            "78 00 00 00 00 00 00 00 07 00 00 00 00 00 00 01 00 12 34 61 62");
  Row row{.exists = true, .stored = true, .version = 300, .values = {{1, "3"}, {4, "hi"}}};
  EXPECT_EQ(Hex(EncodeRow(row)), "01 ac 02 02 01 01 33 04 02 68 69");
  EXPECT_EQ(DecodeRow(EncodeRow(row)), row);
  row.expiry_ms = 5;
  EXPECT_EQ(Hex(EncodeRow(row)), "81 ac 02 05 02 01 01 33 04 02 68 69");
  EXPECT_EQ(DecodeRow(EncodeRow(row)), row);
  EXPECT_EQ(ExpiryOfRow(EncodeRow(row)), 5);

  RowRegion region;
  region.schemas.Put(TableOf(7, "t", "a:int64=4 b:text:null"));
  WriteCommand command{.now = WallFromMillis(1000), .kind = WriteCommand::Kind::kRows, .max_value_bytes = 1};
  command.steps = {region.Plan(Words("HSET t:k b x"))};
  std::string encoded;
  EncodeWriteCommand(command, encoded);
  const uint16_t slot = SlotOfKey("t:k");
  EXPECT_EQ(Hex(encoded),
            fmt::format("06 e8 07 01 01 01 07 01 {:02x} {:02x} 01 6b 01 74 00 01 02 01 62 00 01 01 78 00",
                        slot >> 8, slot & 255));
  command.kind = WriteCommand::Kind::kRowTransaction;
  command.steps = {Arguments{"GET", "p"}, region.Plan(Words("HGET t:k a")), Reply::Error("ERR x")};
  command.watches = {{.key = "k", .version = 9, .table = 7, .slot = 1}, {.key = "p", .version = 3}};
  for (const WriteCommand& whole : {command, WriteCommand{.now = command.now,
                                                          .kind = WriteCommand::Kind::kRows,
                                                          .steps = {region.Plan(Words("HGETALL t:k"))}}}) {
    encoded.clear();
    EncodeWriteCommand(whole, encoded);
    EXPECT_TRUE(DecodeWriteCommand(encoded).ok());
    for (size_t size = 0; size < encoded.size(); ++size)
      EXPECT_FALSE(DecodeWriteCommand(encoded.substr(0, size)).ok()) << size;
    EXPECT_FALSE(DecodeWriteCommand(encoded + "x").ok());
  }
}

}  // namespace
}  // namespace tenure::store
