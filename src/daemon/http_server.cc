#include "daemon/http_server.h"

#include <httplib.h>

#include <cstring>
#include <thread>
#include <utility>

namespace tenure::daemon {
namespace {

constexpr size_t kMaxRequestBytes = 64 << 10;
constexpr int kTimeoutSeconds = 5;
constexpr size_t kThreads = 2;

void AnswerStatus(const Status& status, httplib::Response& response) {
  response.status = status.ok() ? 200 : 503;
  response.set_content(status.ok() ? std::string("ok\n") : std::string(MessageOf(status)) + "\n",
                       "text/plain");
}

}  // namespace

class HttpServer::Impl {
 public:
  explicit Impl(HttpPages pages) : pages_(std::move(pages)) {
    server_.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    server_.set_payload_max_length(kMaxRequestBytes);
    server_.set_read_timeout(kTimeoutSeconds);
    server_.set_write_timeout(kTimeoutSeconds);
    server_.set_keep_alive_max_count(100);
    server_.set_keep_alive_timeout(kTimeoutSeconds);
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

  Status Listen(const HostPort& listen) {
    errno = 0;
    if (!server_.bind_to_port(listen.host.c_str(), listen.port)) {
      const int error = errno;
      return Error(StatusCode::kUnavailable, "cannot listen on {} (--http): {}", listen.ToString(),
                   error == 0 ? "the address cannot be used" : std::strerror(error));
    }
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    return OkStatus();
  }
  void Stop() {
    if (!thread_.joinable()) return;
    // stop() before the thread listens would be forgotten.
    while (!server_.is_running()) std::this_thread::yield();
    server_.stop();
    thread_.join();
  }

 private:
  const HttpPages pages_;
  httplib::Server server_;
  std::thread thread_;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HostPort& listen, HttpPages pages) {
  auto impl = std::make_unique<Impl>(std::move(pages));
  TENURE_RETURN_IF_ERROR(impl->Listen(listen));
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

void HttpServer::Stop() {
  impl_->Stop();
}

}  // namespace tenure::daemon
