#include "group/snapshot_files.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "base/format.h"

namespace tenure::group {
namespace {

wal::SnapshotId IdOf(GroupId group, const raft::SnapshotMark& mark) {
  return {group, mark.index, mark.term};
}

}  // namespace

struct SnapshotFiles::Files {
  struct Part {
    wal::SnapshotId id;
    std::unique_ptr<wal::SnapshotWriter> writer;
  };

  Files(wal::SnapshotStore& store_in, Logger logger_in) : store(store_in), logger(std::move(logger_in)) {}

  // The part of `id`, opened if it is not; other parts of the group are given up, an earlier run's too.
  StatusOr<wal::SnapshotWriter*> Open(const wal::SnapshotId& id, bool resume) {
    const auto it = parts.find(id.group);
    if (it != parts.end() && it->second.id == id && resume) return it->second.writer.get();
    Discard(id.group);
    TENURE_ASSIGN_OR_RETURN(const std::vector<wal::SnapshotId> stored, store.ListPartial());
    for (const wal::SnapshotId& other : stored) {
      if (other.group == id.group && other != id) TENURE_RETURN_IF_ERROR(store.RemovePartial(other));
    }
    TENURE_ASSIGN_OR_RETURN(std::unique_ptr<wal::SnapshotWriter> writer, store.NewWriter(id, resume));
    wal::SnapshotWriter* opened = writer.get();
    parts[id.group] = {id, std::move(writer)};
    return opened;
  }

  void Discard(GroupId group) {
    const auto part = parts.extract(group);
    if (part) part.mapped().writer->Discard();
  }

  StatusOr<uint64_t> Append(const wal::SnapshotId& id, uint64_t offset, const std::string& chunk) {
    TENURE_ASSIGN_OR_RETURN(wal::SnapshotWriter * writer, Open(id, /*resume=*/offset != 0));
    if (writer->offset() != offset) return writer->offset();
    const Status status = writer->Append(chunk);
    if (!status.ok()) {
      Discard(id.group);  // the disk may be full, of this
      return status;
    }
    return writer->offset();
  }

  StatusOr<wal::SnapshotMeta> Finish(const wal::SnapshotId& id, const raft::SnapshotMark& mark,
                                     const std::optional<wal::SnapshotMeta>& expected) {
    const auto part = parts.find(id.group);
    if (part == parts.end() || part->second.id != id) {
      return Error(StatusCode::kAborted, "another snapshot of group {} was begun", id.group);
    }
    auto meta = part->second.writer->Finish(mark, expected ? &*expected : nullptr);
    // After a failed sync nobody knows what the disk has of it.
    if (!meta.ok()) part->second.writer->Discard();
    parts.erase(part);
    return meta;
  }

  StatusOr<std::string> Read(const wal::SnapshotId& id, uint64_t offset, size_t max_bytes) {
    if (!reader || reader->meta().id() != id) {
      reader.reset();
      TENURE_ASSIGN_OR_RETURN(reader, store.NewReader(id));
    }
    // What is installed or sent must be what was stored: slices carry no checksum of their own. Once for each
    // time it is read: several may be at the same time, and then each slice is of another one.
    if (offset == 0 || !verified.contains(id)) {
      verified.erase(id);
      TENURE_RETURN_IF_ERROR(reader->Verify());
      verified.insert(id);
    }
    return reader->Read(offset, max_bytes);
  }

  void Remove(GroupId group, LogIndex from, LogIndex below) {
    const auto is_meant = [&](const wal::SnapshotId& id) {
      return id.group == group && id.index < below && !(id.index < from);
    };
    const auto remove = [&](const StatusOr<std::vector<wal::SnapshotId>>& stored, auto remove_one) {
      if (!stored.ok()) return logger.Warn("snapshots cannot be listed: {}", MessageOf(stored.status()));
      for (const wal::SnapshotId& id : *stored) {
        const Status status = is_meant(id) ? remove_one(id) : OkStatus();
        if (!status.ok()) logger.Warn("group {}: {}", group, MessageOf(status));
      }
    };
    if (reader && is_meant(reader->meta().id())) reader.reset();
    std::erase_if(verified, is_meant);
    remove(store.List(), [this](const wal::SnapshotId& id) { return store.Remove(id); });
    if (const auto part = parts.find(group); part != parts.end() && is_meant(part->second.id)) Discard(group);
    remove(store.ListPartial(), [this](const wal::SnapshotId& id) { return store.RemovePartial(id); });
  }

  Status RemoveGroup(GroupId group) {
    parts.erase(group);
    if (reader && reader->meta().group == group) reader.reset();
    std::erase_if(verified, [group](const wal::SnapshotId& id) { return id.group == group; });
    Status status = store.RemoveGroup(group);
    if (!status.ok()) logger.Warn("group {}: {}", group, MessageOf(status));
    return status;
  }

  wal::SnapshotStore& store;
  Logger logger;
  std::map<GroupId, Part> parts;
  std::unique_ptr<wal::SnapshotReader> reader;  // the one read last
  std::set<wal::SnapshotId> verified;           // since they were read from the beginning
};

SnapshotFiles::SnapshotFiles(runtime::Executor& home, runtime::Executor& background,
                             wal::SnapshotStore& store, Logger logger)
    : home_(home), background_(background), files_(std::make_shared<Files>(store, logger)) {
  const auto stored = store.List();
  if (!stored.ok()) {
    logger.Warn("snapshots cannot be listed: {}", MessageOf(stored.status()));
    return;
  }
  for (const wal::SnapshotId& id : *stored) {
    const auto reader = store.NewReader(id);
    if (!reader.ok()) {
      logger.Warn("group {}: a snapshot is not used: {}", id.group, MessageOf(reader.status()));
      continue;
    }
    complete_[id.group].push_back((*reader)->meta());
  }
  const auto partial = store.ListPartial();
  if (!partial.ok()) return;
  for (const wal::SnapshotId& id : *partial) partial_[id.group] = id.index;
}

// What is still queued on `background` keeps the files' state alive until it has run.
SnapshotFiles::~SnapshotFiles() {
  *alive_ = false;
}

template <class T, class Work>
void SnapshotFiles::Run(Work work, Callback<T> done) {
  background_.Post([alive = alive_, home = &home_, files = files_, work = std::move(work),
                    done = std::move(done)]() mutable {
    T result = work(*files);
    home->Post([alive = std::move(alive), result = std::move(result), done = std::move(done)]() mutable {
      if (*alive) done(std::move(result));
    });
  });
}

void SnapshotFiles::Append(GroupId group, const raft::SnapshotMark& mark, uint64_t offset, std::string chunk,
                           Callback<StatusOr<uint64_t>> done) {
  partial_[group] = std::max(partial_[group], mark.index);
  Run<StatusOr<uint64_t>>([id = IdOf(group, mark), offset, chunk = std::move(chunk)](
                              Files& files) { return files.Append(id, offset, chunk); },
                          std::move(done));
}

void SnapshotFiles::PartSize(GroupId group, const raft::SnapshotMark& mark,
                             Callback<StatusOr<uint64_t>> done) {
  Run<StatusOr<uint64_t>>(
      [id = IdOf(group, mark)](Files& files) -> StatusOr<uint64_t> { return files.store.PartialBytes(id); },
      std::move(done));
}

void SnapshotFiles::Finish(GroupId group, const raft::SnapshotMark& mark,
                           std::optional<wal::SnapshotMeta> expected,
                           Callback<StatusOr<wal::SnapshotMeta>> done) {
  Run<StatusOr<wal::SnapshotMeta>>(
      [id = IdOf(group, mark), mark, expected = std::move(expected)](Files& files) {
        return files.Finish(id, mark, expected);
      },
      [this, group, done = std::move(done)](StatusOr<wal::SnapshotMeta> meta) mutable {
        if (meta.ok()) {
          auto& complete = complete_[group];
          const LogIndex index = meta->mark.index;
          std::erase_if(complete, [&](const auto& other) { return other.mark.index == index; });
          complete.insert(std::find_if(complete.begin(), complete.end(),
                                       [&](const auto& other) { return other.mark.index > index; }),
                          *meta);
          if (const auto it = partial_.find(group); it != partial_.end() && it->second <= index) {
            partial_.erase(it);
          }
        }
        done(std::move(meta));
      });
}

void SnapshotFiles::Read(GroupId group, const raft::SnapshotMark& mark, uint64_t offset, size_t max_bytes,
                         Callback<StatusOr<std::string>> done) {
  Run<StatusOr<std::string>>(
      [id = IdOf(group, mark), offset, max_bytes](Files& files) { return files.Read(id, offset, max_bytes); },
      std::move(done));
}

void SnapshotFiles::Remove(GroupId group, LogIndex below, LogIndex from) {
  const auto is_meant = [&](LogIndex index) { return index < below && !(index < from); };
  bool found = false;
  if (const auto it = complete_.find(group); it != complete_.end()) {
    found = std::erase_if(it->second, [&](const auto& stored) { return is_meant(stored.mark.index); }) > 0;
    if (it->second.empty()) complete_.erase(it);
  }
  if (const auto it = partial_.find(group); it != partial_.end() && is_meant(it->second)) {
    found = true;
    partial_.erase(it);
  }
  if (!found) return;
  background_.Post([files = files_, group, from, below] { files->Remove(group, from, below); });
}

void SnapshotFiles::RemoveGroup(GroupId group, Callback<Status> done) {
  complete_.erase(group);
  partial_.erase(group);
  Run<Status>([group](Files& files) { return files.RemoveGroup(group); },
              [this, group, done = std::move(done)](Status status) mutable {
                // One may have become complete before it was removed, and its answer came after the first
                // line.
                complete_.erase(group);
                done(std::move(status));
              });
}

bool SnapshotFiles::HasAny(GroupId group) const {
  return complete_.contains(group) || partial_.contains(group);
}

const wal::SnapshotMeta* SnapshotFiles::Find(GroupId group) const {
  const auto it = complete_.find(group);
  return it == complete_.end() ? nullptr : &it->second.back();
}

const wal::SnapshotMeta* SnapshotFiles::Find(GroupId group, const raft::SnapshotMark& mark) const {
  const auto it = complete_.find(group);
  if (it == complete_.end()) return nullptr;
  const auto found = std::ranges::find_if(it->second, [&mark](const wal::SnapshotMeta& stored) {
    return stored.mark.index == mark.index && stored.mark.term == mark.term;
  });
  return found == it->second.end() ? nullptr : &*found;
}

}  // namespace tenure::group
