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
#include "controller/procedure/types/schema_change.h"

namespace tenure::controller {

struct ProcedureTypeOptions {
  CreateDatabaseOptions create_database;
  ChangeReplicaOptions change_replica;
  DrainOptions drain;
  MoveSlotsOptions move_slots;
  SchemaChangeOptions schema_change;
};

class ProcedureTypes {
 public:
  // `barrier` outlives this; it may be made after it.
  ProcedureTypes(const ProcedureTypeOptions& options, ClusterBarrier& barrier)
      : create_database_(options.create_database),
        remove_regions_(barrier),
        move_replica_(ChangeReplica::kMove, options.change_replica),
        add_replica_(ChangeReplica::kAdd, options.change_replica),
        remove_replica_(ChangeReplica::kRemove, options.change_replica),
        repair_replica_(ChangeReplica::kRepair, options.change_replica),
        drain_node_(options.drain),
        split_region_(MoveSlots::kSplit, options.move_slots),
        merge_regions_(MoveSlots::kMerge, options.move_slots),
        create_table_(SchemaChange::kCreateTable, barrier, options.schema_change),
        alter_table_(SchemaChange::kAlterTable, barrier, options.schema_change),
        rename_table_(SchemaChange::kRenameTable, barrier, options.schema_change),
        drop_table_(SchemaChange::kDropTable, barrier, options.schema_change),
        create_view_(SchemaChange::kCreateView, barrier, options.schema_change),
        alter_view_(SchemaChange::kAlterView, barrier, options.schema_change),
        rename_view_(SchemaChange::kRenameView, barrier, options.schema_change),
        drop_view_(SchemaChange::kDropView, barrier, options.schema_change) {}

  // This must outlive the engine.
  void AddTo(ProcedureEngine& engine) {
    for (ProcedureType* type : std::initializer_list<ProcedureType*>{
             &create_database_, &remove_regions_, &create_replica_, &move_replica_, &add_replica_,
             &remove_replica_,  &repair_replica_, &drain_node_,     &remove_node_,  &hold_node_,
             &split_region_,    &merge_regions_,  &create_table_,   &alter_table_,  &rename_table_,
             &drop_table_,      &create_view_,    &alter_view_,     &rename_view_,  &drop_view_}) {
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
  SchemaChange create_table_;
  SchemaChange alter_table_;
  SchemaChange rename_table_;
  SchemaChange drop_table_;
  SchemaChange create_view_;
  SchemaChange alter_view_;
  SchemaChange rename_view_;
  SchemaChange drop_view_;
};

}  // namespace tenure::controller
