#include "wal/repair.h"

#include "base/format.h"
#include "wal/entry_reader.h"
#include "wal/wal.h"

namespace tenure::wal {
namespace {

using runtime::Disk;

constexpr std::string_view kMarker = "/repair-under-way";
constexpr std::string_view kRepaired = "/wal.repaired";
constexpr size_t kChunkBytes = 1 << 20;
constexpr uint64_t kWindowBytes = 256 << 10;

std::string LogPath(const std::string& directory) {
  return directory + "/wal";
}

Status RemoveFiles(Disk& disk, const std::string& directory) {
  TENURE_ASSIGN_OR_RETURN(const auto names, disk.List(directory));
  for (const std::string& name : names) TENURE_RETURN_IF_ERROR(disk.Remove(directory + "/" + name));
  return disk.SyncDirectory(directory);
}

// The old log's files, for reading.
class OldLog {
 public:
  OldLog(Disk& disk, const std::string& directory) : disk_(disk), directory_(directory) {}
  Status Scan() {
    LogScanner scanner(disk_, directory_, state_);
    TENURE_ASSIGN_OR_RETURN(const ScanResult scan, scanner.Run());
    for (const ScannedSegment& segment : scan.segments)
      paths_[static_cast<uint32_t>(segment.number)] = segment.path;
    return OkStatus();
  }
  LogState& state() { return state_; }
  StatusOr<std::vector<raft::Entry>> Read(LogState::Group& group, LogIndex from) {
    return ReadEntries(group, from, group.last_index(), kChunkBytes,
                       [this](uint32_t number) { return ReaderOf(number); });
  }

 private:
  SegmentReader* ReaderOf(uint32_t number) {
    if (number == open_ && reader_) return &*reader_;
    const auto path = paths_.find(number);
    if (path == paths_.end()) return nullptr;
    auto file = disk_.Open(path->second, runtime::OpenMode::kReadOnly);
    if (!file.ok()) return nullptr;
    const auto size = (*file)->Size();
    if (!size.ok()) return nullptr;
    reader_.reset();
    file_ = *std::move(file);
    reader_.emplace(*file_, path->second, *size, kWindowBytes);
    open_ = number;
    return &*reader_;
  }

  Disk& disk_;
  std::string directory_;
  LogState state_;
  std::map<uint32_t, std::string> paths_;
  uint32_t open_ = 0;
  std::unique_ptr<runtime::File> file_;
  std::optional<SegmentReader> reader_;
};

// Copies group after group into a new log; lives until `done` has run.
class Builder : public std::enable_shared_from_this<Builder> {
 public:
  Builder(Disk& disk, runtime::Executor& executor, const std::string& directory, RepairPlan plan,
          WalOptions options, Logger logger, Callback<Status> done)
      : disk_(disk),
        executor_(executor),
        path_(directory + std::string(kRepaired)),
        old_(disk, LogPath(directory)),
        plan_(std::move(plan)),
        options_(options),
        logger_(std::move(logger)),
        done_(std::move(done)) {}

  void Start() {
    if (const Status status = Prepare(); !status.ok()) return End(status);
    next_group_ = plan_.kept.begin();
    std::vector<Write> writes;
    for (const auto& [id, gone] : plan_.tombstones)
      writes.push_back({.group = id, .tombstone = true, .gone = gone});
    for (const auto& [id, damage] : plan_.dropped) writes.push_back({.group = id, .tombstone = true});
    Append(std::move(writes));
  }

 private:
  Status Prepare() {
    if (plan_.everything)
      return Error(StatusCode::kFailedPrecondition, "part of the damage cannot be read: nothing can be kept");
    TENURE_RETURN_IF_ERROR(old_.Scan());
    TENURE_RETURN_IF_ERROR(disk_.MakeDirectories(path_));
    TENURE_RETURN_IF_ERROR(RemoveFiles(disk_, path_));
    // The old log may be larger than any bound of a running process: nothing is compacted here.
    options_.max_log_bytes = uint64_t{1} << 62;
    TENURE_ASSIGN_OR_RETURN(wal_, Wal::Open(disk_, executor_, path_, options_, logger_, [](Status) {}));
    return OkStatus();
  }

  void Append(std::vector<Write> writes) {
    wal_->Append(std::move(writes), [self = shared_from_this()](Status status) {
      if (!status.ok()) return self->End(status);
      self->Next();
    });
  }

  void Next() {
    if (next_group_ == plan_.kept.end()) return Finish();
    StatusOr<Write> write = NextWrite();
    if (!write.ok()) return End(write.status());
    std::vector<Write> writes;
    writes.push_back(*std::move(write));
    Append(std::move(writes));
  }

  StatusOr<Write> NextWrite() {
    const auto& [id, state] = *next_group_;
    LogState::Group* group = old_.state().Find(id);
    if (group == nullptr) return Error(StatusCode::kInternal, "group {} vanished while the log was read", id);
    Write write;
    write.group = id;
    if (next_index_.IsNone()) {
      write.replica = ReplicaOf(id);
      write.reset_to = state.mark;
      write.hard_state = state.hard_state;
      next_index_ = state.mark.index.Next();
    }
    if (next_index_ <= state.last_index) {
      TENURE_ASSIGN_OR_RETURN(write.entries, old_.Read(*group, next_index_));
      next_index_ = write.entries.back().index.Next();
    }
    if (next_index_ > state.last_index) {
      ++next_group_;
      next_index_ = LogIndex();
    }
    return write;
  }

  ReplicaId ReplicaOf(GroupId kept) const {
    const auto found = plan_.replicas.find(kept);
    return found == plan_.replicas.end() ? ReplicaId() : found->second;
  }

  void Finish() {
    wal_->Close([self = shared_from_this()](Status status) {
      // Not inside the log's own callback: it is destroyed here.
      self->executor_.Post([self, status = std::move(status)] {
        self->wal_.reset();
        self->End(status.ok() ? self->Verify() : status);
      });
    });
  }

  Status Verify() const {
    LogState state;
    LogScanner scanner(disk_, path_, state);
    TENURE_ASSIGN_OR_RETURN(const ScanResult scan, scanner.Run());
    if (scan.damage)
      return Error(StatusCode::kDataLoss, "the new log is damaged: {}", scan.damage->ToString());
    for (const auto& [id, kept] : plan_.kept) {
      const LogState::Group* group = state.Find(id);
      const bool same = group != nullptr && group->hard_state == kept.hard_state &&
                        group->replica == ReplicaOf(id) && group->mark_index == kept.mark.index &&
                        group->mark_term == kept.mark.term && group->last_index() == kept.last_index &&
                        group->terms == kept.terms;
      if (!same) return Error(StatusCode::kDataLoss, "the new log does not say the same of group {}", id);
    }
    std::map<GroupId, ReplicaId> tombstones = plan_.tombstones;
    for (const auto& [id, damage] : plan_.dropped) tombstones[id] = ReplicaId();
    if (state.tombstones() != tombstones)
      return Error(StatusCode::kDataLoss, "the new log does not have the tombstones it should have");
    return disk_.SyncDirectory(path_);
  }

  void End(const Status& status) {
    wal_.reset();
    if (done_) std::exchange(done_, nullptr)(Annotated(status));
  }
  Status Annotated(const Status& status) const {
    return status.ok() ? status : Annotate(status, "the repaired log in " + path_);
  }

  Disk& disk_;
  runtime::Executor& executor_;
  const std::string path_;
  OldLog old_;
  const RepairPlan plan_;
  WalOptions options_;
  Logger logger_;
  Callback<Status> done_;
  std::unique_ptr<Wal> wal_;
  std::map<GroupId, raft::PersistedState>::const_iterator next_group_;
  LogIndex next_index_;  // none: the group was not begun
};

}  // namespace

StatusOr<RepairPlan> PlanRepair(Disk& disk, const std::string& directory,
                                const std::map<GroupId, DamagedGroup>& also_drop) {
  LogState state;
  LogScanner scanner(disk, LogPath(directory), state);
  TENURE_ASSIGN_OR_RETURN(ScanResult scan, scanner.Run());
  if (!scan.damage && also_drop.empty()) {
    return Error(StatusCode::kFailedPrecondition, "the log in {} is healthy: there is nothing to repair",
                 LogPath(directory));
  }
  RepairPlan plan;
  plan.dropped = also_drop;
  if (scan.damage) {
    for (const auto& [id, damaged] : scan.damage->affected.groups) plan.dropped.insert({id, damaged});
    plan.everything = scan.damage->affected.incomplete;
    plan.damage = std::move(scan.damage);
  }
  // What was gone for ever before cannot be dropped once more.
  std::erase_if(plan.dropped, [&state](const auto& item) {
    const auto tombstone = state.tombstones().find(item.first);
    return tombstone != state.tombstones().end() && tombstone->second.IsNone();
  });
  for (const auto& [id, group] : state.groups()) {
    auto persisted = state.PersistedStateOf(group);
    if (!plan.dropped.contains(id) && (plan.everything || !persisted.ok()))
      plan.dropped[id].state_lost = true;
    if (!persisted.ok()) continue;
    const bool dropped = plan.dropped.contains(id);
    (dropped ? plan.remains : plan.kept)[id] = *std::move(persisted);
    if (!dropped && !group.replica.IsNone()) plan.replicas[id] = group.replica;
  }
  for (const auto& [id, gone] : state.tombstones()) {
    if (!plan.dropped.contains(id)) plan.tombstones[id] = gone;
  }
  return plan;
}

void BuildRepairedLog(Disk& disk, runtime::Executor& executor, const std::string& directory,
                      const RepairPlan& plan, WalOptions options, Logger logger, Callback<Status> done) {
  std::make_shared<Builder>(disk, executor, directory, plan, options, std::move(logger), std::move(done))
      ->Start();
}

bool SwapUnderWay(Disk& disk, const std::string& directory) {
  return disk.Exists(directory + std::string(kMarker));
}

StatusOr<std::string> SwapLogs(Disk& disk, const std::string& directory) {
  const std::string marker = directory + std::string(kMarker);
  const std::string repaired = directory + std::string(kRepaired);
  // The marker's content is where the damaged log goes: the same place whenever the swap is taken up again.
  std::string aside;
  if (SwapUnderWay(disk, directory)) {
    TENURE_ASSIGN_OR_RETURN(aside, runtime::ReadWholeFile(disk, marker));
  } else {
    for (int number = 1; aside.empty() || disk.Exists(aside); ++number)
      aside = fmt::format("{}.damaged-{}", LogPath(directory), number);
    TENURE_RETURN_IF_ERROR(runtime::WriteWholeFile(disk, marker, aside));
  }
  if (!disk.Exists(aside)) {
    TENURE_RETURN_IF_ERROR(disk.Rename(LogPath(directory), aside));
    TENURE_RETURN_IF_ERROR(disk.SyncDirectory(directory));
  }
  if (disk.Exists(repaired)) TENURE_RETURN_IF_ERROR(disk.Rename(repaired, LogPath(directory)));
  if (!disk.Exists(LogPath(directory))) {
    return Error(StatusCode::kDataLoss, "{} says that a repair is under way, but neither {} nor {} is there",
                 marker, repaired, LogPath(directory));
  }
  TENURE_RETURN_IF_ERROR(disk.SyncDirectory(directory));
  TENURE_RETURN_IF_ERROR(disk.Remove(marker));
  TENURE_RETURN_IF_ERROR(disk.SyncDirectory(directory));
  return aside;
}

}  // namespace tenure::wal
