#include "controller/procedure/step_context.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "catalog/procedures.h"
#include "controller/procedure/backoff.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

constexpr size_t kMaxTaskErrorBytes = 512;

const pb::TaskAttempt* FindAttempt(const pb::ProcedureRecord& procedure, NodeId node) {
  const auto it = std::find_if(procedure.tasks().begin(), procedure.tasks().end(),
                               [node](const pb::TaskAttempt& task) { return NodeId(task.node()) == node; });
  return it == procedure.tasks().end() ? nullptr : &*it;
}

TaskKey KeyOf(const pb::ProcedureRecord& procedure, const pb::TaskAttempt& attempt) {
  return {procedure.id(), procedure.step(), attempt.attempt()};
}

}  // namespace

void AddLock(pb::ProcedureRecord& procedure, pb::LockedObject object, uint64_t id, bool shared) {
  pb::ProcedureLock& lock = *procedure.add_locks();
  lock.set_object(object);
  lock.set_id(id);
  lock.set_shared(shared);
}

void RetireAttempts(pb::ProcedureRecord& procedure) {
  for (pb::TaskAttempt& attempt : *procedure.mutable_tasks()) {
    if (IsRetired(attempt)) continue;
    attempt.set_attempt(attempt.attempt() + 1);
    attempt.clear_registration_epoch();
    attempt.clear_failures();
    attempt.clear_last_error();
  }
}

bool IsRetired(const pb::TaskAttempt& attempt) {
  return attempt.registration_epoch() == 0;
}

StepContext::StepContext(StepSurroundings& surroundings, runtime::Event& news, std::string& waits_for,
                         Prng prng, pb::Record record, Term epoch, runtime::StopToken stop)
    : surroundings_(surroundings),
      news_(news),
      waits_for_(waits_for),
      prng_(prng),
      record_(std::move(record)),
      epoch_(epoch),
      stop_(std::move(stop)) {}

bool StepContext::Refresh() {
  const auto& procedures = catalog().procedures();
  const auto found = procedures.find(procedure().id());
  if (found == procedures.end() || catalog::IsEnded(found->second.procedure().state()) ||
      found->second.procedure().step() != procedure().step()) {
    return false;
  }
  record_ = found->second;
  return true;
}

runtime::Task<bool> StepContext::News(Duration limit) {
  news_.Reset();
  const runtime::Timer timer = executor().After(limit, [this] { news_.Set(); });
  if (!co_await news_.Wait(stop_)) co_return false;
  co_return Refresh();
}

bool StepContext::NeedsAttempt(const NodeTask& task, const pb::TaskAttempt* attempt) const {
  const pb::NodeRecord& node = catalog().nodes().at(task.node.value()).node();
  // A process that is not there takes nothing; the one that comes back is another.
  const NodeLoad* load = agents().load().Find(task.node);
  const bool there =
      load != nullptr && load->connected && load->registration_epoch == node.registration_epoch();
  if (attempt == nullptr) return there;
  if (attempt->registration_epoch() != node.registration_epoch()) return there;
  const TaskKey key = KeyOf(procedure(), *attempt);
  const auto failed = surroundings_.tasks.FailedAt(task.node, key);
  return failed && surroundings_.executor.Now() - *failed >= BackoffFor(attempt->failures());
}

runtime::Task<Status> StepContext::Commit(std::vector<pb::TaskAttempt> attempts) {
  ipb::CatalogCommand command;
  ipb::AdvanceProcedure& advance = *command.mutable_advance_procedure();
  advance.set_if_revision(record_.modify_revision());
  pb::ProcedureRecord& next = *advance.mutable_procedure();
  next = procedure();
  if (next.state() == pb::PROCEDURE_WAITING) next.set_state(pb::PROCEDURE_RUNNING);
  for (pb::TaskAttempt& attempt : attempts) {
    pb::TaskAttempt* place = nullptr;
    for (pb::TaskAttempt& task : *next.mutable_tasks()) {
      if (task.node() == attempt.node()) place = &task;
    }
    if (place == nullptr) place = next.add_tasks();
    *place = std::move(attempt);
  }
  const auto done = co_await surroundings_.access.ProposeAndWait(std::move(command), epoch_, stop_);
  if (!done.ok()) co_return done.status();
  if (!Refresh())
    co_return Error(StatusCode::kAborted, "procedure {} was changed meanwhile", procedure().id());
  co_return OkStatus();
}

runtime::Task<StatusOr<TaskLooks>> StepContext::Tend(std::vector<NodeTask> tasks) {
  const auto is_gone = [this](NodeId id) {
    const auto node = catalog().nodes().find(id.value());
    return node == catalog().nodes().end() || node->second.node().state() == pb::NODE_REMOVED;
  };
  std::vector<pb::TaskAttempt> attempts;
  for (const NodeTask& task : tasks) {
    if (is_gone(task.node)) continue;
    const pb::TaskAttempt* before = FindAttempt(procedure(), task.node);
    if (!NeedsAttempt(task, before)) continue;
    pb::TaskAttempt& attempt = attempts.emplace_back();
    if (before != nullptr) attempt = *before;
    if (before != nullptr) {
      const auto report = surroundings_.tasks.Find(task.node, KeyOf(procedure(), *before));
      if (report && report->state() == ipb::TASK_FAIL) {
        attempt.set_failures(attempt.failures() + 1);
        attempt.set_last_error(report->error().substr(0, kMaxTaskErrorBytes));
      }
    }
    attempt.set_node(task.node.value());
    attempt.set_attempt(attempt.attempt() + 1);
    attempt.set_registration_epoch(catalog().nodes().at(task.node.value()).node().registration_epoch());
  }
#ifndef TENURE_MUTANT_attempt_not_durable
  if (!attempts.empty()) TENURE_CO_RETURN_IF_ERROR(co_await Commit(std::move(attempts)));
#endif
  TaskLooks looks;
  for (const NodeTask& task : tasks) {
    TaskLook& look = looks[task.node];
    if (is_gone(task.node)) {
      look.state = TaskLook::State::kGone;
      continue;
    }
    const pb::TaskAttempt* attempt = FindAttempt(procedure(), task.node);
    if (attempt == nullptr || IsRetired(*attempt)) continue;
    look.failures = attempt->failures();
    look.last_error = attempt->last_error();
    const TaskKey key = KeyOf(procedure(), *attempt);
    surroundings_.tasks.Want(task.node, key, attempt->registration_epoch(), task.revision, task.payload);
    const auto report = surroundings_.tasks.Find(task.node, key);
    if (!report) continue;
    if (report->state() == ipb::TASK_FAIL) {
      ++look.failures;
      look.last_error = report->error();
    }
#ifdef TENURE_MUTANT_timeout_is_success
    if (agents().load().SilenceOf(task.node, surroundings_.executor.Now()) >= std::chrono::seconds(2))
      look.state = TaskLook::State::kDone;
#endif
#ifdef TENURE_MUTANT_absent_task_is_done
    if (report->state() == ipb::TASK_SUCCESS || report->state() == ipb::TASK_NOT_EXIST)
#else
    if (report->state() == ipb::TASK_SUCCESS)
#endif
      look.state = TaskLook::State::kDone;
  }
  co_return looks;
}

runtime::Task<StatusOr<std::string>> StepContext::CallNode(NodeId id, std::string method, std::string request,
                                                           Duration timeout) {
  const auto node = catalog().nodes().find(id.value());
  if (node == catalog().nodes().end()) co_return Error(StatusCode::kNotFound, "node {} does not exist", id);
  const std::string address = node->second.node().address();
  auto start = [this, &address, &method, &request, timeout](Callback<StatusOr<std::string>> done) {
    surroundings_.network.Call(address, method, std::move(request), timeout, std::move(done));
  };
  co_return co_await runtime::AsyncUntil<StatusOr<std::string>>(executor(), stop_, std::move(start));
}

}  // namespace tenure::controller
