// What RealExecutor does beyond the contract (tests/contract): threads that help each other.
#include "runtime/real/real_executor.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "runtime/helper.h"
#include "runtime/real/real_disk.h"

namespace tenure::runtime {
namespace {

using namespace std::chrono_literals;

// Until the executor's thread sleeps: what was posted before has run, and nothing else is queued.
void LetSleep(RealExecutor& executor) {
  executor.RunAndWait([] {});
  std::this_thread::sleep_for(20ms);
}

TEST(RealExecutorTest, AHelperRunsWhatItPosted) {
  RealExecutor executor("test");
  LetSleep(executor);
  Helper helper;
  std::thread::id ran_on;
  bool current = false;
  bool second = false;
  executor.Post([&] {
    ran_on = std::this_thread::get_id();
    current = executor.IsCurrent();
    executor.Post([&] { second = true; });
  });
  EXPECT_EQ(ran_on, std::thread::id()) << "not inside Post";
  helper.Run();
  EXPECT_EQ(ran_on, std::this_thread::get_id());
  EXPECT_TRUE(current);
  EXPECT_TRUE(second);
  EXPECT_FALSE(executor.IsCurrent());
}

TEST(RealExecutorTest, WhatIsReleasedRunsOnTheExecutorsThread) {
  RealExecutor executor("test");
  LetSleep(executor);
  std::atomic<bool> ran = false;
  std::thread::id ran_on;
  {
    Helper helper;
    executor.Post([&] {
      ran_on = std::this_thread::get_id();
      ran = true;
    });
    helper.Release();
  }
  while (!ran) std::this_thread::yield();
  EXPECT_NE(ran_on, std::this_thread::get_id());
}

TEST(RealExecutorTest, OthersPostsWaitForTheHelper) {
  RealExecutor executor("test");
  LetSleep(executor);
  Helper helper;
  std::vector<int> order;
  executor.Post([&] { order.push_back(1); });
  std::thread([&] { executor.Post([&] { order.push_back(2); }); }).join();
  helper.Run();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(RealExecutorTest, BlockingWorkIsNotHelped) {
  RealExecutor executor("test", RealExecutor::Work::kBlocking);
  LetSleep(executor);
  Helper helper;
  std::atomic<bool> ran = false;
  executor.Post([&] { ran = true; });
  while (!ran) std::this_thread::yield();
}

TEST(RealExecutorTest, ABlockingExecutorHelpsBeforeItSleeps) {
  RealExecutor disk("disk", RealExecutor::Work::kBlocking);
  RealExecutor executor("test");
  LetSleep(executor);
  std::thread::id disk_thread;
  std::thread::id ran_on;
  std::atomic<bool> ran = false;
  disk.Post([&] {
    disk_thread = std::this_thread::get_id();
    executor.Post([&] {
      ran_on = std::this_thread::get_id();
      ran = true;
    });
  });
  while (!ran) std::this_thread::yield();
  EXPECT_EQ(ran_on, disk_thread);
}

TEST(RealExecutorTest, ABlockingExecutorHoldsNobodyWhileItRunsTheNextClosure) {
  RealExecutor disk("disk", RealExecutor::Work::kBlocking);
  RealExecutor executor("test");
  LetSleep(executor);
  std::atomic<bool> ran = false;
  bool ran_meanwhile = false;
  disk.RunAndWait([&] {  // both are queued before the first of them runs
    disk.Post([&] { executor.Post([&] { ran = true; }); });
    disk.Post([&] {
      for (int i = 0; i < 10000 && !ran; ++i) std::this_thread::sleep_for(1ms);  // a disk that hangs
      ran_meanwhile = ran;
    });
  });
  disk.RunAndWait([] {});
  EXPECT_TRUE(ran_meanwhile);
}

TEST(RealExecutorTest, NobodyIsHeldWhileADiskSyncs) {
  RealExecutor disk_executor("disk", RealExecutor::Work::kBlocking);
  RealExecutor executor("test");
  RealDisk disk(disk_executor);
  const std::string path = fmt::format("{}/sync-{}", ::testing::TempDir(), ::getpid());
  LetSleep(executor);
  {
    const auto file = disk.Open(path, OpenMode::kCreate);
    ASSERT_TRUE(file.ok()) << file.status();
    Helper helper;
    std::atomic<bool> ran = false;
    executor.Post([&] { ran = true; });
    ASSERT_TRUE((*file)->SyncNow().ok());
    for (int i = 0; i < 10000 && !ran; ++i) std::this_thread::sleep_for(1ms);
    EXPECT_TRUE(ran);
  }
  EXPECT_TRUE(disk.Remove(path).ok());
}

TEST(RealExecutorTest, ATimerMadeByAHelperWakesTheExecutorsThread) {
  RealExecutor executor("test");
  Timer timer;
  std::atomic<bool> fired = false;
  std::thread::id fired_on;
  LetSleep(executor);
  {
    Helper helper;
    executor.Post([&] {
      timer = executor.After(10ms, [&] {
        fired_on = std::this_thread::get_id();
        fired = true;
      });
    });
    helper.Run();
  }
  while (!fired) std::this_thread::yield();
  EXPECT_NE(fired_on, std::this_thread::get_id());
}

TEST(RealExecutorTest, ATimerDueWhileAnotherHelpsWaitsForItsEnd) {
  RealExecutor executor("test");
  Timer timer;
  executor.RunAndWait([&] { timer = executor.After(30ms, [] {}); });
  std::atomic<bool> inside = false;
  std::atomic<bool> overlapped = false;
  std::atomic<bool> fired = false;
  executor.RunAndWait([&] {
    timer = executor.After(30ms, [&] {
      overlapped = inside.load();
      fired = true;
    });
  });
  std::this_thread::sleep_for(5ms);
  {
    Helper helper;
    executor.Post([&] {
      inside = true;
      std::this_thread::sleep_for(60ms);
      inside = false;
    });
    helper.Run();
  }
  while (!fired) std::this_thread::yield();
  EXPECT_FALSE(overlapped);
}

// For ThreadSanitizer and for lost wake-ups: threads that help, two executors that post to each other.
TEST(RealExecutorTest, NothingIsLostOrOverlapsUnderHelpers) {
  constexpr int kThreads = 3;
  constexpr int kPosts = 3000;
  RealExecutor disk("disk", RealExecutor::Work::kBlocking);
  RealExecutor executor("test");
  int count = 0;  // touched by closures of `executor` only
  std::atomic<bool> inside = false;
  std::atomic<int> overlaps = 0;
  auto step = [&] {
    if (inside.exchange(true)) ++overlaps;
    ++count;
    inside = false;
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Helper helper;
      for (int i = 0; i < kPosts; ++i) {
        if (i % 3 == 0) {
          disk.Post([&] { executor.Post([&] { step(); }); });
        } else {
          executor.Post([&] { step(); });
        }
        if (i % 2 == 0) helper.Run();
        if (i % 50 == t) std::this_thread::sleep_for(std::chrono::microseconds(100));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  disk.RunAndWait([] {});
  executor.RunAndWait([] {});
  int seen = 0;
  executor.RunAndWait([&] { seen = count; });
  EXPECT_EQ(seen, kThreads * kPosts);
  EXPECT_EQ(overlaps, 0);
}

TEST(RealExecutorTest, StopWaitsForAHelper) {
  for (int i = 0; i < 50; ++i) {
    auto executor = std::make_unique<RealExecutor>("test");
    LetSleep(*executor);
    std::atomic<bool> started = false;
    std::atomic<bool> ended = false;
    std::thread other([&] {
      Helper helper;
      executor->Post([&] {
        started = true;
        std::this_thread::sleep_for(2ms);
        ended = true;
      });
      helper.Run();
    });
    while (!started) std::this_thread::yield();
    executor->Stop();
    EXPECT_TRUE(ended);
    other.join();
  }
}

}  // namespace
}  // namespace tenure::runtime
