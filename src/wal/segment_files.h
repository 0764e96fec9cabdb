// The files of a log: the segments that hold something, the one appends go to, and the spare that is prepared
// ahead so that a commit never waits for zero-filling. Knows nothing of what is in them.
//
// Threading: the WAL's executor. Blocks on the disk where it says so.
// Invariants: G1 a file named *.wal has its final size and is durable under that name, all zeros before its
//             first commit. G2 the spare of segment n + 1 is made only after a commit in n is durable (the
//             caller sees to it): so a blank segment before another one is damage.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "runtime/disk.h"

namespace tenure::wal {

class SegmentFiles {
 public:
  struct Segment {
    uint32_t number = 0;
    std::string path;
    uint64_t size = 0;
    std::unique_ptr<runtime::File> file;
  };

  SegmentFiles(runtime::Disk& disk, std::string directory, uint64_t segment_bytes);

  // --- start-up ---
  Status AddExisting(uint64_t number, const std::string& path, uint64_t size);  // oldest first
  Status AddExistingSpare(uint64_t number, const std::string& path, uint64_t size);

  Segment& active() { return segments_.rbegin()->second; }
  Segment& oldest() { return segments_.begin()->second; }
  bool empty() const { return segments_.empty(); }
  const std::map<uint32_t, Segment>& segments() const { return segments_; }
  Segment* Find(uint32_t number);
  uint64_t bytes_on_disk() const;

  // --- the spare ---
  bool SpareReady() const { return spare_ != nullptr && spare_->ready; }
  // Fraction of the spare that is filled, in 1/1024.
  uint64_t SpareProgress() const;
  // Writes the next slice of zeros (making the file first) and syncs it; `done` gets the result. One at a
  // time.
  void FillSlice(Callback<Status> done);
  // Gives the finished file its name; blocks for a directory sync.
  Status PublishSpare();
  bool SpareFilled() const { return spare_ != nullptr && spare_->filled >= spare_->target; }
  // Removes a spare that could not be made.
  void DropSpare();

  // Makes the spare the active segment, with at least `bytes`. Blocks for what is not prepared.
  Status Roll(uint64_t bytes);
  // Makes an active segment without commits larger. Blocks.
  Status GrowActive(uint64_t bytes);
  Status RemoveOldest();

  runtime::Disk& disk() { return disk_; }
  const std::string& directory() const { return directory_; }

 private:
  struct Spare {
    Segment segment;
    std::string temporary;  // its name until it is ready
    uint64_t filled = 0;
    uint64_t target = 0;
    bool ready = false;
  };
  Status BeginSpare();
  Status WriteZeros(runtime::File& file, uint64_t from, uint64_t to);

  runtime::Disk& disk_;
  std::string directory_;
  uint64_t segment_bytes_;
  std::map<uint32_t, Segment> segments_;
  std::unique_ptr<Spare> spare_;
  std::vector<std::unique_ptr<runtime::File>> retired_;  // a Sync may still be under way on them
};

}  // namespace tenure::wal
