// Messages on NATS JetStream subjects, with the change's id as the message id: the server drops what it has
// seen within the stream's de-duplication window. Delivered means: acknowledged by the stream. The stream is
// made by its owner.
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
  explicit NatsDelivery(SinkAddress address) : address_(std::move(address)) {}
  ~NatsDelivery() override;

  std::optional<FeedError> Open() override;
  Progress Send(std::vector<Item>& batch) override;
  Progress Wait() override { return {}; }
  bool HasUndelivered() const override { return false; }
  void Interrupt() override;

 private:
  FeedError ErrorOf(int status, std::string_view what, std::string_view text) const;
  // Waits for the acknowledgements of everything that was published.
  std::optional<FeedError> Complete();

  const SinkAddress address_;
  std::mutex mutex_;
  __natsConnection* connection_ = nullptr;  // guarded by mutex_ against Interrupt
  __jsCtx* stream_ = nullptr;
  bool interrupted_ = false;
  std::mutex failure_mutex_;
  int failed_status_ = 0;  // of the first message that was refused; set by the library's thread
  std::string failed_text_;
};

}  // namespace tenure::changefeed
