// Does what the tasks of procedures ask of this node: makes and destroys replicas, a bounded number of one
// task at a time, copies slots, and says what became of it. What may be taken and when is TaskTable's.
//
// Driven by Node: heartbeat answers and changes of the catalog come in, reports are filled. A task that is
// stopped begins no further replica; what it has begun ends by itself, which the next task for the same
// replica finds done.
//
// Threading:  one executor.
// Errors:     a task with replicas that fail goes through all the others first, and then fails naming the
//             first of them and how many; what was done stays done: the next attempt has less to do.
// Bounds:     kParallel replicas under way per task; TaskTable's for the tasks.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/log.h"
#include "node/local_replicas.h"
#include "node/range_copier.h"
#include "node/tasks/task_table.h"
#include "node/tasks/task_trace.h"
#include "runtime/executor.h"

namespace tenure::node {

class TaskRunner {
 public:
  static constexpr size_t kParallel = 64;
  static constexpr size_t kNamedFailures = 3;

  // `on_change`: the state of a task is to be reported at once. `trace` may be null.
  TaskRunner(runtime::Executor& executor, LocalReplicas& replicas, RangeCopier& copier,
             std::function<void()> on_change, Logger logger, TaskTrace* trace = nullptr);
  ~TaskRunner();

  void StartOver(uint64_t registration_epoch);
  void OnAnswer(const ::tenure::internal::v1::HeartbeatResponse& answer);
  // Routing and replicas know the catalog up to `revision`.
  void OnView(Revision revision);
  void FillReport(bool full, ::tenure::internal::v1::HeartbeatRequest& request);
  uint64_t registration_epoch() const { return table_.registration_epoch(); }

 private:
  struct Batch {
    TaskKey key;
    bool create = false;
    ::tenure::internal::v1::ReplicaBatch replicas;
    int begun = 0;
    int ended = 0;
    int failed = 0;
    std::string failures;  // the first kNamedFailures
  };
  void Act();
  void BeginCopy(uint64_t run, const ::tenure::internal::v1::SlotCopy& copy);
  void BeginMore(uint64_t run);
  void BeginOne(uint64_t run, const Batch& batch, const ::tenure::internal::v1::ReplicaBatch::Item& item);
  void OnOneEnded(uint64_t run, const ::tenure::internal::v1::ReplicaBatch::Item& item, Instant begun,
                  const Status& status);

  runtime::Executor& executor_;
  LocalReplicas& replicas_;
  RangeCopier& copier_;
  std::function<void()> on_change_;
  Logger logger_;
  TaskTrace* const trace_;
  TaskTable table_;
  std::map<uint64_t, Batch> batches_;   // by run
  std::map<uint64_t, TaskKey> copies_;  // of slots, by run
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::node
