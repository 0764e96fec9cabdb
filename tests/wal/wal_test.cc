#include "wal/wal.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "tests/wal/log_fixture.h"
#include "wal/format.h"

namespace tenure::wal {
namespace {

using ::testing::HasSubstr;

Write Entries(uint64_t group, std::vector<raft::Entry> entries) {
  Write write;
  write.group = GroupId(group);
  write.entries = std::move(entries);
  return write;
}

const raft::PersistedState& StateOf(const TestLog& log, uint64_t group) {
  return log.wal->recovered().at(GroupId(group)).state;
}

TEST(WalTest, EmptyDirectoryGivesAnEmptyLog) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  EXPECT_TRUE(log.wal->recovered().empty());
  EXPECT_EQ(log.Read(1, 1, 1).status().code(), StatusCode::kOutOfRange);
  EXPECT_GE(log.wal->bytes_on_disk(), log.options.segment_bytes);
}

TEST(WalTest, EverythingAcknowledgedIsThereAfterPowerLoss) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  Write first;
  first.group = GroupId(5);
  first.reset_to = raft::SnapshotMark{LogIndex(10), Term(2), OneVoter()};
  first.entries = {MakeEntry(11, 3, "a"), MakeEntry(12, 3, ""), MakeEntry(13, 4, std::string(3000, 'x'))};
  first.hard_state = MakeHardState(4, 1, 11);
  ASSERT_TRUE(log.Append({first, Entries(0, {MakeEntry(1, 1, "catalog")})}).ok());
  Write second;
  second.group = GroupId(5);
  second.truncate_from = LogIndex(13);
  second.entries = {
      MakeEntry(13, 5, raft::EncodeConfiguration(OneVoter(9)), raft::EntryType::kConfiguration)};
  ASSERT_TRUE(log.Append({second}).ok());
  log.Crash(true);

  ASSERT_TRUE(log.Open().ok());
  const auto& state = StateOf(log, 5);
  EXPECT_EQ(state.mark, (raft::SnapshotMark{LogIndex(10), Term(2), OneVoter()}));
  EXPECT_EQ(state.last_index, LogIndex(13));
  EXPECT_EQ(state.hard_state, MakeHardState(4, 1, 11));
  EXPECT_EQ(state.terms, (std::vector<raft::TermRun>{{LogIndex(11), Term(3)}, {LogIndex(13), Term(5)}}));
  ASSERT_EQ(state.configurations.size(), 1u);
  EXPECT_EQ(state.configurations[0].first, LogIndex(13));
  EXPECT_EQ(state.configurations[0].second, OneVoter(9));
  const auto entries = log.Read(5, 11, 13);
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 3u);
  EXPECT_EQ((*entries)[0], MakeEntry(11, 3, "a"));
  EXPECT_EQ((*entries)[1], MakeEntry(12, 3, ""));
  EXPECT_EQ((*entries)[2].term, Term(5));
  EXPECT_EQ(log.Read(0, 1, 9)->size(), 1u);
}

TEST(WalTest, ReadIsBoundedByBytesButGivesAtLeastOne) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  std::vector<raft::Entry> entries;
  for (uint64_t i = 1; i <= 10; ++i) entries.push_back(MakeEntry(i, 1, std::string(100, 'x')));
  ASSERT_TRUE(log.Append({Entries(1, entries)}).ok());
  EXPECT_EQ(log.Read(1, 3, 10, 1)->size(), 1u);
  EXPECT_EQ(log.Read(1, 3, 10, 250)->size(), 2u);
  EXPECT_EQ(log.Read(1, 3, 4, 10000)->size(), 2u);
  EXPECT_EQ(log.Read(1, 11, 11).status().code(), StatusCode::kOutOfRange);
}

TEST(WalTest, AppendsThatWaitShareOneSync) {
  TestLog log;
  log.sync_delay = std::chrono::milliseconds(1);
  ASSERT_TRUE(log.Open().ok());
  std::vector<int> order;
  for (int i = 0; i < 50; ++i) {
    log.wal->Append({Entries(1, {MakeEntry(static_cast<uint64_t>(i) + 1, 1, "p")})},
                    [&order, i](Status status) {
                      EXPECT_TRUE(status.ok());
                      order.push_back(i);
                    });
    if (i == 0) log.executor->Drain();  // the first goes alone
  }
  const uint64_t before = log.storage.syncs;
  log.executor->Drain();
  EXPECT_TRUE(order.empty());
  log.executor->Advance(std::chrono::microseconds(1500));
  EXPECT_EQ(order.size(), 1u);
  log.executor->Advance(std::chrono::microseconds(1000));
  EXPECT_EQ(order.size(), 50u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_LE(log.storage.syncs - before, 4u);  // two commits, and slices of the spare
}

TEST(WalTest, SegmentsRollAndGoWhenNobodyNeedsThem) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  const std::string payload(1000, 'x');
  for (uint64_t i = 1; i <= 200; ++i) {
    ASSERT_TRUE(log.Append({Entries(1, {MakeEntry(i, 1, payload)})}).ok());
    if (i > 10) log.wal->Compact(GroupId(1), {LogIndex(i - 10), Term(1), OneVoter()});
  }
  log.Idle();
  EXPECT_LE(log.wal->bytes_on_disk(), 5 * log.options.segment_bytes);
  EXPECT_EQ(log.Read(1, 190, 190).status().code(), StatusCode::kOutOfRange);
  EXPECT_EQ(log.Read(1, 191, 200)->size(), 10u);
  log.Crash(true);
  ASSERT_TRUE(log.Open().ok());
  EXPECT_EQ(StateOf(log, 1).mark.index, LogIndex(190));
  EXPECT_EQ(StateOf(log, 1).mark.configuration, OneVoter());
  EXPECT_EQ(StateOf(log, 1).last_index, LogIndex(200));
  EXPECT_EQ(log.Read(1, 191, 200)->size(), 10u);
}

TEST(WalTest, ColdGroupsAreCopiedForward) {
  TestLog log;
  log.options.max_log_bytes = 6 * log.options.segment_bytes;
  ASSERT_TRUE(log.Open().ok());
  ASSERT_TRUE(log.Append({Entries(9, {MakeEntry(1, 1, "cold"), MakeEntry(2, 2, "colder")})}).ok());
  const std::string payload(1000, 'x');
  for (uint64_t i = 1; i <= 400; ++i) {
    ASSERT_TRUE(log.Append({Entries(1, {MakeEntry(i, 1, payload)})}).ok());
    if (i > 10) log.wal->Compact(GroupId(1), {LogIndex(i - 10), Term(1), OneVoter()});
    EXPECT_LE(log.wal->bytes_on_disk(), 9 * log.options.segment_bytes) << i;
  }
  EXPECT_EQ(log.Read(9, 1, 2)->size(), 2u);
  log.Crash(true);
  ASSERT_TRUE(log.Open().ok());
  EXPECT_EQ(StateOf(log, 9).last_index, LogIndex(2));
  EXPECT_EQ(StateOf(log, 9).terms.size(), 2u);
  const auto entries = log.Read(9, 1, 2);
  ASSERT_TRUE(entries.ok());
  EXPECT_EQ((*entries)[1], MakeEntry(2, 2, "colder"));
}

TEST(WalTest, WhoPinsOldSegmentsIsKnown) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  const auto pinning = [&log](uint64_t max_bytes) {
    std::vector<std::pair<GroupId, LogIndex>> found;
    log.wal->FindPinning(max_bytes, [&found](const std::vector<PinningGroup>& groups) {
      for (const PinningGroup& group : groups) found.emplace_back(group.group, group.upto);
    });
    log.Idle();
    return found;
  };
  ASSERT_TRUE(log.Append({Entries(7, {MakeEntry(1, 1, "cold"), MakeEntry(2, 1, "cold")})}).ok());
  for (uint64_t i = 1; i <= 100; ++i) {
    ASSERT_TRUE(log.Append({Entries(8, {MakeEntry(i, 1, std::string(1000, 'x'))})}).ok());
  }
  log.Idle();
  const uint64_t full = log.wal->bytes_on_disk();
  EXPECT_THAT(pinning(full), ::testing::IsEmpty());
  const auto oldest = pinning(full - 1);
  ASSERT_EQ(oldest.size(), 2u);
  EXPECT_EQ(oldest[0], std::pair(GroupId(7), LogIndex(2)));
  EXPECT_EQ(oldest[1].first, GroupId(8));
  EXPECT_LT(oldest[1].second, LogIndex(20));  // what fits into one segment
  // Who follows the advice gets what it promises: the oldest segment goes. (The mark itself may begin another
  // one.)
  const auto has = [&log](const char* name) {
    const auto names = *log.disk->List("wal");
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  ASSERT_TRUE(has("0000000000000001.wal"));
  for (const auto& [group, upto] : oldest) log.wal->Compact(group, {upto, Term(1), OneVoter()});
  log.Idle();
  EXPECT_FALSE(has("0000000000000001.wal"));
  EXPECT_TRUE(has("0000000000000002.wal"));
  EXPECT_EQ(pinning(0).size(), 1u);
}

TEST(WalTest, WhatWaitsForTheDiskIsKnown) {
  TestLog log;
  log.sync_delay = std::chrono::seconds(3);
  ASSERT_TRUE(log.Open().ok());
  log.executor->Advance(std::chrono::seconds(10));
  EXPECT_FALSE(log.wal->WaitingSince().has_value());
  const Instant begin = log.executor->Now();
  int answered = 0;
  for (uint64_t i = 1; i <= 2; ++i) {
    log.wal->Append({Entries(1, {MakeEntry(i, 1, "x")})}, [&answered](Status status) {
      EXPECT_TRUE(status.ok());
      ++answered;
    });
    log.executor->Advance(std::chrono::seconds(1));
    EXPECT_EQ(log.wal->WaitingSince(), begin);
  }
  while (answered == 0) log.executor->Advance(std::chrono::milliseconds(100));
  // The disk is slow and does not hang.
  EXPECT_GE(log.wal->WaitingSince(), log.executor->Now() - std::chrono::milliseconds(100));
  while (answered == 1) log.executor->Advance(std::chrono::milliseconds(100));
  EXPECT_FALSE(log.wal->WaitingSince().has_value());
}

TEST(WalTest, TombstonesAreRememberedThroughSegments) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  for (uint64_t group = 1; group <= 20; ++group) {
    ASSERT_TRUE(log.Append({Entries(group, {MakeEntry(1, 1, std::string(2000, 'x'))})}).ok());
    Write gone;
    gone.group = GroupId(group);
    gone.tombstone = true;
    ASSERT_TRUE(log.Append({gone}).ok());
  }
  log.Idle();
  EXPECT_LE(log.wal->bytes_on_disk(), 3 * log.options.segment_bytes);
  log.Crash(true);
  ASSERT_TRUE(log.Open().ok());
  EXPECT_EQ(log.wal->recovered().size(), 20u);
  for (const auto& [id, group] : log.wal->recovered()) EXPECT_TRUE(group.tombstone);
}

TEST(WalTest, AppendLargerThanASegment) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  ASSERT_TRUE(log.Append({Entries(1, {MakeEntry(1, 1, "small")})}).ok());
  ASSERT_TRUE(
      log.Append({Entries(1, {MakeEntry(2, 1, std::string(100000, 'b')), MakeEntry(3, 1, "c")})}).ok());
  ASSERT_TRUE(log.Append({Entries(1, {MakeEntry(4, 1, "small")})}).ok());
  log.Crash(true);
  ASSERT_TRUE(log.Open().ok());
  const auto entries = log.Read(1, 1, 4);
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 4u);
  EXPECT_EQ((*entries)[1].payload.size(), 100000u);
}

TEST(WalTest, ThousandsOfGroupsInTinySegments) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  for (uint64_t group = 1; group <= 1000; ++group) {
    Write write = Entries(group, {MakeEntry(1, 1, "x")});
    write.hard_state = MakeHardState(1, group, 0);
    ASSERT_TRUE(log.Append({write}).ok());
  }
  log.Crash(true);
  ASSERT_TRUE(log.Open().ok());
  EXPECT_EQ(log.wal->recovered().size(), 1000u);
  EXPECT_EQ(StateOf(log, 77).hard_state.vote, ReplicaId(77));
}

TEST(WalTest, FailedSyncIsFinal) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  ASSERT_TRUE(log.Append({Entries(1, {MakeEntry(1, 1, "a")})}).ok());
  log.Idle();
  log.storage.fail_syncs = 1;
  int answers = 0;
  for (uint64_t i = 2; i <= 4; ++i) {
    log.wal->Append({Entries(1, {MakeEntry(i, 1, "b")})}, [&](Status status) {
      EXPECT_FALSE(status.ok());
      ++answers;
    });
  }
  log.executor->Drain();
  EXPECT_EQ(answers, 3);
  EXPECT_EQ(log.failures, 1);
  const uint64_t syncs = log.storage.syncs;
  EXPECT_FALSE(log.Append({Entries(1, {MakeEntry(5, 1, "c")})}).ok());
  log.Idle();
  EXPECT_EQ(log.failures, 1);
  EXPECT_EQ(log.storage.syncs, syncs) << "fsync is never retried";
}

TEST(WalTest, FailedWriteIsFinal) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  log.storage.fail_writes = 1;
  EXPECT_FALSE(log.Append({Entries(1, {MakeEntry(1, 1, "a")})}).ok());
  EXPECT_FALSE(log.Append({Entries(1, {MakeEntry(1, 1, "a")})}).ok());
  EXPECT_EQ(log.failures, 1);
}

TEST(WalTest, CommitReadBackFromACleanCacheIsMadeDurableBeforeUse) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  ASSERT_TRUE(log.Append({Entries(1, {MakeEntry(1, 1, "a")})}).ok());
  log.storage.fail_syncs = 1;  // loses data and leaves the cache clean
  EXPECT_FALSE(log.Append({Entries(1, {MakeEntry(2, 1, "b")})}).ok());
  log.Crash(false);
  ASSERT_TRUE(log.Open().ok());
  const LogIndex seen = StateOf(log, 1).last_index;
  log.Crash(true);
  ASSERT_TRUE(log.Open().ok());
  EXPECT_EQ(StateOf(log, 1).last_index, seen);
}

TEST(WalTest, FullDiskIsNoticedAheadAndFinalInTheEnd) {
  TestLog log;
  log.options.reserve_bytes = 3 * log.options.segment_bytes;
  log.storage.capacity = 8 * log.options.segment_bytes;
  ASSERT_TRUE(log.Open().ok());
  EXPECT_FALSE(log.wal->LowOnSpace());
  uint64_t index = 1;
  bool was_low = false;
  while (index < 1000 && log.Append({Entries(1, {MakeEntry(index, 1, std::string(1000, 'x'))})}).ok()) {
    if (!was_low && log.wal->LowOnSpace()) was_low = true;
    ++index;
  }
  EXPECT_TRUE(was_low);
  EXPECT_EQ(log.failures, 1);
  EXPECT_EQ(log.failure.code(), StatusCode::kResourceExhausted);
  EXPECT_GT(index, 75u) << "all but the last segment were used";
  log.Crash(true);
  ASSERT_TRUE(log.Open().ok());
  EXPECT_GE(StateOf(log, 1).last_index.value(), index - 1);
  EXPECT_TRUE(log.wal->LowOnSpace());
  log.wal->Compact(GroupId(1), {LogIndex(index - 1), Term(1), OneVoter()});
  log.executor->Advance(std::chrono::seconds(10));
  EXPECT_FALSE(log.wal->LowOnSpace());
}

TEST(WalTest, CleanStopLeavesNothingToDoubt) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  ASSERT_TRUE(log.Append({Entries(1, {MakeEntry(1, 1, "a")})}).ok());
  ASSERT_TRUE(log.CloseAndKill().ok());
  ASSERT_TRUE(log.Open().ok());
  EXPECT_EQ(StateOf(log, 1).last_index, LogIndex(1));
  ASSERT_TRUE(log.Append({Entries(1, {MakeEntry(2, 1, "b")})}).ok());
  Status late;
  log.wal->Close([](Status) {});
  log.wal->Append({Entries(1, {MakeEntry(3, 1, "c")})}, [&](Status status) { late = status; });
  log.executor->Drain();
  EXPECT_EQ(late.code(), StatusCode::kFailedPrecondition);
}

TEST(WalTest, IdleLogIsSealed) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  ASSERT_TRUE(log.Append({Entries(1, {MakeEntry(1, 1, "a")})}).ok());
  log.Idle();
  const uint64_t writes = log.storage.writes;
  log.executor->Advance(std::chrono::seconds(60));
  EXPECT_EQ(log.storage.writes, writes) << "sealed once, then quiet";
}

TEST(WalTest, NewerFormatIsRefused) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  ASSERT_TRUE(log.Append({Entries(1, {MakeEntry(1, 1, "a")})}).ok());
  log.Kill();
  std::string& content = log.storage.ContentOf("wal/0000000000000001.wal");
  SegmentHeader header;
  ASSERT_EQ(DecodeSegmentHeader(content, &header), HeaderState::kValid);
  header.version = 99;
  std::string encoded;
  EncodeSegmentHeader(header, encoded);
  content.replace(0, encoded.size(), encoded);
  const Status status = log.Open();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("99"));
}

}  // namespace
}  // namespace tenure::wal
