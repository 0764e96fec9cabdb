// What runtime/executor.h promises.
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "runtime/task.h"
#include "tests/contract/worlds.h"

namespace tenure::contract {
namespace {

using namespace std::chrono_literals;

class ExecutorContract : public ContractTest {
 protected:
  std::unique_ptr<Process> process = world->NewProcess("process");
  runtime::Executor& executor = process->executor();
};

TEST_P(ExecutorContract, RunsInTheOrderOfPost) {
  std::vector<int> order;
  for (int i = 0; i < 1000; ++i) executor.Post([&order, i] { order.push_back(i); });
  world->Do(executor, [] {});
  ASSERT_EQ(order.size(), 1000u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_P(ExecutorContract, NeverRunsInsidePost) {
  bool ran = false;
  world->Do(executor, [&] {
    executor.Post([&ran] { ran = true; });
    EXPECT_FALSE(ran);
  });
  world->Do(executor, [] {});
  EXPECT_TRUE(ran);
}

TEST_P(ExecutorContract, KnowsItsOwnClosures) {
  EXPECT_FALSE(executor.IsCurrent());
  const auto other = world->NewProcess("other");
  world->Do(executor, [&] {
    EXPECT_TRUE(executor.IsCurrent());
    EXPECT_FALSE(other->executor().IsCurrent());
    EXPECT_FALSE(executor.IsStopped());
  });
}

TEST_P(ExecutorContract, TimersRunInOrderOfTimeThenCreation) {
  std::vector<int> order;
  std::vector<runtime::Timer> timers;
  Instant start;
  Instant end;
  world->Do(executor, [&] {
    start = executor.Now();
    timers.push_back(executor.After(30ms, [&] { order.push_back(3); }));
    timers.push_back(executor.After(20ms, [&] { order.push_back(2); }));
    timers.push_back(executor.After(0ms, [&] { order.push_back(1); }));
    timers.push_back(executor.After(40ms, [&] {
      order.push_back(4);
      end = executor.Now();
    }));
    executor.Post([&] { order.push_back(0); });
  });
  world->Await(executor, [&] { return order.size() == 5; }, "five closures");
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
  EXPECT_GE(end - start, 40ms);
  world->Do(executor, [&] { timers.clear(); });
}

TEST_P(ExecutorContract, ATimerComesAfterWhatWasPostedBeforeItsTime) {
  std::vector<int> order;
  runtime::Timer timer;
  world->Do(executor, [&] {
    timer = executor.After(1ms, [&] { order.push_back(1); });
    executor.Post([&] { order.push_back(0); });
  });
  world->Await(executor, [&] { return order.size() == 2; }, "both");
  EXPECT_EQ(order, (std::vector<int>{0, 1}));
  world->Do(executor, [&] { timer = {}; });
}

TEST_P(ExecutorContract, DroppedTimersDoNotRun) {
  bool ran = false;
  world->Do(executor, [&] {
    {
      const runtime::Timer dropped = executor.After(1ms, [&] { ran = true; });
    }
    runtime::Timer cancelled = executor.After(1ms, [&] { ran = true; });
    cancelled.Cancel();
    cancelled.Cancel();
    runtime::Timer replaced = executor.After(1ms, [&] { ran = true; });
    replaced = runtime::Timer();
  });
  world->Pass(20ms);
  world->Do(executor, [&] { EXPECT_FALSE(ran); });
}

TEST_P(ExecutorContract, CancelDestroysTheClosure) {
  const auto held = std::make_shared<int>(1);
  world->Do(executor, [&] {
    runtime::Timer timer = executor.After(1h, [held] {});
    EXPECT_EQ(held.use_count(), 2);
    timer.Cancel();
    EXPECT_EQ(held.use_count(), 1);
  });
}

TEST_P(ExecutorContract, ATimerMayDropItsOwnHandleAndMakeANewOne) {
  std::optional<runtime::Timer> timer;
  int runs = 0;
  std::function<void()> again = [&] {
    timer.reset();
    if (++runs < 5) timer = executor.After(1ms, [&] { again(); });
  };
  world->Do(executor, [&] { again(); });
  world->Await(executor, [&] { return runs == 5; }, "five runs");
}

TEST_P(ExecutorContract, ATimerMayCancelAnotherThatIsDue) {
  std::vector<runtime::Timer> timers(2);
  bool second = false;
  bool first = false;
  world->Do(executor, [&] {
    timers[0] = executor.After(5ms, [&] {
      first = true;
      timers[1].Cancel();
    });
    timers[1] = executor.After(5ms, [&] { second = true; });
  });
  world->Await(executor, [&] { return first; }, "the first");
  world->Pass(10ms);
  world->Do(executor, [&] {
    EXPECT_FALSE(second);
    timers.clear();
  });
}

TEST_P(ExecutorContract, VeryLongTimersDoNotOverflow) {
  world->Do(executor,
            [&] { const runtime::Timer timer = executor.After(Duration::max(), [] { ADD_FAILURE(); }); });
  runtime::Timer timer;
  world->Do(executor, [&] { timer = executor.After(Duration::max(), [] { ADD_FAILURE(); }); });
  world->Pass(5ms);
  world->Do(executor, [&] { timer.Cancel(); });
}

TEST_P(ExecutorContract, TimeMovesForward) {
  Instant before;
  world->Do(executor, [&] { before = executor.Now(); });
  world->Pass(10ms);
  world->Do(executor, [&] {
    EXPECT_GE(executor.Now() - before, 9ms);
    EXPECT_GT(ToMillis(executor.WallNow()), 1'600'000'000'000);
  });
}

TEST_P(ExecutorContract, AStoppedExecutorDestroysWhatItDidNotRun) {
  const auto held = std::make_shared<int>(1);
  runtime::Timer timer;
  bool ran = false;
  world->Do(executor, [&] { timer = executor.After(1h, [held, &ran] { ran = true; }); });
  process->Kill();
  EXPECT_TRUE(executor.IsStopped());
  executor.Post([held, &ran] { ran = true; });
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_FALSE(ran);
  timer.Cancel();  // a handle may outlive the timer
  process.reset();
  timer = runtime::Timer();  // and the executor
}

TEST_P(ExecutorContract, TasksRunOnIt) {
  runtime::TaskScope scope(executor);
  int steps = 0;
  bool joined = false;
  world->Do(executor, [&] {
    scope.Spawn([](runtime::Executor& e, runtime::StopToken stop, int& n) -> runtime::Task<> {
      while (co_await runtime::SleepFor(e, 1ms, stop)) ++n;
    }(executor, scope.token(), steps));
  });
  world->Await(executor, [&] { return steps >= 3; }, "three steps");
  world->Do(executor, [&] { scope.StopAndJoin([&] { joined = true; }); });
  world->Await(executor, [&] { return joined; }, "the join");
}

INSTANTIATE_TEST_SUITE_P(Worlds, ExecutorContract, kBothWorlds, WorldName);

// Only threads can show this.
TEST(RealExecutorContract, PostsFromManyThreads) {
  const auto world = MakeRealWorld();
  const auto process = world->NewProcess("process");
  runtime::Executor& executor = process->executor();
  std::vector<std::vector<int>> seen(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < seen.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5000; ++i) executor.Post([&seen, t, i] { seen[t].push_back(i); });
    });
  }
  for (std::thread& thread : threads) thread.join();
  world->Do(executor, [] {});
  for (const auto& order : seen) {
    EXPECT_EQ(order.size(), 5000u);
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  }
}

}  // namespace
}  // namespace tenure::contract
