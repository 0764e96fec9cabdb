#include "sim/resp_client.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "base/hash.h"
#include "sim/resp_bridge.h"

namespace tenure::sim {
namespace {

constexpr int kMaxRedirects = 6;

std::string EncodeCommand(const std::vector<std::string>& arguments) {
  std::string out = fmt::format("*{}\r\n", arguments.size());
  for (const std::string& argument : arguments)
    out += fmt::format("${}\r\n{}\r\n", argument.size(), argument);
  return out;
}

}  // namespace

struct RespClient::Request {
  std::vector<std::string> arguments;
  uint16_t slot = 0;
  int redirects = 0;
  Callback<RespAnswer> done;
};

// Collects bytes into replies; the commands used here answer with a line, an integer, a bulk string, or an
// array of those.
struct RespClient::Connection final : runtime::StreamHandler {
  Connection(RespClient& client_in, runtime::Endpoint endpoint_in)
      : client(client_in), endpoint(std::move(endpoint_in)) {}

  void OnMessage(std::string message) override {
    buffer += message;
    while (!given_up) {
      const size_t end = buffer.find("\r\n");
      if (end == std::string::npos) return;
      std::string line = buffer.substr(0, end);
      size_t at = end + 2;
      if (line.starts_with('*')) {
        std::vector<std::string> elements(static_cast<size_t>(NumberIn(line)));
        for (std::string& element : elements) {
          const auto value = TakeBulk(at);
          if (!value) return;
          element = *value;
        }
        buffer.erase(0, at);
        client.OnReply(endpoint, std::move(line), std::nullopt, false, std::move(elements));
      } else if (!line.starts_with('$') || NumberIn(line) < 0) {
        buffer.erase(0, at);
        const bool null = line.starts_with('$');
        client.OnReply(endpoint, std::move(line), std::nullopt, null);
      } else {
        at = 0;
        auto value = TakeBulk(at);
        if (!value) return;
        buffer.erase(0, at);
        client.OnReply(endpoint, std::move(line), std::move(value), false);
      }
    }
  }
  static int64_t NumberIn(const std::string& line) {
    int64_t number = -1;
    std::from_chars(line.data() + 1, line.data() + line.size(), number);
    return number;
  }
  // The bulk string that begins at `at`, which goes behind it; none: it is not whole yet.
  std::optional<std::string> TakeBulk(size_t& at) const {
    const size_t end = buffer.find("\r\n", at);
    if (end == std::string::npos) return std::nullopt;
    const auto size = static_cast<size_t>(NumberIn(buffer.substr(at, end - at)));
    if (buffer.size() < end + 2 + size + 2) return std::nullopt;
    at = end + 2 + size + 2;
    return buffer.substr(end + 2, size);
  }
  void OnClosed(Status) override {
    if (!given_up) client.OnConnectionLost(endpoint);
  }

  RespClient& client;
  runtime::Endpoint endpoint;
  std::string buffer;
  bool selecting = false;                   // the next reply is that to SELECT
  bool given_up = false;                    // waits to be destroyed; a late answer belongs to no request
  std::unique_ptr<runtime::Stream> stream;  // last: closed before the rest goes
};

RespClient::RespClient(runtime::Executor& executor, runtime::Network& network,
                       std::vector<runtime::Endpoint> endpoints, Prng prng, Duration timeout,
                       std::string database)
    : executor_(executor),
      network_(network),
      endpoints_(std::move(endpoints)),
      prng_(prng),
      timeout_(timeout),
      database_(std::move(database)) {}

RespClient::~RespClient() = default;

void RespClient::Execute(std::vector<std::string> arguments, Callback<RespAnswer> done) {
  current_ = std::make_unique<Request>();
  current_->slot = SlotOfKey(arguments.at(1));
  current_->arguments = std::move(arguments);
  current_->done = std::move(done);
  deadline_ = executor_.After(timeout_, [this] {
    // The answer may still come: the connection is given up with it.
    Forget(asked_);
    Finish({RespAnswer::Kind::kUnknown, false, "timeout", {}});
  });
  Send();
}

void RespClient::Send() {
  const auto known = slots_.find(current_->slot);
  asked_ = known != slots_.end() ? known->second : endpoints_[prng_.Below(endpoints_.size())];
  auto& connection = connections_[asked_];
  if (!connection) {
    connection = std::make_unique<Connection>(*this, asked_);
    connection->stream = network_.OpenStream(asked_, std::string(kRespService) + "/Connect", *connection, {});
    // A new connection has `default` selected.
    connection->selecting = database_ != "default";
    if (connection->selecting) connection->stream->Send(EncodeCommand({"SELECT", database_}));
  }
  if (connection->selecting) return;  // sent when that is answered
  connection->stream->Send(EncodeCommand(current_->arguments));
}

void RespClient::OnReply(const runtime::Endpoint& from, std::string line, std::optional<std::string> value,
                         bool null, std::vector<std::string> elements) {
  const auto connection = connections_.find(from);
  if (connection != connections_.end() && std::exchange(connection->second->selecting, false)) {
    const bool waiting = current_ && asked_ == from;
    if (line == "+OK") return waiting ? Send() : void();
    Forget(from);
    return waiting ? Finish({RespAnswer::Kind::kRefused, false, std::move(line), {}}) : void();
  }
  if (!current_ || from != asked_) return;
  if (value || null)
    return Finish({RespAnswer::Kind::kValue, null, value ? *std::move(value) : std::string(), {}});
  if (line.empty() || line[0] != '-') {
    return Finish(
        {RespAnswer::Kind::kValue, false, line.empty() ? line : line.substr(1), std::move(elements)});
  }
  if (line.starts_with("-MOVED ")) {
    const size_t address = line.rfind(' ');
    slots_[current_->slot] = HostOfRespAddress(line.substr(address + 1));
    if (++current_->redirects <= kMaxRedirects) return Send();
    slots_.erase(current_->slot);
    return Finish({RespAnswer::Kind::kRefused, false, line, {}});
  }
  slots_.erase(current_->slot);
  const bool unknown = line.find("unknown") != std::string::npos;
  Finish({unknown ? RespAnswer::Kind::kUnknown : RespAnswer::Kind::kRefused, false, std::move(line), {}});
}

void RespClient::OnConnectionLost(const runtime::Endpoint& endpoint) {
  const bool waiting = current_ && asked_ == endpoint;
  Forget(endpoint);
  if (waiting) Finish({RespAnswer::Kind::kUnknown, false, "connection lost", {}});
}

void RespClient::Forget(const runtime::Endpoint& endpoint) {
  auto node = connections_.extract(endpoint);
  std::erase_if(slots_, [&endpoint](const auto& item) { return item.second == endpoint; });
  if (node.empty()) return;
  node.mapped()->given_up = true;
  // This may be called from inside the connection's own callback.
  executor_.Post([dead = std::shared_ptr<Connection>(std::move(node.mapped()))] {});
}

void RespClient::Finish(RespAnswer answer) {
  if (!current_) return;
  Callback<RespAnswer> done = std::move(current_->done);
  current_.reset();
  deadline_.Cancel();
  done(std::move(answer));
}

}  // namespace tenure::sim
