#include "node/tasks/task_runner.h"

#include <utility>

#include "base/format.h"

namespace tenure::node {

namespace ipb = ::tenure::internal::v1;

TaskRunner::TaskRunner(runtime::Executor& executor, LocalReplicas& replicas, RangeCopier& copier,
                       std::function<void()> on_change, Logger logger, TaskTrace* trace)
    : executor_(executor),
      replicas_(replicas),
      copier_(copier),
      on_change_(std::move(on_change)),
      logger_(logger),
      trace_(trace),
      table_(std::move(logger)) {}

TaskRunner::~TaskRunner() {
  *alive_ = false;
}

void TaskRunner::StartOver(uint64_t registration_epoch) {
  table_.StartOver(registration_epoch);
  Act();
}

void TaskRunner::OnAnswer(const ipb::HeartbeatResponse& answer) {
  table_.OnAnswer(answer);
  Act();
}

void TaskRunner::OnView(Revision revision) {
  table_.OnView(revision);
  Act();
}

void TaskRunner::FillReport(bool full, ipb::HeartbeatRequest& request) {
  table_.FillReport(full, request);
}

// What the table has decided: stops before starts, since a new attempt may be about the same replicas.
void TaskRunner::Act() {
  for (const uint64_t run : table_.TakeStops()) {
    batches_.erase(run);
    copies_.erase(run);
  }
  for (TaskTable::Start& start : table_.TakeStarts()) {
    if (trace_ != nullptr) trace_->OnTaskStart(registration_epoch(), start.key, start.payload);
    if (start.payload.has_copy_slots()) {
      copies_[start.run] = start.key;
      BeginCopy(start.run, start.payload.copy_slots());
      continue;
    }
    Batch& batch = batches_[start.run];
    batch.key = start.key;
    batch.create = start.payload.has_create_replicas();
    batch.replicas = std::move(batch.create ? *start.payload.mutable_create_replicas()
                                            : *start.payload.mutable_destroy_replicas());
    BeginMore(start.run);
  }
  if (table_.TakeStateChanged()) on_change_();
}

// One that is stopped goes on until the other region refuses it, and nobody hears of its end.
void TaskRunner::BeginCopy(uint64_t run, const ipb::SlotCopy& copy) {
  copier_.Copy(copy, [this, alive = alive_, executor = &executor_, run](Status status) {
    executor->Post([this, alive, run, status = std::move(status)] {
      if (!*alive) return;
      const auto copy = copies_.extract(run);
      if (trace_ != nullptr && !copy.empty()) trace_->OnTaskEnd(registration_epoch(), copy.mapped(), status);
      table_.OnEnd(run, status);
      Act();
    });
  });
}

void TaskRunner::BeginMore(uint64_t run) {
  Batch& batch = batches_.at(run);
  const int items = batch.replicas.items_size();
  while (batch.begun < items && batch.begun - batch.ended < static_cast<int>(kParallel)) {
    const ipb::ReplicaBatch::Item item = batch.replicas.items(batch.begun++);
    BeginOne(run, batch, item);
  }
  if (batch.ended < items) return;
  Status status;
  if (batch.failed > 0) {
    status = Error(StatusCode::kAborted, "{} of {} replicas: {}{}", batch.failed, items, batch.failures,
                   batch.failed > static_cast<int>(kNamedFailures) ? "; ..." : "");
  }
  if (trace_ != nullptr) trace_->OnTaskEnd(registration_epoch(), batch.key, status);
  batches_.erase(run);
  table_.OnEnd(run, status);
}

// Its end is heard in a turn of its own, whether it was there already or takes long.
void TaskRunner::BeginOne(uint64_t run, const Batch& batch, const ipb::ReplicaBatch::Item& item) {
  const Instant begun = executor_.Now();
  auto done = [this, alive = alive_, executor = &executor_, run, item, begun](Status status) {
    executor->Post([this, alive, run, item, begun, status = std::move(status)] {
      if (*alive) OnOneEnded(run, item, begun, status);
    });
  };
  if (batch.create) {
    replicas_.Create(RegionId(item.region()), ReplicaId(item.replica()), std::move(done));
  } else {
    replicas_.Destroy(RegionId(item.region()), ReplicaId(item.replica()), "a procedure's task says so",
                      std::move(done));
  }
}

void TaskRunner::OnOneEnded(uint64_t run, const ipb::ReplicaBatch::Item& item, Instant begun,
                            const Status& status) {
  const auto it = batches_.find(run);
  if (it == batches_.end()) return;  // stopped
  Batch& batch = it->second;
  const uint64_t region = item.region();
  logger_.Info("region {}: replica {} {} on node {} {} {} ms{}{}", region, item.replica(),
               batch.create ? "made" : "destroyed", replicas_.self(), status.ok() ? "in" : "failed after",
               ToMillis(executor_.Now() - begun), status.ok() ? "" : ": ",
               status.ok() ? std::string() : std::string(MessageOf(status)));
  ++batch.ended;
  if (!status.ok() && batch.failed++ < static_cast<int>(kNamedFailures)) {
    batch.failures +=
        fmt::format("{}region {}: {}", batch.failures.empty() ? "" : "; ", region, MessageOf(status));
  }
  table_.OnProgress(run, static_cast<uint32_t>(batch.ended - batch.failed));
  BeginMore(run);
  Act();
}

}  // namespace tenure::node
