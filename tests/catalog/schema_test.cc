#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "catalog/format.h"
#include "catalog/state_moves.h"
#include "schema/shape.h"
#include "tests/catalog/test_catalog.h"

namespace tenure::catalog {
namespace {

using ::testing::HasSubstr;
using Step = ipb::SchemaStep;

class SchemaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ipb::CatalogCommand initialize = TestCatalog::InitializeCommand();
    initialize.mutable_initialize_cluster()->mutable_cluster()->set_format_version(kNewestFormat);
    catalog.Apply(initialize);
    for (const char* name : {"app", "other"}) {
      catalog.Apply(TestCatalog::Register(name, fmt::format("{}:1", name)));
      const uint64_t id = catalog.Apply(TestCatalog::CreateDatabase(name, 1, {1})).object_id();
      catalog.Apply(TestCatalog::RegionTo(id, pb::REGION_CREATING, pb::REGION_SERVING));
      catalog.Apply(TestCatalog::DatabaseTo(id, pb::DATABASE_CREATING, pb::DATABASE_PUBLIC));
    }
  }

  static ipb::CatalogCommand Submit(const ipb::SchemaIntent& intent) {
    ipb::CatalogCommand command = TestCatalog::Command();
    auto& submit = *command.mutable_submit_procedure();
    submit.mutable_procedure()->set_type("T");
    pb::ProcedureLock& lock = *submit.mutable_procedure()->add_locks();
    lock.set_object(pb::LOCKED_TABLE);
    lock.set_id(intent.object());
    *submit.mutable_effect()->mutable_schema_intent() = intent;
    command.set_version(FormatOf(command));
    return command;
  }
  // As the leader does: what is invalid does not reach the log.
  ipb::CatalogResult Begin(const ipb::SchemaIntent& intent) {
    const ipb::CatalogCommand command = Submit(intent);
    if (const Status valid = Catalog::Validate(command, {}); !valid.ok()) {
      ipb::CatalogResult refused;
      refused.set_reason(pb::REASON_INVALID_ARGUMENT);
      refused.set_message(std::string(MessageOf(valid)));
      return refused;
    }
    return catalog.Apply(command);
  }
  static ipb::SchemaIntent Table(const std::string& name, uint64_t database = 1) {
    ipb::SchemaIntent intent;
    auto& create = *intent.mutable_create_table();
    create.set_database(database);
    create.set_name(name);
    for (const char* column : {"qty", "price"}) {
      pb::ColumnRecord& added = *create.add_columns();
      added.set_name(column);
      added.set_type(pb::COLUMN_INT64);
    }
    return intent;
  }
  static ipb::SchemaIntent View(const std::string& name, uint64_t table, const std::string& column = "qty") {
    ipb::SchemaIntent intent;
    intent.mutable_create_view()->set_database(1);
    intent.mutable_create_view()->set_name(name);
    intent.mutable_create_view()->set_table(table);
    intent.mutable_create_view()->add_columns()->set_column(column);
    return intent;
  }
  static ipb::SchemaIntent Rename(uint64_t object, const std::string& name) {
    ipb::SchemaIntent intent;
    intent.set_object(object);
    intent.set_rename(name);
    return intent;
  }
  static ipb::SchemaIntent Drop(uint64_t object) {
    ipb::SchemaIntent intent;
    intent.set_object(object);
    intent.set_drop(true);
    return intent;
  }
  static ipb::SchemaIntent Alter(uint64_t object) {
    ipb::SchemaIntent intent;
    intent.set_object(object);
    intent.mutable_alter_table();
    return intent;
  }
  ipb::CatalogResult Go(uint64_t object, Step::Op op) {
    ipb::CatalogCommand command = TestCatalog::Command();
    auto& submit = *command.mutable_submit_procedure();
    submit.mutable_procedure()->set_type("T");
    submit.mutable_effect()->mutable_schema_step()->set_object(object);
    submit.mutable_effect()->mutable_schema_step()->set_op(op);
    command.set_version(FormatOf(command));
    return catalog.Apply(command);
  }
  uint64_t MakeTable(const std::string& name) {
    const uint64_t id = Begin(Table(name)).object_id();
    EXPECT_EQ(Go(id, Step::PUBLISH).reason(), pb::REASON_UNSPECIFIED);
    return id;
  }
  const pb::TableRecord& TableOf(uint64_t id) { return catalog.catalog().tables().at(id).table(); }
  // Refused, and nothing is different.
  void ExpectRefused(const ipb::SchemaIntent& intent, pb::Reason reason, const std::string& message) {
    const std::string before = catalog.Dump();
    const auto result = Begin(intent);
    EXPECT_EQ(result.reason(), reason) << result.message();
    EXPECT_THAT(result.message(), HasSubstr(message));
    EXPECT_EQ(catalog.Dump(), before);
  }

  TestCatalog catalog;
};

TEST_F(SchemaTest, ATableIsCreatedAlteredRenamedAndDropped) {
  const uint64_t id = Begin(Table("orders")).object_id();
  EXPECT_EQ(TableOf(id).state(), pb::TABLE_CREATING);
  EXPECT_EQ(catalog.catalog().procedures().begin()->second.procedure().locks(0).id(), id);
  Go(id, Step::PUBLISH);
  EXPECT_EQ(TableOf(id).state(), pb::TABLE_PUBLIC);
  EXPECT_EQ(TableOf(id).key_type(), pb::COLUMN_BYTES);
  EXPECT_EQ(TableOf(id).shape().columns(1).id(), 2u);

  ipb::SchemaIntent alter = Alter(id);
  alter.mutable_alter_table()->add_drop_columns("qty");
  alter.mutable_alter_table()->set_ttl_ms(1000);
  Begin(alter);
  EXPECT_EQ(TableOf(id).state(), pb::TABLE_ALTERING);
  EXPECT_EQ(TableOf(id).shape().columns_size(), 2);
  EXPECT_EQ(TableOf(id).next().columns_size(), 1);
  EXPECT_EQ(TableOf(id).next().version(), 2u);
  Go(id, Step::PUBLISH);
  EXPECT_EQ(TableOf(id).shape().version(), 2u);
  EXPECT_EQ(TableOf(id).shape().ttl_ms(), 1000);
  EXPECT_FALSE(TableOf(id).has_next());

  Begin(Rename(id, "sales"));
  EXPECT_NE(catalog.catalog().FindTableOrView(1, "orders"), nullptr) << "both names are taken";
  EXPECT_NE(catalog.catalog().FindTableOrView(1, "sales"), nullptr);
  Go(id, Step::PUBLISH);
  EXPECT_EQ(catalog.catalog().FindTableOrView(1, "orders"), nullptr);
  EXPECT_EQ(TableOf(id).shape().name(), "sales");
  EXPECT_EQ(TableOf(id).slot_name(), "orders");

  Begin(Drop(id));
  EXPECT_EQ(TableOf(id).state(), pb::TABLE_PRE_DELETE);
  EXPECT_EQ(Go(id, Step::ERASE).reason(), pb::REASON_CONDITION_FAILED) << "its data have not been deleted";
  EXPECT_EQ(Go(id, Step::DELETE_DATA).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_EQ(Go(id, Step::ROLL_BACK).reason(), pb::REASON_CONDITION_FAILED) << "there is no way back";
  EXPECT_EQ(Go(id, Step::ERASE).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_TRUE(catalog.catalog().tables().empty());
  EXPECT_EQ(catalog.catalog().FindTableOrView(1, "sales"), nullptr);
  EXPECT_EQ(Go(id, Step::ERASE).reason(), pb::REASON_NOT_FOUND);
  EXPECT_GT(Begin(Table("orders")).object_id(), id) << "ids are not given again";
}

ipb::CatalogCommand RecoverCluster() {
  ipb::CatalogCommand command = TestCatalog::Command();
  auto& recover = *command.mutable_recover_cluster();
  recover.set_cluster_id("cluster");
  recover.set_voter(1);
  recover.mutable_recovery()->set_incarnation(2);
  recover.mutable_recovery()->set_left_out(100'000);
  return command;
}

// Regions may know a version, and rows have columns, of the part of the log that is lost.
TEST_F(SchemaTest, AfterARecoveryVersionsAndColumnsAreOnesThatWereNeverGiven) {
  const uint64_t still = MakeTable("still");
  const uint64_t altering = MakeTable("altering");
  const uint64_t unsealed = MakeTable("unsealed");
  const uint64_t view = Begin(View("shown", still)).object_id();
  for (const uint64_t id : {altering, unsealed}) {
    ipb::SchemaIntent alter = Alter(id);
    alter.mutable_alter_table()->set_ttl_ms(1000);
    Begin(alter);
  }
  Go(unsealed, Step::PUBLISH);
  const uint64_t next_replica = catalog.catalog().regions().at(1).region().next_replica();
  catalog.Apply(RecoverCluster());

  EXPECT_EQ(TableOf(still).shape().version(), 1002u);
  EXPECT_EQ(TableOf(altering).shape().version(), 1003u);
  EXPECT_EQ(TableOf(altering).next().version(), 1004u);
  EXPECT_EQ(TableOf(altering).next_version(), 1005u);
  EXPECT_EQ(TableOf(still).next_column(), 1003u);
  EXPECT_EQ(catalog.catalog().views().at(view).view().shape().version(), 1002u);
  EXPECT_GT(Begin(Table("new")).object_id(), 100'000u);
  EXPECT_GT(catalog.catalog().regions().at(1).region().next_replica(), next_replica + 99'999);

  // Changefeeds find every version, and know when each began.
  ASSERT_EQ(TableOf(still).history_size(), 2);
  EXPECT_EQ(TableOf(still).history(1).shape().version(), 1002u);
  ASSERT_EQ(TableOf(unsealed).history_size(), 3);
  uint64_t since = 0;
  for (int i = 1; i < 3; ++i) {
    EXPECT_GT(TableOf(unsealed).history(i).since_ts(), since);
    since = TableOf(unsealed).history(i).since_ts();
  }
  // The change that was under way goes on.
  EXPECT_EQ(Go(altering, Step::PUBLISH).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_EQ(TableOf(altering).history(2).shape().version(), 1004u);
  EXPECT_EQ(Go(altering, Step::SEAL).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_GT(TableOf(altering).history(2).since_ts(), TableOf(altering).history(1).since_ts());
}

TEST_F(SchemaTest, EveryChangeCanBeRolledBackToWhatWas) {
  const uint64_t created = Begin(Table("gone")).object_id();
  EXPECT_EQ(Go(created, Step::ROLL_BACK).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_EQ(catalog.catalog().FindTableOrView(1, "gone"), nullptr);
  const uint64_t id = MakeTable("orders");
  EXPECT_GT(id, created);
  const pb::TableShape before = TableOf(id).shape();
  ipb::SchemaIntent alter = Alter(id);
  alter.mutable_alter_table()->add_drop_columns("qty");
  uint64_t version = 1;
  for (const ipb::SchemaIntent& intent : {alter, Rename(id, "sales"), Drop(id)}) {
    ASSERT_EQ(Begin(intent).reason(), pb::REASON_UNSPECIFIED);
    if (TableOf(id).has_next()) {
      EXPECT_GT(TableOf(id).next().version(), version) << "versions are not given again";
      version = TableOf(id).next().version();
    }
    ASSERT_EQ(Go(id, Step::ROLL_BACK).reason(), pb::REASON_UNSPECIFIED);
    EXPECT_EQ(TableOf(id).state(), pb::TABLE_PUBLIC);
    EXPECT_EQ(TableOf(id).shape().SerializeAsString(), before.SerializeAsString());
    EXPECT_FALSE(TableOf(id).has_next());
    EXPECT_EQ(catalog.catalog().FindTableOrView(1, "sales"), nullptr);
  }
}

TEST_F(SchemaTest, AViewShowsColumnsOfATableAndHoldsThem) {
  const uint64_t table = MakeTable("orders");
  const uint64_t view = Begin(View("short", table)).object_id();
  EXPECT_GT(view, table) << "one sequence of ids";
  Go(view, Step::PUBLISH);
  EXPECT_EQ(catalog.catalog().views().at(view).view().shape().columns(0).column(), 1u);
  ExpectRefused(Drop(table), pb::REASON_CONDITION_FAILED, "is shown by view 2 ('short'): drop that first");
  ipb::SchemaIntent alter = Alter(table);
  alter.mutable_alter_table()->add_drop_columns("qty");
  ExpectRefused(alter, pb::REASON_CONDITION_FAILED, "column 'qty' of table 1 ('orders') is shown by view 2");
  ipb::SchemaIntent change;
  change.set_object(view);
  change.mutable_alter_view()->add_columns()->set_column("price");
  EXPECT_EQ(Begin(change).reason(), pb::REASON_UNSPECIFIED);
  ExpectRefused(alter, pb::REASON_CONDITION_FAILED, "is shown by view 2");
  Go(view, Step::PUBLISH);
  EXPECT_EQ(Begin(alter).reason(), pb::REASON_UNSPECIFIED) << "it shows another column now";
  ExpectRefused(change, pb::REASON_CONDITION_FAILED, "table 1 ('orders') is ALTERING");
  Go(table, Step::PUBLISH);
  Begin(Drop(view));
  EXPECT_EQ(Go(view, Step::DELETE_DATA).reason(), pb::REASON_CONDITION_FAILED) << "a view has none";
  EXPECT_EQ(Go(view, Step::ERASE).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_EQ(Begin(Drop(table)).reason(), pb::REASON_UNSPECIFIED);
}

TEST_F(SchemaTest, BadInputIsRefusedAndChangesNothing) {
  const uint64_t id = MakeTable("orders");
  const uint64_t view = Begin(View("short", id)).object_id();
  Go(view, Step::PUBLISH);
  const uint64_t busy = Begin(Table("busy")).object_id();
  ExpectRefused(Table("orders"), pb::REASON_ALREADY_EXISTS,
                "database 1 has a table 'orders' already (id 1, PUBLIC)");
  ExpectRefused(Table("busy"), pb::REASON_ALREADY_EXISTS, "CREATING) (procedure");
  ExpectRefused(View("orders", id), pb::REASON_ALREADY_EXISTS, "a table 'orders'");
  ExpectRefused(Rename(id, "short"), pb::REASON_ALREADY_EXISTS, "a view 'short'");
  ExpectRefused(Rename(id, "orders"), pb::REASON_ALREADY_EXISTS, "'orders'");
  ExpectRefused(Rename(id, "a:b"), pb::REASON_INVALID_ARGUMENT, "to: 'a:b' must not contain ':'");
  ExpectRefused(Rename(99, "x"), pb::REASON_NOT_FOUND, "table or view 99 does not exist");
  ExpectRefused(Table("a\tb"), pb::REASON_INVALID_ARGUMENT, "control characters");
  ExpectRefused(Table(""), pb::REASON_INVALID_ARGUMENT, "name: must not be empty");
  ExpectRefused(Table("x", 99), pb::REASON_NOT_FOUND, "database 99 does not exist");
  ExpectRefused(View("v", 99), pb::REASON_NOT_FOUND, "table 99 does not exist");
  ExpectRefused(View("v", view), pb::REASON_NOT_FOUND, "table 2 does not exist");
  ExpectRefused(View("v", id, "nothing"), pb::REASON_NOT_FOUND, "has no column 'nothing'");
  ExpectRefused(View("v", busy), pb::REASON_CONDITION_FAILED, "('busy') is CREATING (procedure");
  ExpectRefused(Drop(busy), pb::REASON_CONDITION_FAILED, "is CREATING (procedure");
  ExpectRefused(Alter(id), pb::REASON_INVALID_ARGUMENT, "changes nothing");
  ipb::SchemaIntent alter = Alter(view);
  alter.mutable_alter_table()->set_ttl_ms(5);
  ExpectRefused(alter, pb::REASON_INVALID_ARGUMENT, "view 2 ('short') cannot be altered like this");
  alter.set_object(id);
  alter.mutable_alter_table()->set_ttl_ms(INT64_MAX);
  ExpectRefused(alter, pb::REASON_INVALID_ARGUMENT, "ttl_ms: 9223372036854775807 is not in 0..");
  ipb::SchemaIntent create = Table("x");
  create.mutable_create_table()->clear_columns();
  ExpectRefused(create, pb::REASON_INVALID_ARGUMENT, "at least one is needed");
  ExpectRefused(ipb::SchemaIntent(), pb::REASON_INVALID_ARGUMENT, "says nothing");
  create = View("v", id);
  create.mutable_create_view()->set_database(2);
  ExpectRefused(create, pb::REASON_INVALID_ARGUMENT, "is of database 1, not of 2");
  catalog.Apply(TestCatalog::DatabaseTo(2, pb::DATABASE_PUBLIC, pb::DATABASE_PRE_DELETE));
  ExpectRefused(Table("x", 2), pb::REASON_CONDITION_FAILED,
                "database 2 ('other') is PRE_DELETE, expected PUBLIC");
}

// Every state with every step, and what comes of it; "-": refused, "gone": the record is erased.
TEST_F(SchemaTest, StepsFitTheStatesThatTheyAreFor) {
  const std::map<std::string, std::vector<std::string>> expected = {
      // PUBLISH, ROLL_BACK, DELETE_DATA, ERASE, SEAL
      {"CREATING", {"PUBLIC", "gone", "-", "-", "-"}},
      {"PUBLIC", {"-", "-", "-", "-", "PUBLIC"}},
      {"ALTERING", {"PUBLIC", "PUBLIC", "-", "-", "-"}},
      {"PRE_DELETE", {"-", "PUBLIC", "PRE_DELETE", "-", "-"}},
      {"deleting", {"-", "-", "PRE_DELETE", "gone", "-"}},
  };
  for (const auto& [state, outcomes] : expected) {
    for (int op = Step::PUBLISH; op <= Step::SEAL; ++op) {
      const std::string name = fmt::format("{}-{}", state, op);
      const uint64_t id = state == "CREATING" ? Begin(Table(name)).object_id() : MakeTable(name);
      if (state == "ALTERING") Begin(Rename(id, name + "x"));
      if (state == "PRE_DELETE" || state == "deleting") Begin(Drop(id));
      if (state == "deleting") Go(id, Step::DELETE_DATA);
      const auto result = Go(id, static_cast<Step::Op>(op));
      const auto& tables = catalog.catalog().tables();
      std::string outcome = "gone";
      if (tables.contains(id)) outcome = NameOf(tables.at(id).table().state());
      if (result.reason() != pb::REASON_UNSPECIFIED) outcome = "-";
      EXPECT_EQ(outcome, outcomes[static_cast<size_t>(op - 1)]) << name;
    }
  }
}

TEST_F(SchemaTest, TablesGoWithTheirDatabase) {
  const uint64_t table = MakeTable("orders");
  Begin(View("short", table));
  Begin(Table("busy"));
  const uint64_t other = Begin(Table("orders", 2)).object_id();
  catalog.Apply(TestCatalog::DatabaseTo(1, pb::DATABASE_PUBLIC, pb::DATABASE_PRE_DELETE));
  EXPECT_EQ(catalog.catalog().tables().size(), 3u);
  ipb::CatalogCommand remove = TestCatalog::Command();
  remove.mutable_remove_region()->set_region(1);
  catalog.Apply(remove);
  remove.mutable_remove_database()->set_database(1);
  EXPECT_EQ(catalog.Apply(remove).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_TRUE(catalog.catalog().views().empty());
  ASSERT_EQ(catalog.catalog().tables().size(), 1u);
  EXPECT_EQ(catalog.catalog().tables().begin()->first, other);
}

TEST_F(SchemaTest, ARestartFindsTheSame) {
  const uint64_t table = MakeTable("orders");
  Begin(View("short", table));
  Begin(Rename(table, "sales"));
  catalog.Reopen();
  EXPECT_EQ(TableOf(table).next().name(), "sales");
  ExpectRefused(Table("sales"), pb::REASON_ALREADY_EXISTS, "ALTERING");
  ExpectRefused(Table("orders"), pb::REASON_ALREADY_EXISTS, "ALTERING");
  ExpectRefused(Table("short"), pb::REASON_ALREADY_EXISTS, "CREATING");
}

TEST_F(SchemaTest, ADatabaseHasALimitOfTables) {
  for (size_t i = 0; i < schema::kMaxTablesPerDatabase; ++i)
    ASSERT_EQ(Begin(Table(fmt::format("t{}", i))).reason(), pb::REASON_UNSPECIFIED);
  ExpectRefused(Table("one more"), pb::REASON_CONDITION_FAILED,
                "has 10000 tables and views, which is the limit");
  EXPECT_EQ(Begin(Table("t1", 2)).reason(), pb::REASON_UNSPECIFIED);
}

TEST(SchemaFormatTest, TablesNeedTheirFormat) {
  ipb::CatalogCommand command;
  command.mutable_submit_procedure();
  EXPECT_EQ(FormatOf(command), 3u);
  command.mutable_submit_procedure()->mutable_effect()->mutable_schema_intent()->set_drop(true);
  EXPECT_EQ(FormatOf(command), kFormatOfTables);
  command.mutable_advance_procedure();
  EXPECT_EQ(FormatOf(command), 3u);
  command.mutable_advance_procedure()->mutable_effect()->mutable_schema_step();
  EXPECT_EQ(FormatOf(command), kFormatOfTables);

  TestCatalog old;
  ipb::CatalogCommand initialize = TestCatalog::InitializeCommand();
  initialize.mutable_initialize_cluster()->mutable_cluster()->set_format_version(kFormatOfTables - 1);
  old.Apply(initialize);
  ipb::CatalogCommand submit = TestCatalog::Command();
  submit.mutable_submit_procedure()->mutable_effect()->mutable_schema_intent()->set_drop(true);
  submit.set_version(FormatOf(submit));
  const auto result = old.Apply(submit);
  EXPECT_EQ(result.reason(), pb::REASON_UNSUPPORTED_FORMAT);
  EXPECT_TRUE(old.catalog().procedures().empty());
}

}  // namespace
}  // namespace tenure::catalog
