#include "sim/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/hash.h"

namespace tenure::sim {

void Scheduler::Event::Cancel() {
  const auto closure = std::exchange(closure_, {}).lock();
  if (!closure) return;
  const Closure dropped = std::exchange(*closure, {});  // its destructor may cancel other events
}

Scheduler::~Scheduler() {
  while (!heap_.empty()) {
    const Entry entry = std::move(heap_.back());
    heap_.pop_back();
  }
}

Scheduler::Event Scheduler::At(Instant time, std::string_view label, Closure closure) {
  Entry entry;
  entry.time = std::max(time, now_);
  entry.sequence = next_sequence_++;
  entry.label = std::string(label);
  entry.closure = std::make_shared<Closure>(std::move(closure));
  Event event(entry.closure);
  heap_.push_back(std::move(entry));
  std::push_heap(heap_.begin(), heap_.end(), Later);
  return event;
}

Instant Scheduler::NextTime() {
  while (!heap_.empty() && !*heap_.front().closure) {
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    heap_.pop_back();
  }
  return heap_.empty() ? kFarFuture : heap_.front().time;
}

bool Scheduler::Step() {
  if (NextTime() == kFarFuture) return false;
  std::pop_heap(heap_.begin(), heap_.end(), Later);
  const Entry entry = std::move(heap_.back());
  heap_.pop_back();
  TENURE_CHECK(entry.time >= now_, "S1: event {} is in the past", entry.label);
  now_ = entry.time;
  ++events_run_;
  Mix(static_cast<uint64_t>(now_.time_since_epoch().count()));
  Mix(entry.label);
  if (trace_) trace_(now_, entry.label);
  Closure closure = std::exchange(*entry.closure, {});
  closure();
  closure = {};
  if (after_event_) after_event_();
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
