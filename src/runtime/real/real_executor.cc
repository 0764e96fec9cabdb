#include "runtime/real/real_executor.h"

#include <pthread.h>

#include <optional>
#include <utility>

#include "base/check.h"

namespace tenure::runtime {
namespace {

thread_local const RealExecutor* current_executor = nullptr;

// Of an executor that another thread helps; then its own thread takes over what is still coming.
constexpr int kHelpedBatches = 4;

// Longer sleeps are cut: condition variables take no time point near the end of time.
constexpr Duration kLongestSleep = std::chrono::hours(1);

}  // namespace

RealExecutor::RealExecutor(std::string name, Work work)
    : name_(std::move(name)), work_(work), thread_([this] { Run(); }) {}

RealExecutor::~RealExecutor() {
  Stop();
}

void RealExecutor::Post(Closure closure) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    // Checked under the lock: what gets in before Stop drains the queue is destroyed there.
    if (!stopped_.load(std::memory_order_relaxed)) {
      incoming_.push_back(std::move(closure));
      wake = sleeping_ && !helped_ && !LetHelp();
      if (wake) sleeping_ = false;
    }
  }
  if (wake) wake_.notify_one();
}

void RealExecutor::WatchClosures(Duration limit, std::function<void(Duration)> on_slow) {
  RunAndWait([this, limit, on_slow = std::move(on_slow)]() mutable {
    slow_ = limit;
    on_slow_ = std::move(on_slow);
  });
}

bool RealExecutor::LetHelp() {
  Helper* const helper = work_ == Work::kBlocking || may_block() ? nullptr : Helper::OfThisThread();
  if (helper == nullptr) return false;
  helper->Claim(*this);
  helped_ = true;
  return true;
}

void RealExecutor::Help(bool only_release) {
  const RealExecutor* const outer = std::exchange(current_executor, this);
  std::vector<Closure> batch;
  for (int batches = only_release ? kHelpedBatches : 0;; ++batches) {
    {
      const std::lock_guard lock(mutex_);
      // A stop, or a closure after which others may block, leaves something in the batch.
      const auto rest = std::find_if(batch.begin(), batch.end(), [](const Closure& c) { return bool(c); });
      incoming_.insert(incoming_.begin(), std::make_move_iterator(rest),
                       std::make_move_iterator(batch.end()));
      batch.clear();
      if (incoming_.empty() || batches == kHelpedBatches || may_block() || stop_requested()) {
        helped_ = false;
        if (!incoming_.empty() || wanted_ || stop_requested() || timers_.next() < sleeping_until_) {
          sleeping_ = false;
          wake_.notify_one();  // under the lock: the executor may be gone after it
        }
        break;
      }
      batch.swap(incoming_);
    }
    for (Closure& closure : batch) {
      if (stop_requested() || may_block()) break;
      RunClosure(closure);
      closure = {};
    }
  }
  current_executor = outer;
}

Timer RealExecutor::After(Duration delay, Closure closure) {
  TENURE_CHECK(IsCurrent() || IsStopped(), "a timer of executor {} is made on another thread", name_);
  if (IsStopped()) return {};
  const Instant now = Now();
  const Instant time = delay > kFarFuture - now ? kFarFuture : now + std::max(delay, Duration::zero());
  return timers_.Add(time, std::move(closure));
}

bool RealExecutor::IsCurrent() const {
  return current_executor == this;
}

void RealExecutor::Stop() {
  TENURE_CHECK(!IsCurrent(), "executor {} is stopped from its own thread", name_);
  {
    const std::lock_guard lock(mutex_);
    stop_requested_.store(true, std::memory_order_relaxed);
    sleeping_ = false;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  std::vector<Closure> dropped;
  {
    const std::lock_guard lock(mutex_);
    stopped_.store(true, std::memory_order_release);
    dropped.swap(incoming_);
  }
  dropped.clear();  // outside the lock: destructors may post
  timers_.Clear();
}

void RealExecutor::RunAndWait(Closure closure) {
  TENURE_CHECK(!IsCurrent(), "executor {} would wait for itself", name_);
  struct Done {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
  };
  // Signals also when the closure is destroyed without having run.
  struct Signal {
    std::shared_ptr<Done> done;
    Signal(std::shared_ptr<Done> d) : done(std::move(d)) {}
    Signal(Signal&&) = default;
    ~Signal() {
      if (!done) return;
      const std::lock_guard lock(done->mutex);
      done->done = true;
      done->changed.notify_one();
    }
  };
  const auto done = std::make_shared<Done>();
  Post([closure = std::move(closure), signal = Signal(done)]() mutable {
    closure();
    closure = {};
  });
  std::unique_lock lock(done->mutex);
  done->changed.wait(lock, [&] { return done->done; });
}

void RealExecutor::Run() {
  current_executor = this;
  pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
  std::vector<Closure> batch;
  std::optional<Helper> helper;
  if (work_ == Work::kBlocking) helper.emplace();
  while (!stop_requested()) {
    // The time is read before the queue is taken: what was posted before a timer's time runs before the
    // timer.
    const Instant now = timers_.empty() ? Instant::min() : Now();
    TakeBatch(batch, now);
    RunBatch(batch);
    RunTimers(now);
    if (helper) HelpOthers(*helper);
  }
  // Unrun closures are destroyed by Stop, when IsStopped already says so.
  const std::lock_guard lock(mutex_);
  for (Closure& closure : batch) {
    if (closure) incoming_.push_back(std::move(closure));
  }
}

void RealExecutor::TakeBatch(std::vector<Closure>& batch, Instant now) {
  const Instant wake_at = timers_.next();
  std::unique_lock lock(mutex_);
  if (incoming_.empty() && wake_at > now && !stop_requested()) {
    sleeping_ = true;
    sleeping_until_ = wake_at;
    wake_.wait_for(lock, timers_.empty() ? kLongestSleep : std::min<Duration>(wake_at - now, kLongestSleep),
                   [this] { return !sleeping_; });
    wanted_ = true;
    while (helped_) wake_.wait(lock);
    wanted_ = false;
    sleeping_ = false;
  }
  batch.swap(incoming_);
}

void RealExecutor::HelpOthers(Helper& helper) {
  bool more;
  {
    const std::lock_guard lock(mutex_);
    more = !incoming_.empty();
  }
  if (more) {
    helper.Release();
  } else {
    helper.Run();
  }
}

void RealExecutor::RunBatch(std::vector<Closure>& batch) {
  for (Closure& closure : batch) {
    if (stop_requested()) return;
    if (work_ == Work::kBlocking) Helper::BeforeBlocking();
    RunClosure(closure);
    closure = {};
  }
  batch.clear();
}

void RealExecutor::RunClosure(Closure& closure) {
  if (!on_slow_) return closure();
  const Instant began = Now();
  closure();
  const Duration took = Now() - began;
  if (took > slow_) on_slow_(took);
}

void RealExecutor::RunTimers(Instant now) {
  while (!stop_requested()) {
    Closure closure = timers_.TakeDue(now);
    if (!closure) return;
    if (work_ == Work::kBlocking) Helper::BeforeBlocking();
    RunClosure(closure);
  }
}

}  // namespace tenure::runtime
