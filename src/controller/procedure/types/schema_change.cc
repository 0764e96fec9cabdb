#include "controller/procedure/types/schema_change.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "catalog/format.h"
#include "controller/procedure/types/bodies.h"
#include "controller/procedure/types/schema_announcement.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

constexpr std::string_view kSchemaSteps[] = {"announce", "settle", "seal", "delete_data"};

const pb::Record* ObjectOf(const StepContext& context) {
  return context.catalog().FindTableOrView(context.procedure().object());
}

uint64_t DatabaseOf(const pb::Record& record) {
  return record.has_table() ? record.table().database() : record.view().database();
}

// The object, or its database, was dropped under the change.
bool IsGone(const StepContext& context) {
  const pb::Record* object = ObjectOf(context);
  if (object == nullptr) return true;
  const auto database = context.catalog().databases().find(DatabaseOf(*object));
  return database == context.catalog().databases().end() ||
         database->second.database().state() == pb::DATABASE_PRE_DELETE;
}

StepEnd DatabaseGone() {
  return StepEnd::Ended(pb::PROCEDURE_CANCELLED, "the database was dropped meanwhile");
}

StepEnd With(StepEnd end, uint64_t object, ipb::SchemaStep::Op op) {
  end.effect.mutable_schema_step()->set_object(object);
  end.effect.mutable_schema_step()->set_op(op);
  return end;
}

// Runs beside the body of a step, which looks at its procedure meanwhile.
struct Passing {
  bool ended = false;
  Status status;
};
runtime::Task<void> PassInto(Passing& passing, ClusterBarrier& barrier, Revision revision, Duration budget,
                             runtime::StopToken stop, StepContext& context) {
  passing.status = co_await barrier.Pass(revision, budget, std::move(stop));
  passing.ended = true;
  context.Wake();
}

}  // namespace

pb::ProcedureRecord SchemaChange::New(std::string_view type, const std::string& what, const Intent& intent) {
  ipb::SchemaChangeBody body;
  *body.mutable_intent() = intent;
  pb::ProcedureRecord procedure =
      NewProcedure(type, fmt::format("{} {}", type, what), body.SerializeAsString());
  procedure.set_object(intent.object());
  AddLock(procedure, pb::LOCKED_TABLE, intent.object());
  return procedure;
}

bool SchemaChange::HasIntent(const pb::ProcedureRecord& procedure, const Intent& intent) {
  const auto body = BodyOf<ipb::SchemaChangeBody>(procedure);
  return body.ok() && body->intent().SerializeAsString() == intent.SerializeAsString();
}

Status SchemaChange::Check(const pb::ProcedureRecord& procedure) const {
  TENURE_RETURN_IF_ERROR(BodyOf<ipb::SchemaChangeBody>(procedure).status());
  const bool known = procedure.step().empty() || std::find(std::begin(kSchemaSteps), std::end(kSchemaSteps),
                                                           procedure.step()) != std::end(kSchemaSteps);
  return known ? OkStatus() : UnknownStep(procedure);
}

SchemaChange::End SchemaChange::Run(StepContext& context) {
  if (IsGone(context)) co_return DatabaseGone();
  const std::string step = context.procedure().step();
  if (step == "settle") co_return co_await Settle(context);
  if (step == "seal") co_return co_await Seal(context);
  if (step == "delete_data") co_return co_await DeleteData(context);
  co_return co_await Announce(context);
}

runtime::Task<Status> SchemaChange::PassBarrier(StepContext& context, Duration budget) {
#ifdef TENURE_MUTANT_ddl_skips_barrier
  co_return OkStatus();
#endif
#ifdef TENURE_MUTANT_drop_before_barrier
  if (IsDrop()) co_return OkStatus();
#endif
  const Revision revision(ObjectOf(context)->modify_revision());
  const bool cancellable = IsCancellable(context.procedure().step());
  context.WaitsFor(
      fmt::format("every node to know revision {}, or to have lost its lease", revision.value()));
  runtime::TaskScope scope(context.executor());
  Passing passing;
  scope.Spawn(PassInto(passing, barrier_, revision, budget, scope.token(), context));
  Status status;
  while (!passing.ended) {
    if (cancellable && context.cancel_requested()) {
      status = absl::AbortedError("cancelled");
      break;
    }
    if (!co_await context.News()) {
      status = absl::CancelledError("stopped");
      break;
    }
  }
  co_await scope.StopAndJoin();
  co_return status.ok() ? passing.status : status;
}

SchemaChange::End SchemaChange::Announce(StepContext& context) {
  const uint64_t object = context.procedure().object();
  const Status passed = co_await PassBarrier(context, options_.barrier_budget);
  if (IsGone(context)) co_return DatabaseGone();
  // The wish was recorded before this step's end: it counts, whatever the barrier says.
  if (context.cancel_requested()) {
    StepEnd end = StepEnd::Ended(pb::PROCEDURE_CANCELLED, "cancelled");
    co_return With(std::move(end), object, ipb::SchemaStep::ROLL_BACK);
  }
  if (passed.code() == StatusCode::kDeadlineExceeded) {
    StepEnd end = StepEnd::Ended(pb::PROCEDURE_ROLLED_BACK, std::string(MessageOf(passed)));
    co_return With(std::move(end), object, ipb::SchemaStep::ROLL_BACK);
  }
  if (!passed.ok()) co_return passed;
  if (name_ == kDropTable) {
    StepEnd end = StepEnd::Next("delete_data");
    co_return With(std::move(end), object, ipb::SchemaStep::DELETE_DATA);
  }
  if (name_ == kDropView) {
    StepEnd end = StepEnd::Ended(pb::PROCEDURE_SUCCEEDED);
    co_return With(std::move(end), object, ipb::SchemaStep::ERASE);
  }
  StepEnd end = StepEnd::Next("settle");
  co_return With(std::move(end), object, ipb::SchemaStep::PUBLISH);
}

SchemaChange::End SchemaChange::Settle(StepContext& context) {
  const Duration budget = IsCreation() ? options_.settle_creation : options_.barrier_budget;
  const Status passed = co_await PassBarrier(context, budget);
  if (passed.code() == StatusCode::kDeadlineExceeded) {
    // A node that has not heard of a creation yet refuses the table: nothing of it is wrong anywhere.
    if (IsCreation()) co_return StepEnd::Ended(pb::PROCEDURE_SUCCEEDED);
    co_return StepEnd::Retry(std::string(MessageOf(passed)));
  }
  if (!passed.ok()) co_return passed;
  if (name_ == kAlterTable || name_ == kRenameTable) co_return StepEnd::Next("seal");
  co_return StepEnd::Ended(pb::PROCEDURE_SUCCEEDED);
}

SchemaChange::End SchemaChange::Seal(StepContext& context) {
  const pb::TableRecord& table = ObjectOf(context)->table();
  ipb::ChangeSchemaRequest change;
  change.set_table(table.id());
  change.set_version(table.shape().version());
  SchemaAnnouncement announcement(context, table.database(), std::move(change), options_.call_timeout);
  const Status told = co_await announcement.Run();
  if (told.code() == StatusCode::kNotFound) co_return DatabaseGone();
  if (!told.ok()) co_return told;
  StepEnd end = StepEnd::Ended(pb::PROCEDURE_SUCCEEDED);
  if (context.catalog().format_version() < catalog::kFormatOfChangefeeds) co_return end;
  end = With(std::move(end), context.procedure().object(), ipb::SchemaStep::SEAL);
  end.effect.mutable_schema_step()->set_announced_ts(announcement.announced_ts());
  co_return end;
}

SchemaChange::End SchemaChange::DeleteData(StepContext& context) {
  const pb::TableRecord& table = ObjectOf(context)->table();
  const uint64_t object = table.id();
  ipb::ChangeSchemaRequest change;
  change.set_table(object);
  change.set_drop(true);
  SchemaAnnouncement announcement(context, table.database(), std::move(change), options_.call_timeout);
  const Status told = co_await announcement.Run();
  if (told.code() == StatusCode::kNotFound) co_return DatabaseGone();
  if (!told.ok()) co_return told;
  StepEnd end = StepEnd::Ended(pb::PROCEDURE_SUCCEEDED);
  end = With(std::move(end), object, ipb::SchemaStep::ERASE);
  end.effect.mutable_schema_step()->set_announced_ts(announcement.announced_ts());
  co_return end;
}

}  // namespace tenure::controller
