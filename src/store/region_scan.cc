// The parts of RegionStore that walk over its keys.

#include <algorithm>

#include "base/check.h"
#include "store/glob.h"
#include "store/keyspace.h"
#include "store/region_store.h"

namespace tenure::store {
namespace {

// visit(key) for the living keys of a slot, in order, until it returns false.
template <class Visitor>
void VisitSlot(uint16_t slot, Keyspace& keys, Visitor visit) {
  const std::string prefix = SlotPrefix(slot);
  const auto iterator = keys.state().NewIterator(prefix, kv::PrefixEnd(prefix));
  for (; iterator->Valid(); iterator->Next()) {
    if (keys.IsExpired(DecodeRecordHeader(iterator->value()))) continue;
    if (!visit(KeyOfRecordKey(iterator->key()))) return;
  }
}

}  // namespace

std::vector<std::string> RegionStore::KeysInSlot(uint16_t slot, size_t limit, WallTime now,
                                                 const kv::Reader& state) const {
  std::vector<std::string> found;
  if (limit == 0) return found;
  Keyspace keys(state, now);
  VisitSlot(slot, keys, [&](std::string_view key) {
    found.emplace_back(key);
    return found.size() < limit;
  });
  return found;
}

uint64_t RegionStore::CountKeysInSlot(uint16_t slot, WallTime now, const kv::Reader& state) const {
  uint64_t count = 0;
  Keyspace keys(state, now);
  VisitSlot(slot, keys, [&count](std::string_view) {
    ++count;
    return true;
  });
  return count;
}

uint64_t RegionStore::KeyCount(const kv::Reader& state) const {
  const uint64_t keys = Keyspace(state, WallTime()).counters().keys;
  return keys - std::min(keys, range_.hidden_keys);
}

RegionStore::ScanResult RegionStore::Scan(std::string_view from, size_t count,
                                          std::optional<std::string_view> match,
                                          std::optional<std::string_view> type, WallTime now,
                                          const kv::Reader& state) const {
  ScanResult result;
  if (!range_.slots) return result;
  Keyspace keys(state, now);
  const std::string begin = std::max(RecordKeyOfPosition(from), SlotPrefix(range_.slots->first));
  const std::string end = kv::PrefixEnd(SlotPrefix(range_.slots->last));
  if (begin >= end) return result;
  const auto iterator = state.NewIterator(begin, end);
  for (size_t seen = 0; iterator->Valid(); iterator->Next(), ++seen) {
    if (seen == count) {
      result.next = iterator->key().substr(1);
      break;
    }
    const RecordHeader header = DecodeRecordHeader(iterator->value());
    if (keys.IsExpired(header)) continue;
    if (type && *type != NameOf(header.type)) continue;
    const std::string_view key = KeyOfRecordKey(iterator->key());
    if (!match || ScanMatches(*match, key)) result.keys.emplace_back(key);
  }
  return result;
}

bool RegionStore::HasExpired(WallTime now, const kv::Reader& state) const {
  if (range_.IsMoving()) return false;
  Keyspace keys(state, now);
  const auto iterator =
      state.NewIterator(ExpiryKey(0, 0, {}), kv::PrefixEnd(std::string_view(&kExpiryPrefix, 1)));
  return iterator->Valid() && ExpiryOfExpiryKey(iterator->key()) < keys.NowMillis();
}

}  // namespace tenure::store
