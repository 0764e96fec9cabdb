// A disk for the log's tests: files in memory that remember what was synced. A power loss keeps any subset of
// the unsynced sectors and names; the n-th operation can be made the last one of the process.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/prng.h"
#include "runtime/disk.h"
#include "runtime/executor.h"

namespace tenure::wal {

// What outlives a process.
class FakeStorage {
 public:
  struct Inode {
    std::string durable;
    std::string cached;
    std::set<uint64_t> dirty;  // sectors written since the last sync
  };
  struct NameChange {
    std::string removed;
    std::string added;
    std::shared_ptr<Inode> inode;
  };

  explicit FakeStorage(uint64_t seed) : prng_(seed) {}

  // The process is gone. With `power_loss` the cache is gone too.
  void Crash(bool power_loss);
  std::map<std::string, std::shared_ptr<Inode>>& names() { return names_; }
  std::string& ContentOf(const std::string& path) { return names_.at(path)->cached; }
  // Makes every file's cache and durable content the same (tests that damage files use it).
  void Settle();
  uint64_t used_bytes() const;

  // --- faults ---
  std::optional<uint64_t> operations_left;  // then the process is dead
  bool dead = false;
  uint64_t capacity = uint64_t{1} << 40;
  int fail_syncs = 0;  // the next ones fail; -1: all
  int fail_writes = 0;
  uint64_t operations = 0;
  uint64_t syncs = 0;
  uint64_t writes = 0;

 private:
  friend class FakeDisk;
  friend class FakeFile;
  void ChangeName(NameChange change);
  void SyncNames(const std::string& directory);
  void Sync(Inode& inode);
  void Tear(Inode& inode);
  // Counts an operation. False: the process does not live to see it.
  bool Live();

  Prng prng_;
  std::map<std::string, std::shared_ptr<Inode>> names_;
  std::map<std::string, std::shared_ptr<Inode>> durable_names_;
  std::vector<NameChange> name_changes_;
};

class FakeDisk : public runtime::Disk {
 public:
  // Syncs complete on `executor` after `sync_delay` (posted if zero).
  FakeDisk(FakeStorage& storage, runtime::Executor& executor, Duration sync_delay = {})
      : storage_(storage), executor_(executor), sync_delay_(sync_delay) {}

  StatusOr<std::unique_ptr<runtime::File>> Open(const std::string& path, runtime::OpenMode mode) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Remove(const std::string& path) override;
  Status MakeDirectories(const std::string&) override { return OkStatus(); }
  bool Exists(const std::string& path) override { return storage_.names_.contains(path); }
  StatusOr<std::vector<std::string>> List(const std::string& path) override;
  Status SyncDirectory(const std::string& path) override;
  StatusOr<std::unique_ptr<runtime::FileLock>> Lock(const std::string& path) override;
  StatusOr<uint64_t> FreeBytes(const std::string&) override;

 private:
  friend class FakeFile;
  FakeStorage& storage_;
  runtime::Executor& executor_;
  Duration sync_delay_;
  std::set<std::string> locks_;
  std::vector<runtime::Timer> timers_;
};

}  // namespace tenure::wal
