// Parts that need no cluster: the catalog view, pending operations, scan cursors, routing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/codec.h"
#include "base/hash.h"
#include "node/catalog_view.h"
#include "node/cluster_views.h"
#include "node/pending_operations.h"
#include "node/region_table.h"
#include "node/scanner.h"

namespace tenure::node {
namespace {

pb::Record NodeRecordOf(uint64_t id, const std::string& name) {
  pb::Record record;
  record.mutable_node()->set_id(id);
  record.mutable_node()->set_name(name);
  record.mutable_node()->set_uuid("uuid-" + name);
  return record;
}

pb::Event Changed(uint64_t revision, pb::Record record) {
  pb::Event event;
  event.set_revision(revision);
  *event.mutable_new_record() = std::move(record);
  return event;
}

TEST(CatalogViewTest, ListsOfDifferentRevisionsAndOneWatch) {
  CatalogView view;
  ASSERT_TRUE(view.Replace(pb::RECORD_NODE, {NodeRecordOf(1, "a")}, Revision(10)).ok());
  ASSERT_TRUE(view.Replace(pb::RECORD_DATABASE, {}, Revision(12)).ok());
  ASSERT_TRUE(view.Replace(pb::RECORD_REGION, {}, Revision(12)).ok());
  ASSERT_TRUE(view.Replace(pb::RECORD_TABLE, {}, Revision(12)).ok());
  ASSERT_TRUE(view.Replace(pb::RECORD_VIEW, {}, Revision(12)).ok());
  ASSERT_TRUE(view.Replace(pb::RECORD_CHANGEFEED, {}, Revision(12)).ok());
  EXPECT_EQ(view.revision(), Revision(10));
  EXPECT_EQ(view.newest(), Revision(12));
  // Known already.
  EXPECT_FALSE(view.Apply(Changed(10, NodeRecordOf(1, "old"))));
  EXPECT_EQ(view.FindNode(NodeId(1))->name(), "a");
  EXPECT_TRUE(view.Apply(Changed(11, NodeRecordOf(1, "b"))));
  EXPECT_EQ(view.FindNode(NodeId(1))->name(), "b");
  pb::Record database;
  database.mutable_database()->set_id(5);
  EXPECT_FALSE(view.Apply(Changed(12, database)));
  EXPECT_TRUE(view.databases().empty());
  view.AdvanceTo(Revision(13));
  EXPECT_EQ(view.revision(), Revision(13));
  pb::Event deleted;
  deleted.set_revision(14);
  *deleted.mutable_old_record() = NodeRecordOf(1, "b");
  EXPECT_TRUE(view.Apply(deleted));
  EXPECT_EQ(view.FindNode(NodeId(1)), nullptr);
  EXPECT_FALSE(view.Replace(pb::RECORD_NODE, {}, Revision(13)).ok());
}

TEST(CatalogViewTest, SurvivesEncodingAndNoticesDamage) {
  CatalogView view;
  ASSERT_TRUE(view.Replace(pb::RECORD_NODE, {NodeRecordOf(1, "a"), NodeRecordOf(2, "b")}, Revision(10)).ok());
  const std::string encoded = view.Encode();
  const auto decoded = CatalogView::Decode(encoded);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->nodes().size(), 2u);
  EXPECT_EQ(decoded->newest(), Revision(10));
  EXPECT_EQ(decoded->revision(), Revision(0));
  EXPECT_EQ(decoded->FindNode("uuid-b")->id(), 2u);
  for (size_t size = 0; size < encoded.size(); ++size) {
    EXPECT_FALSE(CatalogView::Decode(std::string_view(encoded).substr(0, size)).ok());
  }
  for (size_t i = 0; i < encoded.size(); ++i) {
    std::string damaged = encoded;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x40);
    EXPECT_FALSE(CatalogView::Decode(damaged).ok()) << i;
  }
}

pb::Record TableOf(uint64_t id, const std::string& name, const std::string& next = "") {
  pb::Record record;
  pb::TableRecord& table = *record.mutable_table();
  table.set_id(id);
  table.set_database(1);
  table.mutable_shape()->set_name(name);
  if (!next.empty()) table.mutable_next()->set_name(next);
  return record;
}

TEST(CatalogViewTest, TablesAndViewsAreFoundByName) {
  CatalogView view;
  pb::Record shown;
  shown.mutable_view()->set_id(3);
  shown.mutable_view()->set_database(1);
  shown.mutable_view()->mutable_shape()->set_name("short");
  ASSERT_TRUE(view.Replace(pb::RECORD_TABLE, {TableOf(2, "orders")}, Revision(10)).ok());
  ASSERT_TRUE(view.Replace(pb::RECORD_VIEW, {shown}, Revision(10)).ok());
  pb::Record feed;
  feed.mutable_changefeed()->set_id(6);
  feed.mutable_changefeed()->set_name("f");
  ASSERT_TRUE(view.Replace(pb::RECORD_CHANGEFEED, {feed}, Revision(10)).ok());
  EXPECT_EQ(view.FindSchemaName(1, "orders"), 2u);
  EXPECT_EQ(view.FindSchemaName(1, "short"), 3u);
  EXPECT_EQ(view.FindSchemaName(2, "orders"), 0u) << "another database";
  EXPECT_TRUE(view.Apply(Changed(11, TableOf(2, "orders", "sales"))));
  EXPECT_EQ(view.FindSchemaName(1, "orders"), 2u);
  EXPECT_EQ(view.FindSchemaName(1, "sales"), 2u) << "the name that it is being given";
  EXPECT_TRUE(view.Apply(Changed(12, TableOf(2, "sales"))));
  EXPECT_EQ(view.FindSchemaName(1, "orders"), 0u);
  EXPECT_TRUE(view.Apply(Changed(13, TableOf(4, "orders"))));
  const auto decoded = CatalogView::Decode(view.Encode());
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->FindSchemaName(1, "orders"), 4u);
  EXPECT_EQ(decoded->FindView(3)->shape().name(), "short");
  pb::Event deleted;
  deleted.set_revision(14);
  *deleted.mutable_old_record() = TableOf(2, "sales");
  EXPECT_TRUE(view.Apply(deleted));
  EXPECT_EQ(view.FindSchemaName(1, "sales"), 0u);
  EXPECT_EQ(view.FindTable(2), nullptr);
  EXPECT_EQ(view.FindSchemaName(1, "orders"), 4u);
}

TEST(CatalogViewTest, AViewFromBeforeThereWereTablesIsRead) {
  pb::ListResponse list;
  *list.add_records() = NodeRecordOf(1, "a");
  std::string body;
  for (const uint64_t revision : {7u, 8u, 9u, 9u}) PutFixed64(body, revision);
  body += list.SerializeAsString();
  std::string bytes = "TNRVIEW1";
  PutFixed64(bytes, HashBytes(body));
  const auto decoded = CatalogView::Decode(bytes + body);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->FindNode(NodeId(1))->name(), "a");
  EXPECT_EQ(decoded->newest(), Revision(9));
  EXPECT_EQ(decoded->revision(), Revision()) << "tables have to be listed";
}

Instant At(int seconds) {
  return Instant() + std::chrono::seconds(seconds);
}

PendingOperations::Operation OperationUntil(int seconds) {
  PendingOperations::Operation operation;
  operation.done = [](Outcome) {};
  operation.deadline = At(seconds);
  return operation;
}

TEST(PendingOperationsTest, ExpireInOrderAndAreReleasedOnce) {
  PendingOperations operations(3);
  const auto a = operations.Add(OperationUntil(1));
  const auto b = operations.Add(OperationUntil(2));
  const auto c = operations.Add(OperationUntil(3));
  EXPECT_TRUE(operations.full());
  operations.Release(b);
  EXPECT_EQ(operations.Find(b), nullptr);
  const auto d = operations.Add(OperationUntil(4));  // takes the place of b
  EXPECT_EQ(operations.Find(b), nullptr);
  EXPECT_NE(operations.Find(d), nullptr);

  PendingOperations::Handle expired;
  EXPECT_FALSE(operations.TakeExpired(At(0), &expired));
  ASSERT_TRUE(operations.TakeExpired(At(3), &expired));
  EXPECT_EQ(expired.place, a.place);
  EXPECT_NE(operations.Find(a), nullptr);  // its proposal may still be under way
  ASSERT_TRUE(operations.TakeExpired(At(3), &expired));
  EXPECT_EQ(expired.place, c.place);
  EXPECT_FALSE(operations.TakeExpired(At(3), &expired));
  EXPECT_TRUE(operations.HasDeadlines());
  operations.Release(d);
  EXPECT_FALSE(operations.HasDeadlines());
  operations.Release(a);
  operations.Release(c);
  EXPECT_EQ(operations.size(), 0u);
}

TEST(ScanCursorsTest, GoesOnWhereItStoodOrAtTheSlot) {
  ScanCursors cursors;
  std::string position;
  PutBigEndian16(position, 77);
  const std::string start = position;
  position += "key";
  const uint64_t cursor = cursors.AtPosition(position);
  EXPECT_EQ(cursors.PositionOf(cursor), position);
  // Another node, or this one after a restart.
  EXPECT_EQ(ScanCursors().PositionOf(cursor), start);
  EXPECT_EQ(ScanCursors().PositionOf(ScanCursors::AtSlot(77)), start);
  EXPECT_EQ(ScanCursors::AtSlot(16384), 0u);
  EXPECT_EQ(cursors.PositionOf(0), std::string(2, '\0'));
  EXPECT_EQ(cursors.PositionOf(0xffff), std::nullopt);
  for (size_t i = 0; i < ScanCursors::kMaxPositions; ++i) cursors.AtPosition(position);
  EXPECT_EQ(cursors.PositionOf(cursor), start);
}

class RoutingTest : public ::testing::Test {
 protected:
  RoutingTest() {
    database_.mutable_database()->set_id(1);
    region_.mutable_region()->set_id(1);
    region_.mutable_region()->set_database(1);
    region_.mutable_region()->mutable_slots()->set_last(16383);
    for (uint64_t i = 1; i <= 3; ++i) {
      auto& replica = *region_.mutable_region()->add_replicas();
      replica.set_id(10 + i);
      replica.set_node(i);
      replica.set_role(pb::REPLICA_VOTER);
    }
    EXPECT_TRUE(view_.Replace(pb::RECORD_DATABASE, {database_}, Revision(1)).ok());
    EXPECT_TRUE(view_.Replace(pb::RECORD_REGION, {region_}, Revision(1)).ok());
    table_.Update(view_);
  }
  const Region& region() { return *table_.Find(RegionId(1)); }
  void Role(raft::Role role, uint64_t term, uint64_t leader) {
    table_.OnRoleChange(GroupId(1), {role, Term(term), ReplicaId(leader)});
  }
  pb::Record database_;
  pb::Record region_;
  CatalogView view_;
  RegionTable table_;
};

TEST_F(RoutingTest, WithoutAReplicaAnyHealthyOneShouldKnow) {
  table_.SetSelf(NodeId(4));
  EXPECT_EQ(table_.RedirectTarget(region()), NodeId(1));
  table_.SetUnhealthy({NodeId(1)});
  EXPECT_EQ(table_.RedirectTarget(region()), NodeId(2));
  table_.ReportLeader(RegionId(1), NodeId(3), Term(5), Revision(1));
  EXPECT_EQ(table_.RedirectTarget(region()), NodeId(3));
  table_.ReportLeader(RegionId(1), NodeId(2), Term(4), Revision(1));  // old news
  EXPECT_EQ(table_.RedirectTarget(region()), NodeId(3));
}

TEST_F(RoutingTest, WhoLeadsIsKeptUntilTheViewHasTheRegion) {
  table_.SetSelf(NodeId(4));
  table_.ReportLeader(RegionId(2), NodeId(3), Term(5), Revision(4));
  table_.ReportLeader(RegionId(3), NodeId(2), Term(6), Revision(4));
  pb::Record second = region_;
  second.mutable_region()->set_id(2);
  EXPECT_TRUE(view_.Replace(pb::RECORD_REGION, {region_, second}, Revision(3)).ok());
  view_.AdvanceTo(Revision(3));
  table_.Update(view_);
  EXPECT_EQ(table_.LeaderOf(*table_.Find(RegionId(2))), NodeId(3));
  view_.AdvanceTo(Revision(4));
  table_.Update(view_);
  // Region 3 was gone before the view got there: what was heard of it is not kept for ever.
  pb::Record third = region_;
  third.mutable_region()->set_id(3);
  EXPECT_TRUE(view_.Replace(pb::RECORD_REGION, {region_, second, third}, Revision(5)).ok());
  table_.Update(view_);
  EXPECT_TRUE(table_.LeaderOf(*table_.Find(RegionId(3))).IsNone());
}

TEST_F(RoutingTest, TheLaterTermIsBelieved) {
  table_.SetSelf(NodeId(1));
  EXPECT_EQ(region().self, ReplicaId(11));
  table_.SetRunning(RegionId(1), true);
  EXPECT_EQ(table_.RedirectTarget(region()), NodeId());  // it runs here and knows of no leader
  Role(raft::Role::kFollower, 3, 12);
  EXPECT_EQ(table_.RedirectTarget(region()), NodeId(2));
  table_.ReportLeader(RegionId(1), NodeId(3), Term(4), Revision(1));
  EXPECT_EQ(table_.RedirectTarget(region()), NodeId(3));
  Role(raft::Role::kFollower, 5, 0);  // an election of a later term
  EXPECT_EQ(table_.RedirectTarget(region()), NodeId());
  Role(raft::Role::kLeader, 6, 11);
  EXPECT_TRUE(region().leads());
  EXPECT_EQ(table_.LeaderOf(region()), NodeId(1));
  EXPECT_EQ(table_.RedirectTarget(region()), NodeId());  // never to oneself
  table_.ReportLeader(RegionId(1), NodeId(1), Term(6), Revision(1));
  Role(raft::Role::kFollower, 6, 0);
  EXPECT_EQ(table_.RedirectTarget(region()), NodeId());
}

// The upper half of region 1 goes to region 2, by procedure 9. Views and logs come in any order.
TEST_F(RoutingTest, OfTwoClaimsTheOneOfTheLaterProcedureHolds) {
  table_.SetSelf(NodeId(1));
  pb::Record whole;
  *whole.mutable_region() = view_.regions().at(1);
  pb::Record made = whole;
  made.mutable_region()->set_id(2);
  made.mutable_region()->mutable_slots()->set_first(8192);
  made.mutable_region()->set_state(pb::REGION_CREATING);
  made.mutable_region()->set_split_off(true);
  made.mutable_region()->set_range_procedure(9);
  pb::Record half = whole;
  half.mutable_region()->mutable_slots()->set_last(8191);
  half.mutable_region()->set_range_procedure(9);
  pb::Record published = made;
  published.mutable_region()->set_state(pb::REGION_SERVING);
  uint64_t revision = 1;
  const auto show = [&](const pb::Record& one, const pb::Record& two) {
    ASSERT_TRUE(view_.Replace(pb::RECORD_REGION, {one, two}, Revision(++revision)).ok());
    table_.Update(view_);
  };
  const auto owner = [this](uint16_t slot) {
    const Region* owner = table_.Find(DatabaseId(1))->by_slot[slot];
    return owner == nullptr ? 0 : owner->id.value();
  };
  const store::RegionRange all{.slots = store::SlotRange{0, 16383}};
  const store::RegionRange lower{.slots = store::SlotRange{0, 8191}, .changed_by = 9};
  const store::RegionRange upper{.slots = store::SlotRange{8192, 16383}, .changed_by = 9};

  show(whole, made);
  EXPECT_EQ(owner(10000), 1u) << "by the records alone";
  table_.SetRange(RegionId(1), all);
  table_.SetRunning(RegionId(1), true);
  table_.SetRange(RegionId(2), {});
  table_.SetRunning(RegionId(2), true);
  EXPECT_EQ(owner(10000), 1u);
  EXPECT_FALSE(table_.Find(RegionId(2))->Serves(10000));
  // The other's replica here is ahead: it has opened, while the one's has not heard of its release.
  table_.SetRange(RegionId(2), upper);
  EXPECT_EQ(owner(10000), 2u);
  EXPECT_EQ(owner(8191), 1u);
  // The one is ahead: it has released, and the other one's replica does not know that it has opened.
  table_.SetRange(RegionId(2), {});
  table_.SetRange(RegionId(1), lower);
  EXPECT_EQ(owner(10000), 2u) << "that is where they go";
  EXPECT_EQ(owner(8191), 1u);
  // A replica that lags and a view that does not.
  table_.SetRange(RegionId(1), all);
  table_.SetRunning(RegionId(2), false);
  show(half, published);
  EXPECT_EQ(owner(10000), 2u);
  EXPECT_EQ(owner(8191), 1u);
  table_.SetRange(RegionId(1), lower);
  EXPECT_EQ(owner(10000), 2u);
}

TEST(RedisIdTest, IsForty) {
  EXPECT_EQ(RedisIdOf("a").size(), 40u);
  EXPECT_NE(RedisIdOf("a"), RedisIdOf("b"));
}

}  // namespace
}  // namespace tenure::node
