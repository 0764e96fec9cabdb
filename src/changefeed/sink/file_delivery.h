// Messages as lines of files in one directory.
//
//   <changefeed>-<dispatcher>-<epoch>-<number>.<json|csv>        closed: never written again
//   ...the same with ".part"                                     being written; what was flushed is durable
//   in it <changefeed>-<dispatcher>.index                              one JSON object per closed file, in
//   order
//
// Epoch and number have leading zeroes, so that names sort. A file is made by exclusive create under the
// writer's epoch: a writer of another epoch never shares one. A new writer first closes what earlier writers
// left open, cut after the last whole line, goes on behind the numbers of its own epoch, and refuses to begin
// when a file of a later epoch exists. Within an epoch there is one writer of a span at a time (M1).
//
// Threading:  one executor, a background one: everything waits for the disk.
// Durability: Deliver returns after fsync of the file, and of the directory for a new name. A line is whole
//             or absent.
// Errors:     a full disk is SINK_REJECTED, a foreign or later file FENCED_BY_SINK, what may not be touched
//             NOT_AUTHORIZED, the rest SINK_UNAVAILABLE.
// Invariants: F1 a file is in the index at most once, and before the next one is opened.
//             F2 a closed file ends with a whole line.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "changefeed/sink/background_sink.h"
#include "runtime/disk.h"

namespace tenure::changefeed {

struct FileDeliveryOptions {
  std::string directory;
  Protocol protocol = Protocol::kJson;
  uint64_t rotate_bytes = uint64_t{64} << 20;
};

class FileDelivery final : public BlockingDelivery {
 public:
  FileDelivery(runtime::Disk& disk, SinkIdentity identity, FileDeliveryOptions options);

  std::optional<FeedError> Open() override;
  // A header is the first line of the files from there on (CSV); another one than before begins a new file.
  std::optional<FeedError> Deliver(std::vector<Item>& batch) override;

 private:
  // The file that is open.
  struct Part {
    std::string name;  // without ".part"
    std::unique_ptr<runtime::File> file;
    uint64_t size = 0;
    uint64_t rows = 0;
    CommitTs first;
    CommitTs last;
    std::string text;  // to be written
    uint64_t end() const { return size + text.size(); }
  };

  std::string Prefix() const;
  std::string PathOf(const std::string& name) const { return options_.directory + "/" + name; }
  std::optional<FeedError> ErrorOf(const Status& status) const;
  Status CloseLeftovers();
  Status AddMissingToIndex(const std::vector<std::string>& names);
  Status OpenPart();
  Status SyncPart();
  Status ClosePart();
  Status AppendToIndex(const std::string& name, uint64_t rows, uint64_t bytes, CommitTs first, CommitTs last);
  Status Take(Item& item);

  runtime::Disk& disk_;
  const SinkIdentity identity_;
  const FileDeliveryOptions options_;
  std::string header_;
  uint64_t next_number_ = 1;
  Part part_;
};

}  // namespace tenure::changefeed
