#include "changefeed/maintainer/checkpoint_tracker.h"

namespace tenure::changefeed {

void CheckpointTracker::Put(size_t place, Slot slot) {
  heap_[place] = slot;
  items_[slot].place = static_cast<uint32_t>(place);
}

// Moves what stands at `place` up or down to where it belongs.
void CheckpointTracker::Sift(size_t place) {
  const Slot slot = heap_[place];
  while (place > 0 && Before(slot, heap_[(place - 1) / 2])) {
    Put(place, heap_[(place - 1) / 2]);
    place = (place - 1) / 2;
  }
  for (size_t child = 2 * place + 1; child < heap_.size(); child = 2 * place + 1) {
    if (child + 1 < heap_.size() && Before(heap_[child + 1], heap_[child])) ++child;
    if (!Before(heap_[child], slot)) break;
    Put(place, heap_[child]);
    place = child;
  }
  Put(place, slot);
}

CheckpointTracker::Slot CheckpointTracker::Add(CommitTs position, uint64_t tag) {
  Slot slot = static_cast<Slot>(items_.size());
  if (free_.empty()) {
    items_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  items_[slot] = {.position = position, .tag = tag};
  heap_.push_back(slot);
  Sift(heap_.size() - 1);
  return slot;
}

void CheckpointTracker::Set(Slot slot, CommitTs position) {
  items_[slot].position = position;
  Sift(items_[slot].place);
}

void CheckpointTracker::Remove(Slot slot) {
  const size_t place = items_[slot].place;
  const Slot last = heap_.back();
  heap_.pop_back();
  if (last != slot) {
    Put(place, last);
    Sift(place);
  }
  free_.push_back(slot);
}

std::optional<CheckpointTracker::Item> CheckpointTracker::Least() const {
  if (heap_.empty()) return std::nullopt;
  const Entry& entry = items_[heap_[0]];
  return Item{entry.position, entry.tag};
}

}  // namespace tenure::changefeed
