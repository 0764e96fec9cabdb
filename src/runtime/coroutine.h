// Task<T>: a coroutine that computes one T. It starts when it is awaited and runs on the executor of whoever
// awaits it; a TaskScope (task_scope.h) starts the outermost one.
//
//   Task<StatusOr<Plan>> MakePlan(RegionId region, StopToken stop);      // parameters by value
//   TENURE_CO_ASSIGN_OR_RETURN(const Plan plan, co_await MakePlan(region, stop));
//
// Threading: one executor; not synchronised.
// Lifetime:  the frame lives as long as the Task object, which co_await keeps in the awaiting frame.
//            Destroying a Task that has started destroys its frame where it stands, and by that the awaitable it stands
//            at; every awaitable of this folder then forgets the coroutine.
// Errors:    are values (Status, StatusOr). An exception that leaves a task aborts the process.
#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/status.h"

namespace tenure::runtime {

template <class T>
class Task;

namespace internal {

// Aborts with the message of the exception that is being handled.
[[noreturn]] void TaskThrew();

class TaskPromiseBase {
 public:
  std::suspend_always initial_suspend() noexcept { return {}; }
  auto final_suspend() noexcept {
    struct Awaiter {
      std::coroutine_handle<> continuation;
      bool await_ready() noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<>) noexcept { return continuation; }
      void await_resume() noexcept {}
    };
    return Awaiter{continuation_};
  }
  void unhandled_exception() noexcept { TaskThrew(); }
  void set_continuation(std::coroutine_handle<> continuation) noexcept { continuation_ = continuation; }

 private:
  std::coroutine_handle<> continuation_ = std::noop_coroutine();
};

template <class T>
class TaskPromise : public TaskPromiseBase {
 public:
  Task<T> get_return_object() noexcept;
  template <class U>
    requires std::convertible_to<U&&, T>
  void return_value(U&& value) {
    value_.emplace(std::forward<U>(value));
  }
  T TakeResult() {
    TENURE_CHECK(value_.has_value(), "a task ended without a value");
    return std::move(*value_);
  }

 private:
  std::optional<T> value_;
};

template <>
class TaskPromise<void> : public TaskPromiseBase {
 public:
  Task<void> get_return_object() noexcept;
  void return_void() noexcept {}
  void TakeResult() noexcept {}
};

}  // namespace internal

template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = internal::TaskPromise<T>;

  Task() = default;
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this == &other) return *this;
    if (handle_) handle_.destroy();
    handle_ = std::exchange(other.handle_, nullptr);
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  // False for a default-made or moved-from task; only a valid one may be awaited or spawned.
  bool valid() const { return handle_ != nullptr; }

  // `co_await MakePlan(...)` or `co_await std::move(task)`: once.
  auto operator co_await() && noexcept {
    struct Awaiter {
      std::coroutine_handle<promise_type> handle;
      bool await_ready() noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) noexcept {
        handle.promise().set_continuation(awaiting);
        return handle;
      }
      T await_resume() { return handle.promise().TakeResult(); }
    };
    TENURE_CHECK(valid() && !handle_.done(), "a task is awaited twice, or was moved from");
    return Awaiter{handle_};
  }

 private:
  friend promise_type;
  explicit Task(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

namespace internal {
template <class T>
Task<T> TaskPromise<T>::get_return_object() noexcept {
  return Task<T>(std::coroutine_handle<TaskPromise<T>>::from_promise(*this));
}
inline Task<void> TaskPromise<void>::get_return_object() noexcept {
  return Task<void>(std::coroutine_handle<TaskPromise<void>>::from_promise(*this));
}
}  // namespace internal

}  // namespace tenure::runtime

// The coroutine forms of TENURE_RETURN_IF_ERROR and TENURE_ASSIGN_OR_RETURN; the expression may co_await.
#define TENURE_CO_RETURN_IF_ERROR(expression)           \
  do {                                                  \
    ::tenure::Status tenure_status_ = (expression);     \
    if (!tenure_status_.ok()) co_return tenure_status_; \
  } while (false)

#define TENURE_CO_ASSIGN_OR_RETURN(target, expression) \
  TENURE_CO_ASSIGN_OR_RETURN_INNER(TENURE_STATUS_CONCAT(status_or_, __LINE__), target, expression)
#define TENURE_CO_ASSIGN_OR_RETURN_INNER(name, target, expression) \
  auto name = (expression);                                        \
  if (!name.ok()) co_return name.status();                         \
  target = std::move(*name)
