// kv::Engine over RocksDB: one column family, no RocksDB log (the Raft log is the log), flushes as RocksDB
// sees fit or when asked. RocksDB does its own file I/O; nothing above sees a RocksDB type.
//
// Threading: any thread. Flush blocks a closure of the background executor and answers on the reply executor.
// Lifetime:  both executors outlive the engine. The destructor waits for background work and, unless told
//            otherwise, flushes. Iterators and snapshots must not outlive the engine.
// Errors:    the first I/O or corruption error goes to the fatal handler, once, from any thread; the
//            handler has to end the process: what is answered after it says nothing about what is stored.
// Durability: kv/kv.h. RocksDB finishes memtables in the order they were filled, so what a crash leaves is a
//            prefix of the writes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kv/kv.h"
#include "runtime/executor.h"

namespace tenure::kv {

// Sized for several processes on one machine.
struct RocksOptions {
  size_t write_buffer_bytes = size_t{64} << 20;  // one memtable
  int max_write_buffers = 3;
  size_t block_cache_bytes = size_t{64} << 20;  // index and filter blocks included
  int max_open_files = 512;
  int background_threads = 2;
  bool flush_on_close = true;  // false: closing is like a crash (tests)
  bool create_if_missing = true;
  bool read_only = false;  // for inspection; writes are a bug
};

struct RocksStats {
  uint64_t memtable_bytes = 0;
  uint64_t table_file_bytes = 0;
  uint64_t estimated_keys = 0;
  uint64_t block_cache_bytes = 0;
  uint64_t table_reader_bytes = 0;
  uint64_t pending_compaction_bytes = 0;
  uint64_t running_flushes = 0;
  uint64_t running_compactions = 0;
  bool write_stopped = false;
};

class RocksEngine : public Engine {
 public:
  virtual RocksStats Stats() const = 0;
  // Rewrites [lower, upper) without what was deleted; blocks. For background threads.
  virtual Status CompactRange(std::string_view lower, std::string_view upper) = 0;
};

// `on_fatal` gets the first error that makes the content untrustworthy.
StatusOr<std::unique_ptr<RocksEngine>> OpenRocksEngine(const std::string& path, const RocksOptions& options,
                                                       runtime::Executor& background,
                                                       runtime::Executor& reply, Callback<Status> on_fatal);

}  // namespace tenure::kv
