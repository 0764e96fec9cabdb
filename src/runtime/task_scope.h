// The owner of running tasks: starts them on one executor, can ask all of them to stop, knows when they
// ended.
//
//   class LeaseService {
//     ...
//     TaskScope scope_;            // last member: its tasks use the others
//   };
//   scope_.Spawn(RenewLoop(scope_.token()));      ...      co_await scope_.StopAndJoin();
//
// Threading:  one executor.
// Lifetime:   stopped and joined before it is destroyed (TENURE_CHECK), unless its executor has stopped for
//             good: then the tasks are destroyed where they stand, as a crash does, and nothing of them runs.
// Ordering:   a task starts from a posted closure in the order of Spawn, never inside it; `joined` callbacks
//             are posted after the last task's frame is gone.
// Invariants: T1 after Stop no task starts.
//             T2 a joined callback runs only when no task exists.
#pragma once

#include <list>
#include <memory>
#include <vector>

#include "base/function.h"
#include "runtime/coroutine.h"
#include "runtime/executor.h"
#include "runtime/stop_token.h"

namespace tenure::runtime {

class TaskScope {
 public:
  explicit TaskScope(Executor& executor);
  TaskScope(const TaskScope&) = delete;
  TaskScope& operator=(const TaskScope&) = delete;
  ~TaskScope();

  // Runs `task` until it ends. After Stop the task is destroyed without having run.
  void Spawn(Task<void> task);

  // Given to tasks; stopped by Stop and with the scope.
  StopToken token() const { return stop_.token(); }
  bool stop_requested() const { return stop_.stop_requested(); }
  // Asks all tasks to stop. Idempotent; returns at once. May be called by one of the tasks.
  void Stop();
  // Stop, then post `joined` when the last task has ended. Not awaited by one of the tasks: that never ends.
  void StopAndJoin(Closure joined);
  Task<void> StopAndJoin();

  size_t running() const { return children_.size(); }
  Executor& executor() const { return executor_; }

 private:
  class Child;
  using Children = std::list<std::coroutine_handle<>>;
  static Child Run(Task<void> task);
  void OnEnded(Children::iterator child);
  void PostJoined();

  Executor& executor_;
  StopSource stop_;
  Children children_;
  std::vector<Closure> joined_;
  std::shared_ptr<TaskScope*> self_;  // null inside once the scope is gone; for posted starts
};

}  // namespace tenure::runtime
