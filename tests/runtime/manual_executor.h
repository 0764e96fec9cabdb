// An executor whose time stands still until the test moves it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <utility>

#include "runtime/executor.h"

namespace tenure::runtime {

class ManualExecutor final : public Executor {
 public:
  ~ManualExecutor() override { Stop(); }

  void Post(Closure closure) override {
    if (!stopped_) queue_.push_back(std::move(closure));
  }
  Timer After(Duration delay, Closure closure) override {
    auto state = std::make_shared<State>();
    state->closure = std::move(closure);
    timers_.emplace(now_ + delay, state);
    return Timer(state);
  }
  bool IsCurrent() const override { return true; }
  bool IsStopped() const override { return stopped_; }
  Instant Now() const override { return now_; }
  WallTime WallNow() const override { return WallFromMillis(ToMillis(now_.time_since_epoch() + wall_ahead)); }

  // Runs what is posted, and what that posts.
  void Drain() {
    while (!queue_.empty()) {
      Closure closure = std::move(queue_.front());
      queue_.pop_front();
      closure();
    }
  }
  void Advance(Duration step) {
    const Instant end = now_ + step;
    Drain();
    while (!timers_.empty() && timers_.begin()->first <= end) {
      now_ = timers_.begin()->first;
      const auto state = timers_.begin()->second;
      timers_.erase(timers_.begin());
      if (Closure closure = std::exchange(state->closure, {})) closure();
      Drain();
    }
    now_ = end;
  }
  Duration wall_ahead{};  // of the time that passes

  void Stop() {
    stopped_ = true;
    queue_.clear();
    // A closure may hold its own timer.
    for (const auto& [at, timer] : timers_) timer->Cancel();
    timers_.clear();
  }

 private:
  struct State final : Timer::State {
    void Cancel() override { closure = {}; }
    Closure closure;
  };
  Instant now_{};
  bool stopped_ = false;
  std::deque<Closure> queue_;
  std::multimap<Instant, std::shared_ptr<State>> timers_;
};

}  // namespace tenure::runtime
