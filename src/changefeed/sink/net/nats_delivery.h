// Messages on NATS JetStream subjects. Delivered means: acknowledged by the stream. The stream is made by its
// owner.
//
// A stream drops a message whose Nats-Msg-Id it has seen within its de-duplication window, whoever sent it, and
// acknowledges it. So each delivery says who it is in front of the change's id,
// "<changefeed>:<epoch>:<random>:<n>:<id>": nothing of another changefeed is taken for a repetition, and what
// comes again after a failure is kept behind what was stored of it before - else an older change of a key that
// was refused the first time would stay the last one.
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
  // Waits for the acknowledgements of everything that was published.
  std::optional<FeedError> Complete();

  const SinkAddress address_;
  const std::string writer_;
  FilledTargets subjects_;
  uint64_t published_ = 0;
  std::mutex mutex_;
  __natsConnection* connection_ = nullptr;  // guarded by mutex_ against Interrupt
  __jsCtx* stream_ = nullptr;
  bool interrupted_ = false;
  std::mutex failure_mutex_;
  int failed_status_ = 0;  // of the first message that was refused; set by the library's thread
  std::string failed_text_;
};

}  // namespace tenure::changefeed
