#include "daemon/http_server.h"

#include <httplib.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <mutex>
#include <semaphore>
#include <set>
#include <thread>
#include <utility>

namespace tenure::daemon {
namespace {

using HttpTime = std::chrono::steady_clock::time_point;

constexpr size_t kMaxRequestBytes = 64 << 10;
// From its first look at a connection to the last byte of the answer; a client that takes longer is cut off.
constexpr auto kRequestLimit = std::chrono::seconds(5);
constexpr size_t kThreads = 8;
constexpr ptrdiff_t kMaxConnections = 64;
constexpr auto kReopenDelay = std::chrono::seconds(1);

void AnswerStatus(const Status& status, httplib::Response& response) {
  response.status = status.ok() ? 200 : 503;
  response.set_content(status.ok() ? std::string("ok\n") : std::string(MessageOf(status)) + "\n",
                       "text/plain");
}

// What httplib reads a request from and writes the answer to, up to one point in time.
class HttpConnection final : public httplib::Stream {
 public:
  HttpConnection(int socket, HttpTime end) : socket_(socket), end_(end) {}

  bool is_readable() const override { return begin_ < size_ || Wait(POLLIN); }
  bool is_writable() const override { return Wait(POLLOUT); }
  ssize_t read(char* to, size_t size) override {
    if (begin_ == size_) {
      if (!Wait(POLLIN)) return -1;
      const ssize_t received = ::recv(socket_, received_.data(), received_.size(), 0);
      if (received <= 0) return received;
      begin_ = 0;
      size_ = static_cast<size_t>(received);
    }
    const size_t taken = std::min(size, size_ - begin_);
    std::memcpy(to, received_.data() + begin_, taken);
    begin_ += taken;
    return static_cast<ssize_t>(taken);
  }
  ssize_t write(const char* from, size_t size) override {
    return Wait(POLLOUT) ? ::send(socket_, from, size, MSG_NOSIGNAL | MSG_DONTWAIT) : -1;
  }
  void get_remote_ip_and_port(std::string&, int&) const override {}  // nothing here asks who talks
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return socket_; }

 private:
  bool Wait(short event) const {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end_ - std::chrono::steady_clock::now());
    pollfd waited{socket_, event, 0};
    return left.count() > 0 && ::poll(&waited, 1, static_cast<int>(left.count())) > 0;
  }

  const int socket_;
  const HttpTime end_;
  std::array<char, 4096> received_{};
  size_t begin_ = 0;
  size_t size_ = 0;
};

// Connections beyond the limit wait in the kernel, where they cost no descriptor.
class HttpWorkers final : public httplib::TaskQueue {
 public:
  void enqueue(std::function<void()> serve) override {
    room_.acquire();
    pool_.enqueue([this, serve = std::move(serve)] {
      serve();
      room_.release();
    });
  }
  void shutdown() override { pool_.shutdown(); }

 private:
  std::counting_semaphore<kMaxConnections> room_{kMaxConnections};
  httplib::ThreadPool pool_{kThreads};
};

// One request a connection, in limited time: whoever is slow or idle keeps nobody else waiting.
class OneRequestServer final : public httplib::Server {
 public:
  // Ends what is under way; what comes later is closed.
  void CutOff() {
    const std::lock_guard lock(mutex_);
    cut_off_ = true;
    for (const int socket : open_) ::shutdown(socket, SHUT_RDWR);
  }

 private:
  bool process_and_close_socket(socket_t socket) override {
    if (Begin(socket)) {
      HttpConnection connection(socket, std::chrono::steady_clock::now() + kRequestLimit);
      bool closed = false;
      process_request(connection, /*close_connection=*/true, closed, nullptr);
    }
    const std::lock_guard lock(mutex_);
    open_.erase(socket);
    ::shutdown(socket, SHUT_RDWR);
    ::close(socket);
    return true;
  }
  bool Begin(int socket) {
    const std::lock_guard lock(mutex_);
    if (!cut_off_) open_.insert(socket);
    return !cut_off_;
  }

  std::mutex mutex_;
  bool cut_off_ = false;
  std::set<int> open_;
};

}  // namespace

class HttpServer::Impl {
 public:
  Impl(HostPort listen, HttpPages pages) : listen_(std::move(listen)), pages_(std::move(pages)) {
    server_.new_task_queue = [] { return new HttpWorkers(); };
    server_.set_payload_max_length(kMaxRequestBytes);
    // Another process on the same port must be noticed: no SO_REUSEPORT.
    server_.set_socket_options([](socket_t socket) {
      int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    server_.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(pages_.metrics(), "text/plain; version=0.0.4");
    });
    server_.Get("/healthz", [this](const httplib::Request&, httplib::Response& response) {
      AnswerStatus(pages_.health(), response);
    });
    server_.Get("/readyz", [this](const httplib::Request&, httplib::Response& response) {
      AnswerStatus(pages_.ready(), response);
    });
  }
  ~Impl() { Stop(); }

  Status Listen() {
    errno = 0;
    if (!server_.bind_to_port(listen_.host.c_str(), listen_.port)) {
      const int error = errno;
      return Error(StatusCode::kUnavailable, "cannot listen on {} (--http): {}", listen_.ToString(),
                   error == 0 ? "the address cannot be used" : std::strerror(error));
    }
    thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
    return OkStatus();
  }
  void Stop() {
    if (!thread_.joinable()) return;
    thread_.request_stop();
    server_.CutOff();
    // A stop() before the thread listens would be forgotten.
    while (!server_.is_running() && !ended_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (!ended_) server_.stop();
    thread_.join();
  }

 private:
  // httplib gives its port up at some errors of accept.
  void Run(const std::stop_token& stop) {
    server_.listen_after_bind();
    while (!stop.stop_requested()) {
      std::this_thread::sleep_for(kReopenDelay);
      if (!stop.stop_requested() && server_.bind_to_port(listen_.host.c_str(), listen_.port))
        server_.listen_after_bind();
    }
    ended_ = true;
  }

  const HostPort listen_;
  const HttpPages pages_;
  OneRequestServer server_;
  std::atomic<bool> ended_{false};
  std::jthread thread_;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HostPort& listen, HttpPages pages) {
  auto impl = std::make_unique<Impl>(listen, std::move(pages));
  TENURE_RETURN_IF_ERROR(impl->Listen());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

void HttpServer::Stop() {
  impl_->Stop();
}

}  // namespace tenure::daemon
