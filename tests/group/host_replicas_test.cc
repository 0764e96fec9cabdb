// Which replica of a group may start on a process, and what is left of the one before.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/group/one_process.h"

namespace tenure::group {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr GroupId kHosted(5);

// Keeps every command.
class Keys final : public StateMachine {
 public:
  void Reset(const kv::Reader&, LogIndex) override {}
  std::string Apply(const ApplyContext&, std::string_view command, kv::View& state) override {
    state.Put(command, "");
    return {};
  }
};

raft::Configuration Alone(uint64_t id) {
  return {{{.id = ReplicaId(id), .host = 1, .role = raft::MemberRole::kVoter}}};
}

class HostReplicasTest : public OneProcessTest {
 protected:
  HostReplicasTest() {
    options.flush_interval = 1h;
    log_options.segment_bytes = 32 << 10;
    Begin();
  }

  // Power is lost. `forget`: also everything that the engine has not flushed.
  void Restart(bool forget = false) {
    End();
    disk.Crash(sim::CrashKind::kPower);
    if (forget) {
      while (store->unflushed_batches() > 0) store->Crash(prng);
    }
    Begin();
  }

  Status Start(uint64_t id, const raft::Configuration& initial, Callback<Status> durable = nullptr) {
    Status result;
    executor->Post([&] {
      result = host->Start(kHosted, ReplicaId(id), initial, std::make_unique<Keys>(),
                           !initial.members.empty(), std::move(durable));
    });
    world.RunFor(1us + 50us);
    return result;
  }
  Status Destroy(uint64_t id) {
    std::optional<Status> result;
    executor->Post([&] { host->Destroy(kHosted, ReplicaId(id), [&](Status status) { result = status; }); });
    world.RunFor(1s);
    return result.value_or(Error(StatusCode::kUnknown, "no answer"));
  }
  void Put(const std::string& key) {
    bool applied = false;
    executor->Post([&] {
      host->Propose(kHosted, key, [&](const ProposeOutcome& outcome) {
        applied = outcome.kind == ProposeOutcome::Kind::kApplied;
      });
    });
    world.RunFor(50ms);
    ASSERT_TRUE(applied) << key;
  }
  void Flush() {
    bool flushed = false;
    executor->Post([&] { engine->Flush([&](const Status& status) { flushed = status.ok(); }); });
    world.RunFor(50ms);
    ASSERT_TRUE(flushed);
  }
  bool Has(const std::string& key) { return host->State(kHosted)->Get(key).has_value(); }

  Prng prng{9};
};

TEST_F(HostReplicasTest, ADestructionThatLeavesAFileHasFailedAndIsTriedAgain) {
  ASSERT_TRUE(Start(2, Alone(2)).ok());
  world.RunFor(3s);
  Put("first");
  const std::string file = "/snapshots/5-9-1.snap.part";  // of a transfer that was broken off
  ASSERT_TRUE(background_disk->Open(file, runtime::OpenMode::kCreate).ok());
  disk.FailRemovals(2, "/snapshots/");
  for (int attempt = 0; attempt < 2; ++attempt) {
    const Status failed = Destroy(2);
    EXPECT_EQ(failed.code(), StatusCode::kInternal);
    EXPECT_THAT(std::string(MessageOf(failed)), HasSubstr(file));
  }
  EXPECT_TRUE(background_disk->Exists(file));
  EXPECT_TRUE(Destroy(2).ok());
  EXPECT_FALSE(background_disk->Exists(file));
  EXPECT_TRUE(Destroy(2).ok());
}

TEST_F(HostReplicasTest, AReplicaThatLeftIsRefusedAndAHigherOneStarts) {
  ASSERT_TRUE(Start(2, Alone(2)).ok());
  world.RunFor(3s);
  Put("first");
  ASSERT_TRUE(Destroy(2).ok());
  for (int run = 0; run < 2; ++run) {
    for (const uint64_t gone : {uint64_t{1}, uint64_t{2}}) {
      const Status refused = Start(gone, Alone(gone));
      EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition);
      EXPECT_THAT(std::string(MessageOf(refused)),
                  AllOf(HasSubstr(std::to_string(gone) + " cannot"), HasSubstr("up to 2")));
      EXPECT_TRUE(host->IsBuried(kHosted, ReplicaId(gone)));
    }
    EXPECT_FALSE(host->IsBuried(kHosted, ReplicaId(3)));
    if (run == 0) Restart();
  }
  ASSERT_TRUE(Start(9, Alone(9)).ok());
  world.RunFor(3s);
  EXPECT_FALSE(Has("first"));
  Put("second");
  EXPECT_EQ(host->ReplicaOf(kHosted), ReplicaId(9));
  EXPECT_TRUE(host->IsBuried(kHosted, ReplicaId(2)));
  Restart();
  // Still while 9 is here, and 9 is known.
  EXPECT_TRUE(host->IsBuried(kHosted, ReplicaId(2)));
  EXPECT_EQ(host->ReplicaOf(kHosted), ReplicaId(9));
  EXPECT_EQ(Start(2, Alone(2)).code(), StatusCode::kFailedPrecondition);
  const Status another = Start(10, Alone(10));
  EXPECT_EQ(another.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(another)), AllOf(HasSubstr("replica 10"), HasSubstr("replica 9")));
  ASSERT_TRUE(Start(9, {}).ok());
  world.RunFor(3s);
  EXPECT_TRUE(Has("second"));
}

TEST_F(HostReplicasTest, ReturnsInTheSameRun) {
  for (uint64_t id = 1; id < 6; ++id) {
    ASSERT_TRUE(Start(id, Alone(id)).ok());
    world.RunFor(3s);
    Put(std::to_string(id));
    EXPECT_FALSE(Has(std::to_string(id - 1)));
    EXPECT_EQ(Start(id + 1, Alone(id + 1)).code(), StatusCode::kAlreadyExists);
    ASSERT_TRUE(Destroy(id).ok());
  }
}

TEST_F(HostReplicasTest, WhatIsAbsentIsDestroyedAndRemembered) {
  ASSERT_TRUE(Destroy(7).ok());
  Restart();
  EXPECT_EQ(Start(7, Alone(7)).code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Start(8, Alone(8)).ok());
}

TEST_F(HostReplicasTest, GoneForEver) {
  ASSERT_TRUE(Start(2, Alone(2)).ok());
  ASSERT_TRUE(Destroy(0).ok());
  EXPECT_EQ(Start(9, Alone(9)).code(), StatusCode::kFailedPrecondition);
  Restart();
  EXPECT_EQ(Start(9, Alone(9)).code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(host->IsBuried(kHosted, ReplicaId(9)));
}

TEST_F(HostReplicasTest, NothingStartsBeforeTheOneBeforeIsGone) {
  ASSERT_TRUE(Start(2, Alone(2)).ok());
  world.RunFor(3s);
  disk.HangSyncs();
  std::vector<std::string> order;
  executor->Post([&] {
    host->Destroy(kHosted, ReplicaId(2), [&](const Status&) { order.emplace_back("destroyed"); });
    host->Destroy(kHosted, ReplicaId(2), [&](const Status&) { order.emplace_back("destroyed again"); });
  });
  world.RunFor(100ms);
  EXPECT_EQ(Start(9, Alone(9)).code(), StatusCode::kUnavailable);
  EXPECT_TRUE(order.empty());
  disk.ReleaseSyncs();
  world.RunFor(1s);
  EXPECT_THAT(order, testing::ElementsAre("destroyed", "destroyed again"));
  EXPECT_TRUE(Start(9, Alone(9)).ok());
}

TEST_F(HostReplicasTest, ALateDestructionDoesNotReachTheNextReplica) {
  ASSERT_TRUE(Start(2, Alone(2)).ok());
  ASSERT_TRUE(Destroy(2).ok());
  disk.HangSyncs();
  bool durable = false;
  ASSERT_TRUE(Start(9, Alone(9), [&](const Status& status) { durable = status.ok(); }).ok());
  bool destroyed = false;
  executor->Post([&] { host->Destroy(kHosted, ReplicaId(3), [&](const Status&) { destroyed = true; }); });
  world.RunFor(100ms);
  // A crash would bring nobody back who keeps 3 from starting.
  EXPECT_FALSE(durable);
  EXPECT_FALSE(destroyed);
  disk.ReleaseSyncs();
  world.RunFor(100ms);
  EXPECT_TRUE(durable);
  EXPECT_TRUE(destroyed);
  EXPECT_EQ(host->ReplicaOf(kHosted), ReplicaId(9));
  ASSERT_TRUE(Destroy(2).ok());
  EXPECT_TRUE(host->Runs(kHosted));
}

TEST_F(HostReplicasTest, DurableTellsWhenItWasDestroyedBefore) {
  disk.HangSyncs();
  Status durable;
  ASSERT_TRUE(Start(2, {}, [&](Status status) { durable = std::move(status); }).ok());
  executor->Post([&] { host->Destroy(kHosted, ReplicaId(2), [](const Status&) {}); });
  world.RunFor(100ms);
  disk.ReleaseSyncs();
  world.RunFor(1s);
  EXPECT_EQ(durable.code(), StatusCode::kAborted);
}

// The engine kept the state of the one before, which is ahead of everything that the new one's log holds.
TEST_F(HostReplicasTest, StateOfTheOneBeforeIsNotTakenForTheNewOnes) {
  ASSERT_TRUE(Start(2, Alone(2)).ok());
  world.RunFor(3s);
  for (int i = 0; i < 20; ++i) Put("first" + std::to_string(i));
  Flush();
  ASSERT_TRUE(Destroy(2).ok());
  bool durable = false;
  ASSERT_TRUE(Start(9, Alone(9), [&](const Status& status) { durable = status.ok(); }).ok());
  world.RunFor(3s);
  Put("second");
  EXPECT_TRUE(durable);
  Restart(/*forget=*/true);
  EXPECT_FALSE(GroupHost::IsStateAbove(*engine, kHosted, ReplicaId(9)));
  ASSERT_TRUE(Start(9, {}).ok());
  world.RunFor(3s);
  EXPECT_FALSE(Has("first1"));
  EXPECT_TRUE(Has("second"));
}

// A flush that began before it came says nothing of its state.
TEST_F(HostReplicasTest, TheFlushOfTheOneBeforeDoesNotTrimTheNewOnesLog) {
  engine_options.flush_delay = 4s;
  options.flush_interval = 10s;
  options.keep_entries = 0;
  options.keep_bytes = 0;
  Restart();
  ASSERT_TRUE(Start(2, Alone(2)).ok());
  world.RunFor(1s);
  for (int i = 0; i < 20; ++i) Put("first" + std::to_string(i));
  world.RunFor(9s);  // the flush is under way
  ASSERT_TRUE(Destroy(2).ok());
  ASSERT_TRUE(Start(9, Alone(9)).ok());
  world.RunFor(500ms);
  for (int i = 0; i < 5; ++i) Put("second" + std::to_string(i));
  world.RunFor(4s);
  EXPECT_EQ(host->CompactedUpTo(kHosted), LogIndex());
  Restart(/*forget=*/true);
  ASSERT_TRUE(Start(9, {}).ok());
  world.RunFor(3s);
  EXPECT_TRUE(Has("second4"));
}

TEST_F(HostReplicasTest, OtherHostsGroupsAreLeftAlone) {
  ASSERT_TRUE(Start(2, Alone(2)).ok());
  ASSERT_TRUE(Destroy(2).ok());
  Restart();
  ASSERT_TRUE(Start(9, Alone(9)).ok());
  world.RunFor(3s);
  Put("second");
  // As a controller that joins late in a process whose node is at work: the log it found has a tombstone.
  SilentTransport unused;
  executor->Post([&] {
    sim::SimExecutor& background = *process->executors().back();
    GroupHost other({.executor = *executor,
                     .background = background,
                     .wal = *wal,
                     .engine = *engine,
                     .snapshots = *snapshots,
                     .transport = unused,
                     .observer = observer,
                     .prng = Prng(5),
                     .logger = Logger(),
                     .owns = [](GroupId id) { return id == kCatalogGroup; }},
                    GroupHostOptions());
    EXPECT_EQ(other.ReplicaOf(kHosted), ReplicaId());
  });
  world.RunFor(100ms);
  EXPECT_TRUE(Has("second"));
}

// A replica that joins knows nobody: it waits, also after a restart, until somebody tells it who is a member.
TEST_F(HostReplicasTest, AJoiningReplicaWaitsForItsLeader) {
  ASSERT_TRUE(Start(9, {}).ok());
  for (int run = 0; run < 2; ++run) {
    world.RunFor(60s);
    const auto status = host->StatusOf(kHosted);
    ASSERT_TRUE(status.has_value());
    EXPECT_EQ(status->self, ReplicaId(9));
    EXPECT_EQ(status->role, raft::Role::kFollower);
    EXPECT_EQ(status->term, Term());
    EXPECT_TRUE(status->configuration.members.empty());
    Restart();
    EXPECT_EQ(host->ReplicaOf(kHosted), ReplicaId(9)) << "its log says whose it is";
    EXPECT_EQ(Start(8, {}).code(), StatusCode::kFailedPrecondition);
    ASSERT_TRUE(Start(9, {}).ok());
  }
}

// Checkers go by it: a learner whose process died right behind the write that made it one knows that it is
// one.
TEST_F(HostReplicasTest, TheConfigurationThatWasFoundOnTheDiskIsTraced) {
  struct Configurations final : public GroupTrace {
    void OnApply(GroupId, ReplicaId, const raft::Entry&) override {}
    void OnLead(GroupId, ReplicaId, Term) override {}
    void OnStateHash(GroupId, ReplicaId, LogIndex, uint64_t) override {}
    void OnConfiguration(GroupId, ReplicaId self, bool leads,
                         const raft::Configuration& configuration) override {
      EXPECT_FALSE(leads);
      seen.emplace_back(self, configuration);
    }
    std::vector<std::pair<ReplicaId, raft::Configuration>> seen;
  } configurations;
  ASSERT_TRUE(Start(2, Alone(2)).ok());
  world.RunFor(3s);
  trace = &configurations;
  Restart();
  EXPECT_TRUE(configurations.seen.empty());
  ASSERT_TRUE(Start(2, {}).ok());
  ASSERT_EQ(configurations.seen.size(), 1u);
  EXPECT_EQ(configurations.seen[0].first, ReplicaId(2));
  EXPECT_EQ(configurations.seen[0].second, Alone(2));
}

TEST_F(HostReplicasTest, ASnapshotForTheOneBeforeIsRefused) {
  ASSERT_TRUE(Start(2, {}).ok());
  ASSERT_TRUE(Destroy(2).ok());
  ASSERT_TRUE(Start(9, {}).ok());
  std::vector<StatusCode> codes;
  executor->Post([&] {
    const raft::SnapshotMark mark{LogIndex(7), Term(2), Alone(1)};
    const auto note = [&](const StatusOr<uint64_t>& answer) { codes.push_back(answer.status().code()); };
    host->OnSnapshotOffer({.group = kHosted, .from = ReplicaId(1), .to = ReplicaId(2), .mark = mark}, note);
    host->OnSnapshotChunk({.group = kHosted, .to = ReplicaId(2), .mark = mark}, note);
  });
  world.RunFor(100ms);
  EXPECT_THAT(codes, testing::ElementsAre(StatusCode::kNotFound, StatusCode::kNotFound));
}

}  // namespace
}  // namespace tenure::group
