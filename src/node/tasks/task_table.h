// The tasks that leading controllers have given this node: which submits are taken, what became of each task,
// and what is still to be reported.
//
//   (unknown) --submit taken--> waiting for the view --view new enough--> working --end--> SUCCESS | FAIL
//       ^                              |                                     |                  |
//       '------------------------------'--------------- forget --------------'------------------'
//
// Everything is in memory only: a restart of the process is another registration, and what was submitted to
// the one before does not exist. Driven by TaskRunner, which does the work; the table decides and does
// nothing itself.
//
// Threading:  values; one owner.
// Invariants (the rules of docs/data-nodes.md, "Tasks"):
//   T1 The pair (leadership epoch, sequence) never falls until everything starts over. An answer of a lower
//      epoch is not listened to at all; a submit is taken only above the pair, and raises it.
//   T2 A submit is taken only if it names this registration of the node.
//   T3 A key is started once. Its end is final - only a submit of the same key with another payload turns a
//      success into a failure, since nobody may take the success of one payload for that of another.
//   T4 A forget raises the pair before a late copy of the submit can come. Results are kept until then.
//   T5 No task begins before the node has taken over the catalog up to the revision that the submit names.
// Bounds:     kMaxTasks keys, kMaxItems replicas each. A task beyond the first is not begun and is reported
//             as FAIL once, without being kept: if that report is lost the key does not exist, and may be
//             submitted again.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/log.h"
#include "base/status.h"
#include "tenure/internal/v1/agent.pb.h"

namespace tenure::node {

struct TaskKey {
  uint64_t procedure = 0;
  std::string step;
  uint32_t attempt = 0;
  friend auto operator<=>(const TaskKey&, const TaskKey&) = default;
};

class TaskTable {
 public:
  static constexpr size_t kMaxTasks = 1024;
  static constexpr int kMaxItems = 16384;

  explicit TaskTable(Logger logger) : logger_(std::move(logger)) {}

  // Another registration, or another incarnation of the cluster, whose epochs are its own: nothing is known,
  // what works is stopped.
  void StartOver(uint64_t registration_epoch);
  uint64_t registration_epoch() const { return registration_epoch_; }
  // A leader's answer to a heartbeat. Within one answer, what is to be forgotten goes before what is to be
  // begun.
  void OnAnswer(const ::tenure::internal::v1::HeartbeatResponse& answer);
  // The catalog is taken over up to `revision`.
  void OnView(Revision revision);
  // From the work of `run`; what is said of a run that was stopped is passed over.
  void OnProgress(uint64_t run, uint32_t done);
  void OnEnd(uint64_t run, const Status& status);

  struct Start {
    uint64_t run = 0;  // names this work, never used twice
    TaskKey key;
    ::tenure::internal::v1::TaskPayload payload;
  };
  // To be begun, in the order of the submits.
  std::vector<Start> TakeStarts() { return std::exchange(starts_, {}); }
  // Runs to be stopped: nothing more of them may begin.
  std::vector<uint64_t> TakeStops() { return std::exchange(stops_, {}); }
  // A state changed since the last call; progress alone is no change of state.
  bool TakeStateChanged() { return std::exchange(state_changed_, false); }

  // Fields tasks, task_epoch and task_sequence: all tasks if `full`, else those that changed since the last
  // call.
  void FillReport(bool full, ::tenure::internal::v1::HeartbeatRequest& request);

  size_t size() const { return tasks_.size(); }

 private:
  struct Task {
    std::pair<uint64_t, uint64_t> submitted;  // epoch and sequence of the last submit that was taken
    uint64_t payload_hash = 0;
    uint64_t run = 0;  // while it works
    ::tenure::internal::v1::TaskState state = ::tenure::internal::v1::TASK_PROCESSING;
    uint32_t done = 0;
    uint32_t total = 0;
    std::string error;
  };
  // Taken, but the view is not new enough.
  struct Waiting {
    Revision revision;
    ::tenure::internal::v1::TaskPayload payload;
  };
  bool RaiseEpoch(uint64_t epoch);
  void Forget(const TaskKey& key, uint64_t sequence);
  void Submit(const ::tenure::internal::v1::TaskSubmit& submit);
  void SubmitKnown(const TaskKey& key, Task& task, uint64_t payload_hash);
  void SubmitNew(const TaskKey& key, const ::tenure::internal::v1::TaskSubmit& submit, uint64_t payload_hash);
  void Begin(const TaskKey& key, Task& task, ::tenure::internal::v1::TaskPayload payload);
  void Stop(const TaskKey& key, Task& task);
  void End(const TaskKey& key, Task& task, const Status& status);
  void Changed(const TaskKey& key);
  Task* Find(uint64_t run);

  Logger logger_;
  uint64_t registration_epoch_ = 0;
  uint64_t epoch_ = 0;
  uint64_t sequence_ = 0;  // highest taken in epoch_
  Revision view_;
  uint64_t next_run_ = 1;
  std::map<TaskKey, Task> tasks_;
  std::map<TaskKey, Waiting> waiting_;
  std::map<uint64_t, TaskKey> runs_;     // that work
  std::map<TaskKey, uint32_t> refused_;  // beyond kMaxTasks, not reported yet: number of items
  std::set<TaskKey> changed_;
  std::vector<Start> starts_;
  std::vector<uint64_t> stops_;
  bool state_changed_ = false;
};

}  // namespace tenure::node
