#include "wal/wal.h"

#include "base/format.h"
#include "base/hash.h"
#include "base/rare_path.h"
#include "wal/log_writer.h"
#include "wal/scanner.h"

namespace tenure::wal {
namespace {

using runtime::Disk;

class WalImpl : public Wal {
 public:
  WalImpl(std::shared_ptr<LogWriter> writer, std::map<GroupId, RecoveredGroup> recovered)
      : writer_(std::move(writer)), recovered_(std::move(recovered)) {}
  ~WalImpl() override { writer_->Stop(); }
  const std::map<GroupId, RecoveredGroup>& recovered() const override { return recovered_; }
  void Append(std::vector<Write> writes, Callback<Status> done) override {
    writer_->Submit(AppendOp{std::move(writes), std::move(done)});
  }
  void Read(GroupId group, LogIndex from, LogIndex to, size_t max_bytes,
            Callback<StatusOr<std::vector<raft::Entry>>> done) override {
    writer_->Submit(ReadOp{group, from, to, max_bytes, std::move(done)});
  }
  void Compact(GroupId group, raft::SnapshotMark mark) override {
    writer_->Submit(CompactOp{group, std::move(mark)});
  }
  void FindPinning(uint64_t max_bytes, Callback<std::vector<PinningGroup>> done) override {
    writer_->Submit(PinningOp{max_bytes, std::move(done)});
  }
  void Close(Callback<Status> done) override { writer_->Submit(CloseOp{std::move(done)}); }
  std::optional<Instant> WaitingSince() const override { return writer_->WaitingSince(); }
  bool LowOnSpace() const override { return writer_->LowOnSpace(); }
  uint64_t bytes_on_disk() const override { return writer_->bytes_on_disk(); }

 private:
  std::shared_ptr<LogWriter> writer_;
  std::map<GroupId, RecoveredGroup> recovered_;
};

std::string ParentOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

Status WriteZeros(runtime::File& file, const TornTail& torn) {
  const std::string zeros(1 << 20, '\0');
  for (uint64_t at = torn.from; at < torn.to; at += zeros.size()) {
    const uint64_t bytes = std::min<uint64_t>(zeros.size(), torn.to - at);
    TENURE_RETURN_IF_ERROR(file.Write(at, std::string_view(zeros).substr(0, bytes)));
  }
  return OkStatus();
}

// Everything after the end of the log becomes zeros again, so that stale bytes are never taken for a later
// commit.
Status CutTornTails(Disk& disk, const ScanResult& scan, const Logger& logger) {
  for (const TornTail& torn : scan.torn) {
    TENURE_RARE_PATH("wal: a torn tail is cut off");
    logger.Warn("{}: cut off a torn tail at offset {} ({} bytes): it was never acknowledged", torn.path,
                torn.from, torn.to - torn.from);
    TENURE_ASSIGN_OR_RETURN(const auto file, disk.Open(torn.path, runtime::OpenMode::kReadWrite));
    TENURE_RETURN_IF_ERROR(WriteZeros(*file, torn));
    TENURE_RETURN_IF_ERROR(file->SyncNow());
  }
  return OkStatus();
}

// The last commit was read, but perhaps only from memory: a process may have died before its sync, or after a
// failed one that left the pages marked clean. Before anything is built on it, it is written again and
// synced.
Status MakeLastCommitDurable(Disk& disk, const ScanResult& scan) {
  if (scan.segments.empty()) return OkStatus();
  const ScannedSegment& last = scan.segments.back();
  TENURE_ASSIGN_OR_RETURN(const auto file, disk.Open(last.path, runtime::OpenMode::kReadWrite));
  if (last.commits > 0) {
    // The segment header was written together with the first commit.
    const uint64_t from = last.commits == 1 ? 0 : scan.last_commit_offset;
    const uint64_t to = scan.last_commit_offset + scan.last_commit_bytes;
    TENURE_ASSIGN_OR_RETURN(const std::string bytes, file->Read(from, to - from));
    if (bytes.size() != to - from)
      return Error(StatusCode::kDataLoss, "{} became shorter while it was read", last.path);
    TENURE_RETURN_IF_ERROR(file->Write(from, bytes));
  }
  return file->SyncNow();
}

Status Repair(Disk& disk, const std::string& directory, const ScanResult& scan, const Logger& logger) {
  for (const std::string& path : scan.leftovers) {
    TENURE_RARE_PATH("wal: a segment half made by a crash is removed");
    logger.Info("removing {}, left behind by a crash", path);
    TENURE_RETURN_IF_ERROR(disk.Remove(path));
  }
  TENURE_RETURN_IF_ERROR(CutTornTails(disk, scan, logger));
  TENURE_RETURN_IF_ERROR(MakeLastCommitDurable(disk, scan));
  return disk.SyncDirectory(directory);
}

Status AddFiles(SegmentFiles& files, const ScanResult& scan) {
  for (const ScannedSegment& segment : scan.segments) {
    TENURE_RETURN_IF_ERROR(files.AddExisting(segment.number, segment.path, segment.size));
  }
  if (scan.blank) {
    if (!scan.segments.empty()) {
      return files.AddExistingSpare(scan.blank->number, scan.blank->path, scan.blank->size);
    }
    TENURE_RETURN_IF_ERROR(files.AddExisting(scan.blank->number, scan.blank->path, scan.blank->size));
  }
  if (files.empty()) return files.Roll(0);
  // Left by a crash while it grew.
  if (files.active().size % kSectorBytes != 0) return files.GrowActive(RoundUpToSector(files.active().size));
  return OkStatus();
}

StatusOr<std::map<GroupId, RecoveredGroup>> Recovered(const LogState& state) {
  std::map<GroupId, RecoveredGroup> recovered;
  for (const auto& [id, group] : state.groups()) {
    auto persisted = state.PersistedStateOf(group);
    if (!persisted.ok()) return Annotate(persisted.status(), fmt::format("wal: group {}", id));
    recovered[id].state = *std::move(persisted);
    recovered[id].replica = group.replica;
  }
  for (const auto& [id, gone] : state.tombstones()) {
    recovered[id].tombstone = state.IsBuried(id);
    recovered[id].gone = gone;
  }
  return recovered;
}

LogEnd EndOf(const ScanResult& scan, const std::string& directory, const runtime::Executor& executor) {
  LogEnd end;
  end.log_id = scan.log_id;
  if (end.log_id == 0) {
    // Need not be secret, only different from other logs'.
    const std::string seed = fmt::format("{} {} {}", directory, executor.WallNow().time_since_epoch().count(),
                                         executor.Now().time_since_epoch().count());
    end.log_id = std::max<uint64_t>(HashBytes(seed), 1);
  }
  end.previous = end.log_id;
  if (scan.segments.empty()) return end;
  end.next_sequence = scan.next_sequence;
  end.previous = scan.previous;
  end.offset = scan.segments.back().end;
  end.fresh = scan.segments.back().commits == 0;
  end.sealed = scan.sealed;
  return end;
}

}  // namespace

StatusOr<std::unique_ptr<Wal>> Wal::Open(Disk& disk, runtime::Executor& executor, std::string directory,
                                         WalOptions options, Logger logger, Callback<Status> on_failure) {
  TENURE_RETURN_IF_ERROR(disk.MakeDirectories(directory));
  TENURE_RETURN_IF_ERROR(disk.SyncDirectory(ParentOf(directory)));
  LogState state;
  LogScanner scanner(disk, directory, state);
  TENURE_ASSIGN_OR_RETURN(ScanResult scan, scanner.Run());
  if (scan.damage) {
    return Error(
        StatusCode::kDataLoss,
        "wal: {}. This is not a torn tail: what stood there was acknowledged. Replicas that lost data must "
        "not vote; `tenure repair` says which they are and drops them, so that the others can go on",
        scan.damage->ToString());
  }
  TENURE_RETURN_IF_ERROR(Repair(disk, directory, scan, logger));
  SegmentFiles files(disk, directory, options.segment_bytes);
  TENURE_RETURN_IF_ERROR(AddFiles(files, scan));
  TENURE_ASSIGN_OR_RETURN(auto recovered, Recovered(state));
  const LogEnd end = EndOf(scan, directory, executor);
  logger.Info("log of {} groups in {} segments, {} bytes, next commit {}{}", state.groups().size(),
              files.segments().size(), files.bytes_on_disk(), end.next_sequence,
              scan.clean ? ", stopped cleanly" : "");
  auto writer = std::make_shared<LogWriter>(executor, std::move(files), std::move(state), end, options,
                                            std::move(logger), std::move(on_failure));
  writer->Start();
  return std::make_unique<WalImpl>(std::move(writer), std::move(recovered));
}

}  // namespace tenure::wal
