// Messages to Kafka through librdkafka: acks=all, idempotent, in order per partition; delivered means that a
// delivery report said so. Schema changes and resolved timestamps go to every partition.
//
// At least once by default. With exactly_once every batch is a transaction under the transactional id
// "<changefeed>-<dispatcher>": the broker fences an older writer of the same dispatcher by its producer
// epoch.
//
// Memory: payloads are not copied; a message stays in memory until its delivery report, within the sink's
// bound.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <string>

#include "changefeed/sink/address.h"
#include "changefeed/sink/delivered_prefix.h"
#include "changefeed/sink/net/threaded_sink.h"

struct rd_kafka_s;
struct rd_kafka_topic_s;
struct rd_kafka_error_s;

namespace tenure::changefeed {

class KafkaDelivery final : public Delivery {
 public:
  KafkaDelivery(SinkAddress address, const SinkIdentity& identity, SinkLimits limits);
  ~KafkaDelivery() override;

  std::optional<FeedError> Open(const WritePermit& permit) override;
  Progress Send(std::vector<Item>& batch) override;
  Progress Wait() override;
  bool HasUndelivered() const override { return prefix_.waiting() > 0; }
  void Interrupt() override;

 private:
  struct Topic {
    std::string name;
    rd_kafka_topic_s* handle = nullptr;
    int32_t partitions = 0;
  };
  struct Callbacks;  // librdkafka's, as static functions

  std::optional<FeedError> Configure();
  FeedError ErrorOf(int code, std::string_view what, std::string_view text) const;
  std::optional<FeedError> Transactional(rd_kafka_error_s* error, std::string_view what, bool& again) const;
  std::optional<FeedError> InTransaction(const char* what, rd_kafka_error_s* (*call)(rd_kafka_s*, int));
  // The topic, with its number of partitions; made by the broker if that is allowed. Null: `error`.
  Topic* FindTopic(const std::string& name, FeedError& error);
  std::optional<FeedError> Produce(Topic& topic, int32_t partition, uint64_t ticket, const Message& message);
  std::optional<FeedError> SendOne(Item& item);
  Progress News();

  const SinkAddress address_;
  const std::string transactional_id_;
  const SinkLimits limits_;
  const WritePermit* permit_ = nullptr;  // since Open
  rd_kafka_s* kafka_ = nullptr;
  std::map<std::string, Topic> topics_;
  DeliveredPrefix prefix_;
  std::deque<Item> undelivered_;  // as many as prefix_ waits for
  std::optional<FeedError> failure_;
  std::string last_complaint_;  // of librdkafka; says why messages time out
  std::atomic<rd_kafka_s*> interruptible_{nullptr};
  std::atomic<bool> interrupted_{false};
};

}  // namespace tenure::changefeed
