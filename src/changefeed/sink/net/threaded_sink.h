// A sink with a thread of its own, for client libraries that block. The thread takes what was written in
// batches and hands them to a Delivery; results are posted to the executor.
//
// Threading: as Sink outside; a Delivery is used by the thread alone, except for Interrupt.
// Lifetime:  destruction interrupts the delivery and waits for the thread: milliseconds, as Interrupt
// promises.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "changefeed/sink/sink.h"
#include "runtime/executor.h"

namespace tenure::changefeed {

// How messages go to one kind of system.
class Delivery {
 public:
  struct Item {
    uint64_t position = 0;
    Message message;
    size_t bytes = 0;  // as counted when it was written
  };
  // What became of the messages so far.
  struct Progress {
    std::optional<uint64_t> flushed;  // has risen to this
    std::optional<FeedError> error;   // and it is over
  };

  virtual ~Delivery() = default;
  // Connects. Once, before the rest, by the thread.
  virtual std::optional<FeedError> Open() = 0;
  // Sends; may return before everything is delivered.
  virtual Progress Send(std::vector<Item>& batch) = 0;
  // Called while something is sent and not delivered and nothing new is there: waits a little for news.
  virtual Progress Wait() = 0;
  virtual bool HasUndelivered() const = 0;
  // From any thread: what blocks returns soon, and everything fails from then on.
  virtual void Interrupt() = 0;
};

class ThreadedSink final : public Sink {
 public:
  ThreadedSink(runtime::Executor& executor, SinkObserver& observer, SinkLimits limits, WritePermit permit,
               std::unique_ptr<Delivery> delivery);
  ~ThreadedSink() override;

  bool Write(uint64_t position, Message& message) override;
  void Flush() override {}  // whatever is there is sent as soon as the thread is free
  size_t buffered_bytes() const override { return bytes_; }

 private:
  void Run();
  // Takes what is queued; waits for it if nothing is undelivered. False: stop.
  bool Take(std::vector<Delivery::Item>& batch, bool wait);
  // True: it goes on.
  bool Report(const Delivery::Progress& progress);
  void OnProgress(uint64_t flushed);
  void OnError(FeedError error);

  runtime::Executor& executor_;
  SinkObserver& observer_;
  const SinkLimits limits_;
  const WritePermit permit_;
  const std::unique_ptr<Delivery> delivery_;
  // Of the executor.
  std::deque<std::pair<uint64_t, size_t>> unflushed_;  // position, bytes
  size_t bytes_ = 0;
  bool refused_ = false;
  bool failed_ = false;
  std::shared_ptr<ThreadedSink*> self_;
  // Between both.
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Delivery::Item> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace tenure::changefeed
