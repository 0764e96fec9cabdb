#include "changefeed/sink/net/threaded_sink.h"

#include <algorithm>
#include <utility>

namespace tenure::changefeed {

namespace {

constexpr size_t kMaxBatch = 2000;  // so that a permit that ends is noticed

}  // namespace

// ---- the thread ----

ThreadedSink::Worker::Worker(runtime::Executor& executor, Self sink, WritePermit permit,
                             std::unique_ptr<Delivery> delivery)
    : executor_(executor),
      sink_(std::move(sink)),
      permit_(std::move(permit)),
      delivery_(std::move(delivery)),
      thread_([this] { Run(); }) {}

ThreadedSink::Worker::~Worker() {
  thread_.join();
}

void ThreadedSink::Worker::Add(Delivery::Item item) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = queue_.empty();
    queue_.push_back(std::move(item));
  }
  if (first) wake_.notify_one();
}

void ThreadedSink::Worker::Stop() {
  std::vector<Delivery::Item> dropped;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(queue_);
  }
  wake_.notify_one();
  delivery_->Interrupt();
}

bool ThreadedSink::Worker::Take(std::vector<Delivery::Item>& batch, bool wait) {
  batch.clear();
  std::unique_lock lock(mutex_);
  if (wait) wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
  if (stopping_) return false;
  if (queue_.size() <= kMaxBatch) {
    batch.swap(queue_);
  } else {
    batch.assign(std::move_iterator(queue_.begin()), std::move_iterator(queue_.begin() + kMaxBatch));
    queue_.erase(queue_.begin(), queue_.begin() + kMaxBatch);
  }
  return true;
}

void ThreadedSink::Worker::Run() {
  if (!permit_()) {
    Report({.error = NotPermitted()});
    return;
  }
  if (auto error = delivery_->Open(permit_)) {
    Report({.error = std::move(error)});
    return;
  }
  executor_.Post([self = sink_] {
    if (*self != nullptr) (*self)->OnOpened();
  });
  std::vector<Delivery::Item> batch;
  while (Take(batch, /*wait=*/!delivery_->HasUndelivered())) {
    if (batch.empty()) {
      if (!Report(delivery_->Wait())) return;
      continue;
    }
    // The last step before the wire.
    if (!permit_()) {
      Report({.error = NotPermitted()});
      delivery_->Interrupt();
      return;
    }
    if (!Report(delivery_->Send(batch))) return;
  }
}

bool ThreadedSink::Worker::Report(const Delivery::Progress& progress) {
  if (progress.flushed) {
    executor_.Post([self = sink_, flushed = *progress.flushed] {
      if (*self != nullptr) (*self)->OnProgress(flushed);
    });
  }
  if (!progress.error) return true;
  executor_.Post([self = sink_, error = *progress.error] {
    if (*self != nullptr) (*self)->OnError(error);
  });
  return false;
}

// ---- the sink ----

ThreadedSink::ThreadedSink(runtime::Executor& executor, std::shared_ptr<Background> endings,
                           SinkObserver& observer, SinkLimits limits, WritePermit permit,
                           std::unique_ptr<Delivery> delivery)
    : endings_(std::move(endings)),
      observer_(observer),
      room_(limits),
      self_(std::make_shared<ThreadedSink*>(this)),
      worker_(std::make_unique<Worker>(executor, self_, std::move(permit), std::move(delivery))) {}

ThreadedSink::~ThreadedSink() {
  *self_ = nullptr;
  worker_->Stop();
  endings_->executor.Post([worker = std::move(worker_), endings = endings_]() mutable { worker.reset(); });
}

bool ThreadedSink::Write(uint64_t position, Message& message) {
  if (failed_) return false;
  const size_t bytes = message.bytes();
  if (bytes_ > 0 && bytes_ + bytes > room_.bytes(open_)) {
    refused_ = true;
    return false;
  }
  bytes_ += bytes;
  unflushed_.emplace_back(position, bytes);
  worker_->Add({position, std::move(message), bytes});
  return true;
}

void ThreadedSink::OnOpened() {
  open_ = true;
  const auto self = self_;
  observer_.OnOpened();
  if (*self != nullptr && !failed_ && std::exchange(refused_, false)) observer_.OnWritable();
}

void ThreadedSink::OnProgress(uint64_t flushed) {
  while (!unflushed_.empty() && unflushed_.front().first <= flushed) {
    bytes_ -= unflushed_.front().second;
    unflushed_.pop_front();
  }
  const auto self = self_;
  observer_.OnFlushed(flushed);
  if (*self != nullptr && !failed_ && std::exchange(refused_, false)) observer_.OnWritable();
}

void ThreadedSink::OnError(FeedError error) {
  failed_ = true;
  observer_.OnFailed(std::move(error));
}

}  // namespace tenure::changefeed
