// An ordered map from byte strings to byte strings with atomic batches: the state of every group of a process
// lives in one, under the group's prefix. RocksDB in a daemon (kv/rocksdb), an in-memory map with RocksDB's
// durability in the simulator (kv/memory_engine.h).
//
// Durability: none on Write. What was written before a Flush began is durable when that Flush has succeeded;
//             after a crash the content is that of some point between the last finished Flush and the last
//             Write, never a part of a batch, never a later batch without an earlier one. The Raft log is the
//             log.
// Threading:  Engine and snapshots: any thread. Iterators and batches: one owner. An engine's iterator
//             shows the state at its creation, whatever is written meanwhile.
// Errors:     state that cannot be read or written cannot be trusted: an I/O or corruption error is
//             reported to the engine's fatal handler, which ends the process. Reads therefore have no error
//             result.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/function.h"
#include "base/status.h"

namespace tenure::kv {

// Bytewise order, over the bounds it was made with. `key()` and `value()` are valid until the next move.
class Iterator {
 public:
  virtual ~Iterator() = default;
  virtual void Seek(std::string_view key) = 0;  // first entry at or after `key`
  virtual bool Valid() const = 0;
  virtual void Next() = 0;
  virtual std::string_view key() const = 0;
  virtual std::string_view value() const = 0;
};

class Reader {
 public:
  virtual ~Reader() = default;
  virtual std::optional<std::string> Get(std::string_view key) const = 0;
  // The keys will be read soon: what reading them would have to wait for may be fetched meanwhile.
  virtual void Prefetch(std::span<const std::string> keys) const { (void)keys; }
  // Over [lower, upper); empty `upper` means no bound. Starts at `lower`.
  virtual std::unique_ptr<Iterator> NewIterator(std::string_view lower, std::string_view upper) const = 0;
};

// What a state machine sees while it applies: reads find its own writes.
class View : public Reader {
 public:
  virtual void Put(std::string_view key, std::string_view value) = 0;
  virtual void Delete(std::string_view key) = 0;
  // [lower, upper); empty `upper` means no bound.
  virtual void DeleteRange(std::string_view lower, std::string_view upper) = 0;
};

struct Operation {
  enum class Kind : uint8_t { kPut, kDelete, kDeleteRange };
  Kind kind;
  std::string key;    // kDeleteRange: lower bound
  std::string value;  // kDeleteRange: upper bound, empty means none
};

// Applied in order, atomically.
struct Batch {
  std::vector<Operation> operations;
  size_t bytes = 0;
  void Put(std::string key, std::string value);
  void Delete(std::string key);
  void DeleteRange(std::string lower, std::string upper);
  bool empty() const { return operations.empty(); }
};

// What is to become of a key: its value, or nothing. Views of bytes that whoever writes keeps.
struct SortedWrite {
  std::string_view key;
  std::optional<std::string_view> value;
};

class Engine : public Reader {
 public:
  virtual void Write(Batch batch) = 0;
  // As Write, of many keys in order, each once: an engine may have a cheaper way. May wait for the disk.
  virtual void WriteSorted(std::span<const SortedWrite> writes);
  // A consistent, immutable view of now. Must not outlive the engine.
  virtual std::unique_ptr<Reader> NewSnapshot() const = 0;
  // `done` runs on the executor the engine was opened with.
  virtual void Flush(Callback<Status> done) = 0;
  // Estimates for people and for scheduling.
  virtual uint64_t ApproximateBytes(std::string_view lower, std::string_view upper) const = 0;
  virtual uint64_t UnflushedBytes() const = 0;
};

// The smallest string greater than every string that starts with `prefix`; empty if there is none.
std::string PrefixEnd(std::string_view prefix);

// The part of a reader under `prefix`, with keys as if the prefix were not there.
class PrefixReader : public Reader {
 public:
  PrefixReader(const Reader& base, std::string prefix) : base_(base), prefix_(std::move(prefix)) {}
  std::optional<std::string> Get(std::string_view key) const override;
  void Prefetch(std::span<const std::string> keys) const override;
  std::unique_ptr<Iterator> NewIterator(std::string_view lower, std::string_view upper) const override;

 private:
  const Reader& base_;
  std::string prefix_;
};

// A View over a reader: collects writes under `prefix` (added to every key) and shows them to its own reads.
// Iterators see writes made after their creation from the next move on; a write to the key an iterator stands
// on invalidates its `value()` until then.
class Overlay : public View {
 public:
  // `base` (keys with the prefix) must outlive this.
  Overlay(const Reader& base, std::string prefix);
  ~Overlay() override;
  std::optional<std::string> Get(std::string_view key) const override;
  void Prefetch(std::span<const std::string> keys) const override;
  std::unique_ptr<Iterator> NewIterator(std::string_view lower, std::string_view upper) const override;
  void Put(std::string_view key, std::string_view value) override;
  void Delete(std::string_view key) override;
  void DeleteRange(std::string_view lower, std::string_view upper) override;
  // The writes so far, with prefixed keys: ranges first, then single keys in order. Leaves the overlay empty.
  Batch TakeBatch();
  size_t bytes() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenure::kv
