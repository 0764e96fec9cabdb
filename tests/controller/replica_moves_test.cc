// Replicas that are made, moved and removed: every step, what is undone, and machines that are lost in between.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "catalog/procedures.h"
#include "catalog/refusal.h"
#include "controller/procedure/types/create_replica.h"
#include "planner/database_creation.h"
#include "tenure/internal/v1/node.pb.h"
#include "tenure/internal/v1/procedure.pb.h"
#include "tests/controller/procedures_world.h"

namespace tenure::controller {
namespace {

class ReplicaMovesTest : public ProceduresTest {};

TEST_F(ReplicaMovesTest, AReplicaMoves) {
  StartRegion();
  const uint64_t from = Region().replicas(1).node();
  const uint64_t id = Submit(ChangeReplica::New(ChangeReplica::kMove, Region(), NodeId(spare), ReplicaId(2)));
  Work(2);
  EXPECT_EQ(Joining(), fmt::format("+4@{}", spare));
  ReportAndWork();
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED) << Procedure(id).DebugString();
  ASSERT_EQ(region.history.size(), 2u);
  EXPECT_THAT(region.history[0], HasSubstr(fmt::format("2@{}", from)));
  EXPECT_THAT(region.history[0], HasSubstr(fmt::format("4@{}L", spare)));
  EXPECT_EQ(region.history[1], region.Text());
  EXPECT_EQ(region.Text(),
            fmt::format("1@{} 3@{} 4@{}", Region().replicas(0).node(), Region().replicas(1).node(), spare));
  EXPECT_EQ(Region().replicas_size(), 3);
  EXPECT_EQ(Joining(), "");
  EXPECT_TRUE(node(from).submits.back().payload().has_destroy_replicas());
  std::vector<std::string> steps;
  for (const auto& step : Procedure(id).steps()) steps.push_back(step.name());
  EXPECT_THAT(steps, ::testing::ElementsAre("prepare", "create", "add_learner", "catch_up", "switch",
                                            "confirm", "destroy"));
}

TEST_F(ReplicaMovesTest, ALeaderIsHandedOverBeforeItIsMovedAway) {
  StartRegion();
  const uint64_t old_leader = leader;
  const uint64_t id = Submit(ChangeReplica::New(ChangeReplica::kMove, Region(), NodeId(spare), ReplicaId(1)));
  ReportAndWork();
  EXPECT_EQ(Procedure(id).step(), "switch");
  EXPECT_EQ(region.history.size(), 1u);
  bool asked = false;
  for (const auto& answer : node(old_leader).heard->messages) asked = asked || answer.transfers_size() > 0;
  EXPECT_TRUE(asked);
  leader = Region().replicas(1).node();
  for (auto& one : nodes) one->regions.clear();
  Report();
  for (auto& one : nodes) one->Connect();
  for (pb::RegionLoad* load : {&node(leader).regions[1]}) load->set_term(3);
  *node(leader).next.add_regions() = node(leader).regions[1];
  Work(2);
  for (int i = 0; i < 6; ++i) {
    Report();
    for (auto& one : nodes) {
      for (auto& load : *one->next.mutable_regions()) load.set_term(3);
    }
    Work(2);
  }
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED) << Procedure(id).DebugString();
}

TEST_F(ReplicaMovesTest, AMoveIsCancelledUntilTheSwitch) {
  StartRegion();
  const uint64_t id = Submit(ChangeReplica::New(ChangeReplica::kMove, Region(), NodeId(spare), ReplicaId(2)));
  ReportAndWork(6, /*applied=*/10);  // the new one lags
  EXPECT_EQ(Procedure(id).step(), "catch_up");
  ASSERT_TRUE(Cancel(id).ok());
  ReportAndWork(8, /*applied=*/10);
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_CANCELLED) << Procedure(id).DebugString();
  EXPECT_EQ(Region().replicas_size(), 3);
  EXPECT_EQ(Joining(), "");
  EXPECT_TRUE(node(spare).submits.back().payload().has_destroy_replicas());
}

TEST_F(ReplicaMovesTest, AMoveWhoseTargetIsLostIsRolledBack) {
  StartRegion();
  const uint64_t id = Submit(ChangeReplica::New(ChangeReplica::kMove, Region(), NodeId(spare), ReplicaId(2)));
  Work(2);
  Lose(spare);
  PassSeconds(80);
  // Nobody waits for it to destroy what it may have: it may never be back, and the region is needed.
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_ROLLED_BACK) << Procedure(id).DebugString();
  EXPECT_THAT(Procedure(id).last_error(),
              HasSubstr(fmt::format("node {} is DOWN: replica 4 was not", spare)));
  EXPECT_EQ(Region().replicas_size(), 3);
  EXPECT_EQ(Joining(), "");
}

// Its node is well, and has dropped it in a repair of its log.
TEST_F(ReplicaMovesTest, AMoveWhoseLearnerIsLostIsRolledBack) {
  StartRegion();
  const uint64_t id = Submit(ChangeReplica::New(ChangeReplica::kMove, Region(), NodeId(spare), ReplicaId(2)));
  ReportAndWork(6, /*applied=*/100);
  ASSERT_EQ(Procedure(id).step(), "catch_up");
  node(spare).lost.insert(1);
  ReportAndWork(6, /*applied=*/100);
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_ROLLED_BACK) << Procedure(id).DebugString();
  EXPECT_THAT(Procedure(id).last_error(), HasSubstr("dropped the replica"));
  EXPECT_EQ(Region().replicas_size(), 3);
  EXPECT_EQ(Joining(), "");
}

// The region has to be repaired, and is locked by the move.
TEST_F(ReplicaMovesTest, AMoveWhoseNewReplicaIsLostAfterTheSwitchEnds) {
  const uint64_t id = MoveUntilConfirmed();
  node(spare).lost.insert(1);
  ReportAndWork();
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED) << Procedure(id).DebugString();
  EXPECT_EQ(Joining(), "");
}

TEST_F(ReplicaMovesTest, AMoveWhoseTargetIsLostAfterTheSwitchEnds) {
  const uint64_t id = MoveUntilConfirmed();
  Lose(spare);
  PassSeconds(80);
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED) << Procedure(id).DebugString();
  EXPECT_EQ(Joining(), "");
}

// The configuration that it left holds only the new one, or has no majority without it.
TEST_F(ReplicaMovesTest, TheOldReplicaIsKeptWhileTheRegionNeedsTheNewOne) {
  replicas = 2;
  const uint64_t id = MoveUntilConfirmed();
  const std::string kept = Joining();
  ASSERT_THAT(kept, HasSubstr("-2@"));
  node(spare).lost.insert(1);
  ReportAndWork();
  EXPECT_EQ(Procedure(id).step(), "confirm");
  EXPECT_EQ(Joining(), kept);
  EXPECT_THAT(StatusOf(id).progress(), HasSubstr("replica 2 is kept"));
  node(spare).lost.clear();
  ReportAndWork(6, /*applied=*/6000);
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED) << Procedure(id).DebugString();
  EXPECT_EQ(Joining(), "");
}

TEST_F(ReplicaMovesTest, TheOnlyReplicaIsKeptWhileTheNewOneIsLost) {
  replicas = 1;
  StartRegion();
  region.index = 4990;
  ReportAndWork();
  const uint64_t id = Submit(ChangeReplica::New(ChangeReplica::kMove, Region(), NodeId(spare), ReplicaId(1)));
  ReportAndWork();
  ASSERT_EQ(region.replicas.size(), 2u);
  leader = spare;
  for (int i = 0; i < 6; ++i) {
    for (auto& one : nodes) one->regions.clear();
    Report();
    for (auto& one : nodes) {
      for (auto& load : *one->next.mutable_regions()) load.set_term(3);
    }
    Work(2);
  }
  ASSERT_EQ(region.Text(), fmt::format("2@{}", spare));
  ASSERT_EQ(Procedure(id).step(), "confirm");
  const std::string kept = Joining();
  ASSERT_THAT(kept, HasSubstr("-1@"));
  Lose(spare);
  for (int i = 0; i < 80; ++i) {
    Work(1);
    t.executor.Advance(milliseconds(900));
  }
  ASSERT_EQ(node(spare).State(), pb::NODE_DOWN);
  EXPECT_EQ(Procedure(id).step(), "confirm") << Procedure(id).DebugString();
  EXPECT_EQ(Joining(), kept);
}

// Nobody has to vote who is not there.
TEST_F(ReplicaMovesTest, AMoveWhoseLearnerIsLostAtTheSwitchIsRolledBack) {
  replicas = 2;
  StartRegion();
  const std::string before = region.Text();
  const uint64_t id = Submit(ChangeReplica::New(ChangeReplica::kMove, Region(), NodeId(spare), ReplicaId(2)));
  ReportAndWork(6, /*applied=*/100);
  ASSERT_EQ(Procedure(id).step(), "catch_up");
  region.refuse = true;
  ReportAndWork();
  ASSERT_EQ(Procedure(id).step(), "switch");
  node(spare).lost.insert(1);
  Report();
  Work(2);
  region.refuse = false;
  ReportAndWork();
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_ROLLED_BACK) << Procedure(id).DebugString();
  EXPECT_THAT(Procedure(id).last_error(), HasSubstr("dropped the replica"));
  EXPECT_EQ(region.Text(), before);
  EXPECT_EQ(Joining(), "");
}

// In an idle region the one that is dead has applied as much as the others.
TEST_F(ReplicaMovesTest, ALeaderIsHandedToAVoterThatIsThere) {
  StartRegion();
  const uint64_t dead = Region().replicas(1).node();
  const uint64_t well = Region().replicas(2).node();
  const uint64_t old_leader = leader;
  Lose(dead);
  const uint64_t id = Submit(ChangeReplica::New(ChangeReplica::kMove, Region(), NodeId(spare), ReplicaId(1)));
  ReportAndWork();
  ASSERT_EQ(Procedure(id).step(), "switch");
  int asked = 0;
  for (const auto& answer : node(old_leader).heard->messages) {
    for (const auto& transfer : answer.transfers()) {
      ++asked;
      EXPECT_EQ(transfer.to_replica(), 3u) << "node " << well;
    }
  }
  EXPECT_GT(asked, 0);
}

// Else the first repairs of a node that never comes back would keep all others from beginning.
TEST_F(ReplicaMovesTest, ARepairDoesNotWaitForTheLostNode) {
  StartRegion();
  const uint64_t lost = Region().replicas(1).node();
  Lose(lost);
  PassSeconds(40);
  ASSERT_EQ(t.machine.catalog().nodes().at(lost).node().state(), pb::NODE_DOWN);
  const uint64_t id = Submit(ChangeReplica::New(ChangeReplica::kRepair, Region(), NodeId(spare), ReplicaId(2),
                                                ChangeReplica::kLoss));
  ReportAndWork();
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED) << Procedure(id).DebugString();
  EXPECT_THAT(Procedure(id).last_error(), HasSubstr("is DOWN: replica 2 was not destroyed"));
  EXPECT_EQ(Region().replicas_size(), 3);
  EXPECT_EQ(Joining(), "");
}

TEST_F(ReplicaMovesTest, ADroppedDatabaseEndsAMove) {
  StartRegion();
  const uint64_t id = Submit(ChangeReplica::New(ChangeReplica::kMove, Region(), NodeId(spare), ReplicaId(2)));
  Work(2);
  pb::DropDatabaseRequest drop;
  drop.set_name("d");
  ASSERT_TRUE(t.Call<pb::ChangeResponse>("tenure.v1.Catalog/DropDatabase", drop).ok());
  Work(40);
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_CANCELLED);
  EXPECT_EQ(Procedure("RemoveRegions").state(), pb::PROCEDURE_SUCCEEDED);
  // The one that was being made is destroyed as well.
  EXPECT_TRUE(node(spare).submits.back().payload().has_destroy_replicas());
  EXPECT_TRUE(t.machine.catalog().regions().empty());
}

// The index of a configuration is that of its entry, or a later one where the entry has left the log: it
// rises without a change, and falls with another leader.
TEST_F(ReplicaMovesTest, AMoveDoesNotDependOnWhatTheLogsStillHold) {
  StartRegion();
  const uint64_t id = Submit(ChangeReplica::New(ChangeReplica::kMove, Region(), NodeId(spare), ReplicaId(3)));
  uint64_t term = 2;
  for (int i = 0; i < 40 && !catalog::IsEnded(Procedure(id).state()); ++i) {
    const uint64_t entry = region.index;
    if (i % 3 == 1) region.index += 5;
    if (i % 3 == 2) {
      leader = region.replicas[leader == region.replicas[0].node() ? 1 : 0].node();
      ++term;
    }
    for (const auto& replica : region.replicas) node(replica.node()).regions.clear();
    Report();
    for (auto& one : nodes) {
      for (auto& load : *one->next.mutable_regions()) load.set_term(term);
    }
    Work(2);
    if (i % 3 == 1 && region.index == entry + 5) region.index = entry;
  }
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED) << Procedure(id).DebugString();
  EXPECT_EQ(region.history.size(), 2u);
  EXPECT_EQ(Joining(), "");
}

// The operator declares the majority lost while a replica is being made: that one is given up and destroyed.
TEST_F(ReplicaMovesTest, ARecoveryOfTheRegionEndsAMove) {
  StartRegion();
  const uint64_t id = Submit(ChangeReplica::New(ChangeReplica::kMove, Region(), NodeId(spare), ReplicaId(2)));
  region.refuse = true;
  ReportAndWork(2);
  EXPECT_EQ(Procedure(id).step(), "add_learner");
  ipb::CatalogCommand command;
  auto& item = *command.mutable_recover_regions()->add_items();
  item.set_region(1);
  item.set_replica(1);
  item.set_configuration_version(Region().configuration_version());
  item.set_highest_term(2);
  t.access.ProposeInEpoch(std::move(command), t.leadership.epoch(),
                          [](const auto& result) { ASSERT_TRUE(result.ok()) << result.status(); });
  t.executor.Advance(milliseconds(1));
  EXPECT_EQ(Joining(), fmt::format("-4@{}", spare));
  ASSERT_EQ(Region().replicas_size(), 1);
  // The survivor goes on alone, under a new id, in a later term.
  region.refuse = false;
  region.replicas.assign(Region().replicas().begin(), Region().replicas().end());
  region.index = 5;
  leader = region.replicas[0].node();
  for (auto& one : nodes) one->regions.clear();
  for (int i = 0; i < 8; ++i) {
    Report();
    for (auto& one : nodes) {
      for (auto& load : *one->next.mutable_regions()) load.set_term(4);
    }
    Work(2);
  }
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_ROLLED_BACK) << Procedure(id).DebugString();
  EXPECT_TRUE(
      std::any_of(node(spare).submits.begin(), node(spare).submits.end(), [](const ipb::TaskSubmit& submit) {
        return submit.payload().has_destroy_replicas() &&
               submit.payload().destroy_replicas().items(0).replica() == 4;
      }));
}

// The leader changes after every single command: what was begun ends, and nothing is done twice.
TEST_F(ReplicaMovesTest, AMoveSurvivesALeaderChangeAtEveryStep) {
  StartRegion();
  const uint64_t id = Submit(ChangeReplica::New(ChangeReplica::kMove, Region(), NodeId(spare), ReplicaId(2)));
  uint64_t term = 8;
  for (int i = 0; i < 60 && !catalog::IsEnded(Procedure(id).state()); ++i) {
    t.Follow(term++, 2);
    t.Lead(term++);
    for (auto& one : nodes) one->Connect();
    Report();
    Work(1);
    t.group.hold = true;
    Report();
    Work(1);
    t.group.Release();
    t.executor.Advance(milliseconds(1));
  }
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED) << Procedure(id).DebugString();
  EXPECT_EQ(region.history.size(), 2u);
  EXPECT_EQ(Region().replicas_size(), 3);
  EXPECT_EQ(Joining(), "");
}

// ---- nodes ----

}  // namespace
}  // namespace tenure::controller
