#include "node/pending_operations.h"

#include <utility>

#include "base/check.h"

namespace tenure::node {

PendingOperations::Handle PendingOperations::Add(Operation operation) {
  TENURE_CHECK(!full(), "{} operations are under way already", size_);
  uint32_t index = 0;
  if (free_.empty()) {
    index = static_cast<uint32_t>(places_.size());
    places_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  Place& place = places_[index];
  place.operation = std::move(operation);
  place.used = true;
  place.linked = true;
  place.older = newest_;
  place.newer = kNone;
  if (newest_ != kNone) places_[newest_].newer = index;
  newest_ = index;
  if (oldest_ == kNone) oldest_ = index;
  ++size_;
  return {index, place.generation};
}

PendingOperations::Operation* PendingOperations::Find(Handle handle) {
  if (handle.place >= places_.size()) return nullptr;
  Place& place = places_[handle.place];
  return place.used && place.generation == handle.generation ? &place.operation : nullptr;
}

void PendingOperations::Unlink(uint32_t index) {
  Place& place = places_[index];
  if (!std::exchange(place.linked, false)) return;
  (place.older == kNone ? oldest_ : places_[place.older].newer) = place.newer;
  (place.newer == kNone ? newest_ : places_[place.newer].older) = place.older;
}

PendingOperations::Operation PendingOperations::Release(Handle handle) {
  TENURE_CHECK(Find(handle) != nullptr, "P2: operation {}/{} is released twice", handle.place,
               handle.generation);
  Unlink(handle.place);
  Place& place = places_[handle.place];
  Operation operation = std::exchange(place.operation, {});
  place.used = false;
  ++place.generation;
  free_.push_back(handle.place);
  --size_;
  return operation;
}

bool PendingOperations::TakeExpired(Instant now, Handle* handle) {
  if (oldest_ == kNone || places_[oldest_].operation.deadline > now) return false;
  *handle = {oldest_, places_[oldest_].generation};
  Unlink(oldest_);
  return true;
}

}  // namespace tenure::node
