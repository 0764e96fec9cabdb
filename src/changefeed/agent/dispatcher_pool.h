// The dispatchers of a node, on their executor, as the agent sees them from its own.
//
// Every call is posted to the dispatchers' executor in order; reports come back when they are asked for.
// Threading:  the agent's executor; permits are asked from any thread.
// Lifetime:   both executors and the factory outlive it.
// Invariants: P1 the permit of a dispatcher is closed before Stop is posted.
//             P2 a dispatcher may write only while its permit is open and the lease, by the clock, has not
//             run out.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/function.h"
#include "changefeed/dispatcher/dispatcher.h"
#include "runtime/executor.h"

namespace tenure::changefeed {

// Until when a lease allows writing, for permits.
class LeaseClock {
 public:
  explicit LeaseClock(const runtime::Clock& clock) : clock_(clock) {}
  void Set(Instant until) { until_ns_.store(until.time_since_epoch().count(), std::memory_order_release); }
  bool Holds() const {
    return clock_.Now().time_since_epoch().count() < until_ns_.load(std::memory_order_acquire);
  }

 private:
  const runtime::Clock& clock_;
  std::atomic<Instant::rep> until_ns_{0};
};

class DispatcherPool {
 public:
  using Key = std::pair<ChangefeedId, SpanId>;
  struct State {
    OwnerEpoch epoch;  // numbers of spans and of creates begin anew with each
    DispatcherReport report;
    CommitTs resolved;
    uint64_t rows_per_second = 0;
    uint64_t rows_behind = 0;
  };
  using States = std::map<Key, State>;

  DispatcherPool(runtime::Executor& executor, runtime::Executor& dispatchers, DispatcherFactory& factory);
  ~DispatcherPool();
  DispatcherPool(const DispatcherPool&) = delete;
  DispatcherPool& operator=(const DispatcherPool&) = delete;

  // Until then, by the clock, anything may be written.
  void SetLease(Instant until) { lease_->Set(until); }
  void Create(DispatcherSpec spec);
  // `done` with the final states of those that ran, once nothing of them is handed to a sink any more.
  void Stop(const std::vector<Key>& keys, Callback<States> done);
  void Hold(Key key, SchemaChange change);
  void Write(Key key, SchemaChange change);
  void Pass(Key key, CommitTs barrier);
  // All of the changefeed are told.
  void CheckpointAdvanced(ChangefeedId changefeed, CommitTs checkpoint);
  // The states of all, as of soon.
  void Collect(Callback<States> done);
  size_t size() const { return permits_.size(); }

 private:
  struct Permit {
    std::atomic<bool> open{true};
  };
  // Of the dispatchers' executor alone.
  struct Running {
    std::map<Key, std::unique_ptr<Dispatcher>> dispatchers;
  };
  static State StateOf(const Dispatcher& dispatcher);
  void Tell(Key key, std::function<void(Dispatcher&)> what);

  runtime::Executor& executor_;
  runtime::Executor& dispatchers_;
  DispatcherFactory& factory_;
  std::shared_ptr<LeaseClock> lease_;
  std::shared_ptr<Running> running_ = std::make_shared<Running>();
  std::map<Key, std::shared_ptr<Permit>> permits_;
  std::shared_ptr<DispatcherPool*> self_;  // null inside once this is gone
};

}  // namespace tenure::changefeed
