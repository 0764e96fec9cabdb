#include "group/snapshot_files.h"

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

  // The part of `id`, opened if it is not; another part of the group is given up.
  StatusOr<wal::SnapshotWriter*> Open(const wal::SnapshotId& id, bool resume) {
    const auto it = parts.find(id.group);
    if (it != parts.end() && it->second.id == id && resume) return it->second.writer.get();
    if (it != parts.end()) {
      it->second.writer->Discard();
      parts.erase(it);
    }
    TENURE_ASSIGN_OR_RETURN(std::unique_ptr<wal::SnapshotWriter> writer, store.NewWriter(id, resume));
    wal::SnapshotWriter* opened = writer.get();
    parts[id.group] = {id, std::move(writer)};
    return opened;
  }

  StatusOr<uint64_t> Append(const wal::SnapshotId& id, uint64_t offset, const std::string& chunk) {
    TENURE_ASSIGN_OR_RETURN(wal::SnapshotWriter * writer, Open(id, /*resume=*/offset != 0));
    if (writer->offset() != offset) return writer->offset();
    const Status status = writer->Append(chunk);
    if (!status.ok()) {
      parts.erase(id.group);
      return status;
    }
    return writer->offset();
  }

  StatusOr<wal::SnapshotMeta> Finish(const wal::SnapshotId& id, const raft::SnapshotMark& mark,
                                     const std::optional<wal::SnapshotMeta>& expected) {
    TENURE_ASSIGN_OR_RETURN(wal::SnapshotWriter * writer, Open(id, /*resume=*/true));
    auto meta = writer->Finish(mark, expected ? &*expected : nullptr);
    // After a failed sync nobody knows what the disk has of it.
    if (!meta.ok()) writer->Discard();
    parts.erase(id.group);
    return meta;
  }

  StatusOr<std::string> Read(const wal::SnapshotId& id, uint64_t offset, size_t max_bytes) {
    if (!reader || reader->meta().id() != id) {
      reader.reset();
      TENURE_ASSIGN_OR_RETURN(auto opened, store.NewReader(id));
      // What is installed or sent must be what was stored: slices carry no checksum of their own.
      TENURE_RETURN_IF_ERROR(opened->Verify());
      reader = std::move(opened);
    }
    return reader->Read(offset, max_bytes);
  }

  void RemoveBelow(GroupId group, LogIndex below) {
    const auto stored = store.List();
    if (!stored.ok()) return logger.Warn("snapshots cannot be listed: {}", MessageOf(stored.status()));
    for (const wal::SnapshotId& id : *stored) {
      if (id.group != group || id.index >= below) continue;
      if (reader && reader->meta().id() == id) reader.reset();
      const Status status = store.Remove(id);
      if (!status.ok()) logger.Warn("group {}: {}", group, MessageOf(status));
    }
  }

  Status RemoveGroup(GroupId group) {
    parts.erase(group);
    if (reader && reader->meta().group == group) reader.reset();
    Status status = store.RemoveGroup(group);
    if (!status.ok()) logger.Warn("group {}: {}", group, MessageOf(status));
    return status;
  }

  wal::SnapshotStore& store;
  Logger logger;
  std::map<GroupId, Part> parts;
  std::unique_ptr<wal::SnapshotReader> reader;  // the one read last
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
          std::erase_if(complete, [&](const auto& other) { return other.mark.index >= meta->mark.index; });
          complete.push_back(*meta);
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

void SnapshotFiles::Remove(GroupId group, LogIndex below) {
  const auto it = complete_.find(group);
  if (it == complete_.end()) return;
  if (std::erase_if(it->second, [&](const auto& stored) { return stored.mark.index < below; }) == 0) return;
  if (it->second.empty()) complete_.erase(it);
  background_.Post([files = files_, group, below] { files->RemoveBelow(group, below); });
}

void SnapshotFiles::RemoveGroup(GroupId group, Callback<Status> done) {
  complete_.erase(group);
  Run<Status>([group](Files& files) { return files.RemoveGroup(group); },
              [this, group, done = std::move(done)](Status status) mutable {
                // One may have become complete before it was removed, and its answer came after the first
                // line.
                complete_.erase(group);
                done(std::move(status));
              });
}

const wal::SnapshotMeta* SnapshotFiles::Find(GroupId group) const {
  const auto it = complete_.find(group);
  return it == complete_.end() ? nullptr : &it->second.back();
}

}  // namespace tenure::group
