// A network within one executor: calls and streams reach the services of an endpoint by posted closures, in
// order. Endpoints can be absent (refused), hung (no answer until the timeout) or cut (streams end, calls
// fail).
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/connect_failure.h"
#include "runtime/network.h"
#include "tests/runtime/manual_executor.h"

namespace tenure::runtime {

class FakeNetwork {
 public:
  explicit FakeNetwork(Executor& executor) : executor_(executor) {}
  ~FakeNetwork();

  // What an endpoint calls and serves with.
  class View;
  std::unique_ptr<Network> MakeView(Endpoint self);

  // Nobody listens there (any more): its streams end, calls to it are refused.
  void SetDown(const Endpoint& endpoint, bool down) {
    if (down) {
      down_.insert(endpoint);
      CutStreams(endpoint);
    } else {
      down_.erase(endpoint);
    }
  }
  // Takes calls and messages and answers nothing.
  void SetHung(const Endpoint& endpoint, bool hung) {
    hung ? (void)hung_.insert(endpoint) : (void)hung_.erase(endpoint);
  }
  // Connecting does not succeed in time, as where packets are dropped: calls fail, and nobody was asked.
  void SetUnreachable(const Endpoint& endpoint, bool unreachable) {
    unreachable ? (void)unreachable_.insert(endpoint) : (void)unreachable_.erase(endpoint);
  }
  // Every other direct stream to it ends UNIMPLEMENTED, as to a program that only speaks gRPC.
  void SetWithoutLinks(const Endpoint& endpoint) { without_links_.insert(endpoint); }
  // The next `count` calls to it are executed and their answers lost.
  void LoseAnswers(const Endpoint& endpoint, int count) { lose_answers_[endpoint] = count; }
  void CutStreams(const Endpoint& endpoint);
  // What buffered_bytes() of server ends says.
  void set_server_buffer(size_t bytes) { server_buffer_ = bytes; }

  std::vector<std::pair<Endpoint, std::string>> calls;  // (to, method), in order
  int streams_opened = 0;

 private:
  struct Pipe;
  class End;

  Service* Find(const Endpoint& endpoint, std::string_view method) {
    const std::string name(method.substr(0, method.find('/')));
    const auto found = services_.find({endpoint, name});
    return found == services_.end() ? nullptr : found->second;
  }
  static std::string Last(std::string_view method) {
    return std::string(method.substr(method.find('/') + 1));
  }

  Executor& executor_;
  std::map<std::pair<Endpoint, std::string>, Service*> services_;
  std::set<Endpoint> down_;
  std::set<Endpoint> hung_;
  std::set<Endpoint> unreachable_;
  std::set<Endpoint> without_links_;
  std::set<Endpoint> foreign_;  // the last direct stream to it has ended so
  std::map<Endpoint, int> lose_answers_;
  std::vector<std::weak_ptr<Pipe>> pipes_;
  size_t server_buffer_ = 0;
};

// Both ends of a stream. handlers[0] is the client's, handlers[1] the server's.
struct FakeNetwork::Pipe : std::enable_shared_from_this<Pipe> {
  Executor* executor = nullptr;
  FakeNetwork* network = nullptr;
  Endpoint server;
  StreamHandler* handlers[2] = {nullptr, nullptr};
  std::unique_ptr<StreamHandler> owned;  // the server's
  bool closed[2] = {false, false};

  void Post(int to, Closure action) {
    executor->Post([self = shared_from_this(), to, action = std::move(action)]() mutable {
      if (!self->closed[to]) action();
    });
  }
  void Send(int from, std::string message) {
    if (closed[from]) return;
    const int to = 1 - from;
    Post(to, [this, to, message = std::move(message)]() mutable {
      if (to == 1 && network->hung_.contains(server)) return;
      if (handlers[to] != nullptr) handlers[to]->OnMessage(std::move(message));
    });
  }
  // `from` ends it: it hears nothing more, the other side hears why.
  void Close(int from, Status status) {
    if (std::exchange(closed[from], true)) return;
    const int to = 1 - from;
    if (from == 1) DropOwnedLater();
    Post(to, [this, to, status = std::move(status)] { Ended(to, status); });
  }
  void Ended(int at, const Status& status) {
    closed[at] = true;
    StreamHandler* handler = std::exchange(handlers[at], nullptr);
    if (handler != nullptr) handler->OnClosed(status);
    if (at == 1) DropOwnedLater();
  }
  void DropOwnedLater() {
    handlers[1] = nullptr;
    if (!owned) return;
    executor->Post([owned = std::shared_ptr<StreamHandler>(std::move(owned))] {});
  }
};

class FakeNetwork::End : public Stream {
 public:
  End(std::shared_ptr<Pipe> pipe, int side) : pipe_(std::move(pipe)), side_(side) {}
  ~End() override {
    if (side_ == 0) pipe_->handlers[0] = nullptr;
    pipe_->Close(side_, absl::CancelledError("dropped"));
  }
  void Send(std::string message) override { pipe_->Send(side_, std::move(message)); }
  size_t buffered_bytes() const override { return side_ == 1 ? pipe_->network->server_buffer_ : 0; }
  void Close(Status status) override { pipe_->Close(side_, std::move(status)); }

 private:
  std::shared_ptr<Pipe> pipe_;
  const int side_;
};

class FakeNetwork::View : public Network {
 public:
  View(FakeNetwork& network, Endpoint self) : network_(network), self_(std::move(self)) {}

  void Call(const Endpoint& to, std::string_view method, std::string request, Duration timeout,
            Callback<StatusOr<std::string>> done) override {
    network_.calls.emplace_back(to, std::string(method));
    struct State {
      Callback<StatusOr<std::string>> done;
      Timer timer;
    };
    auto state = std::make_shared<State>();
    state->done = std::move(done);
    const auto finish = [state](StatusOr<std::string> answer) {
      state->timer.Cancel();
      if (auto callback = std::exchange(state->done, {})) callback(std::move(answer));
    };
    Executor& executor = network_.executor_;
    state->timer =
        executor.After(timeout, [finish] { finish(absl::DeadlineExceededError("no answer in time")); });
    executor.Post([this, to, method = std::string(method), request = std::move(request), timeout, finish] {
      if (network_.down_.contains(to))
        return finish(MarkRefused(absl::UnavailableError("connection refused")));
      if (network_.hung_.contains(to)) return;
      if (network_.unreachable_.contains(to))
        return finish(MarkNotSent(absl::UnavailableError("connecting timed out")));
      Service* service = network_.Find(to, method);
      if (service == nullptr) return finish(MarkRefused(absl::UnavailableError("connection refused")));
      Executor& at = network_.executor_;
      const CallInfo info{Last(method), self_, at.Now() + timeout};
      service->OnCall(info, request, [this, to, finish, &at](StatusOr<std::string> answer) {
        int& lose = network_.lose_answers_[to];
        if (lose > 0) {
          --lose;
          answer = absl::UnavailableError("connection reset");
        }
        at.Post([finish, answer = std::move(answer)]() mutable { finish(std::move(answer)); });
      });
    });
  }

  std::unique_ptr<Stream> OpenStream(const Endpoint& to, std::string_view method, StreamHandler& handler,
                                     StreamOptions options) override {
    ++network_.streams_opened;
    auto pipe = std::make_shared<Pipe>();
    pipe->executor = &network_.executor_;
    pipe->network = &network_;
    pipe->server = to;
    pipe->handlers[0] = &handler;
    network_.pipes_.push_back(pipe);
    if (options.direct && network_.without_links_.contains(to) && network_.foreign_.erase(to) == 0) {
      network_.foreign_.insert(to);
      pipe->closed[1] = true;
      pipe->Post(0, [pipe = pipe.get()] { pipe->Ended(0, absl::UnimplementedError("no link")); });
      return std::make_unique<End>(pipe, 0);
    }
    network_.executor_.Post([this, pipe, to, method = std::string(method)] {
      Service* service = network_.down_.contains(to) ? nullptr : network_.Find(to, method);
      if (service == nullptr) {
        pipe->closed[1] = true;
        if (!pipe->closed[0]) pipe->Ended(0, MarkRefused(absl::UnavailableError("connection refused")));
        return;
      }
      const CallInfo info{Last(method), self_, kFarFuture};
      auto owned = service->OnStream(info, std::make_unique<End>(pipe, 1));
      if (!pipe->closed[1]) {
        pipe->owned = std::move(owned);
        pipe->handlers[1] = pipe->owned.get();
      }
    });
    return std::make_unique<End>(pipe, 0);
  }

  void Serve(std::string_view service_name, Service& service) override {
    network_.services_[{self_, std::string(service_name)}] = &service;
  }

 private:
  FakeNetwork& network_;
  const Endpoint self_;
};

inline std::unique_ptr<Network> FakeNetwork::MakeView(Endpoint self) {
  return std::make_unique<View>(*this, std::move(self));
}

// A server's end owns the pipe that owns its handler.
inline FakeNetwork::~FakeNetwork() {
  for (const auto& weak : pipes_) {
    const auto pipe = weak.lock();
    if (pipe == nullptr) continue;
    pipe->closed[0] = pipe->closed[1] = true;
    const auto owned = std::move(pipe->owned);
  }
}

inline void FakeNetwork::CutStreams(const Endpoint& endpoint) {
  for (const auto& weak : pipes_) {
    const auto pipe = weak.lock();
    if (pipe == nullptr || pipe->server != endpoint) continue;
    for (int side = 0; side < 2; ++side) {
      pipe->Post(
          side, [pipe = pipe.get(), side] { pipe->Ended(side, absl::UnavailableError("connection reset")); });
    }
  }
}

}  // namespace tenure::runtime
