// One node, a succession of leaders, a clock that drifts and a network that loses, delays, repeats and
// reorders: docs/models/node_lease.pml and lease_length.pml, played by chance with the classes of the program
// - NodeLease and RequestFence on the node, NodeContacts and the verdict on the leaders, the settings' rules
// of the catalog.
//
// What the models take as given is given here too: the leader lease of an epoch has ended before the next
// epoch begins. A leader that has lost its lease may go on running, and may get it back while nobody follows
// it.
//
// Threading: one thread. A run is a function of its seed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.h"
#include "catalog/fencing.h"
#include "controller/leases/node_contacts.h"
#include "node/lease/request_fence.h"
#include "runtime/clock.h"

namespace tenure {

class LeaseWorld {
 public:
  explicit LeaseWorld(uint64_t seed);
  // Takes random steps; empty, or what was violated with the steps that led there.
  std::string Run(int steps);
  // What happened in this run, so that a test can tell that a world is not idle.
  struct Counts {
    uint64_t results = 0;
    uint64_t recoveries = 0;
    uint64_t barriers = 0;
    uint64_t fenced_safe = 0;  // of those, with a node that is silent
    uint64_t bounds = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  class NodeClock final : public runtime::Clock {
   public:
    Instant Now() const override { return now; }
    WallTime WallNow() const override { return {}; }
    Instant now{std::chrono::hours(1)};
  };
  struct Leader {
    bool alive = false;
    bool holds = false;  // the leader lease
    Revision applied;    // none until the first entry of its epoch is
    controller::NodeContacts contacts;
  };
  struct Heartbeat {
    controller::LeaseReport report;
    bool asks = true;  // for a grant: it is no notice
  };
  struct Grant {
    uint64_t process;  // run that the answer goes to
    node::LeaseGrant grant;
  };
  struct Request {
    node::ViewTicket ticket;
    Revision view;
  };

  Instant LeaderNow() const { return Instant(time_); }
  Leader& At(uint64_t epoch) { return leaders_[epoch]; }
  controller::NodeRecords Records() const;

  void Step();
  void Pass();
  void LeaderStep(uint64_t epoch);
  void NodeStep();
  void Elect();
  void Beat(bool notice);
  void Answer(Leader& leader, uint64_t epoch, const Heartbeat& heartbeat);
  void Take(const Grant& grant);
  void Pull(uint64_t epoch);
  void Restart();
  void BeginRequest();
  void EndRequest();
  void Judge(Leader& leader, uint64_t epoch);
  void Settings(Leader& leader);
  void Watch();
  void Say(std::string what);
  void Violated(const std::string& what);

  Prng prng_;
  Duration time_{std::chrono::hours(1)};  // of the leaders' clocks
  int64_t node_ppm_ = 0;

  // The catalog.
  Revision committed_{1};
  uint64_t epoch_ = 1;  // of the newest leader
  Revision proceeded_;
  catalog::Fencing fencing_;
  std::map<uint64_t, Leader> leaders_;

  // The node.
  NodeClock clock_;
  std::unique_ptr<node::RequestFence> fence_;
  uint64_t process_ = 1;  // which run; the registration
  uint64_t seen_ = 0;     // highest epoch
  Revision view_;         // held, whether or not it is served from
  std::vector<Request> requests_;

  // The network.
  std::vector<Heartbeat> heartbeats_;
  std::vector<Grant> grants_;
  struct Pulled {
    uint64_t process;
    Revision revision;
  };
  std::vector<Pulled> pulls_;

  Counts counts_;
  std::vector<std::string> story_;
  std::string violation_;
};

}  // namespace tenure
