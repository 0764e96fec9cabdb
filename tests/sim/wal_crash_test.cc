// The log on a simulated disk whose syncs end in any order and now and then stall: after any loss of power it
// opens, and has what was acknowledged.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "sim/sim_clock.h"
#include "sim/sim_disk.h"
#include "sim/sim_executor.h"
#include "wal/wal.h"

namespace tenure::sim {
namespace {

using namespace std::chrono_literals;

class WalCrashTest : public testing::TestWithParam<uint64_t> {
 protected:
  void Boot() {
    process = std::make_unique<SimProcess>(world, clock, "p", prng.Fork(std::to_string(++boots)));
    executor = &process->AddExecutor("log");
    view = disk.MakeView(*process, *executor);
    ASSERT_TRUE(view->MakeDirectories("/wal").ok());
    auto opened = wal::Wal::Open(*view, *executor, "/wal", options, Logger(), [](const Status&) {});
    ASSERT_TRUE(opened.ok()) << opened.status();
    log = *std::move(opened);
    const auto group = log->recovered().find(GroupId(1));
    last = group == log->recovered().end() ? 0 : group->second.state.last_index.value();
    EXPECT_GE(last, acknowledged) << "after boot " << boots;
  }
  void LosePower() {
    process->Kill();
    log.reset();
    view.reset();
    process.reset();
    disk.Crash(CrashKind::kPower);
  }
  void Append() {
    wal::Write write;
    write.group = GroupId(1);
    write.entries.push_back(
        {LogIndex(++last), Term(1), raft::EntryType::kCommand, Bytes(std::string(900, 'x'))});
    std::vector<wal::Write> writes;
    writes.push_back(std::move(write));
    log->Append(std::move(writes), [this, index = last](const Status& status) {
      if (status.ok()) acknowledged = std::max(acknowledged, index);
    });
    if (last > 10) {
      raft::Configuration alone;
      alone.members.push_back({.id = ReplicaId(1), .host = 1, .role = raft::MemberRole::kVoter});
      log->Compact(GroupId(1), {LogIndex(acknowledged), Term(1), alone});
    }
  }

  Prng prng{GetParam()};
  Scheduler world;
  SimClock clock{world, Instant(1h), WallFromMillis(1)};
  SimDisk disk{
      world, "disk", prng.Fork("disk"), {.stalls_per_million = 150'000, .min_stall = 1ms, .max_stall = 30ms}};
  wal::WalOptions options{.segment_bytes = 8 << 10};
  std::unique_ptr<SimProcess> process;
  SimExecutor* executor = nullptr;
  std::unique_ptr<runtime::Disk> view;
  std::unique_ptr<wal::Wal> log;
  int boots = 0;
  uint64_t last = 0;
  uint64_t acknowledged = 0;
};

TEST_P(WalCrashTest, OpensWithWhatWasAcknowledged) {
  for (int round = 0; round < 40 && !HasFailure(); ++round) {
    Boot();
    const int64_t appends = prng.Between(1, 30);
    for (int64_t i = 0; i < appends && !HasFailure(); ++i) {
      executor->Post([this] { Append(); });
      world.RunFor(Duration(prng.Between(0, Duration(4ms).count())));
    }
    LosePower();
  }
  EXPECT_GT(acknowledged, 100u) << boots;
}

INSTANTIATE_TEST_SUITE_P(Seeds, WalCrashTest, testing::Range<uint64_t>(1, 301));

}  // namespace
}  // namespace tenure::sim
