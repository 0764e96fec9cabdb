// Which procedures may begin: locks on catalog objects, shared or exclusive, and limits per type.
//
// Derived from the records: a procedure that has begun holds the locks of its record until it ends, or until
// a step has taken them off the record; one that has not waits.
// A procedure takes all of its locks at once, when all of them are free, so nobody holds one lock while it
// waits for another. Fair: one that waits goes before every later one that wants the same object. What an
// ancestor holds does not stand in a descendant's way.
// Threading:  one owner.
// Reference:  docs/procedures.md, "locks".
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tenure/v1/catalog.pb.h"
#include "tenure/v1/procedures.pb.h"

namespace tenure::controller {

class LockTable {
 public:
  using LimitOf = std::function<size_t(const std::string& type)>;
  using IsCounted = std::function<bool(const ::tenure::v1::ProcedureRecord& procedure)>;

  // `limit_of`: how many of a type may run at once; `is_counted`: whether one that runs is one of them.
  explicit LockTable(
      LimitOf limit_of, IsCounted is_counted = [](const auto&) { return true; })
      : limit_of_(std::move(limit_of)), is_counted_(std::move(is_counted)) {}

  void Clear();
  // The record was made or has changed.
  void Put(const ::tenure::v1::ProcedureRecord& procedure);
  void Erase(uint64_t id);
  // It is going to begin: holds its locks before its record says so.
  void Begin(uint64_t id);

  // Procedures that wait and may begin now, by id. Each that does is to be given to Begin before the next is
  // asked for.
  std::vector<uint64_t> Ready() const;
  bool MayBegin(uint64_t id) const;
  // Why a procedure waits; empty if it does not.
  std::vector<::tenure::v1::LockWait> WaitsOf(uint64_t id) const;
  // The limit of its type is what it waits for.
  bool IsLimited(uint64_t id) const;

 private:
  struct Entry {
    std::string type;
    uint64_t parent = 0;
    bool holds = false;
    bool counted = false;  // as running
    std::vector<::tenure::v1::ProcedureLock> locks;
  };
  using Object = std::pair<int, uint64_t>;

  void Lock(uint64_t id, Entry& entry, const ::tenure::v1::ProcedureRecord& procedure);
  void Unlock(uint64_t id, Entry& entry);
  void Count(Entry& entry, bool counted);
  static Object ObjectOf(const ::tenure::v1::ProcedureLock& lock) { return {lock.object(), lock.id()}; }
  bool IsAncestor(uint64_t ancestor, uint64_t of) const;
  std::vector<uint64_t> Against(uint64_t id, const Entry& entry,
                                const ::tenure::v1::ProcedureLock& lock) const;

  LimitOf limit_of_;
  IsCounted is_counted_;
  std::map<uint64_t, Entry> entries_;                     // that have not ended
  std::map<Object, std::map<uint64_t, bool>> by_object_;  // procedure -> wants it shared
  std::map<std::string, size_t> running_;                 // by type
  std::set<uint64_t> waiting_;
};

}  // namespace tenure::controller
