// MoveReplica, AddReplica, RemoveReplica, RepairReplica: a region's replica is made on one node, and one on
// another node goes. A move has both, the others one or the other; a repair is a move whose old replica's
// node is not there.
//
//   prepare --replica id given--> create --made there--> add_learner --in the configuration--> catch_up --has
//   the log--> switch --voter, old one out, in one change--> confirm --the new replica says so--> destroy
//   --old one gone--> SUCCEEDED
//
//   create, add_learner, catch_up --cancelled, or the new node or replica is lost--> undo --out of the
//   configuration--> undo_destroy
//   switch --the new replica is lost and was taken out of the configuration before it voted--> undo
//                                                                         --gone--> CANCELLED or ROLLED_BACK
//
// The configuration is the region's own: asked for by a call to its leader, conditional on the one in force,
// and believed when the leader reports it. There are never fewer voters than before. A new
// replica that is lost after the switch is not waited for if the region goes on without it: the region is
// repaired when this has ended. If not, the old replica is kept until the new one is back or the region has
// been recovered. A region that is dropped meanwhile ends it all. Nobody waits for a node that is lost to destroy what it has:
// it does so by itself when it is back and finds that the catalog does not place it there.
#pragma once

#include <string>

#include "controller/procedure/procedure_type.h"
#include "controller/procedure/step_context.h"
#include "tenure/internal/v1/procedure.pb.h"

namespace tenure::controller {

struct ChangeReplicaOptions {
  // A learner is promoted when it lacks at most so many entries of the leader's log.
  uint64_t max_lag = 1000;
  uint32_t max_failures = 5;  // of the new replica's creation
  Duration call_timeout = std::chrono::seconds(10);
  size_t max_running = 32;  // of each type
};

class ChangeReplica : public ProcedureType {
 public:
  static constexpr std::string_view kMove = "MoveReplica";
  static constexpr std::string_view kAdd = "AddReplica";
  static constexpr std::string_view kRemove = "RemoveReplica";
  static constexpr std::string_view kRepair = "RepairReplica";

  ChangeReplica(std::string_view name, ChangeReplicaOptions options) : name_(name), options_(options) {}

  // Who wants a change, for logs and metrics.
  static constexpr std::string_view kOperator = "operator";
  static constexpr std::string_view kBalance = "balance";
  static constexpr std::string_view kDrain = "drain";
  static constexpr std::string_view kLoss = "repair";

  // `add_node`, `remove_replica`: 0 if none. The region is locked.
  static ::tenure::v1::ProcedureRecord New(std::string_view type, const ::tenure::v1::RegionRecord& region,
                                           NodeId add_node, ReplicaId remove_replica,
                                           std::string_view cause = kOperator);

  static bool IsOne(std::string_view type) {
    return type == kMove || type == kAdd || type == kRemove || type == kRepair;
  }
  // Of a record of these types: the node that gets a replica, and the one that loses it; none if there is
  // none.
  static NodeId TargetOf(const ::tenure::v1::ProcedureRecord& procedure);
  static NodeId SourceOf(const ::tenure::v1::ProcedureRecord& procedure);
  // It ended without success less than `rest` ago, so its region rests before it is changed again. The time
  // of its end is that of the clock of whoever led then. One that lies ahead of `now` says nothing: nobody
  // rests for it, whatever that clock showed.
  static bool FailedLately(const ::tenure::v1::ProcedureRecord& procedure, WallTime now, Duration rest);

  std::string_view name() const override { return name_; }
  std::string_view first_step() const override { return "prepare"; }
  size_t max_running() const override { return options_.max_running; }
  bool IsCancellable(std::string_view step) const override;
  Status Check(const ::tenure::v1::ProcedureRecord& procedure) const override;
  std::string CauseOf(const ::tenure::v1::ProcedureRecord& procedure) const override;
  runtime::Task<StatusOr<StepEnd>> Run(StepContext& context) override;

 private:
  using Body = ::tenure::internal::v1::ChangeReplicaBody;
  using End = runtime::Task<StatusOr<StepEnd>>;

  End Prepare(StepContext& context, Body body);
  End Create(StepContext& context, Body body);
  End AddLearner(StepContext& context, Body body);
  End CatchUp(StepContext& context, Body body);
  End Switch(StepContext& context, Body body);
  End Confirm(StepContext& context, Body body);
  End Destroy(StepContext& context, uint64_t region, uint64_t replica, uint64_t node, StepEnd end);
  End Undo(StepContext& context, Body body);
  // Asks the region's leader for a configuration; returns when it answered or did not.
  runtime::Task<void> Ask(StepContext& context, uint64_t region,
                          std::vector<::tenure::v1::ReplicaRecord> replicas);

  const std::string name_;
  const ChangeReplicaOptions options_;
};

}  // namespace tenure::controller
