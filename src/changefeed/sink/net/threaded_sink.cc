#include "changefeed/sink/net/threaded_sink.h"

#include <algorithm>
#include <utility>

namespace tenure::changefeed {

namespace {

constexpr size_t kMaxBatch = 2000;  // so that a permit that ends is noticed

}  // namespace

ThreadedSink::ThreadedSink(runtime::Executor& executor, SinkObserver& observer, SinkLimits limits,
                           WritePermit permit, std::unique_ptr<Delivery> delivery)
    : executor_(executor),
      observer_(observer),
      limits_(limits),
      permit_(std::move(permit)),
      delivery_(std::move(delivery)),
      self_(std::make_shared<ThreadedSink*>(this)),
      thread_([this] { Run(); }) {}

ThreadedSink::~ThreadedSink() {
  *self_ = nullptr;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  delivery_->Interrupt();
  thread_.join();
}

bool ThreadedSink::Write(uint64_t position, Message& message) {
  if (failed_) return false;
  const size_t bytes = message.bytes();
  if (bytes_ > 0 && bytes_ + bytes > limits_.max_buffered_bytes) {
    refused_ = true;
    return false;
  }
  bytes_ += bytes;
  unflushed_.emplace_back(position, bytes);
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = queue_.empty();
    queue_.push_back({position, std::move(message), bytes});
  }
  if (first) wake_.notify_one();
  return true;
}

bool ThreadedSink::Take(std::vector<Delivery::Item>& batch, bool wait) {
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

void ThreadedSink::Run() {
  if (auto error = delivery_->Open()) {
    Report({.error = std::move(error)});
    return;
  }
  executor_.Post([self = self_] {
    if (*self != nullptr) (*self)->observer_.OnOpened();
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

bool ThreadedSink::Report(const Delivery::Progress& progress) {
  if (progress.flushed) {
    executor_.Post([self = self_, flushed = *progress.flushed] {
      if (*self != nullptr) (*self)->OnProgress(flushed);
    });
  }
  if (!progress.error) return true;
  executor_.Post([self = self_, error = *progress.error] {
    if (*self != nullptr) (*self)->OnError(error);
  });
  return false;
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
