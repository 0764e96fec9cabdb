// One changefeed on the leading controller: what its record, its maintainer and the nodes say goes in; the
// operator and the lifecycle (changefeed/coordinator/) decide; what they want is done here, one action at a
// time.
//
//   record, reports, time --> Lifecycle --> what should run --> OperatorSlot --> commit, barrier, add, remove
//
// Driven by ChangefeedCoordinator: Look() after everything that may matter, and every now and then.
// Threading:  the controller's executor.
// Lifetime:   of one leadership. Tasks hold it by shared_ptr, and do nothing with it after End().
// Errors:     what fails is tried again; what it waits for stands in pending().
// Invariants: D1 every change of the record names the owner epoch it relies on.
//             D2 an action's result counts for the operator that wanted it, or for none.
//             D3 nothing is begun before it is known what the leaderships before left (PlanBootstrap).
//             D4 a stop is complete after a barrier of this leadership: one that the leader before recorded
//             may not be known to every node.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/prng.h"
#include "changefeed/coordinator/bootstrap.h"
#include "changefeed/coordinator/lifecycle.h"
#include "changefeed/coordinator/operator.h"
#include "controller/barriers/barrier_service.h"
#include "controller/catalog_access.h"
#include "controller/changefeeds/change_history.h"
#include "controller/changefeeds/node_calls.h"
#include "runtime/task.h"

namespace tenure::controller {

struct FeedOptions {
  Duration backoff_min = std::chrono::seconds(10);
  Duration backoff_max = std::chrono::minutes(10);
  Duration give_up_after = std::chrono::minutes(30);
  Duration persist_every = std::chrono::seconds(2);       // of checkpoints; states are written at once
  Duration retry_after = std::chrono::milliseconds(500);  // of an action that came to nothing
  Duration silent_after = std::chrono::seconds(5);        // a maintainer that does not report is asked
  Duration balance_every = std::chrono::seconds(10);
};

// What all changefeeds of a leadership work with.
struct FeedSurroundings {
  runtime::Executor& executor;
  CatalogAccess& access;
  BarrierService& barriers;
  NodeCalls& nodes;
  ChangeHistory& history;
  runtime::TaskScope& scope;
  const FeedOptions& options;
};

class FeedDriver : public std::enable_shared_from_this<FeedDriver> {
 public:
  FeedDriver(FeedSurroundings surroundings, changefeed::ChangefeedId id, Term epoch, runtime::StopToken stop,
             Prng prng, Logger logger);

  // Something may have changed. `evidence`: what nodes said that they run.
  void Look(const changefeed::BootstrapEvidence& evidence);
  // The leadership is over, or the record is gone.
  void End() { ended_ = true; }

  ::tenure::internal::v1::ChangefeedAnswer OnProgress(
      const ::tenure::internal::v1::MaintainerProgress& progress);
  // Asked for by people, by balance or by a drain. CONDITION_FAILED naming the state, or the operator under
  // way.
  Status Move(const changefeed::Process& target);

  // Of its maintainer, as known; none: nothing runs.
  std::optional<changefeed::Running> running() const { return running_; }
  // Where it runs, or is about to; none: nowhere.
  NodeId place() const;
  bool busy() const { return slot_.busy(); }
  bool settled() const { return bootstrapped_ && !slot_.busy() && !preparing_; }
  // What is under way, and what it waits for, for people; empty: nothing.
  std::string pending() const;
  changefeed::CommitTs checkpoint() const {
    return lifecycle_ ? lifecycle_->checkpoint() : changefeed::CommitTs();
  }
  uint64_t rows_per_second() const { return rows_per_second_; }
  // As reported last; none while nothing runs, or before the first report of what runs.
  std::optional<uint64_t> rows_behind() const { return running_ ? rows_behind_ : std::nullopt; }

 private:
  using Action = changefeed::Operator::Action;

  const ::tenure::v1::Record* Find() const;
  void SyncLifecycle(const ::tenure::v1::ChangefeedRecord& feed);
  // True once it is known what runs, and nothing else does.
  bool Bootstrap(const ::tenure::v1::ChangefeedRecord& feed, const changefeed::BootstrapEvidence& evidence);
  void LookForLost();
  void Persist(const ::tenure::v1::ChangefeedRecord& feed);
  void Decide(const ::tenure::v1::ChangefeedRecord& feed);
  void Begin(changefeed::OperatorKind kind, changefeed::Process target);
  changefeed::Process Choose() const;
  // It was stopped in an earlier leadership, and it is not known yet that nobody writes any more.
  bool AwaitsStop(const ::tenure::v1::ChangefeedRecord& feed) const;
  void Act();
  void Finished(changefeed::Operator& ended);
  void LookSoon();

  runtime::Task<void> Prepare(uint64_t database, uint64_t requested);
  runtime::Task<void> ConfirmStop(Revision revision);
  // Does what operator `id` wants; `number` tells it from later actions.
  runtime::Task<void> Run(uint64_t number, uint64_t id, Action action);
  runtime::Task<Status> Commit(uint64_t id, Action action);
  runtime::Task<Status> Barrier(uint64_t id, Action action);
  runtime::Task<Status> SendAdd(uint64_t id, Action action);
  runtime::Task<Status> SendRemove(uint64_t id, Action action);
  runtime::Task<Status> DropRecord(uint64_t id, Action action);
  runtime::Task<void> Write(::tenure::internal::v1::ProgressChangefeed progress);
  runtime::Task<void> StopStale(changefeed::Running running);
  runtime::Task<void> Probe(changefeed::Running running);
  runtime::Task<StatusOr<::tenure::internal::v1::CatalogResult>> Propose(
      ::tenure::internal::v1::CatalogCommand command);
  changefeed::Operator* Mine(uint64_t id) { return ended_ ? nullptr : slot_.WithId(id); }
  ::tenure::internal::v1::AddMaintainer AddMessage(const changefeed::Running& running) const;

  FeedSurroundings with_;
  const changefeed::ChangefeedId id_;
  const Term epoch_;
  const runtime::StopToken stop_;
  Prng prng_;
  Logger logger_;
  bool ended_ = false;

  std::optional<changefeed::Lifecycle> lifecycle_;
  std::optional<changefeed::FeedState> seen_;     // in the record, at the last look
  std::optional<changefeed::FeedState> written_;  // by this driver, last
  changefeed::OwnerEpoch reported_;               // under which the checkpoint was reported
  changefeed::OperatorSlot slot_;
  uint64_t finished_ = 0;  // the operator whose end was seen last
  std::optional<changefeed::Running> running_;
  changefeed::OwnerEpoch floor_;
  bool bootstrapped_ = false;
  std::vector<changefeed::Process> confirmed_;  // that they stopped what was not adopted
  std::vector<changefeed::Running> stopping_;   // that are being told
  bool preparing_ = false;
  bool confirming_ = false;
  bool stop_confirmed_ = false;  // by a stop or a barrier of this leadership
  bool writing_ = false;
  bool probing_ = false;
  uint64_t rows_per_second_ = 0;
  std::optional<uint64_t> rows_behind_;
  uint64_t snapshot_rows_ = 0;  // reported in the epoch of `reported_`
  Instant last_heard_;          // of the maintainer that runs
  Instant last_persisted_;
  // The action under way, and of which operator; 0: the next one may begin.
  uint64_t acting_ = 0;
  uint64_t last_action_ = 0;
  uint64_t acting_for_ = 0;
  Action acting_action_;
  Instant act_after_;
  Revision committed_;  // of the present operator's epoch
  std::string obstacle_;
};

}  // namespace tenure::controller
