#include "runtime/real/timer_heap.h"

#include <utility>

namespace tenure::runtime {

void TimerHeap::Entry::Cancel() {
  if (heap != nullptr) heap->Remove(position);
  // Destroyed last: it may own the handle through which this is called.
  const Closure dropped = std::exchange(closure, {});
}

Timer TimerHeap::Add(Instant time, Closure closure) {
  auto entry = std::make_shared<Entry>();
  entry->heap = this;
  entry->time = time;
  entry->sequence = next_sequence_++;
  entry->closure = std::move(closure);
  heap_.push_back(nullptr);
  Place(heap_.size() - 1, entry);
  SiftUp(heap_.size() - 1);
  return Timer(std::move(entry));
}

Closure TimerHeap::TakeDue(Instant now) {
  if (heap_.empty() || heap_.front()->time > now) return {};
  const std::shared_ptr<Entry> entry = heap_.front();
  Remove(0);
  return std::exchange(entry->closure, {});
}

void TimerHeap::Clear() {
  while (!heap_.empty()) {
    const std::shared_ptr<Entry> entry = std::move(heap_.back());
    heap_.pop_back();
    entry->heap = nullptr;
    const Closure dropped = std::exchange(entry->closure, {});  // may cancel other timers
  }
}

void TimerHeap::Remove(size_t position) {
  heap_[position]->heap = nullptr;
  std::shared_ptr<Entry> last = std::move(heap_.back());
  heap_.pop_back();
  if (position == heap_.size()) return;
  Place(position, std::move(last));
  SiftUp(position);
  SiftDown(position);
}

void TimerHeap::Place(size_t position, std::shared_ptr<Entry> entry) {
  entry->position = position;
  heap_[position] = std::move(entry);
}

void TimerHeap::SiftUp(size_t position) {
  while (position > 0) {
    const size_t parent = (position - 1) / 2;
    if (!heap_[position]->Before(*heap_[parent])) return;
    std::swap(heap_[position], heap_[parent]);
    heap_[position]->position = position;
    heap_[parent]->position = parent;
    position = parent;
  }
}

void TimerHeap::SiftDown(size_t position) {
  for (;;) {
    size_t first = position;
    for (size_t child = 2 * position + 1; child <= 2 * position + 2 && child < heap_.size(); ++child) {
      if (heap_[child]->Before(*heap_[first])) first = child;
    }
    if (first == position) return;
    std::swap(heap_[position], heap_[first]);
    heap_[position]->position = position;
    heap_[first]->position = first;
    position = first;
  }
}

}  // namespace tenure::runtime
