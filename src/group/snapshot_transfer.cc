#include "group/snapshot_transfer.h"

#include "base/codec.h"
#include "base/format.h"
#include "base/hash.h"
#include "group/group_host.h"

namespace tenure::group {

struct SnapshotTransfer::Build {
  GroupId group;
  raft::SnapshotMark mark;
  std::unique_ptr<kv::Reader> snapshot;
  std::unique_ptr<kv::PrefixReader> state;
  std::unique_ptr<kv::Iterator> iterator;
  uint64_t offset = 0;
  std::vector<std::shared_ptr<Transfer>> waiting;
};

struct SnapshotTransfer::Transfer {
  GroupId group;
  ReplicaId from;
  ReplicaId peer;
  uint64_t to_host = 0;
  wal::SnapshotMeta info;
  uint64_t stalled = 0;  // answers in a row that brought nothing forward
};

struct SnapshotTransfer::Installation {
  GroupId group;
  raft::SnapshotMark mark;
  std::string state_prefix;
  std::string applied_key;
  uint64_t offset = 0;
  std::string rest;  // begin of a pair whose end is in the next chunk
  bool cleared = false;
  uint64_t hash = 0;  // of the pairs so far
  Callback<StatusOr<uint64_t>> done;
};

SnapshotTransfer::SnapshotTransfer(Dependencies dependencies, MarkSource mark_source, OnSent on_sent)
    : dependencies_(std::move(dependencies)),
      mark_source_(std::move(mark_source)),
      on_sent_(std::move(on_sent)) {}

SnapshotTransfer::~SnapshotTransfer() {
  *alive_ = false;
}

// ---- sending ----

void SnapshotTransfer::Send(GroupId group, ReplicaId from, ReplicaId peer, uint64_t to_host,
                            LogIndex at_least) {
  if (transfers_.contains({group, peer})) return;
  auto transfer = std::make_shared<Transfer>();
  transfer->group = group;
  transfer->from = from;
  transfer->peer = peer;
  transfer->to_host = to_host;
  transfers_[{group, peer}] = transfer;
  const auto stored = dependencies_.files.Find(group);
  if (stored && stored->mark.index >= at_least) {
    transfer->info = *stored;
    return Offer(transfer);
  }
  StartBuild(group);
  const auto build = builds_.find(group);
  if (build == builds_.end()) return Ended(transfer, false);
  build->second->waiting.push_back(transfer);
}

void SnapshotTransfer::StartBuild(GroupId group) {
  if (builds_.contains(group)) return;
  const auto mark = mark_source_(group);
  if (!mark) return;
  auto build = std::make_shared<Build>();
  build->group = group;
  build->mark = *mark;
  build->snapshot = dependencies_.engine.NewSnapshot();
  build->state = std::make_unique<kv::PrefixReader>(*build->snapshot, GroupHost::StatePrefix(group));
  build->iterator = build->state->NewIterator({}, {});
  builds_[group] = build;
  dependencies_.logger.Info("group {}: building a snapshot at index {}", group, mark->index);
  BuildSlice(std::move(build));
}

void SnapshotTransfer::BuildSlice(std::shared_ptr<Build> build) {
  std::string chunk;
  while (build->iterator->Valid() && chunk.size() < dependencies_.chunk_bytes) {
    PutPrefixed(chunk, build->iterator->key());
    PutPrefixed(chunk, build->iterator->value());
    build->iterator->Next();
  }
  const bool complete = !build->iterator->Valid();
  const uint64_t expected = build->offset + chunk.size();
  dependencies_.files.Append(build->group, build->mark, build->offset, std::move(chunk),
                             [this, build, complete, expected](StatusOr<uint64_t> size) mutable {
                               const auto current = builds_.find(build->group);
                               if (current == builds_.end() || current->second != build) return;
                               if (!size.ok() || *size != expected) {
                                 dependencies_.logger.Warn(
                                     "group {}: snapshot not built: {}", build->group,
                                     size.ok() ? "another one is being written" : MessageOf(size.status()));
                                 return BuildEnded(build->group, false);
                               }
                               build->offset = expected;
                               if (complete) return FinishBuild(std::move(build));
                               BuildSlice(std::move(build));
                             });
}

void SnapshotTransfer::FinishBuild(std::shared_ptr<Build> build) {
  dependencies_.files.Finish(build->group, build->mark, std::nullopt,
                             [this, build](StatusOr<wal::SnapshotMeta> info) {
                               const auto current = builds_.find(build->group);
                               if (current == builds_.end() || current->second != build) return;
                               if (!info.ok()) {
                                 dependencies_.logger.Warn("group {}: snapshot not finished: {}",
                                                           build->group, MessageOf(info.status()));
                                 return BuildEnded(build->group, false);
                               }
                               for (auto& transfer : build->waiting) transfer->info = *info;
                               BuildEnded(build->group, true);
                             });
}

void SnapshotTransfer::BuildEnded(GroupId group, bool ok) {
  auto node = builds_.extract(group);
  for (auto& transfer : node.mapped()->waiting) {
    if (ok) {
      Offer(transfer);
    } else {
      Ended(transfer, false);
    }
  }
}

void SnapshotTransfer::Offer(std::shared_ptr<Transfer> transfer) {
  SnapshotOffer offer;
  offer.group = transfer->group;
  offer.from = transfer->from;
  offer.to = transfer->peer;
  offer.mark = transfer->info.mark;
  offer.total_bytes = transfer->info.content_bytes;
  offer.checksum = transfer->info.checksum;
  dependencies_.transport.Offer(
      transfer->to_host, offer, [this, alive = alive_, transfer](StatusOr<uint64_t> next) {
        if (!*alive) return;
        if (!next.ok()) {
          dependencies_.logger.Warn("group {}: snapshot for replica {}: {}", transfer->group, transfer->peer,
                                    MessageOf(next.status()));
          return Ended(transfer, false);
        }
        SendChunk(transfer, *next);
      });
}

void SnapshotTransfer::SendChunk(std::shared_ptr<Transfer> transfer, uint64_t offset) {
  const auto current = transfers_.find({transfer->group, transfer->peer});
  if (current == transfers_.end() || current->second != transfer) return;
  if (offset > transfer->info.content_bytes)
    return Ended(transfer, true);  // kept whole by the receiver already
  auto on_read = [this, transfer, offset](StatusOr<std::string> content) {
    if (content.ok()) return PutChunk(transfer, offset, *std::move(content));
    dependencies_.logger.Warn("group {}: a stored snapshot is given up: {}", transfer->group,
                              MessageOf(content.status()));
    // The next one that is asked for is built anew. What could not be read for another reason may be all there
    // is before this log's beginning.
    const StatusCode code = content.status().code();
    if (code == StatusCode::kDataLoss || code == StatusCode::kNotFound) {
      const LogIndex index = transfer->info.mark.index;
      dependencies_.files.Remove(transfer->group, index.Next(), index);
    }
    Ended(transfer, false);
  };
  dependencies_.files.Read(transfer->group, transfer->info.mark, offset, dependencies_.chunk_bytes,
                           std::move(on_read));
}

void SnapshotTransfer::PutChunk(std::shared_ptr<Transfer> transfer, uint64_t offset, std::string content) {
  const uint64_t expected = offset + content.size();
  SnapshotChunk chunk;
  chunk.group = transfer->group;
  chunk.to = transfer->peer;
  chunk.mark = transfer->info.mark;
  chunk.offset = offset;
  chunk.checksum = HashBytes(content);
  chunk.last = expected == transfer->info.content_bytes;
  chunk.content = std::move(content);
  const bool last = chunk.last;
  auto on_put = [this, alive = alive_, transfer, expected, last](StatusOr<uint64_t> next) {
    if (!*alive) return;
    if (!next.ok()) {
      dependencies_.logger.Warn("group {}: snapshot chunk for replica {}: {}", transfer->group,
                                transfer->peer, MessageOf(next.status()));
      return Ended(transfer, false);
    }
    if (last && *next == expected) return Ended(transfer, true);
    transfer->stalled = *next == expected ? 0 : transfer->stalled + 1;
    if (transfer->stalled > 3) return Ended(transfer, false);
    SendChunk(transfer, *next);
  };
  dependencies_.transport.PutChunk(transfer->to_host, std::move(chunk), std::move(on_put));
}

void SnapshotTransfer::Ended(std::shared_ptr<Transfer> transfer, bool ok) {
  const auto current = transfers_.find({transfer->group, transfer->peer});
  if (current == transfers_.end() || current->second != transfer) return;
  transfers_.erase(current);
  on_sent_(transfer->group, transfer->peer, transfer->info.mark.index, ok);
}

// ---- receiving ----

void SnapshotTransfer::Receive(SnapshotOffer offer, Callback<StatusOr<uint64_t>> done) {
  if (dependencies_.files.Find(offer.group, offer.mark) != nullptr) {
    return done(offer.total_bytes + 1);  // complete already
  }
  offered_[offer.group] = {offer.group, offer.mark, offer.total_bytes, offer.checksum};
  dependencies_.files.PartSize(
      offer.group, offer.mark,
      [total = offer.total_bytes, done = std::move(done)](StatusOr<uint64_t> size) mutable {
        // More than the content: it was about to be completed and was not. What the disk kept of it is
        // unknown.
        if (size.ok() && *size > total) size = uint64_t{0};
        done(std::move(size));
      });
}

void SnapshotTransfer::Receive(SnapshotChunk chunk, Callback<StatusOr<uint64_t>> done) {
  if (HashBytes(chunk.content) != chunk.checksum) {
    return done(Error(StatusCode::kDataLoss, "snapshot of group {}: chunk at {} fails its checksum",
                      chunk.group, chunk.offset));
  }
  const auto offered = offered_.find(chunk.group);
  if (offered == offered_.end() || offered->second.mark.index != chunk.mark.index ||
      offered->second.mark.term != chunk.mark.term) {
    return done(Error(StatusCode::kFailedPrecondition, "snapshot of group {} at index {} was not offered",
                      chunk.group, chunk.mark.index));
  }
  const wal::SnapshotMeta info = offered->second;
  const uint64_t expected = chunk.offset + chunk.content.size();
  const bool last = chunk.last;
  dependencies_.files.Append(
      chunk.group, info.mark, chunk.offset, std::move(chunk.content),
      [this, info, expected, last, done = std::move(done)](StatusOr<uint64_t> size) mutable {
        if (!size.ok() || *size != expected || !last) return done(std::move(size));
        dependencies_.files.Finish(
            info.group, info.mark, info,
            [expected, done = std::move(done)](StatusOr<wal::SnapshotMeta> finished) mutable {
              if (!finished.ok()) return done(finished.status());
              done(expected);
            });
      });
}

// ---- installing ----

void SnapshotTransfer::Install(GroupId group, const raft::SnapshotMark& mark, std::string state_prefix,
                               std::string applied_key, Callback<StatusOr<uint64_t>> done) {
  auto installation = std::make_shared<Installation>();
  installation->group = group;
  installation->mark = mark;
  installation->state_prefix = std::move(state_prefix);
  installation->applied_key = std::move(applied_key);
  installation->done = std::move(done);
  installations_[group] = installation;
  InstallSlice(std::move(installation));
}

void SnapshotTransfer::InstallSlice(std::shared_ptr<Installation> installation) {
  dependencies_.files.Read(
      installation->group, installation->mark, installation->offset, dependencies_.chunk_bytes,
      [this, installation](StatusOr<std::string> content) {
        // Of a replica that is gone: its state is, too, or will be.
        const auto current = installations_.find(installation->group);
        if (current == installations_.end() || current->second != installation) return;
        if (!content.ok()) return EndInstallation(installation, content.status());
        kv::Batch batch;
        if (!installation->cleared) {
          // From here on the state is neither the old nor the new one: the applied record goes with it.
          batch.Delete(installation->applied_key);
          batch.DeleteRange(installation->state_prefix, kv::PrefixEnd(installation->state_prefix));
          installation->cleared = true;
        }
        installation->offset += content->size();
        const bool end = content->empty();
        installation->rest += *content;
        std::string_view rest = installation->rest;
        for (;;) {
          ByteReader in(rest);
          const std::string_view key = in.Prefixed();
          const std::string_view value = in.Prefixed();
          if (!in.ok()) break;
          batch.Put(installation->state_prefix + std::string(key), std::string(value));
          installation->hash += HashPair(key, value);
          rest = in.rest();
        }
        installation->rest = std::string(rest);
        dependencies_.engine.Write(std::move(batch));
        if (!end) return InstallSlice(installation);
        if (!installation->rest.empty()) {
          return EndInstallation(installation,
                                 Error(StatusCode::kDataLoss, "snapshot of group {}: {} bytes left over",
                                       installation->group, installation->rest.size()));
        }
        EndInstallation(installation, installation->hash);
      });
}

void SnapshotTransfer::EndInstallation(const std::shared_ptr<Installation>& installation,
                                       StatusOr<uint64_t> result) {
  installations_.erase(installation->group);
  installation->done(std::move(result));
}

void SnapshotTransfer::Forget(GroupId group) {
  builds_.erase(group);
  offered_.erase(group);
  installations_.erase(group);
  std::erase_if(transfers_, [group](const auto& item) { return item.first.first == group; });
}

std::optional<LogIndex> SnapshotTransfer::OldestMark(GroupId group) const {
  std::optional<LogIndex> oldest;
  const auto note = [&oldest](LogIndex mark) {
    if (!mark.IsNone()) oldest = std::min(mark, oldest.value_or(mark));
  };
  if (const auto build = builds_.find(group); build != builds_.end()) note(build->second->mark.index);
  for (auto it = transfers_.lower_bound({group, ReplicaId()});
       it != transfers_.end() && it->first.first == group; ++it) {
    note(it->second->info.mark.index);
  }
  return oldest;
}

bool SnapshotTransfer::Sending(GroupId group) const {
  const auto it = transfers_.lower_bound({group, ReplicaId()});
  return it != transfers_.end() && it->first.first == group;
}

}  // namespace tenure::group
