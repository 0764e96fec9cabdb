#include "sim/database_checker.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>

#include "base/format.h"
#include "base/hash.h"
#include "sim/leftovers.h"
#include "sim/server.h"
#include "sim/world.h"
#include "store/region_store.h"
#include "wal/inspect.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;

namespace {

constexpr std::string_view kMark = "<value ";

// The numbers of the values in `bytes`, wherever they stand.
void ForEachValue(std::string_view bytes, const std::function<void(uint64_t number)>& found) {
  for (size_t at = bytes.find(kMark); at != std::string_view::npos; at = bytes.find(kMark, at + 1)) {
    uint64_t number = 0;
    const char* const begin = bytes.data() + at + kMark.size();
    if (std::from_chars(begin, bytes.data() + bytes.size(), number).ec == std::errc()) found(number);
  }
}

const pb::RegionRecord* RegionOf(const controller::Controller& serving, GroupId group) {
  const auto found = serving.catalog().regions().find(group.value());
  return found == serving.catalog().regions().end() ? nullptr : &found->second.region();
}

bool HasState(Server& server, GroupId group) {
  for (const std::string& prefix :
       {group::GroupHost::HostPrefix(group), group::GroupHost::StatePrefix(group)}) {
    if (server.engine().NewIterator(prefix, kv::PrefixEnd(prefix))->Valid()) return true;
  }
  return false;
}

// A process with a node that can be looked into.
Server* RunningNode(const Machine& machine) {
  const bool runs = machine.server && machine.server->process().alive() && machine.server->started();
  return runs && machine.server->node() != nullptr ? machine.server.get() : nullptr;
}

}  // namespace

std::string DatabaseChecker::KeyOf(const Value& value) {
  return fmt::format("value-{}", value.number);
}

std::string DatabaseChecker::TextOf(const Value& value) {
  return fmt::format("{}{} of {}>", kMark, value.number, value.database);
}

void DatabaseChecker::OnCreated(uint64_t id, const std::string& name, uint32_t regions, uint32_t replicas) {
  if (id == 0 || databases_.contains(id))
    return world_.Fail("D4 a creation is answered with the new database", fmt::format("{}: id {}", name, id));
  databases_[id] = {.name = name, .regions = regions, .replicas = replicas};
}

void DatabaseChecker::OnDropped(uint64_t id) {
  databases_.at(id).dropped = true;
}

void DatabaseChecker::OnApplied(GroupId group, std::string_view payload) {
  if (group == kCatalogGroup) return;
  // What is copied from one region to another was written before.
  if (!payload.empty() && payload[0] == static_cast<char>(store::WriteCommand::Kind::kRange)) return;
  ForEachValue(payload, [&](uint64_t number) {
    const auto [at, first] = applied_in_.try_emplace(number, group);
    if (first || at->second == group) return;
    // A log that has the slot no more refuses what reached it nevertheless, and the client goes on to the
    // next one.
    if (world_.options().slot_moves) {
      at->second = group;
      return;
    }
    world_.Fail("D5 a value is written once",
                fmt::format("value {}: groups {} and {} applied it", number, at->second, group));
  });
}

// ---- D1 ----

void DatabaseChecker::Look() {
  const controller::Controller* const serving = world_.ServingController();
  // One that does not know yet that it was replaced may be behind what was seen.
  if (serving == nullptr || serving->applied() < seen_) return;
  seen_ = serving->applied();
  const auto& records = serving->catalog().regions();
  for (const auto& [id, record] : records) regions_[id] = record.region().database();
  for (const auto& [id, database] : regions_) {
    if (!records.contains(id)) gone_.insert(id);
  }
  for (const auto& machine : world_.machines()) {
    Server* const server = machine->lost ? nullptr : RunningNode(*machine);
    if (server == nullptr) continue;
    const group::GroupHost& host = server->node()->groups();
    for (const uint64_t id : gone_) {
      const GroupId group(id);
      const bool known = !host.ReplicaOf(group).IsNone();
      const char* left = host.Runs(group)           ? "runs"
                         : known                    ? "is in the log"
                         : HasState(*server, group) ? "has a state"
                                                    : nullptr;
      if (left == nullptr) continue;
      if (world_.procedures().WasGivenUp(id, machine->number, host.ReplicaOf(group))) continue;
      return world_.Fail("D1 a region's record goes when none of its replicas is left",
                         fmt::format("region {}: its replica on {} {}", id, machine->name, left));
    }
  }
}

// ---- D2, D3 ----

std::string DatabaseChecker::Unsettled() {
  controller::Controller* const serving = world_.ServingController();
  if (serving == nullptr) return "a serving controller";
  if (std::string missing = UnsettledReplicas(*serving); !missing.empty()) return missing;
  for (const auto& machine : world_.machines()) {
    if (machine->lost || !machine->node) continue;
    if (std::string rest = UnsettledRest(*serving, *machine); !rest.empty()) return rest;
  }
  return {};
}

std::string DatabaseChecker::UnsettledReplicas(controller::Controller& serving) {
  for (const auto& [id, record] : serving.catalog().regions()) {
    // It stays so if a machine is lost for good that has some of it; World::Unsettled says when it may.
    if (record.region().state() == pb::REGION_REMOVING) continue;
    const GroupId group(id);
    for (const pb::ReplicaRecord& replica : record.region().replicas()) {
      const auto node = serving.catalog().nodes().find(replica.node());
      const auto machine =
          std::find_if(world_.machines().begin(), world_.machines().end(), [&](const auto& candidate) {
            return node != serving.catalog().nodes().end() &&
                   candidate->address == node->second.node().address();
          });
      if (machine == world_.machines().end())
        return fmt::format("node {} of region {} to exist", replica.node(), id);
      if ((*machine)->lost || lost_.contains({group, (*machine)->number})) continue;
      Server* const server = RunningNode(**machine);
      if (server == nullptr) return (*machine)->name + " to be up";
      const auto status = server->node()->groups().StatusOf(group);
      if (!status || status->self != ReplicaId(replica.id()))
        return fmt::format("replica {} of region {} to run on {}", replica.id(), id, (*machine)->name);
      const raft::Member* const member = status->configuration.Find(status->self);
      if (member == nullptr || member->host != replica.node() ||
          status->configuration.members.size() != static_cast<size_t>(record.region().replicas_size()))
        return fmt::format("region {} on {} to have the members of its record, it has {}", id,
                           (*machine)->name, raft::ToString(status->configuration));
    }
  }
  return {};
}

std::string DatabaseChecker::UnsettledRest(controller::Controller& serving, Machine& machine) {
  if (RunningNode(machine) == nullptr) return machine.name + " to be up";
  const auto here = [&](GroupId group) {
    const pb::RegionRecord* const record = RegionOf(serving, group);
    return record != nullptr && std::any_of(record->replicas().begin(), record->replicas().end(),
                                            [&](const pb::ReplicaRecord& replica) {
                                              const auto node =
                                                  serving.catalog().nodes().find(replica.node());
                                              return node != serving.catalog().nodes().end() &&
                                                     node->second.node().address() == machine.address;
                                            });
  };
  return FindLeftover(machine, here);
}

void DatabaseChecker::CheckAtRest() {
  controller::Controller* const serving = world_.ServingController();
  if (serving == nullptr) return;
  for (const auto& machine : world_.machines()) {
    if (!machine->lost && machine->node) CheckLog(*serving, *machine);
  }
  CheckNames(*serving);
  CheckSlots(*serving);
  CheckValues(*serving);
}

void DatabaseChecker::CheckLog(controller::Controller& serving, Machine& machine) {
  const std::string invariant = "D3 of a region that is gone the log has a tombstone";
  SimProcess process(world_.scheduler(), machine.clock, machine.name + " inspection", Prng(1));
  SimExecutor& executor = process.AddExecutor("inspection");
  const auto disk = machine.disk.MakeView(process, executor);
  const auto log = wal::Inspect(*disk, std::string(Server::kData) + "/wal", {});
  if (!log.ok()) return world_.Fail(invariant, fmt::format("{}: {}", machine.name, MessageOf(log.status())));
  for (const auto& [group, found] : log->groups) {
    if (group == kCatalogGroup || RegionOf(serving, group) != nullptr) continue;
    if (found.tombstone && found.state.last_index == LogIndex()) continue;
    world_.Fail(invariant,
                fmt::format("{}: region {} {}", machine.name, group,
                            found.tombstone ? fmt::format("has entries up to {}", found.state.last_index)
                                            : std::string("has no tombstone")));
  }
}

// ---- D4 to D6 ----

void DatabaseChecker::CheckNames(controller::Controller& serving) {
  const std::string invariant = "D4 a name exists from its creation to its dropping";
  const catalog::Catalog& catalog = serving.catalog();
  for (const auto& [id, region] : catalog.regions()) {
    if (!catalog.databases().contains(region.region().database()))
      world_.Fail(invariant,
                  fmt::format("region {} is of database {}, which is gone", id, region.region().database()));
  }
  for (const auto& [id, database] : databases_) {
    const auto record = catalog.databases().find(id);
    if (database.dropped) {
      if (record != catalog.databases().end())
        world_.Fail(invariant,
                    fmt::format("database {} ('{}') was dropped and has a record", id, database.name));
      continue;
    }
    const pb::Record* const named = catalog.FindDatabase(database.name);
    if (named == nullptr || named->database().id() != id ||
        named->database().state() != pb::DATABASE_PUBLIC ||
        (!world_.options().slot_moves && named->database().regions() != database.regions) ||
        named->database().replicas() != database.replicas) {
      world_.Fail(invariant,
                  fmt::format("database {} ('{}') was created with {} regions of {} replicas; its name "
                              "stands for {}",
                              id, database.name, database.regions, database.replicas,
                              named == nullptr ? "nothing" : named->database().ShortDebugString()));
    }
  }
}

void DatabaseChecker::CheckSlots(controller::Controller& serving) {
  const std::string invariant = "D6 every slot belongs to one region";
  std::map<uint64_t, std::map<uint32_t, const pb::RegionRecord*>> by_first;
  for (const auto& [id, record] : serving.catalog().regions()) {
    const pb::RegionRecord& region = record.region();
    if (region.state() == pb::REGION_REMOVING) continue;
    if (!by_first[region.database()].try_emplace(region.slots().first(), &region).second)
      world_.Fail(invariant, fmt::format("regions {} and {} begin with the same slot", id,
                                         by_first[region.database()][region.slots().first()]->id()));
  }
  for (const auto& [database, regions] : by_first) {
    uint32_t next = 0;
    for (const auto& [first, region] : regions) {
      if (first != next)
        world_.Fail(invariant, fmt::format("database {}: region {} begins with slot {}, expected {}",
                                           database, region->id(), first, next));
      next = region->slots().last() + 1;
    }
    const auto record = serving.catalog().databases().find(database);
    if (next != kSlotCount || record == serving.catalog().databases().end() ||
        record->second.database().regions() != regions.size())
      world_.Fail(invariant,
                  fmt::format("database {}: {} regions, the last one ends before slot {}; its record: {}",
                              database, regions.size(), next,
                              record == serving.catalog().databases().end()
                                  ? "none"
                                  : record->second.database().ShortDebugString()));
  }
  for (const auto& machine : world_.machines()) {
    Server* const server = machine->lost ? nullptr : RunningNode(*machine);
    if (server == nullptr) continue;
    const group::GroupHost& host = server->node()->groups();
    for (const GroupId group : host.groups()) {
      const pb::RegionRecord* const record = RegionOf(serving, group);
      const auto bytes = host.StatusOf(group)->serving ? host.State(group)->Get("r") : std::nullopt;
      if (record == nullptr || record->state() == pb::REGION_REMOVING || !bytes) continue;
      const store::RegionRange range = store::DecodeRegionRange(*bytes);
      if (!range.slots || range.slots->first != record->slots().first() ||
          range.slots->last != record->slots().last() || range.IsMoving())
        world_.Fail(invariant,
                    fmt::format("region {}: its log on {} says {}, its record {}-{}", group, machine->name,
                                range.IsMoving() ? std::string("that slots are moving")
                                : range.slots    ? fmt::format("{}-{}", range.slots->first, range.slots->last)
                                                 : std::string("that it has no slots"),
                                record->slots().first(), record->slots().last()));
    }
  }
}

std::optional<GroupId> DatabaseChecker::PlaceOf(const controller::Controller& serving, const Value& value,
                                                GroupId writer) const {
  if (!world_.options().slot_moves) return writer;
  const auto database = regions_.find(writer.value());
  if (database == regions_.end()) return std::nullopt;
  const uint32_t slot = SlotOfKey(KeyOf(value));
  for (const auto& [id, record] : serving.catalog().regions()) {
    const pb::RegionRecord& region = record.region();
    if (region.database() == database->second && region.state() != pb::REGION_REMOVING &&
        region.slots().first() <= slot && slot <= region.slots().last())
      return GroupId(id);
  }
  return std::nullopt;
}

void DatabaseChecker::CheckValues(controller::Controller& serving) {
  // By the leaders, which have applied what they acknowledged. All replicas hold the same
  // (World::CheckReplicas).
  std::map<GroupId, std::set<uint64_t>> held;
  for (const auto& machine : world_.machines()) {
    Server* const server = machine->lost ? nullptr : RunningNode(*machine);
    if (server == nullptr) continue;
    const group::GroupHost& host = server->node()->groups();
    for (const GroupId group : host.groups()) {
      if (!host.StatusOf(group)->serving) continue;
      std::set<uint64_t>& values = held[group];
      for (const auto state = host.State(group)->NewIterator({}, {}); state->Valid(); state->Next())
        ForEachValue(state->value(), [&values](uint64_t number) { values.insert(number); });
    }
  }
  for (const auto& [group, values] : held) {
    for (const uint64_t number : values) {
      const auto writer = applied_in_.find(number);
      if (writer != applied_in_.end() && writer->second == group) continue;
      const bool moved = world_.options().slot_moves && writer != applied_in_.end() &&
                         regions_.contains(group.value()) && regions_.contains(writer->second.value()) &&
                         regions_.at(group.value()) == regions_.at(writer->second.value());
      if (moved) continue;
      world_.Fail("D5 no data of one database is in another",
                  fmt::format("value {} is in group {}, which did not write it", number, group));
    }
  }
  for (const auto& [number, value] : acknowledged_) {
    const auto writer = applied_in_.find(number);
    if (writer == applied_in_.end()) {
      world_.Fail("D5 what is acknowledged was written",
                  fmt::format("value {} was applied by no group", number));
      continue;
    }
    const auto region = regions_.find(writer->second.value());
    const auto owner = region == regions_.end() ? databases_.end() : databases_.find(region->second);
    if (region != regions_.end() &&
        (owner == databases_.end() || owner->second.name != databases_.at(value.database).name)) {
      world_.Fail(
          "D5 a value is written to the database of that name",
          fmt::format("value {} of database {} is in group {}", number, value.database, writer->second));
    }
    const auto place = PlaceOf(serving, value, writer->second);
    if (!place || RegionOf(serving, *place) == nullptr || !held.contains(*place) ||
        held[*place].contains(number))
      continue;
    world_.Fail("D5 what is acknowledged is there",
                fmt::format("value {} of database {}, written by group {}, is missing in group {}", number,
                            value.database, writer->second, *place));
  }
}

}  // namespace tenure::sim
