// What is kept of the logs of many groups that share one: for how long, up to how much, and for whom.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>

#include "tests/group/one_process.h"

namespace tenure::group {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t kSegment = 32 << 10;
constexpr uint64_t kTrim = 256 << 10;
constexpr uint64_t kMaxLog = 384 << 10;

class TrimmingTest : public OneProcessTest {
 protected:
  TrimmingTest() {
    options.keep_entries = 50;
    options.keep_bytes = 16 << 10;
    options.flush_bytes = 64 << 10;
    options.trim_log_bytes = kTrim;
    log_options.segment_bytes = kSegment;
    log_options.max_log_bytes = kMaxLog;
    Begin();
  }
  ~TrimmingTest() override { EXPECT_TRUE(log_failure.ok()) << log_failure; }

  void StartGroup(uint64_t id) {
    executor->Post([this, id] {
      ASSERT_TRUE(
          host->Start(GroupId(id), ReplicaId(1), VotersOf({1}), std::make_unique<Register>(), true).ok());
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

  uint64_t applied = 0;
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

// What is left when the writing stops is flushed soon, unless it is little.
TEST_F(TrimmingTest, APauseIsUsedToTrim) {
  StartGroup(1);
  for (int i = 0; i < 5; ++i) Write(1, 2000);
  world.RunFor(20s);
  EXPECT_EQ(CompactedUpTo(1), LogIndex(0)) << "little is not worth it";
  for (int i = 0; i < 18; ++i) Write(1, 2000);
  world.RunFor(3s);
  EXPECT_EQ(CompactedUpTo(1), LogIndex(0)) << "the pause has hardly begun";
  world.RunFor(10s);
  EXPECT_GT(CompactedUpTo(1), LogIndex(0));
}

}  // namespace
}  // namespace tenure::group
