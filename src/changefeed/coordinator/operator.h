// One change of a changefeed's owner, as a state machine: add, move, stop (pause), remove.
//
//   add:                    COMMIT -> BARRIER -> START -> DONE
//   move:     END_ORIGIN -> COMMIT -> BARRIER -> START -> DONE
//   stop:                   COMMIT -> BARRIER -> CLOSE -> DONE
//   remove:                 COMMIT -> BARRIER -> CLOSE -> DROP_RECORD -> DONE
//
// COMMIT writes the new epoch with its owner (or none) to the record, under the old epoch as the condition.
// BARRIER waits until every node has that revision in its view or is fenced. START sends `add`, CLOSE sends
// `remove`, until they are answered or the process is gone. When the target is lost, the operator waits for
// another one and takes a new epoch for it.
//
// Driven by OperatorSlot: Next() says what is to be done now and does not change anything; events move it on.
// An event that is not waited for is passed over, so what comes late or twice does no harm.
// Threading:  one owner. Nothing of it is persistent: a new leader begins from record and reports
//             (bootstrap.h).
// Invariants: O1 `add` leaves only after the barrier of its epoch.
//             O2 a move starts nobody while its origin may run.
//             O3 only (target, epoch) of now ends START: a late report of an earlier target does not.
//             O4 `add` goes to the owner that was committed with its epoch.
#pragma once

#include <optional>
#include <string_view>

#include "changefeed/protocol/acceptance.h"

namespace tenure::changefeed {

// In the order of their weight: a later one beats an earlier one.
enum class OperatorKind : uint8_t { kAdd, kMove, kStop, kRemove };
std::string_view NameOf(OperatorKind kind);

// A maintainer that runs, or may run.
struct Running {
  Process process;
  OwnerEpoch epoch;
  friend bool operator==(const Running&, const Running&) = default;
};

class Operator {
 public:
  enum class Step : uint8_t { kEndOrigin, kCommit, kBarrier, kStart, kClose, kDropRecord, kDone };

  // What is to be done now. Repeated until an event moves the operator on; all of it is idempotent.
  struct Action {
    enum class Kind : uint8_t {
      kNone,
      kChooseTarget,
      kSendRemove,
      kCommit,
      kAwaitBarrier,
      kSendAdd,
      kDropRecord
    };
    Kind kind = Kind::kNone;
    Process process;   // kSendRemove, kSendAdd; kCommit: the owner, none for a stop
    OwnerEpoch epoch;  // kSendRemove, kSendAdd, kAwaitBarrier; kCommit: the least that the new epoch may be
    CommitTs checkpoint;    // kCommit: the final one of the origin; none: as recorded
    bool removing = false;  // kCommit: the record says REMOVING from then on
    friend bool operator==(const Action&, const Action&) = default;
  };

  // `id` is never used twice in a leadership. `origin`: what may run now; none: nothing does. `target`: for
  // add and move. `floor`: the highest epoch anybody was heard of with.
  Operator(uint64_t id, OperatorKind kind, std::optional<Running> origin, Process target, OwnerEpoch floor);

  Action Next() const;

  // `owner`: as it was proposed, which may be a target that was lost meanwhile: then it is done again.
  void OnCommitted(OwnerEpoch epoch, Process owner);
  // The record has a higher epoch than was thought.
  void OnCommitConflict(OwnerEpoch stored);
  void OnBarrierPassed(OwnerEpoch epoch);
  void OnStarted(const Running& running);
  // The process does not take `add` of this epoch and never will.
  void OnStartRefused(const Running& running, OwnerEpoch receiver_epoch);
  void OnEnded(const Running& running, CommitTs final_checkpoint);
  // Its process has ended, or its node is fenced for certain: nothing of it writes any more.
  void OnProcessGone(const Process& process);
  void OnRecordDropped();
  // Another target; in one step, so that no report of the old one counts any more. Add and move.
  void Retarget(Process target);

  uint64_t id() const { return id_; }
  OperatorKind kind() const { return kind_; }
  Step step() const { return step_; }
  bool done() const { return step_ == Step::kDone; }
  Process target() const { return target_; }
  CommitTs final_checkpoint() const { return final_checkpoint_; }
  // What may run at this moment, for the operator that beats this one.
  std::optional<Running> MayRun() const;
  OwnerEpoch floor() const { return floor_; }

 private:
  bool starts() const { return kind_ == OperatorKind::kAdd || kind_ == OperatorKind::kMove; }
  void AfterClose();
  void TakeFinal(CommitTs checkpoint);

  uint64_t id_;
  OperatorKind kind_;
  Step step_;
  std::optional<Running> origin_;
  Process target_;  // none: to be chosen
  OwnerEpoch floor_;
  OwnerEpoch epoch_;  // that was committed; none before
  CommitTs final_checkpoint_;
};

// The one operator of a changefeed. A request is weighed against the running one.
class OperatorSlot {
 public:
  struct Request {
    OperatorKind kind = OperatorKind::kAdd;
    Process target;
  };
  enum class Verdict : uint8_t { kBegun, kJoined, kRetargeted, kReplaced, kRefused };

  // `running`, `floor`: as known when no operator runs; else the running one knows better.
  Verdict Begin(const Request& request, std::optional<Running> running, OwnerEpoch floor);
  bool busy() const { return operator_.has_value() && !operator_->done(); }
  Operator* current() { return busy() ? &*operator_ : nullptr; }
  // Of a commit or barrier: null if that operator has been replaced.
  Operator* WithId(uint64_t id) { return busy() && operator_->id() == id ? &*operator_ : nullptr; }

 private:
  std::optional<Operator> operator_;
  uint64_t next_id_ = 1;
};

}  // namespace tenure::changefeed
