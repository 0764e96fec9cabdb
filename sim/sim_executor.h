// A simulated process and its executors. Closures run as events of the scheduler, one at a time, each a
// little later than it was posted; a process can stand still while time goes on, and can die between two
// closures or in the middle of one.
//
// Threading: one thread.
// Death:      Kill drops everything queued without running it; what is posted later is dropped too. A closure
//             that is running at that moment runs to its end, but its process has no hands any more: disk and
//             network of a dead process do nothing. The object graph is destroyed afterwards, from outside
//             any closure of it.
// Invariants: X1 nothing of a dead process runs.
//             X2 nothing of a paused process runs.
//             X3 a timer does not run before its time on the process's own clock.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/prng.h"
#include "runtime/executor.h"
#include "sim/scheduler.h"
#include "sim/sim_clock.h"

namespace tenure::sim {

class SimProcess;

struct SimExecutorOptions {
  Duration max_wake_delay = std::chrono::microseconds(50);  // from Post to the first closure
  Duration max_run_delay = std::chrono::microseconds(2);    // from one closure to the next
};

class SimExecutor final : public runtime::Executor {
 public:
  // Made by SimProcess::AddExecutor.
  SimExecutor(Scheduler& world, const SimClock& clock, std::string name, Prng prng,
              SimExecutorOptions options);
  ~SimExecutor() override;

  void Post(Closure closure) override;
  [[nodiscard]] runtime::Timer After(Duration delay, Closure closure) override;
  bool IsCurrent() const override { return world_.current_executor() == this; }
  bool IsStopped() const override { return stopped_; }
  Instant Now() const override { return clock_.Now(); }
  WallTime WallNow() const override { return clock_.WallNow(); }

  const std::string& name() const { return name_; }
  // A single executor can stand still, too (a stalled disk does that to a log's).
  void Pause();
  void Resume();
  bool paused() const { return paused_ > 0; }
  void Kill();

 private:
  class TimerState;
  struct Item {
    Closure closure;
    std::shared_ptr<TimerState> timer;  // instead of a closure
  };
  void Schedule(Duration max_delay);
  void RunOne();
  void OnTimer(const std::shared_ptr<TimerState>& timer);
  void Arm(const std::shared_ptr<TimerState>& timer);

  Scheduler& world_;
  const SimClock& clock_;
  const std::string name_;
  const Scheduler::Label run_label_;
  const Scheduler::Label timer_label_;
  Prng prng_;
  const SimExecutorOptions options_;
  std::deque<Item> queue_;
  std::map<uint64_t, std::shared_ptr<TimerState>> timers_;
  uint64_t next_timer_ = 0;
  Scheduler::Event next_run_;
  bool scheduled_ = false;
  int paused_ = 0;
  bool stopped_ = false;
};

class SimProcess {
 public:
  // `clock` is the machine's and outlives the process.
  SimProcess(Scheduler& world, const SimClock& clock, std::string name, Prng prng,
             SimExecutorOptions options = {});
  ~SimProcess();
  SimProcess(const SimProcess&) = delete;
  SimProcess& operator=(const SimProcess&) = delete;

  SimExecutor& AddExecutor(std::string_view name);
  const std::string& name() const { return name_; }
  Scheduler& world() { return world_; }
  const SimClock& clock() const { return clock_; }

  // In the order in which they were added.
  const std::vector<std::unique_ptr<SimExecutor>>& executors() const { return executors_; }

  bool alive() const { return alive_; }
  bool paused() const { return paused_; }
  void Pause();
  void Resume();
  // Idempotent. Runs the OnKill closures in the order in which they were registered.
  void Kill();
  // For what the process holds in the world: ports, locks, connections. Run by Kill or by destruction.
  void OnKill(Closure closure) { on_kill_.push_back(std::move(closure)); }

 private:
  Scheduler& world_;
  const SimClock& clock_;
  const std::string name_;
  const Prng prng_;
  const SimExecutorOptions options_;
  std::vector<std::unique_ptr<SimExecutor>> executors_;
  std::vector<Closure> on_kill_;
  bool alive_ = true;
  bool paused_ = false;
};

}  // namespace tenure::sim
