// Recoveries as a node sees them: a region goes on with the replica here alone; the cluster gets a new
// incarnation.
#include <gmock/gmock.h>

#include "tests/node/test_cluster.h"

namespace tenure::node {
namespace {

using ::testing::HasSubstr;

class NodeRecoveryTest : public TestCluster {
 protected:
  // Region 1 has lost nodes 2 and 3 and goes on with the replica on node 1.
  void LoseTwo() {
    StartWithDatabase();
    ASSERT_TRUE(AdvanceUntilLed(1));
    EXPECT_EQ(Text(Do(LeaderOf(1), {"SET", "a", "1"})), "OK");
    executor_.Advance(2s);
    at(2).Crash();
    at(3).Crash();
    executor_.Advance(5s);
    ASSERT_EQ(LeaderOf(1), 0);
  }
  // The catalog goes on under incarnation 2.
  void RecoverCatalog(const pb::RecoveryRecord& recovery) {
    pb::Record record;
    record.mutable_cluster()->set_incarnation(2);
    *record.mutable_cluster()->add_recoveries() = recovery;
    controllers_.Put(record);
    controllers_.incarnation = 2;
    executor_.Advance(3s);
  }
  std::string ConfigurationAt(int node) {
    return raft::ToString(*at(node).node().groups().ConfigurationOf(GroupId(1)));
  }
};

TEST_F(NodeRecoveryTest, TheSurvivorGoesOnAloneUnderANewReplicaId) {
  LoseTwo();
  const auto before = at(1).node().groups().StatusOf(GroupId(1));
  controllers_.RecoverRegion(1, 1);
  ASSERT_TRUE(AdvanceUntilLed(1));
  EXPECT_EQ(LeaderOf(1), 1);
  const auto after = at(1).node().groups().StatusOf(GroupId(1));
  EXPECT_EQ(after->self, ReplicaId(4));
  EXPECT_GT(after->term, before->term);
  EXPECT_EQ(ConfigurationAt(1), "4:voter@1");
  EXPECT_EQ(Text(Do(1, {"GET", "a"})), "1");
  EXPECT_EQ(Text(Do(1, {"SET", "a", "2"})), "OK");
}

TEST_F(NodeRecoveryTest, ARestartDoesNotRecoverAgain) {
  LoseTwo();
  controllers_.RecoverRegion(1, 1);
  ASSERT_TRUE(AdvanceUntilLed(1));
  EXPECT_EQ(Text(Do(1, {"SET", "a", "2"})), "OK");
  executor_.Advance(1s);
  at(1).Crash();
  at(1).Start();
  ASSERT_TRUE(AdvanceUntilLed(1));
  EXPECT_EQ(ConfigurationAt(1), "4:voter@1");
  EXPECT_EQ(Text(Do(1, {"GET", "a"})), "2");
}

TEST_F(NodeRecoveryTest, ARecordThatComesWhileTheNodeIsDownIsFollowedAtItsStart) {
  LoseTwo();
  at(1).Crash();
  controllers_.RecoverRegion(1, 1);
  at(1).Start();
  ASSERT_TRUE(AdvanceUntilLed(1));
  EXPECT_EQ(ConfigurationAt(1), "4:voter@1");
  EXPECT_EQ(Text(Do(1, {"GET", "a"})), "1");
}

// Cut off from the controllers the old majority elects its leader and speaks to the replica that it knows.
TEST_F(NodeRecoveryTest, OldReplicasAreNotHeard) {
  LoseTwo();
  controllers_.RecoverRegion(1, 1);
  ASSERT_TRUE(AdvanceUntilLed(1));
  EXPECT_EQ(Text(Do(1, {"SET", "a", "2"})), "OK");
  const Term term = at(1).node().groups().StatusOf(GroupId(1))->term;
  controllers_.up = false;
  at(2).Start();
  at(3).Start();
  executor_.Advance(10s);
  EXPECT_TRUE(at(2).node().groups().Serving(GroupId(1)) || at(3).node().groups().Serving(GroupId(1)))
      << "else this shows nothing";
  EXPECT_TRUE(at(1).node().groups().Serving(GroupId(1)));
  EXPECT_EQ(at(1).node().groups().StatusOf(GroupId(1))->term, term);
  EXPECT_EQ(Text(Do(1, {"GET", "a"})), "2");

  controllers_.up = true;
  executor_.Advance(5s);
  EXPECT_FALSE(at(2).node().groups().Runs(GroupId(1)));
  EXPECT_FALSE(at(3).node().groups().Runs(GroupId(1)));
  EXPECT_EQ(Text(Do(1, {"GET", "a"})), "2");
}

// The copy of the catalog read at start may be older than the log beside it.
TEST_F(NodeRecoveryTest, AnOldCopyOfTheCatalogDoesNotBringTheOldIdBack) {
  LoseTwo();
  const auto old_view = runtime::ReadWholeFile(at(1).disk(), "catalog-view");
  ASSERT_TRUE(old_view.ok());
  controllers_.RecoverRegion(1, 1);
  ASSERT_TRUE(AdvanceUntilLed(1));
  executor_.Advance(1s);
  at(1).Crash();
  ASSERT_TRUE(runtime::WriteWholeFile(at(1).disk(), "catalog-view", *old_view).ok());
  controllers_.up = false;
  at(1).Start();
  executor_.Advance(5s);
  EXPECT_FALSE(at(1).node().groups().Runs(GroupId(1)));
  controllers_.up = true;
  ASSERT_TRUE(AdvanceUntilLed(1));
  EXPECT_EQ(at(1).node().groups().StatusOf(GroupId(1))->self, ReplicaId(4));
}

TEST_F(NodeRecoveryTest, ANodeFollowsItsClusterIntoANewIncarnation) {
  StartWithDatabase();
  controllers_.incarnation = 2;
  executor_.Advance(3s);
  EXPECT_EQ(at(1).incarnation, 2u) << "by the next heartbeat";
  at(2).Crash();
  at(2).Start();
  executor_.Advance(1s);
  EXPECT_EQ(at(2).incarnation, 2u) << "by registration";
  EXPECT_FALSE(at(1).refused.has_value());
}

// A database was created and its record lost with the catalog's majority.
TEST_F(NodeRecoveryTest, ReplicasThatTheLostPartMadeAreKept) {
  StartWithDatabase();
  ASSERT_TRUE(AdvanceUntilLed(1));
  pb::RecoveryRecord recovery;
  recovery.set_first_region(1);
  recovery.set_left_out(100);
  RecoverCatalog(recovery);
  controllers_.Delete(pb::RECORD_REGION, 1);
  executor_.Advance(3s);
  at(2).Crash();
  at(2).Start();
  executor_.Advance(5s);
  for (int i = 1; i <= 3; ++i) {
    EXPECT_FALSE(at(i).log().groups[GroupId(1)].tombstone) << i;
    EXPECT_EQ(at(i).node().GetStats().kept_replicas, 1u) << i;
  }
}

// It was removed in what the recovered catalog knows.
TEST_F(NodeRecoveryTest, ReplicasThatTheRecoveredCatalogRemovedGo) {
  StartWithDatabase();
  ASSERT_TRUE(AdvanceUntilLed(1));
  pb::RecoveryRecord recovery;
  recovery.set_first_region(2);
  recovery.set_left_out(100);
  RecoverCatalog(recovery);
  controllers_.Delete(pb::RECORD_REGION, 1);
  executor_.Advance(3s);
  for (int i = 1; i <= 3; ++i) EXPECT_TRUE(at(i).log().groups[GroupId(1)].tombstone) << i;
}

// Node 3 came to the region in the lost part: the record is older than that.
TEST_F(NodeRecoveryTest, AMemberThatTheRecordDoesNotNameYetIsKeptAndRuns) {
  StartWithDatabase();
  ASSERT_TRUE(AdvanceUntilLed(1));
  group::GroupHost& leader = at(LeaderOf(1)).node().groups();
  raft::Configuration members = *leader.ConfigurationOf(GroupId(1));
  const ReplicaId follower(LeaderOf(1) == 1 ? 2 : 1);
  for (const raft::MemberRole role : {raft::MemberRole::kLearner, raft::MemberRole::kVoter}) {
    for (raft::Member& member : members.members) {
      if (member.id == follower) member.role = role;
    }
    leader.ProposeConfiguration(GroupId(1), members, [](const group::ProposeOutcome&) {});
    executor_.Advance(1s);
    ASSERT_EQ(*leader.ConfigurationOf(GroupId(1)), members);
  }
  pb::Record record = controllers_.records().at({pb::RECORD_REGION, 1});
  record.mutable_region()->mutable_replicas()->RemoveLast();
  RecoverCatalog({});
  controllers_.Put(record);
  executor_.Advance(3s);
  EXPECT_FALSE(at(3).log().groups[GroupId(1)].tombstone);
  at(3).Crash();
  at(3).Start();
  executor_.Advance(5s);
  EXPECT_TRUE(at(3).node().groups().Runs(GroupId(1))) << "the others may need it for a majority";

  // The leader has reported: by a record that is not older it goes.
  const auto known = at(3).node().groups().KnownConfigurationOf(GroupId(1));
  ASSERT_TRUE(known.has_value());
  record.mutable_region()->set_configuration_index(known->index.value());
  controllers_.Put(record);
  executor_.Advance(3s);
  EXPECT_TRUE(at(3).log().groups[GroupId(1)].tombstone);
}

TEST_F(NodeRecoveryTest, AControllerThatWasLeftBehindIsRefused) {
  StartWithDatabase();
  at(1).Crash();
  at(1).controller_id = 1;
  controllers_.incarnation = 2;
  at(1).Start();
  executor_.Advance(1s);
  ASSERT_TRUE(at(1).refused.has_value());
  EXPECT_EQ(catalog::ReasonOf(*at(1).refused), pb::REASON_STALE_INCARNATION);
  EXPECT_THAT(std::string(MessageOf(*at(1).refused)), HasSubstr("incarnation 1 of cluster cluster-a"));
  EXPECT_THAT(std::string(MessageOf(*at(1).refused)), HasSubstr("at incarnation 2"));
  EXPECT_EQ(at(1).incarnation, 1u);
}

TEST_F(NodeRecoveryTest, AControllerOfALowerIncarnationIsNotBelieved) {
  controllers_.incarnation = 2;
  StartWithDatabase();
  ASSERT_EQ(at(1).incarnation, 2u);
  controllers_.incarnation = 1;
  executor_.Advance(5s);
  EXPECT_FALSE(at(1).node().GetStats().connected);
  EXPECT_EQ(at(1).incarnation, 2u);
  controllers_.incarnation = 2;
  executor_.Advance(5s);
  EXPECT_TRUE(at(1).node().GetStats().connected);
}

}  // namespace
}  // namespace tenure::node
