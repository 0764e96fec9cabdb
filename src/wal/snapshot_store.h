// Snapshots' files: the content a leader streams to a replica, or an operator keeps. What the content is
// (keys and values of a group) is the caller's matter; the store sees bytes.
//
//   <directory>/<group>-<index>-<term>.snap         complete, checked, durable under that name
//   <directory>/<group>-<index>-<term>.snap.part    being received; Open of a writer goes on where it ends
//
// Format (docs/wal-format.md): content, then a trailer with group, mark, sizes and checksum; so a writer
// appends only and the name alone says that it is whole.
//
// Threading: the executor of the Disk. Blocks on the disk (SyncNow): for background executors.
// Errors:    DATA_LOSS names file and offset; a bad .part is dropped and begun again.
// Durability: Finish returns when content and name are durable; a crash at any point leaves the old or the
//             new state.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/log.h"
#include "base/status.h"
#include "raft/types.h"
#include "runtime/disk.h"

namespace tenure::wal {

struct SnapshotId {
  GroupId group;
  LogIndex index;
  Term term;
  friend auto operator<=>(const SnapshotId&, const SnapshotId&) = default;
};

struct SnapshotMeta {
  GroupId group;
  raft::SnapshotMark mark;
  uint64_t content_bytes = 0;
  uint64_t checksum = 0;  // XXH3-64 of the content
  SnapshotId id() const { return {group, mark.index, mark.term}; }
  friend bool operator==(const SnapshotMeta&, const SnapshotMeta&) = default;
};

class SnapshotWriter {
 public:
  virtual ~SnapshotWriter() = default;
  // Where the next chunk goes; not 0 if a .part was there.
  virtual uint64_t offset() const = 0;
  virtual Status Append(std::string_view chunk) = 0;
  // Complete: writes the trailer, syncs, renames. With `expected` (the sender's meta) sizes and checksum are
  // compared first; on a mismatch DATA_LOSS, and the .part is gone. Nothing may follow.
  virtual StatusOr<SnapshotMeta> Finish(const raft::SnapshotMark& mark, const SnapshotMeta* expected) = 0;
  // Gives up: removes the .part. Destruction without it keeps the .part for a resumed transfer.
  virtual void Discard() = 0;
};

class SnapshotReader {
 public:
  virtual ~SnapshotReader() = default;
  virtual const SnapshotMeta& meta() const = 0;
  // Up to `size` bytes of the content at `offset`; empty at its end.
  virtual StatusOr<std::string> Read(uint64_t offset, size_t size) const = 0;
  // Reads everything and compares the checksum.
  virtual Status Verify() const = 0;
};

class SnapshotStore {
 public:
  // Makes the directory.
  static StatusOr<std::unique_ptr<SnapshotStore>> Open(runtime::Disk& disk, std::string directory,
                                                       Logger logger = {});

  // `resume`: keep what is there of the same snapshot; else begin anew. A crash may have left holes in what
  // is kept, so Finish then needs the sender's meta to compare with.
  StatusOr<std::unique_ptr<SnapshotWriter>> NewWriter(const SnapshotId& id, bool resume);
  StatusOr<std::unique_ptr<SnapshotReader>> NewReader(const SnapshotId& id) const;
  // Complete ones, in order of (group, index, term).
  StatusOr<std::vector<SnapshotId>> List() const;
  // The same of incomplete ones.
  StatusOr<std::vector<SnapshotId>> ListPartial() const;
  // Bytes received of an incomplete one; 0 if there is none.
  uint64_t PartialBytes(const SnapshotId& id) const;
  // Removes it, complete or not; fine if it is not there.
  Status Remove(const SnapshotId& id);
  // What is there of it in part; fine if there is nothing.
  Status RemovePartial(const SnapshotId& id);
  // Removes every snapshot of the group, also incomplete ones.
  Status RemoveGroup(GroupId group);

 private:
  SnapshotStore(runtime::Disk& disk, std::string directory, Logger logger)
      : disk_(disk), directory_(std::move(directory)), logger_(std::move(logger)) {}
  std::string PathOf(const SnapshotId& id) const;
  StatusOr<std::vector<SnapshotId>> ListNamed(bool partial) const;
  Status RemoveFile(const std::string& path);

  runtime::Disk& disk_;
  std::string directory_;
  Logger logger_;
};

}  // namespace tenure::wal
