// The pending timers of one executor: a binary heap by (time, creation) that knows each timer's place, so
// that cancelling takes the timer out at once - most timers are timeouts that never happen.
//
// Threading: one executor. Handles may outlive the heap.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/function.h"
#include "base/time.h"
#include "runtime/executor.h"

namespace tenure::runtime {

class TimerHeap {
 public:
  TimerHeap() = default;
  TimerHeap(const TimerHeap&) = delete;
  TimerHeap& operator=(const TimerHeap&) = delete;
  ~TimerHeap() { Clear(); }

  Timer Add(Instant time, Closure closure);
  bool empty() const { return heap_.empty(); }
  // kFarFuture if there is none.
  Instant next() const { return heap_.empty() ? kFarFuture : heap_.front()->time; }
  // Takes out the first timer if it is due at `now`; an empty closure if none is.
  Closure TakeDue(Instant now);
  // Destroys all closures; handles become inert.
  void Clear();

 private:
  struct Entry final : Timer::State {
    void Cancel() override;
    bool Before(const Entry& other) const {
      return time != other.time ? time < other.time : sequence < other.sequence;
    }
    TimerHeap* heap = nullptr;  // null once out of the heap
    size_t position = 0;
    Instant time;
    uint64_t sequence = 0;
    Closure closure;
  };
  void Remove(size_t position);
  void Place(size_t position, std::shared_ptr<Entry> entry);
  void SiftUp(size_t position);
  void SiftDown(size_t position);

  std::vector<std::shared_ptr<Entry>> heap_;
  uint64_t next_sequence_ = 0;
};

}  // namespace tenure::runtime
