// The executors of a process. A group lives on one of them; what may block has one of its own.
//
// Lifetime: outlive everything that runs on them. StopAll ends their threads; objects are destroyed after it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "runtime/real/real_executor.h"

namespace tenure::daemon {

// What answers at once, or hangs.
inline constexpr Duration kAskLimit = std::chrono::seconds(2);

struct Threads {
  using Work = runtime::RealExecutor::Work;
  runtime::RealExecutor controller{"controller"};           // group 0 and the leader's services
  runtime::RealExecutor regions{"regions"};                 // region groups, the agent, Redis sessions
  runtime::RealExecutor wal{"wal", Work::kBlocking};        // fdatasync of the log
  runtime::RealExecutor engine{"engine", Work::kBlocking};  // flushes of the key-value engine
  runtime::RealExecutor background{"background", Work::kBlocking};    // snapshots and other files
  runtime::RealExecutor changefeeds{"changefeeds", Work::kBlocking};  // dispatchers and sinks

  void StopAll();
  template <class Visit>
  void ForEach(Visit visit) {
    visit("controller", controller);
    visit("regions", regions);
    visit("wal", wal);
    visit("engine", engine);
    visit("background", background);
    visit("changefeeds", changefeeds);
  }
};

// Runs `work` on `executor` and waits for its result; none if that takes longer than `limit` or the executor
// has stopped. From threads that are no executor. `work` must own what it uses: it may run after the wait was
// given up.
template <class T>
std::optional<T> Ask(runtime::Executor& executor, Duration limit, std::function<T()> work);

// Starts something that calls back, on `executor`, and waits for the callback for at most `limit`. False: it
// did not come.
bool StartAndWait(runtime::Executor& executor, Duration limit, std::function<void(Closure done)> start);

// ---- implementation ----

template <class T>
std::optional<T> Ask(runtime::Executor& executor, Duration limit, std::function<T()> work) {
  auto result = std::make_shared<std::optional<T>>();
  auto start = [result, work = std::move(work)](Closure done) {
    result->emplace(work());
    done();
  };
  if (!StartAndWait(executor, limit, std::move(start))) return std::nullopt;
  return std::move(*result);
}

}  // namespace tenure::daemon
