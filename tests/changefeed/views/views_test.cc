// What a maintainer and dispatchers are told, out of views of the catalog.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "changefeed/views/catalog_schemas.h"
#include "changefeed/views/followed_view.h"
#include "tests/runtime/manual_executor.h"

namespace tenure::changefeed {
namespace {

namespace pb = ::tenure::v1;
using ::testing::ElementsAre;

class ViewsTest : public testing::Test {
 protected:
  ViewsTest() {
    database_.set_id(1);
    database_.set_name("shop");
    for (uint64_t id = 1; id <= 2; ++id) {
      pb::Record& record = nodes_.emplace_back();
      record.mutable_node()->set_id(id);
      record.mutable_node()->set_registration_epoch(10 + id);
    }
  }
  static pb::TableVersion Version(uint64_t version, const std::string& name, uint64_t since) {
    pb::TableVersion out;
    out.mutable_shape()->set_version(version);
    out.mutable_shape()->set_name(name);
    out.mutable_shape()->add_columns()->set_id(static_cast<uint32_t>(version));
    out.mutable_shape()->mutable_columns(0)->set_name("qty");
    out.mutable_shape()->mutable_columns(0)->set_type(pb::COLUMN_INT64);
    out.set_since_ts(since);
    out.set_statement(since == 0 ? "" : "change " + std::to_string(version));
    return out;
  }
  pb::TableRecord& AddTable(uint64_t id, const std::vector<pb::TableVersion>& history) {
    pb::TableRecord& table = *tables_.emplace_back().mutable_table();
    table.set_id(id);
    table.set_database(1);
    table.set_state(pb::TABLE_PUBLIC);
    for (const pb::TableVersion& version : history) *table.add_history() = version;
    *table.mutable_shape() = history.back().shape();
    return table;
  }
  pb::RegionRecord& AddRegion(uint64_t id) {
    pb::RegionRecord& region = *regions_.emplace_back().mutable_region();
    region.set_id(id);
    region.set_database(1);
    region.set_state(pb::REGION_SERVING);
    region.set_range_version(1);
    return region;
  }
  static pb::RegionGeneration& AddGeneration(pb::RegionRecord& region, uint64_t version, uint64_t begin,
                                             uint64_t end) {
    pb::RegionGeneration& generation = *region.add_generations();
    generation.set_range_version(version);
    generation.set_begin_ts(begin);
    generation.set_end_ts(end);
    return generation;
  }
  node::CatalogView View() {
    node::CatalogView view;
    pb::Record database;
    *database.mutable_database() = database_;
    const Revision at(5);
    EXPECT_TRUE(view.Replace(pb::RECORD_NODE, nodes_, at).ok());
    EXPECT_TRUE(view.Replace(pb::RECORD_DATABASE, {database}, at).ok());
    EXPECT_TRUE(view.Replace(pb::RECORD_REGION, regions_, at).ok());
    EXPECT_TRUE(view.Replace(pb::RECORD_TABLE, tables_, at).ok());
    EXPECT_TRUE(view.Replace(pb::RECORD_VIEW, {}, at).ok());
    EXPECT_TRUE(view.Replace(pb::RECORD_CHANGEFEED, {}, at).ok());
    return view;
  }
  FollowedView Compute(const std::string& filter) {
    return ComputeFollowedView(View(), DatabaseId(1), *Filter::Parse(filter),
                               [](RegionId id) { return id.value() == 9 ? NodeId() : NodeId(2); });
  }

  pb::DatabaseRecord database_;
  std::vector<pb::Record> nodes_;
  std::vector<pb::Record> regions_;
  std::vector<pb::Record> tables_;
};

TEST_F(ViewsTest, TablesAreFollowedUnderEveryNameTheyHaveHad) {
  AddTable(1, {Version(1, "orders", 0), Version(2, "sales", 20)});
  pb::TableRecord& next = AddTable(2, {Version(1, "x", 0)});
  next.mutable_next()->set_name("orders");
  AddTable(3, {Version(1, "y", 0), Version(2, "z", 30)});
  AddRegion(1);
  const FollowedView view = Compute("table:orders");
  ASSERT_EQ(view.followed.size(), 2u);
  EXPECT_EQ(view.followed[0].table, 1u);
  EXPECT_EQ(view.followed[0].name, "sales");
  EXPECT_EQ(view.followed[1].table, 2u);
  ASSERT_EQ(view.changes.size(), 1u);
  EXPECT_EQ(view.changes[0].at, CommitTs(20));
  EXPECT_EQ(view.changes[0].schema_version, 2u);
  EXPECT_EQ(view.changes[0].statement, "change 2");
}

TEST_F(ViewsTest, APlaceholderStandsInForTablesThatAreNotThereYet) {
  AddRegion(1);
  ASSERT_EQ(Compute("table:*").followed.size(), 1u);
  EXPECT_TRUE(Compute("table:*").followed[0].placeholder);
  EXPECT_EQ(Compute("table:*").followed[0].table, 0u);
  ASSERT_EQ(Compute("prefix:").followed.size(), 1u);
  EXPECT_FALSE(Compute("prefix:").followed[0].placeholder);
  AddTable(4, {Version(1, "orders", 0)});
  ASSERT_EQ(Compute("table:*").followed.size(), 1u);
  EXPECT_EQ(Compute("table:*").followed[0].table, 4u);
  EXPECT_FALSE(Compute("table:*").followed[0].placeholder);
  EXPECT_EQ(Compute("table:*,prefix:").followed.size(), 2u);
}

TEST_F(ViewsTest, ADroppedTableIsFollowedUntilItWasDropped) {
  AddRegion(1);
  AddTable(1, {Version(1, "orders", 0), Version(2, "orders", 50)});
  pb::DroppedTable& dropped = *database_.add_dropped_tables();
  dropped.set_id(7);
  dropped.set_dropped_ts(40);
  dropped.set_statement("DROP TABLE old");
  *dropped.add_history() = Version(1, "old", 0);
  const FollowedView view = Compute("table:*");
  ASSERT_EQ(view.followed.size(), 2u);
  EXPECT_EQ(view.followed[1].until, CommitTs(40));
  ASSERT_EQ(view.changes.size(), 2u);
  EXPECT_EQ(view.changes[0].table, 7u);
  EXPECT_EQ(view.changes[0].schema_version, 0u);
  EXPECT_EQ(view.changes[1].at, CommitTs(50));
}

TEST_F(ViewsTest, GenerationsOfRegions) {
  pb::RegionRecord& one = AddRegion(1);
  one.set_range_version(2);
  AddGeneration(one, 1, 0, 50);
  auto& predecessor = *AddGeneration(one, 2, 50, 0).add_predecessors();
  predecessor.set_region(1);
  predecessor.set_range_version(1);
  AddRegion(9);
  pb::RegionRecord& coming = AddRegion(3);
  coming.set_state(pb::REGION_CREATING);
  coming.set_split_off(true);
  const FollowedView view = Compute("table:*");
  ASSERT_EQ(view.regions.size(), 3u);
  EXPECT_EQ(view.regions[0].end, CommitTs(50));
  EXPECT_EQ(view.regions[1].begin, CommitTs(50));
  EXPECT_THAT(view.regions[1].predecessors, ElementsAre(Generation{RegionId(1), 1}));
  EXPECT_EQ(view.regions[1].leader, (Process{NodeId(2), Incarnation(12)}));
  EXPECT_EQ(view.regions[2].generation, (Generation{RegionId(9), 1}));
  EXPECT_TRUE(view.regions[2].leader.node.IsNone());
}

TEST_F(ViewsTest, NothingIsKnownWithoutRegions) {
  EXPECT_TRUE(Compute("table:*").schema_known.IsNone());
  AddRegion(1);
  EXPECT_FALSE(Compute("table:*").schema_known.IsNone());
}

TEST_F(ViewsTest, VersionsForDispatchers) {
  AddTable(1, {Version(3, "orders", 0), Version(4, "orders", 50), Version(6, "sales", 0)});
  pb::DroppedTable& dropped = *database_.add_dropped_tables();
  dropped.set_id(7);
  dropped.set_dropped_ts(40);
  *dropped.add_history() = Version(1, "old", 0);
  runtime::ManualExecutor executor;
  CatalogSchemas schemas(executor);
  EXPECT_EQ(schemas.Find(1, 3), nullptr);
  EXPECT_FALSE(schemas.ChangeAt(1, 3).has_value());
  schemas.Update(View());
  executor.Drain();
  EXPECT_EQ(schemas.Find(1, 3)->columns.at(0).id, 3u);
  EXPECT_EQ(schemas.Find(1, 6)->name, "sales") << "rows of it come before all regions are told";
  EXPECT_EQ(schemas.Find(1, 5), nullptr);
  EXPECT_EQ(schemas.ChangeAt(1, 2), CommitTs()) << "long past";
  EXPECT_EQ(schemas.ChangeAt(1, 3), CommitTs());
  EXPECT_EQ(schemas.ChangeAt(1, 4), CommitTs(50));
  EXPECT_FALSE(schemas.ChangeAt(1, 6).has_value()) << "not all regions are told";
  EXPECT_FALSE(schemas.ChangeAt(1, 0).has_value());
  EXPECT_EQ(schemas.ChangeAt(7, 0), CommitTs(40));
  EXPECT_EQ(schemas.FindAt(1, CommitTs(49))->version, 3u);
  EXPECT_EQ(schemas.FindAt(1, CommitTs(90))->version, 4u);
}

}  // namespace
}  // namespace tenure::changefeed
