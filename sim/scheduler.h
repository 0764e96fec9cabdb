// The simulated world's time: one queue of events by (time, order of creation), run one after the other on
// one thread. Everything that happens in a simulation happens inside such an event.
//
// Threading: one thread.
// Invariants: S1 time never goes back. S2 the same seed and the same calls give the same events: event_hash()
//             mixes every executed event's time and label and whatever else is given to Mix, so two runs of
//             one seed that differ anywhere differ there.
// Events run until the world says enough; an event's closure may add, cancel and destroy anything but the
// scheduler.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/function.h"
#include "base/time.h"

namespace tenure::sim {

class SimExecutor;

class Scheduler {
 public:
  // Cancels the event when destroyed; may outlive the scheduler.
  class Event {
   public:
    Event() = default;
    Event(Event&&) = default;
    Event& operator=(Event&& other) noexcept {
      Cancel();
      closure_ = std::move(other.closure_);
      return *this;
    }
    ~Event() { Cancel(); }
    void Cancel();
    // Lets it happen without the handle.
    void Detach() { closure_.reset(); }

   private:
    friend Scheduler;
    explicit Event(std::weak_ptr<Closure> closure) : closure_(std::move(closure)) {}
    std::weak_ptr<Closure> closure_;
  };

  Scheduler() = default;
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;
  ~Scheduler();

  // World time: starts at zero, is nobody's clock (SimClock is).
  Instant now() const { return now_; }

  // Runs `closure` at `time`, or now if that has passed; `label` says what it is in the trace and the hash.
  [[nodiscard]] Event At(Instant time, std::string_view label, Closure closure);
  void Post(Instant time, std::string_view label, Closure closure) {
    At(time, label, std::move(closure)).Detach();
  }
  void After(Duration delay, std::string_view label, Closure closure) {
    Post(now_ + delay, label, std::move(closure));
  }

  // Runs the next event. False if there is none.
  bool Step();
  // Runs what happens in the next `duration`; time then stands at its end.
  void RunFor(Duration duration);
  // Runs until `condition` holds, tested after every event. False if it does not within `limit`.
  bool RunUntil(const std::function<bool()>& condition, Duration limit);

  uint64_t event_hash() const { return hash_; }
  uint64_t events_run() const { return events_run_; }
  size_t pending() const { return heap_.size(); }
  void Mix(uint64_t value);
  void Mix(std::string_view bytes);

  // Told of every event before it runs.
  using Trace = std::function<void(Instant time, std::string_view label)>;
  void set_trace(Trace trace) { trace_ = std::move(trace); }
  // Run after every event: where cheap invariants are checked.
  void set_after_event(std::function<void()> check) { after_event_ = std::move(check); }

  // The executor whose closure is running; null outside. For SimExecutor.
  const SimExecutor* current_executor() const { return current_executor_; }
  void set_current_executor(const SimExecutor* executor) { current_executor_ = executor; }

 private:
  struct Entry {
    Instant time;
    uint64_t sequence = 0;
    std::string label;
    std::shared_ptr<Closure> closure;  // empty inside once cancelled
  };
  static bool Later(const Entry& a, const Entry& b) {
    return a.time != b.time ? a.time > b.time : a.sequence > b.sequence;
  }
  // Drops cancelled events from the front; the time of the next one, or kFarFuture.
  Instant NextTime();

  Instant now_{};
  uint64_t next_sequence_ = 0;
  uint64_t hash_ = 0;
  uint64_t events_run_ = 0;
  std::vector<Entry> heap_;
  Trace trace_;
  std::function<void()> after_event_;
  const SimExecutor* current_executor_ = nullptr;
};

}  // namespace tenure::sim
