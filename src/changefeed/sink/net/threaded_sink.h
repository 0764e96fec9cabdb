// A sink with a thread of its own, for client libraries that block. The thread takes what was written in
// batches and hands them to a Delivery; results are posted to the executor.
//
// Threading:  as Sink outside; a Delivery is used and destroyed by threads of its own, except for Interrupt.
// Lifetime:   destruction interrupts the delivery, after which nothing more is sent, and waits for nothing:
//             the thread and the delivery end in the background (a name that is being looked up cannot be
//             interrupted). Both executors outlive them.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "changefeed/sink/background_sink.h"
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
  // Connects. Once, before the rest, by the thread. The permit was asked just before; one that signs in, and thereby
  // turns away other writers, asks it again before each attempt of that. It outlives the delivery.
  virtual std::optional<FeedError> Open(const WritePermit& permit) = 0;
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
  // `endings` is where threads and deliveries of sinks that are gone are waited for.
  ThreadedSink(runtime::Executor& executor, std::shared_ptr<Background> endings, SinkObserver& observer,
               SinkLimits limits, WritePermit permit, std::unique_ptr<Delivery> delivery);
  ~ThreadedSink() override;

  bool Write(uint64_t position, Message& message) override;
  void Flush() override {}  // whatever is there is sent as soon as the thread is free
  size_t buffered_bytes() const override { return bytes_; }

 private:
  using Self = std::shared_ptr<ThreadedSink*>;  // null inside once the sink is gone
  // The thread, and what it shares with the sink. Destruction waits for the thread.
  class Worker {
   public:
    Worker(runtime::Executor& executor, Self sink, WritePermit permit, std::unique_ptr<Delivery> delivery);
    ~Worker();
    void Add(Delivery::Item item);
    // Nothing more is sent.
    void Stop();

   private:
    void Run();
    // Takes what is queued; waits for it if nothing is undelivered. False: stop.
    bool Take(std::vector<Delivery::Item>& batch, bool wait);
    // True: it goes on.
    bool Report(const Delivery::Progress& progress);

    runtime::Executor& executor_;
    const Self sink_;
    const WritePermit permit_;
    const std::unique_ptr<Delivery> delivery_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<Delivery::Item> queue_;
    bool stopping_ = false;
    std::thread thread_;
  };
  void OnOpened();
  void OnProgress(uint64_t flushed);
  void OnError(FeedError error);

  const std::shared_ptr<Background> endings_;
  SinkObserver& observer_;
  const SinkRoom room_;
  std::deque<std::pair<uint64_t, size_t>> unflushed_;  // position, bytes
  size_t bytes_ = 0;
  bool refused_ = false;
  bool open_ = false;
  bool failed_ = false;
  const Self self_;
  std::unique_ptr<Worker> worker_;
};

}  // namespace tenure::changefeed
