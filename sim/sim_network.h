// The simulated network of all processes: unary calls and streams with delays, and everything that goes wrong
// with them. Keeps the contract of runtime/network.h, and promises no more than it.
//
// A host is one incarnation of a process under its address ("host:port", or any name for a process that only
// calls). A link is one direction between two addresses; its state acts on what arrives over it:
//  - blocked (a black hole): messages are held like TCP holds them. Unblocked in time they arrive; after
//  `keepalive`
//    the connection is given up: its streams and calls fail UNAVAILABLE on both sides, what was held is lost.
//  - a process that was killed resets its connections; one whose machine lost power says nothing (PowerOff).
//  - a call to an address where nobody listens is refused: UNAVAILABLE and WasNotSent.
//  - with lost_answers a call is executed and its caller told UNAVAILABLE; with lost_requests it is not
//  executed.
//  - loss, duplicates and reordering happen to streams opened `lossy` only.
//
// Threading:  one thread.
// Lifetime:   outlives all processes.
// Invariants: N1 messages of a stream that is not lossy arrive in order, without gaps and repetition, up to
//             the close.
//             N2 nothing is delivered to or sent by a dead process.
//             N3 a call's `done` runs at most once.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/function.h"
#include "base/prng.h"
#include "runtime/network.h"
#include "sim/sim_executor.h"

namespace tenure::sim {

using runtime::Endpoint;

struct SimLinkOptions {
  Duration min_delay = std::chrono::microseconds(50);
  Duration max_delay = std::chrono::microseconds(500);
  uint32_t loss_per_million = 0;       // lossy streams
  uint32_t duplicate_per_million = 0;  // lossy streams
  uint32_t reorder_per_million = 0;    // lossy streams: the message takes up to max_reorder longer
  Duration max_reorder = std::chrono::milliseconds(20);
  uint32_t lost_requests_per_million = 0;  // unary
  uint32_t lost_answers_per_million = 0;   // unary, on the link that the answer takes
};

// Sees the calls of all processes; of an answer only if it is none of the network. Inside of events.
class CallWatcher {
 public:
  virtual ~CallWatcher() = default;
  virtual void OnSent(const Endpoint& from, const Endpoint& to, std::string_view method,
                      const std::string& request) = 0;
  // The caller has the answer.
  virtual void OnAnswered(const Endpoint& to, std::string_view method, const std::string& request,
                          const std::string& answer) = 0;
};

struct SimHost;
struct SimConnection;
struct SimViewState;

class SimNetwork {
 public:
  SimNetwork(Scheduler& world, Prng prng, SimLinkOptions defaults = {});
  ~SimNetwork();
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  // Puts a process on the network, listening, until it dies. One living process per address.
  void AddHost(SimProcess& process, const Endpoint& address);
  // A view for one executor of a process that is on the network.
  std::unique_ptr<runtime::Network> MakeView(SimProcess& process, SimExecutor& executor);

  // --- faults ---
  void SetDefaults(SimLinkOptions options);  // of all links, also those set before
  void SetLink(const Endpoint& from, const Endpoint& to, SimLinkOptions options);
  void Block(const Endpoint& from, const Endpoint& to);    // one way
  void Unblock(const Endpoint& from, const Endpoint& to);  // one way
  // Both ways between every member of one side and every member of the other.
  void Partition(const std::vector<Endpoint>& side, const std::vector<Endpoint>& other);
  void HealAll();
  bool blocked(const Endpoint& from, const Endpoint& to) const;
  // Of a link, as it is now.
  const SimLinkOptions& OptionsOf(const Endpoint& from, const Endpoint& to) const;
  // Resets all connections between two addresses: streams end and calls fail UNAVAILABLE.
  void BreakConnections(const Endpoint& a, const Endpoint& b);
  // The machine at `address` loses power with the next SimProcess::Kill: its peers are not told.
  void PowerOff(const Endpoint& address);

  // How long a connection survives silence.
  void set_keepalive(Duration min, Duration max) { min_keepalive_ = min, max_keepalive_ = max; }

  // Null: nobody. Outlives this, or is taken away.
  void SetWatcher(CallWatcher* watcher) { watcher_ = watcher; }

  Scheduler& world() { return world_; }

 private:
  friend struct SimHost;
  friend class SimNetworkView;
  friend class SimStream;
  friend struct SimConnection;

  struct Link {
    SimLinkOptions options;
    std::string name;
    Scheduler::Label label;
    bool blocked = false;
    bool given_up = false;  // blocked for longer than connections live
    uint64_t epoch = 0;     // counts changes of `blocked`
    std::vector<Closure> held;
  };
  Link& LinkOf(const Endpoint& from, const Endpoint& to);
  Duration DrawDelay(const Link& link);
  bool Chance(uint32_t per_million) { return prng_.Chance(per_million, 1'000'000); }
  // Runs `arrive` when a message sent now arrives, not before `not_before`; returns when that is.
  Instant Transmit(Link& link, Instant not_before, Closure arrive);
  void Arrive(Link& link, Closure arrive);
  void GiveUp(const Endpoint& from, const Endpoint& to, uint64_t epoch);
  // True if the pair has been cut so long that a new connection is not made either.
  bool Dead(const Endpoint& a, const Endpoint& b);
  SimHost* HostAt(const Endpoint& address);
  void OnKilled(const std::shared_ptr<SimHost>& host);
  void AddConnection(const std::shared_ptr<SimConnection>& connection);
  void RemoveConnection(uint64_t id) { connections_.erase(id); }
  // The ends (connection, side) whose view is selected, in order of creation.
  std::vector<std::pair<std::shared_ptr<SimConnection>, int>> EndsOn(
      const std::function<bool(const SimViewState&)>& selects) const;
  std::vector<std::shared_ptr<SimConnection>> ConnectionsOf(const Endpoint& a, const Endpoint& b);

  Scheduler& world_;
  Prng prng_;
  CallWatcher* watcher_ = nullptr;
  SimLinkOptions defaults_;
  Duration min_keepalive_ = std::chrono::seconds(5);
  Duration max_keepalive_ = std::chrono::seconds(8);
  std::map<std::pair<Endpoint, Endpoint>, Link> links_;
  std::map<Endpoint, std::shared_ptr<SimHost>> hosts_;
  std::map<const SimProcess*, std::shared_ptr<SimHost>> by_process_;  // lint: allow(pointer) looked up only
  std::set<Endpoint> powered_off_;
  // Everything that lives on a connection: calls and streams, by their number.
  std::map<uint64_t, std::shared_ptr<SimConnection>> connections_;
  uint64_t next_connection_ = 1;
};

}  // namespace tenure::sim
