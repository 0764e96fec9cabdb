#include "daemon/threads.h"

#include <condition_variable>
#include <mutex>

namespace tenure::daemon {
namespace {

// Lives as long as the one who waits or the one who is to answer.
struct Signal {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;

  void Set() {
    const std::lock_guard lock(mutex);
    done = true;
    changed.notify_all();
  }
  bool Wait(Duration limit) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, limit, [this] { return done; });
  }
};

}  // namespace

void Threads::StopAll() {
  ForEach([](const char*, runtime::RealExecutor& executor) { executor.Stop(); });
}

bool StartAndWait(runtime::Executor& executor, Duration limit, std::function<void(Closure done)> start) {
  auto signal = std::make_shared<Signal>();
  executor.Post([signal, start = std::move(start)] { start([signal] { signal->Set(); }); });
  return signal->Wait(limit);
}

}  // namespace tenure::daemon
