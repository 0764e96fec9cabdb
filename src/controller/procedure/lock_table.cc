#include "controller/procedure/lock_table.h"

#include <algorithm>
#include <utility>

#include "catalog/procedures.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;

void LockTable::Clear() {
  entries_.clear();
  by_object_.clear();
  running_.clear();
  waiting_.clear();
}

void LockTable::Put(const pb::ProcedureRecord& procedure) {
  const uint64_t id = procedure.id();
  if (catalog::IsEnded(procedure.state())) return Erase(id);
  const auto [it, fresh] = entries_.try_emplace(id);
  Entry& entry = it->second;
  if (fresh) {
    entry.type = procedure.type();
    entry.parent = procedure.parent();
    Lock(id, entry, procedure);
    waiting_.insert(id);
  } else if (entry.locks.size() != static_cast<size_t>(procedure.locks_size())) {
    Unlock(id, entry);
    Lock(id, entry, procedure);
  }
  if (!catalog::HoldsLocks(procedure.state())) return;
  Begin(id);
  Count(entry, is_counted_(procedure));
}

void LockTable::Lock(uint64_t id, Entry& entry, const pb::ProcedureRecord& procedure) {
  entry.locks.assign(procedure.locks().begin(), procedure.locks().end());
  for (const pb::ProcedureLock& lock : entry.locks) by_object_[ObjectOf(lock)][id] = lock.shared();
}

void LockTable::Unlock(uint64_t id, Entry& entry) {
  for (const pb::ProcedureLock& lock : entry.locks) {
    const auto object = by_object_.find(ObjectOf(lock));
    if (object == by_object_.end()) continue;
    object->second.erase(id);
    if (object->second.empty()) by_object_.erase(object);
  }
}

void LockTable::Count(Entry& entry, bool counted) {
  if (std::exchange(entry.counted, counted) == counted) return;
  if (counted) {
    ++running_[entry.type];
  } else {
    --running_[entry.type];
  }
}

void LockTable::Erase(uint64_t id) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return;
  Unlock(id, it->second);
  Count(it->second, false);
  waiting_.erase(id);
  entries_.erase(it);
}

void LockTable::Begin(uint64_t id) {
  const auto it = entries_.find(id);
  if (it == entries_.end() || std::exchange(it->second.holds, true)) return;
  Count(it->second, true);
  waiting_.erase(id);
}

bool LockTable::IsAncestor(uint64_t ancestor, uint64_t of) const {
  for (auto it = entries_.find(of); it != entries_.end() && it->second.parent != 0;
       it = entries_.find(it->second.parent)) {
    if (it->second.parent == ancestor) return true;
  }
  return false;
}

std::vector<uint64_t> LockTable::Against(uint64_t id, const Entry& entry,
                                         const pb::ProcedureLock& lock) const {
  std::vector<uint64_t> against;
  const auto object = by_object_.find(ObjectOf(lock));
  if (object == by_object_.end()) return against;
  for (const auto& [other, shared] : object->second) {
    if (other == id || (shared && lock.shared())) continue;
    const bool before = entries_.at(other).holds || other < id;
    if (before && !(entry.parent != 0 && IsAncestor(other, id))) against.push_back(other);
  }
  return against;
}

bool LockTable::IsLimited(uint64_t id) const {
  const auto it = entries_.find(id);
  if (it == entries_.end() || it->second.holds) return false;
  const auto running = running_.find(it->second.type);
  return running != running_.end() && running->second >= limit_of_(it->second.type);
}

bool LockTable::MayBegin(uint64_t id) const {
  const auto it = entries_.find(id);
  if (it == entries_.end() || it->second.holds || IsLimited(id)) return false;
  return std::all_of(it->second.locks.begin(), it->second.locks.end(),
                     [&](const pb::ProcedureLock& lock) { return Against(id, it->second, lock).empty(); });
}

std::vector<uint64_t> LockTable::Ready() const {
  std::vector<uint64_t> ready;
  for (const uint64_t id : waiting_) {
    if (MayBegin(id)) ready.push_back(id);
  }
  return ready;
}

std::vector<pb::LockWait> LockTable::WaitsOf(uint64_t id) const {
  std::vector<pb::LockWait> waits;
  const auto it = entries_.find(id);
  if (it == entries_.end() || it->second.holds) return waits;
  for (const pb::ProcedureLock& lock : it->second.locks) {
    const std::vector<uint64_t> against = Against(id, it->second, lock);
    if (against.empty()) continue;
    pb::LockWait& wait = waits.emplace_back();
    *wait.mutable_lock() = lock;
    wait.mutable_holders()->Assign(against.begin(), against.end());
  }
  return waits;
}

}  // namespace tenure::controller
