// An engine in front of another that keeps the records read and written last in a hash table, and gathers
// writes there: a record that is written again and again, or read soon after, costs the engine below nothing.
// A sorted table costs a cache miss per level and access; with tens of thousands of applied entries a second
// that was half of a member's CPU time.
//
//   Write --> table (dirty) --spill: one batch, sorted--> engine below      Get <-- table <-- engine below
//
// A spill is written on `background` while the table goes on, one before a Flush too; whoever needs the engine
// below to be whole (an iterator over a kind of records that has dirty ones, a snapshot, a range) writes it
// himself if that has not begun, or waits for its end.
//
// Used by group::GroupHost, one per host, over the process's engine.
//
// Threading:  one executor; what it reads and writes (key prefixes) is read and written through it alone.
// Durability: as kv.h says. What is gathered goes down as one batch, so the engine below is always at a
//             moment between two Writes.
// Blocking:   as the engine below does; and, while a spill is written, for its end as said above. `home` knows
//             (Executor::SetMayBlock).
// Bounds:     `max_bytes` of records, and a quarter of it beyond those that are dirty or in a spill; dirty ones
//             spill at `max_dirty_bytes`, and once more of them have gathered while the last spill is being
//             written, Write waits for it. What is written anew while it is in a spill is there twice until
//             the executor has heard that the spill has been written.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kv/kv.h"
#include "runtime/executor.h"

namespace tenure::kv {

struct CachingOptions {
  size_t max_bytes = 128 << 20;
  size_t max_dirty_bytes = 32 << 20;
};

class CachingEngine : public Engine {
 public:
  // Runs on `home`. `base` must outlive this. Destruction forgets what has not spilled, as a crash would.
  CachingEngine(Engine& base, runtime::Executor& home, runtime::Executor& background, CachingOptions options);
  ~CachingEngine() override;

  std::optional<std::string> Get(std::string_view key) const override;
  void Prefetch(std::span<const std::string> keys) const override;
  std::unique_ptr<Iterator> NewIterator(std::string_view lower, std::string_view upper) const override;
  void Write(Batch batch) override;
  std::unique_ptr<Reader> NewSnapshot() const override;
  void Flush(Callback<Status> done) override;
  uint64_t ApproximateBytes(std::string_view lower, std::string_view upper) const override;
  // Written through this engine since its last Flush began, whatever the engine below has made durable since.
  uint64_t UnflushedBytes() const override;

  // Of records, with those that are there twice.
  size_t bytes() const;
  size_t dirty_bytes() const;

 private:
  class Table;
  struct Spill;
  void BeginSpill();
  template <class Write>
  void Send(Write write);
  void EndSpill() const;
  void Settle() const;
  void WriteThrough(Batch batch);
  void ForgetRange(std::string_view lower, std::string_view upper);

  Engine& base_;
  runtime::Executor& home_;
  runtime::Executor& background_;
  // What is cached is not part of the engine's content: a const Get may add to it.
  const std::unique_ptr<Table> table_;
  const std::shared_ptr<Spill> spill_;
  uint64_t unflushed_bytes_ = 0;  // written since the last Flush began
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::kv
