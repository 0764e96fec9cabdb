// What a task can wait for besides other tasks: time, a callback, an event, work on another executor.
//
//   if (!co_await SleepFor(executor, 100ms, stop)) co_return;             // stopped
//   StatusOr<std::string> answer = co_await Async<StatusOr<std::string>>(
//       [&](auto done) { network.Call(to, method, request, 1s, std::move(done)); });
//
// Threading: one executor: the awaiting task, the stop token and the callback all belong to it.
// Ordering:  a stop request and Event::Set resume from a posted closure, never inside the call that caused
//            them; a callback given by Async resumes the task inside the callback.
// Lifetime:  a task destroyed while it waits is forgotten: the timer is dropped, the callback when it comes
//            finds nobody. Nothing here keeps an executor or an Event alive.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <utility>

#include "base/function.h"
#include "base/status.h"
#include "runtime/coroutine.h"
#include "runtime/executor.h"
#include "runtime/stop_token.h"

namespace tenure::runtime {

namespace internal {

// A suspended coroutine that is resumed at most once, and never after this object is gone.
class Suspension {
 public:
  Suspension() = default;
  Suspension(const Suspension&) = delete;
  Suspension& operator=(const Suspension&) = delete;
  ~Suspension() {
    if (slot_) *slot_ = nullptr;
  }
  void Suspend(std::coroutine_handle<> handle) { slot_ = std::make_shared<std::coroutine_handle<>>(handle); }
  void ResumeLater(Executor& executor) {
    executor.Post([slot = slot_] {
      if (auto handle = std::exchange(*slot, nullptr)) handle.resume();
    });
  }
  // Destroys or changes the frame this object stands in: the last thing a caller does.
  void ResumeNow() {
    if (auto handle = std::exchange(*slot_, nullptr)) handle.resume();
  }

 private:
  std::shared_ptr<std::coroutine_handle<>> slot_;
};

class SleepAwaiter {
 public:
  SleepAwaiter(Executor& executor, Duration delay, StopToken stop)
      : executor_(executor), delay_(delay), stop_(std::move(stop)) {}
  bool await_ready() {
    elapsed_ = !stop_.stop_requested();
    return !elapsed_;
  }
  void await_suspend(std::coroutine_handle<> handle) {
    suspension_.Suspend(handle);
    timer_ = executor_.After(delay_, [this] { suspension_.ResumeNow(); });
    registration_ = stop_.OnStop([this] {
      elapsed_ = false;
      timer_.Cancel();
      suspension_.ResumeLater(executor_);
    });
  }
  bool await_resume() { return elapsed_; }

 private:
  Executor& executor_;
  Duration delay_;
  StopToken stop_;
  bool elapsed_ = false;
  Suspension suspension_;
  Timer timer_;
  StopRegistration registration_;
};

// What a pending callback and the task that waits for it share. The callback may come during `start`, later,
// or after the task is gone.
template <class T>
struct AsyncState {
  std::optional<T> result;
  std::coroutine_handle<> waiting;
};

template <class T>
Callback<T> MakeAsyncCallback(std::shared_ptr<AsyncState<T>> state) {
  return [state = std::move(state)](T result) {
    if (state->result.has_value()) return;  // stop came first
    state->result.emplace(std::move(result));
    if (auto handle = std::exchange(state->waiting, nullptr)) handle.resume();
  };
}

template <class T, class Start>
class AsyncAwaiter {
 public:
  explicit AsyncAwaiter(Start start) : start_(std::move(start)) {}
  AsyncAwaiter(const AsyncAwaiter&) = delete;
  AsyncAwaiter& operator=(const AsyncAwaiter&) = delete;
  ~AsyncAwaiter() { state_->waiting = nullptr; }
  bool await_ready() {
    start_(MakeAsyncCallback(state_));
    return state_->result.has_value();
  }
  void await_suspend(std::coroutine_handle<> handle) { state_->waiting = handle; }
  T await_resume() { return std::move(*state_->result); }

 private:
  Start start_;
  std::shared_ptr<AsyncState<T>> state_ = std::make_shared<AsyncState<T>>();
};

template <class T, class Start>
class AsyncUntilAwaiter {
 public:
  AsyncUntilAwaiter(Executor& executor, StopToken stop, Start start)
      : executor_(executor), stop_(std::move(stop)), start_(std::move(start)) {}
  AsyncUntilAwaiter(const AsyncUntilAwaiter&) = delete;
  AsyncUntilAwaiter& operator=(const AsyncUntilAwaiter&) = delete;
  ~AsyncUntilAwaiter() { state_->waiting = nullptr; }
  bool await_ready() {
    if (stop_.stop_requested()) {
      state_->result.emplace(absl::CancelledError("stopped before it began"));
      return true;
    }
    start_(MakeAsyncCallback(state_));
    return state_->result.has_value();
  }
  void await_suspend(std::coroutine_handle<> handle) {
    state_->waiting = handle;
    registration_ = stop_.OnStop([this] {
      if (state_->result.has_value()) return;
      state_->result.emplace(absl::CancelledError("stopped while waiting for an answer"));
      executor_.Post([state = state_] {
        if (auto waiting = std::exchange(state->waiting, nullptr)) waiting.resume();
      });
    });
  }
  T await_resume() { return std::move(*state_->result); }

 private:
  Executor& executor_;
  StopToken stop_;
  Start start_;
  std::shared_ptr<AsyncState<T>> state_ = std::make_shared<AsyncState<T>>();
  StopRegistration registration_;
};

}  // namespace internal

// Waits `delay`: true if it passed, false if stop was requested before.
[[nodiscard]] inline auto SleepFor(Executor& executor, Duration delay, StopToken stop) {
  return internal::SleepAwaiter(executor, delay, std::move(stop));
}

// Calls `start(Callback<T> done)` and waits until `done` was called; done may be called inside start.
template <class T, class Start>
[[nodiscard]] auto Async(Start start) {
  return internal::AsyncAwaiter<T, Start>(std::move(start));
}

// The same for a T made of a Status, but does not wait longer than `stop`: then CANCELLED, and whether the
// thing that was started happens is unknown; its late answer is dropped.
template <class T, class Start>
[[nodiscard]] auto AsyncUntil(Executor& executor, StopToken stop, Start start) {
  return internal::AsyncUntilAwaiter<T, Start>(executor, std::move(stop), std::move(start));
}

// Runs `work()` on `background` and waits on `home` for its result. What `work` uses must be its own.
template <class T, class Work>
[[nodiscard]] auto Offload(Executor& background, Executor& home, Work work) {
  auto start = [&background, &home, work = std::move(work)](Callback<T> done) mutable {
    background.Post([&home, work = std::move(work), done = std::move(done)]() mutable {
      home.Post([result = work(), done = std::move(done)]() mutable { done(std::move(result)); });
    });
  };
  return Async<T>(std::move(start));
}

// A flag that tasks wait for. Set stays until Reset; waiting for a set event does not suspend.
class Event {
 public:
  explicit Event(Executor& executor) : executor_(executor) {}
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() {
    TENURE_CHECK(waiters_.empty() || executor_.IsStopped(), "an event is destroyed under a waiter");
  }

  bool is_set() const { return set_; }
  // Resumes everybody who waits, in the order in which they began, from posted closures.
  void Set() {
    set_ = true;
    for (Waiter* waiter : std::exchange(waiters_, {})) {
      waiter->linked_ = false;
      waiter->suspension_.ResumeLater(executor_);
    }
  }
  void Reset() { set_ = false; }

  class Waiter {
   public:
    Waiter(Event& event, StopToken stop) : event_(event), stop_(std::move(stop)) {}
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    ~Waiter() { Unlink(); }
    bool await_ready() {
      signalled_ = event_.set_;
      return signalled_ || stop_.stop_requested();
    }
    void await_suspend(std::coroutine_handle<> handle) {
      suspension_.Suspend(handle);
      position_ = event_.waiters_.insert(event_.waiters_.end(), this);
      linked_ = true;
      signalled_ = true;
      registration_ = stop_.OnStop([this] {
        if (!linked_) return;  // Set came first
        Unlink();
        signalled_ = false;
        suspension_.ResumeLater(event_.executor_);
      });
    }
    bool await_resume() { return signalled_; }

   private:
    friend Event;
    void Unlink() {
      if (linked_) event_.waiters_.erase(position_);
      linked_ = false;
    }
    Event& event_;
    StopToken stop_;
    bool signalled_ = false;
    bool linked_ = false;
    std::list<Waiter*>::iterator position_;
    internal::Suspension suspension_;
    StopRegistration registration_;
  };
  // True when the event was set, false when stop was requested before. The event may have been reset again by
  // the time the task runs.
  [[nodiscard]] Waiter Wait(StopToken stop) { return Waiter(*this, std::move(stop)); }

 private:
  Executor& executor_;
  bool set_ = false;
  std::list<Waiter*> waiters_;
};

}  // namespace tenure::runtime
