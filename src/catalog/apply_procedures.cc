#include <fmt/format.h>

#include <utility>

#include "catalog/apply.h"
#include "catalog/keys.h"
#include "catalog/procedures.h"

namespace tenure::catalog::apply {

using namespace ::tenure::v1;

namespace {

CatalogResult ApplyEffect(Records& records, commands::ProcedureEffect& effect, Change& change) {
  using Effect = commands::ProcedureEffect;
  switch (effect.body_case()) {
    case Effect::kCreateDatabase:
      return CreateDatabase(records, *effect.mutable_create_database(), change);
    case Effect::kDropDatabase:
      return DropDatabase(records, effect.drop_database().database(), change);
    case Effect::kPublishDatabase:
      return PublishDatabase(records, effect.publish_database().database(), change);
    case Effect::kRemoveRegions:
      return RemoveRegions(records, effect.remove_regions(), change);
    case Effect::kChangeReplica:
      return ChangeReplica(records, *effect.mutable_change_replica(), change);
    case Effect::kSetNodeState:
      return SetNodeState(records, *effect.mutable_set_node_state(), change);
    case Effect::kBeginSplit:
      return BeginSplit(records, effect.begin_split(), change);
    case Effect::kPublishSlots:
      return PublishSlots(records, effect.publish_slots(), change);
    case Effect::kAbandonSplit:
      return AbandonSplit(records, effect.abandon_split(), change);
    case Effect::kSchemaIntent:
      return BeginSchemaChange(records, effect.schema_intent(), change);
    case Effect::kSchemaStep:
      return AdvanceSchema(records, effect.schema_step(), change);
    case Effect::BODY_NOT_SET:
      break;
  }
  return {};
}

// A parent that has ended waits for nobody.
CatalogResult CheckParent(const Records& records, uint64_t parent) {
  if (parent == 0) return {};
  const Record* found = records.procedures.Find(parent);
  if (found != nullptr && !IsEnded(found->procedure().state())) return {};
  return Refused(
      REASON_CONDITION_FAILED,
      fmt::format("procedure {}, the parent, {}", parent, found == nullptr ? "does not exist" : "has ended"),
      found == nullptr ? 0 : found->modify_revision());
}

// What the submitter may not choose is set here.
uint64_t PutNew(Records& records, ProcedureRecord procedure, uint64_t object, Change& change) {
  const uint64_t id = std::max<uint64_t>(records.ids.next_procedure(), 1);
  records.ids.set_next_procedure(id + 1);
  change.state.Put(kIdsKey, records.ids.SerializeAsString());
  procedure.set_id(id);
  procedure.set_state(PROCEDURE_PENDING);
  procedure.set_created_at_ms(change.now_ms);
  procedure.set_step_began_at_ms(change.now_ms);
  if (procedure.object() == 0) procedure.set_object(object);
  for (ProcedureLock& lock : *procedure.mutable_locks()) {
    if (lock.id() == 0 && lock.object() != LOCKED_CLUSTER) lock.set_id(object);
  }
  Record record;
  *record.mutable_procedure() = std::move(procedure);
  records.procedures.Put(id, std::move(record), change);
  return id;
}

}  // namespace

CatalogResult SubmitProcedure(Records& records, commands::SubmitProcedure& command, Change& change) {
  if (CatalogResult refused = CheckParent(records, command.procedure().parent()); IsRefusal(refused))
    return refused;
  CatalogResult effect = ApplyEffect(records, *command.mutable_effect(), change);
  if (IsRefusal(effect)) return effect;
  const uint64_t object = effect.object_id();
  const uint64_t id = PutNew(records, std::move(*command.mutable_procedure()), object, change);
  return Done(change, true, object != 0 ? object : id);
}

CatalogResult AdvanceProcedure(Records& records, commands::AdvanceProcedure& command, Change& change) {
  ProcedureRecord& next = *command.mutable_procedure();
  const Record* found = records.procedures.Find(next.id());
  if (found == nullptr)
    return Refused(REASON_NOT_FOUND, fmt::format("procedure {} does not exist", next.id()));
  const ProcedureRecord& now = found->procedure();
#ifndef TENURE_MUTANT_procedure_blind_commit
  if (found->modify_revision() != command.if_revision()) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("procedure {} was changed at revision {}, expected {}", next.id(),
                               found->modify_revision(), command.if_revision()),
                   found->modify_revision());
  }
#endif
  if (!IsLegalMove(now.state(), next.state())) {
    return Refused(REASON_INVALID_ARGUMENT, fmt::format("procedure {}: {} -> {} is no legal move", next.id(),
                                                        NameOf(now.state()), NameOf(next.state())));
  }
  for (const ProcedureRecord& spawned : command.spawn()) {
    if (spawned.parent() != 0 && spawned.parent() != next.id()) {
      return Refused(REASON_INVALID_ARGUMENT,
                     fmt::format("procedure {} spawns a child of procedure {}", next.id(), spawned.parent()));
    }
  }
  CatalogResult effect = ApplyEffect(records, *command.mutable_effect(), change);
  if (IsRefusal(effect)) return effect;
  const uint64_t id = next.id();
  Record record;
  *record.mutable_procedure() = std::move(next);
  if (IsEnded(record.procedure().state())) record.mutable_procedure()->set_ended_at_ms(change.now_ms);
  records.procedures.Put(id, std::move(record), change);
  for (ProcedureRecord& spawned : *command.mutable_spawn())
    PutNew(records, std::move(spawned), effect.object_id(), change);
  return Done(change, true, id);
}

CatalogResult CancelProcedure(Records& records, commands::CancelProcedure& command, Change& change) {
  const Record* found = records.procedures.Find(command.procedure());
  if (found == nullptr)
    return Refused(REASON_NOT_FOUND, fmt::format("procedure {} does not exist", command.procedure()));
  const ProcedureRecord& procedure = found->procedure();
  if (IsEnded(procedure.state())) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("procedure {} has ended: {}", procedure.id(), NameOf(procedure.state())),
                   found->modify_revision());
  }
  if (procedure.cancel_requested()) return Done(change, false, procedure.id());
  if (!procedure.cancellable()) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("procedure {} ({}) cannot be cancelled in step '{}': it only goes forward",
                               procedure.id(), procedure.type(), procedure.step()),
                   found->modify_revision());
  }
  Record record = *found;
  record.mutable_procedure()->set_cancel_requested(true);
  records.procedures.Put(command.procedure(), std::move(record), change);
  return Done(change, true, command.procedure());
}

CatalogResult ForgetProcedures(Records& records, commands::ForgetProcedures& command, Change& change) {
  bool changed = false;
  for (const uint64_t id : command.procedures()) {
    const Record* found = records.procedures.Find(id);
    if (found == nullptr || !IsEnded(found->procedure().state())) continue;
    records.procedures.Erase(id, change);
    changed = true;
  }
  return Done(change, changed);
}

}  // namespace tenure::catalog::apply
