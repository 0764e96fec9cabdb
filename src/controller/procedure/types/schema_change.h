// CreateTable, AlterTable, RenameTable, DropTable, and the same for views: a change of the schema that no
// node misses. The intent stands in the catalog from the submission on; every step is durable before the next
// begins.
//
//   created, altered, renamed:
//     announce --every node knows--> [PUBLISH] settle --every node goes by it--> seal --every region refuses
//     older writes--> [SEAL] SUCCEEDED                      (views and creations have nothing to seal)
//   table dropped:
//     announce --no node serves it--> [DELETE_DATA] delete_data --every region has deleted it--> [ERASE]
//     SUCCEEDED
//   view dropped:
//     announce --no node serves it--> [ERASE] SUCCEEDED
//
//   announce --cancelled, or a node holds the barrier up for longer than its budget--> [ROLL_BACK]
//                                                                      CANCELLED or ROLLED_BACK: as it was
//                                                                      before
//
// From the first mark after announce on there is only forward: a barrier or a region that does not answer is
// tried again until it does. A database that is dropped meanwhile ends the change: everything of it goes.
//
// Threading:  the controller's executor.
// Reference:  docs/schema-changes.md.
#pragma once

#include <string>

#include "controller/procedure/cluster_barrier.h"
#include "controller/procedure/procedure_type.h"
#include "controller/procedure/step_context.h"
#include "tenure/internal/v1/procedure.pb.h"

namespace tenure::controller {

struct SchemaChangeOptions {
  Duration barrier_budget{};  // zero: the barrier's own
  Duration call_timeout = std::chrono::seconds(10);
  // After a creation the last nodes are waited for, for so long: they refuse the table until they have heard
  // of it.
  Duration settle_creation = std::chrono::seconds(2);
  size_t max_running = 1000;  // of each type: they only wait
};

class SchemaChange : public ProcedureType {
 public:
  using Intent = ::tenure::internal::v1::SchemaIntent;

  static constexpr std::string_view kCreateTable = "CreateTable";
  static constexpr std::string_view kAlterTable = "AlterTable";
  static constexpr std::string_view kRenameTable = "RenameTable";
  static constexpr std::string_view kDropTable = "DropTable";
  static constexpr std::string_view kCreateView = "CreateView";
  static constexpr std::string_view kAlterView = "AlterView";
  static constexpr std::string_view kRenameView = "RenameView";
  static constexpr std::string_view kDropView = "DropView";

  // `barrier` outlives this.
  SchemaChange(std::string_view name, ClusterBarrier& barrier, SchemaChangeOptions options)
      : name_(name), barrier_(barrier), options_(options) {}

  // To be submitted with the intent as its effect. `what`: "table 'app.orders'". The table or view is locked.
  static ::tenure::v1::ProcedureRecord New(std::string_view type, const std::string& what,
                                           const Intent& intent);
  // Of a record of these types.
  static bool HasIntent(const ::tenure::v1::ProcedureRecord& procedure, const Intent& intent);

  std::string_view name() const override { return name_; }
  std::string_view first_step() const override { return "announce"; }
  size_t max_running() const override { return options_.max_running; }
  bool IsCancellable(std::string_view step) const override { return step == first_step(); }
  Status Check(const ::tenure::v1::ProcedureRecord& procedure) const override;
  runtime::Task<StatusOr<StepEnd>> Run(StepContext& context) override;

 private:
  using End = runtime::Task<StatusOr<StepEnd>>;

  bool IsDrop() const { return name_ == kDropTable || name_ == kDropView; }
  bool IsCreation() const { return name_ == kCreateTable || name_ == kCreateView; }

  End Announce(StepContext& context);
  End Settle(StepContext& context);
  End Seal(StepContext& context);
  End DeleteData(StepContext& context);
  // Until every node serves the object as it is now, or a cancellation is wished (ABORTED).
  runtime::Task<Status> PassBarrier(StepContext& context, Duration budget);

  const std::string name_;
  ClusterBarrier& barrier_;
  const SchemaChangeOptions options_;
};

}  // namespace tenure::controller
