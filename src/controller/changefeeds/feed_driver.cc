#include "controller/changefeeds/feed_driver.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "catalog/refusal.h"
#include "catalog/state_moves.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
using changefeed::Acceptance;
using changefeed::BootstrapEvidence;
using changefeed::CommitTs;
using changefeed::FeedError;
using changefeed::FeedErrorCode;
using changefeed::FeedState;
using changefeed::Incarnation;
using changefeed::Lifecycle;
using changefeed::Operator;
using changefeed::OperatorKind;
using changefeed::OwnerEpoch;
using changefeed::Process;
using changefeed::Running;

namespace {

FeedState StateOf(pb::ChangefeedState state) {
  return static_cast<FeedState>(static_cast<int>(state) - 1);
}
pb::ChangefeedState ToProto(FeedState state) {
  return static_cast<pb::ChangefeedState>(static_cast<int>(state) + 1);
}

FeedError ErrorOf(const std::string& code, const std::string& message, uint64_t node) {
  return {.code = changefeed::FeedErrorCodeNamed(code).value_or(FeedErrorCode::kInternal),
          .message = message,
          .node = NodeId(node)};
}

std::optional<FeedError> FaultOf(const pb::ChangefeedRecord& feed) {
  if (!feed.has_fault()) return std::nullopt;
  return ErrorOf(feed.fault().code(), feed.fault().message(), feed.fault().node());
}

Process OwnerOf(const pb::ChangefeedRecord& feed) {
  if (feed.owner_node() == 0) return {};
  return {NodeId(feed.owner_node()), Incarnation(feed.owner_incarnation())};
}

template <class T>
bool Contains(const std::vector<T>& values, const T& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

std::string_view StepText(Operator::Step step) {
  switch (step) {
    case Operator::Step::kEndOrigin:
      return "ends the maintainer that runs";
    case Operator::Step::kCommit:
      return "commits a new epoch";
    case Operator::Step::kBarrier:
      return "waits until every node knows the new epoch";
    case Operator::Step::kStart:
      return "starts the maintainer";
    case Operator::Step::kClose:
      return "ends the maintainer";
    case Operator::Step::kDropRecord:
      return "drops the record";
    case Operator::Step::kDone:
      break;
  }
  return "is done";
}

}  // namespace

FeedDriver::FeedDriver(FeedSurroundings surroundings, changefeed::ChangefeedId id, Term epoch,
                       runtime::StopToken stop, Prng prng, Logger logger)
    : with_(surroundings),
      id_(id),
      epoch_(epoch),
      stop_(std::move(stop)),
      prng_(prng),
      logger_(std::move(logger)) {}

const pb::Record* FeedDriver::Find() const {
  const auto& feeds = with_.access.catalog().changefeeds();
  const auto found = feeds.find(id_.value());
  return found == feeds.end() ? nullptr : &found->second;
}

void FeedDriver::LookSoon() {
  with_.executor.Post([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self && !self->ended_ && self->bootstrapped_) self->Look({});
  });
}

void FeedDriver::Look(const BootstrapEvidence& evidence) {
  const pb::Record* record = Find();
  if (ended_ || record == nullptr) return;
  const pb::ChangefeedRecord& feed = record->changefeed();
  SyncLifecycle(feed);
  lifecycle_->Tick(with_.executor.Now(), with_.executor.WallNow());
  if (!Bootstrap(feed, evidence)) return;
  LookForLost();
  Persist(feed);
  Decide(feed);
  Act();
}

void FeedDriver::SyncLifecycle(const pb::ChangefeedRecord& feed) {
  const FeedState state = StateOf(feed.state());
  // What was written here comes back; anything else was asked for by somebody.
  const bool asked = lifecycle_ && state != seen_ && state != written_;
  seen_ = state;
  const changefeed::LifecycleOptions options{.backoff_min = with_.options.backoff_min,
                                             .backoff_max = with_.options.backoff_max,
                                             .give_up_after = with_.options.give_up_after,
                                             .stall_after = std::chrono::milliseconds(feed.stall_after_ms()),
                                             .gc_ttl = std::chrono::milliseconds(feed.gc_ttl_ms())};
  if (lifecycle_ && !asked) return lifecycle_->SetOptions(options);
  written_.reset();
  Lifecycle::Stored stored{.state = state,
                           .checkpoint = CommitTs(feed.checkpoint_ts()),
                           .error = FaultOf(feed),
                           .halted_at = WallFromMillis(feed.halted_at_ms())};
  if (lifecycle_) stored.checkpoint = std::max(stored.checkpoint, lifecycle_->checkpoint());
  lifecycle_.emplace(options, Prng(prng_.Next64()), std::move(stored), with_.executor.Now());
}

// ---- what earlier leaderships left ----

bool FeedDriver::Bootstrap(const pb::ChangefeedRecord& feed, const BootstrapEvidence& evidence) {
  const auto told = [this](const Running& running) {
    return Contains(stopping_, running) || Contains(confirmed_, running.process);
  };
  if (bootstrapped_) {
    // A node that was silent until now: what it runs is ended, unless it is what is to run.
    for (const auto& report : evidence.reports) {
      if (report.changefeed != id_ || report.running == running_ || told(report.running)) continue;
      if (const Operator* now = slot_.current(); now != nullptr && now->MayRun() == report.running) continue;
      floor_ = std::max(floor_, report.running.epoch);
      with_.scope.Spawn(StopStale(report.running));
    }
    return true;
  }
  BootstrapEvidence known = evidence;
  const Process owner = OwnerOf(feed);
  if (!owner.node.IsNone() && with_.nodes.IsGone(owner)) known.heard.push_back(owner);
  const auto plan = changefeed::PlanBootstrap(
      {.changefeed = id_, .epoch = OwnerEpoch(feed.owner_epoch()), .owner = owner}, known);
  floor_ = std::max(floor_, plan.floor);
  for (const Running& stale : plan.stop) {
    if (!told(stale)) with_.scope.Spawn(StopStale(stale));
  }
  for (const Process& process : plan.await) {
    if (Contains(confirmed_, process) || with_.nodes.IsGone(process)) continue;
    obstacle_ = fmt::format("waits for {}, which may run it", process);
    return false;
  }
  obstacle_.clear();
  bootstrapped_ = true;
  if (plan.adopt) {
    running_ = plan.adopt;
    last_heard_ = with_.executor.Now();
    logger_.Info("changefeed {} ('{}') goes on at {}, epoch {}", id_, feed.name(), running_->process,
                 running_->epoch);
  }
  return true;
}

runtime::Task<void> FeedDriver::StopStale(Running running) {
  const auto self = shared_from_this();
  stopping_.push_back(running);
  ipb::ChangefeedMessage message;
  auto& remove = *message.mutable_remove_maintainer();
  *remove.mutable_sender() = with_.nodes.Sender(epoch_);
  remove.set_owner_epoch(running.epoch.value());
  remove.set_changefeed(id_.value());
  const auto answer = co_await with_.nodes.Deliver(running.process.node, std::move(message), stop_);
  if (ended_) co_return;
  std::erase(stopping_, running);
  if (answer.ok() && answer->has_removed_maintainer()) confirmed_.push_back(running.process);
  LookSoon();
}

// ---- what is heard ----

void FeedDriver::LookForLost() {
  if (running_ && with_.nodes.IsGone(running_->process)) {
    logger_.Info("changefeed {}: {} is gone, or has certainly no lease", id_, running_->process);
    lifecycle_->OnProgress(with_.executor.Now(), CommitTs(),
                           fmt::format("its maintainer was lost with {}", running_->process),
                           running_->process.node);
    running_.reset();
  }
  Operator* now = slot_.current();
  if (now == nullptr) return;
  if (!now->target().node.IsNone() && with_.nodes.IsGone(now->target())) now->OnProcessGone(now->target());
  if (const auto may_run = now->MayRun(); may_run && with_.nodes.IsGone(may_run->process))
    now->OnProcessGone(may_run->process);
  Finished(*now);
}

ipb::ChangefeedAnswer FeedDriver::OnProgress(const ipb::MaintainerProgress& progress) {
  ipb::ChangefeedAnswer answer;
  *answer.mutable_sender() = with_.nodes.Sender(epoch_);
  answer.set_changefeed(id_.value());
  const auto say = [&answer](Acceptance acceptance) {
    answer.set_acceptance(static_cast<ipb::ChangefeedAcceptance>(acceptance));
    return answer;
  };
  const pb::Record* record = Find();
  if (ended_ || record == nullptr) return say(Acceptance::kClosed);
  const pb::ChangefeedRecord& feed = record->changefeed();
  const Running claim{{NodeId(progress.sender().node()), Incarnation(progress.sender().incarnation())},
                      OwnerEpoch(progress.owner_epoch())};
  answer.set_owner_epoch(feed.owner_epoch());
  if (claim.epoch < OwnerEpoch(feed.owner_epoch())) return say(Acceptance::kStaleEpoch);
  if (claim.epoch > OwnerEpoch(feed.owner_epoch()) || claim.process != OwnerOf(feed)) {
    floor_ = std::max(floor_, claim.epoch);
    return say(Acceptance::kOtherOwner);
  }
  if (!bootstrapped_ || !lifecycle_) return say(Acceptance::kNotInView);
  if (Operator* now = slot_.current()) {
    now->OnStarted(claim);
    Finished(*now);
  } else {
    running_ = claim;
  }
  const Instant at = with_.executor.Now();
  last_heard_ = at;
  rows_per_second_ = progress.rows_per_second();
  rows_behind_ = progress.rows_behind();
  if (reported_ != claim.epoch) snapshot_rows_ = 0;
  reported_ = claim.epoch;
  lifecycle_->OnProgress(at, CommitTs(progress.checkpoint_ts()), progress.holding_back(), claim.process.node);
  if (progress.snapshot_rows() > snapshot_rows_) lifecycle_->OnSnapshotRows(at);
  snapshot_rows_ = progress.snapshot_rows();
  if (progress.has_error()) {
    lifecycle_->OnError(
        at, with_.executor.WallNow(),
        ErrorOf(progress.error().code(), progress.error().message(), progress.error().node()));
  }
  if (progress.finished()) lifecycle_->OnFinished();
  for (const Process& gone : with_.nodes.Gone()) {
    auto& entry = *answer.add_gone();
    entry.set_node(gone.node.value());
    entry.set_incarnation(gone.incarnation.value());
  }
  LookSoon();
  return say(Acceptance::kContinue);
}

// ---- the record ----

void FeedDriver::Persist(const pb::ChangefeedRecord& feed) {
  if (writing_) return;
  const Instant now = with_.executor.Now();
  const Lifecycle::Stored& stored = lifecycle_->stored();
  ipb::ProgressChangefeed progress;
  progress.set_changefeed(feed.id());
  progress.set_if_epoch(feed.owner_epoch());
  const bool state_differs = stored.state != StateOf(feed.state());
  const auto recorded = FaultOf(feed);
  const bool halted = stored.state == FeedState::kPaused || stored.state == FeedState::kFailed;
  const bool given_up = halted && !lifecycle_->HistoryFloor() && !feed.history_given_up();
  const bool due = now >= last_persisted_ + with_.options.persist_every;
  const bool fault_differs = due && stored.state != FeedState::kPaused && stored.error != recorded;
  // A checkpoint is written in the epoch in which it was reported, or not at all.
  const bool ahead = reported_ == OwnerEpoch(feed.owner_epoch()) &&
                     stored.checkpoint > CommitTs(feed.checkpoint_ts()) && feed.start_ts() != 0;
  if (!state_differs && !given_up && !fault_differs && !(due && ahead)) return;
  if (ahead) progress.set_checkpoint_ts(stored.checkpoint.value());
  if (state_differs || fault_differs || given_up) {
    progress.set_state(ToProto(stored.state));
    if (stored.error) {
      pb::ChangefeedFault& fault = *progress.mutable_fault();
      fault.set_code(std::string(NameOf(stored.error->code)));
      fault.set_message(stored.error->message);
      fault.set_node(stored.error->node.value());
      fault.set_at_ms(ToMillis(with_.executor.WallNow()));
    }
  }
  progress.set_history_given_up(given_up);
  last_persisted_ = now;
  writing_ = true;
  with_.scope.Spawn(Write(std::move(progress)));
}

runtime::Task<StatusOr<ipb::CatalogResult>> FeedDriver::Propose(ipb::CatalogCommand command) {
  co_return co_await with_.access.ProposeAndWait(std::move(command), epoch_, stop_);
}

runtime::Task<void> FeedDriver::Write(ipb::ProgressChangefeed progress) {
  const auto self = shared_from_this();
  if (progress.state() != pb::CHANGEFEED_STATE_UNSPECIFIED) written_ = StateOf(progress.state());
  ipb::CatalogCommand command;
  *command.mutable_progress_changefeed() = std::move(progress);
  const auto result = co_await Propose(std::move(command));
  if (ended_) co_return;
  writing_ = false;
  if (!result.ok()) logger_.Debug("changefeed {}: not recorded: {}", id_, MessageOf(result.status()));
  LookSoon();
}

runtime::Task<void> FeedDriver::Prepare(uint64_t database, uint64_t requested) {
  const auto self = shared_from_this();
  // Nothing of before is asked for, although others' history may reach back further.
  auto asked =
      requested != 0 ? with_.history.BeginOf(database, stop_) : with_.history.ResolvedOf(database, stop_);
  const auto begin = co_await std::move(asked);
  if (ended_) co_return;
  preparing_ = false;
  act_after_ = with_.executor.Now() + with_.options.retry_after;
  const pb::Record* record = Find();
  if (record == nullptr || record->changefeed().start_ts() != 0) co_return;
  if (!begin.ok()) {
    obstacle_ = std::string(MessageOf(begin.status()));
    lifecycle_->OnProgress(with_.executor.Now(), CommitTs(), "it has not begun: " + obstacle_, NodeId());
    co_return;
  }
  obstacle_.clear();
  if (requested != 0 && *begin > CommitTs(requested)) {
    lifecycle_->OnError(
        with_.executor.Now(), with_.executor.WallNow(),
        {.code = FeedErrorCode::kHistoryGone,
         .message = fmt::format("start_ts {} is older than the history of changes, which begins "
                                "at {}",
                                requested, *begin)});
    LookSoon();
    co_return;
  }
  ipb::ProgressChangefeed progress;
  progress.set_changefeed(id_.value());
  progress.set_if_epoch(record->changefeed().owner_epoch());
  progress.set_start_ts(requested != 0 ? requested : begin->value());
  co_await Write(std::move(progress));
}

runtime::Task<void> FeedDriver::ConfirmStop(Revision revision) {
  const auto self = shared_from_this();
  const auto outcome = co_await with_.barriers.Pass(revision, Duration::zero(), stop_);
  if (ended_) co_return;
  confirming_ = false;
  stop_confirmed_ = outcome.ok() && outcome->proceeded;
  obstacle_ = outcome.ok() ? Obstacles(*outcome) : std::string(MessageOf(outcome.status()));
  if (stop_confirmed_) obstacle_.clear();
  act_after_ = with_.executor.Now() + (stop_confirmed_ ? Duration::zero() : with_.options.retry_after);
}

// ---- what should run ----

Process FeedDriver::Choose() const {
  std::map<NodeId, size_t> owned;
  for (const auto& [id, record] : with_.access.catalog().changefeeds()) {
    if (record.changefeed().owner_node() != 0) ++owned[NodeId(record.changefeed().owner_node())];
  }
  Process best;
  for (const Process& process : with_.nodes.Candidates()) {
    if (best.node.IsNone() || owned[process.node] < owned[best.node]) best = process;
  }
  return best;
}

void FeedDriver::Begin(OperatorKind kind, Process target) {
  const auto verdict = slot_.Begin({.kind = kind, .target = target}, running_, floor_);
  if (verdict != changefeed::OperatorSlot::Verdict::kBegun &&
      verdict != changefeed::OperatorSlot::Verdict::kReplaced)
    return;
  obstacle_.clear();
  stop_confirmed_ = false;
  acting_ = 0;
  act_after_ = with_.executor.Now();
  logger_.Info("changefeed {}: {} begins{}", id_, NameOf(kind),
               target.node.IsNone() ? "" : fmt::format(" with {}", target));
}

void FeedDriver::Decide(const pb::ChangefeedRecord& feed) {
  const Instant now = with_.executor.Now();
  if (feed.state() == pb::CHANGEFEED_REMOVING) return Begin(OperatorKind::kRemove, {});
  if (!catalog::WantsOwner(feed.state()) || !lifecycle_->WantsMaintainer(now)) {
    const Operator* under_way = slot_.current();
    if (running_ || feed.owner_node() != 0 ||
        (under_way != nullptr && under_way->kind() < OperatorKind::kStop))
      Begin(OperatorKind::kStop, {});
    if (AwaitsStop(feed) && now >= act_after_ && !std::exchange(confirming_, true))
      with_.scope.Spawn(ConfirmStop(Revision(Find()->modify_revision())));
    return;
  }
  if (!with_.access.leadership().load_ready() || now < act_after_) return;
  if (feed.start_ts() == 0) {
    if (preparing_ || writing_) return;
    preparing_ = true;
    with_.scope.Spawn(Prepare(feed.database(), feed.requested_start_ts()));
    return;
  }
  if (!slot_.busy() && !running_) return Begin(OperatorKind::kAdd, Choose());
  if (!slot_.busy() && !probing_ && now - last_heard_ > with_.options.silent_after) {
    probing_ = true;
    with_.scope.Spawn(Probe(*running_));
  }
}

bool FeedDriver::AwaitsStop(const pb::ChangefeedRecord& feed) const {
#ifdef TENURE_MUTANT_feed_stop_of_before_trusted
  return false;
#endif
  return !catalog::WantsOwner(feed.state()) && feed.owner_node() == 0 && !slot_.busy() && !stop_confirmed_;
}

Status FeedDriver::Move(const Process& target) {
  const pb::Record* record = Find();
  if (record == nullptr) return catalog::Refuse(pb::REASON_NOT_FOUND, "changefeed {} does not exist", id_);
  const pb::ChangefeedRecord& feed = record->changefeed();
  if (!catalog::WantsOwner(feed.state()) || !bootstrapped_ || feed.start_ts() == 0) {
    return catalog::Refuse(pb::REASON_CONDITION_FAILED, "changefeed '{}' is {}: it has no maintainer to move",
                           feed.name(),
                           !pending().empty() ? pending() : std::string(catalog::NameOf(feed.state())));
  }
  const Operator* now = slot_.current();
  if (now != nullptr && now->kind() >= OperatorKind::kStop) {
    return catalog::Refuse(pb::REASON_BUSY, "changefeed '{}': {}", feed.name(), pending());
  }
  if (now == nullptr && running_ && running_->process == target) {
    return catalog::Refuse(pb::REASON_CONDITION_FAILED, "changefeed '{}' runs on node {} already",
                           feed.name(), target.node);
  }
  Begin(running_ ? OperatorKind::kMove : OperatorKind::kAdd, target);
  LookSoon();
  return OkStatus();
}

NodeId FeedDriver::place() const {
  if (slot_.busy()) {
    const auto& target = const_cast<changefeed::OperatorSlot&>(slot_).current()->target();
    if (!target.node.IsNone()) return target.node;
  }
  return running_ ? running_->process.node : NodeId();
}

std::string FeedDriver::pending() const {
  const pb::Record* record = Find();
  if (record == nullptr) return "";
  const std::string why = obstacle_.empty() ? "" : ": " + obstacle_;
  if (!bootstrapped_) return "adopt" + why;
  if (slot_.busy()) {
    const Operator& now = *const_cast<changefeed::OperatorSlot&>(slot_).current();
    return fmt::format("{}: {}{}", NameOf(now.kind()), StepText(now.step()), why);
  }
  const pb::ChangefeedRecord& feed = record->changefeed();
  if (AwaitsStop(feed)) return fmt::format("stop: {}{}", StepText(Operator::Step::kBarrier), why);
  if (catalog::WantsOwner(feed.state()) && feed.start_ts() == 0) return "prepare" + why;
  if (catalog::WantsOwner(feed.state()) && !running_) {
    const Duration left = lifecycle_ ? lifecycle_->retry_at() - with_.executor.Now() : Duration::zero();
    return fmt::format("retry: in {} ms", std::max<int64_t>(0, ToMillis(left)));
  }
  return "";
}

// ---- actions ----

// An operator that has ended leaves what runs now. Called with every event that may end it: afterwards the
// slot is free, and does not give it away any more.
void FeedDriver::Finished(Operator& ended) {
  if (!ended.done() || finished_ == ended.id()) return;
  finished_ = ended.id();
  obstacle_.clear();
  floor_ = std::max(floor_, ended.floor());
  running_ = ended.MayRun();
  if (!running_) rows_behind_.reset();
  stop_confirmed_ = ended.kind() == OperatorKind::kStop;
  last_heard_ = with_.executor.Now();
  logger_.Info(
      "changefeed {}: {} is done{}", id_, NameOf(ended.kind()),
      running_ ? fmt::format(", it runs at {} under epoch {}", running_->process, running_->epoch) : "");
  const pb::Record* record = Find();
  if (record == nullptr || ended.final_checkpoint() <= CommitTs(record->changefeed().checkpoint_ts())) return;
  if (ended.kind() != OperatorKind::kStop) return;
  // How far it came counts, although it came after the commit.
  ipb::ProgressChangefeed progress;
  progress.set_changefeed(id_.value());
  progress.set_if_epoch(record->changefeed().owner_epoch());
  progress.set_checkpoint_ts(ended.final_checkpoint().value());
  with_.scope.Spawn(Write(std::move(progress)));
}

void FeedDriver::Act() {
  Operator* now = slot_.current();
  if (now == nullptr) return;
  Action action = now->Next();
  if (action.kind == Action::Kind::kChooseTarget) {
    const Process target = Choose();
    if (target.node.IsNone()) {
      obstacle_ = "no node is up, connected and not draining";
      return;
    }
    now->Retarget(target);
    action = now->Next();
  }
  if (action.kind == Action::Kind::kNone) return;
  if (acting_ != 0 && acting_for_ == now->id() && acting_action_ == action) return;
  if (with_.executor.Now() < act_after_ && acting_ == 0) return;
  acting_ = ++last_action_;
  acting_for_ = now->id();
  acting_action_ = action;
  with_.scope.Spawn(Run(acting_, now->id(), action));
}

runtime::Task<void> FeedDriver::Run(uint64_t number, uint64_t id, Action action) {
  const auto self = shared_from_this();
  Status status;
  switch (action.kind) {
    case Action::Kind::kCommit:
      status = co_await Commit(id, action);
      break;
    case Action::Kind::kAwaitBarrier:
      status = co_await Barrier(id, action);
      break;
    case Action::Kind::kSendAdd:
      status = co_await SendAdd(id, action);
      break;
    case Action::Kind::kSendRemove:
      status = co_await SendRemove(id, action);
      break;
    case Action::Kind::kDropRecord:
      status = co_await DropRecord(id, action);
      break;
    case Action::Kind::kNone:
    case Action::Kind::kChooseTarget:
      break;
  }
  if (ended_ || number != acting_) co_return;
  acting_ = 0;
  obstacle_ = status.ok() ? "" : std::string(MessageOf(status));
  act_after_ = with_.executor.Now() + (status.ok() ? Duration::zero() : with_.options.retry_after);
  LookSoon();
}

runtime::Task<Status> FeedDriver::Commit(uint64_t id, Action action) {
  const pb::Record* record = Find();
  if (record == nullptr) co_return OkStatus();
  const Process owner = action.process;
  ipb::CatalogCommand command;
  auto& set = *command.mutable_set_changefeed_owner();
  set.set_changefeed(id_.value());
  set.set_if_epoch(record->changefeed().owner_epoch());
  set.set_at_least(action.epoch.value());
  set.set_node(owner.node.value());
  set.set_incarnation(owner.incarnation.value());
  set.set_checkpoint_ts(action.checkpoint.value());
  const auto result = co_await Propose(std::move(command));
  if (ended_) co_return OkStatus();
  Operator* now = Mine(id);
  if (result.ok()) {
    committed_ = Revision(result->revision());
    floor_ = std::max(floor_, OwnerEpoch(result->owner_epoch()));
    if (now != nullptr) now->OnCommitted(OwnerEpoch(result->owner_epoch()), owner);
    co_return OkStatus();
  }
  record = Find();
  if (record != nullptr && now != nullptr)
    now->OnCommitConflict(OwnerEpoch(record->changefeed().owner_epoch()));
  co_return result.status();
}

runtime::Task<Status> FeedDriver::Barrier(uint64_t id, Action action) {
#ifndef TENURE_MUTANT_feed_add_before_barrier
  const auto outcome = co_await with_.barriers.Pass(committed_, Duration::zero(), stop_);
  if (ended_) co_return OkStatus();
  if (!outcome.ok()) co_return outcome.status();
  if (!outcome->proceeded) {
    co_return Error(StatusCode::kDeadlineExceeded, "not every node knows it, or is known to be fenced: {}",
                    Obstacles(*outcome));
  }
#endif
  if (Operator* now = Mine(id)) {
    now->OnBarrierPassed(action.epoch);
    Finished(*now);
  }
  co_return OkStatus();
}

ipb::AddMaintainer FeedDriver::AddMessage(const Running& running) const {
  ipb::AddMaintainer add;
  *add.mutable_sender() = with_.nodes.Sender(epoch_);
  add.set_owner_epoch(running.epoch.value());
  add.set_changefeed(id_.value());
  add.set_node(running.process.node.value());
  add.set_incarnation(running.process.incarnation.value());
  if (const pb::Record* record = Find()) {
    CommitTs start(record->changefeed().checkpoint_ts());
#ifndef TENURE_MUTANT_feed_start_of_record
    // With what the owner before reported and nobody has recorded: it will be, and the history up to it goes.
    start = std::max(start, checkpoint());
#endif
    add.set_checkpoint_ts(start.value());
    add.set_revision(record->modify_revision());
  }
  return add;
}

runtime::Task<Status> FeedDriver::SendAdd(uint64_t id, Action action) {
  const Running running{action.process, action.epoch};
  ipb::ChangefeedMessage message;
  *message.mutable_add_maintainer() = AddMessage(running);
  const auto answer = co_await with_.nodes.Deliver(action.process.node, std::move(message), stop_);
  if (ended_) co_return OkStatus();
  if (!answer.ok()) co_return answer.status();
  Operator* now = Mine(id);
  const auto acceptance = static_cast<Acceptance>(answer->answer().acceptance());
  if (now == nullptr) co_return OkStatus();
  if (changefeed::IsAccepted(acceptance)) {
    now->OnStarted(running);
    Finished(*now);
    co_return OkStatus();
  }
  if (changefeed::IsFinal(acceptance))
    now->OnStartRefused(running, OwnerEpoch(answer->answer().owner_epoch()));
  co_return Error(StatusCode::kFailedPrecondition, "{} answered {}", action.process, NameOf(acceptance));
}

runtime::Task<Status> FeedDriver::SendRemove(uint64_t id, Action action) {
  ipb::ChangefeedMessage message;
  auto& remove = *message.mutable_remove_maintainer();
  *remove.mutable_sender() = with_.nodes.Sender(epoch_);
  remove.set_owner_epoch(action.epoch.value());
  remove.set_changefeed(id_.value());
  const auto answer = co_await with_.nodes.Deliver(action.process.node, std::move(message), stop_);
  if (ended_) co_return OkStatus();
  if (!answer.ok()) co_return answer.status();
  const ipb::RemovedMaintainer& removed = answer->removed_maintainer();
  const auto acceptance = static_cast<Acceptance>(removed.acceptance());
  // One that knows a higher epoch has ended this one before.
  if (!changefeed::IsAccepted(acceptance) && acceptance != Acceptance::kStaleEpoch)
    co_return Error(StatusCode::kFailedPrecondition, "{} answered {}", action.process, NameOf(acceptance));
  floor_ = std::max(floor_, OwnerEpoch(removed.owner_epoch()));
  if (Operator* now = Mine(id)) {
    now->OnEnded({action.process, action.epoch}, CommitTs(removed.checkpoint_ts()));
    Finished(*now);
    if (running_ && running_->process == action.process && running_->epoch <= action.epoch) running_.reset();
  }
  co_return OkStatus();
}

runtime::Task<Status> FeedDriver::DropRecord(uint64_t id, Action) {
  const pb::Record* record = Find();
  if (record != nullptr) {
    ipb::CatalogCommand command;
    command.mutable_drop_changefeed()->set_changefeed(id_.value());
    command.mutable_drop_changefeed()->set_if_epoch(record->changefeed().owner_epoch());
    const auto result = co_await Propose(std::move(command));
    if (ended_) co_return OkStatus();
    if (!result.ok()) co_return result.status();
  }
  if (Operator* now = Mine(id)) {
    now->OnRecordDropped();
    Finished(*now);
  }
  co_return OkStatus();
}

// Whether a maintainer that does not report is still there: `add` is answered by it as a repetition.
runtime::Task<void> FeedDriver::Probe(Running running) {
  const auto self = shared_from_this();
  ipb::ChangefeedMessage message;
  *message.mutable_add_maintainer() = AddMessage(running);
  const auto answer = co_await with_.nodes.Deliver(running.process.node, std::move(message), stop_);
  if (ended_) co_return;
  probing_ = false;
  act_after_ = with_.executor.Now() + with_.options.retry_after;
  if (!answer.ok() || running_ != running) co_return;
  const auto acceptance = static_cast<Acceptance>(answer->answer().acceptance());
  if (!changefeed::IsFinal(acceptance)) co_return;
  logger_.Info("changefeed {}: its maintainer at {} has ended ({})", id_, running.process,
               NameOf(acceptance));
  floor_ = std::max(floor_, OwnerEpoch(answer->answer().owner_epoch()));
  running_.reset();
  LookSoon();
}

}  // namespace tenure::controller
