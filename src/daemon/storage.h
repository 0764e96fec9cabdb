// What a process keeps on disk: its data directory with identity, log, engine and snapshots.
//
// Errors:   Open refuses a directory that is locked, another cluster's, another process's, damaged or of a
//           newer format; the message says which. After Open the first I/O error of log or engine goes to
//           `on_failure`, once, from any thread: the process must end.
// Threading: Open and Close from the main thread; UpdateIdentity any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/log.h"
#include "base/prng.h"
#include "daemon/config.h"
#include "daemon/threads.h"
#include "kv/rocksdb/rocksdb_engine.h"
#include "runtime/real/real_disk.h"
#include "wal/data_directory.h"
#include "wal/snapshot_store.h"
#include "wal/wal.h"

namespace tenure::daemon {

class Storage {
 public:
  static StatusOr<std::unique_ptr<Storage>> Open(const Config& config, Threads& threads, Prng prng,
                                                 Logger logger, std::function<void(Status)> on_failure);
  // Marks the log clean; for the end of a clean stop. Then nothing may be written any more.
  void Close(Duration limit);

  wal::Identity identity() const;
  // This process was never part of a cluster, nor of the forming of one.
  bool fresh() const { return fresh_; }
  // The controller of this directory was removed from its cluster: only its node may run.
  bool retired() const { return retired_; }
  // Where the controllers were last, by id; durable on return.
  std::map<uint64_t, std::string> controllers() const;
  Status RememberControllers(const std::map<uint64_t, std::string>& controllers);
  // Durable on return. Refused if the directory belongs to another cluster already (WRONG_CLUSTER), or is
  // that of a controller that a recovery has left behind (STALE_INCARNATION): a node follows its cluster into
  // a higher incarnation, a controller only by `tenure recover`.
  Status AdoptCluster(const std::string& cluster_id, uint64_t incarnation);

  // What a controller is told whose cluster has gone on without it.
  Status LeftBehind(const wal::Identity& identity, uint64_t incarnation) const;

  wal::Wal& wal() { return *wal_; }
  kv::RocksEngine& engine() { return *engine_; }
  wal::SnapshotStore& snapshots() { return *snapshots_; }
  runtime::Disk& background_disk() { return background_disk_; }
  std::string view_path() const { return directory_->view_path(); }
  const std::string& path() const { return directory_->path(); }

 private:
  explicit Storage(Threads& threads)
      : threads_(threads), wal_disk_(threads.wal), background_disk_(threads.background) {}
  Status OpenDirectory(const Config& config, Prng prng);
  Status CheckIdentity(const Config& config, Prng& prng);
  Status CheckRetired(const Config& config);

  Threads& threads_;
  runtime::RealDisk wal_disk_;
  runtime::RealDisk background_disk_;
  mutable std::mutex mutex_;  // the identity
  std::unique_ptr<wal::DataDirectory> directory_;
  bool fresh_ = false;
  bool retired_ = false;
  std::unique_ptr<wal::Wal> wal_;
  std::unique_ptr<kv::RocksEngine> engine_;
  std::unique_ptr<wal::SnapshotStore> snapshots_;
};

// What the log and the engine write before anything else when they open. RocksDB aborts the process where it cannot.
inline constexpr uint64_t kLeastFreeBytes = 4 << 20;
// RESOURCE_EXHAUSTED naming both numbers if the disk of `path` has less.
Status CheckRoom(const std::string& path, const StatusOr<uint64_t>& free_bytes);

// A random (version 4) uuid as text.
std::string MakeUuid(Prng& prng);

}  // namespace tenure::daemon
