#include "changefeed/sink/net/kafka_delivery.h"

#include <librdkafka/rdkafka.h>

#include <array>

#include "base/hash.h"
#include "changefeed/sink/net/deadline.h"

namespace tenure::changefeed {

namespace {

// So that an interruption is noticed.
constexpr int kSliceMs = 200;
constexpr int kEverything = RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT;

void* ToOpaque(uint64_t ticket) {
  return reinterpret_cast<void*>(static_cast<uintptr_t>(ticket));
}

}  // namespace

struct KafkaDelivery::Callbacks {
  static void OnDelivered(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
    auto* self = static_cast<KafkaDelivery*>(opaque);
    const auto ticket = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(message->_private));
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      self->prefix_.Confirm(ticket);
    } else if (!self->failure_) {
      self->failure_ = self->ErrorOf(message->err, "producing", self->last_complaint_);
    }
  }
  static void OnError(rd_kafka_t* kafka, int code, const char* reason, void* opaque) {
    auto* self = static_cast<KafkaDelivery*>(opaque);
    self->last_complaint_ = reason;
    const bool authentication = code == RD_KAFKA_RESP_ERR__AUTHENTICATION || code == RD_KAFKA_RESP_ERR__SSL;
    if (self->failure_ || (code != RD_KAFKA_RESP_ERR__FATAL && !authentication)) return;
    std::array<char, 512> text{};
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
      self->failure_ =
          self->ErrorOf(rd_kafka_fatal_error(kafka, text.data(), text.size()), "producing", text.data());
    } else {
      self->failure_ = self->ErrorOf(code, "connecting", reason);
    }
  }
  // What it has to say goes into errors, not to stderr.
  static void OnLog(const rd_kafka_t*, int, const char*, const char*) {}
};

KafkaDelivery::KafkaDelivery(SinkAddress address, const SinkIdentity& identity, SinkLimits limits)
    : address_(std::move(address)),
      transactional_id_(fmt::format("{}-{}", identity.changefeed, identity.dispatcher)),
      limits_(limits) {}

KafkaDelivery::~KafkaDelivery() {
  if (kafka_ == nullptr) return;
  rd_kafka_purge(kafka_, kEverything);
  for (auto& [name, topic] : topics_) rd_kafka_topic_destroy(topic.handle);
  // Delivery reports of what was purged need no listener.
  rd_kafka_poll(kafka_, 0);
  rd_kafka_destroy(kafka_);
}

void KafkaDelivery::Interrupt() {
  interrupted_ = true;
  rd_kafka_s* kafka = interruptible_;
  if (kafka != nullptr) rd_kafka_purge(kafka, kEverything);
}

FeedError KafkaDelivery::ErrorOf(int raw, std::string_view what, std::string_view text) const {
  const auto code = static_cast<rd_kafka_resp_err_t>(raw);
  FeedError error{.code = FeedErrorCode::kSinkUnavailable,
                  .message = fmt::format("{}: {}: {}{}{}", WithoutSecrets(address_), what,
                                         rd_kafka_err2str(code), text.empty() ? "" : ": ", text)};
  switch (code) {
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
      error.code = FeedErrorCode::kUnknownTopic;
      break;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
      error.code = FeedErrorCode::kMessageTooLarge;
      break;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
      error.code = FeedErrorCode::kNotAuthorized;
      break;
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
      error.code = FeedErrorCode::kIncompatibleProtocol;
      break;
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
      error.code = FeedErrorCode::kFencedBySink;
      break;
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
      error.code = FeedErrorCode::kSinkRejected;
      break;
    default:
      break;
  }
  return error;
}

std::optional<FeedError> KafkaDelivery::Configure() {
  const int64_t timeout = ToMillis(limits_.timeout);
  std::map<std::string, std::string> settings{
      {"bootstrap.servers", fmt::format("{}", fmt::join(address_.hosts, ","))},
      {"client.id", "tenure"},
      {"acks", "all"},
      {"enable.idempotence", "true"},
      {"partitioner", "murmur2_random"},  // as Java's producers
      {"compression.type", address_.compression},
      {"linger.ms", "5"},
      {"message.timeout.ms", std::to_string(timeout)},
      {"socket.timeout.ms", std::to_string(std::max<int64_t>(timeout, 1000))},
      {"message.max.bytes", std::to_string(address_.max_message_bytes)},
      {"queue.buffering.max.messages", "1000000"},
      {"queue.buffering.max.kbytes",
       std::to_string(std::max<size_t>(limits_.max_buffered_bytes / 512, 1024))},
  };
  if (address_.exactly_once) {
    settings["transactional.id"] = transactional_id_;
    settings["transaction.timeout.ms"] = std::to_string(std::max<int64_t>(timeout, 60'000));
  }
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  std::array<char, 512> text{};
  for (const auto& [name, value] : settings) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), text.data(), text.size()) != RD_KAFKA_CONF_OK) {
      rd_kafka_conf_destroy(conf);
      return FeedError{.code = FeedErrorCode::kBadSinkAddress,
                       .message = fmt::format("{}: {}", name, text.data())};
    }
  }
  rd_kafka_conf_set_opaque(conf, this);
  rd_kafka_conf_set_dr_msg_cb(conf, &Callbacks::OnDelivered);
  rd_kafka_conf_set_error_cb(conf, &Callbacks::OnError);
  rd_kafka_conf_set_log_cb(conf, &Callbacks::OnLog);
  kafka_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text.data(), text.size());
  if (kafka_ == nullptr) {
    rd_kafka_conf_destroy(conf);
    return FeedError{.code = FeedErrorCode::kBadSinkAddress, .message = text.data()};
  }
  interruptible_ = kafka_;
  return std::nullopt;
}

std::optional<FeedError> KafkaDelivery::Open(const WritePermit& permit) {
  permit_ = &permit;
  if (auto error = Configure()) return error;
  if (address_.exactly_once) {
    if (auto error = InTransaction("beginning as a transactional producer", &rd_kafka_init_transactions))
      return error;
  }
  // A topic without names in it is looked for now, so that a bad one is known before the first change.
  if (address_.target.find('{') != std::string::npos) return std::nullopt;
  FeedError error;
  return FindTopic(address_.target, error) == nullptr ? std::optional(error) : std::nullopt;
}

KafkaDelivery::Topic* KafkaDelivery::FindTopic(const std::string& name, FeedError& error) {
  if (const auto known = topics_.find(name); known != topics_.end()) return &known->second;
  if (auto bad = CheckFilled(address_, name)) {
    error = *std::move(bad);
    return nullptr;
  }
  // A handle makes librdkafka ask for the topic by name, and that lets the broker make it; asking for all
  // does not.
  rd_kafka_topic_t* handle =
      address_.auto_create ? rd_kafka_topic_new(kafka_, name.c_str(), nullptr) : nullptr;
  const Deadline deadline(limits_.timeout);
  rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
  int32_t partitions = 0;
  do {
    const rd_kafka_metadata_t* metadata = nullptr;
    code = rd_kafka_metadata(kafka_, address_.auto_create ? 0 : 1, address_.auto_create ? handle : nullptr,
                             &metadata, kSliceMs);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
      code = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
      for (int i = 0; i < metadata->topic_cnt; ++i) {
        const rd_kafka_metadata_topic_t& topic = metadata->topics[i];
        if (topic.topic != name) continue;
        code = topic.err;
        partitions = topic.partition_cnt;
      }
      rd_kafka_metadata_destroy(metadata);
      if (code == RD_KAFKA_RESP_ERR_NO_ERROR && partitions > 0) {
        if (handle == nullptr) handle = rd_kafka_topic_new(kafka_, name.c_str(), nullptr);
        return &topics_.emplace(name, Topic{name, handle, partitions}).first->second;
      }
      if (!address_.auto_create) break;
    }
    rd_kafka_poll(kafka_, 10);
  } while (!deadline.passed() && !interrupted_ && !failure_);
  if (handle != nullptr) rd_kafka_topic_destroy(handle);
  error = failure_ ? *failure_ : ErrorOf(code, fmt::format("topic {}", name), last_complaint_);
  return nullptr;
}

std::optional<FeedError> KafkaDelivery::Transactional(rd_kafka_error_s* error, std::string_view what,
                                                      bool& again) const {
  if (error == nullptr) return std::nullopt;
  again = rd_kafka_error_is_retriable(error) != 0;
  FeedError found = ErrorOf(rd_kafka_error_code(error), what, rd_kafka_error_string(error));
  rd_kafka_error_destroy(error);
  return found;
}

// These calls may be resumed after a time-out.
std::optional<FeedError> KafkaDelivery::InTransaction(const char* what,
                                                      rd_kafka_error_s* (*call)(rd_kafka_s*, int)) {
  const Deadline deadline(limits_.timeout);
  for (;;) {
    bool again = false;
    auto error = Transactional(call(kafka_, kSliceMs), what, again);
    if (!error || !again || deadline.passed() || interrupted_) return error;
    // Whoever begins as a producer late turns its successor away.
    if (!(*permit_)()) return NotPermitted();
    rd_kafka_poll(kafka_, 0);
  }
}

std::optional<FeedError> KafkaDelivery::Produce(Topic& topic, int32_t partition, uint64_t ticket,
                                                const Message& message) {
  const Deadline deadline(limits_.timeout);
  for (;;) {
    // No copy: undelivered_ keeps the bytes until the report.
    const int result =
        rd_kafka_produce(topic.handle, partition, 0, const_cast<char*>(message.value.data()),
                         message.value.size(), message.key.data(), message.key.size(), ToOpaque(ticket));
    if (result == 0) {
      // An Interrupt that came just before has purged what was there then.
      if (interrupted_) rd_kafka_purge(kafka_, kEverything);
      return std::nullopt;
    }
    const rd_kafka_resp_err_t code = rd_kafka_last_error();
    if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) return ErrorOf(code, fmt::format("topic {}", topic.name), "");
    if (failure_) return failure_;
    if (deadline.passed() || interrupted_) return ErrorOf(code, "producing", last_complaint_);
    rd_kafka_poll(kafka_, 20);
  }
}

std::optional<FeedError> KafkaDelivery::SendOne(Item& item) {
  const Message& message = item.message;
  const bool to_all = message.kind != Message::Kind::kChange;
  std::vector<Topic*> topics;
  if (message.kind == Message::Kind::kResolved && address_.target.find('{') != std::string::npos) {
    for (auto& [name, topic] : topics_) topics.push_back(&topic);
  } else {
    FeedError error;
    Topic* topic = FindTopic(FillTemplate(address_.target, message.database, message.table), error);
    if (topic == nullptr) return error;
    topics.push_back(topic);
  }
  uint32_t copies = to_all ? 0 : 1;
  for (const Topic* topic : topics) {
    if (to_all) copies += static_cast<uint32_t>(topic->partitions);
  }
  const uint64_t ticket = prefix_.Add(item.position, copies);
  undelivered_.push_back(std::move(item));
  const Message& kept = undelivered_.back().message;
  for (Topic* topic : topics) {
    if (to_all) {
      for (int32_t partition = 0; partition < topic->partitions; ++partition) {
        if (auto error = Produce(*topic, partition, ticket, kept)) return error;
      }
      continue;
    }
    int32_t partition = RD_KAFKA_PARTITION_UA;
    const auto count = static_cast<uint64_t>(topic->partitions);
    if (address_.partition == SinkAddress::Partition::kTable) {
      partition = static_cast<int32_t>(HashBytes(kept.table) % count);
    } else if (address_.partition == SinkAddress::Partition::kTs) {
      partition = static_cast<int32_t>(kept.commit_ts.value() % count);
    }
    if (auto error = Produce(*topic, partition, ticket, kept)) return error;
  }
  return std::nullopt;
}

Delivery::Progress KafkaDelivery::News() {
  Progress progress;
  progress.flushed = prefix_.TakePrefix();
  while (undelivered_.size() > prefix_.waiting()) undelivered_.pop_front();
  // What is not committed is not there.
  if (address_.exactly_once) progress.flushed.reset();
  progress.error = failure_;
  return progress;
}

Delivery::Progress KafkaDelivery::Send(std::vector<Item>& batch) {
  bool again = false;
  if (address_.exactly_once) {
    if (auto error = Transactional(rd_kafka_begin_transaction(kafka_), "beginning a transaction", again)) {
      return {.error = std::move(error)};
    }
  }
  const uint64_t last = batch.back().position;
  for (Item& item : batch) {
    if (interrupted_) return News();
    if (auto error = SendOne(item)) {
      if (!failure_) failure_ = std::move(error);
      return News();
    }
  }
  rd_kafka_poll(kafka_, 0);
  if (!address_.exactly_once || failure_) return News();
  if (auto error = InTransaction("committing a transaction", &rd_kafka_commit_transaction))
    failure_ = std::move(error);
  Progress progress = News();
  if (!progress.error) progress.flushed = last;
  return progress;
}

Delivery::Progress KafkaDelivery::Wait() {
  rd_kafka_poll(kafka_, 5);
  return News();
}

}  // namespace tenure::changefeed
