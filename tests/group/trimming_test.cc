// What is kept of the logs of many groups that share one: for how long, up to how much, and for whom.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>

#include "group/group_host.h"
#include "kv/memory_engine.h"
#include "sim/scheduler.h"
#include "sim/sim_disk.h"
#include "sim/sim_executor.h"
#include "tests/group/silent_transport.h"

namespace tenure::group {
namespace {

using namespace std::chrono_literals;

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

constexpr uint64_t kSegment = 32 << 10;
constexpr uint64_t kTrim = 256 << 10;
constexpr uint64_t kMaxLog = 384 << 10;

class TrimmingTest : public testing::Test {
 protected:
  TrimmingTest() {
    options.keep_entries = 50;
    options.keep_bytes = 16 << 10;
    options.flush_bytes = 64 << 10;
    options.trim_log_bytes = kTrim;
    options.floor_budget_bytes = 128 << 10;
    Start();
  }

  void Start() {
    process = std::make_unique<sim::SimProcess>(world, clock, "p", Prng(3));
    executor = &process->AddExecutor("groups");
    sim::SimExecutor& log = process->AddExecutor("log");
    sim::SimExecutor& background = process->AddExecutor("background");
    log_disk = disk.MakeView(*process, log);
    background_disk = disk.MakeView(*process, background);
    wal::WalOptions log_options;
    log_options.segment_bytes = kSegment;
    log_options.max_log_bytes = kMaxLog;
    wal = *wal::Wal::Open(*log_disk, log, "/wal", log_options, Logger(),
                          [](Status status) { FAIL() << status; });
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

  void StartGroup(uint64_t id) {
    executor->Post([this, id] {
      raft::Configuration alone;
      alone.members.push_back({.id = ReplicaId(1), .host = 1, .role = raft::MemberRole::kVoter});
      ASSERT_TRUE(host->Start(GroupId(id), ReplicaId(1), alone, std::make_unique<Register>(), true).ok());
    });
    world.RunFor(20ms);
  }
  void Write(uint64_t id, size_t bytes) {
    executor->Post([this, id, bytes] {
      host->Propose(GroupId(id), std::string(bytes, 'x'), [this](ProposeOutcome outcome) {
        EXPECT_EQ(outcome.kind, ProposeOutcome::Kind::kApplied);
        ++applied;
      });
    });
    world.RunFor(10ms);
  }
  LogIndex CompactedUpTo(uint64_t id) { return host->CompactedUpTo(GroupId(id)); }

  sim::Scheduler world;
  sim::SimClock clock{world, Instant(1h), WallFromMillis(0)};
  sim::SimDisk disk{world, "disk", Prng(1)};
  std::shared_ptr<kv::MemoryStore> store = std::make_shared<kv::MemoryStore>();
  GroupHostOptions options;
  SilentTransport transport;
  Unobserved observer;
  uint64_t applied = 0;
  std::unique_ptr<sim::SimProcess> process;
  sim::SimExecutor* executor = nullptr;
  std::unique_ptr<runtime::Disk> log_disk;
  std::unique_ptr<runtime::Disk> background_disk;
  std::unique_ptr<wal::Wal> wal;
  std::unique_ptr<kv::MemoryEngine> engine;
  std::unique_ptr<wal::SnapshotStore> snapshots;
  std::unique_ptr<GroupHost> host;
};

// Each cold group writes once, while one group writes all the time: every segment holds an entry that would
// stay for ever.
TEST_F(TrimmingTest, ColdGroupsDoNotPinTheLog) {
  constexpr uint64_t kCold = 300;
  constexpr uint64_t kWriter = kCold + 1;
  StartGroup(kWriter);
  uint64_t most = 0;
  for (uint64_t i = 1; i <= kCold * 10; ++i) {
    if (i % 10 == 0) {
      StartGroup(i / 10);
      Write(i / 10, 100);
    }
    Write(kWriter, 2000);
    most = std::max(most, wal->bytes_on_disk());
  }
  EXPECT_EQ(applied, kCold * 10 + kCold);
  // 6 MB were written. Between two looks, some seconds apart, about 1 MB.
  EXPECT_LT(most, kMaxLog + (1 << 20));
  world.RunFor(10s);
  EXPECT_LE(wal->bytes_on_disk(), kTrim + 2 * kSegment);
}

TEST_F(TrimmingTest, AColdGroupIsCompactedWithAMarkNotCopied) {
  StartGroup(1);
  Write(1, 100);
  StartGroup(2);
  for (int i = 0; i < 300; ++i) Write(2, 2000);
  world.RunFor(10s);
  EXPECT_EQ(CompactedUpTo(1), LogIndex(2));  // the no-op and the write
  EXPECT_LE(wal->bytes_on_disk(), kTrim + 2 * kSegment);
}

TEST_F(TrimmingTest, EntriesAreKeptForLaggingMembersWithinBothBounds) {
  StartGroup(1);
  for (int i = 0; i < 40; ++i) Write(1, 10);
  for (int i = 0; i < 100; ++i) Write(1, 2000);
  world.RunFor(10s);
  const uint64_t kept = 141 - CompactedUpTo(1).value();
  EXPECT_GE(kept, (16 << 10) / 2000 - 1);
  EXPECT_LE(kept, 50U);
}

TEST_F(TrimmingTest, AFloorKeepsEntriesUpToItsBudget) {
  StartGroup(1);
  for (int i = 0; i < 10; ++i) Write(1, 2000);
  executor->Post([this] { EXPECT_TRUE(host->SetFloor(GroupId(1), LogIndex(8))); });
  for (int i = 0; i < 50; ++i) Write(1, 2000);
  world.RunFor(5s);
  EXPECT_LE(CompactedUpTo(1), LogIndex(8));
  for (int i = 0; i < 100; ++i) Write(1, 2000);
  world.RunFor(5s);
  EXPECT_GT(CompactedUpTo(1), LogIndex(8));
  executor->Post([this] {
    EXPECT_FALSE(host->SetFloor(GroupId(1), LogIndex(8)));  // too late
    EXPECT_TRUE(host->SetFloor(GroupId(1), std::nullopt));
    EXPECT_FALSE(host->SetFloor(GroupId(9), std::nullopt));  // no such group
  });
  world.RunFor(1ms);
}

}  // namespace
}  // namespace tenure::group
