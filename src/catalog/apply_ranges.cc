// Slots that go from one region to another, as far as records are concerned. Which region serves a slot is
// decided by the regions' logs; a record says it afterwards.

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "catalog/apply.h"
#include "catalog/history.h"
#include "catalog/keys.h"
#include "catalog/state_moves.h"

namespace tenure::catalog::apply {

using namespace ::tenure::v1;

namespace {

std::string TextOf(const SlotRange& slots) {
  return fmt::format("{}-{}", slots.first(), slots.last());
}

CatalogResult NoSuchRegion(uint64_t region) {
  return Refused(REASON_NOT_FOUND, fmt::format("region {} does not exist", region));
}

CatalogResult Condition(const Record& found, std::string message) {
  return Refused(REASON_CONDITION_FAILED, std::move(message), found.modify_revision());
}

// The slots lie at an end of the region's, or are all of them.
CatalogResult CheckGiver(const Record& found, const SlotRange& slots) {
  const RegionRecord& region = found.region();
  if (region.state() != REGION_SERVING && region.state() != REGION_DEGRADED)
    return Condition(found, fmt::format("region {} is {}", region.id(), NameOf(region.state())));
  const SlotRange& all = region.slots();
  if (slots.first() > slots.last() || slots.first() < all.first() || slots.last() > all.last() ||
      (slots.first() != all.first() && slots.last() != all.last())) {
    return Condition(found, fmt::format("slots {} are not at an end of the {} of region {}", TextOf(slots),
                                        TextOf(all), region.id()));
  }
  return {};
}

bool IsAll(const SlotRange& slots, const RegionRecord& of) {
  return slots.first() == of.slots().first() && slots.last() == of.slots().last();
}

CatalogResult CheckTaker(const Record& found, const Record& from, const SlotRange& slots) {
  const RegionRecord& region = found.region();
  if (region.id() == from.region().id() || region.database() != from.region().database()) {
    return Condition(
        found, fmt::format("region {} of database {} takes no slots of region {} of database {}", region.id(),
                           region.database(), from.region().id(), from.region().database()));
  }
  if (region.state() == REGION_CREATING && region.split_off()) {
    if (IsAll(slots, region)) return {};
    return Condition(found, fmt::format("region {} is made for slots {}, not {}", region.id(),
                                        TextOf(region.slots()), TextOf(slots)));
  }
  if (region.state() != REGION_SERVING && region.state() != REGION_DEGRADED)
    return Condition(found, fmt::format("region {} is {}", region.id(), NameOf(region.state())));
  if (slots.last() + 1 == region.slots().first() || region.slots().last() + 1 == slots.first()) return {};
  return Condition(found, fmt::format("slots {} are not beside the {} of region {}", TextOf(slots),
                                      TextOf(region.slots()), region.id()));
}

// A replica that is made later begins with what the region began with.
void KeepInitialSlots(RegionRecord& region) {
  if (!region.has_initial_slots() && !region.split_off()) *region.mutable_initial_slots() = region.slots();
}

void CountRegions(Records& records, uint64_t database, int32_t more, Change& change) {
  const Record* found = records.databases.Find(database);
  if (found == nullptr || more == 0) return;
  Record record = *found;
  record.mutable_database()->set_regions(
      static_cast<uint32_t>(static_cast<int32_t>(record.database().regions()) + more));
  records.databases.Put(database, std::move(record), change);
}

void Moved(RegionRecord& region, uint64_t procedure) {
  region.set_range_version(region.range_version() + 1);
  region.set_range_procedure(procedure);
}

}  // namespace

CatalogResult BeginSplit(Records& records, const commands::ProcedureEffect::BeginSplit& command,
                         Change& change) {
  const Record* from = records.regions.Find(command.from());
  if (from == nullptr) return NoSuchRegion(command.from());
  if (CatalogResult refused = CheckGiver(*from, command.slots()); IsRefusal(refused)) return refused;
  if (IsAll(command.slots(), from->region())) {
    return Condition(*from, fmt::format("region {} would have no slots left", command.from()));
  }
  if (CatalogResult refused = CheckRoomForGeneration(records, *from); IsRefusal(refused)) return refused;
  const uint64_t id = records.ids.next_region();
  Record record;
  RegionRecord& region = *record.mutable_region();
  region.set_id(id);
  region.set_database(from->region().database());
  *region.mutable_slots() = command.slots();
  region.set_split_off(true);
  uint64_t replica_id = 1;
  for (const ReplicaRecord& replica : from->region().replicas()) {
    if (replica.role() != REPLICA_VOTER) continue;
    if (replica.id() == from->region().preferred_leader()) region.set_preferred_leader(replica_id);
    ReplicaRecord& copy = *region.add_replicas();
    copy.set_id(replica_id++);
    copy.set_node(replica.node());
    copy.set_role(REPLICA_VOTER);
  }
  if (region.replicas().empty())
    return Condition(*from, fmt::format("region {} has no voter", command.from()));
  if (region.preferred_leader() == 0) region.set_preferred_leader(1);
  region.set_configuration_version(1);
  region.set_range_version(1);
  region.set_range_procedure(command.procedure());
  region.set_state(REGION_CREATING);
  records.ids.set_next_region(id + 1);
  change.state.Put(kIdsKey, records.ids.SerializeAsString());
  records.regions.Put(id, std::move(record), change);
  return Done(change);
}

CatalogResult PublishSlots(Records& records, const commands::ProcedureEffect::PublishSlots& command,
                           Change& change) {
  const Record* from = records.regions.Find(command.from());
  if (from == nullptr) return NoSuchRegion(command.from());
  const Record* to = records.regions.Find(command.to());
  if (to == nullptr) return NoSuchRegion(command.to());
  const SlotRange& slots = command.slots();
  if (CatalogResult refused = CheckGiver(*from, slots); IsRefusal(refused)) return refused;
  if (CatalogResult refused = CheckTaker(*to, *from, slots); IsRefusal(refused)) return refused;

  Record giver = *from;
  Record taker = *to;
  RegionRecord& gives = *giver.mutable_region();
  RegionRecord& takes = *taker.mutable_region();
  const bool is_new = takes.state() == REGION_CREATING;
  const auto generations =
      KeepsHistory(records) ? std::optional(EndGenerations(command, is_new, gives, takes)) : std::nullopt;
  KeepInitialSlots(gives);
  if (IsAll(slots, gives)) {
    gives.set_state(REGION_REMOVING);
  } else if (slots.first() == gives.slots().first()) {
    gives.mutable_slots()->set_first(slots.last() + 1);
  } else {
    gives.mutable_slots()->set_last(slots.first() - 1);
  }
  Moved(gives, command.procedure());
  if (takes.state() == REGION_CREATING) {
    takes.set_state(REGION_SERVING);
  } else {
    KeepInitialSlots(takes);
    takes.mutable_slots()->set_first(std::min(takes.slots().first(), slots.first()));
    takes.mutable_slots()->set_last(std::max(takes.slots().last(), slots.last()));
  }
  Moved(takes, command.procedure());
  if (generations) BeginGenerations(records, command, *generations, gives, takes);
  const int32_t more = (is_new ? 1 : 0) - (gives.state() == REGION_REMOVING ? 1 : 0);
  CountRegions(records, gives.database(), more, change);
  records.regions.Put(command.from(), std::move(giver), change);
  records.regions.Put(command.to(), std::move(taker), change);
  return Done(change);
}

CatalogResult AbandonSplit(Records& records, const commands::ProcedureEffect::AbandonSplit& command,
                           Change& change) {
  const Record* found = records.regions.Find(command.region());
  if (found == nullptr || found->region().state() == REGION_REMOVING) return Done(change, false);
  if (found->region().state() != REGION_CREATING || !found->region().split_off()) {
    return Condition(*found, fmt::format("region {} is {}, no split that is under way", command.region(),
                                         NameOf(found->region().state())));
  }
  Record record = *found;
  record.mutable_region()->set_state(REGION_REMOVING);
  records.regions.Put(command.region(), std::move(record), change);
  return Done(change);
}

}  // namespace tenure::catalog::apply
