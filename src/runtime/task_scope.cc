#include "runtime/task_scope.h"

#include "base/check.h"
#include "runtime/awaitables.h"

namespace tenure::runtime {

// The outermost frame of a task: lives in the scope's list and takes itself out at its end.
class TaskScope::Child {
 public:
  struct promise_type {
    TaskScope* scope = nullptr;
    Children::iterator position;

    Child get_return_object() { return Child{std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() noexcept { return {}; }
    auto final_suspend() noexcept {
      struct Awaiter {
        bool await_ready() noexcept { return false; }
        void await_suspend(std::coroutine_handle<promise_type> ended) noexcept {
          TaskScope* const owner = ended.promise().scope;
          const auto child = ended.promise().position;
          ended.destroy();
          owner->OnEnded(child);
        }
        void await_resume() noexcept {}
      };
      return Awaiter{};
    }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { internal::TaskThrew(); }
  };
  std::coroutine_handle<promise_type> handle;
};

TaskScope::Child TaskScope::Run(Task<void> task) {
  co_await std::move(task);
}

TaskScope::TaskScope(Executor& executor) : executor_(executor), self_(std::make_shared<TaskScope*>(this)) {}

TaskScope::~TaskScope() {
  TENURE_CHECK(children_.empty() || executor_.IsStopped(), "a scope is destroyed under {} running tasks",
               children_.size());
  *self_ = nullptr;
  // Frames go before the stop source: its callbacks must find nobody. A frame's locals may run code, but not
  // come back to this scope's list.
  for (Children children = std::exchange(children_, {}); std::coroutine_handle<> child : children) {
    child.destroy();
  }
}

void TaskScope::Spawn(Task<void> task) {
  TENURE_CHECK(task.valid(), "a task that was moved from is spawned");
  if (stop_requested()) return;  // T1
  const Child child = Run(std::move(task));
  const auto position = children_.insert(children_.end(), child.handle);
  child.handle.promise().scope = this;
  child.handle.promise().position = position;
  executor_.Post([self = self_, position] {
    if (*self == nullptr) return;
    TaskScope& scope = **self;
    if (!scope.stop_requested()) return position->resume();
    position->destroy();  // T1
    scope.OnEnded(position);
  });
}

void TaskScope::Stop() {
  stop_.RequestStop();
}

void TaskScope::StopAndJoin(Closure joined) {
  joined_.push_back(std::move(joined));
  const auto self = self_;
  Stop();  // may run a callback that destroys this scope
  if (*self != nullptr && children_.empty()) PostJoined();
}

Task<void> TaskScope::StopAndJoin() {
  co_await Async<bool>(
      [this](Callback<bool> done) { StopAndJoin([done = std::move(done)]() mutable { done(true); }); });
}

void TaskScope::OnEnded(Children::iterator child) {
  children_.erase(child);
  if (children_.empty()) PostJoined();
}

void TaskScope::PostJoined() {
  for (Closure& joined : std::exchange(joined_, {})) executor_.Post(std::move(joined));
}

}  // namespace tenure::runtime
