// Records of one kind, in memory and written through to the engine, with an event for every change.
//
// Driven by Catalog.
// Threading:  one owner.
#pragma once

#include <cstdint>
#include <map>

#include "base/ids.h"
#include "catalog/events.h"
#include "kv/kv.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::catalog {

// Where a command writes to.
struct Change {
  Revision revision;
  Term term;
  int64_t now_ms;
  kv::View& state;
  Events& events;
};

class RecordTable {
 public:
  explicit RecordTable(char prefix) : prefix_(prefix) {}

  void Load(const kv::Reader& state);
  // `record` is given its revisions here.
  const ::tenure::v1::Record& Put(uint64_t id, ::tenure::v1::Record record, Change& change);
  void Erase(uint64_t id, Change& change);
  const ::tenure::v1::Record* Find(uint64_t id) const;
  const std::map<uint64_t, ::tenure::v1::Record>& all() const { return records_; }

 private:
  const char prefix_;
  std::map<uint64_t, ::tenure::v1::Record> records_;
};

}  // namespace tenure::catalog
