// Executes data commands on the regions led here: writes through the region's log, reads on the state once
// leadership is confirmed; everything else is sent to where it belongs or refused with the reason.
//
// How order is kept without waiting (per slot, as DataService promises):
//   write            proposed at once; GroupHost answers in log order
//   read, lease held, no write of its slot under way   answered inside the call
//   read, a write of its slot is under way             goes through the log behind that write
//   read, no lease                                     waits in the region's queue for one confirmation
//                                                      (ReadIndex) that serves all reads of the turn
//   anything while that queue is not empty             joins it, so that nothing overtakes
//
// Keys that name a row are planned here, with the schemas of the catalog that was taken over. A write to rows
// that the region refuses, because it was checked against a schema that is not in force any more, has not
// happened: it is checked and proposed once more if that changes nothing in the order (no later operation of
// its slot has been proposed) and this node knows a newer schema by then; else the client is told TRYAGAIN.
//
// Threading:  one executor, that of the GroupHost. `done` callbacks may call back.
// Bounds:     operations under way (max_pending_operations), bytes that wait for a confirmation
//             (max_waiting_bytes); beyond them kOverloaded. GroupHost bounds what is proposed.
// Errors:     every operation is answered within write_timeout: writes Unknown, reads kClusterDown. What was
//             never proposed is refused, not unknown.
// Invariants: S1 a read answered here ran on a state that contains every write acknowledged before the call,
//                of a region whose log says, in that state, that it serves the slot.
//             S2 `proposed_by_slot` counts exactly the operations whose proposal is not answered.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "group/group_host.h"
#include "node/cluster_views.h"
#include "node/data_service.h"
#include "node/node_options.h"
#include "node/pending_operations.h"
#include "node/region_table.h"
#include "node/row_schemas.h"
#include "node/scanner.h"
#include "runtime/executor.h"

namespace tenure::node {

class RegionService {
 public:
  RegionService(runtime::Executor& executor, group::GroupHost& host, RegionTable& table, ClusterViews& views,
                const RowSchemaTable& schemas, const NodeOptions& options);
  RegionService(const RegionService&) = delete;
  RegionService& operator=(const RegionService&) = delete;

  void Execute(DatabaseId database, uint16_t slot, store::Arguments arguments, ReadMode mode,
               Callback<Outcome> done);
  void ExecuteTransaction(DatabaseId database, uint16_t slot, std::vector<store::Arguments> commands,
                          std::vector<store::WatchedKey> watches, Callback<Outcome> done);
  void VersionOf(DatabaseId database, uint16_t slot, std::string key, Callback<Outcome> done);
  std::optional<Moved> MovedElsewhere(DatabaseId database, uint16_t slot, const store::Arguments& arguments);
  uint64_t KeyCount(DatabaseId database);
  Outcome CountKeysInSlot(DatabaseId database, uint16_t slot);
  Outcome KeysInSlot(DatabaseId database, uint16_t slot, size_t limit);

  // Ends the operations that wait for a confirmation: of all regions, for a stop; of one that vanishes.
  void RefuseWaiting(const std::string& reason);
  void RefuseWaiting(Region& region, const std::string& reason);
  size_t pending_operations() const { return operations_.size(); }
  // Where a client should go instead, or why nobody can serve the region now.
  Outcome Redirect(const Region& region, uint16_t slot) const;

 private:
  using Handle = PendingOperations::Handle;
  using Kind = PendingOperations::Kind;

  store::WriteCommand NewCommand(store::WriteCommand::Kind kind) const;
  // Where an operation goes, and the slot that its client knows.
  struct Place {
    uint16_t slot = 0;
    uint16_t asked = 0;
  };
  // Replaces a command that touches rows by its plan, and says where it lies. An answer: it is refused.
  std::optional<store::Reply> Plan(const DatabaseSchemas& schemas, Place& place, store::Step& step,
                                   RowRequest* request) const;
  std::optional<store::Reply> PlanWatches(const DatabaseSchemas& schemas, Place& place,
                                          std::vector<store::WatchedKey>& watches) const;
  void ExecuteRowTransaction(DatabaseId database, Place place, const DatabaseSchemas& schemas,
                             std::unique_ptr<RowRequest> request, bool again, Callback<Outcome> done);
  void WriteRows(DatabaseId database, Place place, const DatabaseSchemas& schemas,
                 std::unique_ptr<RowRequest> request, bool again, Callback<Outcome> done);
  bool MayCheckAgain(const PendingOperations::Operation& operation, const Outcome& outcome) const;

  // The region of a slot if this node leads it and its log says that it serves the slot; else null, and
  // `*otherwise` is the answer.
  Region* FindLed(DatabaseId database, Place place, Outcome* otherwise);
  Region* FindRegion(DatabaseId database, uint16_t slot, Outcome* otherwise);
  bool AnswerFromReplica(DatabaseId database, uint16_t slot, const store::Step& step,
                         Callback<Outcome>& done);

  void SubmitWrite(Region& region, Place place, std::string encoded, Callback<Outcome> done,
                   std::unique_ptr<RowRequest> again = nullptr);
  void SubmitRead(Region& region, Place place, Kind kind, store::Step step, Callback<Outcome> done);
  std::optional<Handle> Admit(const Region& region, Place place, Kind kind, Callback<Outcome>& done);
  void Enqueue(Region& region, RegionTraffic::Waiting waiting);
  void Propose(Region& region, Handle handle, std::string encoded);
  void ProposeRead(Region& region, Handle handle, store::Step step);
  void OnProposed(Handle handle, group::ProposeOutcome outcome);
  // The slot left the region while the operation was under way.
  Outcome Follow(DatabaseId database, Place place);
  Outcome OutcomeOf(const PendingOperations::Operation& operation, group::ProposeOutcome outcome);
  Status CheckWork(const Region& region, const store::WriteCommand& transaction) const;
  store::Reply ReadNow(const Region& region, Kind kind, const store::Step& step) const;
  uint32_t* ProposedInSlot(DatabaseId database, uint16_t slot);

  void Confirm(RegionId id);
  void OnConfirmed(RegionId id, const Status& status);
  void RunConfirmed(RegionId id, size_t count);

  void ArmDeadlines();
  void CheckDeadlines();
  Outcome ExpiredOutcome(const PendingOperations::Operation& operation) const;

  runtime::Executor& executor_;
  group::GroupHost& host_;
  RegionTable& table_;
  ClusterViews& views_;
  const RowSchemaTable& schemas_;
  const NodeOptions& options_;
  PendingOperations operations_;
  size_t waiting_bytes_ = 0;
  runtime::Timer deadline_timer_;
  bool deadlines_armed_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::node
