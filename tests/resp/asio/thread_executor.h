// An executor that is a thread, as little as these tests need (no timers).
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/executor.h"

namespace tenure::resp {

class ThreadExecutor : public runtime::Executor {
 public:
  ThreadExecutor() : thread_([this] { Run(); }) {}
  ~ThreadExecutor() override { Stop(); }

  void Post(Closure closure) override {
    const std::lock_guard lock(mutex_);
    if (stop_) return;
    queue_.push_back(std::move(closure));
    wake_.notify_one();
  }
  runtime::Timer After(Duration, Closure) override { std::abort(); }
  bool IsCurrent() const override { return std::this_thread::get_id() == thread_.get_id(); }
  bool IsStopped() const override {
    const std::lock_guard lock(mutex_);
    return stopped_;
  }
  Instant Now() const override { return Instant(std::chrono::steady_clock::now().time_since_epoch()); }
  WallTime WallNow() const override { return WallFromMillis(0); }

  // Runs `closure` on the thread and returns when it has run.
  void Do(Closure closure) {
    std::mutex mutex;
    std::condition_variable done;
    bool ran = false;
    Post([&] {
      closure();
      const std::lock_guard lock(mutex);
      ran = true;
      done.notify_one();
    });
    std::unique_lock lock(mutex);
    done.wait(lock, [&] { return ran; });
  }
  void Stop() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
      wake_.notify_one();
    }
    if (thread_.joinable()) thread_.join();
    std::vector<Closure> dropped;
    const std::lock_guard lock(mutex_);
    std::swap(dropped, queue_);
    stopped_ = true;
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
      if (stop_) return;
      std::vector<Closure> batch = std::exchange(queue_, {});
      lock.unlock();
      for (Closure& closure : batch) closure();
      batch.clear();
      lock.lock();
    }
  }

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Closure> queue_;
  bool stop_ = false;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace tenure::resp
