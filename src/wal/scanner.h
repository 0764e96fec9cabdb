// Reads a whole log and says what it holds, where appends may go on, and what is wrong with it. Changes
// nothing: start-up (wal.cc) acts on the result, inspection (inspect.h) prints it.
//
// How a torn tail is told from damage: a commit is written only after the one before it was synced (F2). So
//   - bad bytes with a valid commit of a higher sequence anywhere after them, or with a next segment whose
//     header counts past them, were durable and acknowledged once: damage, refuse;
//   - bad bytes with nothing valid after them that show a write that did not complete - sectors that are
//     still zero, or no end mark - are a commit that was never acknowledged: torn, to be cut off;
//   - bad bytes with nothing valid after them that were written completely are damage. (This takes sectors
//     of 512 bytes for atomic. What it cannot see, say a whole sector that reads as zeros, is what seals
//     are for: an idle log gets a commit behind the last one. docs/wal-format.md.)
//
// Threading: one owner; blocks on the disk.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "runtime/disk.h"
#include "wal/format.h"
#include "wal/log_state.h"

namespace tenure::wal {

// A window onto a file, moved as needed.
class SegmentReader {
 public:
  SegmentReader(const runtime::File& file, std::string path, uint64_t size, uint64_t window_bytes = 1 << 20)
      : file_(file), path_(std::move(path)), size_(size), window_bytes_(window_bytes) {}
  // Valid until the next call. Shorter than `bytes` only at the end of the file.
  StatusOr<std::string_view> View(uint64_t offset, uint64_t bytes);
  // The checked commit at `offset`, of this log; nothing if there is none. Views are valid until the next
  // call.
  struct Commit {
    CommitHeader header;
    std::string_view bytes;
  };
  StatusOr<std::optional<Commit>> CommitAt(uint64_t segment, uint64_t offset, std::optional<uint64_t> log_id);
  uint64_t size() const { return size_; }
  const std::string& path() const { return path_; }

 private:
  const runtime::File& file_;
  std::string path_;
  uint64_t size_;
  uint64_t window_bytes_;
  uint64_t window_offset_ = 0;
  std::string window_;
};

struct ScannedSegment {
  uint64_t number = 0;
  std::string path;
  uint64_t size = 0;
  HeaderState state = HeaderState::kZero;
  SegmentHeader header;
  uint64_t end = 0;  // of its last valid commit
  uint64_t commits = 0;
};

// Bytes after the end of the log that are not zero: [from, to), sector boundaries.
struct TornTail {
  std::string path;
  uint64_t from = 0;
  uint64_t to = 0;
};

struct LogDamage {
  std::string path;
  uint64_t offset = 0;
  std::string what;
  Damage affected;
  std::string ToString() const;
};

struct ScanResult {
  uint64_t log_id = 0;
  std::vector<ScannedSegment>
      segments;  // the live ones, contiguous, oldest first; the last is where appends go on
  std::optional<ScannedSegment> blank;  // prepared, not begun
  std::vector<std::string> leftovers;   // paths that a crash kept from being removed
  std::vector<TornTail> torn;
  std::optional<LogDamage> damage;  // everything else is then only as good as far as the scan came
  uint64_t next_sequence = 1;
  uint64_t previous = 0;            // checksum of the last commit
  uint64_t last_commit_offset = 0;  // in the last segment; 0 if it has none
  uint64_t last_commit_bytes = 0;
  bool clean = false;  // the last commit was written by an orderly stop
  bool sealed = true;  // nothing after the last seal
};

class LogScanner {
 public:
  // Called for every record in order, after `state` took it.
  using OnRecord = std::function<void(const Record&, const ScannedSegment&)>;

  LogScanner(runtime::Disk& disk, std::string directory, LogState& state, OnRecord on_record = nullptr);

  // An error means the directory could not be read, is of a newer format or of another log. Damage is in the
  // result.
  StatusOr<ScanResult> Run();

 private:
  struct OpenSegment {
    ScannedSegment info;
    std::unique_ptr<runtime::File> file;
    std::unique_ptr<SegmentReader> reader;
    bool cut = false;  // the file is not as it was made
  };
  struct Place {
    size_t segment;
    uint64_t offset;
  };

  Status OpenAll();
  Status OpenOne(uint64_t number, const std::string& path);
  Status ClassifyEnd();
  Status DropLeftovers();
  Status ScanSegments();
  // Reads valid commits from `place` on; ends before the first that is not the next one.
  Status ScanCommits(Place& place, Damage* damage);
  Status TakeRecords(const SegmentReader::Commit& commit, Place place, Damage* damage);
  Status LookBehindEnd(Place end);
  // The bytes at `end`, which are no valid commit, are what an incomplete write leaves.
  StatusOr<bool> LooksTorn(Place end);
  StatusOr<std::optional<uint64_t>> FindCommitAfter(Place from, uint64_t min_sequence);
  StatusOr<std::optional<std::pair<uint64_t, uint64_t>>> NonZeroRange(OpenSegment& segment, uint64_t from);
  Status SetDamage(Place place, std::string what);
  Status AssessDamage(Place place);
  StatusOr<uint64_t> AssessBadCommit(Place place, std::optional<uint64_t>* next);
  StatusOr<std::optional<CommitHeader>> FrameOf(Place place, uint64_t sequence);
  bool AssessRecords(std::string_view bytes, const CommitHeader& header, Place place);

  runtime::Disk& disk_;
  std::string directory_;
  LogState& state_;
  OnRecord on_record_;
  std::vector<OpenSegment> open_;
  bool classified_ = false;  // the files are what they should be; their commits are read
  ScanResult result_;
};

}  // namespace tenure::wal
