#include "changefeed/agent/maintainer_host.h"

#include <algorithm>
#include <utility>

#include "changefeed/views/followed_view.h"

namespace tenure::changefeed {

namespace pb = ::tenure::v1;

namespace {

std::optional<FeedError> ErrorOf(const ipb::ChangefeedError& error) {
  return FeedError{.code = FeedErrorCodeNamed(error.code()).value_or(FeedErrorCode::kInternal),
                   .message = error.message(),
                   .node = NodeId(error.node())};
}

}  // namespace

MaintainerHost::MaintainerHost(runtime::Executor& executor, Messenger& messenger, const node::NodeFacts& node,
                               const pb::ChangefeedRecord& record, Filter filter, OwnerEpoch epoch,
                               CommitTs checkpoint, Options options, Logger logger)
    : executor_(executor),
      messenger_(messenger),
      node_(node),
      id_(record.id()),
      database_(record.database()),
      epoch_(epoch),
      target_(record.target_ts()),
      filter_(std::move(filter)),
      options_(options),
      logger_(std::move(logger)),
      maintainer_(epoch, checkpoint),
      next_report_(executor.Now()),
      next_resend_(executor.Now() + options.resend_every),
      self_(std::make_shared<MaintainerHost*>(this)) {
  OnView();
}

MaintainerHost::~MaintainerHost() {
  *self_ = nullptr;
}

CommitTs MaintainerHost::Clip(CommitTs ts) const {
  return target_.IsNone() ? ts : std::min(ts, target_);
}

std::vector<Process> MaintainerHost::Processes() const {
  std::vector<Process> processes;
  for (const auto& [id, record] : node_.catalog().nodes()) {
    // What is removed held no lease any more before that.
    if (record.state() == pb::NODE_REMOVED) continue;
    const Process process{NodeId(id), Incarnation(record.registration_epoch())};
    if (!gone_.contains(process)) processes.push_back(process);
  }
  return processes;
}

void MaintainerHost::OnView() {
  FollowedView view = ComputeFollowedView(node_.catalog(), database_, filter_,
                                          [this](RegionId region) { return node_.LeaderOf(region); });
  if (!target_.IsNone()) {
    for (Followed& followed : view.followed)
      followed.until = std::min(followed.until.value_or(target_), target_);
    std::erase_if(view.changes, [this](const SchemaChange& change) { return change.at > target_; });
  }
  maintainer_.SetNodes(Processes());
  maintainer_.SetRegions(view.regions);
  maintainer_.SetFollowed(view.followed);
  for (SchemaChange& change : view.changes) {
    if (!changes_.empty() && change.at <= changes_.rbegin()->first) continue;
    changes_.emplace(change.at, change);
    maintainer_.AddSchemaChange(std::move(change));
  }
  maintainer_.SetSchemaKnown(view.schema_known);
  Flush();
}

void MaintainerHost::OnTick() {
  const Instant now = executor_.Now();
  if (now >= next_resend_) {
    next_resend_ = now + options_.resend_every;
    // Leaders move without a change of the catalog.
    OnView();
    for (const Outgoing& outgoing : maintainer_.Unanswered()) Send(outgoing);
  }
  if (now >= next_report_ && !reporting_) Report();
}

// ---- messages ----

void MaintainerHost::Flush() {
  for (const Outgoing& outgoing : maintainer_.TakeMessages()) Send(outgoing);
}

void MaintainerHost::Send(const Outgoing& outgoing) {
  switch (outgoing.kind) {
    case Outgoing::Kind::kBootstrap: {
      ipb::ChangefeedMessage message;
      auto& bootstrap = *message.mutable_bootstrap_dispatchers();
      *bootstrap.mutable_sender() = messenger_.Sender();
      bootstrap.set_owner_epoch(epoch_.value());
      bootstrap.set_changefeed(id_.value());
      return Deliver(outgoing.to, std::move(message));
    }
    case Outgoing::Kind::kPostBootstrap: {
      ipb::ChangefeedMessage message;
      auto& plan = *message.mutable_post_bootstrap();
      *plan.mutable_sender() = messenger_.Sender();
      plan.set_owner_epoch(epoch_.value());
      plan.set_changefeed(id_.value());
      plan.set_incarnation(outgoing.to.incarnation.value());
      plan.set_sequence(outgoing.sequence.value());
      for (const SpanId span : outgoing.spans) plan.add_spans(span.value());
      return Deliver(outgoing.to, std::move(message));
    }
    case Outgoing::Kind::kCreate:
    case Outgoing::Kind::kRemove:
      return SendSchedule(outgoing);
    case Outgoing::Kind::kHold:
    case Outgoing::Kind::kWrite:
    case Outgoing::Kind::kPass:
      return SendBarrier(outgoing);
  }
}

void MaintainerHost::SendSchedule(const Outgoing& outgoing) {
  ipb::ChangefeedMessage message;
  auto& schedule = *message.mutable_schedule_dispatcher();
  *schedule.mutable_sender() = messenger_.Sender();
  schedule.set_owner_epoch(epoch_.value());
  schedule.set_changefeed(id_.value());
  schedule.set_incarnation(outgoing.to.incarnation.value());
  schedule.set_sequence(outgoing.sequence.value());
  schedule.set_span(outgoing.span.value());
  if (outgoing.kind == Outgoing::Kind::kRemove) {
    schedule.set_remove(true);
  } else {
    ++creates_[outgoing.to];
    auto& create = *schedule.mutable_create();
    create.set_region(outgoing.key.generation.region.value());
    create.set_range_version(outgoing.key.generation.range_version);
    create.set_table(outgoing.key.table);
    create.set_prefix(outgoing.key.prefix);
    create.set_start_ts(outgoing.start.value());
    if (outgoing.end) create.set_end_ts(outgoing.end->value());
  }
  Deliver(outgoing.to, std::move(message));
}

void MaintainerHost::SendBarrier(const Outgoing& outgoing) {
  using Step = ipb::DispatcherBarrier;
  ipb::ChangefeedMessage message;
  auto& barrier = *message.mutable_dispatcher_barrier();
  *barrier.mutable_sender() = messenger_.Sender();
  barrier.set_owner_epoch(epoch_.value());
  barrier.set_changefeed(id_.value());
  barrier.set_barrier_ts(outgoing.barrier.value());
  barrier.set_step(outgoing.kind == Outgoing::Kind::kHold    ? Step::HOLD
                   : outgoing.kind == Outgoing::Kind::kWrite ? Step::WRITE
                                                             : Step::PASS);
  for (const SpanId span : outgoing.spans) barrier.add_spans(span.value());
  if (outgoing.kind == Outgoing::Kind::kWrite) barrier.add_spans(outgoing.span.value());
  if (const auto change = changes_.find(outgoing.barrier); change != changes_.end()) {
    barrier.set_statement(change->second.statement);
    barrier.set_table(change->second.table);
    barrier.set_schema_version(change->second.schema_version);
  }
  Deliver(outgoing.to, std::move(message));
}

void MaintainerHost::Deliver(const Process& to, ipb::ChangefeedMessage message) {
  messenger_.ToNode(to.node, std::move(message), [self = self_, to](StatusOr<ipb::ChangefeedMessage> answer) {
    // What failed is sent again: Maintainer::Unanswered.
    if (*self != nullptr && answer.ok()) (*self)->OnAnswer(to, *answer);
  });
}

void MaintainerHost::OnAnswer(const Process& to, const ipb::ChangefeedMessage& answer) {
  if (answer.has_dispatchers_bootstrapped()) {
    const auto& bootstrapped = answer.dispatchers_bootstrapped();
    const Process from{NodeId(bootstrapped.sender().node()),
                       Incarnation(bootstrapped.sender().incarnation())};
    if (from != to) return;  // another run of the node answered, of which the view will say
    maintainer_.OnBootstrapped(from, epoch_, static_cast<Acceptance>(bootstrapped.acceptance()));
  } else if (answer.has_dispatcher_scheduled()) {
    const auto& scheduled = answer.dispatcher_scheduled();
    const Process from{NodeId(scheduled.sender().node()), Incarnation(scheduled.sender().incarnation())};
    if (from != to) return;
    maintainer_.OnScheduled(from, epoch_, static_cast<Acceptance>(scheduled.acceptance()),
                            SpanId(scheduled.span()), ScheduleSequence(scheduled.sequence()),
                            !scheduled.gone(), CommitTs(scheduled.flushed_ts()));
  }
  Flush();
}

void MaintainerHost::OnProgress(const Process& from, const ipb::DispatchersProgress& progress) {
  std::vector<DispatcherReport> reports;
  const Instant now = executor_.Now();
  for (const auto& said : progress.dispatchers()) {
    const SpanId span(said.span());
    DispatcherReport report{.span = span,
                            .flushed = CommitTs(said.flushed_ts()),
                            .at_barrier = CommitTs(said.at_barrier_ts()),
                            .wrote_barrier = CommitTs(said.wrote_barrier_ts()),
                            .ended = said.ended(),
                            .sequence = ScheduleSequence(said.sequence())};
    if (said.has_error()) report.error = ErrorOf(said.error());
    Flow& flow = flows_[span];
    // One that was made again counts from nothing.
    const bool goes_on = flow.node == from.node && said.snapshot_rows() >= flow.snapshot_rows;
    snapshot_rows_ += said.snapshot_rows() - (goes_on ? flow.snapshot_rows : 0);
    flow = {from.node, said.rows_per_second(), said.rows_behind(), said.snapshot_rows()};
    if (report.error) {
      faults_.try_emplace({from.node, span}, Fault{*report.error, now}).first->second.error = *report.error;
    } else {
      faults_.erase({from.node, span});
    }
    reports.push_back(std::move(report));
  }
  maintainer_.OnProgress(from, epoch_, reports, now);
  Flush();
}

// ---- the coordinator ----

void MaintainerHost::ForgetMoved() {
  const auto elsewhere = [this](SpanId span, NodeId node) {
    const auto at = maintainer_.NodeOf(span);
    return !at || (!at->IsNone() && *at != node);
  };
  std::erase_if(flows_, [&](const auto& said) { return elsewhere(said.first, said.second.node); });
#ifndef TENURE_MUTANT_feed_fault_of_lost_node
  std::erase_if(faults_, [&](const auto& said) { return elsewhere(said.first.second, said.first.first); });
#endif
}

void MaintainerHost::Report() {
  const Instant now = executor_.Now();
  next_report_ = now + options_.report_every;
  ipb::ChangefeedMessage message;
  auto& progress = *message.mutable_maintainer_progress();
  *progress.mutable_sender() = messenger_.Sender();
  progress.set_owner_epoch(epoch_.value());
  progress.set_changefeed(id_.value());
  progress.set_checkpoint_ts(checkpoint().value());
  progress.set_holding_back(maintainer_.Explain(now).text);
  progress.set_finished(!target_.IsNone() && maintainer_.checkpoint() >= target_);
  ForgetMoved();
  uint64_t rate = 0;
  uint64_t behind = 0;
  for (const auto& [span, flow] : flows_) {
    rate += flow.rows_per_second;
    behind += flow.rows_behind;
  }
  progress.set_rows_per_second(rate);
  progress.set_rows_behind(behind);
  progress.set_snapshot_rows(snapshot_rows_);
  for (const auto& [place, fault] : faults_) {
    if (CanHeal(fault.error.code) && now - fault.since < options_.error_after) continue;
    ipb::ChangefeedError& error = *progress.mutable_error();
    error.set_code(std::string(NameOf(fault.error.code)));
    error.set_message(fault.error.message);
    error.set_node(place.first.value());
    if (!CanHeal(fault.error.code)) break;
  }
  reporting_ = true;
  messenger_.ToCoordinator(std::move(message),
                           [self = self_, creates = creates_](StatusOr<ipb::ChangefeedMessage> answer) {
                             if (*self == nullptr) return;
                             (*self)->reporting_ = false;
                             if (answer.ok() && answer->has_answer())
                               (*self)->OnReported(answer->answer(), creates);
                           });
}

void MaintainerHost::OnReported(const ipb::ChangefeedAnswer& answer,
                                const std::map<Process, uint64_t>& creates) {
  const auto acceptance = static_cast<Acceptance>(answer.acceptance());
  if (!IsAccepted(acceptance)) {
    if (!IsFinal(acceptance)) return;
    logger_.Info("changefeed {}: the coordinator answers {} to epoch {}: the maintainer ends", id_,
                 NameOf(acceptance), epoch_);
    ended_ = true;
    return;
  }
  std::set<Process> gone;
  for (const auto& said : answer.gone()) {
    const Process process{NodeId(said.node()), Incarnation(said.incarnation())};
    // H1: what was created there since may run.
    const auto before = creates.find(process);
    const auto now = creates_.find(process);
    const uint64_t then = before == creates.end() ? 0 : before->second;
    if (gone_.contains(process) || (now == creates_.end() ? 0 : now->second) == then) gone.insert(process);
  }
  if (gone == gone_) return;
  gone_ = std::move(gone);
  OnView();
}

void MaintainerHost::Describe(ipb::MaintainerInspected& inspected) const {
  const Maintainer::Explanation why = maintainer_.Explain(executor_.Now());
  inspected.set_checkpoint_ts(checkpoint().value());
  inspected.set_explanation(why.text);
  constexpr int kMaxShown = 10'000;
  for (const Maintainer::SpanStatus& span : maintainer_.Show()) {
    if (inspected.dispatchers_size() >= kMaxShown) break;
    auto& row = *inspected.add_dispatchers();
    row.set_table(span.name);
    row.set_region(span.generation.region.value());
    row.set_node(span.node.value());
    row.set_position_ts(span.flushed.value());
    row.set_state(span.state);
    if (const auto flow = flows_.find(span.span); flow != flows_.end() && flow->second.node == span.node) {
      row.set_rows_per_second(flow->second.rows_per_second);
      row.set_rows_behind(flow->second.rows_behind);
    }
    if (span.error) row.set_error(fmt::format("{}: {}", NameOf(span.error->code), span.error->message));
  }
}

}  // namespace tenure::changefeed
