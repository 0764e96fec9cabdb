// The way from the threads of the transports to one executor: closures queue here and the executor is woken
// once for all that gather until it comes.
//
// Threading: Push from any thread; Close and what it is given to run from the executor (or, once that is
//            stopped, from the thread that destroys its objects).
// Lifetime:  shared by the Network and everything in flight for it. After Close the executor is not touched
//            any more; closures pushed later, and those still queued, are destroyed unrun.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "base/function.h"
#include "runtime/executor.h"

namespace tenure::rpc {

class Inbox : public std::enable_shared_from_this<Inbox> {
 public:
  explicit Inbox(runtime::Executor& executor) : executor_(&executor) {}

  void Push(Closure closure) {
    const std::lock_guard lock(mutex_);
    if (closed_) {
      // Destroyed after the lock: a parameter lives longer than a local.
      return;
    }
    queue_.push_back(std::move(closure));
    if (queue_.size() == 1) {
      executor_->Post([self = shared_from_this()] { self->Drain(); });
    }
  }

  // `while_closing` runs under the lock: no Push is under way during it, and all later ones find the inbox
  // closed.
  template <class Function>
  void Close(Function while_closing) {
    std::vector<Closure> dropped;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      dropped.swap(queue_);
      while_closing();
    }
  }

  bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }

 private:
  void Drain() {
    std::vector<Closure> batch;
    {
      const std::lock_guard lock(mutex_);
      batch.swap(queue_);
    }
    for (Closure& closure : batch) {
      if (closed_) break;  // written only on this executor
      closure();
      closure = {};
    }
  }

  mutable std::mutex mutex_;
  runtime::Executor* const executor_;
  bool closed_ = false;
  std::vector<Closure> queue_;
};

}  // namespace tenure::rpc
