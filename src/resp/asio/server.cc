#include "resp/asio/server.h"

#include <asio/post.hpp>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "resp/asio/acceptor.h"
#include "resp/asio/lane.h"

namespace tenure::resp {
namespace {

// Set by running or by destroying the closure that holds it: an executor that stops drops closures unrun.
class Gate {
 public:
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

struct OpensGate {
  explicit OpensGate(std::shared_ptr<Gate> g) : gate(std::move(g)) {}
  OpensGate(OpensGate&&) = default;
  ~OpensGate() {
    if (gate) gate->Open();
  }
  std::shared_ptr<Gate> gate;
};

}  // namespace

StatusOr<std::unique_ptr<Server>> Server::Start(ServerSettings settings, FrontEnd& front,
                                                runtime::Executor& executor, Logger logger) {
  std::unique_ptr<Server> server(new Server(executor));
  const LaneSettings lane_settings{settings.write_stall_timeout, settings.idle_timeout,
                                   settings.linger_timeout, settings.read_ahead_bytes,
                                   front.settings().output_pause_bytes};
  for (int i = 0; i < std::max(1, settings.io_threads); ++i) {
    server->lanes_.push_back(
        std::make_shared<Lane>(lane_settings, front, executor, server->open_connections_, logger));
  }
  server->acceptor_ = std::make_unique<Acceptor>(server->lanes_, settings.max_clients,
                                                 server->open_connections_, front, executor, logger);
  TENURE_RETURN_IF_ERROR(server->acceptor_->Open(settings.listen));
  server->port_ = server->acceptor_->port();
  for (size_t i = 0; i < server->lanes_.size(); ++i) server->lanes_[i]->Start(static_cast<int>(i));
  ::asio::post(server->lanes_[0]->io(), [acceptor = server->acceptor_.get()] { acceptor->Accept(); });
  return server;
}

Server::Server(runtime::Executor& executor) : executor_(executor) {}

Server::~Server() {
  Stop();
}

void Server::Stop() {
  if (std::exchange(stopped_, true) || lanes_.empty()) return;
  ::asio::post(lanes_[0]->io(), [acceptor = acceptor_.get()] { acceptor->Close(); });
  for (const std::shared_ptr<Lane>& lane : lanes_) lane->Stop();
  // The lanes have told the executor of every lost connection; when it has heard of them, no session is left.
  const auto end_sessions = [lanes = lanes_] {
    for (const std::shared_ptr<Lane>& lane : lanes) lane->EndSessions();
  };
  if (executor_.IsCurrent()) {
    end_sessions();
  } else if (!executor_.IsStopped()) {
    auto gate = std::make_shared<Gate>();
    executor_.Post([end_sessions, opens = OpensGate(gate)] { end_sessions(); });
    gate->Wait();
  }
  if (executor_.IsStopped()) end_sessions();
  acceptor_.reset();
  lanes_.clear();
}

}  // namespace tenure::resp
