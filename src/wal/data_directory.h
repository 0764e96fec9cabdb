// Who a data directory belongs to. A directory has one owner at a time (a lock that dies with the process)
// and an identity that is written once, at creation, and changed only deliberately.
//
//   DIR/lock        locked while a process owns the directory
//   DIR/identity    text, `key = value` lines and a checksum (docs/wal-format.md)
//   DIR/wal/        the write-ahead log        DIR/snapshots/  the snapshot store
//   DIR/kv/      the key-value engine
//
// Threading: start-up; blocks on the disk.
// Errors: NOT_FOUND: no identity there, the directory was never initialised. FAILED_PRECONDITION: locked,
//         another cluster's, another process's, or a newer format; the message says which and what to do.
//         DATA_LOSS: the identity file is damaged.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/status.h"
#include "runtime/disk.h"

namespace tenure::wal {

inline constexpr uint32_t kDataFormat = 1;

// Strings are one line each, except initial_members, and may hold anything printable.
struct Identity {
  uint32_t format = kDataFormat;
  std::string cluster_id;
  uint64_t incarnation = 1;     // of the cluster; rises with `tenure recover`
  ControllerId controller_id;   // none if this process is no controller
  std::string controller_uuid;  // of this directory as a controller's; empty: none was drawn yet
  std::string node_uuid;        // empty if this process is no data node
  std::string name;             // what people call it
  std::string initial_members;  // of group 0 as it was created, for the record
  // Where controllers were when the catalog was last looked at, "1=HOST:PORT,...": what is applied may be
  // lost in a crash and comes back only when the others are found.
  std::string controllers;
  std::string history;  // what recoveries did, one line each
  // A recovery that was begun and perhaps not finished (recovery/intent.h); empty if there is none.
  std::string pending;
  friend bool operator==(const Identity&, const Identity&) = default;
};

// Identity::controllers, taken apart and put together; what cannot be read of it is left out.
std::map<uint64_t, std::string> ControllersOf(const Identity& identity);
std::string EncodeControllers(const std::map<uint64_t, std::string>& controllers);

std::string EncodeIdentity(const Identity& identity);
StatusOr<Identity> DecodeIdentity(std::string_view text);

class DataDirectory {
 public:
  // Makes `path` and its identity, durably, and locks it. FAILED_PRECONDITION if it has an identity already,
  // DATA_LOSS if it has a log and no identity.
  static StatusOr<std::unique_ptr<DataDirectory>> Create(runtime::Disk& disk, const std::string& path,
                                                         const Identity& identity);
  // Locks and reads.
  static StatusOr<std::unique_ptr<DataDirectory>> Open(runtime::Disk& disk, const std::string& path);
  // Reads without locking, for inspection.
  static StatusOr<Identity> Peek(runtime::Disk& disk, const std::string& path);
  static bool IsInitialised(runtime::Disk& disk, const std::string& path);

  // Refuses a directory whose log must not be opened as it is: a repair did not get to its end, or the log is
  // missing though the process was part of a cluster. (An empty log there would be that of a process that
  // never voted.)
  Status CheckLog() const;
  // Refuses the directory of another cluster, of another process of it, or of another incarnation. Fields
  // that are none or empty in `expected` are not compared; incarnation is compared unless it is 0.
  Status Expect(const Identity& expected) const;
  // Replaces the identity durably and atomically.
  Status Update(const Identity& identity);
  // The same for one of a higher incarnation. The node's copy of the catalog goes first: it may hold what the
  // recovered catalog has never heard of, under revisions that come again.
  Status EnterIncarnation(const Identity& identity);

  const Identity& identity() const { return identity_; }
  const std::string& path() const { return path_; }
  std::string log_path() const { return path_ + "/wal"; }
  std::string state_path() const { return path_ + "/kv"; }
  std::string view_path() const { return path_ + "/catalog-view"; }
  std::string snapshots_path() const { return path_ + "/snapshots"; }

 private:
  DataDirectory(runtime::Disk& disk, std::string path) : disk_(disk), path_(std::move(path)) {}
  StatusOr<bool> HasLog() const;
  static StatusOr<std::unique_ptr<DataDirectory>> LockedAt(runtime::Disk& disk, const std::string& path);

  runtime::Disk& disk_;
  std::string path_;
  std::unique_ptr<runtime::FileLock> lock_;
  Identity identity_;
};

}  // namespace tenure::wal
