// Groups that leave a log and come back as other replicas.
#include <gmock/gmock.h>

#include "tests/wal/log_fixture.h"
#include "wal/format.h"
#include "wal/inspect.h"
#include "wal/log_state.h"
#include "wal/repair.h"

namespace tenure::wal {
namespace {

using ::testing::HasSubstr;

Write Gone(uint64_t group, uint64_t replica) {
  return {.group = GroupId(group), .tombstone = true, .gone = ReplicaId(replica)};
}

Write Begin(uint64_t group, uint64_t replica, uint64_t mark = 0) {
  Write write;
  write.group = GroupId(group);
  write.replica = ReplicaId(replica);
  write.reset_to = raft::SnapshotMark{LogIndex(mark), Term(mark == 0 ? 0 : 2), {}};
  return write;
}

const RecoveredGroup& Found(const TestLog& log, uint64_t group) {
  return log.wal->recovered().at(GroupId(group));
}

TEST(WalReplicaTest, AHigherReplicaBeginsAnew) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  Write first = Entries(5, 1, 9);
  first.hard_state = MakeHardState(7, 2, 8);
  ASSERT_TRUE(log.Append({first}).ok());
  ASSERT_TRUE(log.Append({Gone(5, 2)}).ok());
  log.Crash(true);
  ASSERT_TRUE(log.Open().ok());
  EXPECT_TRUE(Found(log, 5).tombstone);
  EXPECT_EQ(Found(log, 5).gone, ReplicaId(2));
  ASSERT_TRUE(log.Append({Begin(5, 9)}).ok());
  log.Crash(true);
  // An empty configuration, no entries, no vote: and yet it is there.
  ASSERT_TRUE(log.Open().ok());
  EXPECT_FALSE(Found(log, 5).tombstone);
  EXPECT_EQ(Found(log, 5).gone, ReplicaId(2));
  EXPECT_EQ(Found(log, 5).replica, ReplicaId(9));
  EXPECT_EQ(Found(log, 5).state.last_index, LogIndex(0));
  EXPECT_EQ(Found(log, 5).state.hard_state, raft::HardState());
  EXPECT_TRUE(Found(log, 5).state.mark.configuration.members.empty());
  ASSERT_TRUE(log.Append({Entries(5, 1, 3)}).ok());
  EXPECT_EQ(log.Read(5, 1, 3)->size(), 3u);
  EXPECT_FALSE(log.Read(5, 4, 9).ok());
  ASSERT_TRUE(log.Append({Gone(5, 9)}).ok());
  log.Crash(true);
  ASSERT_TRUE(log.Open().ok());
  EXPECT_TRUE(Found(log, 5).tombstone);
  EXPECT_EQ(Found(log, 5).gone, ReplicaId(9));
}

// The segments of the first replica's entries and tombstone go; what they said stays.
TEST(WalReplicaTest, CheckpointsCarryTombstonesAndReplicas) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  ASSERT_TRUE(log.Append({Entries(5, 1, 9), Gone(6, 4)}).ok());
  ASSERT_TRUE(log.Append({Gone(5, 2)}).ok());
  ASSERT_TRUE(log.Append({{.group = GroupId(7), .tombstone = true}}).ok());
  ASSERT_TRUE(log.Append({Begin(5, 9, 100)}).ok());
  uint64_t next = 101;
  for (int round = 0; round < 40; ++round) {
    ASSERT_TRUE(log.Append({Entries(5, next, 4, 1000)}).ok());
    next += 4;
    log.wal->Compact(GroupId(5), {LogIndex(next - 2), Term(2), OneVoter(9)});
  }
  log.Idle();
  EXPECT_FALSE(log.storage.names().contains("wal/" + SegmentName(1)));
  log.Crash(true);
  ASSERT_TRUE(log.Open().ok());
  EXPECT_EQ(Found(log, 5).gone, ReplicaId(2));
  EXPECT_EQ(Found(log, 5).replica, ReplicaId(9));
  EXPECT_EQ(Found(log, 5).state.last_index, LogIndex(next - 1));
  EXPECT_TRUE(Found(log, 6).tombstone);
  EXPECT_EQ(Found(log, 6).gone, ReplicaId(4));
  EXPECT_TRUE(Found(log, 7).tombstone);
  EXPECT_TRUE(Found(log, 7).gone.IsNone());
}

// A compaction of the log before waits for the next commit, in which another log begins.
TEST(WalReplicaTest, ACompactionDoesNotReachTheNextReplicasLog) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  ASSERT_TRUE(log.Append({Entries(5, 1, 9)}).ok());
  log.wal->Compact(GroupId(5), {LogIndex(8), Term(2), OneVoter(2)});
  log.wal->Append({Entries(3, 1, 1)}, [](Status) {});
  log.wal->Compact(GroupId(5), {LogIndex(9), Term(2), OneVoter(2)});
  log.wal->Append({Gone(5, 2)}, [](Status) {});
  log.wal->Append({Begin(5, 9)}, [](Status) {});
  log.wal->Append({Entries(5, 1, 4)}, [](Status) {});
  ASSERT_TRUE(log.Append({Entries(3, 2, 1)}).ok());
  log.Idle();
  EXPECT_TRUE(log.Read(5, 1, 4).ok());
  log.Crash(true);
  ASSERT_TRUE(log.Open().ok());
  EXPECT_EQ(Found(log, 5).state.mark.index, LogIndex(0));
  EXPECT_EQ(Found(log, 5).state.last_index, LogIndex(4));
}

// A recovery of the group makes another replica of the same log.
TEST(WalReplicaTest, ALogMayBecomeAHigherReplicas) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  ASSERT_TRUE(log.Append({Gone(5, 2), Begin(5, 4), Entries(5, 1, 3)}).ok());
  Write recovered = Entries(5, 4, 1);
  recovered.replica = ReplicaId(8);
  ASSERT_TRUE(log.Append({recovered}).ok());
  log.Crash(true);
  ASSERT_TRUE(log.Open().ok());
  EXPECT_EQ(Found(log, 5).replica, ReplicaId(8));
  EXPECT_EQ(Found(log, 5).state.last_index, LogIndex(4));
}

TEST(WalReplicaDeathTest, NoOtherReplicaBegins) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  ASSERT_TRUE(log.Append({Gone(5, 2), {.group = GroupId(6), .tombstone = true}}).ok());
  EXPECT_DEATH((void)log.Append({Begin(5, 2)}), "S3: replica 2 of group 5 is gone");
  EXPECT_DEATH((void)log.Append({Begin(6, 9)}), "S3: replica 9 of group 6 is gone");
  EXPECT_DEATH((void)log.Append({Entries(5, 1, 1)}), "S3: group 5 has a tombstone");
  Write unmarked = Entries(5, 1, 1);
  unmarked.replica = ReplicaId(9);
  EXPECT_DEATH((void)log.Append({unmarked}), "begins without a mark");
}

// ---- what is damage ----

std::string ReplicaRecord(uint64_t replica, bool with_mark) {
  std::string payload;
  PutVarint(payload, replica);
  if (with_mark) EncodeMark(LogIndex(), Term(), raft::EncodeConfiguration({}), payload);
  return payload;
}

class ReplayTest : public ::testing::Test {
 protected:
  Status Replay(RecordType type, uint64_t group, const std::string& payload, Damage* damage = nullptr) {
    return state_.Replay({type, GroupId(group), payload, 512}, 1, false, damage);
  }
  void LeaveAndReturn() {
    ASSERT_TRUE(Replay(RecordType::kReplicaTombstone, 5, Replica(2)).ok());
    ASSERT_TRUE(Replay(RecordType::kReplica, 5, ReplicaRecord(9, true)).ok());
  }
  static std::string Replica(uint64_t replica) {
    std::string payload;
    PutVarint(payload, replica);
    return payload;
  }
  LogState state_;
};

TEST_F(ReplayTest, OnlyTheBeginOfAHigherReplicaMayFollowATombstone) {
  std::string hard_state;
  EncodeHardState(MakeHardState(3, 1, 1), hard_state);
  ASSERT_TRUE(Replay(RecordType::kReplicaTombstone, 5, Replica(2)).ok());
  EXPECT_THAT(Replay(RecordType::kHardState, 5, hard_state).ToString(), HasSubstr("after its tombstone"));
  EXPECT_FALSE(Replay(RecordType::kReplica, 5, ReplicaRecord(9, false)).ok()) << "it does not begin";
  EXPECT_FALSE(Replay(RecordType::kReplica, 5, ReplicaRecord(2, true)).ok()) << "it is gone";
  ASSERT_TRUE(Replay(RecordType::kReplica, 5, ReplicaRecord(9, true)).ok());
  EXPECT_TRUE(Replay(RecordType::kHardState, 5, hard_state).ok());
  EXPECT_FALSE(Replay(RecordType::kReplicaTombstone, 5, Replica(8)).ok()) << "9 is here";
  EXPECT_FALSE(Replay(RecordType::kReplica, 5, ReplicaRecord(8, false)).ok()) << "ids rise";
  EXPECT_TRUE(Replay(RecordType::kReplicaTombstone, 5, Replica(9)).ok());
  ASSERT_TRUE(Replay(RecordType::kTombstone, 5, "").ok());
  EXPECT_FALSE(Replay(RecordType::kReplica, 5, ReplicaRecord(99, true)).ok()) << "gone for ever";
}

TEST_F(ReplayTest, MalformedPayloadsAreDamage) {
  EXPECT_FALSE(Replay(RecordType::kReplicaTombstone, 5, "").ok());
  EXPECT_FALSE(Replay(RecordType::kReplicaTombstone, 5, Replica(0)).ok());
  EXPECT_FALSE(Replay(RecordType::kReplica, 5, ReplicaRecord(0, true)).ok());
  EXPECT_FALSE(Replay(RecordType::kReplica, 5, ReplicaRecord(9, true) + "x").ok());
  EXPECT_FALSE(Replay(RecordType::kReplica, 5, "").ok());
}

// The record with which it came back is lost: what follows shows that something is.
TEST_F(ReplayTest, ARecordBehindALostReturnNamesTheGroup) {
  std::string hard_state;
  EncodeHardState(MakeHardState(3, 1, 1), hard_state);
  ASSERT_TRUE(Replay(RecordType::kReplicaTombstone, 5, Replica(2)).ok());
  Damage damage;
  EXPECT_TRUE(Replay(RecordType::kHardState, 5, hard_state, &damage).ok());
  EXPECT_TRUE(damage.groups.contains(GroupId(5)));
}

TEST_F(ReplayTest, ACheckpointSaysWhetherATombstoneIsMissing) {
  LeaveAndReturn();
  std::string list;
  for (const int value : {1, 5, 2}) list.push_back(static_cast<char>(value));  // one: group 5, replica 2
  EXPECT_TRUE(Replay(RecordType::kReplicaTombstones, 0, list).ok());
  EXPECT_NE(state_.Find(GroupId(5)), nullptr);
  std::string higher;
  for (const int value : {1, 5, 9}) higher.push_back(static_cast<char>(value));
  EXPECT_FALSE(Replay(RecordType::kReplicaTombstones, 0, higher).ok());
  Damage damage;
  EXPECT_TRUE(Replay(RecordType::kReplicaTombstones, 0, higher, &damage).ok());
  EXPECT_TRUE(damage.groups.contains(GroupId(5)));
  EXPECT_TRUE(state_.IsBuried(GroupId(5))) << "that replica 9 left was lost";
}

// ---- repair ----

class ReplicaRepairTest : public ::testing::Test {
 protected:
  // Group 5 came back as replica 9, group 8 left as replica 3.
  void Fill() {
    log_.executor = std::make_unique<runtime::ManualExecutor>();
    log_.disk = std::make_unique<FakeDisk>(log_.storage, *log_.executor);
    auto opened = Wal::Open(*log_.disk, *log_.executor, "d/wal", log_.options, Logger(), [](Status) {});
    ASSERT_TRUE(opened.ok()) << opened.status();
    log_.wal = *std::move(opened);
    ASSERT_TRUE(log_.Append({Gone(5, 2), Gone(8, 3)}).ok());
    ASSERT_TRUE(log_.Append({Begin(5, 9)}).ok());
    ASSERT_TRUE(log_.Append({Entries(5, 1, 3)}).ok());
    ASSERT_TRUE(log_.Append({Entries(7, 1, 3)}).ok());
    ASSERT_TRUE(log_.Append({Entries(5, 4, 1), Entries(7, 4, 1)}).ok());
    log_.Kill();
    log_.storage.Settle();
  }
  // Flips a bit of a payload in the n-th commit, and repairs.
  void Repair(uint64_t commit, uint64_t group) {
    const uint64_t at = kSegmentHeaderBytes + (commit - 1) * kSectorBytes;
    log_.storage.ContentOf("d/wal/" + SegmentName(1))[at + kCommitHeaderBytes + kRecordHeaderBytes + 4] ^= 1;
    log_.executor = std::make_unique<runtime::ManualExecutor>();
    log_.disk = std::make_unique<FakeDisk>(log_.storage, *log_.executor);
    const auto plan = PlanRepair(*log_.disk, "d", {});
    ASSERT_TRUE(plan.ok()) << plan.status();
    ASSERT_FALSE(plan->everything);
    ASSERT_EQ(plan->dropped.size(), 1u);
    ASSERT_TRUE(plan->dropped.contains(GroupId(group)));
    Status built = Error(StatusCode::kUnknown, "not answered");
    BuildRepairedLog(*log_.disk, *log_.executor, "d", *plan, log_.options, Logger(),
                     [&](Status status) { built = status; });
    log_.executor->Advance(std::chrono::seconds(1));
    ASSERT_TRUE(built.ok()) << built;
    auto opened =
        Wal::Open(*log_.disk, *log_.executor, "d/wal.repaired", log_.options, Logger(), [](Status) {});
    ASSERT_TRUE(opened.ok()) << opened.status();
    log_.wal = *std::move(opened);
  }
  TestLog log_;
};

TEST_F(ReplicaRepairTest, WhoCameBackIsKeptWithWhatIsGone) {
  Fill();
  Repair(4, 7);
  EXPECT_EQ(Found(log_, 5).gone, ReplicaId(2));
  EXPECT_EQ(Found(log_, 5).replica, ReplicaId(9));
  EXPECT_EQ(Found(log_, 5).state.last_index, LogIndex(4));
  EXPECT_EQ(Found(log_, 8).gone, ReplicaId(3));
  EXPECT_TRUE(Found(log_, 7).tombstone);
}

TEST_F(ReplicaRepairTest, WhoCameBackAndLostSomethingIsDroppedForEver) {
  Fill();
  Repair(3, 5);
  EXPECT_TRUE(Found(log_, 5).tombstone);
  EXPECT_TRUE(Found(log_, 5).gone.IsNone()) << "no replica of the group comes here again";
  EXPECT_EQ(Found(log_, 7).state.last_index, LogIndex(4));
}

// ---- inspection ----

TEST(WalReplicaTest, InspectionShowsWhatIsGoneAndWhoIsHere) {
  TestLog log;
  ASSERT_TRUE(log.Open().ok());
  ASSERT_TRUE(log.Append({Gone(5, 2), Gone(8, 3), Begin(5, 9)}).ok());
  log.Kill();
  const auto found = Inspect(*log.disk, "wal", nullptr);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_FALSE(found->groups.at(GroupId(5)).tombstone);
  EXPECT_EQ(found->groups.at(GroupId(5)).gone, ReplicaId(2));
  EXPECT_EQ(found->groups.at(GroupId(5)).replica, ReplicaId(9));
  EXPECT_TRUE(found->groups.at(GroupId(8)).tombstone);
  EXPECT_EQ(found->groups.at(GroupId(8)).gone, ReplicaId(3));
}

}  // namespace
}  // namespace tenure::wal
