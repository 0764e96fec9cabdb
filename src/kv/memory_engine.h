// The engine of simulator and tests: a map in memory with RocksDB's durability. The content lives in a
// MemoryStore, which outlives the engine as a disk outlives a process.
//
// What it deliberately does not do: flush by itself, or fail.
//
// Threading: as kv/kv.h says (a mutex around every operation).
// Durability: Crash() leaves the state after some write between the last finished Flush and the last Write.
// Invariants: V1 a snapshot's content never changes. V2 Crash never keeps a batch in part, nor a later one
//             without an earlier one.
#pragma once

#include <memory>

#include "base/prng.h"
#include "kv/kv.h"
#include "runtime/executor.h"

namespace tenure::kv {

// Cost: snapshots O(1); a key keeps the versions that a snapshot can still see. Crash is paid for by
// remembering the previous values of what was written since the last finished flush.
class MemoryStore {
 public:
  MemoryStore();
  ~MemoryStore();
  MemoryStore(const MemoryStore&) = delete;
  MemoryStore& operator=(const MemoryStore&) = delete;

  // The process died: forgets a random number of the latest unflushed batches. No engine or snapshot may be
  // open.
  void Crash(Prng& prng);
  // The process stopped in order, as RocksDB does when it is closed: everything becomes durable.
  void FlushAll();
  // Batches that a crash may lose.
  size_t unflushed_batches() const;
  // That have finished.
  uint64_t flushes() const;

 private:
  friend class MemoryEngine;
  class Impl;
  std::shared_ptr<Impl> impl_;
};

struct MemoryEngineOptions {
  Duration flush_delay = std::chrono::milliseconds(5);
};

// At most one per store at a time.
class MemoryEngine : public Engine {
 public:
  // `done` of Flush runs on `executor`, flush_delay later; destroying the engine drops pending ones.
  MemoryEngine(std::shared_ptr<MemoryStore> store, runtime::Executor& executor,
               MemoryEngineOptions options = {});
  ~MemoryEngine() override;

  std::optional<std::string> Get(std::string_view key) const override;
  std::unique_ptr<Iterator> NewIterator(std::string_view lower, std::string_view upper) const override;
  void Write(Batch batch) override;
  std::unique_ptr<Reader> NewSnapshot() const override;
  void Flush(Callback<Status> done) override;
  uint64_t ApproximateBytes(std::string_view lower, std::string_view upper) const override;
  uint64_t UnflushedBytes() const override;

 private:
  struct Pending;
  std::shared_ptr<MemoryStore> store_;
  runtime::Executor& executor_;
  MemoryEngineOptions options_;
  std::shared_ptr<Pending> pending_;
};

}  // namespace tenure::kv
