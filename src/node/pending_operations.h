// The client operations under way on this node: each is answered exactly once, by its outcome or by its
// deadline.
//
// All operations have the same time limit, so the order in which they came is the order of their deadlines:
// adding, finding and removing one are O(1) and no timer belongs to a single operation.
// Threading:  one executor.
// Memory:     as many places as were ever under way at once, at most `capacity`.
// Invariants: P1 `done` of an operation runs at most once.
//             P2 a place is reused only after Release.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "node/data_service.h"

namespace tenure::node {

// A write to rows as the client sent it.
struct RowRequest {
  bool transaction = false;
  std::vector<store::Arguments> commands;
  std::vector<store::WatchedKey> watches;
  // Of the tables that it touches, as they were when it was checked.
  std::vector<std::pair<uint64_t, uint64_t>> versions;
};

class PendingOperations {
 public:
  struct Handle {
    uint32_t place = 0;
    uint32_t generation = 0;
  };
  enum class Kind : uint8_t {
    kWrite,           // answered with the reply of the log
    kRead,            // answered from the state
    kReadThroughLog,  // a read that must see a write under way: its reply is the one element of the log's
                      // reply
    kVersion,         // answered with the key's version
  };
  struct Operation {
    Callback<Outcome> done;  // empty once it was answered
    Instant deadline;
    DatabaseId database;
    RegionId region;
    uint16_t slot = 0;   // where its keys lie
    uint16_t asked = 0;  // the slot that the client knows for it: another one for rows of a renamed table
    Kind kind = Kind::kWrite;
    bool proposed = false;                        // its outcome is in the hands of the log
    std::unique_ptr<RowRequest> again = nullptr;  // a write to rows that may be checked once more
  };

  explicit PendingOperations(size_t capacity) : capacity_(capacity) {}
  PendingOperations(const PendingOperations&) = delete;
  PendingOperations& operator=(const PendingOperations&) = delete;

  bool full() const { return size_ >= capacity_; }
  size_t size() const { return size_; }
  Handle Add(Operation operation);
  // Null if it was released.
  Operation* Find(Handle handle);
  // The operation is over: its place may be used again. Returns what it was.
  Operation Release(Handle handle);

  // The oldest operation if it is due at `now` and not answered: it leaves the order of deadlines. It stays
  // in its place until Release, since its proposal may still be under way.
  bool TakeExpired(Instant now, Handle* handle);
  // True if some operation waits for its deadline.
  bool HasDeadlines() const { return oldest_ != kNone; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Place {
    Operation operation;
    uint32_t generation = 1;
    bool used = false;
    bool linked = false;
    uint32_t older = kNone;
    uint32_t newer = kNone;
  };
  void Unlink(uint32_t place);

  const size_t capacity_;
  size_t size_ = 0;
  std::vector<Place> places_;
  std::vector<uint32_t> free_;
  uint32_t oldest_ = kNone;
  uint32_t newest_ = kNone;
};

}  // namespace tenure::node
