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

// ---- tasks ----

TEST_F(ProceduresTest, AnAttemptIsCommittedBeforeItsSubmissionLeaves) {
  for (auto& one : nodes) {
    one->work = [&](const ipb::TaskSubmit& submit) {
      const auto found = t.machine.catalog().procedures().find(submit.key().procedure());
      EXPECT_NE(found, t.machine.catalog().procedures().end());
      const auto& tasks = found->second.procedure().tasks();
      EXPECT_TRUE(std::any_of(tasks.begin(), tasks.end(), [&](const pb::TaskAttempt& attempt) {
        return attempt.node() == one->id && attempt.attempt() == submit.key().attempt() &&
               attempt.registration_epoch() == submit.registration_epoch();
      }));
      return ipb::TASK_SUCCESS;
    };
  }
  StartRegion();
  int started = 0;
  for (auto& one : nodes) started += one->started;
  EXPECT_EQ(started, 3);
}

TEST_F(ProceduresTest, AFailureIsANewAttemptAndNeverSuccess) {
  CreateDatabase();
  const uint64_t victim = Region().replicas(1).node();
  int failures = 2;
  node(victim).work = [&](const ipb::TaskSubmit&) {
    return failures-- > 0 ? ipb::TASK_FAIL : ipb::TASK_SUCCESS;
  };
  node(Region().replicas(2).node()).work = [](const ipb::TaskSubmit&) { return ipb::TASK_PROCESSING; };
  region.replicas.assign(Region().replicas().begin(), Region().replicas().end());
  leader = Region().replicas(0).node();
  Report();
  Work(2);
  EXPECT_EQ(t.machine.catalog().databases().at(1).database().state(), pb::DATABASE_CREATING);
  Work(250);
  EXPECT_EQ(node(victim).started, 3);
  std::set<uint32_t> attempts;
  for (const ipb::TaskSubmit& submit : node(victim).submits) attempts.insert(submit.key().attempt());
  EXPECT_EQ(attempts.size(), 3u);
  // Two of three are there: it serves, and the third is made by a procedure of its own.
  EXPECT_EQ(t.machine.catalog().databases().at(1).database().state(), pb::DATABASE_PUBLIC);
  EXPECT_EQ(Procedure("CreateReplica").state(), pb::PROCEDURE_RUNNING);
  // Found by the simulator: the region's record names the replica, and nobody else makes it.
  EXPECT_EQ(ReasonOf(Cancel(Procedure("CreateReplica").id()).status()), pb::REASON_CONDITION_FAILED);
  Work(10);
  EXPECT_EQ(Procedure("CreateReplica").state(), pb::PROCEDURE_RUNNING);
}

TEST_F(ProceduresTest, ATaskThatTakesLongRunsOnceWhoeverLeads) {
  StartRegion();
  for (auto& one : nodes) one->work = [](const ipb::TaskSubmit&) { return ipb::TASK_PROCESSING; };
  pb::DropDatabaseRequest drop;
  drop.set_name("d");
  ASSERT_TRUE(t.Call<pb::ChangeResponse>("tenure.v1.Catalog/DropDatabase", drop).ok());
  const int before = node(leader).started;
  uint64_t term = 8;
  for (int minute = 0; minute < 10; ++minute) {
    Work(2);
    t.executor.Advance(seconds(50));
    EXPECT_EQ(Procedure("RemoveRegions").state(), pb::PROCEDURE_RUNNING);
    ASSERT_TRUE(t.machine.catalog().regions().contains(1));
    t.Follow(term++, 2);
    t.Lead(term++);
    for (auto& one : nodes) one->Connect();
  }
  Work();
  EXPECT_EQ(node(leader).started, before + 1);
  for (auto& one : nodes) {
    for (const ipb::TaskSubmit& submit : std::vector(one->submits)) {
      if (submit.payload().has_destroy_replicas()) one->End(submit.key(), ipb::TASK_SUCCESS);
    }
  }
  Work();
  EXPECT_EQ(Procedure("RemoveRegions").state(), pb::PROCEDURE_SUCCEEDED);
  EXPECT_TRUE(t.machine.catalog().regions().empty());
  // Acknowledged: no node keeps a result.
  for (auto& one : nodes) EXPECT_TRUE(one->tasks.empty()) << one->id;
}

TEST_F(ProceduresTest, ADeletionThatFailsIsNeverReportedDone) {
  StartRegion();
  const uint64_t victim = Region().replicas(2).node();
  node(victim).work = [](const ipb::TaskSubmit&) { return ipb::TASK_FAIL; };
  pb::DropDatabaseRequest drop;
  drop.set_name("d");
  ASSERT_TRUE(t.Call<pb::ChangeResponse>("tenure.v1.Catalog/DropDatabase", drop).ok());
  const uint64_t id = Procedure("RemoveRegions").id();
  size_t size = 0;
  for (int i = 0; node(victim).started < 1000; ++i) {
    ASSERT_LT(i, 2000);
    node(victim).Beat(/*full=*/true);  // a full report comes every 60 s
    Work(1);
    t.executor.Advance(seconds(40));
    if (i == 20) size = Procedure(id).ByteSizeLong();
  }
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_RUNNING);
  EXPECT_TRUE(t.machine.catalog().regions().contains(1));
  EXPECT_LE(Procedure(id).ByteSizeLong(), size + 8);  // however often it fails: counters and times only
  const pb::ProcedureStatus status = StatusOf(id);
  bool shown = false;
  for (const pb::TaskStatus& task : status.tasks())
    shown = shown || (task.node() == victim && task.last_error() == "cannot");
  EXPECT_TRUE(shown);
  node(victim).work = [](const ipb::TaskSubmit&) { return ipb::TASK_SUCCESS; };
  t.executor.Advance(seconds(40));
  Work();
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED);
}

TEST_F(ProceduresTest, ANodeThatIsStartedAgainGetsAnotherAttempt) {
  StartRegion();
  const uint64_t victim = Region().replicas(2).node();
  node(victim).work = [](const ipb::TaskSubmit&) { return ipb::TASK_PROCESSING; };
  pb::DropDatabaseRequest drop;
  drop.set_name("d");
  ASSERT_TRUE(t.Call<pb::ChangeResponse>("tenure.v1.Catalog/DropDatabase", drop).ok());
  Work();
  const ipb::TaskKey first = node(victim).submits.back().key();
  node(victim).work = [](const ipb::TaskSubmit&) { return ipb::TASK_SUCCESS; };
  node(victim).Restart();
  Work();
  const ipb::TaskSubmit& second = node(victim).submits.back();
  EXPECT_EQ(second.key().attempt(), first.attempt() + 1);
  EXPECT_EQ(second.registration_epoch(), node(victim).registration);
  Work();
  EXPECT_EQ(Procedure("RemoveRegions").state(), pb::PROCEDURE_SUCCEEDED);
}

TEST_F(ProceduresTest, ASubmissionThatWasLostIsRepeatedUnderTheSameKey) {
  StartRegion();
  const uint64_t victim = Region().replicas(2).node();
  pb::DropDatabaseRequest drop;
  drop.set_name("d");
  stopped = {victim};  // it hears the answers, and its stream breaks before it says anything
  ASSERT_TRUE(t.Call<pb::ChangeResponse>("tenure.v1.Catalog/DropDatabase", drop).ok());
  Work();
  const size_t before = node(victim).submits.size();
  node(victim).Connect();
  stopped.clear();
  Work();
  ASSERT_EQ(node(victim).submits.size(), before + 1);
  EXPECT_EQ(node(victim).submits.back().key().attempt(), 1u);
  EXPECT_EQ(Procedure("RemoveRegions").state(), pb::PROCEDURE_SUCCEEDED);
}

TEST_F(ProceduresTest, ARemovedNodeIsNotWaitedFor) {
  StartRegion();
  const uint64_t victim = Region().replicas(2).node();
  node(victim).work = [](const ipb::TaskSubmit&) { return ipb::TASK_PROCESSING; };
  pb::DropDatabaseRequest drop;
  drop.set_name("d");
  ASSERT_TRUE(t.Call<pb::ChangeResponse>("tenure.v1.Catalog/DropDatabase", drop).ok());
  Work();
  EXPECT_EQ(Procedure("RemoveRegions").state(), pb::PROCEDURE_RUNNING);
  for (const pb::NodeState state : {pb::NODE_DOWN, pb::NODE_REMOVING, pb::NODE_REMOVED}) {
    ipb::CatalogCommand command;
    command.mutable_set_node_state()->set_node(victim);
    command.mutable_set_node_state()->set_state(state);
    t.access.ProposeInEpoch(std::move(command), t.leadership.epoch(), [](auto) {});
    t.executor.Advance(milliseconds(1));
  }
  stopped = {victim};
  Work();
  EXPECT_EQ(Procedure("RemoveRegions").state(), pb::PROCEDURE_SUCCEEDED);
}

// A drop asks little of the leader: those that wait for a node that is away keep no other from beginning.
TEST_F(ProceduresTest, RemovalsThatWaitForANodeDoNotCount) {
  StartRegion();
  const uint64_t victim = Region().replicas(2).node();
  Lose(victim);
  for (int i = 0; i < 65; ++i) {
    const uint64_t id = Submit(RemoveRegions::NewOf(t.machine.catalog(), 1));
    Work(1);
    ASSERT_EQ(Procedure(id).step(), "destroy_replicas") << i;
  }
}

// ---- creation ----

TEST_F(ProceduresTest, ACreationWithoutAMajorityIsUndone) {
  CreateDatabase();
  for (int i = 1; i <= 2; ++i)
    node(Region().replicas(i).node()).work = [](const ipb::TaskSubmit& submit) {
      return submit.payload().has_create_replicas() ? ipb::TASK_FAIL : ipb::TASK_SUCCESS;
    };
  for (int i = 0; i < 30 && !created; ++i) {
    Work(1);
    t.executor.Advance(milliseconds(500));
  }
  ASSERT_TRUE(created);
  EXPECT_EQ(ReasonOf(created->status()), pb::REASON_CONDITION_FAILED);
  EXPECT_THAT(std::string(MessageOf(created->status())), HasSubstr("cannot get 2 of its 3 replicas"));
  Work();
  EXPECT_EQ(Procedure("CreateDatabase").state(), pb::PROCEDURE_FAILED);
  EXPECT_EQ(Procedure("RemoveRegions").state(), pb::PROCEDURE_SUCCEEDED);
  EXPECT_TRUE(t.machine.catalog().databases().empty());
  EXPECT_TRUE(t.machine.catalog().regions().empty());
}

TEST_F(ProceduresTest, ACreationCanBeCancelled) {
  CreateDatabase();
  Work(1);
  ASSERT_TRUE(Cancel(Procedure("CreateDatabase").id()).ok());
  Work();
  EXPECT_EQ(Procedure("CreateDatabase").state(), pb::PROCEDURE_CANCELLED);
  EXPECT_TRUE(t.machine.catalog().databases().empty());
  EXPECT_EQ(ReasonOf(Cancel(Procedure("RemoveRegions").id()).status()), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(ReasonOf(Cancel(77).status()), pb::REASON_NOT_FOUND);
}

// k of n creations fail: with a majority of the others there is a database, without one nothing is left.
TEST_F(ProceduresTest, SomeOfTheCreationsFail) {
  while (nodes.size() < 5) {
    nodes.push_back(std::make_unique<FakeNode>(t, "n" + std::to_string(nodes.size() + 1)));
    nodes.back()->Register();
    nodes.back()->Connect();
  }
  uint64_t id = 0;
  for (uint32_t n = 1; n <= 5; ++n) {
    for (uint32_t k = 0; k <= n; ++k) {
      ++id;
      SCOPED_TRACE(fmt::format("{} of {} fail", k, n));
      pb::CreateDatabaseRequest request;
      request.set_name(fmt::format("d{}", id));
      request.set_regions(1);
      request.set_replicas(n);
      t.Start<pb::ChangeResponse>("tenure.v1.Catalog/CreateDatabase", request, seconds(100), [](auto) {});
      t.executor.Advance(milliseconds(1));  // submitted, not taken by the nodes
      const pb::RegionRecord record = t.machine.catalog().regions().rbegin()->second.region();
      ASSERT_EQ(record.replicas_size(), static_cast<int>(n));
      for (uint32_t i = 0; i < n; ++i) {
        const bool fails = i < k;
        node(record.replicas(static_cast<int>(n - 1 - i)).node()).work =
            [fails](const ipb::TaskSubmit& submit) {
              return fails && submit.payload().has_create_replicas() ? ipb::TASK_FAIL : ipb::TASK_SUCCESS;
            };
      }
      // Whoever can lead, leads.
      const pb::ReplicaRecord& first = record.replicas(0);
      if (n - k >= n / 2 + 1) {
        pb::RegionLoad load;
        load.set_region(record.id());
        load.set_replica(first.id());
        load.set_term(1);
        load.set_is_leader(true);
        load.set_leader_replica(first.id());
        *node(first.node()).next.add_regions() = load;
      }
      Work(150);
      const pb::Record* database = t.machine.catalog().FindDatabase(request.name());
      if (n - k >= n / 2 + 1) {
        ASSERT_NE(database, nullptr);
        EXPECT_EQ(database->database().state(), pb::DATABASE_PUBLIC);
        EXPECT_EQ(t.machine.catalog().regions().at(record.id()).region().state(), pb::REGION_SERVING);
      } else {
        EXPECT_EQ(database, nullptr);
        EXPECT_FALSE(t.machine.catalog().regions().contains(record.id()));
      }
      for (auto& one : nodes) one->work = [](const ipb::TaskSubmit&) { return ipb::TASK_SUCCESS; };
      Work(20);
    }
  }
  // What was missing in those that serve was made later, each by a procedure of its own.
  t.executor.Advance(seconds(40));
  Work(20);
  for (const auto& [procedure, record] : t.machine.catalog().procedures())
    EXPECT_TRUE(catalog::IsEnded(record.procedure().state())) << record.DebugString();
}

// Its node refuses to run it again: somebody else takes its place.
TEST_F(ProceduresTest, AReplicaThatARepairDroppedIsNotMadeForEver) {
  StartRegion();
  const pb::ReplicaRecord dropped = Region().replicas(2);
  node(dropped.node()).work = [](const ipb::TaskSubmit&) { return ipb::TASK_FAIL; };
  const uint64_t id = Submit(CreateReplica::New(1, dropped));
  Work();
  ASSERT_FALSE(catalog::IsEnded(Procedure(id).state()));
  node(dropped.node()).lost.insert(1);
  Work();
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_FAILED);
  EXPECT_THAT(Procedure(id).last_error(), HasSubstr("dropped by a repair"));
}

// As programs before format 3 left them.
TEST_F(ProceduresTest, WhatWasBegunBeforeThereWereProceduresIsAdopted) {
  const auto propose = [this](ipb::CatalogCommand command) {
    t.access.ProposeInEpoch(
        std::move(command), t.leadership.epoch(),
        [](StatusOr<ipb::CatalogResult> result) { ASSERT_TRUE(result.ok()) << result.status(); });
    t.executor.Advance(milliseconds(1));
  };
  for (const char* name : {"half", "dropped"}) {
    const auto plan =
        planner::PlanCreateDatabase({.name = name, .regions = 2}, planner::ViewOf(t.machine.catalog(), {}));
    ASSERT_TRUE(plan.ok()) << plan.status();
    ipb::CatalogCommand create;
    *create.mutable_create_database() = *plan;
    propose(std::move(create));
  }
  ipb::CatalogCommand drop;
  drop.mutable_set_database_state()->set_database(2);
  drop.mutable_set_database_state()->set_from(pb::DATABASE_CREATING);
  drop.mutable_set_database_state()->set_to(pb::DATABASE_PRE_DELETE);
  propose(std::move(drop));
  ASSERT_TRUE(t.machine.catalog().procedures().empty());
  t.Follow(8, 2);
  t.Lead(9);
  for (auto& one : nodes) one->Connect();
  Work();
  EXPECT_EQ(Procedure("CreateDatabase").object(), 1u);
  EXPECT_EQ(Procedure("CreateDatabase").locks(0).id(), 1u);
  EXPECT_EQ(Procedure("RemoveRegions").state(), pb::PROCEDURE_SUCCEEDED);
  EXPECT_FALSE(t.machine.catalog().databases().contains(2));
  EXPECT_EQ(t.machine.catalog().regions().size(), 2u);
  // Once only, whoever leads next.
  t.Follow(10, 2);
  t.Lead(11);
  EXPECT_EQ(t.machine.catalog().procedures().size(), 2u);
}

// ---- nodes, order, records ----

TEST_F(ProceduresTest, ADrainIsEstimatedFromWhatHasLeft) {
  EXPECT_EQ(DrainNode::Progress(40, 40, 4, seconds(10)),
            "0 of 40 replicas have left, 40 are left, 4 move now");
  EXPECT_EQ(DrainNode::Progress(40, 30, 4, seconds(10)),
            "10 of 40 replicas have left, 30 are left, 4 move now, about 30 s more at the rate so far");
  EXPECT_EQ(DrainNode::Progress(2, 3, 0, seconds(10)), "0 of 3 replicas have left, 3 are left, 0 move now");
  EXPECT_EQ(
      DrainNode::Progress(2, 0, 0, seconds(0), {"feed"}),
      "2 of 2 replicas have left, 0 are left, 0 move now; 1 maintainers are left, of changefeed 'feed'");
}

// Both are asked about before either promise is in the catalog.
TEST_F(ProceduresTest, PromisesThatContradictEachOtherAreNotGivenAtOnce) {
  StartRegion();
  Report();
  Work();
  const auto ask = [this](uint64_t id, auto done) {
    pb::CanStopRequest request;
    request.set_node(id);
    request.set_reserve_ms(60'000);
    t.Start<pb::CanStopResponse>("tenure.v1.Cluster/CanStop", request, seconds(10), done);
    t.executor.Advance(milliseconds(1));
  };
  std::optional<StatusOr<pb::CanStopResponse>> first;
  std::optional<StatusOr<pb::CanStopResponse>> second;
  t.group.hold = true;
  ask(Region().replicas(1).node(), [&](auto answer) { first = std::move(answer); });
  EXPECT_FALSE(first);
  ask(Region().replicas(2).node(), [&](auto answer) { second = std::move(answer); });
  ASSERT_TRUE(second);
  EXPECT_EQ(ReasonOf(second->status()), pb::REASON_BUSY);
  t.group.Release();
  t.executor.Advance(milliseconds(1));
  ASSERT_TRUE(first && first->ok()) << first->status();
  EXPECT_TRUE((*first)->yes());
  EXPECT_GT((*first)->reserved_ms(), 0);
  ask(Region().replicas(2).node(), [&](auto answer) { second = std::move(answer); });
  ASSERT_TRUE(second->ok()) << second->status();
  EXPECT_FALSE((*second)->yes());
  EXPECT_THAT((*second)->reasons(0), HasSubstr("is held"));
}

// The first answer was lost, with a leader perhaps.
TEST_F(ProceduresTest, ADrainAndARemovalThatAreAskedForAgainAreAnsweredAgain) {
  StartRegion();
  pb::DrainNodeRequest drain;
  drain.mutable_id()->set_client_id(77);
  drain.mutable_id()->set_sequence(1);
  drain.set_node(spare);
  const auto ask = [&](pb::DrainNodeRequest request) {
    return t.Call<pb::DrainNodeResponse>("tenure.v1.Cluster/DrainNode", request, seconds(10),
                                         milliseconds(20));
  };
  const auto first = ask(drain);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto again = ask(drain);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->revision(), first->revision());
  EXPECT_EQ(again->procedure().procedure().id(), first->procedure().procedure().id());
  Work();
  // Another request is another wish.
  drain.mutable_id()->set_sequence(2);
  EXPECT_EQ(ReasonOf(ask(drain).status()), pb::REASON_CONDITION_FAILED);

  pb::RemoveNodeRequest remove;
  remove.mutable_id()->set_client_id(77);
  remove.mutable_id()->set_sequence(3);
  remove.set_node(spare);
  for (int i = 0; i < 2; ++i) {
    const auto removed =
        t.Call<pb::RemoveNodeResponse>("tenure.v1.Cluster/RemoveNode", remove, seconds(10), milliseconds(20));
    ASSERT_TRUE(removed.ok()) << removed.status();
    EXPECT_EQ(removed->procedure().procedure().object(), spare);
  }
}

// ---- the engine ----

TEST_F(ProceduresTest, ARegionIsChangedByOneProcedureAtATime) {
  StartRegion();
  const uint64_t first =
      Submit(ChangeReplica::New(ChangeReplica::kMove, Region(), NodeId(spare), ReplicaId(2)));
  const uint64_t second =
      Submit(ChangeReplica::New(ChangeReplica::kRemove, Region(), NodeId(), ReplicaId(3)));
  Work(2);
  EXPECT_EQ(Procedure(second).state(), pb::PROCEDURE_PENDING);
  const pb::ProcedureStatus status = StatusOf(second);
  ASSERT_EQ(status.waits_size(), 1);
  EXPECT_EQ(status.waits(0).holders(0), first);
  EXPECT_THAT(status.progress(), HasSubstr("locks"));
  ASSERT_TRUE(Cancel(second).ok());
  ReportAndWork();
  EXPECT_EQ(Procedure(first).state(), pb::PROCEDURE_SUCCEEDED);
  EXPECT_EQ(Procedure(second).state(), pb::PROCEDURE_CANCELLED);
  EXPECT_EQ(Region().replicas_size(), 3);
}

// What a procedure waits for to begin is no reason to wait for its end.
TEST_F(ProceduresTest, WhatIsCancelledBeforeItBeginsEndsAtOnce) {
  StartRegion();
  node(spare).work = [](const ipb::TaskSubmit&) { return ipb::TASK_PROCESSING; };
  pb::ProcedureRecord holder =
      ChangeReplica::New(ChangeReplica::kMove, Region(), NodeId(spare), ReplicaId(2));
  AddLock(holder, pb::LOCKED_NODE, 2);
  const uint64_t holds = Submit(holder);
  Work(2);
  ASSERT_EQ(Procedure(holds).step(), "create");
  std::vector<pb::ProcedureRecord> kinds;
  for (const std::string_view type :
       {ChangeReplica::kMove, ChangeReplica::kAdd, ChangeReplica::kRemove, ChangeReplica::kRepair})
    kinds.push_back(ChangeReplica::New(type, Region(), NodeId(spare), ReplicaId(3)));
  kinds.push_back(MoveSlots::NewSplit(Region(), 100));
  kinds.push_back(MoveSlots::NewMerge(Region(), Region()));
  kinds.push_back(DrainNode::New(t.machine.catalog(), NodeId(2)));
  kinds.push_back(HoldNode::New(NodeId(2), 1'000'000));
  AddLock(kinds.back(), pb::LOCKED_NODE, 2);
  for (const pb::ProcedureRecord& kind : kinds) {
    const uint64_t id = Submit(kind);
    ASSERT_EQ(Procedure(id).state(), pb::PROCEDURE_PENDING) << kind.type();
    ASSERT_TRUE(Cancel(id).ok()) << kind.type();
    Work(1);
    EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_CANCELLED) << kind.type();
    EXPECT_EQ(t.machine.catalog().nodes().at(2).node().state(), pb::NODE_UP);
  }
  // What only goes forward cannot be cancelled before it begins either: it was submitted with an effect.
  for (pb::ProcedureRecord kind : {RemoveNode::New(NodeId(2), {}, false), CreateDatabase::New("x", 1),
                                   CreateReplica::New(1, Region().replicas(0))}) {
    AddLock(kind, pb::LOCKED_NODE, 2);
    EXPECT_EQ(ReasonOf(Cancel(Submit(kind)).status()), pb::REASON_CONDITION_FAILED) << kind.type();
  }
  EXPECT_EQ(Procedure(holds).step(), "create");
}

TEST_F(ProceduresTest, ADrainThatHasNotBegunIsResumed) {
  StartRegion();
  Report();
  Work();
  pb::ProcedureRecord holder = HoldNode::New(NodeId(leader), ToMillis(t.executor.WallNow()) + 60'000);
  AddLock(holder, pb::LOCKED_NODE, spare);
  const uint64_t holds = Submit(holder);
  Work(2);
  pb::DrainNodeRequest request;
  request.set_node(spare);
  const auto drain = t.Call<pb::DrainNodeResponse>("tenure.v1.Cluster/DrainNode", request);
  ASSERT_TRUE(drain.ok()) << drain.status();
  const uint64_t id = drain->procedure().procedure().id();
  Work(2);
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_PENDING);
  EXPECT_EQ(node(spare).State(), pb::NODE_DRAINING);
  request.set_resume(true);
  ASSERT_TRUE(t.Call<pb::DrainNodeResponse>("tenure.v1.Cluster/DrainNode", request).ok());
  Work(1);
  EXPECT_EQ(Procedure(id).state(), pb::PROCEDURE_CANCELLED);
  EXPECT_EQ(node(spare).State(), pb::NODE_UP);
  EXPECT_FALSE(catalog::IsEnded(Procedure(holds).state()));
}

TEST_F(ProceduresTest, WhatCannotBeReadIsIsolatedAndBlocksNothing) {
  StartRegion();
  pb::ProcedureRecord unknown = NewProcedure("FromTheFuture", "something");
  const uint64_t first = Submit(unknown);
  const uint64_t second = Submit(NewProcedure(ChangeReplica::kMove, "garbage", "\xff\xff\xff"));
  const uint64_t third =
      Submit(ChangeReplica::New(ChangeReplica::kMove, Region(), NodeId(spare), ReplicaId(2)));
  ReportAndWork();
  EXPECT_EQ(Procedure(first).state(), pb::PROCEDURE_PENDING);
  EXPECT_EQ(Procedure(second).state(), pb::PROCEDURE_PENDING);
  EXPECT_EQ(Procedure(third).state(), pb::PROCEDURE_SUCCEEDED);
  EXPECT_THAT(StatusOf(first).progress(), HasSubstr("cannot run it"));
  EXPECT_EQ(StatusOf(first).record().procedure().state(), pb::PROCEDURE_NEEDS_OPERATOR);
  EXPECT_EQ(t.procedures.isolated().size(), 2u);
  const ProcedureNumbers numbers = t.procedures.Numbers();
  EXPECT_EQ(numbers.isolated, 2u);
  EXPECT_EQ(numbers.tasks_under_way, 0u);
  EXPECT_EQ(numbers.records.at({"FromTheFuture", "PENDING"}), 1u);
  EXPECT_EQ(numbers.records.at({"MoveReplica", "SUCCEEDED"}), 1u);
  EXPECT_EQ(numbers.ended.at({"MoveReplica", "SUCCEEDED", "operator"}), 1u);
  EXPECT_EQ(numbers.ended.at({"CreateDatabase", "SUCCEEDED", ""}), 1u);
  for (const char* step : {"prepare", "create", "add_learner", "catch_up", "switch", "confirm", "destroy"})
    EXPECT_EQ(numbers.steps.at({"MoveReplica", step}).count, 1u) << step;
  EXPECT_GT(numbers.steps.at({"MoveReplica", "create"}).sum, Duration::zero());
}

TEST_F(ProceduresTest, ACommandOfAnotherRevisionOrEpochIsRefused) {
  StartRegion();
  const uint64_t id = Submit(ChangeReplica::New(ChangeReplica::kMove, Region(), NodeId(spare), ReplicaId(2)));
  const pb::Record before = t.machine.catalog().procedures().at(id);
  Work(3);
  ipb::CatalogCommand stale;
  ipb::AdvanceProcedure& advance = *stale.mutable_advance_procedure();
  advance.set_if_revision(before.modify_revision());
  *advance.mutable_procedure() = before.procedure();
  advance.mutable_procedure()->set_state(pb::PROCEDURE_SUCCEEDED);
  advance.mutable_effect()->mutable_drop_database()->set_database(1);
  std::optional<Status> refused;
  t.access.ProposeInEpoch(stale, t.leadership.epoch(),
                          [&](const auto& result) { refused = result.status(); });
  t.executor.Advance(milliseconds(1));
  EXPECT_EQ(ReasonOf(*refused), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(t.machine.catalog().databases().at(1).database().state(), pb::DATABASE_PUBLIC);
  EXPECT_NE(Procedure(id).state(), pb::PROCEDURE_SUCCEEDED);
}

TEST_F(ProceduresTest, EndedOnesAreForgottenInTime) {
  StartRegion();
  EXPECT_EQ(Procedure("CreateDatabase").state(), pb::PROCEDURE_SUCCEEDED);
  t.executor.Advance(minutes(119));
  EXPECT_FALSE(t.machine.catalog().procedures().empty());
  t.executor.Advance(minutes(2));
  EXPECT_TRUE(t.machine.catalog().procedures().empty());
}

}  // namespace
}  // namespace tenure::controller
