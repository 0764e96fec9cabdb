#include "wal/segment_files.h"

#include "base/check.h"
#include "wal/format.h"

namespace tenure::wal {
namespace {

constexpr uint64_t kSliceBytes = 256 << 10;

// Aligned, so that they can be written without being copied.
std::string_view Zeros() {
  alignas(4096) static const char zeros[kSliceBytes] = {};
  return {zeros, kSliceBytes};
}

// Past the page cache: filling it with zeros costs several times what writing them does, and what is appended
// is read back only by a member that lags.
StatusOr<std::unique_ptr<runtime::File>> OpenSegmentFile(runtime::Disk& disk, const std::string& path,
                                                         runtime::OpenMode mode) {
  auto file = disk.Open(path, mode);
  if (file.ok()) (*file)->PreferDirectWrites();
  return file;
}

}  // namespace

SegmentFiles::SegmentFiles(runtime::Disk& disk, std::string directory, uint64_t segment_bytes)
    : disk_(disk),
      directory_(std::move(directory)),
      segment_bytes_(std::max(RoundUpToSector(segment_bytes), kMinSegmentBytes)) {}

Status SegmentFiles::AddExisting(uint64_t number, const std::string& path, uint64_t size) {
  Segment segment{static_cast<uint32_t>(number), path, size, nullptr};
  TENURE_ASSIGN_OR_RETURN(segment.file, OpenSegmentFile(disk_, path, runtime::OpenMode::kReadWrite));
  segments_.emplace(segment.number, std::move(segment));
  return OkStatus();
}

Status SegmentFiles::AddExistingSpare(uint64_t number, const std::string& path, uint64_t size) {
  spare_ = std::make_unique<Spare>();
  spare_->segment = {static_cast<uint32_t>(number), path, size, nullptr};
  spare_->filled = spare_->target = size;
  spare_->ready = true;
  TENURE_ASSIGN_OR_RETURN(spare_->segment.file, OpenSegmentFile(disk_, path, runtime::OpenMode::kReadWrite));
  return OkStatus();
}

SegmentFiles::Segment* SegmentFiles::Find(uint32_t number) {
  const auto it = segments_.find(number);
  return it == segments_.end() ? nullptr : &it->second;
}

uint64_t SegmentFiles::bytes_on_disk() const {
  uint64_t bytes = spare_ ? spare_->filled : 0;
  for (const auto& [number, segment] : segments_) bytes += segment.size;
  return bytes;
}

uint64_t SegmentFiles::SpareProgress() const {
  return spare_ == nullptr ? 0 : spare_->filled * 1024 / std::max<uint64_t>(spare_->target, 1);
}

Status SegmentFiles::BeginSpare() {
  const uint64_t number = segments_.empty() ? 1 : segments_.rbegin()->first + uint64_t{1};
  TENURE_CHECK(number <= std::numeric_limits<uint32_t>::max(), "segment numbers are used up");
  auto spare = std::make_unique<Spare>();
  spare->segment.number = static_cast<uint32_t>(number);
  spare->segment.path = directory_ + "/" + SegmentName(number);
  spare->temporary = spare->segment.path + std::string(kUnfinishedSuffix);
  spare->target = segment_bytes_;
  TENURE_ASSIGN_OR_RETURN(spare->segment.file,
                          OpenSegmentFile(disk_, spare->temporary, runtime::OpenMode::kCreate));
  spare_ = std::move(spare);
  return spare_->segment.file->Truncate(0);
}

Status SegmentFiles::WriteZeros(runtime::File& file, uint64_t from, uint64_t to) {
  while (from < to) {
    const uint64_t bytes = std::min(to - from, kSliceBytes);
    TENURE_RETURN_IF_ERROR(file.Write(from, Zeros().substr(0, bytes)));
    from += bytes;
  }
  return OkStatus();
}

void SegmentFiles::FillSlice(Callback<Status> done) {
  retired_.clear();  // one slice at a time: nothing is under way on them
  Status status = spare_ == nullptr ? BeginSpare() : OkStatus();
  if (status.ok()) {
    const uint64_t to = std::min(spare_->filled + kSliceBytes, spare_->target);
    status = WriteZeros(*spare_->segment.file, spare_->filled, to);
    if (status.ok()) spare_->filled = to;
  }
  if (!status.ok()) {
    done(std::move(status));
    return;
  }
  spare_->segment.file->Sync(std::move(done));
}

Status SegmentFiles::PublishSpare() {
  Spare& spare = *spare_;
  TENURE_CHECK(!spare.ready && spare.filled >= spare.target, "G1: spare of {} filled to {}", spare.target,
               spare.filled);
  TENURE_RETURN_IF_ERROR(disk_.Rename(spare.temporary, spare.segment.path));
  TENURE_RETURN_IF_ERROR(disk_.SyncDirectory(directory_));
  retired_.push_back(std::move(spare.segment.file));
  TENURE_ASSIGN_OR_RETURN(spare.segment.file,
                          OpenSegmentFile(disk_, spare.segment.path, runtime::OpenMode::kReadWrite));
  spare.segment.size = spare.filled;
  spare.ready = true;
  return OkStatus();
}

void SegmentFiles::DropSpare() {
  if (spare_ == nullptr) return;
  retired_.push_back(std::move(spare_->segment.file));
  (void)disk_.Remove(spare_->ready ? spare_->segment.path : spare_->temporary);
  spare_.reset();
}

Status SegmentFiles::Roll(uint64_t bytes) {
  const uint64_t size = std::max(RoundUpToSector(bytes), segment_bytes_);
  if (spare_ == nullptr) TENURE_RETURN_IF_ERROR(BeginSpare());
  Spare& spare = *spare_;
  if (spare.filled < size) {
    TENURE_RETURN_IF_ERROR(WriteZeros(*spare.segment.file, spare.filled, size));
    spare.filled = spare.segment.size = spare.target = size;
    TENURE_RETURN_IF_ERROR(spare.segment.file->SyncNow());
  } else if (!spare.ready) {
    TENURE_RETURN_IF_ERROR(spare.segment.file->SyncNow());
  }
  if (!spare.ready) TENURE_RETURN_IF_ERROR(PublishSpare());
  const uint32_t number = spare.segment.number;
  segments_.emplace(number, std::move(spare.segment));
  spare_.reset();
  return OkStatus();
}

Status SegmentFiles::GrowActive(uint64_t bytes) {
  Segment& segment = active();
  const uint64_t size = RoundUpToSector(bytes);
  TENURE_RETURN_IF_ERROR(WriteZeros(*segment.file, segment.size, size));
  TENURE_RETURN_IF_ERROR(segment.file->SyncNow());
  segment.size = size;
  return OkStatus();
}

Status SegmentFiles::RemoveOldest() {
  TENURE_CHECK(segments_.size() > 1, "the active segment is not removed");
  const std::string path = oldest().path;
  segments_.erase(segments_.begin());
  return disk_.Remove(path);
}

}  // namespace tenure::wal
