// One node's side of the ownership of one changefeed: which maintainer may run here, which dispatchers, and
// whether a dispatcher may write now. It says what is to be stopped; stopping, reading and writing are
// others' work.
//
//   absent --bootstrap--> booted by epoch E --schedule--> dispatchers of E --close / higher epoch-->
//   tombstone
//
// Driven by the node's changefeed agent with every message, every change of the view and of the lease. The
// agent stops what is returned in `stop` before it sends the answer.
// Threading:  one owner.
// Lifetime:   of the process; a new process begins with an empty gate, fenced.
// Reference:  docs/changefeeds.md, "Epochs"; the model of ownership there.
// Invariants: G1 a message counts only for the epoch in the view.
//             G2 a maintainer starts at most once per epoch.
//             G3 what was taken of an epoch's sequence is remembered through fencing.
//             G4 nobody writes without a lease, or in another epoch than the view's.
//             G5 the view never goes back.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "changefeed/protocol/acceptance.h"

namespace tenure::changefeed {

class OwnerGate {
 public:
  // `self` has registered: incarnations are known from here on.
  explicit OwnerGate(Process self) : self_(self) {}

  // What the agent does with a message: answers with `decision` after it has stopped what is named.
  struct Outcome {
    Decision decision;
    bool stop_maintainer = false;
    std::vector<SpanId> stop;  // dispatchers, ascending
  };

  // --- the catalog and the lease ---
  // The changefeed's record in the view: `owner` is none when it is stopped.
  Outcome OnView(OwnerEpoch epoch, Process owner);
  // The lease ended: maintainer and dispatchers stop. What was taken stays known.
  Outcome OnFenced();
  // With the view that was pulled; OnView has been called with it.
  void OnUnfenced() { fenced_ = false; }
  void set_members_without_epochs(bool allowed) { members_without_epochs_ = allowed; }

  // --- messages ---
  Outcome OnAddMaintainer(const Claim& claim);
  Outcome OnRemoveMaintainer(const Claim& claim);
  Outcome OnBootstrap(const Claim& claim);
  // Of PostBootstrap: stops what was created up to `sequence`, when the plan was made, and is not in `plan`.
  Outcome OnPlan(const Claim& claim, Incarnation meant_for, ScheduleSequence sequence,
                 const std::vector<SpanId>& plan);
  Outcome OnCreate(const Claim& claim, Incarnation meant_for, ScheduleSequence sequence, SpanId span);
  Outcome OnRemove(const Claim& claim, Incarnation meant_for, ScheduleSequence sequence, SpanId span);
  Outcome OnClose(const Claim& claim);
  // Of messages that start nothing: whether they are of the epoch that has booted this node.
  Decision OnMessage(const Claim& claim);
  // The stop of `epoch` is recorded in the catalog: its tombstone is not needed any more.
  void ForgetTombstone(OwnerEpoch epoch);

  // The maintainer ended by itself: it never runs again in its epoch.
  void OnMaintainerEnded() { maintainer_ = OwnerEpoch(); }
  // A dispatcher ended by itself.
  void OnDispatcherEnded(SpanId span) { dispatchers_.erase(span); }

  // The last step before the wire, beside the lease's own clock.
  bool MayWrite(SpanId span) const;
  // Epoch of the maintainer that runs here; none: none runs.
  OwnerEpoch maintainer() const { return maintainer_; }
  struct Dispatcher {
    OwnerEpoch epoch;
    ScheduleSequence sequence;  // of its create
  };
  const std::map<SpanId, Dispatcher>& dispatchers() const { return dispatchers_; }
  ScheduleSequence taken() const { return taken_; }
  OwnerEpoch view() const { return view_; }
  bool fenced() const { return fenced_; }

 private:
  Standing StandingNow() const;
  // The rules that all messages share: lease, epoch, owner.
  Decision Judge(const Claim& claim);
  Outcome JudgeSchedule(const Claim& claim, Incarnation meant_for, ScheduleSequence sequence);
  void StopDispatchers(OwnerEpoch below, Outcome& outcome);
  void StopMaintainer(Outcome& outcome);
  Outcome Close(const Claim& claim, bool maintainer_too);

  Process self_;
  LeadershipEpoch leadership_;
  OwnerEpoch view_;
  Process view_owner_;
  bool fenced_ = true;
  bool members_without_epochs_ = false;
  std::optional<Standing::Held> held_;  // booted by, or tombstone
  ScheduleSequence taken_;
  OwnerEpoch maintainer_;
  OwnerEpoch started_;  // highest epoch of a maintainer that was started in this process
  std::map<SpanId, Dispatcher> dispatchers_;
};

}  // namespace tenure::changefeed
