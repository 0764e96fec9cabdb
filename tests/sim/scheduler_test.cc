#include "sim/scheduler.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "runtime/task.h"
#include "sim/sim_executor.h"

namespace tenure::sim {
namespace {

using namespace std::chrono_literals;

TEST(SchedulerTest, RunsByTimeThenCreation) {
  Scheduler world;
  std::string order;
  world.After(2ms, "b", [&] { order += 'b'; });
  world.After(1ms, "a", [&] { order += 'a'; });
  world.After(2ms, "c", [&] { order += 'c'; });
  world.RunFor(1ms);
  EXPECT_EQ(order, "a");
  EXPECT_EQ(world.now(), Instant(1ms));
  world.RunFor(1s);
  EXPECT_EQ(order, "abc");
  EXPECT_EQ(world.now(), Instant(1001ms));
  EXPECT_FALSE(world.Step());
}

TEST(SchedulerTest, CancelledEventsDoNotRun) {
  Scheduler world;
  {
    const Scheduler::Event dropped = world.At(Instant(1ms), "x", [] { ADD_FAILURE(); });
  }
  Scheduler::Event kept = world.At(Instant(1ms), "y", [] { ADD_FAILURE(); });
  kept.Cancel();
  world.RunFor(1s);
  EXPECT_EQ(world.events_run(), 0u);
}

TEST(SchedulerTest, TheHashSeesTimeLabelAndOrder) {
  const auto run = [](Duration first, const char* label, bool mix) {
    Scheduler world;
    world.After(first, label, [] {});
    world.After(5ms, "second", [] {});
    if (mix) world.Mix("content");
    world.RunFor(1s);
    return world.event_hash();
  };
  const uint64_t base = run(1ms, "first", false);
  EXPECT_EQ(base, run(1ms, "first", false));
  EXPECT_NE(base, run(2ms, "first", false));
  EXPECT_NE(base, run(1ms, "other", false));
  EXPECT_NE(base, run(1ms, "first", true));
}

TEST(SchedulerTest, RunUntilStopsAtTheCondition) {
  Scheduler world;
  int n = 0;
  for (int i = 1; i <= 10; ++i) world.After(std::chrono::milliseconds(i), "n", [&] { ++n; });
  EXPECT_TRUE(world.RunUntil([&] { return n == 3; }, 1s));
  EXPECT_EQ(world.now(), Instant(3ms));
  EXPECT_FALSE(world.RunUntil([&] { return n == 99; }, 1s));
  EXPECT_EQ(world.now(), Instant(1003ms));
}

class SimProcessTest : public testing::Test {
 protected:
  Scheduler world;
  SimClock clock{world, Instant(5h), WallFromMillis(1000)};
  std::unique_ptr<SimProcess> process = std::make_unique<SimProcess>(world, clock, "p", Prng(1));
  SimExecutor& executor = process->AddExecutor("main");
  // Timers are made on the executor.
  void Do(std::function<void()> closure) {
    executor.Post(std::move(closure));
    world.RunFor(1ms);
  }
};

TEST_F(SimProcessTest, APausedProcessStandsStillWhileTimeGoesOn) {
  int ticks = 0;
  Instant seen;
  runtime::TaskScope scope(executor);
  Do([&] {
    scope.Spawn([](runtime::Executor& e, runtime::StopToken stop, int& n, Instant& at) -> runtime::Task<> {
      while (co_await runtime::SleepFor(e, 10ms, stop)) {
        ++n;
        at = e.Now();
      }
    }(executor, scope.token(), ticks, seen));
  });
  world.RunFor(105ms);
  EXPECT_EQ(ticks, 10);
  process->Pause();
  executor.Post([&] { EXPECT_FALSE(process->paused()); });
  world.RunFor(10s);
  EXPECT_EQ(ticks, 10);
  process->Resume();
  world.RunFor(1ms);
  EXPECT_EQ(ticks, 11) << "the overdue timer, once";
  EXPECT_GT(seen - Instant(5h), 10s);
  process->Kill();
}

TEST_F(SimProcessTest, NothingRunsAfterAKill) {
  const auto held = std::make_shared<int>(0);
  runtime::Timer timer;
  Do([&] { timer = executor.After(1s, [held] { ADD_FAILURE(); }); });
  executor.Post([held] { ADD_FAILURE(); });
  bool killed = false;
  process->OnKill([&] { killed = true; });
  process->Kill();
  EXPECT_TRUE(killed);
  EXPECT_TRUE(executor.IsStopped());
  EXPECT_EQ(held.use_count(), 1);
  executor.Post([held] { ADD_FAILURE(); });
  world.RunFor(10s);
}

TEST_F(SimProcessTest, AClosureMayKillItsOwnProcess) {
  bool after = false;
  executor.Post([&] {
    process->Kill();
    after = true;  // runs to its end
  });
  executor.Post([] { ADD_FAILURE(); });
  world.RunFor(1s);
  EXPECT_TRUE(after);
}

TEST_F(SimProcessTest, ScopesOfAKilledProcessAreDestroyedWhereTheyStand) {
  auto scope = std::make_unique<runtime::TaskScope>(executor);
  const auto held = std::make_shared<int>(0);
  Do([&] {
    scope->Spawn([](runtime::Executor& e, runtime::StopToken stop, std::shared_ptr<int>) -> runtime::Task<> {
      co_await runtime::SleepFor(e, 1h, stop);
      ADD_FAILURE();
    }(executor, scope->token(), held));
  });
  EXPECT_EQ(held.use_count(), 2);
  process->Kill();
  scope.reset();
  EXPECT_EQ(held.use_count(), 1);
}

TEST_F(SimProcessTest, ClocksDriftAndJump) {
  clock.SetDrift(100'000'000);  // 10 % fast
  world.RunFor(10s);
  EXPECT_EQ(clock.Now(), Instant(5h + 11s));
  clock.SetDrift(-100'000'000);
  world.RunFor(10s);
  EXPECT_EQ(clock.Now(), Instant(5h + 20s));
  EXPECT_EQ(ToMillis(clock.WallNow()), 21'000);
  clock.JumpWall(-5s);
  EXPECT_EQ(ToMillis(clock.WallNow()), 16'000);
  EXPECT_EQ(clock.Now(), Instant(5h + 20s));
}

TEST_F(SimProcessTest, TimersKeepTheProcessesTime) {
  Instant fired;
  Instant made;
  runtime::Timer timer;
  Do([&] {
    made = executor.Now();
    timer = executor.After(1s, [&] { fired = executor.Now(); });
  });
  clock.SetDrift(-400'000'000);  // slows down under the timer
  world.RunFor(3s);
  EXPECT_GE(fired - made, 1s);
  EXPECT_LT(fired - made, 1001ms);
}

}  // namespace
}  // namespace tenure::sim
