// How an entry stands in the engine, and the event of its change. It does not stand there as protobuf, so that
// a put needs to look at a few bytes of the entry it replaces and copies its value once.
//
//   key 'E', then the entry's key value byte 1 (format), varint create revision, varint modify revision,
//   varint version, then the value's bytes
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "catalog/events.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::catalog {

struct EntryHead {
  uint64_t create_revision = 0;
  uint64_t modify_revision = 0;
  uint64_t version = 0;
  std::string_view value;
};

// Appends to `out`.
void EncodeEntry(const EntryHead& head, std::string& out);
// A stored entry that cannot be decoded is a broken invariant.
EntryHead DecodeEntry(std::string_view stored);
// The record of it; without the value if `keys_only`.
void FillEntryRecord(std::string_view key, const EntryHead& head, bool keys_only,
                     ::tenure::v1::Record& record);
// Null: it was not there before, is not there any more.
EntryEvent MakeEntryEvent(Revision revision, std::string_view key, const EntryHead* before,
                          const EntryHead* after);

}  // namespace tenure::catalog
