#include "controller/procedure/procedure_engine.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "catalog/procedures.h"
#include "catalog/refusal.h"
#include "controller/procedure/backoff.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

constexpr Duration kEngineBeat = std::chrono::seconds(1);
constexpr Duration kNewsDelay = std::chrono::milliseconds(5);  // reports within it wake together
constexpr size_t kMaxErrorBytes = 512;
// Refusals of one step's command that are taken for a race with another change.
constexpr int kQuietRefusals = 5;

bool IsStopped(const Status& status) {
  return status.code() == StatusCode::kCancelled || catalog::IsReason(status, pb::REASON_STALE_EPOCH) ||
         catalog::IsReason(status, pb::REASON_NOT_LEADER);
}

}  // namespace

ProcedureEngine::ProcedureEngine(runtime::Executor& executor, runtime::Network& network,
                                 CatalogAccess& access, AgentService& agents, TaskBoard& tasks,
                                 ProcedureOptions options, Prng prng, Logger logger)
    : executor_(executor),
      access_(access),
      tasks_(tasks),
      options_(options),
      prng_(prng),
      logger_(std::move(logger)),
      surroundings_{executor, network, access, agents, tasks},
      locks_(
          [this](const std::string& type) {
            const ProcedureType* known = Find(type);
            return known == nullptr ? 0 : known->max_running();
          },
          [this](const pb::ProcedureRecord& procedure) {
            const ProcedureType* known = Find(procedure.type());
            return known == nullptr || known->IsCounted(procedure.step());
          }),
      self_(std::make_shared<ProcedureEngine*>(this)),
      scope_(executor) {
  agents.AddObserver([self = self_] {
    if (*self != nullptr) (*self)->WakeAll();
  });
}

ProcedureEngine::~ProcedureEngine() {
  *self_ = nullptr;
}

void ProcedureEngine::AddType(ProcedureType& type) {
  types_[std::string(type.name())] = &type;
}

ProcedureType* ProcedureEngine::Find(const std::string& type) const {
  const auto it = types_.find(type);
  return it == types_.end() ? nullptr : it->second;
}

// ---- the epoch ----

runtime::Task<Status> ProcedureEngine::Start(Term epoch, runtime::StopToken stop) {
  epoch_ = epoch;
  epoch_stop_ = std::move(stop);
  runners_.clear();
  isolated_.clear();
  forgetting_ = false;
  wake_posted_ = false;
  LoadRecords();
  OnBeat();
  co_return OkStatus();
}

void ProcedureEngine::Stop() {
  epoch_ = Term();
  beat_.Cancel();
  wake_.Cancel();
  runners_.clear();  // their bodies hold what they need until they have seen the stop
}

void ProcedureEngine::LoadRecords() {
  locks_.Clear();
  children_.clear();
  for (const auto& [id, record] : access_.catalog().procedures()) {
    locks_.Put(record.procedure());
    if (const uint64_t parent = record.procedure().parent(); parent != 0) children_[parent].insert(id);
  }
}

void ProcedureEngine::OnCatalogReset(Revision) {
  LoadRecords();
}

void ProcedureEngine::OnCatalogChanged(const std::vector<pb::Event>& events, Revision) {
  std::set<uint64_t> changed;
  for (const pb::Event& event : events) {
    const pb::Record& record = event.has_new_record() ? event.new_record() : event.old_record();
    if (!record.has_procedure()) continue;
    const uint64_t id = record.procedure().id();
    const uint64_t parent = record.procedure().parent();
    changed.insert(id);
    if (event.has_new_record()) {
      locks_.Put(record.procedure());
      if (parent != 0) children_[parent].insert(id);
    } else {
      locks_.Erase(id);
      children_.erase(id);
      if (const auto siblings = children_.find(parent); siblings != children_.end())
        siblings->second.erase(id);
    }
  }
  if (epoch_.IsNone()) return;
  if (!changed.empty()) {
    tasks_.OnProceduresChanged(changed);
    ScheduleLook();
  }
  WakeAll();
}

void ProcedureEngine::WakeAll() {
  if (runners_.empty() || std::exchange(wake_posted_, true)) return;
  // Posted without a timer, bodies would run for every heartbeat of every node.
  wake_ = executor_.After(kNewsDelay, [this] {
    wake_posted_ = false;
    for (const auto& [id, runner] : runners_) runner->news.Set();
  });
}

void ProcedureEngine::ScheduleLook() {
  if (epoch_.IsNone() || std::exchange(look_posted_, true)) return;
  executor_.Post([self = self_] {
    if (*self == nullptr) return;
    (*self)->look_posted_ = false;
    (*self)->Look();
  });
}

void ProcedureEngine::OnBeat() {
  beat_ = executor_.After(kEngineBeat, [this] { OnBeat(); });
  ScheduleLook();
  ForgetOld();
}

void ProcedureEngine::Look() {
  if (epoch_.IsNone()) return;
  for (const auto& [id, record] : access_.catalog().procedures()) {
    const pb::ProcedureRecord& procedure = record.procedure();
    // One that is cancelled before it has begun ends without a lock.
    const bool withdrawn = procedure.state() == pb::PROCEDURE_PENDING && procedure.cancel_requested();
    if ((withdrawn || catalog::HoldsLocks(procedure.state())) && !runners_.contains(id) &&
        !IsIsolated(procedure))
      Launch(id);
  }
  for (const uint64_t id : locks_.Ready()) {
    const auto found = access_.catalog().procedures().find(id);
    if (found == access_.catalog().procedures().end() || IsIsolated(found->second.procedure())) continue;
    // It is being withdrawn, or one before it has just begun.
    if (runners_.contains(id) || !locks_.MayBegin(id)) continue;
    locks_.Begin(id);
    Launch(id);
  }
}

bool ProcedureEngine::IsIsolated(const pb::ProcedureRecord& procedure) {
  if (isolated_.contains(procedure.id())) return true;
  const ProcedureType* type = Find(procedure.type());
  const Status readable = type == nullptr
                              ? Error(StatusCode::kUnimplemented, "its type is not known to this program")
                              : type->Check(procedure);
  if (readable.ok()) return false;
  isolated_.insert(procedure.id());
  logger_.Error("procedure {} ({}, step '{}') is left as it is: {}", procedure.id(), procedure.type(),
                procedure.step(), MessageOf(readable));
  return true;
}

void ProcedureEngine::Launch(uint64_t id) {
  const auto runner = std::make_shared<Runner>(executor_);
  runners_[id] = runner;
  scope_.Spawn(Run(id, epoch_, epoch_stop_, runner));
}

// ---- one procedure ----

runtime::Task<void> ProcedureEngine::Run(uint64_t id, Term epoch, runtime::StopToken stop,
                                         std::shared_ptr<Runner> runner) {
  uint32_t refused = 0;
  while (!stop.stop_requested()) {
    const auto found = access_.catalog().procedures().find(id);
    if (found == access_.catalog().procedures().end()) break;
    const pb::ProcedureRecord& procedure = found->second.procedure();
    if (catalog::IsEnded(procedure.state())) break;
    const Status status = co_await RunStep(found->second, epoch, stop, *runner);
    if (status.ok()) {
      refused = 0;
      continue;
    }
    if (IsStopped(status)) break;
    // Usually somebody else changed the record, or what the step looked at: it looks again.
    if (++refused >= kQuietRefusals)
      logger_.Warn("procedure {}: the end of a step was not taken {} times: {}", id, refused,
                   MessageOf(status));
    if (!co_await runtime::SleepFor(executor_, BackoffFor(refused), stop)) break;
  }
  if (epoch_ != epoch) co_return;
  if (const auto mine = runners_.find(id); mine != runners_.end() && mine->second == runner)
    runners_.erase(mine);
}

runtime::Task<Status> ProcedureEngine::RunStep(pb::Record record, Term epoch, runtime::StopToken stop,
                                               Runner& runner) {
  const pb::ProcedureRecord& procedure = record.procedure();
  ProcedureType& type = *Find(procedure.type());
  StepContext context(surroundings_, runner.news, runner.waits_for, Prng(prng_.Next64()), record, epoch,
                      stop);
  runner.waits_for.clear();
  StatusOr<StepEnd> end = StepEnd::Next(type.first_step());
  if (procedure.state() != pb::PROCEDURE_PENDING) {
    const int64_t now = ToMillis(executor_.WallNow());
    if (procedure.next_try_at_ms() > now) {
      // Clocks of leaders differ: no longer than the longest pause there is.
      const Duration pause =
          std::min<Duration>(std::chrono::milliseconds(procedure.next_try_at_ms() - now), kLongestPause);
      if (!co_await runtime::SleepFor(executor_, pause, stop)) co_return absl::CancelledError("stopped");
    }
    end = co_await type.Run(context);
    // Nothing came of it: an attempt was not committed, because something changed or there is no majority
    // now.
    if (!end.ok()) co_return end.status();
    if (stop.stop_requested()) co_return absl::CancelledError("stopped");
  } else if (procedure.cancel_requested()) {
    end = type.Withdraw(access_.catalog(), procedure);
  }
  pb::Record now;
  *now.mutable_procedure() = context.procedure();
  now.set_modify_revision(context.revision().value());
  ipb::CatalogCommand command = CommandFor(now, *std::move(end));
  const pb::ProcedureRecord next = command.advance_procedure().procedure();
  const auto done = co_await access_.ProposeAndWait(std::move(command), epoch, stop);
  if (!done.ok()) co_return done.status();
  Count(now.procedure(), next);
  Log(now.procedure(), next);
  co_return OkStatus();
}

ipb::CatalogCommand ProcedureEngine::CommandFor(const pb::Record& record, StepEnd end) {
  const pb::ProcedureRecord& before = record.procedure();
  const int64_t now = ToMillis(executor_.WallNow());
  ipb::CatalogCommand command;
  ipb::AdvanceProcedure& advance = *command.mutable_advance_procedure();
  advance.set_if_revision(record.modify_revision());
  *advance.mutable_effect() = std::move(end.effect);
  for (pb::ProcedureRecord& spawned : end.spawn) *advance.add_spawn() = std::move(spawned);
  pb::ProcedureRecord& next = *advance.mutable_procedure();
  next = before;
  if (end.body) next.set_body(*std::move(end.body));
  if (end.ends_locks) next.clear_locks();
  if (end.error.size() > kMaxErrorBytes) end.error.resize(kMaxErrorBytes);
  if (end.kind == StepEnd::Kind::kRetry) {
    const Duration pause = BackoffFor(next.attempt());
    const auto jitter =
        std::chrono::milliseconds(prng_.Below(static_cast<uint64_t>(ToMillis(pause)) / 4 + 1));
    next.set_attempt(next.attempt() + 1);
    next.set_last_error(end.error);
    next.set_next_try_at_ms(now + ToMillis(pause + jitter));
    if (next.state() == pb::PROCEDURE_RUNNING) next.set_state(pb::PROCEDURE_WAITING);
    return command;
  }
  // A step that begins anew, with other tasks or children, has not ended.
  const bool again = end.kind == StepEnd::Kind::kNext && end.step == before.step();
  if (!before.step().empty() && !again) {
    pb::ProcedureStep& step = *next.add_steps();
    step.set_name(before.step());
    step.set_duration_ms(std::max<int64_t>(now - before.step_began_at_ms(), 0));
    step.set_attempts(before.attempt());
    if (const int extra = next.steps_size() - static_cast<int>(options_.kept_steps); extra > 0)
      next.mutable_steps()->DeleteSubrange(0, extra);
  }
  next.set_attempt(0);
  next.clear_next_try_at_ms();
  if (again) {
    RetireAttempts(next);
  } else {
    next.clear_tasks();
  }
  if (!again) next.set_step_began_at_ms(now);
  next.set_state(end.state);
  if (!end.error.empty() || end.state == pb::PROCEDURE_SUCCEEDED) next.set_last_error(end.error);
  if (end.kind == StepEnd::Kind::kEnded) {
    next.set_cancellable(false);
    return command;
  }
  next.set_step(end.step);
  next.set_cancellable(end.state != pb::PROCEDURE_ROLLING_BACK &&
                       Find(before.type())->IsCancellable(end.step));
  return command;
}

void ProcedureEngine::Log(const pb::ProcedureRecord& before, const pb::ProcedureRecord& after) const {
  if (catalog::IsEnded(after.state())) {
    logger_.Info("procedure {} ({}: {}): {} after {} ms{}{}", after.id(), after.type(), after.description(),
                 catalog::NameOf(after.state()), ToMillis(executor_.WallNow()) - after.created_at_ms(),
                 after.last_error().empty() ? "" : ": ", after.last_error());
  } else if (after.attempt() > 0 && after.step() == before.step()) {
    logger_.Warn("procedure {} ({}): step '{}' failed, attempt {}: {}", after.id(), after.type(),
                 after.step(), after.attempt(), after.last_error());
  } else {
    logger_.Info("procedure {} ({}: {}): step '{}'", after.id(), after.type(), after.description(),
                 after.step());
  }
}

void ProcedureEngine::Count(const pb::ProcedureRecord& before, const pb::ProcedureRecord& after) {
  const bool ended = catalog::IsEnded(after.state());
  if (!before.step().empty() && (ended || after.step() != before.step())) {
    ProcedureNumbers::Durations& durations = counted_.steps[{before.type(), before.step()}];
    ++durations.count;
    durations.sum += std::chrono::milliseconds(
        std::max<int64_t>(ToMillis(executor_.WallNow()) - before.step_began_at_ms(), 0));
  }
  if (!ended) return;
  const ProcedureType* type = Find(after.type());
  ++counted_.ended[{after.type(), std::string(catalog::NameOf(after.state())), type->CauseOf(after)}];
}

ProcedureNumbers ProcedureEngine::Numbers() const {
  ProcedureNumbers numbers = counted_;
  for (const auto& [id, record] : access_.catalog().procedures()) {
    const pb::ProcedureRecord& procedure = record.procedure();
    ++numbers.records[{procedure.type(), std::string(catalog::NameOf(procedure.state()))}];
  }
  numbers.isolated = isolated_.size();
  numbers.tasks_under_way = tasks_.under_way();
  return numbers;
}

// ---- history ----

void ProcedureEngine::ForgetOld() {
  if (std::exchange(forgetting_, true)) return;
  const int64_t now = ToMillis(executor_.WallNow());
  const auto& procedures = access_.catalog().procedures();
  size_t ended = 0;
  for (const auto& [id, record] : procedures) ended += catalog::IsEnded(record.procedure().state()) ? 1 : 0;
  ipb::CatalogCommand command;
  ipb::ForgetProcedures& forget = *command.mutable_forget_procedures();
  for (const auto& [id, record] : procedures) {  // the oldest ids first
    const pb::ProcedureRecord& procedure = record.procedure();
    if (!catalog::IsEnded(procedure.state())) continue;
    const auto parent = procedures.find(procedure.parent());
    if (parent != procedures.end() && !catalog::IsEnded(parent->second.procedure().state())) continue;
    const bool old = now - procedure.ended_at_ms() > ToMillis(options_.kept_for);
    if (!old && ended <= options_.kept_procedures) continue;
    --ended;
    forget.add_procedures(id);
    if (forget.procedures_size() >= 1000) break;
  }
  if (forget.procedures().empty()) {
    forgetting_ = false;
    return;
  }
  access_.ProposeInEpoch(std::move(command), epoch_, [self = self_](const StatusOr<ipb::CatalogResult>&) {
    if (*self != nullptr) (*self)->forgetting_ = false;
  });
}

// ---- status ----

pb::ProcedureStatus ProcedureEngine::StatusOf(const pb::Record& record) const {
  const pb::ProcedureRecord& procedure = record.procedure();
  pb::ProcedureStatus status;
  *status.mutable_record() = record;
  for (pb::LockWait& wait : locks_.WaitsOf(procedure.id())) *status.add_waits() = std::move(wait);
  if (const auto children = children_.find(procedure.id()); children != children_.end()) {
    for (const uint64_t child : children->second) status.add_children(child);
  }
  uint64_t done = 0;
  uint64_t total = 0;
  for (const pb::TaskAttempt& attempt : procedure.tasks()) {
    if (IsRetired(attempt)) continue;
    pb::TaskStatus& task = *status.add_tasks();
    task.set_node(attempt.node());
    task.set_attempt(attempt.attempt());
    task.set_last_error(attempt.last_error());
    const auto report =
        tasks_.Find(NodeId(attempt.node()), {procedure.id(), procedure.step(), attempt.attempt()});
    task.set_state(report ? ipb::TaskState_Name(report->state()).substr(5) : "UNKNOWN");
    if (!report) continue;
    task.set_done(report->done());
    task.set_total(report->total());
    if (!report->error().empty()) task.set_last_error(report->error());
    done += report->done();
    total += report->total();
  }
  if (isolated_.contains(procedure.id())) {
    // In what is shown only: a program that can run it goes on with the record as it is.
    status.mutable_record()->mutable_procedure()->set_state(pb::PROCEDURE_NEEDS_OPERATOR);
    status.set_progress("this program cannot run it: see the log of the leading controller");
  } else if (!status.waits().empty()) {
    status.set_progress("waits for its locks");
  } else if (locks_.IsLimited(procedure.id())) {
    status.set_progress("waits for others of its type to end");
  } else if (const auto runner = runners_.find(procedure.id());
             runner != runners_.end() && !runner->second->waits_for.empty()) {
    status.set_progress(runner->second->waits_for);
  } else if (total > 0) {
    status.set_progress(fmt::format("{} of {} done on {} nodes", done, total, status.tasks_size()));
  }
  return status;
}

}  // namespace tenure::controller
