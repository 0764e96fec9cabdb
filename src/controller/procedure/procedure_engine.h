// Runs the procedures: begins them when their locks are free, runs the body of each one's present step as a
// coroutine, makes its end one catalog command, and goes on from the record - after a leader change as after
// its own step, because there is no other memory than the record.
//
//   PENDING --locks free--> RUNNING <--> WAITING (children, next try) --> SUCCEEDED | FAILED | CANCELLED
//                              '--> ROLLING_BACK --> ROLLED_BACK | FAILED | CANCELLED
//
// A procedure whose record this program cannot read or whose type it does not know is isolated: logged, shown
// as NEEDS_OPERATOR, left as it is (its locks too) for a program that knows it; nothing else waits for it.
//
// Threading:  the controller's executor.
// Lifetime:   Stop(joined) has called back before destruction, unless the executor has stopped for good.
// Invariants: P1 one body per procedure at a time, only in the current leadership epoch.
//             P2 nothing of a step takes effect in the catalog but by a command that is conditional on the
//             record's revision and on the epoch.
// Reference:  docs/procedures.md.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/log.h"
#include "base/prng.h"
#include "controller/catalog_access.h"
#include "controller/leadership/leader_service.h"
#include "controller/nodes/agent_service.h"
#include "controller/procedure/lock_table.h"
#include "controller/procedure/procedure_numbers.h"
#include "controller/procedure/procedure_type.h"
#include "controller/procedure/step_context.h"
#include "controller/procedure/task_board.h"
#include "runtime/executor.h"
#include "runtime/network.h"
#include "runtime/task.h"
#include "tenure/v1/procedures.pb.h"

namespace tenure::controller {

struct ProcedureOptions {
  size_t kept_steps = 50;         // in a record
  size_t kept_procedures = 1000;  // that have ended
  Duration kept_for = std::chrono::hours(24 * 7);
};

class ProcedureEngine : public CatalogListener, public LeaderService {
 public:
  ProcedureEngine(runtime::Executor& executor, runtime::Network& network, CatalogAccess& access,
                  AgentService& agents, TaskBoard& tasks, ProcedureOptions options, Prng prng, Logger logger);
  ~ProcedureEngine() override;

  // Before the first epoch; `type` outlives this.
  void AddType(ProcedureType& type);
  // How a procedure stands, for people.
  ::tenure::v1::ProcedureStatus StatusOf(const ::tenure::v1::Record& record) const;
  // Procedures that nobody can run.
  const std::set<uint64_t>& isolated() const { return isolated_; }
  // Without what the scheduler knows of repairs.
  ProcedureNumbers Numbers() const;

  // No body runs any more when `joined` is called.
  void StopAndJoin(Closure joined) { scope_.StopAndJoin(std::move(joined)); }

  // CatalogListener
  void OnCatalogChanged(const std::vector<::tenure::v1::Event>& events, Revision applied) override;
  void OnCatalogReset(Revision) override;
  // LeaderService
  std::string_view name() const override { return "procedures"; }
  runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) override;
  void Stop() override;

 private:
  struct Runner {
    explicit Runner(runtime::Executor& executor) : news(executor) {}
    runtime::Event news;
    std::string waits_for;
  };

  ProcedureType* Find(const std::string& type) const;
  void LoadRecords();
  void ScheduleLook();
  void OnBeat();
  void Look();
  void Launch(uint64_t id);
  bool IsIsolated(const ::tenure::v1::ProcedureRecord& procedure);
  runtime::Task<void> Run(uint64_t id, Term epoch, runtime::StopToken stop, std::shared_ptr<Runner> runner);
  // One body, or the beginning of a new procedure, and the command that follows.
  runtime::Task<Status> RunStep(::tenure::v1::Record record, Term epoch, runtime::StopToken stop,
                                Runner& runner);
  ::tenure::internal::v1::CatalogCommand CommandFor(const ::tenure::v1::Record& record, StepEnd end);
  void Count(const ::tenure::v1::ProcedureRecord& before, const ::tenure::v1::ProcedureRecord& after);
  void Log(const ::tenure::v1::ProcedureRecord& before, const ::tenure::v1::ProcedureRecord& after) const;
  void WakeAll();
  void ForgetOld();

  runtime::Executor& executor_;
  CatalogAccess& access_;
  TaskBoard& tasks_;
  const ProcedureOptions options_;
  Prng prng_;
  Logger logger_;
  StepSurroundings surroundings_;
  std::map<std::string, ProcedureType*> types_;

  Term epoch_;  // none while stopped
  runtime::StopToken epoch_stop_;
  LockTable locks_;
  std::map<uint64_t, std::set<uint64_t>> children_;      // by parent
  std::map<uint64_t, std::shared_ptr<Runner>> runners_;  // of this epoch
  std::set<uint64_t> isolated_;
  ProcedureNumbers counted_;  // since the process was started
  bool look_posted_ = false;
  bool wake_posted_ = false;
  bool forgetting_ = false;
  runtime::Timer beat_;
  runtime::Timer wake_;
  std::shared_ptr<ProcedureEngine*> self_;  // null inside once this is gone
  runtime::TaskScope scope_;
};

}  // namespace tenure::controller
