// Stories about procedures and crashes in the middle of them, and that what must hold of procedures is seen
// to be violated when it is.
#include "sim/procedure_cases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "sim/trace.h"

namespace tenure::sim {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

const Story& Move() {
  return *FindStory("move-replica");
}

ProcedureOutcome Play(std::optional<ProcedureCrash> crash) {
  Trace silent(false, 0);
  return RunProcedure(Move(), crash, &silent);
}

TEST(ProcedureCasesTest, EveryStoryHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (const Story& story : Stories()) {
    EXPECT_TRUE(names.insert(story.name).second) << story.name;
    EXPECT_EQ(FindStory(story.name), &story);
    EXPECT_FALSE(story.ends.empty()) << story.name;
  }
  EXPECT_EQ(FindStory("no-such-story"), nullptr);
}

TEST(ProcedureCasesTest, AStoryCommitsTheSameChangesEachTime) {
  const ProcedureOutcome first = Play({});
  const ProcedureOutcome second = Play({});
  ASSERT_THAT(first.result.failures, IsEmpty());
  EXPECT_EQ(first.result.event_hash, second.result.event_hash);
  ASSERT_EQ(first.changes.size(), second.changes.size());
  std::string all;
  for (size_t i = 0; i < first.changes.size(); ++i) {
    EXPECT_EQ(first.changes[i].what, second.changes[i].what);
    EXPECT_FALSE(first.changes[i].involved.empty());
    all += first.changes[i].what + "; ";
  }
  for (const char* step : {"prepare", "create", "add_learner", "catch_up", "switch", "confirm", "destroy"})
    EXPECT_THAT(all, HasSubstr(std::string("MoveReplica ") + step));
  EXPECT_THAT(all, HasSubstr("SUCCEEDED"));
}

TEST(ProcedureCasesTest, TheVictimDiesAtTheChangeAndTheMoveEnds) {
  const ProcedureOutcome learned = Play({});
  const size_t change = learned.changes.size() / 2;
  for (const size_t machine : learned.changes[change].involved) {
    const ProcedureOutcome outcome = Play(ProcedureCrash{change, machine});
    EXPECT_TRUE(outcome.crashed);
    EXPECT_THAT(outcome.result.failures, IsEmpty());
  }
}

TEST(ProcedureCasesTest, ACrashThatDoesNotComeIsNoPassedCase) {
  const ProcedureOutcome outcome = Play(ProcedureCrash{.change = 1000, .machine = 0});
  ASSERT_EQ(outcome.result.failures.size(), 1u);
  EXPECT_THAT(outcome.result.failures[0], HasSubstr("the change for the crash did not come"));
}

class ProcedureCheckerTest : public ::testing::Test {
 protected:
  static raft::Configuration Members(std::vector<raft::Member> members) {
    raft::Configuration configuration;
    configuration.members = std::move(members);
    return configuration;
  }
  Trace silent{false, 0};
  World world{OptionsOf(Move()), &silent};
  ProcedureChecker& checker = world.procedures();
  const GroupId region{5};
  const raft::Member voter{ReplicaId(1), 1, raft::MemberRole::kVoter};
  const raft::Member learner{ReplicaId(2), 2, raft::MemberRole::kLearner};
  const raft::Member promoted{ReplicaId(2), 2, raft::MemberRole::kVoter};
};

TEST_F(ProcedureCheckerTest, ATaskThatNoCommitNamesIsSeen) {
  world.Boot(0);
  world.scheduler().RunFor(std::chrono::milliseconds(10));
  ASSERT_FALSE(world.failed());
  checker.OnTaskStart(*world.machines()[0], 1, {.procedure = 7, .step = "create", .attempt = 1}, {});
  ASSERT_EQ(world.failures().size(), 1u);
  EXPECT_THAT(world.failures()[0], HasSubstr("which no commit names"));
}

TEST_F(ProcedureCheckerTest, ALearnerThatHasNothingIsNotPromoted) {
  checker.OnConfiguration(region, ReplicaId(1), /*leads=*/true, Members({voter}));
  checker.OnConfiguration(region, ReplicaId(1), /*leads=*/true, Members({voter, learner}));
  EXPECT_FALSE(world.failed());
  checker.OnConfiguration(region, ReplicaId(1), /*leads=*/true, Members({voter, promoted}));
  ASSERT_EQ(world.failures().size(), 1u);
  EXPECT_THAT(world.failures()[0], HasSubstr("replica 2 becomes a voter and has nothing of the log"));
}

TEST_F(ProcedureCheckerTest, ALearnerThatKnowsItselfMayBePromoted) {
  checker.OnConfiguration(region, ReplicaId(1), /*leads=*/true, Members({voter}));
  checker.OnConfiguration(region, ReplicaId(1), /*leads=*/true, Members({voter, learner}));
  checker.OnConfiguration(region, ReplicaId(2), /*leads=*/false, Members({voter, learner}));
  checker.OnConfiguration(region, ReplicaId(1), /*leads=*/true, Members({voter, promoted}));
  EXPECT_FALSE(world.failed());
}

}  // namespace
}  // namespace tenure::sim
