#include "changefeed/sink/net/redis_delivery.h"

#include <hiredis/hiredis.h>
#include <sys/socket.h>

#include <memory>

#include "base/check.h"
#include "base/host_port.h"
#include "changefeed/sink/net/deadline.h"

namespace tenure::changefeed {

namespace {

struct FreeReply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, FreeReply>;

std::string_view TypeOf(const Message& message) {
  switch (message.kind) {
    case Message::Kind::kChange:
      return "change";
    case Message::Kind::kSchema:
      return "schema";
    case Message::Kind::kResolved:
      return "resolved";
  }
  return "change";
}

}  // namespace

RedisDelivery::~RedisDelivery() {
  if (context_ != nullptr) redisFree(context_);
}

void RedisDelivery::Interrupt() {
  interrupted_ = true;
  const int socket = socket_;
  if (socket >= 0) ::shutdown(socket, SHUT_RDWR);
}

FeedError RedisDelivery::Lost(std::string_view what) const {
  std::string_view why = "the connection is lost";
  if (context_ != nullptr && context_->err != 0) why = context_->errstr;
  return {.code = FeedErrorCode::kSinkUnavailable,
          .message = fmt::format("{}: {}: {}", WithoutSecrets(address_), what, why)};
}

FeedError RedisDelivery::Refused(std::string_view what, std::string_view reply) const {
  FeedError error{.code = FeedErrorCode::kSinkRejected,
                  .message = fmt::format("{}: {} is refused: {}", WithoutSecrets(address_), what, reply)};
  for (const std::string_view code : {"NOAUTH", "NOPERM", "WRONGPASS", "ERR invalid password"}) {
    if (reply.starts_with(code)) error.code = FeedErrorCode::kNotAuthorized;
  }
  for (const std::string_view code : {"WRONGTYPE", "ERR unknown command"}) {
    if (reply.starts_with(code)) error.code = FeedErrorCode::kIncompatibleProtocol;
  }
  return error;
}

std::optional<FeedError> RedisDelivery::Command(const std::vector<std::string>& words,
                                                std::string_view what) {
  std::vector<const char*> argv;
  std::vector<size_t> sizes;
  for (const std::string& word : words) {
    argv.push_back(word.data());
    sizes.push_back(word.size());
  }
  const Reply reply(static_cast<redisReply*>(
      redisCommandArgv(context_, static_cast<int>(argv.size()), argv.data(), sizes.data())));
  if (reply == nullptr) return Lost(what);
  if (reply->type == REDIS_REPLY_ERROR) return Refused(what, {reply->str, reply->len});
  return std::nullopt;
}

std::optional<FeedError> RedisDelivery::Open(const WritePermit& /*permit*/) {
  const StatusOr<HostPort> to = ParseHostPort(address_.hosts[0]);
  TENURE_CHECK(to.ok(), "a sink at {}, which is no address", address_.hosts[0]);
  const timeval limit = ToTimeval(address_.timeout);
  context_ = redisConnectWithTimeout(to->host.c_str(), to->port, limit);
  if (context_ == nullptr || context_->err != 0) return Lost("connecting");
  socket_ = context_->fd;
  if (interrupted_) return Lost("connecting");
  redisSetTimeout(context_, limit);
  if (!address_.password.empty()) {
    std::vector<std::string> words{"AUTH", address_.password};
    if (!address_.user.empty()) words.insert(words.begin() + 1, address_.user);
    if (auto error = Command(words, "AUTH")) return error;
  }
  return Command({"PING"}, "PING");
}

void RedisDelivery::Append(const std::string& stream, const Message& message) {
  std::vector<std::string> words{"XADD", stream};
  if (address_.max_length > 0) {
    words.insert(words.end(), {"MAXLEN", "~", std::to_string(address_.max_length)});
  }
  words.insert(words.end(),
               {"*", "id", message.id, "type", std::string(TypeOf(message)), "commit_ts",
                std::to_string(message.commit_ts.value()), "key", message.key, "value", message.value});
  std::vector<const char*> argv;
  std::vector<size_t> sizes;
  for (const std::string& word : words) {
    argv.push_back(word.data());
    sizes.push_back(word.size());
  }
  redisAppendCommandArgv(context_, static_cast<int>(argv.size()), argv.data(), sizes.data());
}

Delivery::Progress RedisDelivery::Send(std::vector<Item>& batch) {
  std::vector<size_t> entries;
  entries.reserve(batch.size());
  for (const Item& item : batch) {
    const std::vector<std::string> streams = streams_.Of(item.message);
    for (const std::string& stream : streams) Append(stream, item.message);
    entries.push_back(streams.size());
  }
  Progress progress;
  for (size_t i = 0; i < batch.size(); ++i) {
    // The limit is for progress: every answer begins it anew.
    for (; entries[i] > 0; --entries[i]) {
      void* raw = nullptr;
      const bool got = redisGetReply(context_, &raw) == REDIS_OK;
      const Reply reply(static_cast<redisReply*>(raw));
      if (!got || reply == nullptr || interrupted_) {
        progress.error = Lost("XADD");
        return progress;
      }
      if (reply->type == REDIS_REPLY_ERROR) {
        progress.error = Refused("XADD", {reply->str, reply->len});
        return progress;
      }
    }
    progress.flushed = batch[i].position;
  }
  return progress;
}

}  // namespace tenure::changefeed
