// Answers when every node serves from a revision of the catalog or a later one, or certainly serves nothing.
//
//   waiting --no node is UNSAFE, and the leader lease is held--> PROCEED
//      |----the budget is spent--> FAIL, naming the nodes
//      |----the epoch ends--> NOT_LEADER
//
// What a node is to a barrier decides planner/barrier_verdict.h from the contacts of this leadership, which
// are looked at whenever one of them changes, when a node registers or is removed, and at the moment at which
// silence alone makes the next node safe. A waiting barrier is a parked coroutine: it costs nothing and
// blocks nobody.
//
// Threading:  the controller's executor.
// Lifetime:   whoever awaits Pass has ended before this is destroyed.
// Errors:     INVALID_ARGUMENT: the revision is none that this leader has applied. NOT_LEADER: the leadership
//             ended, nothing is known. CANCELLED: the caller stopped. A spent budget is an outcome, not an
//             error.
// Invariants: B1 a verdict counts only if the leader lease is held at a moment after its evidence was read.
//             B2 the nodes are those of the catalog at the moment of the verdict.
//             B3 at that moment no node serves a request from an older view, and none will.
// Reference:  docs/fencing.md.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/log.h"
#include "controller/api/watch_hub.h"
#include "controller/catalog_access.h"
#include "controller/catalog_machine.h"
#include "controller/leadership/leader_service.h"
#include "controller/nodes/agent_service.h"
#include "planner/barrier_verdict.h"
#include "runtime/awaitables.h"
#include "runtime/executor.h"
#include "runtime/task.h"
#include "tenure/v1/cluster.pb.h"

namespace tenure::controller {

struct BarrierOutcome {
  bool proceeded = false;
  Revision revision;
  Duration waited{};
  struct Node {
    planner::BarrierEvidence evidence;
    planner::Disposition disposition;
  };
  std::vector<Node> nodes;  // as the verdict saw them
};
// "node 3 (acknowledged revision 17, silent for 2000 ms)", of those that are UNSAFE.
std::string Obstacles(const BarrierOutcome& outcome);

// Sees what proceeds, for checkers outside the product (the simulator's). Must not call back.
class BarrierTrace {
 public:
  virtual ~BarrierTrace() = default;
  virtual void OnProceeded(Revision revision) = 0;
};

struct BarrierNumbers {
  uint64_t proceeded = 0;
  uint64_t failed = 0;
  uint64_t waiting = 0;
  Duration waited{};               // of those that have ended, all together
  std::set<uint64_t> waiting_for;  // nodes
};

class BarrierService : public LeaderService, public CatalogListener {
 public:
  BarrierService(runtime::Executor& executor, CatalogAccess& access, AgentService& agents, WatchHub& watches,
                 BarrierTrace* trace, Logger logger);
  ~BarrierService() override;

  // Waits until the barrier for `revision` proceeds, at most `budget`; zero: DefaultBudget().
  runtime::Task<StatusOr<BarrierOutcome>> Pass(Revision revision, Duration budget, runtime::StopToken stop);
  // T_proceed and five seconds; if silence proves nothing, as if it did.
  Duration DefaultBudget() const;
  // What the verdict would be now, without waiting for it.
  BarrierOutcome Look(Revision revision) const;

  BarrierNumbers Numbers() const;
  std::vector<::tenure::v1::BarrierStatus> Waiting() const;

  // LeaderService
  std::string_view name() const override { return "barriers"; }
  runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) override;
  void Stop() override;
  // CatalogListener
  void OnCatalogChanged(const std::vector<::tenure::v1::Event>& events, Revision applied) override;
  void OnCatalogReset(Revision) override {}

 private:
  struct Waiter {
    Waiter(runtime::Executor& executor, BarrierOutcome outcome_in, Instant since_in)
        : outcome(std::move(outcome_in)), since(since_in), ended(executor) {}
    BarrierOutcome outcome;
    Instant since;
    bool leadership_ended = false;
    runtime::Event ended;
    runtime::Timer budget;
    std::list<Waiter*>::iterator position;
  };

  void LookLater();
  void LookAtAll();
  void End(Waiter& waiter, bool proceeded);
  void ConfirmLeadership();
  std::vector<planner::BarrierEvidence> EvidenceFor(Revision revision, Instant now) const;

  runtime::Executor& executor_;
  CatalogAccess& access_;
  AgentService& agents_;
  WatchHub& watches_;
  BarrierTrace* const trace_;
  Logger logger_;

  Term epoch_;                  // none while stopped
  std::list<Waiter*> waiters_;  // lint: allow(pointer) by revision; owned by the frames that wait
  runtime::Timer next_fenced_;  // the next moment at which looking may help without any news
  bool look_posted_ = false;
  bool confirming_ = false;
  BarrierNumbers numbers_;
  std::shared_ptr<BarrierService*> self_;  // null inside once this is gone
};

}  // namespace tenure::controller
