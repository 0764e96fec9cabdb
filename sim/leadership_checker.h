// What must hold of the catalog's leadership, looked at from outside between events:
//
// - who says that it leads does so by its group, in the same term, and has applied an entry of it;
// - who decides by load has a sample of every member that could give one, or has waited as long as it must:
//   the tolerance, or one heartbeat round with a standby view that was young;
// - an epoch and its token end in the same moment, and what was heard in one does not count for the next;
// - whoever leads hears a node that runs, however long it takes to become ready: heartbeats wait for nothing.
//
// Threading: the simulation's thread, outside of events.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "base/ids.h"
#include "base/time.h"

namespace tenure::controller {
class Controller;
}

namespace tenure::sim {

class World;
struct Machine;

class LeadershipChecker {
 public:
  explicit LeadershipChecker(World& world) : world_(world) {}

  // Often: what it has not seen begin counts as begun at the last look.
  void Check();
  // Leaderships of which the load became ready.
  uint64_t ready() const { return ready_; }

 private:
  struct Seen {
    uint64_t boot = 0;
    Term epoch;
    Instant not_before{};  // its services were started then or later
    bool fresh_view = false;
    bool started = false;  // its services were
    bool ready = false;
  };
  // Notes which nodes a leader that begins now would wait for.
  void NoteExpected();
  void CheckEpoch(const Machine& machine, controller::Controller& controller);
  void CheckHeartbeats(const Machine& machine, controller::Controller& controller);
  void CheckReady(const Machine& machine, controller::Controller& controller, const Seen& seen);

  // A leader, and a node that it should hear.
  struct Unheard {
    uint64_t boots = 0;
    Term epoch;
    Instant since{};  // it was heard, or something was in the way, last
  };

  World& world_;
  std::map<std::pair<uint64_t, uint64_t>, Unheard> unheard_;  // by machines: of the leader, of the node
  std::map<uint64_t, Seen> seen_;                             // by machine
  std::map<uint64_t, Instant> wrong_since_;                   // by machine
  std::set<uint64_t> expected_;                               // nodes, at the last look
  Instant last_look_{};
  uint64_t ready_ = 0;
};

}  // namespace tenure::sim
