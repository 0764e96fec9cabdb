#include "sim/sim_disk.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

#include "sim/scheduler.h"
#include "sim/sim_executor.h"

namespace tenure::sim {
namespace {

using namespace std::chrono_literals;
using runtime::OpenMode;

class SimDiskTest : public testing::Test {
 protected:
  SimDiskTest() { Reset(1); }
  void Reset(uint64_t seed) {
    view.reset();
    process.reset();
    disk = std::make_unique<SimDisk>(world, "disk", Prng(seed));
    Start();
  }
  void Start() {
    process = std::make_unique<SimProcess>(world, clock, "p", Prng(3));
    executor = &process->AddExecutor("main");
    view = disk->MakeView(*process, *executor);
  }
  void Crash(CrashKind kind) {
    process->Kill();
    view.reset();
    process.reset();
    disk->Crash(kind);
    Start();
  }
  std::unique_ptr<runtime::File> Create(const std::string& path) {
    return *view->Open(path, OpenMode::kCreate);
  }
  // Creates a file whose name and content are durable.
  void MakeDurable(const std::string& path, const std::string& content) {
    const auto file = Create(path);
    EXPECT_TRUE(file->Write(0, content).ok());
    EXPECT_TRUE(file->SyncNow().ok());
    EXPECT_TRUE(view->SyncDirectory("/").ok());
  }

  Scheduler world;
  SimClock clock{world, Instant(1h), WallFromMillis(0)};
  std::unique_ptr<SimDisk> disk;
  std::unique_ptr<SimProcess> process;
  SimExecutor* executor = nullptr;
  std::unique_ptr<runtime::Disk> view;
};

TEST_F(SimDiskTest, SyncedDataSurvivesAPowerLoss) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Reset(seed);
    MakeDurable("/a", "durable");
    Crash(CrashKind::kPower);
    EXPECT_EQ(*runtime::ReadWholeFile(*view, "/a"), "durable");
  }
}

TEST_F(SimDiskTest, AProcessCrashKeepsThePageCache) {
  ASSERT_TRUE(Create("/a")->Write(0, "cached").ok());
  Crash(CrashKind::kProcess);
  EXPECT_EQ(*runtime::ReadWholeFile(*view, "/a"), "cached");
  EXPECT_FALSE(disk->DurableContent("/a").has_value());
}

// Every outcome that the contract allows must occur for some seed.
TEST_F(SimDiskTest, APowerLossKeepsAnySubsetOfUnsyncedWrites) {
  int lost = 0, kept = 0, torn = 0, reordered = 0, zeros = 0;
  const std::string old_content(2048, 'o');
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Reset(seed);
    MakeDurable("/a", old_content);
    const auto file = Create("/a");
    ASSERT_TRUE(file->Write(0, std::string(1024, '1')).ok());
    ASSERT_TRUE(file->Write(1024, std::string(1024, '2')).ok());
    ASSERT_TRUE(file->Write(2048, std::string(1024, '3')).ok());
    Crash(CrashKind::kPower);
    const std::string now = *runtime::ReadWholeFile(*view, "/a");
    ASSERT_GE(now.size(), 2048u);
    for (size_t at = 0; at < now.size(); at += 512) {
      const std::string sector = now.substr(at, 512);
      EXPECT_EQ(sector, std::string(sector.size(), sector[0])) << "a sector is written whole or not";
    }
    lost += now == old_content;
    kept += now == std::string(1024, '1') + std::string(1024, '2') + std::string(1024, '3');
    torn += now[0] != now[512];
    reordered += now[0] == 'o' && now[512] == 'o' && now[1024] == '2' && now[1536] == '2';
    zeros += now.size() == 3072 && now[2048] == '\0';
  }
  EXPECT_GT(lost, 0);
  EXPECT_GT(kept, 0);
  EXPECT_GT(torn, 0);
  EXPECT_GT(reordered, 0);
  EXPECT_GT(zeros, 0);
}

TEST_F(SimDiskTest, NamesAreLostUntilTheDirectoryIsSynced) {
  int created = 0, missing = 0, old_target = 0, new_target = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Reset(seed);
    MakeDurable("/target", "old");
    const auto file = Create("/new");
    ASSERT_TRUE(file->Write(0, "new").ok());
    ASSERT_TRUE(file->SyncNow().ok());
    ASSERT_TRUE(view->Rename("/new", "/target").ok());
    Create("/other");
    Crash(CrashKind::kPower);
    const std::string content = *runtime::ReadWholeFile(*view, "/target");
    (content == "old" ? old_target : new_target) += 1;
    EXPECT_TRUE(content == "old" || content == "new") << "replaced atomically: " << content;
    (view->Exists("/other") ? created : missing) += 1;
  }
  EXPECT_GT(created, 0);
  EXPECT_GT(missing, 0);
  EXPECT_GT(old_target, 0);
  EXPECT_GT(new_target, 0);
}

// What was not durable in a directory that was renamed says nothing about the one that has its name now.
TEST_F(SimDiskTest, ARenamedDirectoryTakesItsChangesAlong) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Reset(seed);
    ASSERT_TRUE(view->MakeDirectories("/log").ok());
    ASSERT_TRUE(view->MakeDirectories("/new").ok());
    const auto make = [this](const std::string& directory, const std::string& name) {
      const auto file = Create(directory + name);
      EXPECT_TRUE(file->Write(0, directory).ok());
      EXPECT_TRUE(file->SyncNow().ok());
    };
    make("/log", "/removed");
    ASSERT_TRUE(view->SyncDirectory("/log").ok());
    ASSERT_TRUE(view->Remove("/log/removed").ok());
    make("/log", "/added");
    for (const char* name : {"/removed", "/added"}) make("/new", name);
    ASSERT_TRUE(view->SyncDirectory("/new").ok());
    ASSERT_TRUE(view->Rename("/log", "/old").ok());
    ASSERT_TRUE(view->Rename("/new", "/log").ok());
    ASSERT_TRUE(view->SyncDirectory("/").ok());
    if (seed % 2 == 0) ASSERT_TRUE(view->SyncDirectory("/log").ok());
    Crash(CrashKind::kPower);
    for (const char* path : {"/log/removed", "/log/added"}) {
      ASSERT_TRUE(view->Exists(path)) << "seed " << seed << ": " << path;
      EXPECT_EQ(*runtime::ReadWholeFile(*view, path), "/new") << "seed " << seed << ": " << path;
    }
  }
}

TEST_F(SimDiskTest, WholeFilesAreReplacedAtomically) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Reset(seed);
    ASSERT_TRUE(runtime::WriteWholeFile(*view, "/w", "one").ok());
    ASSERT_TRUE(runtime::WriteWholeFile(*view, "/w", "two").ok());
    Crash(CrashKind::kPower);
    EXPECT_EQ(*runtime::ReadWholeFile(*view, "/w"), "two");
  }
}

TEST_F(SimDiskTest, OnlyWhatWasWrittenBeforeTheSyncBeganIsDurable) {
  const auto file = Create("/a");
  ASSERT_TRUE(view->SyncDirectory("/").ok());
  ASSERT_TRUE(file->Write(0, "before").ok());
  bool done = false;
  file->Sync([&](Status status) { done = status.ok(); });
  ASSERT_TRUE(file->Write(6, "after").ok());
  ASSERT_TRUE(world.RunUntil([&] { return done; }, 1s));
  EXPECT_EQ(disk->DurableContent("/a"), "before");
  EXPECT_EQ(disk->Content("/a"), "beforeafter");
}

TEST_F(SimDiskTest, HungSyncsEndWhenReleased) {
  disk->HangSyncs();
  const auto file = Create("/a");
  bool done = false;
  file->Sync([&](Status) { done = true; });
  world.RunFor(10s);
  EXPECT_FALSE(done);
  disk->ReleaseSyncs();
  EXPECT_TRUE(world.RunUntil([&] { return done; }, 1s));
}

TEST_F(SimDiskTest, SyncsTakeTheirTimeAndStall) {
  SimDiskOptions options;
  options.stalls_per_million = 1'000'000;
  disk->set_options(options);
  const auto file = Create("/a");
  bool done = false;
  file->Sync([&](Status) { done = true; });
  world.RunFor(49ms);
  EXPECT_FALSE(done);
  world.RunFor(200ms);
  EXPECT_TRUE(done);
}

TEST_F(SimDiskTest, AFailedSyncForgetsWhatItDidNotWrite) {
  bool forgotten = false;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Reset(seed);
    MakeDurable("/a", "");
    const auto file = Create("/a");
    ASSERT_TRUE(file->Write(0, "x").ok());
    disk->FailSyncs(1, "/a");
    EXPECT_EQ(file->SyncNow().code(), StatusCode::kInternal);
    EXPECT_EQ(*file->Read(0, 1), "x") << "the page cache still has it";
    EXPECT_TRUE(file->SyncNow().ok()) << "and a second sync lies";
    forgotten = forgotten || disk->DurableContent("/a") != "x";
  }
  EXPECT_TRUE(forgotten);
}

TEST_F(SimDiskTest, AFullDiskRefusesToGrow) {
  SimDiskOptions options;
  options.capacity = 1000;
  disk->set_options(options);
  const auto file = Create("/a");
  ASSERT_TRUE(file->Write(0, std::string(1000, 'x')).ok());
  EXPECT_EQ(*view->FreeBytes("/"), 0u);
  const Status full = file->Write(1000, "y");
  EXPECT_EQ(full.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(MessageOf(full).find("/a: No space left on device"), std::string_view::npos) << full;
  EXPECT_TRUE(file->Write(0, "overwriting needs no space").ok());
}

TEST_F(SimDiskTest, BitsFlipOnRequest) {
  MakeDurable("/a", "aaaa");
  ASSERT_TRUE(disk->FlipBit("/a", 2, 0));
  EXPECT_EQ(*runtime::ReadWholeFile(*view, "/a"), "aa`a");
  EXPECT_EQ(disk->DurableContent("/a"), "aa`a");
  EXPECT_FALSE(disk->FlipBit("/a", 4, 0));
  EXPECT_FALSE(disk->FlipRandomBit("nothing").has_value());
  EXPECT_TRUE(disk->FlipRandomBit("/a").has_value());
}

TEST_F(SimDiskTest, ADeadProcessHasNoHands) {
  MakeDurable("/a", "safe");
  auto file = Create("/a");
  auto lock = view->Lock("/LOCK");
  ASSERT_TRUE(lock.ok());
  bool told = false;
  file->Sync([&](Status) { told = true; });
  process->Kill();
  EXPECT_FALSE(file->Write(0, "evil").ok());
  EXPECT_FALSE(view->Remove("/a").ok());
  world.RunFor(1s);
  EXPECT_FALSE(told);
  const auto dead = std::move(process);
  const auto dead_view = std::move(view);
  disk->Crash(CrashKind::kProcess);
  Start();
  EXPECT_EQ(*runtime::ReadWholeFile(*view, "/a"), "safe");
  const auto second = view->Lock("/LOCK");
  ASSERT_TRUE(second.ok()) << "released by death";
  lock->reset();
  EXPECT_FALSE(view->Lock("/LOCK").ok()) << "the dead owner's handle does not release the new lock";
}

TEST_F(SimDiskTest, TheWorldSeesEveryBoundary) {
  std::string log;
  disk->set_boundary(
      [&](std::string_view operation, const std::string&) { log += std::string(operation) + " "; });
  ASSERT_TRUE(runtime::WriteWholeFile(*view, "/w", "x").ok());
  EXPECT_EQ(log, "open truncate write sync rename sync directory ");
}

}  // namespace
}  // namespace tenure::sim
