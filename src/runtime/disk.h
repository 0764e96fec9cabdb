// Files, reduced to what a log and a snapshot store need, with the durability rules stated: what was written
// is lost in a crash, in whole or in part and in any order, until a Sync that began after it has succeeded; a
// created, renamed or removed name is lost until SyncDirectory of its directory has succeeded.
//
// Threading: a Disk and its files belong to the executor they were made for; completions run there.
// Errors: a failed Write, Sync or Truncate leaves the file's content unspecified; callers must not retry Sync
//         and must treat the file as lost (what a second fsync reports is not the truth).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/function.h"
#include "base/status.h"

namespace tenure::runtime {

class File {
 public:
  virtual ~File() = default;
  // Reads up to `size` bytes at `offset`; fewer only at the end of the file.
  virtual StatusOr<std::string> Read(uint64_t offset, size_t size) const = 0;
  // A buffered write (but see PreferDirectWrites); extends the file if needed. ENOSPC is RESOURCE_EXHAUSTED.
  virtual Status Write(uint64_t offset, std::string_view bytes) = 0;
  // Makes durable what was written before this call. `done` runs exactly once, later, on the executor; real
  // files may block the executor until the device answers, so a log has an executor of its own.
  virtual void Sync(Callback<Status> done) = 0;
  // The same, waiting for it: for start-up, rare metadata, and executors that do nothing else.
  virtual Status SyncNow() = 0;
  virtual Status Truncate(uint64_t size) = 0;
  virtual StatusOr<uint64_t> Size() const = 0;
  // For files that are written once and hardly read: from now on writes of whole sectors (offset and size
  // multiples of 512) may pass by the page cache and then, as Sync, block the executor until the device has
  // them. A hint; what is durable when stays as above.
  virtual void PreferDirectWrites() {}
};

// Held while the process owns a directory; released by destruction or by the death of the process.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

// kCreate: read-write, made empty if absent. kCreateNew: the same, ALREADY_EXISTS if it is there; of several
// who try at once, in whatever processes, one succeeds.
enum class OpenMode { kReadOnly, kReadWrite, kCreate, kCreateNew };

class Disk {
 public:
  virtual ~Disk() = default;
  virtual StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) = 0;
  // Atomic replacement of `to`; a directory, with what is in it, only to a name that is free.
  virtual Status Rename(const std::string& from, const std::string& to) = 0;
  virtual Status Remove(const std::string& path) = 0;
  virtual Status MakeDirectories(const std::string& path) = 0;
  virtual bool Exists(const std::string& path) = 0;
  // Names of the files directly in `path`, sorted; without sub-directories.
  virtual StatusOr<std::vector<std::string>> List(const std::string& path) = 0;
  virtual Status SyncDirectory(const std::string& path) = 0;
  // FAILED_PRECONDITION naming the owner's pid where known, if another process holds it.
  virtual StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) = 0;
  virtual StatusOr<uint64_t> FreeBytes(const std::string& path) = 0;
};

// Reads a whole file; NOT_FOUND names the path.
StatusOr<std::string> ReadWholeFile(Disk& disk, const std::string& path);
// Replaces `path` atomically and durably: temporary file, sync, rename, directory sync.
Status WriteWholeFile(Disk& disk, const std::string& path, std::string_view content);

}  // namespace tenure::runtime
