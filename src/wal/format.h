// The bytes of a log segment: how segment headers, commits and records are laid out, encoded and checked. The
// layout is documented byte by byte in docs/wal-format.md.
//
//   segment = segment header (one sector), then commits, then zeros up to the segment's fixed size
//   commit  = what one fdatasync made durable: header, records, end mark, zeros up to the next sector
//   record  = header, payload
//
// Threading:  values and pure functions; a CommitBuilder has one owner.
// Invariants: F1 a commit begins and ends at a sector boundary: no sector with acknowledged bytes is written
//             again (but for the identical rewrite at start-up).
//             F2 a commit is written only after the one before it was synced.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/codec.h"
#include "base/ids.h"
#include "raft/types.h"

namespace tenure::wal {

inline constexpr uint32_t kFormatVersion = 1;
inline constexpr uint64_t kSectorBytes = 512;
inline constexpr uint64_t kSegmentHeaderBytes = kSectorBytes;
inline constexpr uint64_t kCommitHeaderBytes = 64;
inline constexpr uint64_t kRecordHeaderBytes = 24;
inline constexpr uint64_t kMinSegmentBytes = 16 << 10;
// A record of entries is closed at this size, so that reading one entry does not mean reading a whole commit.
inline constexpr uint64_t kMaxEntriesRecordBytes = 256 << 10;

inline constexpr uint64_t RoundUpToSector(uint64_t bytes) {
  return (bytes + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
}

// "0000000000000007.wal".
std::string SegmentName(uint64_t number);
std::optional<uint64_t> ParseSegmentName(std::string_view name);
// Suffix of segments being prepared; found at start they are removed.
inline constexpr std::string_view kUnfinishedSuffix = ".new";

struct SegmentHeader {
  uint32_t version = kFormatVersion;
  uint64_t log_id = 0;  // random per log: segments of two logs are not mixed up
  uint64_t number = 0;
  uint64_t size = 0;            // of the file
  uint64_t first_sequence = 0;  // of its first commit
  uint64_t previous = 0;        // checksum of the commit before that; the log id if there is none
};
enum class HeaderState : uint8_t { kValid, kZero, kBad, kNewerFormat };
// Appends kSegmentHeaderBytes.
void EncodeSegmentHeader(const SegmentHeader& header, std::string& out);
// `bytes`: the first sector of a file. On kNewerFormat only `version` is set.
HeaderState DecodeSegmentHeader(std::string_view bytes, SegmentHeader* header);

enum CommitFlags : uint32_t {
  kCheckpointFlag = 1,  // begins with the state of all groups; the first commit of a segment, and no other
  kSealFlag = 2,        // only proves that the commit before it was durable
  kCleanFlag = 4,       // written by an orderly stop; nothing was under way
};

struct CommitHeader {
  uint64_t checksum = 0;
  uint32_t size = 0;      // of the commit in the file, a multiple of the sector
  uint64_t sequence = 0;  // one more than the commit before
  uint64_t previous = 0;  // checksum of the commit before
  uint64_t log_id = 0;
  uint32_t used = 0;  // bytes up to and with the end mark
  uint32_t flags = 0;
  uint32_t zero_sectors = 0;  // of the commit's sectors, those that are all zeros
};
// Checks the header's own checksum; nothing if that is wrong. `bytes` begin at (segment, offset), `room` of
// them are left in the segment.
std::optional<CommitHeader> DecodeCommitHeader(std::string_view bytes, uint64_t segment, uint64_t offset,
                                               uint64_t room);
// How many of the sectors are all zeros; a part of one at the end counts as one.
uint32_t CountZeroSectors(std::string_view bytes);
// The last byte in use of every commit. Not zero, so that an unwritten end is seen.
inline constexpr char kEndMark = '\xa5';
// True if the checksum of the whole commit at (segment, offset) holds. `bytes` has at least header.size
// bytes.
bool CommitChecksumHolds(const CommitHeader& header, std::string_view bytes, uint64_t segment,
                         uint64_t offset);

enum class RecordType : uint8_t {
  kEntries = 1,   // consecutive entries
  kTruncate = 2,  // of an entry and all after it
  kHardState = 3,
  kReset = 4,               // the log is empty and begins after a snapshot mark
  kCompact = 5,             // the log begins after a mark now
  kTombstone = 6,           // the group is gone for ever
  kGroupCheckpoint = 7,     // everything about a group but its entries
  kTombstones = 8,          // all of them
  kCopiedEntries = 9,       // entries once more, because their old segment is to go
  kReplica = 10,            // whose log the group's is; with a mark, that it begins anew after it
  kReplicaTombstone = 11,   // replicas up to an id are gone
  kReplicaTombstones = 12,  // all of them
};

struct Record {
  RecordType type;
  GroupId group;
  std::string_view payload;
  uint64_t offset = 0;  // in the segment
};
// True if size, type and group, which the first bytes of a record state, pass the header's own check: a
// record whose payload is damaged then still says truly whose it is and where the next one begins.
bool RecordHeaderHolds(std::string_view header, uint64_t segment, uint64_t offset);

// Walks the records of a commit.
class RecordReader {
 public:
  RecordReader(std::string_view commit, const CommitHeader& header, uint64_t segment, uint64_t offset);
  enum class Step : uint8_t {
    kRecord,  // `record` is set
    kBad,     // the record's checksum is wrong; `record` is what its header claims; the walk can go on
    kUnsure,  // as kBad, and the header fails its own check (or has none): the claim may be wrong, too
    kLost,    // no telling where the next record begins
    kEnd,
  };
  Step Next(Record* record);

 private:
  std::string_view commit_;
  uint64_t used_;
  uint64_t segment_;
  uint64_t offset_;
  uint64_t at_ = kCommitHeaderBytes;
};

// Checks a single record that begins at the start of `bytes`; nothing if its checksum is wrong.
std::optional<Record> DecodeRecord(std::string_view bytes, uint64_t segment, uint64_t offset);
// Length of the record that begins at the start of `bytes` (at least a record header), as its header claims.
uint64_t PeekRecordBytes(std::string_view bytes);

// One entry inside a record, not copied.
struct EntryView {
  LogIndex index;
  Term term;
  raft::EntryType type;
  std::string_view payload;
};
// Decodes kEntries and kCopiedEntries. False (after some calls, perhaps) if the payload is malformed.
template <class Each>
bool ForEachEntry(std::string_view payload, Each&& each) {
  ByteReader reader(payload);
  const uint64_t first = reader.Varint();
  const uint64_t count = reader.Varint();
  for (uint64_t i = 0; i < count && reader.ok(); ++i) {
    const uint8_t type = reader.Byte();
    const uint64_t term = reader.Varint();
    const std::string_view bytes = reader.Prefixed();
    if (!reader.ok()) return false;
    each(EntryView{LogIndex(first + i), Term(term), static_cast<raft::EntryType>(type), bytes});
  }
  return reader.AtEnd();
}

// State of one group as kGroupCheckpoint has it.
struct GroupCheckpoint {
  raft::HardState hard_state;
  LogIndex mark_index;
  Term mark_term;
  std::string mark_configuration;  // encoded
  LogIndex last_index;
  std::vector<raft::TermRun> terms;
  ReplicaId replica;  // none: the log does not say whose it is
  friend bool operator==(const GroupCheckpoint&, const GroupCheckpoint&) = default;
};
bool DecodeGroupCheckpoint(std::string_view payload, GroupCheckpoint* checkpoint);
void EncodeGroupCheckpoint(const GroupCheckpoint& checkpoint, std::string& out);

// Payload of kReset and kCompact.
struct MarkPayload {
  LogIndex index;
  Term term;
  std::string_view configuration;  // encoded
};
bool DecodeMark(std::string_view payload, MarkPayload* mark);
void EncodeMark(LogIndex index, Term term, std::string_view configuration, std::string& out);

// Payload of kReplica.
struct ReplicaPayload {
  ReplicaId replica;
  std::optional<MarkPayload> begins_after;
};
bool DecodeReplica(std::string_view payload, ReplicaPayload* replica);

bool DecodeHardState(std::string_view payload, raft::HardState* hard_state);
void EncodeHardState(const raft::HardState& hard_state, std::string& out);

// Encodes one commit into a buffer that is used again for the next.
class CommitBuilder {
 public:
  // The commit will stand at `offset` of `segment`, directly after the segment header if `header` is given
  // (it is then part of the buffer: the write begins at offset 0).
  void Begin(uint64_t segment, uint64_t offset, const SegmentHeader* header);
  // Returns the record's offset in the segment. Append the payload to buffer(), then EndRecord.
  uint64_t BeginRecord(RecordType type, GroupId group);
  std::string& buffer() { return buffer_; }
  void EndRecord();
  // Bytes of the commit so far.
  uint64_t bytes() const { return buffer_.size() - commit_; }
  bool has_records() const { return buffer_.size() > commit_ + kCommitHeaderBytes; }
  // Pads and seals; the buffer is what is to be written.
  CommitHeader Finish(uint64_t sequence, uint64_t previous, uint64_t log_id, uint32_t flags);
  std::string_view view() const { return buffer_; }
  uint64_t write_offset() const { return offset_ - commit_; }
  void Clear() { buffer_.clear(); }

 private:
  std::string buffer_;
  uint64_t segment_ = 0;
  uint64_t offset_ = 0;
  size_t commit_ = 0;  // where the commit begins in the buffer
  size_t record_ = 0;
};

}  // namespace tenure::wal
