#include "catalog/record_table.h"

#include <utility>

#include "base/check.h"
#include "catalog/keys.h"

namespace tenure::catalog {

using ::tenure::v1::Event;
using ::tenure::v1::Record;

void RecordTable::Load(const kv::Reader& state) {
  records_.clear();
  const auto iterator = state.NewIterator(PrefixLower(prefix_), PrefixUpper(prefix_));
  for (; iterator->Valid(); iterator->Next()) {
    TENURE_CHECK(iterator->key().size() == 9, "key '{}' has {} bytes", prefix_, iterator->key().size());
    Record record;
    TENURE_CHECK(record.ParseFromArray(iterator->value().data(), static_cast<int>(iterator->value().size())),
                 "record '{}' {} cannot be read", prefix_, GetBigEndian64(iterator->key().data() + 1));
    records_.emplace(GetBigEndian64(iterator->key().data() + 1), std::move(record));
  }
}

const Record& RecordTable::Put(uint64_t id, Record record, Change& change) {
  Event& event = change.events.records.emplace_back();
  event.set_revision(change.revision.value());
  const auto [place, created] = records_.try_emplace(id);
  record.set_create_revision(created ? change.revision.value() : place->second.create_revision());
  record.set_modify_revision(change.revision.value());
  if (!created) *event.mutable_old_record() = std::move(place->second);
  place->second = std::move(record);
  *event.mutable_new_record() = place->second;
  change.state.Put(IdKey(prefix_, id), place->second.SerializeAsString());
  return place->second;
}

void RecordTable::Erase(uint64_t id, Change& change) {
  const auto found = records_.find(id);
  TENURE_CHECK(found != records_.end(), "record '{}' {} is erased but absent", prefix_, id);
  Event& event = change.events.records.emplace_back();
  event.set_revision(change.revision.value());
  *event.mutable_old_record() = std::move(found->second);
  records_.erase(found);
  change.state.Delete(IdKey(prefix_, id));
}

const Record* RecordTable::Find(uint64_t id) const {
  const auto found = records_.find(id);
  return found == records_.end() ? nullptr : &found->second;
}

}  // namespace tenure::catalog
