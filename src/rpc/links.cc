#include "rpc/links.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/post.hpp>
#include <limits>
#include <string>
#include <utility>

#include "base/host_port.h"
#include "rpc/link.h"
#include "runtime/helper.h"

namespace tenure::rpc {
namespace {

using ::asio::ip::tcp;

constexpr int kBacklog = 511;
constexpr int kHandlersPerRound = 64;
constexpr Duration kRetryDelay = std::chrono::milliseconds(100);
constexpr rlim_t kDescriptorsLeft = 128;

template <int Name>
using TcpOption = ::asio::detail::socket_option::integer<IPPROTO_TCP, Name>;

int Seconds(Duration duration) {
  return std::max(1, static_cast<int>(ToMillis(duration) / 1000));
}

// Descriptors are given out from the lowest: one from here on means that few are left, and they are for the files of
// the process, which ends when it cannot open them.
int FirstThatIsTooMany() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::numeric_limits<int>::max();
  const rlim_t left = std::min<rlim_t>(limit.rlim_cur / 8, kDescriptorsLeft);
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur - left, std::numeric_limits<int>::max()));
}

}  // namespace

// A connection of which it is not known yet whose it is.
class Links::Greeting : public std::enable_shared_from_this<Greeting> {
 public:
  Greeting(Links& links, tcp::socket socket)
      : links_(links), socket_(std::move(socket)), timer_(links.io()) {}

  void Start() {
    timer_.expires_after(links_.patience());
    timer_.async_wait([self = shared_from_this()](const std::error_code& cancelled) {
      if (!cancelled) self->End();
    });
    Read();
  }
  void End() {
    std::error_code ignored;
    socket_.close(ignored);
    timer_.cancel();
    links_.greetings_.erase(shared_from_this());
  }

 private:
  void Read() {
    socket_.async_read_some(::asio::buffer(received_.data() + size_, received_.size() - size_),
                            [self = shared_from_this()](const std::error_code& error, size_t size) {
                              self->OnRead(error, size);
                            });
  }

  void OnRead(const std::error_code& error, size_t size) {
    if (error || !socket_.is_open()) return End();
    size_ += size;
    const std::string_view received(received_.data(), size_);
    if (kLinkMagic.starts_with(received) && received != kLinkMagic) return Read();
    if (received != kLinkMagic) {
      links_.HandOn(socket_, received);
    } else if (const auto link = links_.NewLink()) {
      link->Serve(std::move(socket_));
    }
    End();
  }

  Links& links_;
  tcp::socket socket_;
  ::asio::steady_timer timer_;
  std::array<char, kLinkMagic.size()> received_{};
  size_t size_ = 0;
};

Links::Links(GrpcCore& core, const GrpcOptions& options)
    : core_(core),
      options_(options),
      first_too_many_(FirstThatIsTooMany()),
      work_(::asio::make_work_guard(io_)) {}

Links::~Links() = default;

Status Links::Listen(const runtime::Endpoint& endpoint) {
  const auto failed = [&](std::string_view why) {
    return Error(StatusCode::kUnavailable, "cannot listen on {}: {}", endpoint, why);
  };
  const StatusOr<HostPort> name = ParseHostPort(endpoint, /*least_port=*/0);
  if (!name.ok()) return failed(MessageOf(name.status()));
  const StatusOr<NameLookups::Addresses> found = NameLookups::FindNow(*name);
  if (!found.ok()) return failed(MessageOf(found.status()));
  std::error_code error;
  for (tcp::endpoint address : *found) {
    if (port_ != 0) address.port(static_cast<uint16_t>(port_));  // the one that the first one got
    auto listener = std::make_unique<Listener>(io_);
    error = Open(listener->acceptor, address);
    // A host may have addresses of a kind that this machine has none of.
    if (error == ::asio::error::address_family_not_supported || error == std::errc::address_not_available) {
      continue;
    }
    if (error) return failed(error.message());
    port_ = address.port() != 0 ? address.port() : listener->acceptor.local_endpoint().port();
    listeners_.push_back(std::move(listener));
  }
  return listeners_.empty() ? failed(error.message()) : OkStatus();
}

std::error_code Links::Open(tcp::acceptor& acceptor, const tcp::endpoint& address) {
  std::error_code error;
  acceptor.open(address.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(address, error);
  if (!error) acceptor.listen(kBacklog, error);
  return error;
}

void Links::StartThread() {
  if (thread_.joinable()) return;
  thread_ = std::thread([this] { Run(); });
  pthread_setname_np(thread_.native_handle(), "link-io");
}

void Links::Run() {
  runtime::Helper helper;
  while (io_.run_one() > 0) {
    // What else is ready now belongs to the same round.
    for (int i = 1; i < kHandlersPerRound && io_.poll_one() > 0; ++i) {
    }
    helper.Run();
  }
}

void Links::Accept(OnForeign on_foreign) {
  {
    const std::lock_guard lock(foreign_mutex_);
    on_foreign_ = std::move(on_foreign);
  }
  ::asio::post(io_, [this] {
    for (const auto& listener : listeners_) AcceptNext(*listener);
  });
  const std::lock_guard lock(mutex_);
  StartThread();
}

bool Links::accepting() {
  const std::lock_guard lock(foreign_mutex_);
  return on_foreign_ != nullptr;
}

void Links::AcceptNext(Listener& listener) {
  if (!accepting()) return;
  listener.acceptor.async_accept([this, &listener](const std::error_code& error, tcp::socket socket) {
    OnAccepted(listener, error, std::move(socket));
  });
}

void Links::OnAccepted(Listener& listener, const std::error_code& error, tcp::socket socket) {
  if (!accepting()) return;
  // The client gave up before it was accepted: no reason to wait.
  if (error && error != ::asio::error::connection_aborted) {
    listener.retry.expires_after(kRetryDelay);
    listener.retry.async_wait([this, &listener](const std::error_code& cancelled) {
      if (!cancelled) AcceptNext(listener);
    });
    return;
  }
  if (!error && socket.native_handle() < first_too_many_) {
    Configure(socket);
    (*greetings_.insert(std::make_shared<Greeting>(*this, std::move(socket))).first)->Start();
  }
  AcceptNext(listener);
}

void Links::Configure(tcp::socket& socket) const {
  std::error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  // The kernel asks whether the peer is still there, and gives up what it does not acknowledge or take.
  socket.set_option(::asio::socket_base::keep_alive(true), ignored);
  socket.set_option(TcpOption<TCP_KEEPIDLE>(Seconds(options_.keepalive_time)), ignored);
  socket.set_option(TcpOption<TCP_KEEPINTVL>(1), ignored);
  socket.set_option(TcpOption<TCP_KEEPCNT>(Seconds(options_.keepalive_timeout)), ignored);
  socket.set_option(TcpOption<TCP_USER_TIMEOUT>(static_cast<int>(ToMillis(patience()))), ignored);
}

std::shared_ptr<Link> Links::NewLink() {
  const std::lock_guard lock(mutex_);
  if (shut_down_) return nullptr;
  StartThread();
  return *links_.insert(std::make_shared<Link>(*this)).first;
}

void Links::Forget(const std::shared_ptr<Link>& link) {
  const std::lock_guard lock(mutex_);
  links_.erase(link);
}

bool Links::TakeForeign(const runtime::Endpoint& to) {
  const std::lock_guard lock(mutex_);
  return foreign_.erase(to) > 0;
}

void Links::NoteForeign(const runtime::Endpoint& to) {
  const std::lock_guard lock(mutex_);
  foreign_.insert(to);
}

void Links::HandOn(tcp::socket& socket, std::string_view received) {
  const std::lock_guard lock(foreign_mutex_);
  if (on_foreign_ == nullptr) return;
  std::error_code failed;
  const int descriptor = socket.release(failed);
  if (!failed) on_foreign_(descriptor, received);
}

void Links::StopAccepting() {
  const std::lock_guard lock(foreign_mutex_);
  on_foreign_ = nullptr;
  ::asio::post(io_, [this] {
    std::error_code ignored;
    for (const auto& listener : listeners_) {
      listener->acceptor.close(ignored);
      listener->retry.cancel();
    }
    while (!greetings_.empty()) (*greetings_.begin())->End();
  });
}

void Links::Shutdown() {
  std::unordered_set<std::shared_ptr<Link>> links;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(shut_down_, true)) return;
    links = links_;
  }
  if (!thread_.joinable()) return;
  ::asio::post(io_, [this, links = std::move(links)] {
    for (const auto& link : links) {
      link->Break(Error(StatusCode::kUnavailable, "this process is shutting down"));
    }
    io_.stop();
  });
  thread_.join();
}

}  // namespace tenure::rpc
