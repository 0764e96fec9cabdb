#include "controller/leadership/leadership.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/format.h"
#include "catalog/refusal.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
using runtime::StopToken;
using runtime::Task;

Leadership::Leadership(runtime::Executor& executor, ReplicaId self, const ControllerDirectory& directory,
                       LeadershipOptions options, Logger logger)
    : executor_(executor),
      self_(self),
      directory_(directory),
      options_(options),
      logger_(std::move(logger)),
      since_(executor.Now()),
      wake_(executor),
      service_changed_(executor),
      scope_(executor) {
  epoch_stop_.RequestStop();
  scope_.Spawn(RunTransitions());
}

Leadership::~Leadership() = default;

void Leadership::AddService(LeaderService& service) {
  slots_.push_back({.service = &service});
}

void Leadership::OnRoleChange(const raft::RoleChange& change, std::string_view cause) {
  const bool leads = change.role == raft::Role::kLeader;
  if (leading() && (!leads || change.term != epoch_)) {
    EndEpoch(
        leads ? fmt::format("re-elected in term {}", change.term)
              : fmt::format("no longer leader, term {}{}{}", change.term, cause.empty() ? "" : ": ", cause));
  }
  if (change.leader != leader_ || change.term != term_) since_ = executor_.Now();
  leader_ = change.leader;
  term_ = change.term;
#ifdef TENURE_MUTANT_leads_before_its_entry
  if (leads) OnServing(change.term);
#endif
}

void Leadership::OnLeaderSays(Term term, std::string phase, pb::WarmingUp warm_up) {
  if (term < said_term_) return;
  said_term_ = term;
  said_phase_ = phase.empty() ? "serving" : std::move(phase);
  said_warm_up_ = std::move(warm_up);
}

void Leadership::OnServing(Term term) {
  if (epoch_ == term || scope_.stop_requested()) return;
  if (leading()) EndEpoch(fmt::format("re-elected in term {}", term));
  epoch_ = term;
  leader_ = self_;
  serving_ = false;
  load_ready_ = readiness_ == nullptr;
  began_ = executor_.Now();
  epoch_stop_ = runtime::StopSource();
  Queue({.become = true, .epoch = term, .queued = executor_.Now(), .reason = "elected"});
}

void Leadership::EndEpoch(std::string reason) {
  const Term ended = epoch_;
  serving_ = false;
  load_ready_ = false;
#ifndef TENURE_MUTANT_epoch_ends_late
  epoch_ = Term();
#endif
  epoch_stop_.RequestStop();
  Queue({.become = false, .epoch = ended, .queued = executor_.Now(), .reason = std::move(reason)});
}

void Leadership::OnLoadReady(Term epoch, std::string how) {
#ifdef TENURE_MUTANT_ready_of_any_epoch
  (void)epoch;
#else
  if (epoch != epoch_) return;
#endif
  load_ready_ = true;
  load_how_ = std::move(how);
  if (serving_) RecordLoadReady();
}

void Leadership::RecordLoadReady() {
  Record({.become = true, .epoch = epoch_, .queued = began_, .reason = load_how_}, "warming_up", "serving");
}

void Leadership::Queue(Pending transition) {
  pending_.push_back(std::move(transition));
  wake_.Set();
}

Task<void> Leadership::RunTransitions() {
  const StopToken stop = scope_.token();
  while (true) {
    while (!pending_.empty()) {
      Pending next = std::move(pending_.front());
      pending_.pop_front();
      if (next.become) {
        co_await Become(std::move(next));
      } else {
        co_await Resign(std::move(next));
      }
    }
    wake_.Reset();
    if (!co_await wake_.Wait(stop)) break;
  }
  TENURE_CHECK(started_epoch_.IsNone(), "E2: services of epoch {} run although all is stopped",
               started_epoch_);
}

Task<void> Leadership::Become(Pending transition) {
  const Term epoch = transition.epoch;
  if (epoch != epoch_ || scope_.stop_requested()) co_return;
  TENURE_CHECK(started_epoch_.IsNone(), "E2: services of epoch {} still run when {} begins", started_epoch_,
               epoch);
  started_epoch_ = epoch;
  epoch_scope_ = std::make_unique<runtime::TaskScope>(executor_);
  const Instant began = executor_.Now();
#ifdef TENURE_MUTANT_service_without_token
  const StopToken stop;
#else
  const StopToken stop = epoch_stop_.token();
#endif
  for (Slot& slot : slots_) {
    slot.state = ServiceState::kStarting;
    slot.error.clear();
    slot.attempted = false;
    epoch_scope_->Spawn(RunService(slot, epoch, stop));
  }
  runtime::Timer limit = executor_.After(options_.start_limit, [this] { service_changed_.Set(); });
  while (!stop.stop_requested() && !ReadyToServe(began)) {
    service_changed_.Reset();
    if (!co_await service_changed_.Wait(stop)) co_return;  // the queued Resign undoes what began
  }
  if (epoch != epoch_) co_return;
  serving_ = true;
  Record(transition, "follower", "leader");
  if (load_ready_ && readiness_ != nullptr) RecordLoadReady();
  logger_.Info("leads epoch {}, serving after {} ms", epoch, ToMillis(executor_.Now() - began));
}

Task<void> Leadership::RunService(Slot& slot, Term epoch, StopToken stop) {
  Duration delay = options_.first_retry;
  while (!stop.stop_requested()) {
    const Status status = co_await slot.service->Start(epoch, stop);
    if (stop.stop_requested()) break;
    slot.attempted = true;
    slot.state = status.ok() ? ServiceState::kRunning : ServiceState::kFailed;
    slot.error = std::string(MessageOf(status));
    service_changed_.Set();
    if (status.ok()) break;
    logger_.Warn("service {} did not start in epoch {}: {}; tried again in {} ms", slot.service->name(),
                 epoch, MessageOf(status), ToMillis(delay));
    if (!co_await runtime::SleepFor(executor_, delay, stop)) break;
    delay = std::min(delay * 2, options_.max_retry);
  }
}

bool Leadership::ReadyToServe(Instant began) const {
  const bool late = executor_.Now() - began >= options_.start_limit;
  return std::all_of(slots_.begin(), slots_.end(), [&](const Slot& slot) {
    if (slot.service->required()) return slot.state == ServiceState::kRunning;
    return slot.attempted || late;
  });
}

Task<void> Leadership::Resign(Pending transition) {
  if (started_epoch_.IsNone() || started_epoch_ != transition.epoch) co_return;  // it never began
  epoch_scope_->Stop();
  co_await epoch_scope_->StopAndJoin();
  epoch_scope_.reset();
  for (auto slot = slots_.rbegin(); slot != slots_.rend(); ++slot) {
    slot->service->Stop();
    slot->state = ServiceState::kStopped;
    slot->error.clear();
  }
  started_epoch_ = Term();
#ifdef TENURE_MUTANT_epoch_ends_late
  if (epoch_ == transition.epoch) epoch_ = Term();
#endif
  Record(transition, "leader", "follower");
  logger_.Info("no longer leads epoch {}: {}", transition.epoch, transition.reason);
}

void Leadership::Record(const Pending& transition, std::string_view from, std::string_view to) {
  pb::Transition& record = transitions_.emplace_front();
  record.set_epoch(transition.epoch.value());
  record.set_from(std::string(from));
  record.set_to(std::string(to));
  record.set_at_ms(ToMillis(executor_.WallNow()));
  record.set_duration_ms(ToMillis(executor_.Now() - transition.queued));
  record.set_reason(transition.reason);
  ++transitions_done_;
  while (transitions_.size() > options_.kept_transitions) transitions_.pop_back();
}

Status Leadership::NotLeader() const {
  // Its own address is no help to who asks: it knows of no leader, then.
  const ReplicaId leader = leader_ == self_ ? ReplicaId() : leader_;
  return catalog::NotLeaderRefusal(leader.value(), directory_.AddressOf(leader.value()));
}

pb::WarmingUp Leadership::warm_up() const {
  pb::WarmingUp details;
  if (!leading() && leader_ != self_) return LeaderHasSpoken() ? said_warm_up_ : details;
  details.set_epoch(term_.value());
  std::vector<std::string> missing;
  if (!leading()) {
    details.set_reason("raft");  // elected, but the first entry of the term is not applied yet
  } else if (!serving_) {
    details.set_reason("services");
    missing = MissingServices();
  } else if (!load_ready_) {
    details.set_reason("load");
    missing = readiness_->missing();
    details.set_remaining_ms(ToMillis(readiness_->remaining()));
  }
  for (std::string& name : missing) details.add_missing(std::move(name));
  return details;
}

Status Leadership::CheckLeading() const {
  if (leading()) return OkStatus();
  return leader_ == self_ ? catalog::WarmingUpRefusal(warm_up()) : NotLeader();
}

Status Leadership::CheckServing() const {
  if (serving_) return OkStatus();
  TENURE_RETURN_IF_ERROR(CheckLeading());
  return catalog::WarmingUpRefusal(warm_up());
}

Status Leadership::CheckLoadReady() const {
  if (load_ready()) return OkStatus();
  TENURE_RETURN_IF_ERROR(CheckServing());
  return catalog::WarmingUpRefusal(warm_up());
}

std::vector<std::string> Leadership::unsampled() const {
  return leading() && readiness_ != nullptr ? readiness_->unsampled() : std::vector<std::string>();
}

std::string_view Leadership::phase() const {
  if (leader_.IsNone()) return "electing";
  if (leader_ != self_) return LeaderHasSpoken() ? std::string_view(said_phase_) : "starting";
  if (!serving_) return "starting";
  return load_ready_ ? "serving" : "warming_up";
}

std::vector<std::string> Leadership::MissingServices() const {
  std::vector<std::string> names;
  for (const Slot& slot : slots_) {
    if (slot.state != ServiceState::kRunning) names.emplace_back(slot.service->name());
  }
  return names;
}

std::vector<pb::ServiceStatus> Leadership::services() const {
  static constexpr std::string_view kNames[] = {"stopped", "starting", "running", "failed"};
  std::vector<pb::ServiceStatus> result;
  for (const Slot& slot : slots_) {
    pb::ServiceStatus& status = result.emplace_back();
    status.set_name(std::string(slot.service->name()));
    status.set_state(std::string(kNames[static_cast<size_t>(slot.state)]));
    status.set_error(slot.error);
  }
  return result;
}

std::vector<pb::Transition> Leadership::transitions() const {
  return {transitions_.begin(), transitions_.end()};
}

void Leadership::Stop(Closure done) {
  if (leading()) EndEpoch("the process stops");
  scope_.StopAndJoin(std::move(done));
}

}  // namespace tenure::controller
