#include "wal/snapshot_store.h"

#include <xxhash.h>

#include "base/check.h"
#include "base/codec.h"
#include "base/format.h"
#include "base/hash.h"
#include "base/rare_path.h"

namespace tenure::wal {
namespace {

using runtime::Disk;
using runtime::File;
using runtime::OpenMode;

constexpr std::string_view kMagic = "TENURESN";
constexpr uint32_t kSnapshotFormat = 1;
constexpr std::string_view kSuffix = ".snap";
constexpr std::string_view kPart = ".part";
constexpr uint64_t kFooterBytes = 24;  // trailer size, trailer checksum, magic
constexpr size_t kReadBytes = 1 << 20;

// The trailer's variable part, then the footer.
std::string EncodeTrailer(const SnapshotMeta& meta) {
  std::string body;
  PutFixed32(body, kSnapshotFormat);
  PutFixed64(body, meta.group.value());
  PutFixed64(body, meta.mark.index.value());
  PutFixed64(body, meta.mark.term.value());
  PutFixed64(body, meta.content_bytes);
  PutFixed64(body, meta.checksum);
  PutPrefixed(body, raft::EncodeConfiguration(meta.mark.configuration));
  std::string trailer = body;
  PutFixed64(trailer, body.size());
  PutFixed64(trailer, HashBytes(body, body.size()));
  trailer.append(kMagic);
  return trailer;
}

Status Bad(const std::string& path, uint64_t offset, std::string_view what) {
  return Error(StatusCode::kDataLoss, "snapshot {} at offset {}: {}", path, offset, what);
}

StatusOr<SnapshotMeta> ReadTrailer(const File& file, const std::string& path) {
  TENURE_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
  if (size < kFooterBytes) return Bad(path, size, "the file is cut off");
  const uint64_t footer_at = size - kFooterBytes;
  TENURE_ASSIGN_OR_RETURN(const std::string footer, file.Read(footer_at, kFooterBytes));
  if (footer.size() != kFooterBytes || std::string_view(footer).substr(16) != kMagic) {
    return Bad(path, footer_at, "no trailer: the file is cut off or no snapshot");
  }
  const uint64_t body_bytes = GetFixed64(footer.data());
  if (body_bytes > footer_at) return Bad(path, footer_at, "the trailer's size is bad");
  const uint64_t body_at = footer_at - body_bytes;
  TENURE_ASSIGN_OR_RETURN(const std::string body, file.Read(body_at, body_bytes));
  if (HashBytes(body, body_bytes) != GetFixed64(footer.data() + 8))
    return Bad(path, body_at, "the trailer is bad");
  ByteReader reader(body);
  if (const uint32_t format = reader.Fixed32(); format > kSnapshotFormat) {
    return Error(StatusCode::kFailedPrecondition, "snapshot {} has format {}, this program knows up to {}",
                 path, format, kSnapshotFormat);
  }
  SnapshotMeta meta;
  meta.group = GroupId(reader.Fixed64());
  meta.mark.index = LogIndex(reader.Fixed64());
  meta.mark.term = Term(reader.Fixed64());
  meta.content_bytes = reader.Fixed64();
  meta.checksum = reader.Fixed64();
  TENURE_ASSIGN_OR_RETURN(meta.mark.configuration, raft::DecodeConfiguration(reader.Prefixed()));
  if (!reader.AtEnd() || meta.content_bytes != body_at)
    return Bad(path, body_at, "the trailer does not fit the file");
  return meta;
}

class RunningHash {
 public:
  RunningHash() : state_(XXH3_createState()) { XXH3_64bits_reset(state_); }
  ~RunningHash() { XXH3_freeState(state_); }
  RunningHash(const RunningHash&) = delete;
  RunningHash& operator=(const RunningHash&) = delete;
  void Add(std::string_view bytes) { XXH3_64bits_update(state_, bytes.data(), bytes.size()); }
  uint64_t value() const { return XXH3_64bits_digest(state_); }

 private:
  XXH3_state_t* state_;
};

Status HashContent(const File& file, uint64_t bytes, RunningHash& hash) {
  for (uint64_t at = 0; at < bytes;) {
    TENURE_ASSIGN_OR_RETURN(const std::string chunk,
                            file.Read(at, std::min<uint64_t>(kReadBytes, bytes - at)));
    if (chunk.empty()) return Error(StatusCode::kDataLoss, "snapshot file ends at {} of {} bytes", at, bytes);
    hash.Add(chunk);
    at += chunk.size();
  }
  return OkStatus();
}

class WriterImpl : public SnapshotWriter {
 public:
  WriterImpl(Disk& disk, std::string directory, std::string path, SnapshotId id, std::unique_ptr<File> file,
             Logger logger)
      : disk_(disk),
        directory_(std::move(directory)),
        path_(std::move(path)),
        id_(id),
        file_(std::move(file)),
        logger_(std::move(logger)) {}

  Status TakeOver(uint64_t bytes) {
    TENURE_RETURN_IF_ERROR(HashContent(*file_, bytes, hash_));
    offset_ = bytes;
    resumed_ = true;
    TENURE_RARE_PATH("wal: a snapshot is resumed");
    return OkStatus();
  }
  uint64_t offset() const override { return offset_; }

  Status Append(std::string_view chunk) override {
    TENURE_CHECK(file_ != nullptr, "snapshot writer used after its end");
    TENURE_RETURN_IF_ERROR(file_->Write(offset_, chunk));
    hash_.Add(chunk);
    offset_ += chunk.size();
    return OkStatus();
  }

  StatusOr<SnapshotMeta> Finish(const raft::SnapshotMark& mark, const SnapshotMeta* expected) override {
    TENURE_CHECK(file_ != nullptr && mark.index == id_.index && mark.term == id_.term,
                 "snapshot {}-{} finished with mark {}-{}", id_.index, id_.term, mark.index, mark.term);
    if (expected == nullptr && resumed_) {
      Discard();
      return Error(StatusCode::kDataLoss,
                   "snapshot of group {} at {}: resumed, but there is nothing to check it against", id_.group,
                   id_.index);
    }
    const SnapshotMeta meta{id_.group, mark, offset_, hash_.value()};
    if (expected != nullptr && *expected != meta) {
      const Status bad =
          Error(StatusCode::kDataLoss,
                "snapshot of group {} at {}: received {} bytes with checksum {:016x}, the sender has {} "
                "bytes with {:016x}",
                id_.group, id_.index, meta.content_bytes, meta.checksum, expected->content_bytes,
                expected->checksum);
      logger_.Warn("{}", MessageOf(bad));
      Discard();
      return bad;
    }
    TENURE_RETURN_IF_ERROR(file_->Write(offset_, EncodeTrailer(meta)));
    TENURE_RETURN_IF_ERROR(file_->SyncNow());
    file_.reset();
    TENURE_RETURN_IF_ERROR(disk_.Rename(path_ + std::string(kPart), path_));
    TENURE_RETURN_IF_ERROR(disk_.SyncDirectory(directory_));
    return meta;
  }

  void Discard() override {
    file_.reset();
    (void)disk_.Remove(path_ + std::string(kPart));
  }

 private:
  Disk& disk_;
  std::string directory_;
  std::string path_;
  SnapshotId id_;
  std::unique_ptr<File> file_;
  Logger logger_;
  RunningHash hash_;
  uint64_t offset_ = 0;
  bool resumed_ = false;
};

class ReaderImpl : public SnapshotReader {
 public:
  ReaderImpl(std::string path, std::unique_ptr<File> file, SnapshotMeta meta)
      : path_(std::move(path)), file_(std::move(file)), meta_(std::move(meta)) {}
  const SnapshotMeta& meta() const override { return meta_; }
  StatusOr<std::string> Read(uint64_t offset, size_t size) const override {
    if (offset >= meta_.content_bytes) return std::string();
    return file_->Read(offset, std::min<uint64_t>(size, meta_.content_bytes - offset));
  }
  Status Verify() const override {
    RunningHash hash;
    TENURE_RETURN_IF_ERROR(HashContent(*file_, meta_.content_bytes, hash));
    if (hash.value() != meta_.checksum) return Bad(path_, 0, "the content's checksum is wrong");
    return OkStatus();
  }

 private:
  std::string path_;
  std::unique_ptr<File> file_;
  SnapshotMeta meta_;
};

// "<group>-<index>-<term>.snap", with or without ".part".
std::optional<SnapshotId> ParseName(std::string_view name, bool* part) {
  *part = name.ends_with(kPart);
  if (*part) name.remove_suffix(kPart.size());
  if (!name.ends_with(kSuffix)) return std::nullopt;
  name.remove_suffix(kSuffix.size());
  uint64_t numbers[3];
  for (int i = 0; i < 3; ++i) {
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), numbers[i]);
    if (error != std::errc()) return std::nullopt;
    name.remove_prefix(static_cast<size_t>(end - name.data()));
    if (i < 2 && (name.empty() || name[0] != '-')) return std::nullopt;
    if (i < 2) name.remove_prefix(1);
  }
  if (!name.empty()) return std::nullopt;
  return SnapshotId{GroupId(numbers[0]), LogIndex(numbers[1]), Term(numbers[2])};
}

}  // namespace

StatusOr<std::unique_ptr<SnapshotStore>> SnapshotStore::Open(Disk& disk, std::string directory,
                                                             Logger logger) {
  TENURE_RETURN_IF_ERROR(disk.MakeDirectories(directory));
  // A process may have died between giving a snapshot its name and making that durable. Whoever finds it here
  // takes it for complete, and lets the log begin behind it.
  TENURE_RETURN_IF_ERROR(disk.SyncDirectory(directory));
  return std::unique_ptr<SnapshotStore>(new SnapshotStore(disk, std::move(directory), std::move(logger)));
}

std::string SnapshotStore::PathOf(const SnapshotId& id) const {
  return fmt::format("{}/{}-{}-{}{}", directory_, id.group, id.index, id.term, kSuffix);
}

StatusOr<std::unique_ptr<SnapshotWriter>> SnapshotStore::NewWriter(const SnapshotId& id, bool resume) {
  const std::string path = PathOf(id);
  TENURE_ASSIGN_OR_RETURN(auto file, disk_.Open(path + std::string(kPart), OpenMode::kCreate));
  TENURE_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  const uint64_t keep = resume ? size : 0;
  if (keep == 0 && size > 0) TENURE_RETURN_IF_ERROR(file->Truncate(0));
  auto writer = std::make_unique<WriterImpl>(disk_, directory_, path, id, std::move(file), logger_);
  if (keep > 0) TENURE_RETURN_IF_ERROR(writer->TakeOver(keep));
  return writer;
}

StatusOr<std::unique_ptr<SnapshotReader>> SnapshotStore::NewReader(const SnapshotId& id) const {
  const std::string path = PathOf(id);
  TENURE_ASSIGN_OR_RETURN(auto file, disk_.Open(path, OpenMode::kReadOnly));
  TENURE_ASSIGN_OR_RETURN(SnapshotMeta meta, ReadTrailer(*file, path));
  if (meta.id() != id) return Bad(path, meta.content_bytes, "the file is another snapshot under this name");
  return std::make_unique<ReaderImpl>(path, std::move(file), std::move(meta));
}

StatusOr<std::vector<SnapshotId>> SnapshotStore::List() const {
  return ListNamed(/*partial=*/false);
}
StatusOr<std::vector<SnapshotId>> SnapshotStore::ListPartial() const {
  return ListNamed(/*partial=*/true);
}
StatusOr<std::vector<SnapshotId>> SnapshotStore::ListNamed(bool partial) const {
  TENURE_ASSIGN_OR_RETURN(const auto names, disk_.List(directory_));
  std::vector<SnapshotId> ids;
  for (const std::string& name : names) {
    bool part = false;
    const auto id = ParseName(name, &part);
    if (id && part == partial) ids.push_back(*id);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

uint64_t SnapshotStore::PartialBytes(const SnapshotId& id) const {
  const std::string path = PathOf(id) + std::string(kPart);
  if (!disk_.Exists(path)) return 0;
  const auto file = disk_.Open(path, OpenMode::kReadOnly);
  if (!file.ok()) return 0;
  return (*file)->Size().value_or(0);
}

Status SnapshotStore::Remove(const SnapshotId& id) {
  TENURE_RETURN_IF_ERROR(RemoveFile(PathOf(id)));
  return RemovePartial(id);
}
Status SnapshotStore::RemovePartial(const SnapshotId& id) {
  return RemoveFile(PathOf(id) + std::string(kPart));
}
Status SnapshotStore::RemoveFile(const std::string& path) {
  if (!disk_.Exists(path)) return OkStatus();
  Status status = disk_.Remove(path);
  return status.code() == StatusCode::kNotFound ? OkStatus() : status;
}

Status SnapshotStore::RemoveGroup(GroupId group) {
  TENURE_ASSIGN_OR_RETURN(const auto names, disk_.List(directory_));
  for (const std::string& name : names) {
    bool part = false;
    const auto id = ParseName(name, &part);
    if (id && id->group == group) TENURE_RETURN_IF_ERROR(disk_.Remove(directory_ + "/" + name));
  }
  return OkStatus();
}

}  // namespace tenure::wal
