#include "node/tasks/task_table.h"

#include <algorithm>

#include "base/format.h"
#include "base/hash.h"

namespace tenure::node {

namespace ipb = ::tenure::internal::v1;

namespace {

TaskKey KeyOf(const ipb::TaskKey& key) {
  return {key.procedure(), key.step(), key.attempt()};
}

std::string Text(const TaskKey& key) {
  return fmt::format("procedure {} step {} attempt {}", key.procedure, key.step, key.attempt);
}

// Null: it is no batch of replicas.
const ipb::ReplicaBatch* BatchOf(const ipb::TaskPayload& payload) {
  switch (payload.body_case()) {
    case ipb::TaskPayload::kCreateReplicas:
      return &payload.create_replicas();
    case ipb::TaskPayload::kDestroyReplicas:
      return &payload.destroy_replicas();
    case ipb::TaskPayload::kCopySlots:
    case ipb::TaskPayload::BODY_NOT_SET:
      break;
  }
  return nullptr;
}

Status Validate(const ipb::SlotCopy& copy) {
  if (copy.procedure() == 0 || copy.from_region() == 0 || copy.to_region() == 0 ||
      copy.slots().first() > copy.slots().last() || copy.slots().last() >= kSlotCount) {
    return Error(
        StatusCode::kInvalidArgument,
        "payload.copy_slots: slots {}-{} of region {} to region {} by procedure {}: all must be named, slots "
        "are below {}",
        copy.slots().first(), copy.slots().last(), copy.from_region(), copy.to_region(), copy.procedure(),
        kSlotCount);
  }
  return OkStatus();
}

Status Validate(const ipb::TaskPayload& payload) {
  if (payload.has_copy_slots()) return Validate(payload.copy_slots());
  const ipb::ReplicaBatch* batch = BatchOf(payload);
  if (batch == nullptr) {
    return Error(StatusCode::kUnimplemented, "payload: a kind of task that this node does not know");
  }
  if (batch->items_size() > TaskTable::kMaxItems) {
    return Error(StatusCode::kInvalidArgument, "payload.items: {} replicas, the limit is {}",
                 batch->items_size(), TaskTable::kMaxItems);
  }
  for (const ipb::ReplicaBatch::Item& item : batch->items()) {
    if (item.region() != 0 && item.replica() != 0) continue;
    return Error(StatusCode::kInvalidArgument, "payload.items: region {} replica {}, both must be named",
                 item.region(), item.replica());
  }
  return OkStatus();
}

}  // namespace

void TaskTable::StartOver(uint64_t registration_epoch) {
  if (!tasks_.empty()) {
    logger_.Warn("registration {}: {} tasks of registration {} are dropped", registration_epoch,
                 tasks_.size(), registration_epoch_);
  }
  for (const auto& [run, key] : runs_) stops_.push_back(run);
  registration_epoch_ = registration_epoch;
  epoch_ = sequence_ = 0;
  view_ = Revision();
  tasks_.clear();
  waiting_.clear();
  runs_.clear();
  refused_.clear();
  changed_.clear();
  starts_.clear();
}

// ---- what leaders say ----

bool TaskTable::RaiseEpoch(uint64_t epoch) {
#ifndef TENURE_MUTANT_task_old_leader
  if (epoch < epoch_) return false;
#endif
  if (epoch > epoch_) {
    epoch_ = epoch;
    sequence_ = 0;
  }
  return true;
}

void TaskTable::OnAnswer(const ipb::HeartbeatResponse& answer) {
  if (!RaiseEpoch(answer.leader_epoch())) {
    if (answer.tasks_size() + answer.forget_tasks_size() == 0) return;
    return logger_.Info("tasks of leadership epoch {} are not taken: epoch {} has begun",
                        answer.leader_epoch(), epoch_);
  }
  std::map<TaskKey, uint64_t> forgotten;
  for (const ipb::TaskForget& forget : answer.forget_tasks()) {
    const TaskKey key = KeyOf(forget.key());
    forgotten[key] = std::max(forgotten[key], forget.sequence());
    Forget(key, forget.sequence());
  }
  for (const ipb::TaskSubmit& submit : answer.tasks()) {
    const auto forget = forgotten.find(KeyOf(submit.key()));
    if (forget == forgotten.end() || forget->second < submit.sequence()) Submit(submit);
  }
  // Only now: submits of the same answer may have lower numbers than the last one that the leader has used.
#ifndef TENURE_MUTANT_forget_keeps_sequence
  for (const ipb::TaskForget& forget : answer.forget_tasks()) {
    sequence_ = std::max(sequence_, forget.sequence());
  }
#endif
}

void TaskTable::Forget(const TaskKey& key, uint64_t sequence) {
  refused_.erase(key);
  const auto it = tasks_.find(key);
  // One that is older than the submit does not speak of what that submit asks for.
  if (it == tasks_.end() || std::pair(epoch_, sequence) < it->second.submitted) return;
  if (it->second.state == ipb::TASK_PROCESSING) {
    logger_.Info("task of {}: nobody waits for it any more, stopped at {} of {}", Text(key), it->second.done,
                 it->second.total);
  }
  Stop(key, it->second);
  changed_.erase(key);
  tasks_.erase(it);
}

void TaskTable::Submit(const ipb::TaskSubmit& submit) {
  const TaskKey key = KeyOf(submit.key());
#ifndef TENURE_MUTANT_task_any_incarnation
  if (submit.registration_epoch() != registration_epoch_) {
    return logger_.Info("task of {} is not taken: it is meant for registration {}, this is registration {}",
                        Text(key), submit.registration_epoch(), registration_epoch_);
  }
#endif
#ifndef TENURE_MUTANT_task_sequence_ignored
  if (submit.sequence() <= sequence_) {
    return logger_.Info("task of {} is not taken: sequence {} of epoch {} comes after {}", Text(key),
                        submit.sequence(), epoch_, sequence_);
  }
#endif
  sequence_ = std::max(sequence_, submit.sequence());
  const uint64_t hash = HashBytes(submit.payload().SerializeAsString());
  const auto known = tasks_.find(key);
  if (known == tasks_.end()) return SubmitNew(key, submit, hash);
  known->second.submitted = {epoch_, submit.sequence()};
  SubmitKnown(key, known->second, hash);
}

// The leader wants to know: it may not have heard of the state.
void TaskTable::SubmitKnown(const TaskKey& key, Task& task, uint64_t payload_hash) {
  if (task.payload_hash == payload_hash) return Changed(key);
  Stop(key, task);
  End(key, task,
      Error(StatusCode::kFailedPrecondition, "payload: it is not the one that this task of {} was begun with",
            Text(key)));
}

void TaskTable::SubmitNew(const TaskKey& key, const ipb::TaskSubmit& submit, uint64_t payload_hash) {
  const ipb::ReplicaBatch* batch = BatchOf(submit.payload());
  const auto items =
      static_cast<uint32_t>(batch == nullptr ? submit.payload().has_copy_slots() : batch->items_size());
  if (tasks_.size() >= kMaxTasks) {
    logger_.Warn("task of {} is not taken: this node has {} tasks, the limit is {}", Text(key), tasks_.size(),
                 kMaxTasks);
    if (refused_.size() < kMaxTasks) refused_[key] = items;
    state_changed_ = true;
    return;
  }
  refused_.erase(key);
  Task& task = tasks_[key];
  task.submitted = {epoch_, submit.sequence()};
  task.payload_hash = payload_hash;
  task.total = items;
  Changed(key);
  if (const Status status = Validate(submit.payload()); !status.ok()) return End(key, task, status);
  if (Revision(submit.revision()) <= view_) return Begin(key, task, submit.payload());
  waiting_[key] = {Revision(submit.revision()), submit.payload()};
}

void TaskTable::OnView(Revision revision) {
  view_ = revision;
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (it->second.revision > view_) {
      ++it;
      continue;
    }
    Begin(it->first, tasks_.at(it->first), std::move(it->second.payload));
    it = waiting_.erase(it);
  }
}

// ---- the work ----

void TaskTable::Begin(const TaskKey& key, Task& task, ipb::TaskPayload payload) {
  task.run = next_run_++;
  runs_[task.run] = key;
  starts_.push_back({task.run, key, std::move(payload)});
}

void TaskTable::Stop(const TaskKey& key, Task& task) {
  waiting_.erase(key);
  const uint64_t run = std::exchange(task.run, 0);
  if (runs_.erase(run) == 0) return;
  stops_.push_back(run);
  std::erase_if(starts_, [run](const Start& start) { return start.run == run; });
}

TaskTable::Task* TaskTable::Find(uint64_t run) {
  const auto it = runs_.find(run);
  return it == runs_.end() ? nullptr : &tasks_.at(it->second);
}

void TaskTable::OnProgress(uint64_t run, uint32_t done) {
  Task* task = Find(run);
  if (task == nullptr || task->done == done) return;
  task->done = done;
  changed_.insert(runs_.at(run));
}

void TaskTable::OnEnd(uint64_t run, const Status& status) {
  const auto it = runs_.find(run);
  if (it == runs_.end()) return;
  const TaskKey key = it->second;
  runs_.erase(it);
  Task& task = tasks_.at(key);
  task.run = 0;
  End(key, task, status);
}

void TaskTable::End(const TaskKey& key, Task& task, const Status& status) {
  task.state = status.ok() ? ipb::TASK_SUCCESS : ipb::TASK_FAIL;
  if (status.ok()) task.done = task.total;
  task.error = status.ok() ? std::string() : std::string(MessageOf(status));
  if (status.ok()) {
    logger_.Info("task of {} done: {} replicas", Text(key), task.total);
  } else {
    logger_.Warn("task of {} failed: {}", Text(key), task.error);
  }
  Changed(key);
}

void TaskTable::Changed(const TaskKey& key) {
  changed_.insert(key);
  state_changed_ = true;
}

// ---- reports ----

void TaskTable::FillReport(bool full, ipb::HeartbeatRequest& request) {
  const auto add = [&request](const TaskKey& key) {
    ipb::TaskReport& report = *request.add_tasks();
    report.mutable_key()->set_procedure(key.procedure);
    report.mutable_key()->set_step(key.step);
    report.mutable_key()->set_attempt(key.attempt);
    return &report;
  };
  for (const auto& [key, task] : tasks_) {
    if (!full && !changed_.contains(key)) continue;
    ipb::TaskReport* report = add(key);
    report->set_state(task.state);
    report->set_done(task.done);
    report->set_total(task.total);
    report->set_error(task.error);
  }
  for (const auto& [key, items] : refused_) {
    ipb::TaskReport* report = add(key);
    report->set_state(ipb::TASK_FAIL);
    report->set_total(items);
    report->set_error(fmt::format("this node has {} tasks, which is the limit", kMaxTasks));
  }
  changed_.clear();
  refused_.clear();
  request.set_task_epoch(epoch_);
  request.set_task_sequence(sequence_);
}

}  // namespace tenure::node
