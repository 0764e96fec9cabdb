// A simulated machine's disk. It outlives the processes that use it; each process (and executor) gets its own
// runtime::Disk view, which dies with the process.
//
// What a crash leaves follows the contract of runtime/disk.h and nothing kinder:
//  - Crash(kProcess): the page cache survives; everything stays as the process last saw it, still not
//  durable.
//  - Crash(kPower): per file, of everything not yet synced any subset is kept - nothing, all, a prefix, or an
//    arbitrary choice of 512-byte sectors (so writes are torn and reordered, and a file may have grown over
//    data that never arrived, which then reads as zeros); of names not yet made durable by SyncDirectory, any
//    subset.
//  - a failed sync leaves such a subset on the disk and forgets the rest: a later sync does not write it.
//
// Simplifications: directories themselves are durable at once; a rename across directories belongs to its
// target's. Faults are methods: they act from now on, until changed. Latencies are drawn from the seed.
//
// Threading:  one thread.
// Invariants: D1 what was written before a sync that succeeded is never lost, except by FlipBit.
//             D2 a dead process's view changes nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "runtime/disk.h"
#include "sim/sim_executor.h"

namespace tenure::sim {

struct SimDiskOptions {
  uint64_t capacity = uint64_t{1} << 40;
  Duration min_sync = std::chrono::microseconds(90);
  Duration max_sync = std::chrono::microseconds(400);
  uint32_t stalls_per_million = 0;  // syncs that take a stall instead
  Duration min_stall = std::chrono::milliseconds(50);
  Duration max_stall = std::chrono::milliseconds(160);
};

enum class CrashKind { kProcess, kPower };

class SimDisk {
 public:
  SimDisk(Scheduler& world, std::string name, Prng prng, SimDiskOptions options = {});
  ~SimDisk();
  SimDisk(const SimDisk&) = delete;
  SimDisk& operator=(const SimDisk&) = delete;

  // A view for one executor of a process; both outlive it.
  std::unique_ptr<runtime::Disk> MakeView(SimProcess& process, SimExecutor& executor);

  // The process that used this disk died, or the machine lost power: after SimProcess::Kill, before a new
  // process.
  void Crash(CrashKind kind);
  // A new, empty disk stands in for this one; after Crash.
  void Replace();

  // --- faults ---
  void set_options(SimDiskOptions options) { options_ = options; }
  const SimDiskOptions& options() const { return options_; }
  // While hung, syncs that end find no end; what was waiting goes on after Release.
  void HangSyncs() { hung_ = true; }
  void ReleaseSyncs();
  // The next `count` syncs / writes (of files whose path contains `part`) fail with INTERNAL.
  void FailSyncs(int count, std::string part = "");
  void FailWrites(int count, std::string part = "");
  // The next `count` removals of files whose path contains `part` fail with INTERNAL.
  void FailRemovals(int count, std::string part = "");
  // Operations that failed since this was asked last: whether the disk is to blame.
  uint64_t TakeFailures() { return std::exchange(failures_, 0); }
  // Flips one bit at rest, in what was synced and in what is cached. False if the file is not that long.
  bool FlipBit(const std::string& path, uint64_t byte, unsigned bit);
  // Flips a random bit of a random non-empty file whose path contains `part`: the place, or nullopt if none
  // is.
  std::optional<std::pair<std::string, uint64_t>> FlipRandomBit(std::string_view part);

  // Called after every change (operation, path): a place for the world to crash the process.
  using Boundary = std::function<void(std::string_view operation, const std::string& path)>;
  void set_boundary(Boundary boundary) { boundary_ = std::move(boundary); }

  // --- for checkers ---
  uint64_t used_bytes() const;
  std::vector<std::string> Paths() const;
  std::optional<std::string> Content(const std::string& path) const;
  // What would be there if power was lost now and nothing unsynced survived.
  std::optional<std::string> DurableContent(const std::string& path) const;
  uint64_t syncs() const { return syncs_; }
  // Of all power losses: files of which something was not synced.
  uint64_t torn_files() const { return torn_files_; }

 private:
  friend class SimDiskView;
  friend class SimFile;

  struct Change {  // a write, or a truncation if `size` is set
    uint64_t offset = 0;
    std::string bytes;
    std::optional<uint64_t> size;
    uint64_t sequence = 0;
  };
  struct Inode {
    std::string durable;
    std::string current;
    std::vector<Change> unsynced;
  };
  struct NameChange {
    std::string directory;
    std::string removed;  // name that goes; empty if none
    std::string added;    // name that comes; empty if none
    std::shared_ptr<Inode> inode;
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>>;

  static void Apply(const Change& change, std::string& content);
  static void Apply(const NameChange& change, Names& names);
  void AddChange(Inode& inode, Change change);
  // Makes durable what of `inode` was changed before `sequence`.
  static void Settle(Inode& inode, uint64_t sequence);
  // Keeps a random subset of the unsynced changes.
  void Tear(Inode& inode);
  void ChangeName(NameChange change);
  void SyncNames(const std::string& directory);
  Duration DrawSyncTime();
  bool TakeFailure(int& count, const std::string& part, const std::string& path);
  void AtBoundary(std::string_view operation, const std::string& path);

  Scheduler& world_;
  const std::string name_;
  const Scheduler::Label sync_label_;
  Prng prng_;
  SimDiskOptions options_;
  Boundary boundary_;
  Names names_;
  Names durable_names_;
  std::vector<NameChange> unsynced_names_;
  std::set<std::string> directories_;
  std::map<std::string, std::string> locks_;  // path -> process
  uint64_t next_sequence_ = 1;
  uint64_t syncs_ = 0;
  uint64_t failures_ = 0;
  uint64_t torn_files_ = 0;
  bool hung_ = false;
  std::vector<Closure> hanging_;
  int failing_syncs_ = 0;
  std::string failing_syncs_part_;
  int failing_removals_ = 0;
  std::string failing_removals_part_;
  int failing_writes_ = 0;
  std::string failing_writes_part_;
};

}  // namespace tenure::sim
