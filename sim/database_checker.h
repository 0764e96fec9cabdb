// What must hold of databases that come and go.
//
// At every look:
//   D1 the record of a region goes when none of its replicas is left, but for those that were given up with a
//      lost node before (ProcedureChecker): afterwards none runs, and no process has its log or its state.
// At rest:
//   D2 every replica that a record names runs where it says, with the configuration that it says, and nothing
//      else.
//   D3 of a region that the catalog does not have there is no state, no log but a tombstone, no snapshot.
//   D4 a name exists from its acknowledged creation to its acknowledged dropping; of a dropped database there
//      is no record.
//   D5 a value that was acknowledged and written to a database that exists is there, in the region that has
//      its slot; none is in a database other than the one that wrote it, nor in another group if no slots
//      move.
//   D6 every slot of a database belongs to one region, in the records and in the logs.
//
// A node that is cut off from the controllers serves a dropped database until it hears of it (there are no
// leases of nodes): a value may be acknowledged by the database that had the name before, and is gone with
// it. So D5 goes by the group that applied the value.
//
// Threading: the simulation's thread, outside of events (D1 to D6) and inside (On...).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/ids.h"

namespace tenure::controller {
class Controller;
}

namespace tenure::sim {

class World;
struct Machine;

class DatabaseChecker {
 public:
  // Written by the operator: unique.
  struct Value {
    uint64_t database = 0;  // that had the name, as its writer knew
    uint64_t number = 0;
  };
  static std::string KeyOf(const Value& value);
  static std::string TextOf(const Value& value);

  explicit DatabaseChecker(World& world) : world_(world) {}

  void OnCreated(uint64_t id, const std::string& name, uint32_t regions, uint32_t replicas);
  void OnDropped(uint64_t id);
  void OnAcknowledged(const Value& value) { acknowledged_[value.number] = value; }
  // An entry that some replica applied.
  void OnApplied(GroupId group, std::string_view payload);
  // A repair dropped the machine's replica: it does not come back.
  void OnLost(GroupId group, uint64_t machine) { lost_.insert({group, machine}); }

  // D1; often.
  void Look();
  // What is still on its way of D2 and D3, as far as processes know; empty: nothing.
  std::string Unsettled();
  // D3 on the disks, D4 to D6; once nothing is unsettled and the operator has his answers.
  void CheckAtRest();

 private:
  struct Database {
    std::string name;
    uint32_t regions = 0;
    uint32_t replicas = 0;
    bool dropped = false;
  };
  std::string UnsettledReplicas(controller::Controller& serving);
  std::string UnsettledRest(controller::Controller& serving, Machine& machine);
  void CheckLog(controller::Controller& serving, Machine& machine);
  void CheckNames(controller::Controller& serving);
  void CheckSlots(controller::Controller& serving);
  // Where it must be, as records say: the region of the writer's database with the slot; none: that database
  // is gone.
  std::optional<GroupId> PlaceOf(const controller::Controller& serving, const Value& value,
                                 GroupId writer) const;
  void CheckValues(controller::Controller& serving);

  World& world_;
  std::map<uint64_t, Database> databases_;  // that the operator created
  Revision seen_;                           // of the catalog, at the last look
  std::map<uint64_t, uint64_t> regions_;    // ever seen in the catalog, with their databases
  std::set<uint64_t> gone_;                 // of them
  std::set<std::pair<GroupId, uint64_t>> lost_;
  std::map<uint64_t, Value> acknowledged_;  // by number
  std::map<uint64_t, GroupId> applied_in_;  // values, by number
};

}  // namespace tenure::sim
