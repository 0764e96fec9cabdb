#include "wal/scanner.h"

#include <cstring>

#include "base/check.h"
#include "base/format.h"

namespace tenure::wal {
namespace {

constexpr uint64_t kZeroScanBytes = 1 << 20;

// At the speed of memory: most of a start after a clean stop is this.
bool IsZero(std::string_view bytes) {
  return bytes.empty() ||
         (bytes[0] == '\0' && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace

StatusOr<std::string_view> SegmentReader::View(uint64_t offset, uint64_t bytes) {
  if (offset >= size_) return std::string_view();
  bytes = std::min(bytes, size_ - offset);
  if (offset < window_offset_ || offset + bytes > window_offset_ + window_.size()) {
    auto read = file_.Read(offset, std::min(std::max(bytes, window_bytes_), size_ - offset));
    if (!read.ok()) return Annotate(read.status(), fmt::format("{} at offset {}", path_, offset));
    window_ = *std::move(read);
    window_offset_ = offset;
  }
  const std::string_view window(window_);
  return window.substr(std::min<uint64_t>(offset - window_offset_, window.size()), bytes);
}

StatusOr<std::optional<SegmentReader::Commit>> SegmentReader::CommitAt(uint64_t segment, uint64_t offset,
                                                                       std::optional<uint64_t> log_id) {
  TENURE_ASSIGN_OR_RETURN(const std::string_view head, View(offset, kCommitHeaderBytes));
  const auto header = DecodeCommitHeader(head, segment, offset, size_ - std::min(offset, size_));
  if (!header || (log_id && header->log_id != *log_id)) return std::nullopt;
  TENURE_ASSIGN_OR_RETURN(const std::string_view whole, View(offset, header->size));
  if (whole.size() < header->size || !CommitChecksumHolds(*header, whole, segment, offset))
    return std::nullopt;
  return Commit{*header, whole};
}

std::string LogDamage::ToString() const {
  return fmt::format("{} at offset {}: {}; affected: {}", path, offset, what, affected.Describe());
}

LogScanner::LogScanner(runtime::Disk& disk, std::string directory, LogState& state, OnRecord on_record)
    : disk_(disk), directory_(std::move(directory)), state_(state), on_record_(std::move(on_record)) {}

StatusOr<ScanResult> LogScanner::Run() {
  TENURE_RETURN_IF_ERROR(OpenAll());
  TENURE_RETURN_IF_ERROR(ClassifyEnd());
  TENURE_RETURN_IF_ERROR(DropLeftovers());
  if (!result_.damage) TENURE_RETURN_IF_ERROR(ScanSegments());
  for (auto& segment : open_) result_.segments.push_back(std::move(segment.info));
  return std::move(result_);
}

Status LogScanner::OpenAll() {
  TENURE_ASSIGN_OR_RETURN(const std::vector<std::string> names, disk_.List(directory_));
  for (const std::string& name : names) {
    const std::string path = directory_ + "/" + name;
    if (name.ends_with(kUnfinishedSuffix)) {
      result_.leftovers.push_back(path);
    } else if (const auto number = ParseSegmentName(name)) {
      TENURE_RETURN_IF_ERROR(OpenOne(*number, path));
    }
  }
  return OkStatus();
}

Status LogScanner::OpenOne(uint64_t number, const std::string& path) {
  OpenSegment segment;
  TENURE_ASSIGN_OR_RETURN(segment.file, disk_.Open(path, runtime::OpenMode::kReadOnly));
  TENURE_ASSIGN_OR_RETURN(const uint64_t size, segment.file->Size());
  segment.reader = std::make_unique<SegmentReader>(*segment.file, path, size);
  segment.info = {.number = number, .path = path, .size = size};
  TENURE_ASSIGN_OR_RETURN(const std::string_view first, segment.reader->View(0, kSegmentHeaderBytes));
  ScannedSegment& info = segment.info;
  info.state = DecodeSegmentHeader(first, &info.header);
  std::string wrong;
  if (info.state == HeaderState::kNewerFormat) {
    return Error(StatusCode::kFailedPrecondition,
                 "{} has log format {}, this program reads up to {}: use a newer one", path,
                 info.header.version, kFormatVersion);
  }
  if (size < kMinSegmentBytes) {
    wrong = fmt::format("the file is cut off at {} bytes", size);
  } else if (info.state == HeaderState::kValid && size != info.header.size) {
    wrong = fmt::format("the file has {} bytes but was made with {}", size, info.header.size);
  } else if (info.state == HeaderState::kValid && info.header.number != number) {
    wrong = fmt::format("the file is segment {} under another name", info.header.number);
  } else if (info.state == HeaderState::kValid && result_.log_id != 0 &&
             result_.log_id != info.header.log_id) {
    wrong = "the file belongs to another log than the segment before it";
  }
  if (info.state == HeaderState::kValid && result_.log_id == 0) result_.log_id = info.header.log_id;
  segment.cut = !wrong.empty();
  if (!wrong.empty() && !result_.damage) result_.damage = LogDamage{path, size, wrong, {}};
  open_.push_back(std::move(segment));
  return OkStatus();
}

// A segment whose header was never made durable has not begun: nothing in it was acknowledged. At most one
// such segment, the last, can be there.
Status LogScanner::ClassifyEnd() {
  std::optional<OpenSegment> blank;
  while (!result_.damage && !open_.empty() && open_.back().info.state != HeaderState::kValid) {
    TENURE_ASSIGN_OR_RETURN(const auto written, NonZeroRange(open_.back(), 0));
    // The header and the first commit are one write; a second commit proves that it was durable.
    std::optional<uint64_t> second;
    if (written) {
      TENURE_ASSIGN_OR_RETURN(second, FindCommitAfter({open_.size() - 1, 2 * kSectorBytes}, 0));
    }
    if (second) {
      return SetDamage({open_.size() - 1, 0},
                       fmt::format("the segment header is bad, commits follow at {}", *second));
    }
    if (open_.back().info.state == HeaderState::kBad) {
      // Sectors are written whole: this one was, and changed later - unless nothing at all came behind it.
      TENURE_ASSIGN_OR_RETURN(const auto behind, NonZeroRange(open_.back(), kSegmentHeaderBytes));
      if (behind) return SetDamage({open_.size() - 1, 0}, "the segment header is bad though it was written");
    }
    if (blank) {
      return SetDamage({open_.size() - 1, 0},
                       fmt::format("the segment is blank though {} was prepared after it", blank->info.path));
    }
    blank = std::move(open_.back());
    open_.pop_back();
  }
  if (blank) {
    const uint64_t expected = open_.empty() ? 1 : open_.back().info.number + 1;
    if (blank->info.number != expected) {
      result_.damage =
          LogDamage{blank->info.path,
                    0,
                    fmt::format("segment {} should be before it and is missing", SegmentName(expected)),
                    {}};
      TENURE_RETURN_IF_ERROR(AssessDamage({0, 0}));
      result_.damage->affected.incomplete = true;
      return OkStatus();
    }
    TENURE_ASSIGN_OR_RETURN(const auto dirty, NonZeroRange(*blank, 0));
    if (dirty) result_.torn.push_back({blank->info.path, dirty->first, dirty->second});
    result_.blank = std::move(blank->info);
  }
  for (size_t i = 0; i < open_.size() && !result_.damage; ++i) {
    if (open_[i].info.state != HeaderState::kValid) return SetDamage({i, 0}, "the segment header is bad");
  }
  if (result_.damage) return AssessDamage({0, 0});
  classified_ = true;
  return OkStatus();
}

// Segments are removed oldest first, but a crash may undo any of the removals.
Status LogScanner::DropLeftovers() {
  if (result_.damage || open_.empty()) return OkStatus();
  size_t first = open_.size() - 1;
  while (first > 0 && open_[first - 1].info.number + 1 == open_[first].info.number) --first;
  for (size_t i = 0; i < first; ++i) result_.leftovers.push_back(open_[i].info.path);
  open_.erase(open_.begin(), open_.begin() + static_cast<ptrdiff_t>(first));
  return OkStatus();
}

Status LogScanner::ScanSegments() {
  for (size_t i = 0; i < open_.size(); ++i) {
    const SegmentHeader& header = open_[i].info.header;
    if (i == 0) {
      result_.next_sequence = header.first_sequence;
      result_.previous = header.previous;
    } else if (header.first_sequence != result_.next_sequence || header.previous != result_.previous) {
      return SetDamage({i - 1, open_[i - 1].info.end},
                       fmt::format("commit {} is bad, the next segment begins with commit {}",
                                   result_.next_sequence, header.first_sequence));
    }
    Place place{i, kSegmentHeaderBytes};
    TENURE_RETURN_IF_ERROR(ScanCommits(place, nullptr));
    open_[i].info.end = place.offset;
    if (result_.damage) return OkStatus();
  }
  if (open_.empty()) return OkStatus();
  TENURE_RETURN_IF_ERROR(LookBehindEnd({open_.size() - 1, open_.back().info.end}));
  if (result_.damage) return OkStatus();

  Damage missing;
  state_.FindMissing(&missing);
  if (!missing.groups.empty()) {
    result_.damage =
        LogDamage{open_.front().info.path, 0,
                  "entries in segments before it are still needed and are missing", std::move(missing)};
  }
  return OkStatus();
}

Status LogScanner::ScanCommits(Place& place, Damage* damage) {
  OpenSegment& segment = open_[place.segment];
  while (true) {
    TENURE_ASSIGN_OR_RETURN(const auto commit,
                            segment.reader->CommitAt(segment.info.number, place.offset, result_.log_id));
    if (!commit) return OkStatus();
    const CommitHeader header = commit->header;
    if (header.sequence != result_.next_sequence || header.previous != result_.previous) return OkStatus();
    if (((header.flags & kCheckpointFlag) != 0) != (place.offset == kSegmentHeaderBytes)) {
      return SetDamage(place, fmt::format("commit {} has a checkpoint in the wrong place", header.sequence));
    }
    if (const Status taken = TakeRecords(*commit, place, damage); !taken.ok()) {
      return SetDamage(
          place, fmt::format("commit {} contradicts those before it: {}", header.sequence, MessageOf(taken)));
    }
    ++result_.next_sequence;
    result_.previous = header.checksum;
    result_.clean = (header.flags & kCleanFlag) != 0;
    result_.sealed = (header.flags & (kCleanFlag | kSealFlag)) != 0;
    result_.last_commit_offset = place.offset;
    result_.last_commit_bytes = header.size;
    ++segment.info.commits;
    place.offset += header.size;
  }
}

Status LogScanner::TakeRecords(const SegmentReader::Commit& commit, Place place, Damage* damage) {
  const ScannedSegment& info = open_[place.segment].info;
  RecordReader records(commit.bytes, commit.header, info.number, place.offset);
  Record record;
  while (true) {
    switch (records.Next(&record)) {
      case RecordReader::Step::kEnd:
        return OkStatus();
      case RecordReader::Step::kLost:
        return Error(StatusCode::kDataLoss, "a record overruns its commit");
      case RecordReader::Step::kBad:
      case RecordReader::Step::kUnsure:
        return Error(StatusCode::kDataLoss, "a record is bad in a commit that is not");
      case RecordReader::Step::kRecord:
        break;
    }
    TENURE_RETURN_IF_ERROR(
        state_.Replay(record, static_cast<uint32_t>(info.number), place.segment == 0, damage));
    if (on_record_) on_record_(record, info);
  }
}

Status LogScanner::LookBehindEnd(Place end) {
  OpenSegment& segment = open_[end.segment];
  // Nothing but zeros is what a log that was stopped in order ends in: no need to look for commits in them.
  if (segment.info.commits > 0) {
    TENURE_ASSIGN_OR_RETURN(const auto written, NonZeroRange(segment, end.offset));
    if (!written) return OkStatus();
  }
  TENURE_ASSIGN_OR_RETURN(const auto later, FindCommitAfter(end, result_.next_sequence));
  if (later) {
    return SetDamage(end, fmt::format("commit {} is bad, but an intact later one stands at offset {}",
                                      result_.next_sequence, *later));
  }
  // A header whose first commit is torn goes with it: the segment counts as not begun.
  const bool not_begun = segment.info.commits == 0;
  if (not_begun) {
    result_.last_commit_offset = 0;
    result_.last_commit_bytes = 0;
  }
  TENURE_ASSIGN_OR_RETURN(const bool torn, LooksTorn(end));
  if (!torn) {
    return SetDamage(end,
                     fmt::format("commit {} is bad though it was written completely", result_.next_sequence));
  }
  TENURE_ASSIGN_OR_RETURN(const auto dirty, NonZeroRange(segment, not_begun ? 0 : end.offset));
  if (dirty) result_.torn.push_back({segment.info.path, dirty->first, dirty->second});
  return OkStatus();
}

StatusOr<bool> LogScanner::LooksTorn(Place end) {
  OpenSegment& segment = open_[end.segment];
  TENURE_ASSIGN_OR_RETURN(const std::string_view sector, segment.reader->View(end.offset, kSectorBytes));
  if (sector.size() < kSectorBytes) return true;
  if (CountZeroSectors(sector.substr(0, kCommitHeaderBytes)) == 1)
    return true;  // no header: nothing begun, or lost
  const auto header =
      DecodeCommitHeader(sector, segment.info.number, end.offset, segment.info.size - end.offset);
  // A header that is cut off has nothing behind it; one that is bad otherwise was written and changed later.
  if (!header) return CountZeroSectors(sector.substr(kCommitHeaderBytes)) == 1;
  const uint32_t used = header->used;
  const uint32_t zero_sectors = header->zero_sectors;
  TENURE_ASSIGN_OR_RETURN(const std::string_view whole, segment.reader->View(end.offset, header->size));
  return CountZeroSectors(whole) > zero_sectors || whole[used - 1] == '\0';
}

StatusOr<std::optional<uint64_t>> LogScanner::FindCommitAfter(Place from, uint64_t min_sequence) {
  OpenSegment& segment = open_[from.segment];
  const std::optional<uint64_t> log_id = result_.log_id == 0 ? std::nullopt : std::optional(result_.log_id);
  for (uint64_t at = from.offset; at + kSectorBytes <= segment.info.size; at += kSectorBytes) {
    TENURE_ASSIGN_OR_RETURN(const auto commit, segment.reader->CommitAt(segment.info.number, at, log_id));
    if (commit && commit->header.sequence >= min_sequence) return at;
  }
  return std::nullopt;
}

StatusOr<std::optional<std::pair<uint64_t, uint64_t>>> LogScanner::NonZeroRange(OpenSegment& segment,
                                                                                uint64_t from) {
  std::optional<std::pair<uint64_t, uint64_t>> range;
  for (uint64_t at = from; at < segment.info.size; at += kZeroScanBytes) {
    TENURE_ASSIGN_OR_RETURN(const std::string_view bytes, segment.reader->View(at, kZeroScanBytes));
    if (IsZero(bytes)) continue;
    const size_t first = bytes.find_first_not_of('\0');
    const uint64_t end = std::min(RoundUpToSector(at + bytes.find_last_not_of('\0') + 1), segment.info.size);
    if (!range) range.emplace((at + first) / kSectorBytes * kSectorBytes, end);
    range->second = end;
  }
  return range;
}

Status LogScanner::SetDamage(Place place, std::string what) {
  result_.damage = LogDamage{open_[place.segment].info.path, place.offset, std::move(what), {}};
  return AssessDamage(place);
}

// Goes on behind the damage, to say what it cost: gaps between what was known before and what intact data
// says. Every sequence number without a readable commit is a loss that nobody can name, until the checkpoint
// of the next segment repeats the state of all groups: what differs from it is then known, and the rest is
// whole.
Status LogScanner::AssessDamage(Place place) {
  // Damage found while files were looked at: nothing was read yet.
  if (!classified_) place = {0, 0};
  Damage& damage = result_.damage->affected;
  std::optional<uint64_t> next;
  if (classified_) next = result_.next_sequence;
  for (size_t i = place.segment; i < open_.size(); ++i) {
    OpenSegment& segment = open_[i];
    uint64_t at = i == place.segment ? std::max(place.offset, kSegmentHeaderBytes) : kSegmentHeaderBytes;
    while (at + kSectorBytes <= segment.info.size) {
      TENURE_ASSIGN_OR_RETURN(const auto commit,
                              segment.reader->CommitAt(segment.info.number, at, std::nullopt));
      if (!commit) {
        TENURE_ASSIGN_OR_RETURN(const uint64_t bytes, AssessBadCommit({i, at}, &next));
        at += bytes;
        continue;
      }
      const CommitHeader header = commit->header;
      if (next && header.sequence != *next) damage.incomplete = true;
      const bool taken = TakeRecords(*commit, {i, at}, &damage).ok();
      if (!taken) damage.incomplete = true;
      if (taken && (header.flags & kCheckpointFlag) != 0) damage.incomplete = false;
      next = header.sequence + 1;
      at += header.size;
    }
  }
  // Commits behind the end of a file that was cut off left no gap to see.
  if (!open_.empty() && open_.back().cut) damage.incomplete = true;
  state_.FindMissing(&damage);
  return OkStatus();
}

// What an unreadable commit at `place` says nevertheless; returns how far to go on. `next` is the sequence it
// should have, and then of the one behind it.
StatusOr<uint64_t> LogScanner::AssessBadCommit(Place place, std::optional<uint64_t>* next) {
  OpenSegment& segment = open_[place.segment];
  Damage& damage = result_.damage->affected;
  TENURE_ASSIGN_OR_RETURN(const std::string_view sector, segment.reader->View(place.offset, kSectorBytes));
  if (CountZeroSectors(sector) == 1) return kSectorBytes;  // a commit that should be here leaves a gap
  auto header =
      DecodeCommitHeader(sector, segment.info.number, place.offset, segment.info.size - place.offset);
  if (!header && *next) {
    TENURE_ASSIGN_OR_RETURN(header, FrameOf(place, **next));
  }
  if (!header || (*next && header->sequence != **next)) {
    damage.incomplete = true;
    return kSectorBytes;
  }
  TENURE_ASSIGN_OR_RETURN(const std::string_view bytes, segment.reader->View(place.offset, header->size));
  if (bytes.size() < header->size) {
    damage.incomplete = true;
    return kSectorBytes;
  }
  if (!AssessRecords(bytes, *header, place)) damage.incomplete = true;
  *next = header->sequence + 1;
  return header->size;
}

// The frame of a commit whose header is bad, if the next one stands where it must have ended.
StatusOr<std::optional<CommitHeader>> LogScanner::FrameOf(Place place, uint64_t sequence) {
  OpenSegment& segment = open_[place.segment];
  TENURE_ASSIGN_OR_RETURN(const auto behind,
                          FindCommitAfter({place.segment, place.offset + kSectorBytes}, sequence + 1));
  if (!behind || *behind - place.offset > segment.info.size) return std::nullopt;
  TENURE_ASSIGN_OR_RETURN(const auto commit,
                          segment.reader->CommitAt(segment.info.number, *behind, std::nullopt));
  if (!commit || commit->header.sequence != sequence + 1) return std::nullopt;
  CommitHeader header;
  header.sequence = sequence;
  header.size = static_cast<uint32_t>(*behind - place.offset);
  TENURE_ASSIGN_OR_RETURN(const std::string_view bytes, segment.reader->View(place.offset, header.size));
  const size_t last = bytes.find_last_not_of('\0');
  if (last == std::string_view::npos || last <= kCommitHeaderBytes || bytes[last] != kEndMark ||
      RoundUpToSector(last + 1) != header.size) {
    return std::nullopt;
  }
  header.used = static_cast<uint32_t>(last + 1);
  return header;
}

// The intact records of a bad commit are taken, the others named. True if that is all of them, for certain.
bool LogScanner::AssessRecords(std::string_view bytes, const CommitHeader& header, Place place) {
  const ScannedSegment& info = open_[place.segment].info;
  Damage& damage = result_.damage->affected;
  RecordReader records(bytes, header, info.number, place.offset);
  Record record;
  bool complete = true;
  for (auto step = records.Next(&record); step != RecordReader::Step::kEnd; step = records.Next(&record)) {
    if (step == RecordReader::Step::kLost) return false;
    if (step == RecordReader::Step::kRecord) {
      if (!state_.Replay(record, static_cast<uint32_t>(info.number), place.segment == 0, &damage).ok())
        complete = false;
      if (on_record_) on_record_(record, info);
      continue;
    }
    if (step == RecordReader::Step::kUnsure) complete = false;
    // A list of tombstones is nobody's, and a claim that cannot be checked is not believed about strangers.
    const LogState::Group* group = state_.Find(record.group);
    const bool nobodys =
        record.type == RecordType::kTombstones || record.type == RecordType::kReplicaTombstones;
    if (nobodys || (group == nullptr && step == RecordReader::Step::kUnsure)) {
      complete = false;
      continue;
    }
    if (group != nullptr &&
        (record.type == RecordType::kEntries || record.type == RecordType::kCopiedEntries)) {
      LogIndex first;
      LogIndex last;
      (void)ForEachEntry(record.payload, [&](const EntryView& entry) {
        if (first.IsNone()) first = entry.index;
        last = entry.index;
      });
      // Only a claim that fits what is known is believed.
      if (first == group->last_index().Next() || group->Holds(first)) {
        damage.AddEntries(record.group, first, last);
        continue;
      }
    }
    damage.AddState(record.group);
  }
  return complete;
}

}  // namespace tenure::wal
