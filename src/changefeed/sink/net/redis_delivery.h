// Messages as entries of Redis streams: XADD, pipelined. An entry has the fields id, type, key, commit_ts and
// value; `id` names the change for ever, so a consumer drops what it has seen. Delivered means: acknowledged
// by the server.
#pragma once

#include <atomic>

#include "changefeed/sink/address.h"
#include "changefeed/sink/net/threaded_sink.h"

struct redisContext;

namespace tenure::changefeed {

class RedisDelivery final : public Delivery {
 public:
  explicit RedisDelivery(SinkAddress address) : address_(std::move(address)), streams_(address_.target) {}
  ~RedisDelivery() override;

  std::optional<FeedError> Open(const WritePermit& permit) override;
  Progress Send(std::vector<Item>& batch) override;
  Progress Wait() override { return {}; }
  bool HasUndelivered() const override { return false; }
  void Interrupt() override;

 private:
  FeedError Lost(std::string_view what) const;
  FeedError Refused(std::string_view what, std::string_view reply) const;
  std::optional<FeedError> Command(const std::vector<std::string>& words, std::string_view what);
  void Append(const std::string& stream, const Message& message);

  const SinkAddress address_;
  FilledTargets streams_;
  redisContext* context_ = nullptr;
  std::atomic<int> socket_{-1};
  std::atomic<bool> interrupted_{false};
};

}  // namespace tenure::changefeed
