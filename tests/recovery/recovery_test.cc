// Plans and their execution on a disk that loses power, with a crash at every one of its operations.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recovery/execution.h"
#include "recovery/intent.h"
#include "recovery/plan.h"
#include "tenure/internal/v1/command.pb.h"
#include "tests/runtime/manual_executor.h"
#include "tests/wal/fake_disk.h"
#include "wal/inspect.h"

namespace tenure::recovery {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

raft::Configuration Voters(std::initializer_list<uint64_t> ids) {
  raft::Configuration configuration;
  for (const uint64_t id : ids)
    configuration.members.push_back({ReplicaId(id), id, raft::MemberRole::kVoter});
  return configuration;
}

std::vector<raft::Entry> Entries(uint64_t first, uint64_t last, uint64_t term) {
  std::vector<raft::Entry> entries;
  for (uint64_t i = first; i <= last; ++i) {
    entries.push_back({LogIndex(i), Term(term), raft::EntryType::kCommand, Bytes(std::string("x"))});
  }
  return entries;
}

class RecoveryTest : public testing::Test {
 protected:
  RecoveryTest() { Restart(); }
  ~RecoveryTest() override { executor_->Stop(); }

  // A new process on the same disk.
  void Restart() {
    if (executor_) executor_->Stop();
    executor_ = std::make_unique<runtime::ManualExecutor>();
    disk_ = std::make_unique<wal::FakeDisk>(storage_, *executor_);
  }

  static std::string Path(uint64_t id) { return fmt::format("/d{}", id); }

  // The directory of a stopped controller: entries 1..`last`, the last `tail` of them of `term`, the others
  // of 1.
  void Make(uint64_t id, uint64_t last, uint64_t term, uint64_t hard_term, uint64_t tail = 1,
            const std::string& cluster = "c1", uint64_t incarnation = 1,
            std::initializer_list<uint64_t> voters = {1, 2, 3, 4, 5}) {
    wal::Identity identity;
    identity.cluster_id = cluster;
    identity.incarnation = incarnation;
    identity.controller_id = ControllerId(id);
    identity.name = fmt::format("{}", id);
    ASSERT_TRUE(wal::DataDirectory::Create(*disk_, Path(id), identity).ok());
    wal::Write write;
    write.group = kCatalogGroup;
    write.reset_to = raft::SnapshotMark{LogIndex(), Term(), Voters(voters)};
    write.entries = Entries(1, last - tail, 1);
    for (raft::Entry& entry : Entries(last - tail + 1, last, term)) write.entries.push_back(entry);
    write.hard_state = raft::HardState{Term(hard_term), ReplicaId(id), LogIndex(last - tail)};
    Append(id, std::move(write));
  }

  void Append(uint64_t id, wal::Write write) {
    auto log = wal::Wal::Open(*disk_, *executor_, Path(id) + "/wal", options_, Logger(), [](Status) {});
    ASSERT_TRUE(log.ok()) << log.status();
    std::vector<wal::Write> writes;
    writes.push_back(std::move(write));
    bool closed = false;
    (*log)->Append(std::move(writes), [](Status) {});
    (*log)->Close([&closed](Status) { closed = true; });
    executor_->Advance(std::chrono::milliseconds(50));
    ASSERT_TRUE(closed);
  }

  static std::vector<std::string> Paths(const std::vector<uint64_t>& ids) {
    std::vector<std::string> paths;
    for (const uint64_t id : ids) paths.push_back(Path(id));
    return paths;
  }

  StatusOr<Plan> PlanOf(const std::vector<uint64_t>& ids, const std::set<uint64_t>& forced = {}) {
    auto survivors = Survivors::Open(*disk_, *executor_, Paths(ids), Logger());
    if (!survivors.ok()) return survivors.status();
    return MakePlan((*survivors)->survey(), forced);
  }

  StatusOr<Intent> Execute(const std::vector<uint64_t>& ids, const std::string& digest,
                           const std::set<uint64_t>& forced = {}) {
    auto survivors = Survivors::Open(*disk_, *executor_, Paths(ids), Logger());
    if (!survivors.ok()) return survivors.status();
    StatusOr<Intent> result = Error(StatusCode::kUnknown, "not answered");
    Survivors::Request request{.digest = digest, .forced = forced, .by = "me", .log = options_};
    (*survivors)->Execute(std::move(request), [&result](StatusOr<Intent> done) { result = std::move(done); });
    executor_->Advance(std::chrono::milliseconds(50));
    return result;
  }

  DirectorySurvey SurveyOf(uint64_t id) {
    auto directory = wal::DataDirectory::Open(*disk_, Path(id));
    EXPECT_TRUE(directory.ok()) << directory.status();
    auto survey = SurveyDirectory(*disk_, **directory);
    EXPECT_TRUE(survey.ok()) << survey.status();
    return *survey;
  }

  wal::FakeStorage storage_{1};
  wal::WalOptions options_{.segment_bytes = 16 << 10};
  std::unique_ptr<runtime::ManualExecutor> executor_;
  std::unique_ptr<wal::FakeDisk> disk_;
};

std::string Why(const Status& status) {
  return std::string(MessageOf(status));
}

TEST_F(RecoveryTest, TheHigherLastTermWinsOverTheLongerLog) {
  Make(1, 20, 1, 7);
  Make(2, 12, 3, 3);
  const auto plan = PlanOf({1, 2});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->controller, ControllerId(2));
  EXPECT_EQ(plan->last_term, Term(3));
  EXPECT_EQ(plan->last_index, LogIndex(12));
  EXPECT_EQ(plan->new_term, Term(8)) << "above every term that any survivor has seen";
  EXPECT_EQ(raft::ToString(plan->after), "1:learner@1 2:voter@2");
  EXPECT_THAT(plan->lost, ElementsAre(3, 4, 5));
  EXPECT_EQ(PlanOf({2, 1})->digest, plan->digest) << "the order of the directories means nothing";
}

TEST_F(RecoveryTest, OfEqualTermsTheLongerLogWins) {
  Make(1, 13, 3, 3);
  Make(2, 12, 3, 3);
  EXPECT_EQ(PlanOf({2, 1})->controller, ControllerId(1));
}

TEST_F(RecoveryTest, TheDigestChangesWithWhatItRestsOn) {
  Make(1, 12, 3, 3);
  const std::string before = PlanOf({1})->digest;
  wal::Write write;
  write.group = kCatalogGroup;
  write.hard_state = raft::HardState{Term(4), ReplicaId(), LogIndex(11)};
  Append(1, std::move(write));
  EXPECT_NE(PlanOf({1})->digest, before);
  EXPECT_THAT(Why(Execute({1}, before).status()), HasSubstr("decide again"));
  EXPECT_EQ(SurveyOf(1).identity.incarnation, 1u);
}

TEST_F(RecoveryTest, Refusals) {
  Make(1, 12, 3, 3);
  Make(2, 12, 3, 3);
  Make(3, 12, 3, 3);
  EXPECT_THAT(Why(PlanOf({1, 2, 3}).status()), HasSubstr("are a majority: controllers 1,2,3"));
  EXPECT_THAT(Why(PlanOf({1, 2, 3}, {1, 2}).status()),
              HasSubstr("--force: names controllers 1,2, the voters"));
  EXPECT_TRUE(PlanOf({1, 2, 3}, {1, 2, 3}).ok());
  EXPECT_THAT(Why(PlanOf({1, 1}).status()), HasSubstr("given twice"));
  EXPECT_EQ(PlanOf({9}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(PlanOf({}).status().code(), StatusCode::kInvalidArgument);
  Make(4, 12, 3, 3, 1, "c2");
  EXPECT_THAT(Why(PlanOf({1, 4}).status()), HasSubstr("belongs to cluster c1, /d4 to cluster c2"));
  Make(5, 12, 3, 3, 1, "c1", 2);
  EXPECT_THAT(Why(PlanOf({1, 5}).status()), HasSubstr("/d1 is of incarnation 1, /d5 of incarnation 2"));
  EXPECT_THAT(Why(PlanOf({5, 1}).status()), HasSubstr("/d1 is of incarnation 1, /d5 of incarnation 2"));

  const auto running = wal::DataDirectory::Open(*disk_, Path(1));
  ASSERT_TRUE(running.ok());
  EXPECT_THAT(Why(PlanOf({1, 2}).status()), HasSubstr("in use"));
}

TEST_F(RecoveryTest, ADirectoryWithoutTheCatalogIsRefused) {
  wal::Identity node{.cluster_id = "c1", .node_uuid = "u"};
  ASSERT_TRUE(wal::DataDirectory::Create(*disk_, Path(7), node).ok());
  ASSERT_TRUE(disk_->MakeDirectories(Path(7) + "/wal").ok());
  EXPECT_THAT(Why(PlanOf({7}).status()), HasSubstr("holds no replica of group 0"));
}

TEST_F(RecoveryTest, ADamagedLogIsRefused) {
  Make(1, 12, 3, 3);
  std::string segment;
  for (const auto& [name, inode] : storage_.names()) {
    if (name.starts_with(Path(1) + "/wal/") && segment.empty()) segment = name;
  }
  storage_.ContentOf(segment)[700] ^= 1;
  EXPECT_THAT(Why(PlanOf({1}).status()), HasSubstr("tenure repair"));
}

TEST_F(RecoveryTest, ExecutionMakesOneVoterOfANewIncarnation) {
  Make(1, 20, 1, 7);
  Make(2, 12, 3, 3);
  const Plan plan = *PlanOf({1, 2});
  const auto done = Execute({1, 2}, plan.digest);
  ASSERT_TRUE(done.ok()) << done.status();
  const DirectorySurvey picked = SurveyOf(2);
  EXPECT_EQ(picked.identity.incarnation, 2u);
  EXPECT_EQ(picked.identity.pending, "");
  EXPECT_EQ(picked.catalog()->configuration, plan.after);
  EXPECT_EQ(picked.catalog()->last_index, LogIndex(14));
  EXPECT_EQ(picked.catalog()->last_term, Term(8));
  EXPECT_EQ(picked.catalog()->term, Term(8));
  EXPECT_EQ(picked.catalog()->commit, LogIndex(11)) << "nothing is committed by it";
  EXPECT_THAT(*HistoryOf(picked.identity), ElementsAre(*done));
  const DirectorySurvey carried = SurveyOf(1);
  EXPECT_EQ(carried.identity.incarnation, 2u);
  EXPECT_EQ(carried.catalog()->last_index, LogIndex(20)) << "its log is left to the new leader";
  EXPECT_THAT(*HistoryOf(carried.identity), ElementsAre(*done));

  // The command names what was done, for the catalog.
  std::string command;
  ASSERT_TRUE(wal::Inspect(*disk_, Path(2) + "/wal", [&](const wal::InspectedEntry& seen) {
                if (seen.entry.index == LogIndex(14)) command = std::string(seen.entry.payload.view());
              }).ok());
  ::tenure::internal::v1::CatalogCommand decoded;
  ASSERT_TRUE(decoded.ParseFromString(command));
  EXPECT_EQ(decoded.recover_cluster().recovery().digest(), plan.digest);
  EXPECT_EQ(decoded.recover_cluster().voter(), 2u);
  EXPECT_THAT(decoded.recover_cluster().learners(), ElementsAre(1));

  const auto again = Execute({1, 2}, plan.digest);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, *done);
  EXPECT_EQ(HistoryOf(SurveyOf(2).identity)->size(), 1u);
}

// `tenure repair` writes into the same history; the last line is as older programs wrote it.
TEST_F(RecoveryTest, ADirectoryThatWasRepairedIsRecovered) {
  Make(1, 20, 1, 7);
  std::vector<Intent> recoveries;
  for (const char* line :
       {"2026-01-02T03:04:05.678Z repair: dropped groups 3, 4", "2026-01-02 repair: dropped groups none\n"}) {
    {
      auto directory = wal::DataDirectory::Open(*disk_, Path(1));
      ASSERT_TRUE(directory.ok());
      wal::Identity identity = (*directory)->identity();
      AddToHistory(identity, line);
      ASSERT_TRUE((*directory)->Update(identity).ok());
    }
    const auto plan = PlanOf({1}, {1});  // from the second time on it is all of them
    ASSERT_TRUE(plan.ok()) << plan.status();
    const auto done = Execute({1}, plan->digest, {1});
    ASSERT_TRUE(done.ok()) << done.status();
    recoveries.push_back(*done);
  }
  const wal::Identity identity = SurveyOf(1).identity;
  const auto history = HistoryOf(identity);
  ASSERT_TRUE(history.ok()) << history.status();
  EXPECT_EQ(*history, recoveries);
  EXPECT_EQ(std::count(identity.history.begin(), identity.history.end(), '\n'), 3) << identity.history;
}

// At whichever operation of the disk the execution ends: the directories are those of before or those of
// after, and executing again ends it.
TEST_F(RecoveryTest, ACrashAnywhereLeavesTheOldOrTheNewState) {
  bool completed = false;
  std::set<uint64_t> seen;
  for (uint64_t operations = 0; !completed; ++operations) {
    for (const bool power : {false, true}) {
      storage_ = wal::FakeStorage(operations * 2 + (power ? 1 : 0));
      Restart();
      Make(1, 20, 1, 7);
      Make(2, 12, 3, 3);
      storage_.Settle();
      const Plan plan = *PlanOf({1, 2});
      storage_.operations_left = operations;
      completed = Execute({1, 2}, plan.digest).ok();
      storage_.operations_left.reset();
      storage_.dead = false;
      executor_->Stop();
      storage_.Crash(power);
      Restart();

      const DirectorySurvey picked = SurveyOf(2);
      const DirectorySurvey other = SurveyOf(1);
      seen.insert(picked.identity.incarnation);
      const bool is_new = picked.identity.incarnation == 2;
      EXPECT_EQ(picked.catalog()->configuration, is_new ? plan.after : plan.before) << operations;
      EXPECT_EQ(picked.catalog()->last_index, LogIndex(is_new ? 14 : 12)) << operations;
      EXPECT_LE(other.identity.incarnation, picked.identity.incarnation) << operations;
      EXPECT_TRUE(!completed || is_new);

      // As a process that starts on it does.
      auto directory = wal::DataDirectory::Open(*disk_, Path(2));
      ASSERT_TRUE(directory.ok());
      const auto log = wal::Inspect(*disk_, Path(2) + "/wal", {});
      ASSERT_TRUE(log.ok());
      ASSERT_TRUE(Resolve(**directory, &log->groups.at(kCatalogGroup).state).ok());
      EXPECT_EQ((*directory)->identity(), picked.identity);
      directory->reset();

      const auto again = Execute({1, 2}, plan.digest);
      ASSERT_TRUE(again.ok()) << operations << ": " << again.status();
      EXPECT_EQ(SurveyOf(1).identity.incarnation, 2u);
      EXPECT_EQ(SurveyOf(2).identity.incarnation, 2u);
      EXPECT_EQ(HistoryOf(SurveyOf(2).identity)->size(), 1u);
      EXPECT_EQ(SurveyOf(2).catalog()->last_index, LogIndex(14));
    }
    ASSERT_LT(operations, 1000u);
  }
  EXPECT_THAT(seen, ElementsAre(1, 2)) << "both states were met";
}

TEST(Intent, RoundTrip) {
  const Intent intent{.incarnation = 3,
                      .digest = "00ff",
                      .at_ms = 1700000000000,
                      .controller = ControllerId(2),
                      .term = Term(9),
                      .index = LogIndex(105),
                      .voters = {1, 2, 3},
                      .carried = {},
                      .by = "some_one@host"};
  EXPECT_EQ(*DecodeIntent(EncodeIntent(intent)), intent);
  EXPECT_THAT(Why(DecodeIntent("incarnation=3 digest=x").status()), HasSubstr("`at_ms`"));
}

TEST(Intent, HistoryPassesOverWhatIsNoRecovery) {
  const Intent intent{.incarnation = 2, .digest = "d", .controller = ControllerId(1), .by = "me"};
  wal::Identity identity;
  identity.history = "a repair: dropped groups 1\n\n" + EncodeIntent(intent) + "\n";
  EXPECT_THAT(*HistoryOf(identity), ElementsAre(intent));
  identity.history += "incarnation=3 digest=x";
  EXPECT_THAT(Why(HistoryOf(identity).status()), HasSubstr("`at_ms`"));
}

TEST(Intent, ANewTermAtThatIndexIsTheDecision) {
  const Intent intent{.term = Term(9), .index = LogIndex(5)};
  raft::PersistedState state;
  state.last_index = LogIndex(6);
  state.terms = {{LogIndex(1), Term(1)}, {LogIndex(5), Term(9)}};
  EXPECT_TRUE(IsDecided(intent, &state));
  state.terms[1].term = Term(8);
  EXPECT_FALSE(IsDecided(intent, &state));
  state.last_index = LogIndex(4);
  state.terms.pop_back();
  EXPECT_FALSE(IsDecided(intent, &state));
  EXPECT_FALSE(IsDecided(intent, nullptr));
}

}  // namespace
}  // namespace tenure::recovery
