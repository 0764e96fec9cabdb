// A serial queue of closures and timers: whatever runs on one executor never runs concurrently, so objects
// that belong to it need no locks. In a daemon an executor is a thread; in the simulator all of them share
// one thread and one simulated time.
//
// Threading: Post, Now and WallNow from any thread; everything else from the executor itself.
// Ordering: posted closures run in the order of Post; a timer runs at its time or later, after what was
//           posted before that. Timers of one executor run in order of (time, creation).
// Lifetime: closures still queued when the executor is stopped or destroyed, and those posted later, are
//           destroyed without being run.
#pragma once

#include <memory>

#include "base/function.h"
#include "base/time.h"
#include "runtime/clock.h"

namespace tenure::runtime {

// Owns a pending timer: destroying or resetting the handle cancels it. A handle may outlive the timer and
// the executor.
class Timer {
 public:
  class State {
   public:
    virtual ~State() = default;
    virtual void Cancel() = 0;
  };
  Timer() = default;
  explicit Timer(std::shared_ptr<State> state) : state_(std::move(state)) {}
  Timer(Timer&&) = default;
  Timer& operator=(Timer&& other) noexcept {
    Cancel();
    state_ = std::move(other.state_);
    return *this;
  }
  ~Timer() { Cancel(); }
  // After this returns the closure will not run.
  void Cancel() {
    if (state_) state_->Cancel();
    state_.reset();
  }

 private:
  std::shared_ptr<State> state_;
};

class Executor : public Clock {
 public:
  virtual void Post(Closure closure) = 0;
  // Runs `closure` once, `delay` from now, unless the handle is dropped before.
  [[nodiscard]] virtual Timer After(Duration delay, Closure closure) = 0;
  // True when called from a closure of this executor.
  virtual bool IsCurrent() const = 0;
  // Whether closures may wait for a disk from now on. While they may, only the executor's own thread runs them:
  // another one, which has other things to do, would wait with it (helper.h).
  virtual void SetMayBlock(bool) {}
  // Threads that were woken and wait for this one's core go first: for whoever has handed on what others wait
  // for, and has something left to do that nobody waits for.
  virtual void Yield() {}
  // True once nothing will ever run here again: the daemon stopped it, or the simulated process has crashed.
  // Objects of the executor are then destroyed as they stand, from any one thread. Any thread.
  virtual bool IsStopped() const = 0;
};

}  // namespace tenure::runtime
