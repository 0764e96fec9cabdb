// Deliveries that are confirmed out of order: up to which position everything is.
//
// Threading: one owner.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

namespace tenure::changefeed {

class DeliveredPrefix {
 public:
  // A message that waits for `confirmations` (one for each partition it goes to, at least one). Returns its
  // ticket.
  uint64_t Add(uint64_t position, uint32_t confirmations) {
    waiting_.push_back({position, confirmations});
    return first_ + waiting_.size() - 1;
  }
  void Confirm(uint64_t ticket) {
    Entry& entry = waiting_[static_cast<size_t>(ticket - first_)];
    if (entry.missing > 0) --entry.missing;
  }
  // The position up to which everything is confirmed, if it has risen since the last call.
  std::optional<uint64_t> TakePrefix() {
    std::optional<uint64_t> prefix;
    while (!waiting_.empty() && waiting_.front().missing == 0) {
      prefix = waiting_.front().position;
      waiting_.pop_front();
      ++first_;
    }
    return prefix;
  }
  size_t waiting() const { return waiting_.size(); }

 private:
  struct Entry {
    uint64_t position = 0;
    uint32_t missing = 0;
  };
  std::deque<Entry> waiting_;
  uint64_t first_ = 0;  // ticket of the front
};

}  // namespace tenure::changefeed
