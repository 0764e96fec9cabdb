// Where a dispatcher's messages go. A sink takes messages in order, delivers them, and says up to which one
// everything is delivered durably, as far as the receiving system promises that.
//
// Threading:  one executor: Write, Flush, destruction and every callback; what blocks is done elsewhere.
// Ordering:   messages of one key arrive in the order of Write. `position` rises with every message.
// Bounds:     at most max_buffered_bytes are held, less where many sinks share a budget, and little until it is
//             opened (SinkRoom); then Write refuses, and OnWritable follows.
// Errors:     the first one ends the sink: OnFailed is the last callback, what was not flushed may or may not
//             have arrived. Whoever drives it makes a new sink and begins behind what was flushed. A delivery
//             that makes no progress fails within `timeout`.
// Fencing:    `permit` is asked before anything goes to the wire, from any thread; once it says no, nothing
//             more is sent and the sink fails.
// Lifetime:   no callback follows destruction; what is buffered is dropped. Observer and executor outlive the
//             sink.
// Invariants: K1 nothing is reported flushed that was not delivered, nor behind something that was not.
//             K2 buffered_bytes <= max_buffered_bytes, but for one message that is larger by itself.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "base/time.h"
#include "changefeed/format/encoder.h"
#include "changefeed/protocol/feed_error.h"

namespace tenure::changefeed {

class SinkObserver {
 public:
  virtual ~SinkObserver() = default;
  // The system behind it is connected, the directory is ready, and this writer was not refused.
  virtual void OnOpened() {}
  // Everything up to and with `position` is delivered.
  virtual void OnFlushed(uint64_t position) = 0;
  // After a refused Write: there is room again.
  virtual void OnWritable() = 0;
  virtual void OnFailed(FeedError error) = 0;
};

// Whether the lease and the owner epoch still hold. Called from any thread.
using WritePermit = std::function<bool()>;

// Who writes: names of files and transactions are made of it.
struct SinkIdentity {
  std::string changefeed;
  std::string dispatcher;  // the same for the same span in every epoch; letters, digits, - and _
  OwnerEpoch epoch;
  // Attempts of this writer before that ended with kSinkRejected: messages may be there without those before them.
  uint32_t refused = 0;
  uint64_t creation = 0;  // of the dispatcher: another one in the same epoch has another number
};

// What all sinks of a process may hold. Used on their executor.
struct SinkBudget {
  size_t bytes = size_t{256} << 20;
  size_t sinks = 0;  // that share it
};

struct SinkLimits {
  size_t max_buffered_bytes = size_t{16} << 20;
  Duration timeout = std::chrono::seconds(10);
  std::shared_ptr<SinkBudget> budget = nullptr;  // none: this sink is the only one
};

// How much one sink may hold at the moment.
class SinkRoom {
 public:
  static constexpr size_t kLeast = size_t{256} << 10;  // unless the sink's own limit is less

  explicit SinkRoom(const SinkLimits& limits);
  ~SinkRoom();
  SinkRoom(const SinkRoom&) = delete;
  SinkRoom& operator=(const SinkRoom&) = delete;
  // Until it has opened nobody knows whether it ever delivers anything.
  size_t bytes(bool opened) const;

 private:
  const size_t most_;
  const std::shared_ptr<SinkBudget> budget_;
};

class Sink {
 public:
  virtual ~Sink() = default;
  // False: full (or failed), `message` was not taken.
  [[nodiscard]] virtual bool Write(uint64_t position, Message& message) = 0;
  // Deliver what is buffered now rather than when it is worth it.
  virtual void Flush() = 0;
  virtual size_t buffered_bytes() const = 0;
  // The first line of what is begun from now on, for sinks that have such (files).
  virtual void SetHeader(std::string /*header*/) {}
  // Nothing more comes for now: files are closed behind what was written, before that is reported flushed.
  virtual void Finish() { Flush(); }
};

// What a sink that may not write any more says.
FeedError NotPermitted();

}  // namespace tenure::changefeed
