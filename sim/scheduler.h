// The simulated world's time: one queue of events by (time, order of creation), run one after the other on
// one thread. Everything that happens in a simulation happens inside such an event.
//
// Threading: one thread.
// Invariants: S1 time never goes back.
//             S2 the same seed and the same calls give the same events: event_hash() mixes every executed
//             event's time and label and whatever else is given to Mix, so two runs of one seed that differ
//             anywhere differ there.
// Events run until the world says enough; an event's closure may add, cancel and destroy anything but the
// scheduler.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
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
  // A name of events, interned once by whoever makes many of them.
  class Label {
   public:
    Label() = default;

   private:
    friend Scheduler;
    explicit Label(uint32_t index) : index_(index) {}
    uint32_t index_ = 0;
  };

  // Cancels the event when destroyed; may outlive the scheduler.
  class Event {
   public:
    Event() = default;
    Event(Event&&) = default;
    Event& operator=(Event&& other) noexcept {
      Cancel();
      events_ = std::move(other.events_);
      slot_ = other.slot_;
      sequence_ = other.sequence_;
      return *this;
    }
    ~Event() { Cancel(); }
    void Cancel();

   private:
    friend Scheduler;
    struct Pool;
    Event(std::shared_ptr<Pool> events, uint32_t slot, uint64_t sequence)
        : events_(std::move(events)), slot_(slot), sequence_(sequence) {}
    std::shared_ptr<Pool> events_;
    uint32_t slot_ = 0;
    uint64_t sequence_ = 0;
  };

  Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;
  ~Scheduler();

  // World time: starts at zero, is nobody's clock (SimClock is).
  Instant now() const { return now_; }

  Label Intern(std::string_view label);

  // Runs `closure` at `time`, or now if that has passed; `label` says what it is in the trace and the hash.
  [[nodiscard]] Event At(Instant time, Label label, Closure closure);
  [[nodiscard]] Event At(Instant time, std::string_view label, Closure closure) {
    return At(time, Intern(label), std::move(closure));
  }
  // The same for what is never cancelled.
  void Post(Instant time, Label label, Closure closure) { Add(time, label, std::move(closure)); }
  void Post(Instant time, std::string_view label, Closure closure) {
    Add(time, Intern(label), std::move(closure));
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
  void Mix(uint64_t value);
  void Mix(std::string_view bytes);

  // Told of every event before it runs.
  using Trace = std::function<void(Instant time, std::string_view label)>;
  void set_trace(Trace trace) { trace_ = std::move(trace); }

  // The executor whose closure is running; null outside. For SimExecutor.
  const SimExecutor* current_executor() const { return current_executor_; }
  void set_current_executor(const SimExecutor* executor) { current_executor_ = executor; }

 private:
  // Small, for the heap moves them a lot. The closure is in the slot as long as that has this sequence.
  struct Entry {
    Instant time;
    uint64_t sequence = 0;
    uint32_t slot = 0;
    Label label;
  };
  struct Name {
    std::string text;
    uint64_t hash = 0;
  };
  Entry Add(Instant time, Label label, Closure closure);
  Entry PopFront();
  bool Cancelled(const Entry& entry) const;
  // Drops the cancelled events when most are: of calls that were answered long before their deadline.
  void Sweep();
  // Drops cancelled events from the front; the time of the next one, or kFarFuture.
  Instant NextTime();

  Instant now_{};
  uint64_t next_sequence_ = 1;
  uint64_t hash_ = 0;
  uint64_t events_run_ = 0;
  std::vector<Entry> heap_;
  const std::shared_ptr<Event::Pool> pool_;
  std::deque<Name> names_;
  std::map<std::string, Label, std::less<>> labels_;
  Trace trace_;
  const SimExecutor* current_executor_ = nullptr;
};

}  // namespace tenure::sim
