#include "changefeed/sink/background_sink.h"

#include <algorithm>
#include <utility>

namespace tenure::changefeed {

BackgroundSink::BackgroundSink(runtime::Executor& executor, std::shared_ptr<Background> background,
                               SinkObserver& observer, BackgroundSinkOptions options, SinkLimits limits,
                               WritePermit permit, std::unique_ptr<BlockingDelivery> delivery)
    : executor_(executor),
      background_(std::move(background)),
      observer_(observer),
      options_(std::move(options)),
      limits_(limits),
      room_(limits),
      remote_(std::make_shared<Remote>()),
      self_(std::make_shared<BackgroundSink*>(this)) {
  remote_->delivery = std::move(delivery);
  remote_->permit = std::move(permit);
  Do([](BlockingDelivery& opened) { return opened.Open(); });
}

BackgroundSink::~BackgroundSink() {
  *self_ = nullptr;
  remote_->closed = true;
  background_->executor.Post([remote = remote_, background = background_] { remote->delivery.reset(); });
}

void BackgroundSink::Do(Work work) {
  busy_ = true;
  WatchProgress();
  background_->executor.Post([work = std::move(work), remote = remote_, background = background_,
                              &executor = executor_, self = self_]() mutable {
#ifndef TENURE_MUTANT_feed_sink_writes_on
    if (remote->closed) return;
#endif
    std::optional<FeedError> error;
    // The last step before the disk.
    if (remote->permit()) {
      error = work(*remote->delivery);
    } else {
      error = NotPermitted();
    }
    work = nullptr;  // with the messages
    background->finished.fetch_add(1, std::memory_order_relaxed);
    executor.Post([self, error = std::move(error)]() mutable {
      if (*self != nullptr) (*self)->OnDone(std::move(error));
    });
  });
}

// As long as others' work ends, this sink's turn comes.
void BackgroundSink::WatchProgress() {
  const uint64_t finished = background_->finished.load(std::memory_order_relaxed);
  time_limit_ = executor_.After(limits_.timeout, [this, finished] {
    if (background_->finished.load(std::memory_order_relaxed) != finished) return WatchProgress();
    Fail(
        {.code = FeedErrorCode::kSinkUnavailable,
         .message = fmt::format("{} has not answered for {} ms", options_.where, ToMillis(limits_.timeout))});
  });
}

void BackgroundSink::OnDone(std::optional<FeedError> error) {
  if (failed_) return;
  time_limit_.Cancel();
  if (error) return Fail(*std::move(error));
  busy_ = false;
  const auto self = self_;
  if (!std::exchange(open_, true)) {
    observer_.OnOpened();
  } else if (const Batch done = std::exchange(batch_, {}); done.bytes > 0) {
    bytes_ -= done.bytes;
    observer_.OnFlushed(done.position);
  }
  if (*self != nullptr && std::exchange(refused_, false)) observer_.OnWritable();
  if (*self != nullptr && !queue_.empty()) StartBatch();
}

void BackgroundSink::Fail(FeedError error) {
  failed_ = true;
  time_limit_.Cancel();
  flush_timer_.Cancel();
  queue_.clear();
  observer_.OnFailed(std::move(error));
}

bool BackgroundSink::Write(uint64_t position, Message& message) {
  if (failed_) return false;
  const size_t bytes = message.bytes();
  const size_t room = room_.bytes(open_);
  if (bytes_ > 0 && bytes_ + bytes > room) {
    refused_ = true;
    Flush();
    return false;
  }
  bytes_ += bytes;
  queue_.push_back({.position = position, .message = std::move(message), .header = std::nullopt});
  // Counted from the first one that waits: a steady stream must not put it off. What is written while a batch
  // is in the background follows it at once.
  if (!busy_ && !std::exchange(flush_due_, true)) {
    flush_timer_ = executor_.After(options_.flush, [this] { StartBatch(); });
  }
  if (bytes_ >= room / 4) Flush();
  return true;
}

void BackgroundSink::SetHeader(std::string header) {
  queue_.push_back({.position = 0, .message = {}, .header = std::move(header)});
}

void BackgroundSink::Finish() {
  queue_.push_back({.position = 0, .message = {}, .header = std::nullopt, .finish = true});
  Flush();
}

void BackgroundSink::Flush() {
  if (!busy_ && !failed_ && !queue_.empty()) StartBatch();
}

void BackgroundSink::StartBatch() {
  flush_due_ = false;
  flush_timer_.Cancel();
  if (busy_ || failed_) return;
  auto batch = std::make_shared<std::vector<BlockingDelivery::Item>>();
  // Not all at once: before each one the permit is asked, and room is made after it.
  const size_t enough = std::max<size_t>(limits_.max_buffered_bytes / 4, 1);
  while (!queue_.empty() && (batch_.bytes < enough || queue_.front().finish)) {
    BlockingDelivery::Item& item = queue_.front();
    if (item.has_message()) {
      batch_.position = item.position;
      batch_.bytes += item.message.bytes();
    }
    batch->push_back(std::move(item));
    queue_.pop_front();
  }
  if (batch->empty()) return;
  Do([batch](BlockingDelivery& delivery) { return delivery.Deliver(*batch); });
}

}  // namespace tenure::changefeed
