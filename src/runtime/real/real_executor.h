// An executor that is a thread of its own: a queue emptied in batches, a heap of timers, sleep when both have
// nothing to do. A background pool for long work is one or more further RealExecutors.
//
// Other threads may help (runtime/helper.h): closures stay serial, IsCurrent and the order of Post hold, only
// the thread they run on differs.
//
// Threading: Post, Now, WallNow and IsStopped from any thread; After from the executor's thread. Stop and
//            destruction from outside of it.
// Lifetime:  Stop ends the thread after the closure it is running; everything still queued is then destroyed
//            unrun, in the thread that called Stop. Stop every executor before destroying the objects that
//            belong to them.
// Cost:      Post is one uncontended lock and, only if the thread sleeps and nobody helps, one wake-up; a
//            batch of any size is taken with one lock. The thread never spins.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/function.h"
#include "runtime/executor.h"
#include "runtime/helper.h"
#include "runtime/real/real_clock.h"
#include "runtime/real/timer_heap.h"

namespace tenure::runtime {

class RealExecutor final : public Executor, private Helped {
 public:
  enum class Work : uint8_t {
    kShort,     // closures do not block: other threads may help
    kBlocking,  // closures wait for a disk: they run on the executor's own thread, which helps others before
                // it sleeps, but holds none while it runs the next closure
  };

  // `name` is the thread's name as debuggers and top show it (15 characters of it).
  explicit RealExecutor(std::string name, Work work = Work::kShort);
  ~RealExecutor() override;
  RealExecutor(const RealExecutor&) = delete;
  RealExecutor& operator=(const RealExecutor&) = delete;

  void Post(Closure closure) override;
  [[nodiscard]] Timer After(Duration delay, Closure closure) override;
  Work work() const { return work_; }
  bool IsCurrent() const override;
  void Yield() override { std::this_thread::yield(); }
  bool IsStopped() const override { return stopped_.load(std::memory_order_acquire); }
  Instant Now() const override { return clock_.Now(); }
  WallTime WallNow() const override { return clock_.WallNow(); }
  void SetMayBlock(bool may_block) override { may_block_.store(may_block, std::memory_order_relaxed); }

  // Not from a closure: from now on `on_slow` runs on the executor after a closure that took longer than
  // `limit`, with the time it took. Costs two readings of the clock for each closure.
  void WatchClosures(Duration limit, std::function<void(Duration took)> on_slow);

  // Idempotent.
  void Stop();
  // Runs `closure` on the executor and returns when it has run; for main threads and tests, not from a
  // closure. If the executor stops first, returns without it having run.
  void RunAndWait(Closure closure);

 private:
  void Run();
  // Puts the thread that calls in charge, if it helps. Under mutex_, while the own thread sleeps.
  bool LetHelp();
  void Help(bool only_release) override;
  void HelpOthers(Helper& helper);
  void RunBatch(std::vector<Closure>& batch);
  void RunTimers(Instant now);
  void RunClosure(Closure& closure);
  // Takes what was posted; if there is nothing, sleeps until something is or the first timer is due.
  void TakeBatch(std::vector<Closure>& batch, Instant now);
  bool may_block() const { return may_block_.load(std::memory_order_relaxed); }
  bool stop_requested() const { return stop_requested_.load(std::memory_order_relaxed); }

  const RealClock clock_;
  const std::string name_;
  const Work work_;
  std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_.
  std::vector<Closure> incoming_;
  bool sleeping_ = false;  // the thread; until sleeping_until_
  Instant sleeping_until_;
  bool helped_ = false;  // another thread is in charge
  bool wanted_ = false;  // the thread waits for that one to end
  std::atomic<bool> may_block_{false};
  std::atomic<bool> stop_requested_{false};
  std::atomic<bool> stopped_{false};
  TimerHeap timers_;
  // Written before the first closure, read by whoever is in charge.
  Duration slow_ = Duration::max();
  std::function<void(Duration)> on_slow_;
  std::thread thread_;
};

}  // namespace tenure::runtime
