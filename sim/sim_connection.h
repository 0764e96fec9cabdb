// Private to SimNetwork: one call or stream under way, its two ends, and the hosts they stand on.
//
// Threading: one thread. Callbacks run on the executors of the ends' views, posted.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "runtime/network.h"
#include "sim/sim_network.h"

namespace tenure::sim {

struct SimHost;

// What a view shares with everything it started.
struct SimViewState {
  const std::shared_ptr<SimHost> host;
  SimExecutor& executor;
  bool open = true;  // until the view is destroyed
  // Handlers and callbacks of a process that was killed: destroyed with the view, since the process may have
  // been killed by one of them.
  std::vector<Closure> graveyard;

  bool alive() const;
};

struct SimServiceEntry {
  std::shared_ptr<SimViewState> view;
  runtime::Service* service = nullptr;
};

struct SimHost {
  SimNetwork& network;
  SimProcess& process;  // not to be touched once it is dead
  const Endpoint address;
  bool alive = true;
  bool silent = false;  // it lost power: no reset reaches its peers
  std::map<std::string, SimServiceEntry, std::less<>> services;
};

inline bool SimViewState::alive() const {
  return open && host->alive;
}

struct SimConnection : std::enable_shared_from_this<SimConnection> {
  enum Side { kClient = 0, kServer = 1 };
  static Side Other(Side side) { return side == kClient ? kServer : kClient; }

  SimConnection(SimNetwork& n, std::shared_ptr<SimViewState> client_view, Endpoint to,
                std::string_view full_method);

  // --- unary ---
  void StartCall(std::string request, Duration timeout, Callback<StatusOr<std::string>> done);
  void Answer(StatusOr<std::string> result);  // by the service
  void AnswerDropped();

  // --- streams ---
  void Open(runtime::StreamHandler& handler, bool is_lossy);
  void Send(Side from, std::string message);
  void Close(Side from, Status status);
  void Drop(Side from);
  size_t buffered(Side from) const { return ends[from].buffered; }

  // --- both ---
  // The connection is gone: whoever still waits on `side` is told.
  void Fail(Side side, Status status);
  // The view on `side` goes: no callback may follow, the other side is told as far as there is a way.
  void OnViewGone(Side side);

  struct End {
    std::shared_ptr<SimViewState> view;  // null on the server's side until the service is found
    SimNetwork::Link* out = nullptr;
    Instant next_arrival;  // of what this end sends
    size_t buffered = 0;   // sent by this end, not yet taken by the other
    bool closed = false;   // no callback may follow
    runtime::StreamHandler* handler = nullptr;
    std::unique_ptr<runtime::StreamHandler> owned;
  };

  SimNetwork& network;
  const uint64_t id;
  const Endpoint to;
  const std::string method;
  bool unary = false;
  bool lossy = false;
  std::array<End, 2> ends;
  Callback<StatusOr<std::string>> done;
  runtime::Timer timeout_timer;
  bool answered = false;

 private:
  void SendRaw(Side from, Instant not_before, Closure arrive);
  void SendInOrder(Side from, Closure arrive);
  void AnswerWith(Status status);
  void OnRequest(std::string request, Instant deadline);
  void OnOpen();
  void Accept(const SimServiceEntry& entry);
  // Who serves `method` at `to`. Null if nobody does; the client is then told.
  const SimServiceEntry* FindService();
  void FailToConnect();
  void Complete(StatusOr<std::string> result);
  void DeliverMessage(Side side, std::string message, bool counted);
  void EndStream(Side side, Status status);
  void DestroyLater(End& end);
  void DetachIfDone();
  runtime::CallInfo MakeInfo(Instant deadline) const;

  Instant deadline_ = kFarFuture;  // in world time
  std::string watched_request_;    // of a call, while somebody watches
  bool opening_ = false;           // inside Service::OnStream
  bool dropped_while_opening_ = false;
};

// What the owner of a stream's end holds.
class SimStream final : public runtime::Stream {
 public:
  SimStream(std::shared_ptr<SimConnection> connection, SimConnection::Side side)
      : connection_(std::move(connection)), side_(side) {}
  ~SimStream() override { connection_->Drop(side_); }
  void Send(std::string message) override { connection_->Send(side_, std::move(message)); }
  size_t buffered_bytes() const override { return connection_->buffered(side_); }
  void Close(Status status) override { connection_->Close(side_, std::move(status)); }

 private:
  const std::shared_ptr<SimConnection> connection_;
  const SimConnection::Side side_;
};

class SimNetworkView final : public runtime::Network {
 public:
  SimNetworkView(SimNetwork& network, std::shared_ptr<SimViewState> state)
      : network_(network), state_(std::move(state)) {}
  ~SimNetworkView() override;
  void Call(const Endpoint& to, std::string_view method, std::string request, Duration timeout,
            Callback<StatusOr<std::string>> done) override;
  std::unique_ptr<runtime::Stream> OpenStream(const Endpoint& to, std::string_view method,
                                              runtime::StreamHandler& handler,
                                              runtime::StreamOptions options) override;
  void Serve(std::string_view service_name, runtime::Service& service) override;

 private:
  SimNetwork& network_;
  const std::shared_ptr<SimViewState> state_;
};

}  // namespace tenure::sim
