#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "catalog/format.h"
#include "catalog/refusal.h"
#include "catalog/state_moves.h"
#include "changefeed/coordinator/lifecycle.h"
#include "tests/catalog/test_catalog.h"

namespace tenure::catalog {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kFeed = 1;

class ChangefeedsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ipb::CatalogCommand initialize = TestCatalog::InitializeCommand();
    initialize.mutable_initialize_cluster()->mutable_cluster()->set_format_version(kFormatOfChangefeeds);
    catalog.Apply(initialize);
    catalog.Apply(TestCatalog::Register("n1", "10.0.1.1:7100"));
    catalog.Apply(TestCatalog::CreateDatabase("shop", 1, {1}));
    catalog.Apply(TestCatalog::RegionTo(1, pb::REGION_CREATING, pb::REGION_SERVING));
    catalog.Apply(TestCatalog::DatabaseTo(1, pb::DATABASE_CREATING, pb::DATABASE_PUBLIC));
  }
  static ipb::CatalogCommand Command() {
    ipb::CatalogCommand command = TestCatalog::Command();
    command.set_version(kFormatOfChangefeeds);
    return command;
  }
  static ipb::CatalogCommand CreateCommand(std::string name, uint64_t database = 1) {
    ipb::CatalogCommand command = Command();
    auto& feed = *command.mutable_create_changefeed()->mutable_changefeed();
    feed.set_name(std::move(name));
    feed.set_database(database);
    feed.set_filter("table:*");
    feed.set_sink("stdout:");
    feed.set_gc_ttl_ms(24 * 3600 * 1000);
    feed.set_stall_after_ms(60000);
    return command;
  }
  const pb::ChangefeedRecord& Feed() { return catalog.catalog().changefeeds().at(kFeed).changefeed(); }
  uint64_t Registration() { return catalog.catalog().nodes().at(1).node().registration_epoch(); }
  ipb::CatalogResult SetOwner(uint64_t if_epoch, bool owner = true, uint64_t at_least = 0,
                              uint64_t checkpoint = 0) {
    ipb::CatalogCommand command = Command();
    auto& set = *command.mutable_set_changefeed_owner();
    set.set_changefeed(kFeed);
    set.set_if_epoch(if_epoch);
    set.set_at_least(at_least);
    set.set_checkpoint_ts(checkpoint);
    if (owner) {
      set.set_node(1);
      set.set_incarnation(Registration());
    }
    return catalog.Apply(command);
  }
  static ipb::CatalogCommand ProgressCommand(uint64_t if_epoch, uint64_t checkpoint,
                                             pb::ChangefeedState state = pb::CHANGEFEED_STATE_UNSPECIFIED) {
    ipb::CatalogCommand command = Command();
    auto& progress = *command.mutable_progress_changefeed();
    progress.set_changefeed(kFeed);
    progress.set_if_epoch(if_epoch);
    progress.set_checkpoint_ts(checkpoint);
    progress.set_state(state);
    return command;
  }
  ipb::CatalogResult Progress(uint64_t if_epoch, uint64_t checkpoint,
                              pb::ChangefeedState state = pb::CHANGEFEED_STATE_UNSPECIFIED) {
    return catalog.Apply(ProgressCommand(if_epoch, checkpoint, state));
  }
  ipb::CatalogResult Begin(uint64_t start) {
    ipb::CatalogCommand command = ProgressCommand(Feed().owner_epoch(), 0);
    command.mutable_progress_changefeed()->set_start_ts(start);
    return catalog.Apply(command);
  }
  ipb::CatalogResult Ask(void (*what)(ipb::ChangeChangefeed&)) {
    ipb::CatalogCommand command = Command();
    command.mutable_change_changefeed()->set_changefeed(kFeed);
    what(*command.mutable_change_changefeed());
    return catalog.Apply(command);
  }
  ipb::CatalogResult Pause() {
    return Ask([](ipb::ChangeChangefeed& c) { c.set_pause(true); });
  }
  ipb::CatalogResult Resume() {
    return Ask([](ipb::ChangeChangefeed& c) { c.set_resume(true); });
  }
  ipb::CatalogResult Remove() {
    return Ask([](ipb::ChangeChangefeed& c) { c.set_remove(true); });
  }
  ipb::CatalogResult Drop(uint64_t if_epoch) {
    ipb::CatalogCommand command = Command();
    command.mutable_drop_changefeed()->set_changefeed(kFeed);
    command.mutable_drop_changefeed()->set_if_epoch(if_epoch);
    return catalog.Apply(command);
  }
  // Created, begun at 100, owned by node 1. Returns the epoch.
  uint64_t Started() {
    EXPECT_EQ(catalog.Apply(CreateCommand("feed")).object_id(), kFeed);
    EXPECT_TRUE(Begin(100).changed());
    const auto owned = SetOwner(Feed().owner_epoch());
    EXPECT_TRUE(owned.changed()) << owned.message();
    return owned.owner_epoch();
  }

  TestCatalog catalog;
};

TEST_F(ChangefeedsTest, IsCreatedOwnedAndSurvivesARestart) {
  const uint64_t epoch = Started();
  EXPECT_EQ(epoch, Feed().owner_epoch());
  EXPECT_EQ(Feed().owner_node(), 1u);
  EXPECT_EQ(Feed().checkpoint_ts(), 100u);
  EXPECT_EQ(Feed().state(), pb::CHANGEFEED_NORMAL);
  catalog.Reopen();
  ASSERT_NE(catalog.catalog().FindChangefeed("feed"), nullptr);
  EXPECT_EQ(Feed().owner_epoch(), epoch);
  EXPECT_THAT(catalog.Apply(CreateCommand("feed")).message(),
              HasSubstr("changefeed 'feed' exists already (id 1)"));
  EXPECT_EQ(catalog.Apply(CreateCommand("other")).object_id(), 2u);
}

TEST_F(ChangefeedsTest, IsRefusedForADatabaseThatIsNotThere) {
  EXPECT_EQ(catalog.Apply(CreateCommand("feed", 9)).reason(), pb::REASON_NOT_FOUND);
  catalog.Apply(TestCatalog::CreateDatabase("young", 1, {1}));
  EXPECT_THAT(catalog.Apply(CreateCommand("feed", 2)).message(),
              HasSubstr("database 'young' is CREATING, expected PUBLIC"));
}

TEST_F(ChangefeedsTest, ADatabaseThatIsFollowedIsNotDropped) {
  Started();
  const auto refused =
      catalog.Apply(TestCatalog::DatabaseTo(1, pb::DATABASE_PUBLIC, pb::DATABASE_PRE_DELETE));
  EXPECT_EQ(refused.reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(refused.message(), "database 'shop' is followed by changefeed 1 ('feed'): remove that first");
}

TEST_F(ChangefeedsTest, EpochsRiseAboveEverythingNamed) {
  const uint64_t first = Started();
  EXPECT_GE(first, catalog.applied().value()) << "the candidate is the revision";
  const auto second = SetOwner(first, /*owner=*/false, first + 1000);
  EXPECT_EQ(second.owner_epoch(), first + 1000);
  EXPECT_EQ(Feed().owner_node(), 0u);
  EXPECT_EQ(SetOwner(first + 1000).owner_epoch(), first + 1001);
  const auto late = SetOwner(first);
  EXPECT_EQ(late.reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_THAT(late.message(),
              HasSubstr(fmt::format("has the owner epoch {}, expected {}", first + 1001, first)));
  constexpr uint64_t kLast = std::numeric_limits<uint64_t>::max();
  EXPECT_EQ(SetOwner(first + 1001, true, kLast).owner_epoch(), kLast);
  EXPECT_EQ(SetOwner(kLast).reason(), pb::REASON_OUT_OF_SPACE) << "it never wraps";
}

TEST_F(ChangefeedsTest, TheOwnerIsAProcessThatRuns) {
  const uint64_t epoch = Started();
  ipb::CatalogCommand command = Command();
  command.mutable_set_changefeed_owner()->set_changefeed(kFeed);
  command.mutable_set_changefeed_owner()->set_if_epoch(epoch);
  command.mutable_set_changefeed_owner()->set_node(1);
  command.mutable_set_changefeed_owner()->set_incarnation(Registration() + 1);
  EXPECT_THAT(catalog.Apply(command).message(), HasSubstr("node 1 runs as incarnation"));
  command.mutable_set_changefeed_owner()->set_node(7);
  EXPECT_EQ(catalog.Apply(command).message(), "node 7 does not exist");
}

TEST_F(ChangefeedsTest, ACheckpointIsOfTheEpochAndNeverFalls) {
  const uint64_t epoch = Started();
  EXPECT_TRUE(Progress(epoch, 200).changed());
  EXPECT_EQ(Feed().checkpoint_ts(), 200u);
  EXPECT_EQ(Progress(epoch - 1, 300).reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(Progress(epoch + 1, 300).reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(Progress(epoch, 150).reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(Feed().checkpoint_ts(), 200u);
  const auto unconditional = Catalog::Validate(ProgressCommand(0, 300), {});
  EXPECT_EQ(MessageOf(unconditional), "progress_changefeed.if_epoch: must not be 0");
  const auto next = SetOwner(epoch, /*owner=*/false, 0, 250);
  EXPECT_EQ(Feed().checkpoint_ts(), 250u) << "the last one of the owner that ended";
  EXPECT_EQ(SetOwner(next.owner_epoch(), true, 0, 10).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_EQ(Feed().checkpoint_ts(), 250u);
}

TEST_F(ChangefeedsTest, ProgressDoesNotTakeBackWhatWasAskedFor) {
  const uint64_t epoch = Started();
  ASSERT_TRUE(Pause().changed());
  EXPECT_EQ(Progress(epoch, 200, pb::CHANGEFEED_NORMAL).reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(Progress(epoch, 200, pb::CHANGEFEED_WARNING).reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(Feed().state(), pb::CHANGEFEED_PAUSED);
  EXPECT_TRUE(Progress(epoch, 200).changed()) << "how far it came counts";
  EXPECT_EQ(Feed().checkpoint_ts(), 200u);
  EXPECT_EQ(SetOwner(epoch).reason(), pb::REASON_CONDITION_FAILED) << "nobody runs it while it is paused";
  ASSERT_TRUE(Remove().changed());
  for (const auto state : {pb::CHANGEFEED_NORMAL, pb::CHANGEFEED_WARNING, pb::CHANGEFEED_FAILED,
                           pb::CHANGEFEED_FINISHED, pb::CHANGEFEED_PAUSED}) {
    EXPECT_EQ(Progress(epoch, 200, state).reason(), pb::REASON_CONDITION_FAILED);
  }
  EXPECT_EQ(Resume().reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(Feed().state(), pb::CHANGEFEED_REMOVING);
}

TEST_F(ChangefeedsTest, ProgressNeitherPausesNorRemovesNorResumes) {
  const uint64_t epoch = Started();
  EXPECT_EQ(Progress(epoch, 0, pb::CHANGEFEED_PAUSED).reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(Progress(epoch, 0, pb::CHANGEFEED_REMOVING).reason(), pb::REASON_CONDITION_FAILED);
  ASSERT_TRUE(Progress(epoch, 0, pb::CHANGEFEED_FAILED).changed());
  EXPECT_EQ(Progress(epoch, 0, pb::CHANGEFEED_NORMAL).reason(), pb::REASON_CONDITION_FAILED);
}

TEST_F(ChangefeedsTest, GoesWhenItsLastOwnerHasEnded) {
  const uint64_t epoch = Started();
  EXPECT_EQ(Drop(epoch).reason(), pb::REASON_CONDITION_FAILED);
  ASSERT_TRUE(Remove().changed());
  EXPECT_THAT(Drop(epoch).message(), HasSubstr("with node 1 as its owner"));
  const uint64_t stopped = SetOwner(epoch, /*owner=*/false).owner_epoch();
  EXPECT_EQ(Drop(epoch).reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_TRUE(Drop(stopped).changed());
  EXPECT_TRUE(catalog.catalog().changefeeds().empty());
  EXPECT_EQ(catalog.catalog().FindChangefeed("feed"), nullptr);
  EXPECT_FALSE(Drop(stopped).changed()) << "it is gone already";
  EXPECT_EQ(catalog.Apply(CreateCommand("feed")).object_id(), 2u) << "ids are never used again";
}

TEST_F(ChangefeedsTest, IsUpdatedOnlyWhileItDoesNotRun) {
  Started();
  const auto update = [this] {
    return Ask([](ipb::ChangeChangefeed& c) { c.mutable_update()->set_sink("stdout:?protocol=json"); });
  };
  EXPECT_EQ(update().message(),
            "changefeed 1 ('feed') is NORMAL: only a paused or failed one can be updated");
  Pause();
  EXPECT_TRUE(update().changed());
  EXPECT_EQ(Feed().sink(), "stdout:?protocol=json");
  const auto past = Ask([](ipb::ChangeChangefeed& c) { c.mutable_update()->set_target_ts(100); });
  EXPECT_THAT(past.message(), HasSubstr("target_ts: 100 is not above the checkpoint 100"));
}

TEST_F(ChangefeedsTest, IsNotResumedWithoutItsHistory) {
  const uint64_t epoch = Started();
  Pause();
  EXPECT_TRUE(Resume().changed());
  EXPECT_FALSE(Resume().changed()) << "it runs";
  Pause();
  ipb::CatalogCommand given_up = ProgressCommand(epoch, 0, pb::CHANGEFEED_FAILED);
  given_up.mutable_progress_changefeed()->set_history_given_up(true);
  ASSERT_TRUE(catalog.Apply(given_up).changed());
  EXPECT_THAT(Resume().message(), HasSubstr("its history is not kept any more"));
}

TEST_F(ChangefeedsTest, BeginsOnce) {
  catalog.Apply(CreateCommand("feed"));
  EXPECT_THAT(SetOwner(Feed().owner_epoch()).message(), HasSubstr("has no start timestamp yet"));
  EXPECT_TRUE(Begin(100).changed());
  EXPECT_EQ(Begin(200).reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(Feed().start_ts(), 100u);
}

TEST_F(ChangefeedsTest, WhatIsInvalidIsRefusedWithItsFieldAndLimit) {
  const auto said = [](const ipb::CatalogCommand& command) {
    return std::string(MessageOf(Catalog::Validate(command, {})));
  };
  EXPECT_EQ(said(CreateCommand("")), "name: must not be empty");
  EXPECT_EQ(said(CreateCommand(std::string(65, 'a'))), "name: has 65 bytes, the limit is 64");
  EXPECT_THAT(said(CreateCommand("a/b")), HasSubstr("name: 'a/b' has characters other than"));
  EXPECT_THAT(said(CreateCommand("-a")), HasSubstr("or begins with '-'"));
  ipb::CatalogCommand create = CreateCommand("feed");
  pb::ChangefeedRecord& feed = *create.mutable_create_changefeed()->mutable_changefeed();
  EXPECT_EQ(said(create), "");
  feed.set_gc_ttl_ms(1);
  EXPECT_EQ(said(create), "gc_ttl_ms: 1 is not in 60000..31536000000");
  feed.set_gc_ttl_ms(60000);
  feed.set_stall_after_ms(1);
  EXPECT_EQ(said(create), "stall_after_ms: 1 is not in 1000..86400000");
  feed.set_stall_after_ms(1000);
  feed.set_requested_start_ts(7);
  feed.set_target_ts(7);
  EXPECT_EQ(said(create), "target_ts: 7 is not above start_ts 7");
  feed.set_target_ts(0);
  feed.set_sink("");
  EXPECT_EQ(said(create), "sink: must not be empty");
}

// The catalog's table of states and the coordinator's are one.
TEST(ChangefeedStates, AreTheCoordinators) {
  using changefeed::FeedState;
  for (int from = 1; from <= 6; ++from) {
    for (int to = 1; to <= 6; ++to) {
      const auto record_from = static_cast<pb::ChangefeedState>(from);
      const auto record_to = static_cast<pb::ChangefeedState>(to);
      const auto feed_from = static_cast<FeedState>(from - 1);
      const auto feed_to = static_cast<FeedState>(to - 1);
      EXPECT_EQ(NameOf(record_from), changefeed::NameOf(feed_from));
      EXPECT_EQ(from == to || IsLegalMove(record_from, record_to),
                changefeed::IsLegalMove(feed_from, feed_to))
          << NameOf(record_from) << " -> " << NameOf(record_to);
    }
  }
}

// ---- what the catalog keeps for changefeeds ----

class FeedHistoryTest : public ChangefeedsTest {
 protected:
  ipb::CatalogResult Submit(const ipb::ProcedureEffect& effect) {
    ipb::CatalogCommand command = Command();
    command.mutable_submit_procedure()->mutable_procedure()->set_type("T");
    *command.mutable_submit_procedure()->mutable_effect() = effect;
    return catalog.Apply(command);
  }
  void Publish(uint64_t from, uint64_t to, uint32_t first, uint32_t last, uint64_t released,
               uint64_t opened) {
    ipb::ProcedureEffect effect;
    auto& publish = *effect.mutable_publish_slots();
    publish.set_from(from);
    publish.set_to(to);
    publish.mutable_slots()->set_first(first);
    publish.mutable_slots()->set_last(last);
    publish.set_released_ts(released);
    publish.set_opened_ts(opened);
    ASSERT_EQ(Submit(effect).reason(), pb::REASON_UNSPECIFIED);
  }
  void BeginSplit(uint64_t from, uint32_t first, uint32_t last) {
    ipb::ProcedureEffect effect;
    effect.mutable_begin_split()->set_from(from);
    effect.mutable_begin_split()->mutable_slots()->set_first(first);
    effect.mutable_begin_split()->mutable_slots()->set_last(last);
    ASSERT_EQ(Submit(effect).reason(), pb::REASON_UNSPECIFIED);
  }
  // "version[begin,end]<region:version,..."
  std::string Generations(uint64_t region) {
    std::string text;
    for (const auto& generation : catalog.catalog().regions().at(region).region().generations()) {
      text +=
          fmt::format("{}[{},{}]", generation.range_version(), generation.begin_ts(), generation.end_ts());
      for (const auto& before : generation.predecessors())
        text += fmt::format("<{}:{}", before.region(), before.range_version());
      text += ' ';
    }
    return text;
  }
  void Step(uint64_t table, ipb::SchemaStep::Op op, uint64_t announced = 0) {
    ipb::ProcedureEffect effect;
    effect.mutable_schema_step()->set_object(table);
    effect.mutable_schema_step()->set_op(op);
    effect.mutable_schema_step()->set_announced_ts(announced);
    ASSERT_EQ(Submit(effect).reason(), pb::REASON_UNSPECIFIED);
  }
  uint64_t MakeTable(const std::string& name) {
    ipb::ProcedureEffect effect;
    auto& create = *effect.mutable_schema_intent()->mutable_create_table();
    create.set_database(1);
    create.set_name(name);
    create.add_columns()->set_name("qty");
    create.mutable_columns(0)->set_type(pb::COLUMN_INT64);
    EXPECT_EQ(Submit(effect).reason(), pb::REASON_UNSPECIFIED);
    const uint64_t id = catalog.catalog().tables().rbegin()->first;
    Step(id, ipb::SchemaStep::PUBLISH);
    return id;
  }
  void Intend(ipb::SchemaIntent intent, uint64_t table) {
    intent.set_object(table);
    ipb::ProcedureEffect effect;
    *effect.mutable_schema_intent() = std::move(intent);
    ASSERT_EQ(Submit(effect).reason(), pb::REASON_UNSPECIFIED);
  }
  const pb::TableRecord& Table(uint64_t id) { return catalog.catalog().tables().at(id).table(); }
  const pb::DatabaseRecord& Database() { return catalog.catalog().databases().at(1).database(); }
};

TEST_F(FeedHistoryTest, SplitsAndMergesEndGenerations) {
  BeginSplit(1, 100, 16383);
  Publish(1, 2, 100, 16383, 50, 51);
  EXPECT_EQ(Generations(1), "1[0,50] 2[50,0]<1:1 ");
  EXPECT_EQ(Generations(2), "2[51,0]<1:1 ");
  Publish(2, 1, 100, 16383, 70, 80);
  EXPECT_EQ(Generations(1), "1[0,50] 2[50,80]<1:1 3[80,0]<1:2<2:2 ");
  EXPECT_EQ(Generations(2), "2[51,70]<1:1 ");
  // Without change logs there is nothing to say.
  BeginSplit(1, 100, 16383);
  Publish(1, 3, 100, 16383, 0, 0);
  EXPECT_EQ(Generations(3), "");
  EXPECT_EQ(Generations(1), "1[0,50] 2[50,80]<1:1 3[80,0]<1:2<2:2 ");
  // What comes then follows what was known last, though the range has changed in between.
  BeginSplit(1, 50, 99);
  Publish(1, 4, 50, 99, 200, 201);
  EXPECT_EQ(Generations(1), "1[0,50] 2[50,80]<1:1 3[80,200]<1:2<2:2 5[200,0]<1:3 ");
  EXPECT_EQ(Generations(4), "2[201,0]<1:3 ");
}

TEST_F(FeedHistoryTest, OldGenerationsGoWhenThereAreTooMany) {
  BeginSplit(1, 100, 16383);
  Publish(1, 2, 100, 16383, 1, 2);
  for (uint64_t i = 0; i < 200; ++i) {
    Publish(1, 2, 99 - static_cast<uint32_t>(i % 50), 99 - static_cast<uint32_t>(i % 50), 10 + i, 10 + i);
    if (i % 50 == 49) Publish(2, 1, 50, 99, 11 + i, 11 + i);
  }
  EXPECT_EQ(catalog.catalog().regions().at(1).region().generations_size(), 64);
}

TEST_F(FeedHistoryTest, SchemaChangesHaveTimestampsOfTheirOwn) {
  catalog.Apply(CreateCommand("feed"));
  const uint64_t one = MakeTable("orders");
  const uint64_t two = MakeTable("sales");
  EXPECT_EQ(Table(one).history_size(), 1);
  EXPECT_EQ(Table(one).history(0).statement(), "CREATE TABLE orders (qty int64)");
  ipb::SchemaIntent alter;
  auto& added = *alter.mutable_alter_table()->add_add_columns();
  added.set_name("note");
  added.set_type(pb::COLUMN_TEXT);
  added.set_default_value("it's");
  Intend(alter, one);
  Step(one, ipb::SchemaStep::PUBLISH);
  ASSERT_EQ(Table(one).history_size(), 2);
  EXPECT_EQ(Table(one).history(1).since_ts(), 0u) << "not all regions are told yet";
  EXPECT_EQ(Table(one).history(1).statement(), "ALTER TABLE orders ADD COLUMN note text DEFAULT 'it''s'");
  Step(one, ipb::SchemaStep::SEAL, 500);
  EXPECT_EQ(Table(one).history(1).since_ts(), 501u);
  ipb::SchemaIntent rename;
  rename.set_rename("deals");
  Intend(rename, two);
  Step(two, ipb::SchemaStep::PUBLISH);
  Step(two, ipb::SchemaStep::SEAL, 300);
  EXPECT_EQ(Table(two).history(1).since_ts(), 502u) << "behind the one before, whatever the table";
  EXPECT_EQ(Table(two).history(1).statement(), "ALTER TABLE sales RENAME TO deals");
  ipb::SchemaIntent drop;
  drop.set_drop(true);
  Intend(drop, two);
  Step(two, ipb::SchemaStep::DELETE_DATA);
  Step(two, ipb::SchemaStep::ERASE, 900);
  ASSERT_EQ(Database().dropped_tables_size(), 1);
  EXPECT_EQ(Database().dropped_tables(0).dropped_ts(), 901u);
  EXPECT_EQ(Database().dropped_tables(0).statement(), "DROP TABLE deals");
  EXPECT_EQ(Database().dropped_tables(0).history_size(), 2);
  EXPECT_EQ(Database().last_schema_ts(), 901u);
}

TEST_F(FeedHistoryTest, ARolledBackChangeHasNoVersion) {
  const uint64_t id = MakeTable("orders");
  ipb::SchemaIntent rename;
  rename.set_rename("deals");
  Intend(rename, id);
  Step(id, ipb::SchemaStep::ROLL_BACK);
  EXPECT_EQ(Table(id).history_size(), 1);
  Step(id, ipb::SchemaStep::SEAL, 7);
  EXPECT_EQ(Table(id).history(0).since_ts(), 0u);
}

TEST_F(FeedHistoryTest, VersionsAreBounded) {
  const uint64_t id = MakeTable("orders");
  for (int i = 0; i < 40; ++i) {
    ipb::SchemaIntent rename;
    rename.set_rename(fmt::format("t{}", i));
    Intend(rename, id);
    Step(id, ipb::SchemaStep::PUBLISH);
    Step(id, ipb::SchemaStep::SEAL, 7);
  }
  EXPECT_EQ(Table(id).history_size(), 16);
  EXPECT_EQ(Table(id).history(15).shape().name(), "t39");
}

// A changefeed that stands at 100 has not delivered what was committed under versions that ended later.
TEST_F(FeedHistoryTest, WhatAChangefeedHasYetToDeliverStays) {
  Started();
  const auto rename = [&](uint64_t id, const std::string& name) {
    ipb::SchemaIntent intent;
    intent.set_rename(name);
    intent.set_object(id);
    ipb::ProcedureEffect effect;
    *effect.mutable_schema_intent() = intent;
    const auto result = Submit(effect);
    if (result.reason() != pb::REASON_UNSPECIFIED) return result;
    Step(id, ipb::SchemaStep::PUBLISH);
    Step(id, ipb::SchemaStep::SEAL, 1);
    return result;
  };
  const uint64_t id = MakeTable("orders");
  ipb::CatalogResult refused;
  int changes = 0;
  for (; changes < 1000 && refused.reason() == pb::REASON_UNSPECIFIED; ++changes)
    refused = rename(id, fmt::format("t{}", changes));
  const int needed = 256;
  EXPECT_EQ(Table(id).history_size(), needed + 1);
  EXPECT_EQ(refused.reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_THAT(refused.message(),
              HasSubstr("changefeed 1 ('feed') has yet to deliver changes of 256 former versions "
                        "of table 1 ('t"));
  EXPECT_THAT(refused.message(),
              HasSubstr("the limits are 256 and 262144 bytes: let it catch up, or remove it"));
  EXPECT_EQ(Table(id).state(), pb::TABLE_PUBLIC);
  // It goes on, and so does the table.
  Progress(Feed().owner_epoch(), Table(id).history(needed).since_ts());
  EXPECT_EQ(rename(id, "on").reason(), pb::REASON_UNSPECIFIED);
  EXPECT_EQ(Table(id).history_size(), 16);
}

TEST_F(FeedHistoryTest, DropsStayUntilTheyAreDelivered) {
  Started();
  const auto drop = [&](const std::string& name) {
    const uint64_t id = MakeTable(name);
    ipb::ProcedureEffect effect;
    effect.mutable_schema_intent()->set_object(id);
    effect.mutable_schema_intent()->set_drop(true);
    const auto result = Submit(effect);
    if (result.reason() != pb::REASON_UNSPECIFIED) return result;
    Step(id, ipb::SchemaStep::DELETE_DATA);
    Step(id, ipb::SchemaStep::ERASE, 200);
    return result;
  };
  for (int i = 0; i < 256; ++i) ASSERT_EQ(drop(fmt::format("t{}", i)).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_EQ(Database().dropped_tables_size(), 256);
  EXPECT_THAT(drop("more").message(),
              HasSubstr("yet to deliver changes of 256 dropped tables of database 'shop'"));
  Progress(Feed().owner_epoch(), Database().last_schema_ts());
  EXPECT_EQ(drop("again").reason(), pb::REASON_UNSPECIFIED);
  EXPECT_EQ(Database().dropped_tables_size(), 64);
}

TEST_F(FeedHistoryTest, FormerRangesStayUntilTheyAreDelivered) {
  Started();
  BeginSplit(1, 100, 16383);
  Publish(1, 2, 100, 16383, 50, 51);
  uint64_t ts = 60;
  for (int i = 0; i < 100; ++i, ts += 10) {
    Publish(1, 2, 99, 99, ts, ts + 1);
    Publish(2, 1, 99, 99, ts + 2, ts + 3);
  }
  const auto& generations = catalog.catalog().regions().at(1).region().generations();
  EXPECT_EQ(generations.size(), 1 + 2 * 100 - 10 + 1)
      << "those that ended up to 100 went, the present one is there";
  EXPECT_GT(generations.Get(0).end_ts(), 100u);
}

TEST_F(FeedHistoryTest, NothingOfItBeforeTheFormat) {
  TestCatalog old;
  ipb::CatalogCommand initialize = TestCatalog::InitializeCommand();
  initialize.mutable_initialize_cluster()->mutable_cluster()->set_format_version(kFormatOfChangefeeds - 1);
  old.Apply(initialize);
  ipb::CatalogCommand seal = TestCatalog::Command();
  seal.mutable_submit_procedure()->mutable_effect()->mutable_schema_step()->set_op(ipb::SchemaStep::SEAL);
  seal.set_version(FormatOf(seal));
  EXPECT_EQ(old.Apply(seal).reason(), pb::REASON_UNSUPPORTED_FORMAT);
}

}  // namespace
}  // namespace tenure::catalog
