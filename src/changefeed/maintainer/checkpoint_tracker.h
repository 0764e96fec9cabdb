// The least of many timestamps that rise one by one: what a changefeed's checkpoint is made of.
//
// An indexed binary heap: Set, Add and Remove cost O(log n), Least O(1).
// Threading: one owner. Slots are reused after Remove.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "changefeed/protocol/ids.h"

namespace tenure::changefeed {

class CheckpointTracker {
 public:
  using Slot = uint32_t;

  // `tag` is the caller's, for Least.
  Slot Add(CommitTs position, uint64_t tag);
  void Set(Slot slot, CommitTs position);
  void Remove(Slot slot);
  CommitTs position(Slot slot) const { return items_[slot].position; }

  struct Item {
    CommitTs position;
    uint64_t tag = 0;
  };
  // The one with the lowest position; of equal ones the lowest tag. None if there are none.
  std::optional<Item> Least() const;
  size_t size() const { return heap_.size(); }

 private:
  struct Entry {
    CommitTs position;
    uint64_t tag = 0;
    uint32_t place = 0;  // in heap_
  };
  bool Before(Slot a, Slot b) const {
    return std::pair(items_[a].position, items_[a].tag) < std::pair(items_[b].position, items_[b].tag);
  }
  void Put(size_t place, Slot slot);
  void Sift(size_t place);

  std::vector<Entry> items_;
  std::vector<Slot> heap_;
  std::vector<Slot> free_;
};

}  // namespace tenure::changefeed
