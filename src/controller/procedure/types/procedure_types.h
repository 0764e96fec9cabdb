// All kinds of procedures this program runs.
#pragma once

#include "controller/procedure/procedure_engine.h"
#include "controller/procedure/types/change_replica.h"
#include "controller/procedure/types/create_database.h"
#include "controller/procedure/types/create_replica.h"
#include "controller/procedure/types/drain_node.h"
#include "controller/procedure/types/hold_node.h"
#include "controller/procedure/types/move_slots.h"
#include "controller/procedure/types/remove_regions.h"

namespace tenure::controller {

struct ProcedureTypeOptions {
  CreateDatabaseOptions create_database;
  ChangeReplicaOptions change_replica;
  DrainOptions drain;
  MoveSlotsOptions move_slots;
};

class ProcedureTypes {
 public:
  explicit ProcedureTypes(const ProcedureTypeOptions& options)
      : create_database_(options.create_database),
        move_replica_(ChangeReplica::kMove, options.change_replica),
        add_replica_(ChangeReplica::kAdd, options.change_replica),
        remove_replica_(ChangeReplica::kRemove, options.change_replica),
        repair_replica_(ChangeReplica::kRepair, options.change_replica),
        drain_node_(options.drain),
        split_region_(MoveSlots::kSplit, options.move_slots),
        merge_regions_(MoveSlots::kMerge, options.move_slots) {}

  // This must outlive the engine.
  void AddTo(ProcedureEngine& engine) {
    for (ProcedureType* type : std::initializer_list<ProcedureType*>{
             &create_database_, &remove_regions_, &create_replica_, &move_replica_, &add_replica_,
             &remove_replica_, &repair_replica_, &drain_node_, &remove_node_, &hold_node_, &split_region_,
             &merge_regions_}) {
      engine.AddType(*type);
    }
  }

 private:
  CreateDatabase create_database_;
  RemoveRegions remove_regions_;
  CreateReplica create_replica_;
  ChangeReplica move_replica_;
  ChangeReplica add_replica_;
  ChangeReplica remove_replica_;
  ChangeReplica repair_replica_;
  DrainNode drain_node_;
  RemoveNode remove_node_;
  HoldNode hold_node_;
  MoveSlots split_region_;
  MoveSlots merge_regions_;
};

}  // namespace tenure::controller
