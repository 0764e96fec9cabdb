// A sink into something that blocks whoever writes to it: a disk, a pipe. The work is done on a background
// executor, one for each such thing, so that what hangs holds up nobody but those who write to it as well.
//
//   Write --> queue --batch--> BlockingDelivery, in the background --> flushed
//               ^---- what is written meanwhile is the next batch ----'
//
// Threading:  as Sink, on `executor`; the delivery is used and destroyed on the background executor.
// Ordering:   one batch at a time is in the background. A sink that is made after another one of the same
//             background is destroyed opens when nothing of that one can be written any more.
// Bounds:     as Sink; nothing is handed over before the delivery is open. A batch in the background stays in
//             memory until the delivery returns, even if the sink is gone meanwhile.
// Errors:     as Sink. The time limit is for the background as a whole: it fails the sink when nobody's work
//             there has ended for so long.
// Lifetime:   destruction waits for nothing. Both executors outlive the sink.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "changefeed/sink/sink.h"
#include "runtime/disk.h"
#include "runtime/executor.h"

namespace tenure::changefeed {

// Where the work for one destination is done, one piece after the other.
struct Background {
  Background(runtime::Executor& e, runtime::Disk& d) : executor(e), disk(d) {}
  runtime::Executor& executor;
  runtime::Disk& disk;                // of that executor
  std::atomic<uint64_t> finished{0};  // pieces of work
};

// Where what goes to `destination` (a directory, "stdout:") is done; the same for all that go there at a time.
// Called on the sinks' executor.
using Backgrounds = std::function<std::shared_ptr<Background>(const std::string& destination)>;

// Done when it returns.
class BlockingDelivery {
 public:
  struct Item {
    uint64_t position = 0;
    Message message;
    std::optional<std::string> header;  // no message: of what is begun from here on
    bool finish = false;                // no message: what was begun ends here
    bool has_message() const { return !header && !finish; }
  };
  virtual ~BlockingDelivery() = default;
  // Once, before Deliver.
  virtual std::optional<FeedError> Open() = 0;
  // All of them, in order, durably; not called again after an error. May take the messages apart.
  virtual std::optional<FeedError> Deliver(std::vector<Item>& batch) = 0;
};

struct BackgroundSinkOptions {
  std::string where;  // the destination, for errors
  Duration flush{};   // so long a message may wait for others
};

class BackgroundSink final : public Sink {
 public:
  BackgroundSink(runtime::Executor& executor, std::shared_ptr<Background> background, SinkObserver& observer,
                 BackgroundSinkOptions options, SinkLimits limits, WritePermit permit,
                 std::unique_ptr<BlockingDelivery> delivery);
  ~BackgroundSink() override;

  bool Write(uint64_t position, Message& message) override;
  void Flush() override;
  void SetHeader(std::string header) override;
  void Finish() override;
  size_t buffered_bytes() const override { return bytes_; }

 private:
  using Work = std::function<std::optional<FeedError>(BlockingDelivery&)>;
  // What the background has of this sink.
  struct Remote {
    std::unique_ptr<BlockingDelivery> delivery;
    WritePermit permit;
    std::atomic<bool> closed{false};
  };
  struct Batch {
    uint64_t position = 0;  // of its last message
    size_t bytes = 0;
  };

  // Does `work` in the background, then OnDone.
  void Do(Work work);
  void OnDone(std::optional<FeedError> error);
  void WatchProgress();
  void StartBatch();
  void Fail(FeedError error);

  runtime::Executor& executor_;
  const std::shared_ptr<Background> background_;
  SinkObserver& observer_;
  const BackgroundSinkOptions options_;
  const SinkLimits limits_;
  const SinkRoom room_;
  const std::shared_ptr<Remote> remote_;
  std::deque<BlockingDelivery::Item> queue_;
  size_t bytes_ = 0;  // in the queue and in the background
  bool open_ = false;
  bool busy_ = true;  // the background has work of this sink
  bool flush_due_ = false;
  bool refused_ = false;  // a Write: OnWritable is due
  bool failed_ = false;
  Batch batch_;  // in the background
  runtime::Timer flush_timer_;
  runtime::Timer time_limit_;
  std::shared_ptr<BackgroundSink*> self_;  // null inside once the sink is gone
};

}  // namespace tenure::changefeed
