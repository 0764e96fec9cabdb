// Damage: what is a torn tail, what is refused, and that nothing in between loses acknowledged data silently.
#include <gmock/gmock.h>

#include <cstdlib>

#include "tests/wal/log_fixture.h"
#include "wal/format.h"

namespace tenure::wal {
namespace {

using ::testing::HasSubstr;

constexpr const char* kFirst = "wal/0000000000000001.wal";
constexpr const char* kSecondFile = "wal/0000000000000002.wal";

Write EntriesOfOneByte(uint64_t group, uint64_t first, uint64_t count, size_t bytes = 50) {
  Write write;
  write.group = GroupId(group);
  for (uint64_t i = 0; i < count; ++i) {
    write.entries.push_back(MakeEntry(first + i, 1, std::string(bytes, static_cast<char>('a' + first % 26))));
  }
  return write;
}

// Everything a log says, to be compared.
struct WholeContent {
  std::map<GroupId, RecoveredGroup> groups;
  std::map<GroupId, std::vector<raft::Entry>> entries;
};

WholeContent ContentOf(TestLog& log) {
  WholeContent content;
  content.groups = log.wal->recovered();
  for (const auto& [id, group] : content.groups) {
    if (group.state.last_index == group.state.mark.index) continue;
    auto entries = log.Read(id.value(), group.state.mark.index.value() + 1, group.state.last_index.value());
    EXPECT_TRUE(entries.ok()) << entries.status();
    if (entries.ok()) content.entries[id] = *std::move(entries);
  }
  return content;
}

bool Same(const WholeContent& a, const WholeContent& b) {
  if (a.entries != b.entries || a.groups.size() != b.groups.size()) return false;
  for (const auto& [id, group] : a.groups) {
    const auto it = b.groups.find(id);
    if (it == b.groups.end() || it->second.tombstone != group.tombstone || it->second.gone != group.gone ||
        it->second.replica != group.replica) {
      return false;
    }
    if (it->second.state.hard_state != group.state.hard_state || it->second.state.mark != group.state.mark)
      return false;
  }
  return true;
}

using Files = std::map<std::string, std::string>;

Files Save(TestLog& log) {
  Files files;
  for (const auto& [path, inode] : log.storage.names()) files[path] = inode->cached;
  return files;
}

void Restore(TestLog& log, const Files& files) {
  log.storage.names().clear();
  for (const auto& [path, content] : files) {
    auto inode = std::make_shared<FakeStorage::Inode>();
    inode->cached = inode->durable = content;
    log.storage.names()[path] = std::move(inode);
  }
  log.storage.Settle();
}

enum class End { kKilled, kSealed, kClosed };

// Two segments and a spare, with every kind of record.
Files SmallDirectory(End end, WholeContent* content) {
  TestLog log;
  EXPECT_TRUE(log.Open().ok());
  Write first = EntriesOfOneByte(5, 11, 3);
  first.reset_to = raft::SnapshotMark{LogIndex(10), Term(1), OneVoter()};
  first.hard_state = MakeHardState(3, 2, 11);
  EXPECT_TRUE(log.Append({first, EntriesOfOneByte(0, 1, 2, 700)}).ok());
  EXPECT_TRUE(log.Append({EntriesOfOneByte(6, 1, 1)}).ok());
  Write gone;
  gone.group = GroupId(6);
  gone.tombstone = true;
  EXPECT_TRUE(log.Append({gone}).ok());
  EXPECT_TRUE(log.Append({{.group = GroupId(8), .tombstone = true, .gone = ReplicaId(2)}}).ok());
  Write back = EntriesOfOneByte(8, 1, 1);
  back.replica = ReplicaId(9);
  back.reset_to = raft::SnapshotMark();
  EXPECT_TRUE(log.Append({back}).ok());
  EXPECT_TRUE(log.Append({EntriesOfOneByte(7, 1, 11, 1000)}).ok());
  Write truncation = EntriesOfOneByte(5, 13, 1);
  truncation.truncate_from = LogIndex(13);
  EXPECT_TRUE(log.Append({truncation}).ok());
  log.wal->Compact(GroupId(5), {LogIndex(11), Term(1), OneVoter(3)});
  EXPECT_TRUE(log.Append({EntriesOfOneByte(0, 3, 1)}).ok());
  EXPECT_TRUE(log.Append({EntriesOfOneByte(7, 12, 1, 2500)}).ok());
  EXPECT_TRUE(log.Append({EntriesOfOneByte(5, 14, 1)}).ok());
  for (int i = 0; i < 4; ++i) log.executor->Advance(std::chrono::milliseconds(10));
  if (end == End::kSealed) log.Idle();
  if (end == End::kClosed) {
    EXPECT_TRUE(log.CloseAndKill().ok());
  } else {
    log.Kill();
  }
  log.storage.Settle();
  const Files files = Save(log);
  EXPECT_EQ(files.size(), 3u);
  const Status again = log.Open();
  EXPECT_TRUE(again.ok()) << again;
  if (!again.ok()) return files;
  *content = ContentOf(log);
  EXPECT_EQ(content->groups.size(), 5u);
  return files;
}

struct Outcome {
  size_t works = 0;
  size_t refused = 0;
};

void Try(TestLog& log, const Files& files, const WholeContent& expected, const std::string& what,
         Outcome* outcome) {
  Restore(log, files);
  const Status opened = log.Open();
  if (opened.ok()) {
    ++outcome->works;
    ASSERT_TRUE(Same(ContentOf(log), expected)) << "silent loss: " << what;
  } else {
    ++outcome->refused;
    const std::string message(MessageOf(opened));
    ASSERT_EQ(opened.code(), StatusCode::kDataLoss) << what << ": " << message;
    ASSERT_THAT(message, HasSubstr(".wal at offset ")) << what;
  }
  log.Kill();
}

class SmallDirectoryTest : public ::testing::TestWithParam<End> {};

TEST_P(SmallDirectoryTest, FlipEveryByte) {
  WholeContent content;
  Files files = SmallDirectory(GetParam(), &content);
  TestLog log;
  Outcome outcome;
  Prng prng(7);
  const bool every = std::getenv("TENURE_WAL_CASES") != nullptr;
  for (auto& [path, bytes] : files) {
    for (size_t i = 0; i < bytes.size(); ++i) {
      const char before = bytes[i];
      // All bits, or one bit; of the zeros between commits and in the spare a sample, unless all are asked
      // for.
      const bool quiet = i % kSectorBytes > 64 && before == 0 && bytes[i - i % kSectorBytes] == 0;
      if (!every && quiet && i % 61 != 0) continue;
      if (!every && GetParam() != End::kKilled && i % 7 != 0) continue;
      bytes[i] = static_cast<char>(before ^ (i % 2 == 0 ? 0xff : 1 << prng.Below(8)));
      Try(log, files, content, fmt::format("{} byte {}", path, i), &outcome);
      bytes[i] = before;
      if (HasFatalFailure()) return;
    }
  }
  printf("flips: %zu start with everything, %zu refuse\n", outcome.works, outcome.refused);
  EXPECT_GT(outcome.works, 0u);
  EXPECT_GT(outcome.refused, 0u);
}

TEST_P(SmallDirectoryTest, TruncateAtEveryLength) {
  WholeContent content;
  const Files files = SmallDirectory(GetParam(), &content);
  TestLog log;
  Outcome outcome;
  for (const auto& [path, bytes] : files) {
    const bool every = std::getenv("TENURE_WAL_CASES") != nullptr;
    for (size_t size = 0; size < bytes.size(); size += every || size < 600 ? 1 : 13) {
      Files cut = files;
      cut[path].resize(size);
      Try(log, cut, content, fmt::format("{} cut to {}", path, size), &outcome);
      if (HasFatalFailure()) return;
    }
  }
  printf("truncations: %zu start with everything, %zu refuse\n", outcome.works, outcome.refused);
  EXPECT_GT(outcome.refused, 0u);
}

TEST_P(SmallDirectoryTest, RemoveOneFile) {
  WholeContent content;
  const Files files = SmallDirectory(GetParam(), &content);
  TestLog log;
  Outcome outcome;
  for (const auto& [path, bytes] : files) {
    Files rest = files;
    rest.erase(path);
    Try(log, rest, content, fmt::format("{} removed", path), &outcome);
  }
  EXPECT_EQ(outcome.works, 1u) << "only the spare can be missed";
  EXPECT_EQ(outcome.refused, 2u);
}

INSTANTIATE_TEST_SUITE_P(Ends, SmallDirectoryTest,
                         ::testing::Values(End::kKilled, End::kSealed, End::kClosed), [](const auto& info) {
                           return info.param == End::kKilled   ? "killed"
                                  : info.param == End::kSealed ? "sealed"
                                                               : "closed";
                         });

// One segment: commits at 512 and so on, one sector each.
struct Damaged {
  TestLog log;
  Damaged() {
    EXPECT_TRUE(log.Open().ok());
    for (uint64_t i = 1; i <= 4; ++i) EXPECT_TRUE(log.Append({EntriesOfOneByte(5, i, 1)}).ok());
    log.Kill();
    log.storage.Settle();
  }
  std::string& content() { return log.storage.ContentOf(kFirst); }
  LogIndex last() { return log.wal->recovered().at(GroupId(5)).state.last_index; }
};

uint64_t CommitOffset(uint64_t n) {
  return kSegmentHeaderBytes + (n - 1) * kSectorBytes;
}

TEST(CorruptionTest, LastCommitNeverWrittenIsCutOff) {
  Damaged damaged;
  damaged.content().replace(CommitOffset(4), kSectorBytes, kSectorBytes, '\0');
  ASSERT_TRUE(damaged.log.Open().ok());
  EXPECT_EQ(damaged.last(), LogIndex(3));
}

TEST(CorruptionTest, LastCommitCutInTheMiddleIsCutOffAndLogged) {
  for (size_t keep = 1; keep < 120; ++keep) {
    Damaged damaged;
    damaged.content().replace(CommitOffset(4) + keep, kSectorBytes - keep, kSectorBytes - keep, '\0');
    ASSERT_TRUE(damaged.log.Open().ok()) << keep;
    EXPECT_EQ(damaged.last(), LogIndex(3));
    ASSERT_EQ(damaged.log.sink.lines.size(), 1u);
    EXPECT_THAT(damaged.log.sink.lines[0],
                HasSubstr(fmt::format("{}: cut off a torn tail at offset {}", kFirst, CommitOffset(4))));
    // The place is clean again.
    ASSERT_TRUE(damaged.log.Append({EntriesOfOneByte(5, 4, 1)}).ok());
    damaged.log.Crash(true);
    ASSERT_TRUE(damaged.log.Open().ok());
    EXPECT_EQ(damaged.last(), LogIndex(4));
  }
}

TEST(CorruptionTest, LargeTornCommitWithLaterSectorsPresentIsCutOff) {
  Damaged damaged;
  ASSERT_TRUE(damaged.log.Open().ok());
  ASSERT_TRUE(damaged.log.Append({EntriesOfOneByte(5, 5, 1, 5000)}).ok());
  damaged.log.Kill();
  // The first sectors did not make it, then the middle ones.
  const std::string whole = damaged.content();
  for (uint64_t lost = 0; lost < 10; ++lost) {
    Damaged again;
    again.content() = whole;
    again.content().replace(CommitOffset(5) + lost * kSectorBytes, kSectorBytes, kSectorBytes, '\0');
    again.log.storage.Settle();
    ASSERT_TRUE(again.log.Open().ok()) << lost;
    EXPECT_EQ(again.last(), LogIndex(4));
    EXPECT_EQ(again.content().find_first_not_of('\0', CommitOffset(5)), std::string::npos);
  }
}

TEST(CorruptionTest, DamageBeforeAValidCommitIsRefusedWithFileOffsetAndEntries) {
  Damaged damaged;
  damaged.content()[CommitOffset(2) + 100] ^= 1;
  const Status status = damaged.log.Open();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  const std::string message(MessageOf(status));
  EXPECT_THAT(message, HasSubstr(fmt::format("{} at offset {}", kFirst, CommitOffset(2))));
  EXPECT_THAT(message, HasSubstr("group 5: entries 2-2"));
  EXPECT_THAT(message, HasSubstr("tenure repair"));
}

TEST(CorruptionTest, AWholeSectorThatReadsAsZerosIsRefusedIfACommitFollows) {
  Damaged damaged;
  damaged.content().replace(CommitOffset(3), kSectorBytes, kSectorBytes, '\0');
  const Status status = damaged.log.Open();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("group 5: entries 3-3"));
}

TEST(CorruptionTest, DamageAtTheEndOfASegmentIsProvedByTheNextOne) {
  WholeContent content;
  Files files = SmallDirectory(End::kKilled, &content);
  std::string& first = files[kFirst];
  // The last commit of the first segment.
  uint64_t offset = kSegmentHeaderBytes;
  uint64_t last = 0;
  while (const auto header =
             DecodeCommitHeader(std::string_view(first).substr(offset), 1, offset, first.size() - offset)) {
    last = offset;
    offset += header->size;
  }
  first.replace(last, offset - last, offset - last, '\0');
  TestLog log;
  Restore(log, files);
  const Status status = log.Open();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr(fmt::format("{} at offset {}", kFirst, last)));
}

TEST(CorruptionTest, SegmentOfAnotherLogIsRefused) {
  WholeContent content;
  Files files = SmallDirectory(End::kKilled, &content);
  std::string& second = files[kSecondFile];
  SegmentHeader header;
  ASSERT_EQ(DecodeSegmentHeader(second, &header), HeaderState::kValid);
  header.log_id += 1;
  std::string encoded;
  EncodeSegmentHeader(header, encoded);
  second.replace(0, encoded.size(), encoded);
  TestLog log;
  Restore(log, files);
  EXPECT_THAT(std::string(MessageOf(log.Open())), HasSubstr("another log"));
}

TEST(CorruptionTest, SegmentUnderAnotherNameIsRefused) {
  WholeContent content;
  Files files = SmallDirectory(End::kClosed, &content);
  files["wal/0000000000000009.wal"] = files[kSecondFile];
  TestLog log;
  Restore(log, files);
  EXPECT_THAT(std::string(MessageOf(log.Open())), HasSubstr("under another name"));
}

TEST(CorruptionTest, ReadNoticesDamageThatHappenedSince) {
  Damaged damaged;
  ASSERT_TRUE(damaged.log.Open().ok());
  damaged.content()[CommitOffset(2) + 100] ^= 1;
  const auto entries = damaged.log.Read(5, 2, 2);
  EXPECT_EQ(entries.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(std::string(MessageOf(entries.status())), HasSubstr(kFirst));
}

}  // namespace
}  // namespace tenure::wal
