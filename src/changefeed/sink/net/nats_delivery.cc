#include "changefeed/sink/net/nats_delivery.h"

#include <nats/nats.h>

#include <memory>

#include "changefeed/sink/net/deadline.h"

namespace tenure::changefeed {

namespace {

struct FreeOptions {
  void operator()(natsOptions* options) const { natsOptions_Destroy(options); }
};

std::string WriterOf(const SinkIdentity& identity) {
  if (identity.refused == 0) return identity.changefeed;
  return fmt::format("{}:{}.{}.{}", identity.changefeed, identity.epoch, identity.creation, identity.refused);
}

}  // namespace

NatsDelivery::NatsDelivery(SinkAddress address, const SinkIdentity& identity)
    : address_(std::move(address)), writer_(WriterOf(identity)), subjects_(address_.target) {}

NatsDelivery::~NatsDelivery() {
  jsCtx_Destroy(stream_);
  natsConnection_Destroy(connection_);
}

void NatsDelivery::Interrupt() {
  const std::lock_guard lock(mutex_);
  interrupted_ = true;
  if (connection_ != nullptr) natsConnection_Close(connection_);
}

FeedError NatsDelivery::ErrorOf(int status, std::string_view what, std::string_view text) const {
  FeedError error{.code = FeedErrorCode::kSinkUnavailable,
                  .message = fmt::format("{}: {}: {}{}{}", WithoutSecrets(address_), what,
                                         natsStatus_GetText(static_cast<natsStatus>(status)),
                                         text.empty() ? "" : ": ", text)};
  switch (status) {
    case NATS_NO_RESPONDERS:
      error.code = FeedErrorCode::kUnknownTopic;
      error.message += " (no stream takes this subject, or JetStream is off)";
      break;
    case NATS_CONNECTION_AUTH_FAILED:
    case NATS_NOT_PERMITTED:
      error.code = FeedErrorCode::kNotAuthorized;
      break;
    case NATS_MAX_PAYLOAD:
      error.code = FeedErrorCode::kMessageTooLarge;
      break;
    case NATS_ERR:
      error.code = FeedErrorCode::kSinkRejected;
      break;
    default:
      break;
  }
  return error;
}

std::optional<FeedError> NatsDelivery::Open(const WritePermit& /*permit*/) {
  natsOptions* raw = nullptr;
  if (const natsStatus status = natsOptions_Create(&raw); status != NATS_OK)
    return ErrorOf(status, "options", "");
  const std::unique_ptr<natsOptions, FreeOptions> options(raw);
  natsOptions_SetURL(options.get(), fmt::format("nats://{}", address_.hosts[0]).c_str());
  if (!address_.password.empty()) {
    natsOptions_SetUserInfo(options.get(), address_.user.c_str(), address_.password.c_str());
  }
  natsOptions_SetTimeout(options.get(), ToMillis(address_.timeout));
  // A lost connection ends the sink; whoever drives it begins again behind what was flushed.
  natsOptions_SetAllowReconnect(options.get(), false);
  natsConnection* connection = nullptr;
  if (const natsStatus status = natsConnection_Connect(&connection, options.get()); status != NATS_OK) {
    return ErrorOf(status, "connecting", "");
  }
  {
    const std::lock_guard lock(mutex_);
    connection_ = connection;
    if (interrupted_) natsConnection_Close(connection_);
  }
  jsOptions stream_options;
  jsOptions_Init(&stream_options);
  stream_options.Wait = ToMillis(address_.timeout);
  stream_options.PublishAsync.MaxPending = 10'000;  // more than a batch: publishing itself never waits
  stream_options.PublishAsync.ErrHandler = [](jsCtx*, jsPubAckErr* failure, void* closure) {
    auto* self = static_cast<NatsDelivery*>(closure);
    const std::lock_guard lock(self->failure_mutex_);
    if (self->failed_status_ != NATS_OK) return;
    self->failed_status_ = failure->Err;
    if (failure->ErrText != nullptr) self->failed_text_ = failure->ErrText;
  };
  stream_options.PublishAsync.ErrHandlerClosure = this;
  if (const natsStatus status = natsConnection_JetStream(&stream_, connection_, &stream_options);
      status != NATS_OK) {
    return ErrorOf(status, "JetStream", "");
  }
  return std::nullopt;
}

std::optional<FeedError> NatsDelivery::Complete(size_t published) {
  jsPubOptions slice;
  jsPubOptions_Init(&slice);
  slice.MaxWait = 100;  // ms, so that an interruption and a lost connection are noticed
  const Deadline deadline(address_.timeout);
  natsStatus status = NATS_TIMEOUT;
  while (status == NATS_TIMEOUT && !natsConnection_IsClosed(connection_) && !deadline.passed()) {
    status = js_PublishAsyncComplete(stream_, &slice);
    const std::lock_guard lock(failure_mutex_);
    if (failed_status_ != NATS_OK) return Gap(ErrorOf(failed_status_, "publishing", failed_text_));
  }
  // A connection that is closed completes nothing, whatever was said.
  if (natsConnection_IsClosed(connection_)) return ErrorOf(NATS_CONNECTION_CLOSED, "publishing", "");
  if (status == NATS_OK) return std::nullopt;
  const FeedError error = ErrorOf(status, "waiting for acknowledgements", "");
  natsMsgList pending{};
  const bool known = js_PublishAsyncGetPendingList(&pending, stream_) == NATS_OK;
  const bool none_arrived = known && static_cast<size_t>(pending.Count) == published;
  if (known) natsMsgList_Destroy(&pending);
  return none_arrived ? error : Gap(error);
}

FeedError NatsDelivery::Gap(FeedError error) {
  if (error.code == FeedErrorCode::kSinkUnavailable) error.code = FeedErrorCode::kSinkRejected;
  return error;
}

std::optional<FeedError> NatsDelivery::Publish(const std::string& subject, const Message& message) {
  if (auto bad = CheckFilled(address_, subject)) return bad;
  jsPubOptions options;
  jsPubOptions_Init(&options);
  const std::string id = fmt::format("{}:{}:{}", writer_, subject, message.id);
  options.MsgId = id.c_str();
  const natsStatus status = js_PublishAsync(stream_, subject.c_str(), message.value.data(),
                                            static_cast<int>(message.value.size()), &options);
  if (status == NATS_OK) return std::nullopt;
  const char* text = nats_GetLastError(nullptr);
  return ErrorOf(status, "publishing", text != nullptr ? text : "");
}

Delivery::Progress NatsDelivery::Send(std::vector<Item>& batch) {
  Progress progress;
  size_t published = 0;
  for (const Item& item : batch) {
    for (const std::string& subject : subjects_.Of(item.message)) {
      ++published;
      if ((progress.error = Publish(subject, item.message))) return progress;
    }
  }
  progress.error = Complete(published);
  if (!progress.error) progress.flushed = batch.back().position;
  return progress;
}

}  // namespace tenure::changefeed
