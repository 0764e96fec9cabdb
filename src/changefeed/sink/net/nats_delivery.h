// Messages on NATS JetStream subjects. Delivered means: acknowledged by the stream. The stream is made by its
// owner.
//
// A stream drops a message whose Nats-Msg-Id it has seen within its de-duplication window, whoever sent it, and
// acknowledges it. So an id names the changefeed, the subject and the change, "<changefeed>:<subject>:<id>": what
// comes again after a crash is dropped, what another changefeed says is not. Once messages were refused, or not
// acknowledged in time, ones behind them may be in the stream; if those were dropped the second time, an
// older change of a key would stay its last one. From then on nothing is taken for a repetition:
// "<changefeed>:<epoch>.<creation>.<refused>:<subject>:<id>". A connection that breaks is no such case, for what arrives is a
// beginning of what was sent.
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "changefeed/sink/address.h"
#include "changefeed/sink/net/threaded_sink.h"

struct __natsConnection;
struct __jsCtx;
struct jsPubAckErr;

namespace tenure::changefeed {

class NatsDelivery final : public Delivery {
 public:
  NatsDelivery(SinkAddress address, const SinkIdentity& identity);
  ~NatsDelivery() override;

  std::optional<FeedError> Open(const WritePermit& permit) override;
  Progress Send(std::vector<Item>& batch) override;
  Progress Wait() override { return {}; }
  bool HasUndelivered() const override { return false; }
  void Interrupt() override;

 private:
  FeedError ErrorOf(int status, std::string_view what, std::string_view text) const;
  std::optional<FeedError> Publish(const std::string& subject, const Message& message);
  // Waits for the acknowledgements of everything that was published, so many messages.
  std::optional<FeedError> Complete(size_t published);
  // Others may have arrived behind what did not.
  static FeedError Gap(FeedError error);

  const SinkAddress address_;
  const std::string writer_;
  FilledTargets subjects_;
  std::mutex mutex_;
  __natsConnection* connection_ = nullptr;  // guarded by mutex_ against Interrupt
  __jsCtx* stream_ = nullptr;
  bool interrupted_ = false;
  std::mutex failure_mutex_;
  int failed_status_ = 0;  // of the first message that was refused; set by the library's thread
  std::string failed_text_;
};

}  // namespace tenure::changefeed
