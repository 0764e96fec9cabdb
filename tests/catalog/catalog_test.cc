#include "catalog/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "catalog/entries.h"
#include "catalog/state_moves.h"
#include "tests/catalog/test_catalog.h"

namespace tenure::catalog {
namespace {

using namespace ::tenure::v1;
using ::testing::HasSubstr;
using T = TestCatalog;

TEST(Catalog, NothingIsAppliedBeforeTheClusterExists) {
  T t;
  EXPECT_EQ(t.Apply(T::Put("k", "v")).reason(), REASON_CONDITION_FAILED);
  EXPECT_EQ(t.Apply(T::Register("u", "h:1")).reason(), REASON_CONDITION_FAILED);
  EXPECT_EQ(t.catalog().cluster(), nullptr);
  t.Initialize();
  ASSERT_NE(t.catalog().cluster(), nullptr);
  EXPECT_EQ(t.catalog().cluster()->cluster_id(), "cluster");
  EXPECT_EQ(t.catalog().controllers().size(), 3u);
  const auto again = t.Apply(T::InitializeCommand());
  EXPECT_EQ(again.reason(), REASON_ALREADY_EXISTS);
  EXPECT_THAT(again.message(), HasSubstr("cluster"));
}

TEST(Catalog, EntriesCarryRevisionsAndVersions) {
  T t;
  t.Initialize();
  const auto first = t.Apply(T::Put("k", "one"));
  EXPECT_EQ(first.reason(), REASON_UNSPECIFIED);
  EXPECT_TRUE(first.changed());
  EXPECT_EQ(first.revision(), t.applied().value());
  const auto second = t.Apply(T::Put("k", "two"));
  const auto record = t.Entry("k");
  ASSERT_TRUE(record);
  EXPECT_EQ(record->create_revision(), first.revision());
  EXPECT_EQ(record->modify_revision(), second.revision());
  EXPECT_EQ(record->entry().version(), 2u);
  EXPECT_EQ(record->entry().value(), "two");
  EXPECT_EQ(record->entry().key(), "k");

  EXPECT_TRUE(t.Apply(T::Delete("k")).changed());
  EXPECT_FALSE(t.Entry("k"));
  EXPECT_FALSE(t.Apply(T::Delete("k")).changed());
  t.Apply(T::Put("k", "three"));
  EXPECT_EQ(t.Entry("k")->entry().version(), 1u);
}

TEST(Catalog, PutConditions) {
  T t;
  t.Initialize();
  auto absent = T::Put("k", "1");
  absent.mutable_put_entry()->set_if_absent(true);
  const auto made = t.Apply(absent);
  EXPECT_EQ(made.reason(), REASON_UNSPECIFIED);
  const auto refused = t.Apply(absent);
  EXPECT_EQ(refused.reason(), REASON_CONDITION_FAILED);
  EXPECT_EQ(refused.revision(), made.revision());
  EXPECT_FALSE(refused.changed());

  auto at = T::Put("k", "2");
  at.mutable_put_entry()->set_if_revision(made.revision() + 100);
  EXPECT_EQ(t.Apply(at).reason(), REASON_CONDITION_FAILED);
  EXPECT_EQ(t.Entry("k")->entry().value(), "1");
  at.mutable_put_entry()->set_if_revision(made.revision());
  EXPECT_EQ(t.Apply(at).reason(), REASON_UNSPECIFIED);
  EXPECT_EQ(t.Entry("k")->entry().value(), "2");
  // The revision has moved on: the same command is refused now.
  EXPECT_EQ(t.Apply(at).reason(), REASON_CONDITION_FAILED);

  auto missing = T::Put("other", "x");
  missing.mutable_put_entry()->set_if_revision(5);
  const auto none = t.Apply(missing);
  EXPECT_EQ(none.reason(), REASON_CONDITION_FAILED);
  EXPECT_EQ(none.revision(), 0u);
  EXPECT_THAT(none.message(), HasSubstr("'other'"));
}

TEST(Catalog, DeleteConditions) {
  T t;
  t.Initialize();
  const auto made = t.Apply(T::Put("k", "1"));
  auto wrong = T::Delete("k");
  wrong.mutable_delete_entry()->set_if_revision(made.revision() + 1);
  EXPECT_EQ(t.Apply(wrong).reason(), REASON_CONDITION_FAILED);
  EXPECT_TRUE(t.Entry("k"));
  wrong.mutable_delete_entry()->set_if_revision(made.revision());
  EXPECT_EQ(t.Apply(wrong).reason(), REASON_UNSPECIFIED);
  EXPECT_EQ(t.Apply(wrong).reason(), REASON_CONDITION_FAILED);
}

// What is written by hand is what protobuf would have written.
TEST(Catalog, EventsOfEntriesAreWatchResponses) {
  for (const size_t size :
       {size_t{1}, size_t{127}, size_t{128}, size_t{16383}, size_t{16384}, size_t{1} << 20}) {
    for (const uint64_t number : {uint64_t{1}, uint64_t{127}, uint64_t{128}, ~uint64_t{0}}) {
      const std::string key(std::min<size_t>(size, 1024), '\xff');
      const std::string value(size, '\0');
      const EntryHead head{number, number, number, value};
      WatchResponse expected;
      expected.add_events()->set_revision(number);
      FillEntryRecord(key, head, false, *expected.mutable_events(0)->mutable_old_record());
      *expected.mutable_events(0)->mutable_new_record() = expected.events(0).old_record();
      const EntryEvent event = MakeEntryEvent(Revision(number), key, &head, &head);
      EXPECT_EQ(event.message, expected.SerializeAsString());
      EXPECT_EQ(event.key(), key);
    }
  }
  const EntryHead empty{1, 2, 3, ""};
  WatchResponse parsed;
  ASSERT_TRUE(parsed.ParseFromString(MakeEntryEvent(Revision(2), "", nullptr, &empty).message));
  EXPECT_FALSE(parsed.events(0).has_old_record());
  EXPECT_EQ(parsed.events(0).new_record().entry().version(), 3u);
}

TEST(Catalog, EventsHoldOldAndNewRecord) {
  T t;
  t.Initialize();
  t.catalog().TakeEvents();
  const auto made = t.Apply(T::Put("k", "1"));
  t.Apply(T::Put("k", "2"));
  t.Apply(T::Delete("k"));
  t.Apply(T::Delete("k"));
  const Events taken = t.catalog().TakeEvents();
  std::vector<Event> events;
  for (const EntryEvent& event : taken.entries) {
    EXPECT_EQ(event.key(), "k");
    WatchResponse message;
    ASSERT_TRUE(message.ParseFromString(event.message));
    ASSERT_EQ(message.events_size(), 1);
    EXPECT_EQ(message.events(0).revision(), event.revision);
    events.push_back(message.events(0));
  }
  ASSERT_EQ(taken.size(), 3u);
  ASSERT_EQ(events.size(), 3u);
  EXPECT_FALSE(events[0].has_old_record());
  EXPECT_EQ(events[0].new_record().entry().value(), "1");
  EXPECT_EQ(events[0].revision(), made.revision());
  EXPECT_EQ(events[1].old_record().entry().value(), "1");
  EXPECT_EQ(events[1].new_record().entry().value(), "2");
  EXPECT_EQ(events[1].new_record().create_revision(), made.revision());
  EXPECT_EQ(events[2].old_record().entry().value(), "2");
  EXPECT_FALSE(events[2].has_new_record());
  EXPECT_TRUE(t.catalog().TakeEvents().empty());
}

TEST(Catalog, ListsInKeyOrderByPrefixAndPage) {
  T t;
  t.Initialize();
  for (const char* key : {"b", "a/2", "a/1", "a/3", "a", "a\xff"}) t.Apply(T::Put(key, "v"));
  const auto all = t.List("");
  std::vector<std::string> keys;
  for (const auto& record : all.records) keys.push_back(record.entry().key());
  EXPECT_THAT(keys, ::testing::ElementsAre("a", "a/1", "a/2", "a/3", "a\xff", "b"));
  EXPECT_TRUE(all.next_after.empty());

  const auto first = t.List("a/", "", 2);
  ASSERT_EQ(first.records.size(), 2u);
  EXPECT_EQ(first.next_after, "a/2");
  const auto second = t.List("a/", first.next_after, 2);
  ASSERT_EQ(second.records.size(), 1u);
  EXPECT_EQ(second.records[0].entry().key(), "a/3");
  EXPECT_TRUE(second.next_after.empty());
  EXPECT_TRUE(t.List("a/", "z").records.empty());
  EXPECT_EQ(t.List("a/", "", 10, true).records[0].entry().value(), "");
  EXPECT_EQ(t.List("nothing").records.size(), 0u);
  // Values that nobody asked for are read all the same, so there is a limit to them.
  for (int i = 10; i < 40; ++i) t.Apply(T::Put("big/" + std::to_string(i), std::string(1 << 20, 'v')));
  const auto page = t.List("big/", "", 100, true);
  EXPECT_EQ(page.records.size(), 15u);
  EXPECT_EQ(t.List("big/", page.next_after, 100, true).records.size(), 15u);
}

TEST(Catalog, PagesAreBoundedByBytes) {
  T t;
  t.Initialize();
  const std::string big(1 << 20, 'x');
  for (int i = 0; i < 6; ++i) t.Apply(T::Put("k" + std::to_string(i), big));
  const auto page = t.List("k");
  EXPECT_LT(page.records.size(), 6u);
  EXPECT_FALSE(page.next_after.empty());
}

TEST(Catalog, EpochFencing) {
  T t;
  t.Initialize();
  t.set_term(9);
  auto put = T::Put("k", "v");
  put.set_epoch(8);
  const auto refused = t.Apply(put);
  EXPECT_EQ(refused.reason(), REASON_STALE_EPOCH);
  EXPECT_FALSE(t.Entry("k"));
  put.set_epoch(9);
  EXPECT_EQ(t.Apply(put).reason(), REASON_UNSPECIFIED);
  put.set_epoch(10);
  EXPECT_EQ(t.Apply(put).reason(), REASON_STALE_EPOCH);
  put.set_epoch(0);
  EXPECT_EQ(t.Apply(put).reason(), REASON_UNSPECIFIED);
}

TEST(Catalog, UnknownCommandsAreNoOps) {
  T t;
  t.Initialize();
  const std::string before = t.Dump();
  EXPECT_EQ(t.Apply(T::Command()).reason(), REASON_UNSUPPORTED_FORMAT);
  auto newer = T::Put("k", "v");
  newer.set_version(2);
  EXPECT_EQ(t.Apply(newer).reason(), REASON_UNSUPPORTED_FORMAT);
  newer.set_version(0);
  EXPECT_EQ(t.Apply(newer).reason(), REASON_UNSUPPORTED_FORMAT);
  EXPECT_EQ(t.Dump(), before);
}

// ---- nodes ----

TEST(Catalog, RegistrationGivesIdsAndEpochs) {
  T t;
  t.Initialize();
  const auto first = t.Apply(T::Register("u1", "h1:1", "h1:2"));
  EXPECT_EQ(first.object_id(), 1u);
  EXPECT_EQ(first.registration_epoch(), 1u);
  EXPECT_EQ(t.Apply(T::Register("u2", "h2:1", "h2:2")).object_id(), 2u);
  const auto again = t.Apply(T::Register("u1", "h1:9", "h1:2"));
  EXPECT_EQ(again.object_id(), 1u);
  EXPECT_EQ(again.registration_epoch(), 2u);
  const Record* node = t.catalog().FindNode("u1");
  ASSERT_NE(node, nullptr);
  EXPECT_EQ(node->node().address(), "h1:9");
  EXPECT_EQ(node->node().state(), NODE_JOINING);
  EXPECT_EQ(node->create_revision(), first.revision());
  // Ids go on after a restart.
  t.Reopen();
  EXPECT_EQ(t.Apply(T::Register("u3", "h3:1", "h3:2")).object_id(), 3u);
}

TEST(Catalog, ASecondUuidWithALiveNodesAddressIsRefused) {
  for (const auto& [address, resp] : std::vector<std::pair<std::string, std::string>>{
           {"h1:1", "x:2"}, {"x:1", "h1:2"}, {"h1:2", "x:2"}, {"x:1", "h1:1"}}) {
    T t;
    t.Initialize();
    t.Apply(T::Register("u1", "h1:1", "h1:2"));
    const auto refused = t.Apply(T::Register("u2", address, resp));
    EXPECT_EQ(refused.reason(), REASON_ALREADY_EXISTS);
    EXPECT_THAT(refused.message(), HasSubstr("node 1"));
    EXPECT_EQ(t.catalog().nodes().size(), 1u);
  }
}

TEST(Catalog, ADownNodeGivesItsAddressesUp) {
  T t;
  t.Initialize();
  t.Apply(T::Register("u1", "h1:1", "h1:2"));
  t.Apply(T::NodeTo(1, NODE_DOWN));
  EXPECT_EQ(t.Apply(T::Register("u2", "h1:1", "new:2")).object_id(), 2u);
  EXPECT_EQ(t.catalog().nodes().at(1).node().address(), "");
  EXPECT_EQ(t.catalog().nodes().at(1).node().resp_address(), "h1:2");
  // It comes back: its address is another's now.
  EXPECT_EQ(t.Apply(T::Register("u1", "h1:1", "h1:2")).reason(), REASON_ALREADY_EXISTS);
  EXPECT_EQ(t.Apply(T::Register("u1", "h1:5", "h1:2")).object_id(), 1u);
}

TEST(Catalog, ARemovedNodeCannotRegister) {
  T t;
  t.Initialize();
  t.Apply(T::Register("u1", "h1:1"));
  t.Apply(T::NodeTo(1, NODE_DOWN));
  t.Apply(T::NodeTo(1, NODE_REMOVING));
  t.Apply(T::NodeTo(1, NODE_REMOVED));
  EXPECT_EQ(t.Apply(T::Register("u1", "h1:1")).reason(), REASON_NOT_FOUND);
  EXPECT_EQ(t.Apply(T::Register("u2", "h1:1")).object_id(), 2u);
}

TEST(Catalog, NodeStatesMoveOnlyAsTheTableSays) {
  constexpr NodeState kAll[] = {NODE_STATE_UNSPECIFIED, NODE_JOINING,  NODE_UP,     NODE_SUSPECT, NODE_DOWN,
                                NODE_DRAINING,          NODE_REMOVING, NODE_REMOVED};
  // A way to each state.
  const std::map<NodeState, std::vector<NodeState>> ways = {{NODE_JOINING, {}},
                                                            {NODE_UP, {NODE_UP}},
                                                            {NODE_SUSPECT, {NODE_UP, NODE_SUSPECT}},
                                                            {NODE_DOWN, {NODE_DOWN}},
                                                            {NODE_DRAINING, {NODE_UP, NODE_DRAINING}},
                                                            {NODE_REMOVING, {NODE_REMOVING}},
                                                            {NODE_REMOVED, {NODE_REMOVING, NODE_REMOVED}}};
  for (const auto& [from, way] : ways) {
    for (const NodeState to : kAll) {
      T t;
      t.Initialize();
      t.Apply(T::Register("u", "h:1"));
      for (const NodeState step : way) {
        ASSERT_EQ(t.Apply(T::NodeTo(1, step)).reason(), REASON_UNSPECIFIED) << NodeState_Name(step);
      }
      const auto result = t.Apply(T::NodeTo(1, to));
      const NodeState now = t.catalog().nodes().at(1).node().state();
      if (from == to) {
        EXPECT_FALSE(result.changed());
        EXPECT_EQ(result.reason(), REASON_UNSPECIFIED);
      } else if (IsLegalMove(from, to)) {
        EXPECT_EQ(result.reason(), REASON_UNSPECIFIED) << NodeState_Name(from) << "->" << NodeState_Name(to);
        EXPECT_EQ(now, to);
      } else {
        EXPECT_EQ(result.reason(), REASON_CONDITION_FAILED)
            << NodeState_Name(from) << "->" << NodeState_Name(to);
        EXPECT_EQ(now, from);
      }
    }
  }
}

TEST(Catalog, ANodesStateIsConditionalOnItsRegistration) {
  T t;
  t.Initialize();
  t.Apply(T::Register("u", "h:1"));
  t.Apply(T::Register("u", "h:1"));
  EXPECT_EQ(t.Apply(T::NodeTo(1, NODE_UP, 1)).reason(), REASON_CONDITION_FAILED);
  EXPECT_EQ(t.Apply(T::NodeTo(1, NODE_UP, 2)).reason(), REASON_UNSPECIFIED);
  EXPECT_EQ(t.Apply(T::NodeTo(9, NODE_UP)).reason(), REASON_NOT_FOUND);
}

TEST(Catalog, ControllersAreUpdatedNotAdded) {
  T t;
  t.Initialize();
  auto update = T::Command();
  ControllerRecord& controller = *update.mutable_update_controller()->mutable_controller();
  controller.set_id(2);
  controller.set_address("new:7100");
  controller.set_name("two");
  EXPECT_EQ(t.Apply(update).reason(), REASON_UNSPECIFIED);
  EXPECT_EQ(t.catalog().controllers().at(2).controller().address(), "new:7100");
  EXPECT_TRUE(t.catalog().controllers().at(2).controller().voter());
  controller.set_address("10.0.0.1:7100");
  EXPECT_EQ(t.Apply(update).reason(), REASON_ALREADY_EXISTS);
  controller.set_id(9);
  EXPECT_EQ(t.Apply(update).reason(), REASON_NOT_FOUND);
}

// ---- databases ----

class Databases : public ::testing::Test {
 protected:
  Databases() {
    t.Initialize();
    for (int i = 1; i <= 3; ++i) {
      t.Apply(T::Register("u" + std::to_string(i), "h" + std::to_string(i) + ":1"));
      t.Apply(T::NodeTo(static_cast<uint64_t>(i), NODE_UP));
    }
  }
  DatabaseState StateOf(uint64_t id) { return t.catalog().databases().at(id).database().state(); }
  T t;
};

TEST_F(Databases, AreCreatedWithAllTheirRegions) {
  const auto result = t.Apply(T::CreateDatabase("orders", 4, {2, 1, 3}));
  EXPECT_EQ(result.object_id(), 1u);
  EXPECT_EQ(t.catalog().regions().size(), 4u);
  const RegionRecord& region = t.catalog().regions().at(2).region();
  EXPECT_EQ(region.database(), 1u);
  EXPECT_EQ(region.slots().first(), 4096u);
  EXPECT_EQ(region.slots().last(), 8191u);
  EXPECT_EQ(region.replicas(0).node(), 2u);
  EXPECT_EQ(region.preferred_leader(), region.replicas(0).id());
  EXPECT_EQ(region.state(), REGION_CREATING);
  EXPECT_EQ(StateOf(1), DATABASE_CREATING);
  // All in one revision.
  for (const auto& [id, record] : t.catalog().regions())
    EXPECT_EQ(record.create_revision(), result.revision());
  const auto taken = t.Apply(T::CreateDatabase("orders", 1, {1}));
  EXPECT_EQ(taken.reason(), REASON_ALREADY_EXISTS);
  EXPECT_THAT(taken.message(), HasSubstr("'orders'"));
}

TEST_F(Databases, NeedKnownNodes) {
  const std::string before = t.Dump();
  EXPECT_EQ(t.Apply(T::CreateDatabase("d", 2, {1, 2, 9})).reason(), REASON_CONDITION_FAILED);
  EXPECT_EQ(t.Dump(), before);
}

TEST_F(Databases, BecomePublicOnlyWhenAllRegionsServe) {
  t.Apply(T::CreateDatabase("d", 2, {1, 2, 3}));
  const auto publish = T::DatabaseTo(1, DATABASE_CREATING, DATABASE_PUBLIC);
  EXPECT_EQ(t.Apply(publish).reason(), REASON_CONDITION_FAILED);
  t.Apply(T::RegionTo(1, REGION_CREATING, REGION_SERVING));
  EXPECT_EQ(t.Apply(publish).reason(), REASON_CONDITION_FAILED);
  t.Apply(T::RegionTo(2, REGION_CREATING, REGION_SERVING));
  EXPECT_EQ(t.Apply(publish).reason(), REASON_UNSPECIFIED);
  EXPECT_EQ(StateOf(1), DATABASE_PUBLIC);
  EXPECT_EQ(t.Apply(publish).reason(), REASON_CONDITION_FAILED);
}

TEST_F(Databases, DropFreesTheNameAndRemovesTheRegionsInOneCommand) {
  t.Apply(T::CreateDatabase("d", 2, {1, 2, 3}));
  t.catalog().TakeEvents();
  const auto dropped = t.Apply(T::DatabaseTo(1, DATABASE_CREATING, DATABASE_PRE_DELETE));
  EXPECT_EQ(dropped.reason(), REASON_UNSPECIFIED);
  for (const auto& [id, record] : t.catalog().regions()) EXPECT_EQ(record.region().state(), REGION_REMOVING);
  EXPECT_EQ(t.catalog().TakeEvents().size(), 3u);
  EXPECT_EQ(t.catalog().FindDatabase("d"), nullptr);
  const auto next = t.Apply(T::CreateDatabase("d", 1, {1}));
  EXPECT_EQ(next.object_id(), 2u);
  EXPECT_EQ(t.catalog().regions().rbegin()->first, 3u);

  t.Reopen();
  ASSERT_NE(t.catalog().FindDatabase("d"), nullptr);
  EXPECT_EQ(t.catalog().FindDatabase("d")->database().id(), 2u);

  auto remove_database = T::Command();
  remove_database.mutable_remove_database()->set_database(1);
  EXPECT_EQ(t.Apply(remove_database).reason(), REASON_CONDITION_FAILED);
  for (uint64_t region = 1; region <= 2; ++region) {
    auto remove = T::Command();
    remove.mutable_remove_region()->set_region(region);
    EXPECT_EQ(t.Apply(remove).reason(), REASON_UNSPECIFIED);
    EXPECT_EQ(t.Apply(remove).reason(), REASON_NOT_FOUND);
  }
  EXPECT_EQ(t.Apply(remove_database).reason(), REASON_UNSPECIFIED);
  EXPECT_EQ(t.catalog().databases().size(), 1u);
  EXPECT_EQ(t.Apply(T::CreateDatabase("e", 1, {1})).object_id(), 3u);
  EXPECT_EQ(t.catalog().regions().rbegin()->first, 4u);
}

TEST_F(Databases, RegionsGoOnlyWhenRemoving) {
  t.Apply(T::CreateDatabase("d", 1, {1}));
  auto remove = T::Command();
  remove.mutable_remove_region()->set_region(1);
  EXPECT_EQ(t.Apply(remove).reason(), REASON_CONDITION_FAILED);
  auto drop = T::Command();
  drop.mutable_remove_database()->set_database(1);
  EXPECT_EQ(t.Apply(drop).reason(), REASON_CONDITION_FAILED);
}

TEST_F(Databases, IllegalMovesAreRefusedWhateverTheState) {
  t.Apply(T::CreateDatabase("d", 1, {1}));
  constexpr DatabaseState kDatabase[] = {DATABASE_CREATING, DATABASE_PUBLIC, DATABASE_PRE_DELETE};
  for (const auto from : kDatabase) {
    for (const auto to : kDatabase) {
      if (IsLegalMove(from, to)) continue;
      EXPECT_EQ(t.Apply(T::DatabaseTo(1, from, to)).reason(), REASON_INVALID_ARGUMENT);
    }
  }
  constexpr RegionState kRegion[] = {REGION_CREATING, REGION_SERVING, REGION_DEGRADED, REGION_REMOVING};
  for (const auto from : kRegion) {
    for (const auto to : kRegion) {
      const auto reason = t.Apply(T::RegionTo(1, from, to)).reason();
      if (!IsLegalMove(from, to)) {
        EXPECT_EQ(reason, REASON_INVALID_ARGUMENT);
      } else {
        EXPECT_NE(reason, REASON_INVALID_ARGUMENT);
      }
    }
  }
}

TEST_F(Databases, ARestartLoadsTheSameRecords) {
  t.Apply(T::CreateDatabase("d", 3, {1, 2}));
  const auto regions = t.catalog().regions();
  const auto nodes = t.catalog().nodes();
  t.Reopen();
  ASSERT_EQ(t.catalog().regions().size(), regions.size());
  for (const auto& [id, record] : regions) {
    EXPECT_EQ(record.SerializeAsString(), t.catalog().regions().at(id).SerializeAsString());
  }
  for (const auto& [id, record] : nodes) {
    EXPECT_EQ(record.SerializeAsString(), t.catalog().nodes().at(id).SerializeAsString());
  }
  EXPECT_EQ(t.catalog().cluster()->cluster_id(), "cluster");
  EXPECT_EQ(t.catalog().FindNode("u2")->node().id(), 2u);
}

}  // namespace
}  // namespace tenure::catalog
