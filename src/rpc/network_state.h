// Private to rpc/: what one Network shares with its calls and streams in flight.
//
// Threading: the inbox from any thread; everything else from the Network's executor.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/function.h"
#include "rpc/inbox.h"
#include "runtime/executor.h"

namespace tenure::rpc {

// A call or stream that ends with its Network; linked from its start until its last callback.
class Pending {
 public:
  Pending() = default;
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  // The Network goes: cancels the work, without running code of its owner. What is put into `later` is run,
  // then destroyed, by the closing thread; after that no callback may follow.
  virtual void Abandon(std::vector<Closure>& later) = 0;

 protected:
  ~Pending() { Unlink(); }
  void Unlink() {
    if (next_ == nullptr) return;
    previous_->next_ = next_;
    next_->previous_ = previous_;
    next_ = previous_ = nullptr;
  }

 private:
  friend class NetworkState;
  Pending* next_ = nullptr;
  Pending* previous_ = nullptr;
};

class NetworkState {
 public:
  explicit NetworkState(runtime::Executor& e) : executor(e), inbox(std::make_shared<Inbox>(e)) {
    first() = last() = &head_;
  }
  ~NetworkState() { TENURE_CHECK(first() == &head_, "a network goes without having been closed"); }

  void Link(Pending& pending) {
    Pending& link = pending;
    link.next_ = &head_;
    link.previous_ = std::exchange(last(), &pending);
    link.previous_->next_ = &pending;
  }
  void Close() {
    std::vector<Closure> later;
    inbox->Close([&] {
      while (first() != &head_) {
        Pending& pending = *first();
        pending.Unlink();
        pending.Abandon(later);
      }
    });
    for (Closure& closure : later) closure();
  }

  runtime::Executor& executor;  // not to be touched once the inbox is closed
  const std::shared_ptr<Inbox> inbox;

 private:
  Pending*& first() { return static_cast<Pending&>(head_).next_; }
  Pending*& last() { return static_cast<Pending&>(head_).previous_; }

  struct Anchor final : Pending {
    void Abandon(std::vector<Closure>&) override {}
  };
  Anchor head_;
};

}  // namespace tenure::rpc
