#include "base/check.h"
#include "base/format.h"
#include "base/rare_path.h"
#include "wal/log_writer.h"

namespace tenure::wal {
namespace {

constexpr Duration kSpacePollInterval = std::chrono::seconds(2);
constexpr Duration kSpareRetryDelay = std::chrono::seconds(5);
constexpr uint64_t kCopyBytes = 256 << 10;  // of entries copied forward in one commit

}  // namespace

// Between two commits: everything encoded so far is durable, and so is the checkpoint of the active segment.
void LogWriter::Tidy() {
  if (!failure_.ok() || closed_) return;
  if (!end_.fresh) RemoveUnneeded();
  if (copy_segment_ == 0 && ShouldCopyForward()) {
    TENURE_RARE_PATH("wal: entries of a cold group are copied forward");
    copy_segment_ = files_.oldest().number;
    copy_group_ = GroupId();
    copy_index_ = LogIndex();
    logger_.Info("log of {} bytes exceeds {}: copying {} entries of segment {} forward",
                 files_.bytes_on_disk(), options_.max_log_bytes, state_.live(copy_segment_), copy_segment_);
  }
  PrepareSpare();
  if (executor_.Now() >= next_space_poll_) PollSpace();
  ArmTimer();
}

void LogWriter::RemoveUnneeded() {
  bool removed = false;
  while (files_.segments().size() > 1 && state_.live(files_.oldest().number) == 0) {
    const uint32_t number = files_.oldest().number;
    const std::string path = files_.oldest().path;
    if (const Status status = files_.RemoveOldest(); !status.ok()) {
      // It is removed at the next start.
      logger_.Warn("cannot remove {}: {}", path, MessageOf(status));
    }
    state_.ForgetSegment(number);
    if (copy_segment_ == number) copy_segment_ = 0;
    removed = true;
  }
  if (removed) {
    UpdateBytes();
    PollSpace();
  }
}

std::vector<PinningGroup> LogWriter::FindPinning(uint64_t max_bytes) const {
  uint64_t bytes = files_.bytes_on_disk();
  uint32_t last = 0;  // segments up to this one should go; the active one stays
  for (const auto& [number, segment] : files_.segments()) {
    if (bytes <= max_bytes || number == files_.segments().rbegin()->first) break;
    bytes -= segment.size;
    last = number;
  }
  std::vector<PinningGroup> pinning;
  if (last == 0) return pinning;
  for (const auto& [id, group] : state_.groups()) {
    // Copied entries stand behind younger ones: the last that is in the way counts.
    for (size_t i = group.positions.size(); i > 0; --i) {
      if (group.positions[i - 1].segment > last) continue;
      pinning.push_back({id, group.mark_index.Plus(i)});
      break;
    }
  }
  return pinning;
}

// Copying is worth it only while most of the log is garbage held by few entries: then the cost per byte
// appended is bounded, whatever the limit is set to.
bool LogWriter::ShouldCopyForward() const {
  const uint64_t on_disk = files_.bytes_on_disk();
  if (on_disk <= options_.max_log_bytes || files_.segments().size() < 2) return false;
  uint64_t live_bytes = 0;
  for (const auto& [number, segment] : files_.segments()) {
    const auto use = state_.use().find(number);
    if (use == state_.use().end() || use->second.total == 0) continue;
    live_bytes +=
        static_cast<uint64_t>(static_cast<double>(segment.size) * static_cast<double>(use->second.live) /
                              static_cast<double>(use->second.total));
  }
  return on_disk > 2 * live_bytes + 2 * options_.segment_bytes;
}

bool LogWriter::CopyForward() {
  TENURE_CHECK(!building_, "copying forward begins a commit");
  auto& groups = state_.groups();
  uint64_t bytes = 0;
  for (auto it = groups.lower_bound(copy_group_); it != groups.end() && bytes < kCopyBytes; ++it) {
    LogState::Group& group = it->second;
    if (group.id != copy_group_) copy_index_ = LogIndex();
    copy_group_ = group.id;
    while (bytes < kCopyBytes) {
      const std::vector<raft::Entry> entries = CollectForCopy(group, &bytes);
      if (!failure_.ok()) return false;
      if (entries.empty()) break;
      Write bound;
      bound.entries = entries;
      const uint64_t need = BoundOf(bound);
      if (!building_) {
        // Beginning a commit takes compactions in: the entries may be gone after it.
        if (!BeginCommit(need)) return false;
        if (!group.Holds(entries.front().index)) {
          copy_index_ = LogIndex();
          continue;
        }
      } else if (RoundUpToSector(builder_.bytes() + need) > files_.active().size - end_.offset) {
        copy_index_ = entries.front().index;
        return true;
      }
      EncodeCopied(group, entries);
    }
  }
  if (bytes < kCopyBytes) copy_segment_ = 0;  // through; what is still there goes with the next look
  return true;
}

// The next stretch of consecutive entries, from copy_index_ on, that stand in the segment to be emptied.
std::vector<raft::Entry> LogWriter::CollectForCopy(LogState::Group& group, uint64_t* bytes) {
  LogIndex from = std::max(copy_index_, group.mark_index.Next());
  while (from <= group.last_index() && group.at(from).segment != copy_segment_) from = from.Next();
  if (from > group.last_index()) return {};
  LogIndex to = from;
  while (to < group.last_index() && group.at(to.Next()).segment == copy_segment_) to = to.Next();
  auto entries = ReadEntries({group.id, from, to, kCopyBytes, nullptr});
  if (!entries.ok()) {
    Fail(Annotate(entries.status(), "copying entries forward"));
    return {};
  }
  for (const auto& entry : *entries) *bytes += entry.payload.size() + 32;
  copy_index_ = entries->back().index.Next();
  return *std::move(entries);
}

void LogWriter::EncodeCopied(LogState::Group& group, const std::vector<raft::Entry>& entries) {
  const uint64_t offset = builder_.BeginRecord(RecordType::kCopiedEntries, group.id);
  std::string& out = builder_.buffer();
  PutVarint(out, entries.front().index.value());
  PutVarint(out, entries.size());
  for (const raft::Entry& entry : entries) {
    out.push_back(static_cast<char>(entry.type));
    PutVarint(out, entry.term.value());
    PutPrefixed(out, entry.payload.view());
    state_.MoveEntry(group, entry.index, {files_.active().number, static_cast<uint32_t>(offset)});
  }
  builder_.EndRecord();
}

// The spare is begun when the active segment has a durable commit (G2): one that is only written may be lost
// while the name of the spare stays. It is filled at leisure while nothing else is to be done, and under load
// as fast as the active segment fills up.
void LogWriter::PrepareSpare() {
  if (files_.SpareReady() || slice_under_way_ || closed_ || !failure_.ok()) return;
#ifdef TENURE_MUTANT_spare_unproven
  if (end_.fresh) return;
#else
  if (!active_begun_) return;
#endif
  if (executor_.Now() < spare_retry_at_) return;
  if (sync_under_way_ || !queue_.empty()) {
    const uint64_t used = end_.offset * 1024 / files_.active().size;
    if (files_.SpareProgress() > used + 128) return;
  }
  slice_under_way_ = true;
  files_.FillSlice([weak = weak_from_this()](Status status) {
    if (const auto self = weak.lock()) self->OnSliceSynced(std::move(status));
  });
}

void LogWriter::OnSliceSynced(Status status) {
  if (stopped_) return;
  slice_under_way_ = false;
  if (!failure_.ok()) return;
  // A roll may have taken the spare meanwhile.
  if (status.ok() && files_.SpareFilled() && !files_.SpareReady()) status = files_.PublishSpare();
  UpdateBytes();
  if (!status.ok()) {
    if (status.code() != StatusCode::kResourceExhausted) {
      Fail(Annotate(status, "preparing a segment"));
      return;
    }
    // Nothing acknowledged was in it. Appends go on until the active segment is full.
    TENURE_RARE_PATH("wal: no room for the next segment");
    logger_.Warn("no room for the next segment: {}", MessageOf(status));
    files_.DropSpare();
    UpdateBytes();
    spare_retry_at_ = executor_.Now() + kSpareRetryDelay;
    PollSpace();
    return;
  }
  if (spare_posted_ || files_.SpareReady()) return;
  spare_posted_ = true;
  executor_.Post([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || self->stopped_) return;
    self->spare_posted_ = false;
    self->PrepareSpare();
  });
}

void LogWriter::PollSpace() {
  next_space_poll_ = executor_.Now() + kSpacePollInterval;
  const auto free = files_.disk().FreeBytes(files_.directory());
  if (!free.ok()) {
    logger_.Warn("cannot ask for free space: {}", MessageOf(free.status()));
    return;
  }
  const bool low = *free < options_.reserve_bytes;
  if (low != low_on_space_.exchange(low, std::memory_order_relaxed)) {
    TENURE_RARE_PATH("wal: space runs low or comes back");
    logger_.Warn("{} bytes are free, the reserve is {}: {}", *free, options_.reserve_bytes,
                 low ? "new proposals are refused" : "proposals are accepted again");
  }
}

// One timer for what waits for idleness, and for looking at a full disk that nobody appends to.
void LogWriter::ArmTimer() {
  if (timer_armed_ || stopped_ || closed_ || !failure_.ok()) return;
  if (end_.sealed && marks_.empty() && !LowOnSpace() && spare_retry_at_ <= executor_.Now()) return;
  const bool only_space = end_.sealed && marks_.empty();
  timer_armed_ = true;
  timer_ = executor_.After(only_space ? kSpacePollInterval : options_.seal_after, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->OnTimer();
  });
}

void LogWriter::OnTimer() {
  timer_armed_ = false;
  if (stopped_ || !failure_.ok()) return;
  if (executor_.Now() >= next_space_poll_) PollSpace();
  PrepareSpare();
  const bool idle =
      !sync_under_way_ && queue_.empty() && executor_.Now() - last_commit_ >= options_.seal_after;
  if (idle && (!end_.sealed || !marks_.empty())) {
    force_commit_ = true;
    Pump();
  }
  ArmTimer();
}

}  // namespace tenure::wal
