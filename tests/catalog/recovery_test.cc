// What recoveries leave in the catalog.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/catalog/test_catalog.h"

namespace tenure::catalog {
namespace {

using ::testing::HasSubstr;
using T = TestCatalog;

class CatalogRecoveryTest : public ::testing::Test {
 protected:
  CatalogRecoveryTest() {
    t.Initialize();
    for (uint64_t i = 1; i <= 3; ++i)
      t.Apply(T::Register("u" + std::to_string(i), "h" + std::to_string(i) + ":1"));
    t.Apply(T::CreateDatabase("d", 2, {1, 2, 3}));
  }
  static ipb::CatalogCommand Cluster(uint64_t to) {
    ipb::CatalogCommand command = T::Command();
    auto& recover = *command.mutable_recover_cluster();
    recover.set_cluster_id("cluster");
    recover.set_from_incarnation(to - 1);
    recover.set_voter(2);
    recover.add_learners(3);
    recover.mutable_recovery()->set_incarnation(to);
    recover.mutable_recovery()->set_by("me");
    recover.mutable_recovery()->set_left_out(100'000);
    return command;
  }
  static ipb::CatalogCommand Region(uint64_t region, uint64_t version, uint64_t replica) {
    ipb::CatalogCommand command = T::Command();
    auto& item = *command.mutable_recover_regions()->add_items();
    item.set_region(region);
    item.set_configuration_version(version);
    item.set_replica(replica);
    item.mutable_recovery()->set_region(region);
    return command;
  }
  const pb::RegionRecord& RegionAt(uint64_t id) { return t.catalog().regions().at(id).region(); }
  T t;
};

TEST_F(CatalogRecoveryTest, TheClusterGetsANewIncarnationAndLosesItsControllers) {
  EXPECT_EQ(t.Apply(Cluster(2)).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_EQ(t.catalog().cluster()->incarnation(), 2u);
  ASSERT_EQ(t.catalog().cluster()->recoveries_size(), 1);
  EXPECT_EQ(t.catalog().cluster()->recoveries(0).by(), "me");
  const auto& controllers = t.catalog().controllers();
  ASSERT_EQ(controllers.size(), 3u);
  EXPECT_EQ(controllers.at(1).controller().state(), pb::CONTROLLER_REMOVED);
  EXPECT_FALSE(controllers.at(1).controller().voter());
  EXPECT_TRUE(controllers.at(2).controller().voter());
  EXPECT_FALSE(controllers.at(3).controller().voter());
  t.Reopen();
  EXPECT_GT(t.Apply(T::Register("u9", "h9:1")).object_id(), 1000u) << "the lost part may have given out ids";
  EXPECT_EQ(t.catalog().cluster()->incarnation(), 2u);
  EXPECT_EQ(t.catalog().controllers().size(), 3u);

  EXPECT_EQ(t.Apply(Cluster(2)).reason(), pb::REASON_STALE_INCARNATION);
  EXPECT_EQ(t.catalog().cluster()->recoveries_size(), 1);
  auto other = Cluster(3);
  other.mutable_recover_cluster()->set_cluster_id("another");
  EXPECT_EQ(t.Apply(other).reason(), pb::REASON_WRONG_CLUSTER);
  EXPECT_FALSE(Catalog::Validate(Cluster(3), {}).ok()) << "nobody may propose it";
}

ipb::CatalogIds IdsOf(const T& t) {
  ipb::CatalogIds ids;
  EXPECT_TRUE(ids.ParseFromString(t.state().Get("i").value_or("")));
  return ids;
}

TEST_F(CatalogRecoveryTest, IdsOfEveryKindAreLeftOut) {
  const ipb::CatalogIds before = IdsOf(t);
  t.Apply(Cluster(2));
  const ipb::CatalogIds after = IdsOf(t);
  const google::protobuf::Descriptor& kinds = *ipb::CatalogIds::descriptor();
  for (int i = 0; i < kinds.field_count(); ++i) {
    const google::protobuf::FieldDescriptor* kind = kinds.field(i);
    EXPECT_GE(after.GetReflection()->GetUInt64(after, kind),
              before.GetReflection()->GetUInt64(before, kind) + 100'000)
        << kind->name();
  }
  const pb::RecoveryRecord& recovery = t.catalog().cluster()->recoveries(0);
  EXPECT_EQ(recovery.first_region(), before.next_region());
}

// What an older program wrote is applied as that program applies it.
TEST_F(CatalogRecoveryTest, ARecoveryByAnOlderProgramLeavesOutWhatItDid) {
  const ipb::CatalogIds before = IdsOf(t);
  auto command = Cluster(2);
  command.mutable_recover_cluster()->mutable_recovery()->clear_left_out();
  t.Apply(command);
  EXPECT_EQ(IdsOf(t).next_region(), before.next_region() + 100'000);
  EXPECT_EQ(IdsOf(t).next_procedure(), before.next_procedure());
  EXPECT_EQ(IdsOf(t).next_table(), before.next_table());
  EXPECT_EQ(t.catalog().cluster()->recoveries(0).first_region(), 0u);
}

TEST_F(CatalogRecoveryTest, TheSurvivingReplicaGetsAnIdThatTheRegionNeverHad) {
  const uint64_t version = RegionAt(1).configuration_version();
  EXPECT_EQ(t.Apply(Region(1, version, 2)).reason(), pb::REASON_UNSPECIFIED);
  ASSERT_EQ(RegionAt(1).replicas_size(), 1);
  EXPECT_EQ(RegionAt(1).replicas(0).id(), 4u);
  EXPECT_EQ(RegionAt(1).replicas(0).recovered_from(), 2u);
  EXPECT_EQ(RegionAt(1).configuration_version(), version + 1);
  EXPECT_EQ(RegionAt(1).preferred_leader(), 4u);
  EXPECT_EQ(t.catalog().cluster()->recoveries_size(), 1);

  const auto again = t.Apply(Region(1, version, 2));
  EXPECT_EQ(again.reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_THAT(again.message(), HasSubstr("the plan was made for"));
}

TEST_F(CatalogRecoveryTest, AllRegionsOrNone) {
  auto command = Region(1, RegionAt(1).configuration_version(), 2);
  *command.mutable_recover_regions()->add_items() =
      Region(2, RegionAt(2).configuration_version(), 9).recover_regions().items(0);
  EXPECT_THAT(t.Apply(command).message(), HasSubstr("region 2 has no replica 9"));
  EXPECT_EQ(RegionAt(1).replicas_size(), 3);
  auto twice = Region(1, 1, 2);
  *twice.mutable_recover_regions()->add_items() = twice.recover_regions().items(0);
  EXPECT_THAT(std::string(Catalog::Validate(twice, {}).message()), HasSubstr("given twice"));
}

}  // namespace
}  // namespace tenure::catalog
