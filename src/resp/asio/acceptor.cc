#include "resp/asio/acceptor.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <asio/buffer.hpp>
#include <asio/dispatch.hpp>
#include <asio/error.hpp>
#include <chrono>
#include <utility>

#include "resp/asio/connection.h"
#include "resp/cluster_format.h"

namespace tenure::resp {
namespace {

using ::asio::ip::tcp;

constexpr int kBacklog = 511;
constexpr std::chrono::milliseconds kRetryDelay{100};
constexpr std::chrono::seconds kComplainInterval{10};
constexpr std::string_view kTooManyClients = "-ERR max number of clients reached\r\n";

// A client whose machine is gone is noticed after about five minutes and three unanswered probes.
constexpr int kKeepIdleSeconds = 300;
constexpr int kKeepIntervalSeconds = 100;
constexpr int kKeepProbes = 3;

template <int Name>
using TcpOption = ::asio::detail::socket_option::integer<IPPROTO_TCP, Name>;

}  // namespace

Acceptor::Acceptor(std::vector<std::shared_ptr<Lane>> lanes, size_t max_clients,
                   std::atomic<size_t>& open_connections, FrontEnd& front, runtime::Executor& executor,
                   Logger logger)
    : lanes_(std::move(lanes)),
      max_clients_(max_clients),
      open_connections_(open_connections),
      front_(front),
      executor_(executor),
      logger_(std::move(logger)),
      acceptor_(lanes_[0]->io()),
      retry_(lanes_[0]->io()) {}

Status Acceptor::Open(const std::string& address) {
  const HostPort target = SplitAddress(address);
  std::error_code error;
  const auto failed = [&](std::string_view step) {
    return Error(StatusCode::kUnavailable, "cannot listen on {}: {}: {}", address, step, error.message());
  };
  tcp::resolver resolver(lanes_[0]->io());
  const auto flags = tcp::resolver::passive | tcp::resolver::numeric_service;
  const auto found = resolver.resolve(target.host, std::to_string(target.port), flags, error);
  if (error || found.empty()) return failed("resolve");
  const tcp::endpoint endpoint = found.begin()->endpoint();
  acceptor_.open(endpoint.protocol(), error);
  if (error) return failed("socket");
  acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  acceptor_.bind(endpoint, error);
  if (error) return failed("bind");
  acceptor_.listen(kBacklog, error);
  if (error) return failed("listen");
  port_ = acceptor_.local_endpoint(error).port();
  return OkStatus();
}

void Acceptor::Accept() {
  if (closed_) return;
  const size_t lane = next_lane_;
  next_lane_ = (next_lane_ + 1) % lanes_.size();
  acceptor_.async_accept(lanes_[lane]->io(), [this, lane](const std::error_code& error, tcp::socket socket) {
    OnAccept(error, std::move(socket), lane);
  });
}

void Acceptor::OnAccept(const std::error_code& error, tcp::socket socket, size_t lane) {
  if (closed_) return;
  // The client gave up before it was accepted: no reason to wait.
  if (error && error != ::asio::error::connection_aborted) return RetryLater(error);
  if (!error) {
    if (open_connections_.load() >= max_clients_) {
      Reject(std::move(socket));
    } else {
      Configure(socket);
      open_connections_.fetch_add(1);
      ::asio::dispatch(lanes_[lane]->io(),
                       [owner = lanes_[lane].get(), socket = std::move(socket)]() mutable {
                         owner->Adopt(std::move(socket));
                       });
    }
  }
  Accept();
}

void Acceptor::Configure(tcp::socket& socket) {
  std::error_code ignored;  // a socket that is gone already says so when it is read
  socket.non_blocking(true, ignored);
  socket.set_option(tcp::no_delay(true), ignored);
  socket.set_option(::asio::socket_base::keep_alive(true), ignored);
  socket.set_option(TcpOption<TCP_KEEPIDLE>(kKeepIdleSeconds), ignored);
  socket.set_option(TcpOption<TCP_KEEPINTVL>(kKeepIntervalSeconds), ignored);
  socket.set_option(TcpOption<TCP_KEEPCNT>(kKeepProbes), ignored);
}

void Acceptor::Reject(tcp::socket socket) {
  std::error_code ignored;
  socket.non_blocking(true, ignored);
  socket.write_some(::asio::buffer(kTooManyClients.data(), kTooManyClients.size()), ignored);
  socket.shutdown(tcp::socket::shutdown_both, ignored);
  executor_.Post([front = &front_] { ++front->counters().rejected_connections; });
}

// Out of file descriptors or memory: the connection stays in the backlog and the listener readable, so trying
// again at once would spin.
void Acceptor::RetryLater(const std::error_code& error) {
  const Instant now = IoNow();
  if (now - complained_at_ >= kComplainInterval) {
    complained_at_ = now;
    logger_.Warn("cannot accept clients: {}; trying again every {} ms", error.message(), kRetryDelay.count());
  }
  retry_.expires_after(kRetryDelay);
  retry_.async_wait([this](const std::error_code& cancelled) {
    if (!cancelled) Accept();
  });
}

void Acceptor::Close() {
  closed_ = true;
  std::error_code ignored;
  acceptor_.close(ignored);
  retry_.cancel();
}

}  // namespace tenure::resp
