#include "runtime/task.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/runtime/manual_executor.h"

namespace tenure::runtime {
namespace {

using namespace std::chrono_literals;

// Counts how many of its copies are alive: frames that leak or die twice show.
struct Alive {
  explicit Alive(int& n) : count(&n) { ++*count; }
  Alive(const Alive& other) : count(other.count) { ++*count; }
  ~Alive() { --*count; }
  int* count;
};

Task<int> Answer(int value) {
  co_return value;
}

Task<StatusOr<int>> Half(int value) {
  if (value % 2 != 0) co_return Error(StatusCode::kInvalidArgument, "{} is odd", value);
  co_return value / 2;
}

Task<StatusOr<int>> Quarter(int value) {
  TENURE_CO_ASSIGN_OR_RETURN(const int half, co_await Half(value));
  TENURE_CO_ASSIGN_OR_RETURN(const int quarter, co_await Half(half));
  co_return quarter;
}

class TaskTest : public testing::Test {
 protected:
  void TearDown() override {
    scope.Stop();
    executor.Advance(1h);
    EXPECT_EQ(scope.running(), 0u);
  }
  ManualExecutor executor;
  TaskScope scope{executor};
  std::vector<std::string> log;
};

TEST_F(TaskTest, IsLazyAndReturnsItsValue) {
  int result = 0;
  scope.Spawn([](int& out) -> Task<> { out = co_await Answer(7); }(result));
  EXPECT_EQ(result, 0);
  executor.Drain();
  EXPECT_EQ(result, 7);
  EXPECT_EQ(scope.running(), 0u);
}

TEST_F(TaskTest, DroppedUnstartedTaskRunsNothing) {
  int alive = 0;
  {
    Task<int> task = [](Alive) -> Task<int> {
      ADD_FAILURE();
      co_return 1;
    }(Alive(alive));
    EXPECT_GT(alive, 0);
  }
  EXPECT_EQ(alive, 0);
}

TEST_F(TaskTest, StatusMacrosReturnEarly) {
  std::vector<StatusOr<int>> results;
  scope.Spawn([](std::vector<StatusOr<int>>& out) -> Task<> {
    out.push_back(co_await Quarter(8));
    out.push_back(co_await Quarter(6));
  }(results));
  executor.Drain();
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(*results[0], 2);
  EXPECT_EQ(results[1].status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(MessageOf(results[1].status()), "3 is odd");
}

TEST_F(TaskTest, LongChainsDoNotGrowTheStack) {
  int64_t sum = 0;
  scope.Spawn([](int64_t& out) -> Task<> {
    for (int i = 0; i < 200'000; ++i) out += co_await Answer(1);
  }(sum));
  executor.Drain();
  EXPECT_EQ(sum, 200'000);
}

TEST_F(TaskTest, ExceptionAborts) {
  EXPECT_DEATH(
      {
        scope.Spawn([]() -> Task<> {
          throw std::runtime_error("boom");
          co_return;
        }());
        executor.Drain();
      },
      "boom");
}

TEST_F(TaskTest, AwaitingAMovedFromTaskAborts) {
  EXPECT_DEATH(
      {
        scope.Spawn([]() -> Task<> {
          Task<int> task = Answer(1);
          co_await std::move(task);
          co_await std::move(task);
        }());
        executor.Drain();
      },
      "awaited twice");
}

Task<> Sleeper(Executor& executor, StopToken stop, std::vector<std::string>& log, std::string name,
               Duration d) {
  const bool elapsed = co_await SleepFor(executor, d, stop);
  log.push_back(name + (elapsed ? " elapsed" : " stopped"));
}

TEST_F(TaskTest, SleepsAndStops) {
  scope.Spawn(Sleeper(executor, scope.token(), log, "short", 10ms));
  scope.Spawn(Sleeper(executor, scope.token(), log, "long", 10s));
  executor.Advance(1s);
  EXPECT_EQ(log, std::vector<std::string>{"short elapsed"});
  scope.Stop();
  EXPECT_EQ(log.size(), 1u) << "stop resumes from a posted closure";
  executor.Drain();
  EXPECT_EQ(log, (std::vector<std::string>{"short elapsed", "long stopped"}));
  EXPECT_EQ(scope.running(), 0u);
}

TEST_F(TaskTest, SleepWithAStoppedTokenDoesNotWait) {
  StopSource source;
  source.RequestStop();
  scope.Spawn(Sleeper(executor, source.token(), log, "a", 10s));
  executor.Drain();
  EXPECT_EQ(log, std::vector<std::string>{"a stopped"});
}

TEST_F(TaskTest, JoinComesAfterTheLastTask) {
  int alive = 0;
  scope.Spawn(
      [](Executor& e, Alive) -> Task<> { co_await SleepFor(e, 5s, StopToken()); }(executor, Alive(alive)));
  executor.Advance(1s);
  bool joined = false;
  scope.StopAndJoin([&] {
    joined = true;
    EXPECT_EQ(alive, 0);
  });
  executor.Drain();
  EXPECT_FALSE(joined);
  executor.Advance(5s);
  EXPECT_TRUE(joined);
}

TEST_F(TaskTest, JoinOfAnEmptyScope) {
  bool joined = false;
  scope.StopAndJoin([&] { joined = true; });
  EXPECT_FALSE(joined);
  executor.Drain();
  EXPECT_TRUE(joined);
}

TEST_F(TaskTest, JoinCanBeAwaited) {
  TaskScope inner(executor);
  inner.Spawn(Sleeper(executor, inner.token(), log, "inner", 1h));
  executor.Drain();
  scope.Spawn([](TaskScope& s, std::vector<std::string>& out) -> Task<> {
    co_await s.StopAndJoin();
    out.push_back("joined");
  }(inner, log));
  executor.Drain();
  EXPECT_EQ(log, (std::vector<std::string>{"inner stopped", "joined"}));
}

TEST_F(TaskTest, NothingStartsAfterStop) {
  int alive = 0;
  const auto task = [](Alive) -> Task<> {
    ADD_FAILURE();
    co_return;
  };
  scope.Spawn(task(Alive(alive)));  // posted, not yet started
  scope.Stop();
  scope.Spawn(task(Alive(alive)));
  executor.Drain();
  EXPECT_EQ(alive, 0);
}

TEST_F(TaskTest, DestroyingAScopeUnderTasksAborts) {
  EXPECT_DEATH(
      {
        TaskScope inner(executor);
        inner.Spawn(Sleeper(executor, inner.token(), log, "a", 1h));
        executor.Drain();
      },
      "destroyed under 1 running tasks");
}

TEST_F(TaskTest, CrashDestroysFramesWhereTheyStand) {
  ManualExecutor doomed;
  int alive = 0;
  Callback<int> late;
  auto event = std::make_unique<Event>(doomed);
  {
    TaskScope inner(doomed);
    inner.Spawn([](Executor& e, StopToken s, Alive) -> Task<> {
      co_await SleepFor(e, 1h, s);
      ADD_FAILURE();
    }(doomed, inner.token(), Alive(alive)));
    inner.Spawn([](Callback<int>& out, Alive) -> Task<> {
      co_await Async<int>([&out](Callback<int> done) { out = std::move(done); });
      ADD_FAILURE();
    }(late, Alive(alive)));
    inner.Spawn([](Event& e, StopToken s, Alive) -> Task<> {
      co_await e.Wait(s);
      ADD_FAILURE();
    }(*event, inner.token(), Alive(alive)));
    doomed.Drain();
    inner.Spawn([](Alive) -> Task<> {
      ADD_FAILURE();
      co_return;
    }(Alive(alive)));
    doomed.Stop();
  }
  EXPECT_EQ(alive, 0);
  late(1);  // finds nobody
}

TEST_F(TaskTest, AsyncTakesAnswersNowAndLater) {
  Callback<int> later;
  scope.Spawn([](Callback<int>& out, std::vector<std::string>& l) -> Task<> {
    const int now = co_await Async<int>([](Callback<int> done) { done(1); });
    l.push_back(std::to_string(now));
    const int then = co_await Async<int>([&out](Callback<int> done) { out = std::move(done); });
    l.push_back(std::to_string(then));
  }(later, log));
  executor.Drain();
  EXPECT_EQ(log, std::vector<std::string>{"1"});
  later(2);
  EXPECT_EQ(log, (std::vector<std::string>{"1", "2"}));
}

TEST_F(TaskTest, AsyncUntilGivesUpOnStop) {
  Callback<Status> later;
  StopSource source;
  scope.Spawn([](Executor& e, StopToken s, Callback<Status>& out, std::vector<std::string>& l) -> Task<> {
    const Status status =
        co_await AsyncUntil<Status>(e, s, [&out](Callback<Status> done) { out = std::move(done); });
    l.push_back(absl::IsCancelled(status) ? "cancelled" : "answered");
    const Status again = co_await AsyncUntil<Status>(e, s, [](Callback<Status>) { ADD_FAILURE(); });
    l.push_back(absl::IsCancelled(again) ? "cancelled" : "answered");
  }(executor, source.token(), later, log));
  executor.Drain();
  source.RequestStop();
  EXPECT_TRUE(log.empty());
  later(OkStatus());  // between the stop and the resumption
  executor.Drain();
  EXPECT_EQ(log, (std::vector<std::string>{"cancelled", "cancelled"}));
}

TEST_F(TaskTest, AsyncUntilReturnsAnAnswer) {
  Callback<StatusOr<int>> later;
  scope.Spawn(
      [](Executor& e, StopToken s, Callback<StatusOr<int>>& out, std::vector<std::string>& l) -> Task<> {
        const StatusOr<int> answer = co_await AsyncUntil<StatusOr<int>>(
            e, s, [&out](Callback<StatusOr<int>> done) { out = std::move(done); });
        l.push_back(std::to_string(*answer));
      }(executor, scope.token(), later, log));
  executor.Drain();
  later(5);
  scope.Stop();
  executor.Drain();
  EXPECT_EQ(log, std::vector<std::string>{"5"});
}

Task<> Waiter(Event& event, StopToken stop, std::vector<std::string>& log, std::string name) {
  const bool set = co_await event.Wait(stop);
  log.push_back(name + (set ? " set" : " stopped"));
}

TEST_F(TaskTest, EventWakesAllInOrder) {
  Event event(executor);
  scope.Spawn(Waiter(event, scope.token(), log, "a"));
  scope.Spawn(Waiter(event, scope.token(), log, "b"));
  executor.Drain();
  event.Set();
  event.Reset();
  EXPECT_TRUE(log.empty());
  executor.Drain();
  EXPECT_EQ(log, (std::vector<std::string>{"a set", "b set"}));
  event.Set();
  scope.Spawn(Waiter(event, scope.token(), log, "c"));
  executor.Drain();
  EXPECT_EQ(log.back(), "c set");
}

TEST_F(TaskTest, EventWaitStops) {
  Event event(executor);
  StopSource source;
  scope.Spawn(Waiter(event, source.token(), log, "a"));
  executor.Drain();
  source.RequestStop();
  event.Set();  // too late
  executor.Drain();
  EXPECT_EQ(log, std::vector<std::string>{"a stopped"});
}

TEST_F(TaskTest, OffloadReturnsHome) {
  ManualExecutor pool;
  scope.Spawn([](Executor& background, Executor& home, std::vector<std::string>& l) -> Task<> {
    const int result = co_await Offload<int>(background, home, [] { return 42; });
    l.push_back(std::to_string(result));
  }(pool, executor, log));
  executor.Drain();
  pool.Drain();
  EXPECT_TRUE(log.empty());
  executor.Drain();
  EXPECT_EQ(log, std::vector<std::string>{"42"});
}

}  // namespace
}  // namespace tenure::runtime
