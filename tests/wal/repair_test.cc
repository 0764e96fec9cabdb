// Repairing a damaged log: what is dropped, what is kept, and a crash at every step.
#include "wal/repair.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>

#include "runtime/real/real_disk.h"
#include "runtime/real/real_executor.h"
#include "tests/wal/log_fixture.h"
#include "wal/format.h"

namespace tenure::wal {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr const char* kFirstSegment = "d/wal/0000000000000001.wal";

// A log on the fake disk in "d/wal", damaged at will, planned and repaired.
class RepairTest : public ::testing::Test {
 protected:
  Status Open(const std::string& directory = "d/wal") {
    log_.executor = std::make_unique<runtime::ManualExecutor>();
    log_.disk = std::make_unique<FakeDisk>(log_.storage, *log_.executor);
    auto opened = Wal::Open(*log_.disk, *log_.executor, directory, log_.options, Logger(), [](Status) {});
    if (!opened.ok()) return opened.status();
    log_.wal = *std::move(opened);
    return OkStatus();
  }
  // Catalog, two regions, one destroyed group; sector by sector:
  // 1: region 5 with mark and vote, 2: catalog, 3: region 8, 4: region 5 again, 5: tombstone of 6, 6: region
  // 8
  void Fill() {
    ASSERT_TRUE(Open().ok());
    Write first = Entries(5, 11, 2);
    first.reset_to = raft::SnapshotMark{LogIndex(10), Term(1), OneVoter()};
    first.hard_state = MakeHardState(3, 2, 11);
    ASSERT_TRUE(log_.Append({first}).ok());
    ASSERT_TRUE(log_.Append({Entries(0, 1, 2)}).ok());
    ASSERT_TRUE(log_.Append({Entries(8, 1, 2)}).ok());
    ASSERT_TRUE(log_.Append({Entries(5, 13, 1)}).ok());
    Write gone;
    gone.group = GroupId(6);
    gone.tombstone = true;
    ASSERT_TRUE(log_.Append({gone}).ok());
    ASSERT_TRUE(log_.Append({Entries(8, 3, 1)}).ok());
    log_.Kill();
    log_.storage.Settle();
  }
  static uint64_t CommitAt(uint64_t n) { return kSegmentHeaderBytes + (n - 1) * kSectorBytes; }
  char& ByteAt(uint64_t offset) { return log_.storage.ContentOf(kFirstSegment)[offset]; }
  RepairPlan Plan() {
    log_.executor = std::make_unique<runtime::ManualExecutor>();
    log_.disk = std::make_unique<FakeDisk>(log_.storage, *log_.executor);
    auto plan = PlanRepair(*log_.disk, "d", {});
    EXPECT_TRUE(plan.ok()) << plan.status();
    return plan.ok() ? *std::move(plan) : RepairPlan();
  }
  void Build(const RepairPlan& plan) {
    Status built = Error(StatusCode::kUnknown, "not answered");
    BuildRepairedLog(*log_.disk, *log_.executor, "d", plan, log_.options, Logger(),
                     [&](Status status) { built = status; });
    log_.executor->Advance(std::chrono::seconds(1));
    ASSERT_TRUE(built.ok()) << built;
    ASSERT_TRUE(Open("d/wal.repaired").ok());
  }
  static std::set<GroupId> Dropped(const RepairPlan& plan) {
    std::set<GroupId> groups;
    for (const auto& [id, damage] : plan.dropped) groups.insert(id);
    return groups;
  }
  TestLog log_;
};

TEST_F(RepairTest, RefusesAHealthyLog) {
  Fill();
  log_.executor = std::make_unique<runtime::ManualExecutor>();
  log_.disk = std::make_unique<FakeDisk>(log_.storage, *log_.executor);
  const auto plan = PlanRepair(*log_.disk, "d", {});
  EXPECT_EQ(plan.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(plan.status())), HasSubstr("healthy"));
}

TEST_F(RepairTest, DropsTheGroupThatLostEntriesAndKeepsTheOthersWhole) {
  Fill();
  ByteAt(CommitAt(3) + 120) ^= 1;  // in the payload of region 8's entries
  const RepairPlan plan = Plan();
  EXPECT_FALSE(plan.everything);
  EXPECT_EQ(Dropped(plan), std::set<GroupId>{GroupId(8)});
  EXPECT_EQ(plan.dropped.at(GroupId(8)).first, LogIndex(1));
  EXPECT_EQ(plan.dropped.at(GroupId(8)).last, LogIndex(2));
  Build(plan);
  const auto& groups = log_.wal->recovered();
  EXPECT_TRUE(groups.at(GroupId(8)).tombstone);
  EXPECT_TRUE(groups.at(GroupId(6)).tombstone);
  const raft::PersistedState& kept = groups.at(GroupId(5)).state;
  EXPECT_EQ(kept.hard_state, MakeHardState(3, 2, 11));
  EXPECT_EQ(kept.mark, (raft::SnapshotMark{LogIndex(10), Term(1), OneVoter()}));
  const auto entries = log_.Read(5, 11, 13);
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_EQ(*entries, Entries(5, 11, 3).entries);
  const auto catalog = log_.Read(0, 1, 2);
  ASSERT_TRUE(catalog.ok());
  EXPECT_EQ(*catalog, Entries(0, 1, 2).entries);
}

// The record that held the vote is bad: no entry is missing, and yet the replica must go.
TEST_F(RepairTest, DropsAGroupThatLostAVote) {
  Fill();
  const std::string& content = log_.storage.ContentOf(kFirstSegment);
  const auto header =
      DecodeCommitHeader(std::string_view(content).substr(CommitAt(1)), 1, CommitAt(1), 1 << 20);
  ASSERT_TRUE(header);
  RecordReader records(std::string_view(content).substr(CommitAt(1), header->size), *header, 1, CommitAt(1));
  Record record;
  uint64_t vote_at = 0;
  while (records.Next(&record) == RecordReader::Step::kRecord) {
    if (record.type == RecordType::kHardState) vote_at = record.offset + kRecordHeaderBytes + 1;
  }
  ASSERT_NE(vote_at, 0u);
  ByteAt(vote_at) ^= 1;
  const RepairPlan plan = Plan();
  EXPECT_FALSE(plan.everything);
  EXPECT_EQ(Dropped(plan), std::set<GroupId>{GroupId(5)});
  EXPECT_TRUE(plan.dropped.at(GroupId(5)).state_lost);
}

// A record whose header is damaged may be anybody's.
TEST_F(RepairTest, DropsEveryGroupIfTheDamageCannotBeAttributed) {
  Fill();
  ByteAt(CommitAt(3) + kCommitHeaderBytes + 16) ^= 5;  // the group: 8 becomes 13
  const RepairPlan plan = Plan();
  EXPECT_TRUE(plan.everything);
  EXPECT_EQ(Dropped(plan), (std::set<GroupId>{GroupId(0), GroupId(5), GroupId(8)}));
  EXPECT_TRUE(plan.kept.empty());
  Status built;
  BuildRepairedLog(*log_.disk, *log_.executor, "d", plan, log_.options, Logger(),
                   [&](Status status) { built = status; });
  EXPECT_EQ(built.code(), StatusCode::kFailedPrecondition);
}

TEST_F(RepairTest, DropsEveryGroupIfAWholeCommitIsGone) {
  Fill();
  log_.storage.ContentOf(kFirstSegment).replace(CommitAt(4), kSectorBytes, kSectorBytes, '\0');
  EXPECT_TRUE(Plan().everything);
}

// Only the frame around intact records is damaged: nobody lost anything.
TEST_F(RepairTest, DropsNothingIfOnlyACommitHeaderIsDamaged) {
  Fill();
  ByteAt(CommitAt(3) + 20) ^= 1;
  const RepairPlan plan = Plan();
  EXPECT_FALSE(plan.everything);
  EXPECT_TRUE(plan.dropped.empty());
  Build(plan);
  const auto entries = log_.Read(8, 1, 3);
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_EQ(*entries, Entries(8, 1, 3).entries);
}

// The next segment repeats the state of all groups: what it confirms was not lost.
TEST_F(RepairTest, ACheckpointBehindTheDamageClearsTheOthers) {
  Fill();
  ASSERT_TRUE(Open().ok());
  for (uint64_t i = 3; i < 20; ++i) ASSERT_TRUE(log_.Append({Entries(0, i, 1, 900)}).ok());
  log_.Kill();
  log_.storage.Settle();
  ASSERT_TRUE(log_.storage.names().contains("d/wal/0000000000000002.wal"));
  log_.storage.ContentOf(kFirstSegment).replace(CommitAt(3), kSectorBytes, kSectorBytes, '\0');
  const RepairPlan plan = Plan();
  EXPECT_FALSE(plan.everything);
  EXPECT_EQ(Dropped(plan), std::set<GroupId>{GroupId(8)});
  Build(plan);
  EXPECT_EQ(log_.wal->recovered().at(GroupId(0)).state.last_index, LogIndex(19));
}

// Nothing that was flipped anywhere survives in a repaired log, and nobody is kept who lost something.
TEST_F(RepairTest, EveryFlippedByteIsRepairedWithoutKeepingALoser) {
  Fill();
  ASSERT_TRUE(Open().ok());
  std::map<GroupId, std::vector<raft::Entry>> expected;
  const auto recovered = log_.wal->recovered();
  for (const auto& [id, group] : recovered) {
    if (group.tombstone) continue;
    auto entries = log_.Read(id.value(), group.state.mark.index.value() + 1, group.state.last_index.value());
    ASSERT_TRUE(entries.ok());
    expected[id] = *std::move(entries);
  }
  log_.Kill();
  const std::string good = log_.storage.ContentOf(kFirstSegment);
  size_t repaired = 0;
  size_t whole = 0;
  size_t given_up = 0;
  const uint64_t step = std::getenv("TENURE_WAL_CASES") != nullptr ? 1 : 7;
  for (uint64_t at = 0; at < CommitAt(7); at += step) {
    log_.storage.names().clear();
    auto inode = std::make_shared<FakeStorage::Inode>();
    inode->cached = good;
    inode->cached[at] = static_cast<char>(inode->cached[at] ^ (1 << (at % 8)));
    log_.storage.names()[kFirstSegment] = inode;
    log_.storage.Settle();
    log_.executor = std::make_unique<runtime::ManualExecutor>();
    log_.disk = std::make_unique<FakeDisk>(log_.storage, *log_.executor);
    const auto plan = PlanRepair(*log_.disk, "d", {});
    if (!plan.ok()) {
      ++whole;  // the flip did not matter; tests/wal/corruption_test.cc sees to that
      continue;
    }
    if (plan->everything) {
      ++given_up;  // nothing is kept
      continue;
    }
    Build(*plan);
    if (HasFatalFailure()) return;
    ++repaired;
    for (const auto& [id, group] : log_.wal->recovered()) {
      if (group.tombstone) continue;
      ASSERT_EQ(group.state.hard_state, recovered.at(id).state.hard_state)
          << "byte " << at << " group " << id.value();
      ASSERT_EQ(group.state.mark, recovered.at(id).state.mark) << "byte " << at << " group " << id.value();
      const auto entries =
          log_.Read(id.value(), group.state.mark.index.value() + 1, group.state.last_index.value());
      ASSERT_TRUE(entries.ok()) << entries.status();
      ASSERT_EQ(*entries, expected.at(id)) << "byte " << at << " group " << id.value();
    }
    ASSERT_TRUE(log_.wal->recovered().contains(GroupId(6)) && log_.wal->recovered().at(GroupId(6)).tombstone)
        << at;
    log_.Kill();
  }
  printf("%zu repaired, %zu given up, %zu needed no repair\n", repaired, given_up, whole);
  EXPECT_GT(repaired, 500u / step);
  EXPECT_LT(given_up, repaired);
}

// ---- the exchange of the logs, on real directories ----

// Fails every change after the first `left`.
class DyingDisk final : public runtime::Disk {
 public:
  DyingDisk(runtime::Disk& disk, int left) : disk_(disk), left_(left) {}
  StatusOr<std::unique_ptr<runtime::File>> Open(const std::string& path, runtime::OpenMode mode) override {
    if (mode != runtime::OpenMode::kReadOnly) TENURE_RETURN_IF_ERROR(Live());
    return disk_.Open(path, mode);
  }
  Status Rename(const std::string& from, const std::string& to) override {
    TENURE_RETURN_IF_ERROR(Live());
    return disk_.Rename(from, to);
  }
  Status Remove(const std::string& path) override {
    TENURE_RETURN_IF_ERROR(Live());
    return disk_.Remove(path);
  }
  Status MakeDirectories(const std::string& path) override { return disk_.MakeDirectories(path); }
  bool Exists(const std::string& path) override { return disk_.Exists(path); }
  StatusOr<std::vector<std::string>> List(const std::string& path) override { return disk_.List(path); }
  Status SyncDirectory(const std::string& path) override {
    TENURE_RETURN_IF_ERROR(Live());
    return disk_.SyncDirectory(path);
  }
  StatusOr<std::unique_ptr<runtime::FileLock>> Lock(const std::string& path) override {
    return disk_.Lock(path);
  }
  StatusOr<uint64_t> FreeBytes(const std::string& path) override { return disk_.FreeBytes(path); }

 private:
  Status Live() { return left_-- > 0 ? OkStatus() : Error(StatusCode::kInternal, "the process died"); }
  runtime::Disk& disk_;
  int left_;
};

TEST(SwapTest, ACrashAtEveryStepLeavesTheOldLogOrAMarkerAndCanBeFinished) {
  runtime::RealExecutor executor("disk");
  runtime::RealDisk disk(executor);
  bool finished = false;
  int steps = 0;
  for (int left = 0; !finished; ++left) {
    std::string pattern = (fs::temp_directory_path() / "tenure_repair_XXXXXX").string();
    const std::string root = ::mkdtemp(pattern.data());
    fs::create_directories(root + "/wal");
    fs::create_directories(root + "/wal.repaired");
    std::ofstream(root + "/wal/old") << "old";
    std::ofstream(root + "/wal.repaired/new") << "new";
    {
      DyingDisk dying(disk, left);
      finished = SwapLogs(dying, root).ok();
    }
    if (!SwapUnderWay(disk, root)) {
      // Not begun or done: never neither log.
      EXPECT_TRUE(fs::exists(root + "/wal/old") || fs::exists(root + "/wal/new")) << left;
    }
    if (!finished) {
      ++steps;
      if (SwapUnderWay(disk, root) || fs::exists(root + "/wal/old")) {
        const auto aside = SwapLogs(disk, root);
        ASSERT_TRUE(aside.ok()) << left << " " << aside.status();
        EXPECT_TRUE(fs::exists(*aside + "/old")) << left;
      }
    }
    EXPECT_TRUE(fs::exists(root + "/wal/new")) << left;
    EXPECT_FALSE(SwapUnderWay(disk, root)) << left;
    fs::remove_all(root);
  }
  EXPECT_GE(steps, 6);
}

}  // namespace
}  // namespace tenure::wal
