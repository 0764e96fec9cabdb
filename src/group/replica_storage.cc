#include "group/replica_storage.h"

#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/codec.h"
#include "base/format.h"
#include "group/group_host.h"

namespace tenure::group {
namespace {

std::string GroupPrefix(GroupId group, char part) {
  std::string prefix;
  PutBigEndian64(prefix, group.value());
  prefix.push_back(part);
  return prefix;
}

// Below the host prefix: the replica whose state it is, of a group that came back.
constexpr char kOwnerKey = 'r';

kv::Batch RemovalOf(GroupId group) {
  kv::Batch batch;
  for (const std::string& prefix : {GroupHost::HostPrefix(group), GroupHost::StatePrefix(group)}) {
    batch.DeleteRange(prefix, kv::PrefixEnd(prefix));
  }
  return batch;
}

}  // namespace

std::string GroupHost::HostPrefix(GroupId group) {
  return GroupPrefix(group, 'm');
}
std::string GroupHost::StatePrefix(GroupId group) {
  return GroupPrefix(group, 's');
}
bool GroupHost::IsStateAbove(const kv::Reader& engine, GroupId group, ReplicaId gone) {
  if (gone.IsNone()) return true;
  const auto owner = engine.Get(HostPrefix(group) + kOwnerKey);
  return owner && ReplicaId(ByteReader(*owner).Fixed64()) > gone;
}

ReplicaStorage::ReplicaStorage(kv::Engine& engine, SnapshotFiles& files, Logger logger)
    : engine_(engine), files_(files), logger_(std::move(logger)) {}

// The removals of a replica that is gone may not have survived the crash that its tombstone survived. If
// another one came meanwhile, the engine may have lost all of that one's state, whose first write removes
// what was before and names the owner: then what is there is the old one's, perhaps of an index that the new
// one's log has not reached. (A snapshot that was not removed is of this group, at an index of this group's
// log: it is as good as a new one.)
void ReplicaStorage::RemoveLeftovers(GroupId group, const wal::RecoveredGroup& recovered) {
  if (recovered.tombstone) {
    if (HasState(group)) RemoveState(group);
    if (files_.HasAny(group)) files_.RemoveGroup(group, [](const Status&) {});
  } else if (!GroupHost::IsStateAbove(engine_, group, recovered.gone)) {
    logger_.Info("group {}: what is stored is the state of a replica that left: it is removed", group);
    SetOwner(group, recovered.replica);
  }
}

void ReplicaStorage::BeginEmpty(GroupId group, ReplicaId self, bool returns) {
  if (returns) {
    SetOwner(group, self);
  } else if (HasState(group)) {
    RemoveState(group);
  }
}

void ReplicaStorage::Remove(GroupId group, Callback<Status> done) {
  files_.RemoveGroup(group, [this, group, done = std::move(done)](const Status& status) mutable {
#ifndef TENURE_MUTANT_state_left_behind
    RemoveState(group);
#endif
    if (status.ok()) {
      remains_.erase(group);
    } else {
      remains_.insert(group);
    }
#ifdef TENURE_MUTANT_files_left_behind
    done(OkStatus());
#else
    done(status);
#endif
  });
}

// Something was left by an earlier run. Removing a range costs the engine something even if it is empty.
bool ReplicaStorage::HasState(GroupId group) {
  if (!groups_with_state_) {
    groups_with_state_.emplace();
    const auto iterator = engine_.NewIterator({}, {});
    while (iterator->Valid()) {
      TENURE_CHECK(iterator->key().size() > sizeof(uint64_t), "a key of {} bytes belongs to no group",
                   iterator->key().size());
      const uint64_t id = GetBigEndian64(iterator->key().data());
      groups_with_state_->insert(GroupId(id));
      if (id == std::numeric_limits<uint64_t>::max()) break;
      std::string next;
      PutBigEndian64(next, id + 1);
      iterator->Seek(next);
    }
  }
  return groups_with_state_->contains(group);
}

void ReplicaStorage::RemoveState(GroupId group) {
  engine_.Write(RemovalOf(group));
}

// The group's state is empty, and that of this replica.
void ReplicaStorage::SetOwner(GroupId group, ReplicaId owner) {
  kv::Batch batch = RemovalOf(group);
  std::string value;
  PutFixed64(value, owner.value());
  batch.Put(GroupHost::HostPrefix(group) + kOwnerKey, std::move(value));
  engine_.Write(std::move(batch));
}

}  // namespace tenure::group
