// What a removed replica leaves behind until its tombstone is durable, and afterwards: a log that begins
// after its first entries needs the state before them, or a snapshot, at the next start.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "tests/group/one_process.h"

namespace tenure::group {
namespace {

using namespace std::chrono_literals;

constexpr GroupId kDestroyed{7};

class DestroyTest : public OneProcessTest {
 protected:
  DestroyTest() {
    options.keep_entries = 1;
    options.keep_bytes = 1;
    options.flush_bytes = 1;  // whatever is applied is flushed within a second, and the log before it trimmed
    Begin();
    StartGroup();
    for (int i = 0; i < 5; ++i) {
      executor->Post([this] {
        host->Propose(kDestroyed, "x", [](ProposeOutcome outcome) {
          EXPECT_EQ(outcome.kind, ProposeOutcome::Kind::kApplied);
        });
      });
      world.RunFor(1s);
    }
    EXPECT_GT(host->CompactedUpTo(kDestroyed), LogIndex(1)) << "the log begins after its first entry";
  }
  void StartGroup() {
    executor->Post([this] {
      const Status started = host->Start(kDestroyed, ReplicaId(1), VotersOf({1}),
                                         std::make_unique<Register>(), /*campaign=*/true);
      ASSERT_TRUE(started.ok()) << started;
    });
    world.RunFor(5s);
  }
  void Destroy() {
    executor->Post([this] {
      host->Destroy(kDestroyed, ReplicaId(), [this](Status status) { destroyed = std::move(status); });
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
    Begin();
  }
  void StoreSnapshot() {
    const auto writer = *snapshots->NewWriter({kDestroyed, LogIndex(2), Term(1)}, /*resume=*/false);
    ASSERT_TRUE(writer->Append("state").ok());
    raft::SnapshotMark mark;
    mark.index = LogIndex(2);
    mark.term = Term(1);
    ASSERT_TRUE(writer->Finish(mark, nullptr).ok());
  }
  bool HasState() {
    const std::string prefix = GroupHost::StatePrefix(kDestroyed);
    return engine->NewIterator(prefix, kv::PrefixEnd(prefix))->Valid();
  }
  size_t Snapshots() { return snapshots->List()->size(); }

  std::optional<Status> destroyed;
};

TEST_F(DestroyTest, NothingIsLeftOnceTheTombstoneIsDurable) {
  StoreSnapshot();
  Destroy();
  ASSERT_TRUE(destroyed && destroyed->ok());
  EXPECT_EQ(Snapshots(), 0u);
  LosePower();
  EXPECT_FALSE(HasState());
  EXPECT_TRUE(host->IsBuried(kDestroyed, ReplicaId(1)));
}

TEST_F(DestroyTest, TheStateStaysUntilTheTombstoneIsDurable) {
  disk.HangSyncs();
  Destroy();
  EXPECT_FALSE(destroyed) << "its tombstone waits for the disk";
  EXPECT_FALSE(host->Runs(kDestroyed));
  EXPECT_TRUE(HasState());
  LosePower();
  if (host->IsBuried(kDestroyed, ReplicaId(1))) return;  // written and not synced, it may have survived
  StartGroup();
  ASSERT_TRUE(host->Runs(kDestroyed));
  EXPECT_EQ(host->State(kDestroyed)->Get("value"), "x");
}

TEST_F(DestroyTest, SnapshotsStayIfTheTombstoneCannotBeWritten) {
  StoreSnapshot();
  disk.FailWrites(1, "/wal");
  Destroy();
  EXPECT_FALSE(log_failure.ok()) << "a log that fails ends its process";
  EXPECT_FALSE(destroyed && destroyed->ok());
  EXPECT_EQ(Snapshots(), 1u);
  EXPECT_TRUE(HasState());
}

}  // namespace
}  // namespace tenure::group
