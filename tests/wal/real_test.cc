// The log on a real disk and real threads: callers on several threads, and a reopen that finds what was
// acknowledged.
#include <filesystem>
#include <thread>

#include <unistd.h>

#include "runtime/real/real_disk.h"
#include "runtime/real/real_executor.h"
#include "tests/wal/log_fixture.h"
#include "wal/inspect.h"

namespace tenure::wal {
namespace {

class WalRealTest : public ::testing::Test {
 protected:
  WalRealTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "tenure_wal_XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
    options_.segment_bytes = 1 << 20;
  }
  ~WalRealTest() override { std::filesystem::remove_all(root_); }
  std::string root_;
  WalOptions options_;
};

TEST_F(WalRealTest, ManyThreadsAppendReadAndCompact) {
  constexpr uint64_t kThreads = 3;
  constexpr uint64_t kAppends = 400;
  {
    runtime::RealExecutor executor("wal");
    runtime::RealDisk disk(executor);
    auto opened = Wal::Open(disk, executor, root_ + "/log", options_, Logger(),
                            [](Status status) { ADD_FAILURE() << status; });
    ASSERT_TRUE(opened.ok()) << opened.status();
    Wal& wal = **opened;
    std::atomic<uint64_t> acknowledged = 0;
    std::atomic<uint64_t> read = 0;
    std::vector<std::thread> threads;
    for (uint64_t t = 1; t <= kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (uint64_t i = 1; i <= kAppends; ++i) {
          Write write;
          write.group = GroupId(t);
          write.entries = {MakeEntry(i, 1, std::string(500, static_cast<char>('a' + t)))};
          std::vector<Write> writes;
          writes.push_back(std::move(write));
          wal.Append(std::move(writes), [&](Status status) { acknowledged += status.ok() ? 1 : 0; });
          if (i % 10 == 0) {
            wal.Read(GroupId(t), LogIndex(i), LogIndex(i), 1000, [&, i](auto entries) {
              EXPECT_TRUE(entries.ok()) << entries.status();
              read += entries.ok() && entries->front().index == LogIndex(i) ? 1 : 0;
            });
          }
          if (i == kAppends) wal.Compact(GroupId(t), {LogIndex(i - 50), Term(1), OneVoter()});
        }
      });
    }
    for (auto& thread : threads) thread.join();
    std::atomic<bool> closed = false;
    wal.Close([&](Status status) { closed = status.ok(); });
    for (int i = 0; i < 60000 && !closed; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_TRUE(closed);
    EXPECT_EQ(acknowledged, kThreads * kAppends);
    EXPECT_EQ(read, kThreads * kAppends / 10);
    EXPECT_FALSE(wal.LowOnSpace());
    executor.Stop();
  }
  runtime::RealExecutor executor("wal");
  runtime::RealDisk disk(executor);
  const auto inspection = Inspect(disk, root_ + "/log", nullptr);
  ASSERT_TRUE(inspection.ok());
  EXPECT_TRUE(inspection->stopped_cleanly);
  const auto opened = Wal::Open(disk, executor, root_ + "/log", options_, Logger(), nullptr);
  ASSERT_TRUE(opened.ok()) << opened.status();
  for (uint64_t t = 1; t <= kThreads; ++t) {
    EXPECT_EQ((*opened)->recovered().at(GroupId(t)).state.last_index, LogIndex(kAppends));
    EXPECT_EQ((*opened)->recovered().at(GroupId(t)).state.mark.index, LogIndex(kAppends - 50));
  }
  executor.Stop();
}

}  // namespace
}  // namespace tenure::wal
