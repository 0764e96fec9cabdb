#include "wal/inspect.h"

#include <gmock/gmock.h>

#include "tests/wal/log_fixture.h"
#include "wal/format.h"

namespace tenure::wal {
namespace {

using ::testing::HasSubstr;

class InspectTest : public ::testing::Test {
 protected:
  InspectTest() {
    EXPECT_TRUE(log_.Open().ok());
    Write write;
    write.group = GroupId(3);
    write.reset_to = raft::SnapshotMark{LogIndex(4), Term(2), OneVoter(1)};
    write.entries = {MakeEntry(5, 2, "five"), MakeEntry(6, 3, raft::EncodeConfiguration(OneVoter(8)),
                                                        raft::EntryType::kConfiguration)};
    write.hard_state = MakeHardState(3, 1, 5);
    EXPECT_TRUE(log_.Append({write}).ok());
    Write gone;
    gone.group = GroupId(4);
    gone.tombstone = true;
    EXPECT_TRUE(log_.Append({gone}).ok());
  }
  Inspection Look() {
    const std::map<std::string, std::string> before = Contents();
    auto inspection =
        Inspect(*log_.disk, "wal", [this](const InspectedEntry& entry) { entries_.push_back(entry); });
    EXPECT_TRUE(inspection.ok()) << inspection.status();
    EXPECT_EQ(Contents(), before) << "nothing is changed";
    return *std::move(inspection);
  }
  std::map<std::string, std::string> Contents() {
    std::map<std::string, std::string> contents;
    for (const auto& [path, inode] : log_.storage.names()) contents[path] = inode->cached;
    return contents;
  }
  TestLog log_;
  std::vector<InspectedEntry> entries_;
};

TEST_F(InspectTest, ShowsGroupsAndEntries) {
  ASSERT_TRUE(log_.CloseAndKill().ok());
  const Inspection inspection = Look();
  ASSERT_EQ(inspection.groups.size(), 2u);
  const InspectedGroup& group = inspection.groups.at(GroupId(3));
  EXPECT_EQ(group.state.hard_state, MakeHardState(3, 1, 5));
  EXPECT_EQ(group.state.mark.index, LogIndex(4));
  EXPECT_EQ(group.state.last_index, LogIndex(6));
  EXPECT_EQ(group.configuration(), OneVoter(8));
  EXPECT_TRUE(inspection.groups.at(GroupId(4)).tombstone);
  ASSERT_EQ(entries_.size(), 2u);
  EXPECT_EQ(entries_[0].entry, MakeEntry(5, 2, "five"));
  EXPECT_EQ(entries_[0].group, GroupId(3));
  EXPECT_TRUE(inspection.notes.empty());
  EXPECT_TRUE(inspection.stopped_cleanly);
  ASSERT_GE(inspection.segments.size(), 1u);
  EXPECT_EQ(inspection.segments[0].commits, 3u);
}

TEST_F(InspectTest, NotesATornTail) {
  log_.Kill();
  log_.storage.ContentOf("wal/0000000000000001.wal").replace(1600, 3, "xyz");
  const Inspection inspection = Look();
  ASSERT_EQ(inspection.notes.size(), 1u);
  EXPECT_FALSE(inspection.notes[0].damage);
  EXPECT_EQ(inspection.notes[0].offset, 1536u);
  EXPECT_FALSE(inspection.stopped_cleanly);
}

TEST_F(InspectTest, NotesDamageAndShowsTheRest) {
  log_.Kill();
  log_.storage.ContentOf("wal/0000000000000001.wal")[512 + 200] ^= 4;
  const Inspection inspection = Look();
  ASSERT_EQ(inspection.notes.size(), 1u);
  EXPECT_TRUE(inspection.notes[0].damage);
  EXPECT_EQ(inspection.notes[0].offset, 512u);
  EXPECT_TRUE(inspection.groups.at(GroupId(4)).tombstone);
}

}  // namespace
}  // namespace tenure::wal
