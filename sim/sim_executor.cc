#include "sim/sim_executor.h"

#include <utility>

#include "base/check.h"

namespace tenure::sim {

class SimExecutor::TimerState final : public runtime::Timer::State {
 public:
  void Cancel() override {
    const Closure dropped = std::exchange(closure, {});  // it may hold the last handle to this
    event.Cancel();
    if (executor != nullptr) std::exchange(executor, nullptr)->timers_.erase(id);
  }
  SimExecutor* executor = nullptr;  // null once the executor does not know it any more
  uint64_t id = 0;
  Instant due;  // on the process's clock
  Closure closure;
  Scheduler::Event event;
};

SimExecutor::SimExecutor(Scheduler& world, const SimClock& clock, std::string name, Prng prng,
                         SimExecutorOptions options)
    : world_(world),
      clock_(clock),
      name_(std::move(name)),
      run_label_(world.Intern(name_ + " run")),
      timer_label_(world.Intern(name_ + " timer")),
      prng_(prng),
      options_(options) {}

SimExecutor::~SimExecutor() {
  Kill();
}

void SimExecutor::Post(Closure closure) {
  if (stopped_) return;
  queue_.push_back({std::move(closure), nullptr});
  Schedule(options_.max_wake_delay);
}

runtime::Timer SimExecutor::After(Duration delay, Closure closure) {
  TENURE_CHECK(IsCurrent() || stopped_, "a timer of executor {} is made outside of it", name_);
  if (stopped_) return {};
  auto timer = std::make_shared<TimerState>();
  timer->executor = this;
  timer->id = next_timer_++;
  const Instant now = Now();
  timer->due = delay > kFarFuture - now ? kFarFuture : now + std::max(delay, Duration::zero());
  timer->closure = std::move(closure);
  timers_.emplace(timer->id, timer);
  if (timer->due != kFarFuture) Arm(timer);
  return runtime::Timer(std::move(timer));
}

void SimExecutor::Arm(const std::shared_ptr<TimerState>& timer) {
  const Instant when = world_.now() + clock_.ToWorld(timer->due - Now());
  timer->event = world_.At(when, timer_label_, [this, weak = std::weak_ptr(timer)] {
    if (const auto due = weak.lock()) OnTimer(due);
  });
}

void SimExecutor::OnTimer(const std::shared_ptr<TimerState>& timer) {
  if (Now() < timer->due) return Arm(timer);  // X3: the clock was slowed down meanwhile
  queue_.push_back({{}, timer});
  Schedule(Duration::zero());
}

void SimExecutor::Schedule(Duration max_delay) {
  if (scheduled_ || paused_ > 0 || queue_.empty()) return;
  scheduled_ = true;
  const Duration delay(prng_.Between(0, max_delay.count()));
  next_run_ = world_.At(world_.now() + delay, run_label_, [this] { RunOne(); });
}

void SimExecutor::RunOne() {
  scheduled_ = false;
  TENURE_CHECK(!stopped_ && paused_ == 0 && !queue_.empty(), "X1, X2: executor {} runs though it must not",
               name_);
  Item item = std::move(queue_.front());
  queue_.pop_front();
  Closure closure = std::move(item.closure);
  if (item.timer) {
    closure = std::exchange(item.timer->closure, {});
    if (auto* self = std::exchange(item.timer->executor, nullptr)) self->timers_.erase(item.timer->id);
  }
  if (closure) {
    world_.set_current_executor(this);
    closure();
    closure = {};
    world_.set_current_executor(nullptr);
  }
  Schedule(options_.max_run_delay);
}

void SimExecutor::Pause() {
  if (++paused_ > 1) return;
  next_run_.Cancel();
  scheduled_ = false;
}

void SimExecutor::Resume() {
  TENURE_CHECK(paused_ > 0, "executor {} is not paused", name_);
  if (--paused_ == 0) Schedule(options_.max_wake_delay);
}

void SimExecutor::Kill() {
  if (std::exchange(stopped_, true)) return;
  next_run_.Cancel();
  scheduled_ = false;
  // Destroying closures may post (dropped) and cancel timers: so one by one, each out of the container first.
  while (!queue_.empty()) {
    const Item dropped = std::move(queue_.front());
    queue_.pop_front();
  }
  while (!timers_.empty()) {
    const auto timer = timers_.extract(timers_.begin()).mapped();
    timer->executor = nullptr;
    timer->Cancel();
  }
}

SimProcess::SimProcess(Scheduler& world, const SimClock& clock, std::string name, Prng prng,
                       SimExecutorOptions options)
    : world_(world), clock_(clock), name_(std::move(name)), prng_(prng), options_(options) {}

SimProcess::~SimProcess() {
  Kill();
}

SimExecutor& SimProcess::AddExecutor(std::string_view name) {
  TENURE_CHECK(alive_, "process {} is dead", name_);
  const std::string full = fmt::format("{}/{}", name_, name);
  executors_.push_back(std::make_unique<SimExecutor>(world_, clock_, full, prng_.Fork(full), options_));
  if (paused_) executors_.back()->Pause();
  return *executors_.back();
}

void SimProcess::Pause() {
  if (std::exchange(paused_, true)) return;
  for (const auto& executor : executors_) executor->Pause();
}

void SimProcess::Resume() {
  if (!std::exchange(paused_, false)) return;
  for (const auto& executor : executors_) executor->Resume();
}

void SimProcess::Kill() {
  if (!std::exchange(alive_, false)) return;
  // First the world lets go of it: what destructors of dropped closures do then has no effect outside.
  for (Closure& closure : std::exchange(on_kill_, {})) closure();
  for (const auto& executor : executors_) executor->Kill();
}

}  // namespace tenure::sim
