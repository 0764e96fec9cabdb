#include "sim/sim_connection.h"

#include <utility>

#include "base/check.h"
#include "runtime/connect_failure.h"

namespace tenure::sim {
namespace {

constexpr Duration kConnectTimeout = std::chrono::seconds(1);

// The right and the duty to answer a call.
class SimReply {
 public:
  explicit SimReply(std::shared_ptr<SimConnection> connection) : connection_(std::move(connection)) {}
  SimReply(SimReply&&) noexcept = default;
  SimReply& operator=(SimReply&&) = delete;
  ~SimReply() {
    if (connection_) connection_->AnswerDropped();
  }
  void operator()(StatusOr<std::string> result) {
    if (const auto connection = std::move(connection_)) connection->Answer(std::move(result));
  }

 private:
  std::shared_ptr<SimConnection> connection_;
};

Status TooLarge(std::string_view what, size_t size) {
  return Error(StatusCode::kResourceExhausted, "{} of {} bytes is larger than the limit of {}", what, size,
               runtime::kMaxMessageBytes);
}

}  // namespace

SimConnection::SimConnection(SimNetwork& n, std::shared_ptr<SimViewState> client_view, Endpoint target,
                             std::string_view full_method)
    : network(n), id(n.next_connection_++), to(std::move(target)), method(full_method) {
  const Endpoint& from = client_view->host->address;
  ends[kClient].view = std::move(client_view);
  ends[kClient].out = &network.LinkOf(from, to);
  ends[kServer].out = &network.LinkOf(to, from);
}

// --- the way
// ---------------------------------------------------------------------------------------------------

void SimConnection::SendRaw(Side from, Instant not_before, Closure arrive) {
  ends[from].next_arrival =
      std::max(ends[from].next_arrival, network.Transmit(*ends[from].out, not_before, std::move(arrive)));
}

void SimConnection::SendInOrder(Side from, Closure arrive) {
  SendRaw(from, ends[from].next_arrival, std::move(arrive));
}

void SimConnection::FailToConnect() {
  const auto self = shared_from_this();
  network.world_.After(kConnectTimeout, "connect timeout", [self] {
    self->Fail(kClient,
               runtime::MarkNotSent(Error(StatusCode::kUnavailable, "{}: connecting timed out", self->to)));
  });
}

const SimServiceEntry* SimConnection::FindService() {
  const auto self = shared_from_this();
  SimHost* const host = network.HostAt(to);
  if (host == nullptr) {
    if (network.powered_off_.contains(to)) {
      FailToConnect();
    } else {
      SendRaw(kServer, {}, [self] {
        self->Fail(kClient,
                   runtime::MarkRefused(Error(StatusCode::kUnavailable, "{}: Connection refused", self->to)));
      });
    }
    return nullptr;
  }
  const size_t slash = method.rfind('/');
  const std::string service = method.substr(0, slash);
  const auto found = host->services.find(service);
  if (found != host->services.end()) return &found->second;
  SendRaw(kServer, {}, [self, service] {
    self->Fail(kClient, Error(StatusCode::kUnimplemented, "unknown service {}", service));
  });
  return nullptr;
}

runtime::CallInfo SimConnection::MakeInfo(Instant deadline) const {
  runtime::CallInfo info;
  info.method = method.substr(method.rfind('/') + 1);
  info.peer = ends[kClient].view->host->address;
  info.deadline = deadline == kFarFuture
                      ? kFarFuture
                      : ends[kServer].view->executor.Now() + (deadline - network.world_.now());
  return info;
}

// --- unary
// -----------------------------------------------------------------------------------------------------

void SimConnection::StartCall(std::string request, Duration timeout,
                              Callback<StatusOr<std::string>> callback) {
  const auto self = shared_from_this();
  unary = true;
  done = std::move(callback);
  network.AddConnection(self);
  if (request.size() > runtime::kMaxMessageBytes) {
    return Fail(kClient, runtime::MarkNotSent(TooLarge("a request", request.size())));
  }
  const Instant now = network.world_.now();
  deadline_ = timeout > kFarFuture - now ? kFarFuture : now + timeout;
  timeout_timer = ends[kClient].view->executor.After(timeout, [self] {
    self->Complete(Error(StatusCode::kDeadlineExceeded, "{}: Deadline Exceeded", self->to));
  });
  if (network.watcher_ != nullptr) {
    watched_request_ = request;
    network.watcher_->OnSent(ends[kClient].view->host->address, to, method, request);
  }
  if (network.Dead(ends[kClient].view->host->address, to)) return FailToConnect();
  network.world_.Mix(request);
  if (network.Chance(ends[kClient].out->options.lost_requests_per_million)) {
    const Duration there_and_back =
        network.DrawDelay(*ends[kClient].out) + network.DrawDelay(*ends[kServer].out);
    network.world_.After(there_and_back, "lost request", [self] {
      self->Fail(kClient, Error(StatusCode::kUnavailable, "{}: the connection broke", self->to));
    });
    return;
  }
  SendInOrder(kClient, [self, request = std::move(request)]() mutable {
    self->OnRequest(std::move(request), self->deadline_);
  });
}

void SimConnection::OnRequest(std::string request, Instant deadline) {
  const SimServiceEntry* const entry = FindService();
  if (entry == nullptr) return;
  ends[kServer].view = entry->view;
  entry->view->executor.Post([this, service = entry->service, request = std::move(request), deadline,
                              reply = SimReply(shared_from_this())]() mutable {
    if (!ends[kServer].view->alive()) return;  // the dropped reply says so
    service->OnCall(MakeInfo(deadline), std::move(request), runtime::Reply(std::move(reply)));
  });
}

void SimConnection::Answer(StatusOr<std::string> result) {
  if (std::exchange(answered, true)) return;
  if (!ends[kServer].view->host->alive) return;  // N2
  if (result.ok() && result->size() > runtime::kMaxMessageBytes)
    result = TooLarge("an answer", result->size());
  if (network.Chance(ends[kServer].out->options.lost_answers_per_million)) {
    result = Error(StatusCode::kUnavailable, "{}: the connection broke", to);
  }
  if (result.ok()) network.world_.Mix(*result);
  const auto self = shared_from_this();
  SendInOrder(kServer, [self, result = std::move(result)]() mutable {
    if (!self->ends[kClient].view->alive()) return;
    self->ends[kClient].view->executor.Post(
        [self, result = std::move(result)]() mutable { self->Complete(std::move(result)); });
  });
}

void SimConnection::AnswerDropped() {
  if (ends[kServer].view->open) {
    Answer(Error(StatusCode::kInternal, "/{} was not answered", method));
  } else {
    Answer(Error(StatusCode::kUnavailable, "the service of /{} has stopped", method));
  }
}

void SimConnection::Complete(StatusOr<std::string> result) {
  const auto self = shared_from_this();
  if (std::exchange(ends[kClient].closed, true)) return;  // N3
  timeout_timer.Cancel();
  network.RemoveConnection(id);
  if (network.watcher_ != nullptr && result.ok())
    network.watcher_->OnAnswered(to, method, watched_request_, *result);
  auto callback = std::move(done);
  callback(std::move(result));
}

// --- streams
// ---------------------------------------------------------------------------------------------------

void SimConnection::Open(runtime::StreamHandler& handler, bool is_lossy) {
  const auto self = shared_from_this();
  lossy = is_lossy;
  ends[kClient].handler = &handler;
  network.AddConnection(self);
  if (network.Dead(ends[kClient].view->host->address, to)) {
    ends[kServer].closed = true;
    return FailToConnect();
  }
  SendInOrder(kClient, [self] { self->OnOpen(); });
}

void SimConnection::OnOpen() {
  if (ends[kServer].closed) return;  // dropped by the client, and that came first
  const SimServiceEntry* const entry = FindService();
  if (entry == nullptr) {
    ends[kServer].closed = true;
    return;
  }
  ends[kServer].view = entry->view;
  const auto self = shared_from_this();
  entry->view->executor.Post([self, entry = *entry] { self->Accept(entry); });
}

void SimConnection::Accept(const SimServiceEntry& entry) {
  End& end = ends[kServer];
  if (end.closed || !entry.view->alive()) return;
  const std::string short_method = method.substr(method.rfind('/') + 1);
  if (!entry.service->IsStream(short_method)) {
    return Close(kServer, Error(StatusCode::kUnimplemented, "/{} is not a stream", method));
  }
  opening_ = true;
  auto handler =
      entry.service->OnStream(MakeInfo(kFarFuture), std::make_unique<SimStream>(shared_from_this(), kServer));
  opening_ = false;
  if (handler == nullptr) {
    Close(kServer, Error(StatusCode::kUnimplemented, "unknown stream /{}", method));
  } else if (!end.closed) {
    end.handler = handler.get();
    end.owned = std::move(handler);
    if (dropped_while_opening_) Drop(kServer);
  }
}

void SimConnection::Send(Side from, std::string message) {
  End& end = ends[from];
  if (end.closed || !end.view->alive()) return;
  if (message.size() > runtime::kMaxMessageBytes) {
    const auto self = shared_from_this();
    SendRaw(from, {}, [self, other = Other(from)] {
      self->Fail(other, Error(StatusCode::kCancelled, "the stream was broken off"));
    });
    return Fail(from, TooLarge("a message", message.size()));
  }
  network.world_.Mix(message);
  const SimLinkOptions& link = end.out->options;
  const auto self = shared_from_this();
  const Side other = Other(from);
  if (lossy && network.Chance(link.loss_per_million)) return;
  if (lossy && network.Chance(link.duplicate_per_million)) {
    SendRaw(from, {},
            [self, other, message]() mutable { self->DeliverMessage(other, std::move(message), false); });
  }
  end.buffered += message.size();
  Closure arrive = [self, other, message = std::move(message)]() mutable {
    self->DeliverMessage(other, std::move(message), true);
  };
  if (lossy && network.Chance(link.reorder_per_million)) {
    const Duration extra(network.prng_.Between(0, link.max_reorder.count()));
    network.Transmit(*end.out, network.world_.now() + extra, std::move(arrive));
  } else {
    SendInOrder(from, std::move(arrive));
  }
}

void SimConnection::DeliverMessage(Side side, std::string message, bool counted) {
  End& end = ends[side];
  if (end.closed || !end.view || !end.view->alive()) return;
  const auto self = shared_from_this();
  end.view->executor.Post([self, side, counted, message = std::move(message)]() mutable {
    if (counted) self->ends[Other(side)].buffered -= message.size();
    if (auto* const handler = self->ends[side].handler) handler->OnMessage(std::move(message));
  });
}

void SimConnection::Close(Side from, Status status) {
  End& end = ends[from];
  if (std::exchange(end.closed, true)) return;
  end.handler = nullptr;
  DestroyLater(end);
  if (end.view->host->alive) {
    const auto self = shared_from_this();
    SendInOrder(from, [self, other = Other(from), status = std::move(status)] { self->Fail(other, status); });
  }
  DetachIfDone();
}

void SimConnection::Drop(Side from) {
  if (opening_ && from == kServer) {
    dropped_while_opening_ = true;
    return;
  }
  End& end = ends[from];
  if (std::exchange(end.closed, true)) return;
  end.handler = nullptr;
  DestroyLater(end);
  if (end.view->host->alive) {
    const auto self = shared_from_this();
    SendRaw(from, {}, [self, other = Other(from)] {
      self->Fail(other, Error(StatusCode::kCancelled, "the stream was dropped"));
    });
  }
  DetachIfDone();
}

void SimConnection::DestroyLater(End& end) {
  if (!end.owned) return;
  // The handler may be what called.
  if (end.view->executor.IsStopped()) {
    end.view->graveyard.push_back([owned = std::move(end.owned)] {});
  } else {
    end.view->executor.Post([owned = std::move(end.owned)] {});
  }
}

// --- the end
// ---------------------------------------------------------------------------------------------------

void SimConnection::Fail(Side side, Status status) {
  End& end = ends[side];
  const auto self = shared_from_this();
  if (unary) {
    if (side == kServer) {
      answered = true;
    } else if (end.view->alive()) {
      end.view->executor.Post([self, status = std::move(status)] { self->Complete(status); });
    }
    return;
  }
  if (!end.view) {  // the server's end, before it was opened
    end.closed = true;
    DetachIfDone();
  } else if (end.view->alive()) {
    end.view->executor.Post([self, side, status = std::move(status)] { self->EndStream(side, status); });
  }
}

void SimConnection::EndStream(Side side, Status status) {
  End& end = ends[side];
  if (std::exchange(end.closed, true)) return;
  auto* const handler = std::exchange(end.handler, nullptr);
  const auto owned = std::move(end.owned);
  DetachIfDone();
  if (handler != nullptr) handler->OnClosed(std::move(status));
}

void SimConnection::OnViewGone(Side side) {
  const auto self = shared_from_this();
  End& end = ends[side];
  const bool dead = !end.view->host->alive;
  const bool tell = !end.view->host->silent;
  if (unary && side == kClient) {
    if (std::exchange(end.closed, true)) return;
    timeout_timer.Cancel();
    end.view->graveyard.push_back([callback = std::move(done)] {});
    network.RemoveConnection(id);
    return;
  }
  const Status gone = side == kClient ? Error(StatusCode::kCancelled, "the client of /{} is gone", method)
                      : dead          ? Error(StatusCode::kUnavailable, "{}: Connection reset by peer", to)
                             : Error(StatusCode::kUnavailable, "the service of /{} has stopped", method);
  if (unary) {
    if (std::exchange(answered, true)) return;
  } else {
    if (std::exchange(end.closed, true)) return;
    end.handler = nullptr;
    if (end.owned) end.view->graveyard.push_back([owned = std::move(end.owned)] {});
    DetachIfDone();
  }
  if (tell) SendInOrder(side, [self, other = Other(side), gone] { self->Fail(other, gone); });
}

void SimConnection::DetachIfDone() {
  if (ends[kClient].closed && ends[kServer].closed) network.RemoveConnection(id);
}

// --- the view
// --------------------------------------------------------------------------------------------------

SimNetworkView::~SimNetworkView() {
  state_->open = false;
  std::erase_if(state_->host->services, [&](const auto& item) { return item.second.view == state_; });
  for (const auto& [connection, side] :
       network_.EndsOn([&](const SimViewState& view) { return &view == state_.get(); })) {
    connection->OnViewGone(static_cast<SimConnection::Side>(side));
  }
  std::exchange(state_->graveyard, {}).clear();
}

void SimNetworkView::Call(const Endpoint& to, std::string_view method, std::string request, Duration timeout,
                          Callback<StatusOr<std::string>> done) {
  TENURE_CHECK(state_->executor.IsCurrent(), "a network is used outside of its executor");
  if (!state_->alive()) return state_->graveyard.push_back([callback = std::move(done)] {});
  std::make_shared<SimConnection>(network_, state_, to, method)
      ->StartCall(std::move(request), timeout, std::move(done));
}

std::unique_ptr<runtime::Stream> SimNetworkView::OpenStream(const Endpoint& to, std::string_view method,
                                                            runtime::StreamHandler& handler,
                                                            runtime::StreamOptions options) {
  TENURE_CHECK(state_->executor.IsCurrent(), "a network is used outside of its executor");
  const auto connection = std::make_shared<SimConnection>(network_, state_, to, method);
  if (state_->alive()) {
    connection->Open(handler, options.lossy);
  } else {
    connection->ends[SimConnection::kClient].closed = true;
  }
  return std::make_unique<SimStream>(connection, SimConnection::kClient);
}

void SimNetworkView::Serve(std::string_view service_name, runtime::Service& service) {
  const bool added =
      state_->host->services.emplace(std::string(service_name), SimServiceEntry{state_, &service}).second;
  TENURE_CHECK(added, "service {} is registered twice", service_name);
}

}  // namespace tenure::sim
