// What a kind of procedure is: named steps and what each of them does.
//
// A step's body is a coroutine on the leader. It looks at records and reports, works through tasks at nodes,
// waits, and ends with a StepEnd, which the engine makes one catalog command of: the next step together with
// the catalog changes of this one. The body may have run in part before (a leader died in it), so it is
// idempotent: it looks first.
//
// Threading:  the controller's executor.
// Reference:  docs/procedures.md.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "catalog/catalog.h"
#include "runtime/task.h"
#include "tenure/internal/v1/command.pb.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::controller {

class StepContext;

struct StepEnd {
  enum class Kind : uint8_t {
    kNext,   // on to `step`, which may be this one again (with other tasks, or children)
    kRetry,  // the same step later, because of `error`
    kEnded,  // the procedure is over: `state`
  };
  Kind kind = Kind::kNext;
  std::string step;
  ::tenure::v1::ProcedureState state = ::tenure::v1::PROCEDURE_RUNNING;
  std::string error;                // kept in the record: why it failed, was rolled back or is tried again
  std::optional<std::string> body;  // the record's, if it changes
  ::tenure::internal::v1::ProcedureEffect effect;
  std::vector<::tenure::v1::ProcedureRecord> spawn;
  bool ends_locks = false;  // what is left to be done needs none: others may begin

  static StepEnd Next(std::string_view step) { return {.kind = Kind::kNext, .step = std::string(step)}; }
  static StepEnd Wait(std::string_view step) {  // for its children
    return {.kind = Kind::kNext, .step = std::string(step), .state = ::tenure::v1::PROCEDURE_WAITING};
  }
  static StepEnd RollBack(std::string_view step, std::string error) {
    return {.kind = Kind::kNext,
            .step = std::string(step),
            .state = ::tenure::v1::PROCEDURE_ROLLING_BACK,
            .error = std::move(error)};
  }
  static StepEnd Retry(std::string error) { return {.kind = Kind::kRetry, .error = std::move(error)}; }
  static StepEnd Ended(::tenure::v1::ProcedureState state, std::string error = {}) {
    return {.kind = Kind::kEnded, .state = state, .error = std::move(error)};
  }
};

class ProcedureType {
 public:
  virtual ~ProcedureType() = default;
  // As in the records: never changes.
  virtual std::string_view name() const = 0;
  virtual std::string_view first_step() const = 0;
  // How many may run at once; others wait, so that a storm of one kind does not starve the others.
  virtual size_t max_running() const = 0;
  // Whether one in this step counts as running: not if it may have to wait for long, and asks for little.
  virtual bool IsCounted(std::string_view) const { return true; }
  virtual bool IsCancellable(std::string_view step) const = 0;
  // Whether the body can be decoded and the step is known: if not, the procedure is isolated.
  virtual Status Check(const ::tenure::v1::ProcedureRecord& procedure) const = 0;
  // Why it was submitted, in one word of a small set, where a type has several reasons; for metrics.
  virtual std::string CauseOf(const ::tenure::v1::ProcedureRecord&) const { return {}; }
  // How one ends that is cancelled before its first step: what came with its submission is undone.
  virtual StepEnd Withdraw(const catalog::Catalog&, const ::tenure::v1::ProcedureRecord&) const {
    return StepEnd::Ended(::tenure::v1::PROCEDURE_CANCELLED, "cancelled before it began");
  }
  // Runs the present step. An error says nothing about the step, only that this run of its body did not come
  // to an end (CANCELLED: stopped): it is run again soon, without a trace in the record.
  virtual runtime::Task<StatusOr<StepEnd>> Run(StepContext& context) = 0;
};

// A record to submit or to spawn.
inline ::tenure::v1::ProcedureRecord NewProcedure(std::string_view type, std::string description,
                                                  std::string body = {}) {
  ::tenure::v1::ProcedureRecord procedure;
  procedure.set_type(std::string(type));
  procedure.set_description(std::move(description));
  procedure.set_body(std::move(body));
  return procedure;
}
void AddLock(::tenure::v1::ProcedureRecord& procedure, ::tenure::v1::LockedObject object, uint64_t id,
             bool shared = false);

}  // namespace tenure::controller
