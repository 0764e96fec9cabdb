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
// Threading: one executor, a background one: creating, renaming and closing wait for the disk.
// Durability: OnFlushed comes after fsync of the file, and of the directory for a new name. A line is whole
// or absent. Errors: as Sink; a full disk is SINK_REJECTED, a foreign or later file FENCED_BY_SINK.
// Invariants: F1 a file is in the index at most once, and before the next one is opened. F2 a closed file
// ends with a
//             whole line.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "changefeed/sink/sink.h"
#include "runtime/disk.h"
#include "runtime/executor.h"

namespace tenure::changefeed {

struct FileSinkOptions {
  std::string directory;
  Protocol protocol = Protocol::kJson;
  uint64_t rotate_bytes = uint64_t{64} << 20;
  Duration flush = std::chrono::milliseconds(100);
};

class FileSink final : public Sink {
 public:
  FileSink(runtime::Executor& executor, runtime::Disk& disk, SinkObserver& observer, SinkIdentity identity,
           FileSinkOptions options, SinkLimits limits, WritePermit permit);
  ~FileSink() override;

  // Makes the directory ready; once, before Write.
  Status Open();
  // The first line of the files from now on (CSV); another one than before begins a new file.
  void SetHeader(std::string header) override;

  bool Write(uint64_t position, Message& message) override;
  void Flush() override;
  size_t buffered_bytes() const override { return buffered_bytes_; }

 private:
  struct Line {
    uint64_t position = 0;
    CommitTs commit_ts;
    std::string text;
    size_t bytes = 0;       // counted in buffered_bytes_
    bool new_file = false;  // begins a file, with this text as its first line; no message
  };
  // The file that is open.
  struct Part {
    std::string name;  // without ".part"
    std::unique_ptr<runtime::File> file;
    uint64_t size = 0;
    uint64_t rows = 0;
    CommitTs first;
    CommitTs last;
  };

  std::string Prefix() const;
  std::string PathOf(const std::string& name) const { return options_.directory + "/" + name; }
  Status CloseLeftovers();
  Status AddMissingToIndex(const std::vector<std::string>& names);
  Status OpenPart();
  Status ClosePart();
  Status AppendToIndex(const std::string& name, uint64_t rows, uint64_t bytes, CommitTs first, CommitTs last);
  void Drain();
  Status WriteLines();
  void OnSynced(const Status& status);
  void Fail(const Status& status);

  runtime::Executor& executor_;
  runtime::Disk& disk_;
  SinkObserver& observer_;
  const SinkIdentity identity_;
  const FileSinkOptions options_;
  const SinkLimits limits_;
  const WritePermit permit_;
  std::string header_;
  std::deque<Line> lines_;
  size_t buffered_bytes_ = 0;
  bool refused_ = false;  // a Write: OnWritable is due
  bool failed_ = false;
  bool syncing_ = false;
  bool drain_due_ = false;        // timer_ runs
  uint64_t synced_position_ = 0;  // what the running sync will have made durable
  size_t synced_bytes_ = 0;
  uint64_t next_number_ = 1;
  Part part_;
  runtime::Timer timer_;
  runtime::Timer time_limit_;
  std::shared_ptr<FileSink*> self_;  // null inside once the sink is gone
};

}  // namespace tenure::changefeed
