#include "sim/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/hash.h"

namespace tenure::sim {

namespace {

constexpr size_t kSweepFrom = 256;
constexpr auto kLater = [](const auto& a, const auto& b) {
  return a.time != b.time ? a.time > b.time : a.sequence > b.sequence;
};

}  // namespace

// Where closures wait. Shared with the handles, which may outlive the scheduler.
struct Scheduler::Event::Pool {
  struct Slot {
    uint64_t sequence = 0;  // of the event that waits here; 0: none
    Closure closure;
  };
  std::deque<Slot> slots;
  std::vector<uint32_t> free;
  size_t cancelled = 0;  // entries of the heap whose event does not wait any more

  Closure Take(uint32_t slot) {
    slots[slot].sequence = 0;
    free.push_back(slot);
    return std::exchange(slots[slot].closure, {});
  }
};

void Scheduler::Event::Cancel() {
  const auto events = std::exchange(events_, {});
  if (!events || events->slots[slot_].sequence != sequence_) return;
  ++events->cancelled;
  const Closure dropped = events->Take(slot_);  // its destructor may cancel other events
}

Scheduler::Scheduler() : pool_(std::make_shared<Event::Pool>()) {}

Scheduler::~Scheduler() {
  for (size_t slot = 0; slot < pool_->slots.size(); ++slot) {
    if (pool_->slots[slot].sequence != 0) const Closure dropped = pool_->Take(static_cast<uint32_t>(slot));
  }
}

Scheduler::Label Scheduler::Intern(std::string_view label) {
  if (const auto known = labels_.find(label); known != labels_.end()) return known->second;
  names_.push_back({std::string(label), HashBytes(label)});
  return labels_.emplace(label, Label(static_cast<uint32_t>(names_.size() - 1))).first->second;
}

Scheduler::Entry Scheduler::Add(Instant time, Label label, Closure closure) {
  Event::Pool& pool = *pool_;
  if (pool.free.empty()) {
    pool.free.push_back(static_cast<uint32_t>(pool.slots.size()));
    pool.slots.emplace_back();
  }
  const Entry entry{std::max(time, now_), next_sequence_++, pool.free.back(), label};
  pool.free.pop_back();
  pool.slots[entry.slot].sequence = entry.sequence;
  pool.slots[entry.slot].closure = std::move(closure);
  heap_.push_back(entry);
  std::push_heap(heap_.begin(), heap_.end(), kLater);
  if (pool.cancelled > kSweepFrom && pool.cancelled > heap_.size() / 2) Sweep();
  return entry;
}

Scheduler::Event Scheduler::At(Instant time, Label label, Closure closure) {
  const Entry entry = Add(time, label, std::move(closure));
  return Event(pool_, entry.slot, entry.sequence);
}

bool Scheduler::Cancelled(const Entry& entry) const {
  return pool_->slots[entry.slot].sequence != entry.sequence;
}

void Scheduler::Sweep() {
  std::erase_if(heap_, [this](const Entry& entry) { return Cancelled(entry); });
  std::make_heap(heap_.begin(), heap_.end(), kLater);
  pool_->cancelled = 0;
}

Scheduler::Entry Scheduler::PopFront() {
  std::pop_heap(heap_.begin(), heap_.end(), kLater);
  const Entry entry = heap_.back();
  heap_.pop_back();
  return entry;
}

Instant Scheduler::NextTime() {
  while (!heap_.empty() && Cancelled(heap_.front())) {
    PopFront();
    --pool_->cancelled;
  }
  return heap_.empty() ? kFarFuture : heap_.front().time;
}

bool Scheduler::Step() {
  if (NextTime() == kFarFuture) return false;
  const Entry entry = PopFront();
  const Name& name = names_[entry.label.index_];
  TENURE_CHECK(entry.time >= now_, "S1: event {} is in the past", name.text);
  now_ = entry.time;
  ++events_run_;
  Mix(static_cast<uint64_t>(now_.time_since_epoch().count()));
  Mix(name.hash);
  if (trace_) trace_(now_, name.text);
  Closure closure = pool_->Take(entry.slot);
  closure();
  return true;
}

void Scheduler::RunFor(Duration duration) {
  const Instant end = now_ + duration;
  while (NextTime() <= end && Step()) {
  }
  now_ = end;
}

bool Scheduler::RunUntil(const std::function<bool()>& condition, Duration limit) {
  const Instant end = now_ + limit;
  if (condition()) return true;
  while (NextTime() <= end && Step()) {
    if (condition()) return true;
  }
  now_ = std::max(now_, end);
  return condition();
}

void Scheduler::Mix(uint64_t value) {
  // One round of a multiplicative mix (the finaliser of MurmurHash3), order-sensitive.
  hash_ = (hash_ ^ value) * 0xff51afd7ed558ccdULL;
  hash_ ^= hash_ >> 33;
}

void Scheduler::Mix(std::string_view bytes) {
  Mix(HashBytes(bytes));
}

}  // namespace tenure::sim
