// What a removed replica leaves behind until its tombstone is durable, and afterwards: a log that begins
// after its first entries needs the state before them, or a snapshot, at the next start.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/hash.h"
#include "group/group_host.h"
#include "kv/memory_engine.h"
#include "sim/scheduler.h"
#include "sim/sim_disk.h"
#include "sim/sim_executor.h"
#include "tests/group/silent_transport.h"

namespace tenure::group {
namespace {

using namespace std::chrono_literals;

constexpr GroupId kGroup{7};

class Unobserved final : public GroupObserver {
  void OnRoleChange(GroupId, const raft::RoleChange&) override {}
  void OnServing(GroupId, Term) override {}
  void OnConfiguration(GroupId, const raft::Configuration&) override {}
};

// Keeps the last command.
class Register final : public StateMachine {
 public:
  void Reset(const kv::Reader&, LogIndex) override {}
  std::string Apply(const ApplyContext&, std::string_view command, kv::View& state) override {
    state.Put("value", command);
    return {};
  }
};

class DestroyTest : public testing::Test {
 protected:
  DestroyTest() {
    options.keep_entries = 1;
    options.keep_bytes = 1;
    options.flush_bytes = 1;  // whatever is applied is flushed within a second, and the log before it trimmed
    Boot();
    StartGroup();
    for (int i = 0; i < 5; ++i) {
      executor->Post([this] {
        host->Propose(kGroup, "x", [](ProposeOutcome outcome) {
          EXPECT_EQ(outcome.kind, ProposeOutcome::Kind::kApplied);
        });
      });
      world.RunFor(1s);
    }
    EXPECT_GT(host->CompactedUpTo(kGroup), LogIndex(1)) << "the log begins after its first entry";
  }
  ~DestroyTest() override { End(); }

  void Boot() {
    process = std::make_unique<sim::SimProcess>(world, clock, "p", Prng(3));
    executor = &process->AddExecutor("groups");
    sim::SimExecutor& log = process->AddExecutor("log");
    sim::SimExecutor& background = process->AddExecutor("background");
    log_disk = disk.MakeView(*process, log);
    background_disk = disk.MakeView(*process, background);
    wal = *wal::Wal::Open(*log_disk, log, "/wal", {}, Logger(), [this](Status) { failed = true; });
    engine = std::make_unique<kv::MemoryEngine>(store, background);
    snapshots = *wal::SnapshotStore::Open(*background_disk, "/snapshots");
    executor->Post([this, &background] {
      host = std::make_unique<GroupHost>(
          GroupHost::Dependencies{*executor, background, *wal, *engine, *snapshots, transport, observer,
                                  Prng(4), Logger()},
          options);
    });
    world.RunFor(1ms);
  }
  void End() {
    process->Kill();
    host.reset();
    snapshots.reset();
    engine.reset();
    wal.reset();
    log_disk.reset();
    background_disk.reset();
    process.reset();
  }
  void StartGroup() {
    executor->Post([this] {
      raft::Configuration alone;
      alone.members.push_back({.id = ReplicaId(1), .host = 1, .role = raft::MemberRole::kVoter});
      const Status started =
          host->Start(kGroup, ReplicaId(1), alone, std::make_unique<Register>(), /*campaign=*/true);
      ASSERT_TRUE(started.ok()) << started;
    });
    world.RunFor(5s);
  }
  void Destroy() {
    executor->Post([this] {
      host->Destroy(kGroup, ReplicaId(), [this](Status status) { destroyed = std::move(status); });
    });
    world.RunFor(500ms);
  }
  // Power is lost when the engine has written down whatever it was given.
  void LosePower() {
    engine->Flush([](Status) {});
    world.RunFor(100ms);
    End();
    disk.ReleaseSyncs();
    disk.Crash(sim::CrashKind::kPower);
    Prng draws(9);
    store->Crash(draws);
    Boot();
  }
  void StoreSnapshot() {
    const auto writer = *snapshots->NewWriter({kGroup, LogIndex(2), Term(1)}, /*resume=*/false);
    ASSERT_TRUE(writer->Append("state").ok());
    raft::SnapshotMark mark;
    mark.index = LogIndex(2);
    mark.term = Term(1);
    ASSERT_TRUE(writer->Finish(mark, nullptr).ok());
  }
  bool HasState() {
    const std::string prefix = GroupHost::StatePrefix(kGroup);
    return engine->NewIterator(prefix, kv::PrefixEnd(prefix))->Valid();
  }
  size_t Snapshots() { return snapshots->List()->size(); }

  sim::Scheduler world;
  sim::SimClock clock{world, Instant(1h), WallFromMillis(0)};
  sim::SimDisk disk{world, "disk", Prng(1)};
  std::shared_ptr<kv::MemoryStore> store = std::make_shared<kv::MemoryStore>();
  GroupHostOptions options;
  SilentTransport transport;
  Unobserved observer;
  std::optional<Status> destroyed;
  bool failed = false;
  std::unique_ptr<sim::SimProcess> process;
  sim::SimExecutor* executor = nullptr;
  std::unique_ptr<runtime::Disk> log_disk;
  std::unique_ptr<runtime::Disk> background_disk;
  std::unique_ptr<wal::Wal> wal;
  std::unique_ptr<kv::MemoryEngine> engine;
  std::unique_ptr<wal::SnapshotStore> snapshots;
  std::unique_ptr<GroupHost> host;
};

TEST_F(DestroyTest, NothingIsLeftOnceTheTombstoneIsDurable) {
  StoreSnapshot();
  Destroy();
  ASSERT_TRUE(destroyed && destroyed->ok());
  EXPECT_EQ(Snapshots(), 0u);
  LosePower();
  EXPECT_FALSE(HasState());
  EXPECT_TRUE(host->IsBuried(kGroup, ReplicaId(1)));
}

TEST_F(DestroyTest, TheStateStaysUntilTheTombstoneIsDurable) {
  disk.HangSyncs();
  Destroy();
  EXPECT_FALSE(destroyed) << "its tombstone waits for the disk";
  EXPECT_FALSE(host->Runs(kGroup));
  EXPECT_TRUE(HasState());
  LosePower();
  if (host->IsBuried(kGroup, ReplicaId(1))) return;  // written and not synced, it may have survived
  StartGroup();
  ASSERT_TRUE(host->Runs(kGroup));
  EXPECT_EQ(host->State(kGroup)->Get("value"), "x");
}

TEST_F(DestroyTest, SnapshotsStayIfTheTombstoneCannotBeWritten) {
  StoreSnapshot();
  disk.FailWrites(1, "/wal");
  Destroy();
  EXPECT_TRUE(failed) << "a log that fails ends its process";
  EXPECT_FALSE(destroyed && destroyed->ok());
  EXPECT_EQ(Snapshots(), 1u);
  EXPECT_TRUE(HasState());
}

}  // namespace
}  // namespace tenure::group
