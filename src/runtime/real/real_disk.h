// Files of the operating system. Reads and writes go through the page cache, direct writes past it where the
// file system has O_DIRECT and sectors have 512 bytes. Sync is fdatasync in the calling thread (its completion
// is posted), names are made durable by SyncDirectory.
//
// Threading: one executor per RealDisk; a log gives it an executor of its own, since fdatasync blocks.
// Errors:    name the operation, the path and the system's text. ENOENT is NOT_FOUND, EEXIST ALREADY_EXISTS,
//            ENOSPC and EDQUOT are RESOURCE_EXHAUSTED, EACCES, EPERM and EROFS PERMISSION_DENIED, anything
//            else INTERNAL.
// Locks:     flock on a file that holds the owner's pid as text; the file stays when the lock goes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/disk.h"
#include "runtime/executor.h"

namespace tenure::runtime {

class DirectBuffer;

class RealDisk final : public Disk {
 public:
  // `executor` runs the completions of Sync and must outlive the disk and its files.
  explicit RealDisk(Executor& executor);

  StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Remove(const std::string& path) override;
  Status MakeDirectories(const std::string& path) override;
  bool Exists(const std::string& path) override;
  StatusOr<std::vector<std::string>> List(const std::string& path) override;
  Status SyncDirectory(const std::string& path) override;
  StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
  // For a look from outside: shares the lock with other readers, makes and writes no file. Null if there is
  // no lock file (nobody ever owned the directory). FAILED_PRECONDITION naming the owner while one holds it.
  StatusOr<std::unique_ptr<FileLock>> LockForReading(const std::string& path);
  StatusOr<uint64_t> FreeBytes(const std::string& path) override;

 private:
  Executor& executor_;
  const std::shared_ptr<DirectBuffer> buffer_;  // shared by the files
};

}  // namespace tenure::runtime
