// Snapshots of a host's groups on their way: built from kv in slices, sent to peers chunk by chunk, received
// into the store, installed into kv in slices. Nothing here runs longer than a slice in one turn.
//
// Content: key-value pairs of the group's state in key order, each as two length-prefixed byte strings, keys
//          without the group's prefix.
//
// Driven by GroupHost. It does not decide when a snapshot is due (raft) or what is trimmed (GroupHost).
// Threading:  the host's executor.
// Errors:     a transfer that fails is reported as not sent; raft asks again.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/function.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/status.h"
#include "group/snapshot_files.h"
#include "group/transport.h"
#include "kv/kv.h"
#include "raft/types.h"
#include "runtime/executor.h"

namespace tenure::group {

class SnapshotTransfer {
 public:
  struct Dependencies {
    runtime::Executor& executor;
    kv::Engine& engine;
    SnapshotFiles& files;
    Transport& transport;
    Logger logger;
    size_t chunk_bytes;
  };
  // What the next snapshot of a group would stand for; nullopt: the group is gone, or being replaced itself.
  using MarkSource = std::function<std::optional<raft::SnapshotMark>(GroupId)>;
  using OnSent = std::function<void(GroupId, ReplicaId peer, LogIndex mark_index, bool ok)>;

  SnapshotTransfer(Dependencies dependencies, MarkSource mark_source, OnSent on_sent);
  ~SnapshotTransfer();

  // Brings `peer` a snapshot with mark.index >= at_least, a stored one if it will do. Ends in OnSent.
  void Send(GroupId group, ReplicaId from, ReplicaId peer, uint64_t to_host, LogIndex at_least);
  void Receive(SnapshotOffer offer, Callback<StatusOr<uint64_t>> done);
  void Receive(SnapshotChunk chunk, Callback<StatusOr<uint64_t>> done);
  // Replaces the group's state in kv by the stored snapshot with this mark; the host's applied record is
  // cleared with the first slice and written by the caller afterwards. `done` gets the hash of the new state
  // (HashState). NOT_FOUND if it is not stored; DATA_LOSS, with the old state untouched, if it is damaged.
  void Install(GroupId group, const raft::SnapshotMark& mark, std::string state_prefix,
               std::string applied_key, Callback<StatusOr<uint64_t>> done);
  // Stops what is under way for a destroyed group.
  void Forget(GroupId group);
  bool Sending(GroupId group) const;
  // Of the snapshots of the group that are being made or sent.
  std::optional<LogIndex> OldestMark(GroupId group) const;

 private:
  struct Build;
  struct Transfer;
  struct Installation;

  void StartBuild(GroupId group);
  void BuildSlice(std::shared_ptr<Build> build);
  void FinishBuild(std::shared_ptr<Build> build);
  void BuildEnded(GroupId group, bool ok);
  void Offer(std::shared_ptr<Transfer> transfer);
  void SendChunk(std::shared_ptr<Transfer> transfer, uint64_t offset);
  void PutChunk(std::shared_ptr<Transfer> transfer, uint64_t offset, std::string content);
  void Ended(std::shared_ptr<Transfer> transfer, bool ok);
  void InstallSlice(std::shared_ptr<Installation> installation);
  void EndInstallation(const std::shared_ptr<Installation>& installation, StatusOr<uint64_t> result);

  Dependencies dependencies_;
  MarkSource mark_source_;
  OnSent on_sent_;
  std::map<GroupId, std::shared_ptr<Build>> builds_;
  std::map<std::pair<GroupId, ReplicaId>, std::shared_ptr<Transfer>> transfers_;
  // What offers announced, for the verification of the last chunk.
  std::map<GroupId, wal::SnapshotMeta> offered_;
  std::map<GroupId, std::shared_ptr<Installation>> installations_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::group
