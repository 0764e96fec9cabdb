// What runtime/disk.h promises to a process that lives; what a crash leaves is tests/sim/sim_disk_test.cc.
#include <string>
#include <vector>

#include "runtime/disk.h"
#include "tests/contract/worlds.h"

namespace tenure::contract {
namespace {

using namespace std::chrono_literals;
using runtime::OpenMode;

class DiskContract : public ContractTest {
 protected:
  std::string Path(const std::string& name) { return world->directory() + "/" + name; }
  std::unique_ptr<runtime::File> Create(const std::string& name) {
    auto file = disk.Open(Path(name), OpenMode::kCreate);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }
  std::unique_ptr<Process> process = world->NewProcess("process");
  runtime::Disk& disk = process->disk();
};

TEST_P(DiskContract, ReadsWhatWasWritten) {
  const auto file = Create("a");
  EXPECT_EQ(*file->Size(), 0u);
  EXPECT_EQ(*file->Read(0, 10), "");
  ASSERT_TRUE(file->Write(0, "hello world").ok());
  ASSERT_TRUE(file->Write(6, "W").ok());
  EXPECT_EQ(*file->Read(0, 100), "hello World");
  EXPECT_EQ(*file->Read(6, 3), "Wor");
  EXPECT_EQ(*file->Read(11, 3), "");
  EXPECT_EQ(*file->Read(1000, 3), "");
  ASSERT_TRUE(file->Write(20, "x").ok());
  EXPECT_EQ(*file->Size(), 21u);
  EXPECT_EQ(*file->Read(10, 11), std::string("d") + std::string(9, '\0') + "x");
}

TEST_P(DiskContract, TruncateCutsAndExtends) {
  const auto file = Create("a");
  ASSERT_TRUE(file->Write(0, "abcdef").ok());
  ASSERT_TRUE(file->Truncate(3).ok());
  EXPECT_EQ(*file->Read(0, 10), "abc");
  ASSERT_TRUE(file->Truncate(5).ok());
  EXPECT_EQ(*file->Read(0, 10), std::string("abc\0\0", 5));
}

TEST_P(DiskContract, DirectWritesAreWritesLikeAnyOther) {
  const auto file = Create("a");
  file->PreferDirectWrites();
  std::string content(700 << 10, 'x');  // more than one write to the device
  const auto write = [&](uint64_t offset, const std::string& bytes) {
    ASSERT_TRUE(file->Write(offset, bytes).ok());
    content.replace(offset, bytes.size(), bytes);
  };
  write(0, content);
  EXPECT_EQ(*file->Size(), content.size());
  // Whole sectors, parts of them, and again whole ones over what was just read through the page cache.
  write(512, std::string(1024, 'a'));
  write(700, "between");
  EXPECT_EQ(*file->Read(0, content.size()), content);
  write(512, std::string(512, 'b'));
  write(content.size() - 512, std::string(512, 'c'));
  EXPECT_EQ(*file->Read(0, content.size()), content);
  write(1024, std::string(300'000, 'd'));  // no whole number of sectors
  ASSERT_TRUE(file->SyncNow().ok());
  const auto again = disk.Open(Path("a"), OpenMode::kReadOnly);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*(*again)->Read(0, content.size() + 1), content);
}

TEST_P(DiskContract, OpenModes) {
  const auto missing = disk.Open(Path("missing"), OpenMode::kReadOnly);
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_NE(MessageOf(missing.status()).find("missing"), std::string_view::npos) << missing.status();
  EXPECT_EQ(disk.Open(Path("missing"), OpenMode::kReadWrite).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(disk.Open(Path("no/such/file"), OpenMode::kCreate).status().code(), StatusCode::kNotFound);
  ASSERT_TRUE(Create("a")->Write(0, "kept").ok());
  EXPECT_EQ(*Create("a")->Read(0, 10), "kept") << "kCreate keeps what is there";
  const auto taken = disk.Open(Path("a"), OpenMode::kCreateNew);
  EXPECT_EQ(taken.status().code(), StatusCode::kAlreadyExists);
  EXPECT_NE(MessageOf(taken.status()).find("/a"), std::string_view::npos) << taken.status();
  EXPECT_TRUE(disk.Open(Path("new"), OpenMode::kCreateNew).ok());
  EXPECT_EQ(disk.Open(Path("new"), OpenMode::kCreateNew).status().code(), StatusCode::kAlreadyExists);
  auto reader = disk.Open(Path("a"), OpenMode::kReadOnly);
  EXPECT_EQ(*(*reader)->Read(0, 10), "kept");
  EXPECT_FALSE((*reader)->Write(0, "no").ok());
  EXPECT_FALSE(disk.Open(world->directory(), OpenMode::kReadOnly).ok()) << "a directory is no file";
}

TEST_P(DiskContract, SyncCompletesLaterOnTheExecutor) {
  const auto file = Create("a");
  ASSERT_TRUE(file->Write(0, "x").ok());
  int done = 0;
  world->Do(process->executor(), [&] {
    for (int i = 0; i < 2; ++i) {
      file->Sync([&](Status status) {
        EXPECT_TRUE(status.ok());
        EXPECT_TRUE(process->executor().IsCurrent());
        ++done;
      });
    }
    EXPECT_EQ(done, 0) << "not inside Sync";
  });
  world->Await(process->executor(), [&] { return done == 2; }, "both syncs");
  EXPECT_TRUE(file->SyncNow().ok());
}

TEST_P(DiskContract, SyncCompletesThoughTheFileIsClosed) {
  auto file = Create("a");
  bool done = false;
  world->Do(process->executor(), [&] {
    file->Sync([&](Status) { done = true; });
    file.reset();
  });
  world->Await(process->executor(), [&] { return done; }, "the sync");
}

TEST_P(DiskContract, NamesCanBeListedRenamedAndRemoved) {
  ASSERT_TRUE(disk.MakeDirectories(Path("d/e")).ok());
  ASSERT_TRUE(disk.MakeDirectories(Path("d/e")).ok()) << "again";
  for (const char* name : {"d/2", "d/1", "d/3"}) Create(name);
  Create("d/e/inner");
  EXPECT_EQ(*disk.List(Path("d")), (std::vector<std::string>{"1", "2", "3"}));
  ASSERT_TRUE(Create("d/1")->Write(0, "one").ok());
  const auto open = Create("d/2");
  ASSERT_TRUE(disk.Rename(Path("d/1"), Path("d/2")).ok());
  EXPECT_EQ(*runtime::ReadWholeFile(disk, Path("d/2")), "one");
  EXPECT_EQ(*open->Read(0, 10), "") << "an open file stays what it was";
  EXPECT_FALSE(disk.Exists(Path("d/1")));
  EXPECT_TRUE(disk.Exists(Path("d/2")));
  EXPECT_TRUE(disk.Exists(Path("d")));
  ASSERT_TRUE(disk.Remove(Path("d/2")).ok());
  EXPECT_EQ(disk.Remove(Path("d/2")).code(), StatusCode::kNotFound);
  EXPECT_EQ(disk.Rename(Path("d/2"), Path("d/9")).code(), StatusCode::kNotFound);
  EXPECT_EQ(disk.List(Path("nothing")).status().code(), StatusCode::kNotFound);
  EXPECT_TRUE(disk.SyncDirectory(Path("d")).ok());
  EXPECT_EQ(disk.SyncDirectory(Path("nothing")).code(), StatusCode::kNotFound);
}

TEST_P(DiskContract, ADirectoryIsRenamedWithWhatIsInIt) {
  ASSERT_TRUE(disk.MakeDirectories(Path("from")).ok());
  ASSERT_TRUE(disk.MakeDirectories(Path("taken")).ok());
  ASSERT_TRUE(Create("from/a")->Write(0, "content").ok());
  Create("taken/b");
  EXPECT_FALSE(disk.Rename(Path("from"), Path("taken")).ok()) << "there is something in it";
  ASSERT_TRUE(disk.Rename(Path("from"), Path("to")).ok());
  EXPECT_FALSE(disk.Exists(Path("from")));
  EXPECT_EQ(disk.List(Path("from")).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(*runtime::ReadWholeFile(disk, Path("to/a")), "content");
  ASSERT_TRUE(disk.MakeDirectories(Path("from")).ok()) << "the name is free";
  EXPECT_EQ(*disk.List(Path("from")), std::vector<std::string>());
}

TEST_P(DiskContract, WholeFiles) {
  ASSERT_TRUE(runtime::WriteWholeFile(disk, Path("w"), "first, longer").ok());
  ASSERT_TRUE(runtime::WriteWholeFile(disk, Path("w"), "second").ok());
  EXPECT_EQ(*runtime::ReadWholeFile(disk, Path("w")), "second");
  EXPECT_EQ(runtime::ReadWholeFile(disk, Path("v")).status().code(), StatusCode::kNotFound);
}

TEST_P(DiskContract, ALockHasOneOwner) {
  auto lock = disk.Lock(Path("LOCK"));
  ASSERT_TRUE(lock.ok()) << lock.status();
  const auto other = world->NewProcess("other");
  const auto second = other->disk().Lock(Path("LOCK"));
  EXPECT_EQ(second.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(MessageOf(second.status()).find("locked by process "), std::string_view::npos) << second.status();
  EXPECT_NE(MessageOf(second.status()).find("LOCK"), std::string_view::npos) << second.status();
  lock->reset();
  EXPECT_TRUE(other->disk().Lock(Path("LOCK")).ok());
}

TEST_P(DiskContract, FreeSpaceIsKnown) {
  EXPECT_GT(*disk.FreeBytes(world->directory()), 0u);
}

INSTANTIATE_TEST_SUITE_P(Worlds, DiskContract, kBothWorlds, WorldName);

}  // namespace
}  // namespace tenure::contract
