#include "controller/barriers/barrier_service.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "catalog/fencing.h"
#include "catalog/refusal.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
using catalog::Refuse;

namespace {

constexpr Duration kBeyondProceed = std::chrono::seconds(5);
constexpr Duration kConfirmAgain = std::chrono::milliseconds(100);

bool ConcernsNodes(const std::vector<pb::Event>& events) {
  return std::any_of(events.begin(), events.end(), [](const pb::Event& event) {
    const pb::Record& record = event.has_new_record() ? event.new_record() : event.old_record();
    return record.has_node() || record.has_cluster();
  });
}

}  // namespace

std::string Obstacles(const BarrierOutcome& outcome) {
  std::string text;
  for (const BarrierOutcome::Node& node : outcome.nodes) {
    if (node.disposition != planner::Disposition::kUnsafe) continue;
    text += fmt::format("{}node {} (acknowledged revision {}, silent for {} ms)", text.empty() ? "" : ", ",
                        node.evidence.node, node.evidence.acknowledged, ToMillis(node.evidence.silence));
  }
  return text;
}

BarrierService::BarrierService(runtime::Executor& executor, CatalogAccess& access, AgentService& agents,
                               WatchHub& watches, BarrierTrace* trace, Logger logger)
    : executor_(executor),
      access_(access),
      agents_(agents),
      watches_(watches),
      trace_(trace),
      logger_(std::move(logger)),
      self_(std::make_shared<BarrierService*>(this)) {
  agents_.AddObserver([self = self_] {
    if (*self != nullptr) (*self)->LookLater();
  });
}

BarrierService::~BarrierService() {
  *self_ = nullptr;
}

runtime::Task<Status> BarrierService::Start(Term epoch, runtime::StopToken) {
  epoch_ = epoch;
  co_return OkStatus();
}

void BarrierService::Stop() {
  epoch_ = Term();
  next_fenced_.Cancel();
  confirming_ = false;
  for (Waiter* waiter : std::exchange(waiters_, {})) {
    waiter->leadership_ended = true;
    waiter->ended.Set();
  }
}

Duration BarrierService::DefaultBudget() const {
  catalog::Fencing fencing = catalog::FencingOf(access_.catalog().cluster());
  fencing.bound_available = false;
  return *catalog::ProceedAfter(fencing) + kBeyondProceed;
}

BarrierOutcome BarrierService::Look(Revision revision) const {
  BarrierOutcome outcome;
  outcome.revision = revision;
  const auto proceed_after = catalog::ProceedAfter(catalog::FencingOf(access_.catalog().cluster()));
  bool safe = true;
  for (const planner::BarrierEvidence& evidence : EvidenceFor(revision, executor_.Now())) {
    const auto disposition = planner::ComputeDisposition(evidence, revision, proceed_after);
    safe = safe && disposition != planner::Disposition::kUnsafe;
    outcome.nodes.push_back({evidence, disposition});
  }
  outcome.proceeded = safe && access_.group().HoldsLease();
  return outcome;
}

std::vector<planner::BarrierEvidence> BarrierService::EvidenceFor([[maybe_unused]] Revision revision,
                                                                  Instant now) const {
  const auto& records = access_.catalog().nodes();
  auto nodes = agents_.contacts().Evidence(records, access_.catalog().format_version(), now);
#ifdef TENURE_MUTANT_registering_ignored
  std::erase_if(nodes, [&](const auto& node) {
    return records.at(node.node.value()).create_revision() > revision.value();
  });
#endif
#ifdef TENURE_MUTANT_fenced_are_waited_for
  for (auto& node : nodes) {
    if (!waiters_.empty()) node.silence = std::min(node.silence, now - waiters_.back()->since);
  }
#endif
  return nodes;
}

runtime::Task<StatusOr<BarrierOutcome>> BarrierService::Pass(Revision revision, Duration budget,
                                                             runtime::StopToken stop) {
  if (epoch_.IsNone()) co_return access_.leadership().NotLeader();
  if (revision.IsNone() || revision > access_.applied()) {
    co_return Refuse(pb::REASON_INVALID_ARGUMENT,
                     "revision: {} is not in 1..{}, which the leader has applied", revision,
                     access_.applied());
  }
  BarrierOutcome outcome;
  outcome.revision = revision;
  Waiter waiter(executor_, std::move(outcome), executor_.Now());
  const auto after = std::find_if(waiters_.begin(), waiters_.end(),
                                  [&](const Waiter* other) { return other->outcome.revision > revision; });
  waiter.position = waiters_.insert(after, &waiter);
  waiter.budget = executor_.After(budget == Duration::zero() ? DefaultBudget() : budget, [this, &waiter] {
    LookAtAll();  // the last moment is as good as any other
    if (!waiter.ended.is_set()) End(waiter, /*proceeded=*/false);
  });
  agents_.Await(revision);
  watches_.SendProgress();
  LookAtAll();
  const bool ended = co_await waiter.ended.Wait(stop);
  agents_.EndAwait(revision);
  if (!ended) {
    // The caller stopped; or it did in the same moment, and nobody asks any more.
    if (!waiter.ended.is_set()) waiters_.erase(waiter.position);
    co_return absl::CancelledError("stopped while a barrier was waited for");
  }
  if (waiter.leadership_ended) co_return access_.leadership().NotLeader();
  co_return std::move(waiter.outcome);
}

void BarrierService::LookLater() {
  if (waiters_.empty() || std::exchange(look_posted_, true)) return;
  executor_.Post([self = self_] {
    if (*self == nullptr) return;
    (*self)->look_posted_ = false;
    (*self)->LookAtAll();
  });
}

void BarrierService::OnCatalogChanged(const std::vector<pb::Event>& events, Revision) {
  if (!waiters_.empty() && ConcernsNodes(events)) LookLater();
}

// In the order of revisions: what holds an older one up holds the newer ones up as well.
void BarrierService::LookAtAll() {
  next_fenced_.Cancel();
  const auto proceed_after = catalog::ProceedAfter(catalog::FencingOf(access_.catalog().cluster()));
  while (!waiters_.empty()) {
    Waiter& first = *waiters_.front();
    const auto nodes = EvidenceFor(first.outcome.revision, executor_.Now());
    if (!planner::MayProceed(nodes, first.outcome.revision, proceed_after)) {
      if (const auto left = planner::NextFenced(nodes, first.outcome.revision, proceed_after))
        next_fenced_ = executor_.After(*left, [this] { LookAtAll(); });
      return;
    }
#ifndef TENURE_MUTANT_verdict_without_lease
    // B1: the evidence was read before, so it was complete at a moment at which nobody else led.
    if (!access_.group().HoldsLease()) return ConfirmLeadership();
#endif
    End(first, /*proceeded=*/true);
  }
}

// The lease was not held just now: it comes back with a round of heartbeats, or the leadership ends.
void BarrierService::ConfirmLeadership() {
  if (std::exchange(confirming_, true)) return;
  access_.group().Read([self = self_, epoch = epoch_](const Status& confirmed) {
    if (*self == nullptr || (*self)->epoch_ != epoch) return;
    BarrierService& barriers = **self;
    barriers.confirming_ = false;
    // Its lease may be void all the same, of a leader that hands over: then it is asked again after a while.
    if (confirmed.ok() && barriers.access_.group().HoldsLease()) return barriers.LookLater();
    barriers.next_fenced_ = barriers.executor_.After(kConfirmAgain, [&barriers] { barriers.LookAtAll(); });
  });
}

void BarrierService::End(Waiter& waiter, bool proceeded) {
  const Instant now = executor_.Now();
  const Revision revision = waiter.outcome.revision;
  if (proceeded && trace_ != nullptr) trace_->OnProceeded(revision);
  BarrierOutcome outcome = Look(revision);
  outcome.proceeded = proceeded;
  outcome.waited = now - waiter.since;
  numbers_.waited += outcome.waited;
  ++(proceeded ? numbers_.proceeded : numbers_.failed);
  if (!proceeded) {
    logger_.Warn("the barrier for revision {} has not passed within {} ms: {}", revision,
                 ToMillis(outcome.waited), Obstacles(outcome));
  }
  waiter.outcome = std::move(outcome);
  waiter.budget.Cancel();
  waiters_.erase(waiter.position);
  waiter.ended.Set();
}

BarrierNumbers BarrierService::Numbers() const {
  BarrierNumbers numbers = numbers_;
  numbers.waiting = waiters_.size();
  for (const pb::BarrierStatus& barrier : Waiting())
    numbers.waiting_for.insert(barrier.waiting_for().begin(), barrier.waiting_for().end());
  return numbers;
}

std::vector<pb::BarrierStatus> BarrierService::Waiting() const {
  std::vector<pb::BarrierStatus> result;
  for (const Waiter* waiter : waiters_) {
    pb::BarrierStatus& status = result.emplace_back();
    status.set_revision(waiter->outcome.revision.value());
    status.set_waiting_ms(ToMillis(executor_.Now() - waiter->since));
    for (const BarrierOutcome::Node& node : Look(waiter->outcome.revision).nodes) {
      if (node.disposition == planner::Disposition::kUnsafe)
        status.add_waiting_for(node.evidence.node.value());
    }
  }
  return result;
}

}  // namespace tenure::controller
