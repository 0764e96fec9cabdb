// How the agent answers each message of the protocol.
#include <algorithm>
#include <utility>

#include "catalog/refusal.h"
#include "changefeed/agent/changefeed_agent.h"

namespace tenure::changefeed {

namespace pb = ::tenure::v1;

namespace {

Process SenderOf(const ipb::ChangefeedSender& sender) {
  return {NodeId(sender.node()), Incarnation(sender.incarnation())};
}

// A maintainer speaks for the epoch that it owns.
template <class Message>
Claim ClaimOf(const Message& message) {
  return {.epoch = OwnerEpoch(message.owner_epoch()), .owner = SenderOf(message.sender())};
}

template <class Message>
LeadershipEpoch LeadershipOf(const Message& message) {
  return LeadershipEpoch(message.sender().leadership_epoch());
}

}  // namespace

void ChangefeedAgent::OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) {
  if (info.method == "Deliver") return OnDeliver(request, std::move(reply));
  if (info.method == "CheckSink") return OnCheckSink(request, std::move(reply));
  reply(Error(StatusCode::kUnimplemented, "{} has no method {}", kName, info.method));
}

Status ChangefeedAgent::CheckCluster(const std::string& cluster_id, uint64_t incarnation) const {
  if (node_.cluster_id().empty() || cluster_id != node_.cluster_id()) {
    return catalog::Refuse(pb::REASON_WRONG_CLUSTER, "cluster_id {}: this node belongs to cluster {}",
                           cluster_id, node_.cluster_id());
  }
  if (incarnation < node_.cluster_incarnation()) {
    return catalog::Refuse(pb::REASON_STALE_INCARNATION,
                           "incarnation {}: this node has seen incarnation {} of the cluster", incarnation,
                           node_.cluster_incarnation());
  }
  if (incarnation > node_.cluster_incarnation()) {
    return Error(StatusCode::kUnavailable, "this node has seen incarnation {} of the cluster, not {} yet",
                 node_.cluster_incarnation(), incarnation);
  }
  return OkStatus();
}

void ChangefeedAgent::OnDeliver(const std::string& bytes, runtime::Reply reply) {
  ipb::ChangefeedEnvelope envelope;
  if (!envelope.ParseFromString(bytes)) {
    return reply(
        catalog::Refuse(pb::REASON_INVALID_ARGUMENT, "the message is not a valid ChangefeedEnvelope"));
  }
  if (Status status = CheckCluster(envelope.cluster_id(), envelope.incarnation()); !status.ok())
    return reply(std::move(status));
  if (self_.incarnation.IsNone() || Self() != self_)
    return reply(Error(StatusCode::kUnavailable, "this node is not registered"));
  Handle(envelope.message(), [reply = std::move(reply)](StatusOr<ipb::ChangefeedMessage> answer) mutable {
    if (!answer.ok()) return reply(answer.status());
    reply(answer->SerializeAsString());
  });
}

void ChangefeedAgent::OnCheckSink(const std::string& bytes, runtime::Reply reply) {
  ipb::CheckSinkRequest request;
  if (!request.ParseFromString(bytes))
    return reply(catalog::Refuse(pb::REASON_INVALID_ARGUMENT, "the message is not a valid CheckSinkRequest"));
  if (Status status = CheckCluster(request.cluster_id(), node_.cluster_incarnation()); !status.ok())
    return reply(std::move(status));
  const auto address = ParseSinkAddress(request.sink());
  if (!address.ok()) {
    ipb::CheckSinkResponse response;
    response.set_code(std::string(NameOf(FeedErrorCode::kBadSinkAddress)));
    response.set_message(std::string(MessageOf(address.status())));
    return reply(response.SerializeAsString());
  }
  check_sink_(*address, [reply = std::move(reply)](std::optional<FeedError> error) mutable {
    ipb::CheckSinkResponse response;
    if (error) {
      response.set_code(std::string(NameOf(error->code)));
      response.set_message(error->message);
    }
    reply(response.SerializeAsString());
  });
}

void ChangefeedAgent::Handle(const ipb::ChangefeedMessage& message, Respond respond) {
  using Body = ipb::ChangefeedMessage::BodyCase;
  switch (message.body_case()) {
    case Body::kCollectMaintainers:
      return OnCollect(message.collect_maintainers(), std::move(respond));
    case Body::kAddMaintainer:
      return OnAdd(message.add_maintainer(), std::move(respond));
    case Body::kRemoveMaintainer:
      return OnRemove(message.remove_maintainer(), std::move(respond));
    case Body::kInspectMaintainer:
      return OnInspect(message.inspect_maintainer(), std::move(respond));
    case Body::kBootstrapDispatchers:
      return OnBootstrap(message.bootstrap_dispatchers(), std::move(respond));
    case Body::kPostBootstrap:
      return OnPlan(message.post_bootstrap(), std::move(respond));
    case Body::kCloseDispatchers:
      return OnClose(message.close_dispatchers(), std::move(respond));
    case Body::kScheduleDispatcher:
      return OnSchedule(message.schedule_dispatcher(), std::move(respond));
    case Body::kDispatcherBarrier:
      return OnBarrier(message.dispatcher_barrier(), std::move(respond));
    case Body::kDispatchersProgress:
      return OnProgress(message.dispatchers_progress(), std::move(respond));
    default:
      respond(catalog::Refuse(pb::REASON_INVALID_ARGUMENT, "message: a node takes no message of kind {}",
                              static_cast<int>(message.body_case())));
  }
}

Acceptance ChangefeedAgent::Count(Acceptance acceptance) {
  if (!IsAccepted(acceptance)) ++refusals_[std::string(NameOf(acceptance))];
  return acceptance;
}

ipb::ChangefeedMessage ChangefeedAgent::AnswerOf(uint64_t changefeed, const Decision& decision) {
  ipb::ChangefeedMessage message;
  ipb::ChangefeedAnswer& answer = *message.mutable_answer();
  *answer.mutable_sender() = messenger_.Sender();
  answer.set_owner_epoch(decision.receiver_epoch.value());
  answer.set_changefeed(changefeed);
  answer.set_acceptance(static_cast<ipb::ChangefeedAcceptance>(Count(decision.acceptance)));
  return message;
}

// ---- from the coordinator ----

void ChangefeedAgent::OnCollect(const ipb::CollectMaintainers& collect, Respond respond) {
  if (LeadershipOf(collect) < leadership_) {
    return respond(AnswerOf(0, {Acceptance::kStaleLeadership, OwnerEpoch()}));
  }
  leadership_ = LeadershipOf(collect);
  ipb::ChangefeedMessage message;
  auto& collected = *message.mutable_maintainers_collected();
  *collected.mutable_sender() = messenger_.Sender();
  collected.set_leadership_epoch(leadership_.value());
  for (const auto& [id, feed] : feeds_) {
    if (!feed.maintainer) continue;
    auto& running = *collected.add_running();
    running.set_changefeed(id.value());
    running.set_owner_epoch(feed.maintainer->epoch().value());
    running.set_checkpoint_ts(feed.maintainer->checkpoint().value());
  }
  respond(std::move(message));
}

void ChangefeedAgent::OnAdd(const ipb::AddMaintainer& add, Respond respond) {
  const ChangefeedId id(add.changefeed());
  const auto refuse = [&](Acceptance acceptance, std::string error) {
    auto answer = AnswerOf(add.changefeed(), {acceptance, OwnerEpoch()});
    answer.mutable_answer()->set_error(std::move(error));
    respond(std::move(answer));
  };
  if (LeadershipOf(add) < leadership_) return refuse(Acceptance::kStaleLeadership, "");
  leadership_ = LeadershipOf(add);
  const pb::ChangefeedRecord* record = RecordOf(id);
  if (record == nullptr) return refuse(Acceptance::kNotInView, "");
  // Checked when it was created, perhaps by a newer program than this.
  auto filter = Filter::Parse(record->filter());
  if (!filter.ok()) return refuse(Acceptance::kNotInView, std::string(MessageOf(filter.status())));
  if (const auto sink = ParseSinkAddress(record->sink()); !sink.ok())
    return refuse(Acceptance::kNotInView, std::string(MessageOf(sink.status())));
  Feed& feed = FeedOf(id);
  const OwnerGate::Outcome outcome =
      feed.gate.OnAddMaintainer({.leadership = leadership_,
                                 .epoch = OwnerEpoch(add.owner_epoch()),
                                 .owner = {NodeId(add.node()), Incarnation(add.incarnation())}});
  Enact(id, feed, outcome);
  if (outcome.decision.accepted() && outcome.decision.acceptance != Acceptance::kRepeated) {
    const CommitTs checkpoint(std::max(add.checkpoint_ts(), record->checkpoint_ts()));
    logger_.Info("changefeed {} ('{}'): its maintainer runs here, epoch {}, from {}", id, record->name(),
                 add.owner_epoch(), checkpoint);
    feed.maintainer = std::make_unique<MaintainerHost>(executor_, messenger_, node_, *record,
                                                       *std::move(filter), OwnerEpoch(add.owner_epoch()),
                                                       checkpoint, options_.maintainers, logger_);
  }
  respond(AnswerOf(add.changefeed(), outcome.decision));
}

void ChangefeedAgent::OnRemove(const ipb::RemoveMaintainer& remove, Respond respond) {
  const ChangefeedId id(remove.changefeed());
  const OwnerEpoch epoch(remove.owner_epoch());
  ipb::ChangefeedMessage message;
  auto& removed = *message.mutable_removed_maintainer();
  *removed.mutable_sender() = messenger_.Sender();
  removed.set_changefeed(remove.changefeed());
  if (LeadershipOf(remove) < leadership_) {
    removed.set_acceptance(static_cast<ipb::ChangefeedAcceptance>(Count(Acceptance::kStaleLeadership)));
    return respond(std::move(message));
  }
  leadership_ = LeadershipOf(remove);
  Feed& feed = FeedOf(id);
  const OwnerGate::Outcome outcome =
      feed.gate.OnRemoveMaintainer({.leadership = leadership_, .epoch = epoch});
  removed.set_acceptance(static_cast<ipb::ChangefeedAcceptance>(Count(outcome.decision.acceptance)));
  removed.set_owner_epoch(outcome.decision.receiver_epoch.value());
  // Whether it ends now, or has ended before this was sent: by the view, or by a remove whose answer was
  // lost.
  if (outcome.stop_maintainer) EndMaintainer(feed);
  if (feed.final_epoch <= epoch) removed.set_checkpoint_ts(feed.final_checkpoint.value());
#ifdef TENURE_MUTANT_feed_close_answered_without_closing
  return respond(std::move(message));
#endif
  Enact(id, feed, outcome,
        [respond = std::move(respond), message = std::move(message)](const DispatcherPool::States&) mutable {
          respond(std::move(message));
        });
}

void ChangefeedAgent::OnInspect(const ipb::InspectMaintainer& inspect, Respond respond) {
  ipb::ChangefeedMessage message;
  auto& inspected = *message.mutable_maintainer_inspected();
  *inspected.mutable_sender() = messenger_.Sender();
  inspected.set_owner_epoch(inspect.owner_epoch());
  inspected.set_changefeed(inspect.changefeed());
  const auto found = feeds_.find(ChangefeedId(inspect.changefeed()));
  const bool runs = found != feeds_.end() && found->second.maintainer &&
                    found->second.maintainer->epoch() == OwnerEpoch(inspect.owner_epoch());
  inspected.set_acceptance(runs ? ipb::CHANGEFEED_CONTINUED : ipb::CHANGEFEED_ENDED);
  if (runs) found->second.maintainer->Describe(inspected);
  respond(std::move(message));
}

// ---- from maintainers ----

void ChangefeedAgent::OnBootstrap(const ipb::BootstrapDispatchers& bootstrap, Respond respond) {
  const ChangefeedId id(bootstrap.changefeed());
  Feed& feed = FeedOf(id);
  const OwnerGate::Outcome outcome = feed.gate.OnBootstrap(ClaimOf(bootstrap));
  Count(outcome.decision.acceptance);
  Enact(id, feed, outcome,
        [this, id, respond = std::move(respond), epoch = bootstrap.owner_epoch(),
         acceptance = outcome.decision.acceptance](const DispatcherPool::States&) mutable {
          ipb::ChangefeedMessage message;
          auto& bootstrapped = *message.mutable_dispatchers_bootstrapped();
          *bootstrapped.mutable_sender() = messenger_.Sender();
          bootstrapped.set_owner_epoch(epoch);
          bootstrapped.set_changefeed(id.value());
          bootstrapped.set_acceptance(static_cast<ipb::ChangefeedAcceptance>(acceptance));
          if (const auto found = feeds_.find(id); found != feeds_.end() && IsAccepted(acceptance)) {
            bootstrapped.set_sequence(found->second.gate.taken().value());
            for (const auto& [span, dispatcher] : found->second.gate.dispatchers()) {
              if (dispatcher.epoch == OwnerEpoch(epoch)) bootstrapped.add_spans(span.value());
            }
          }
          respond(std::move(message));
        });
}

void ChangefeedAgent::OnPlan(const ipb::PostBootstrap& plan, Respond respond) {
  const ChangefeedId id(plan.changefeed());
  Feed& feed = FeedOf(id);
  std::vector<SpanId> spans;
  for (const uint64_t span : plan.spans()) spans.emplace_back(span);
  const OwnerGate::Outcome outcome = feed.gate.OnPlan(ClaimOf(plan), Incarnation(plan.incarnation()),
                                                      ScheduleSequence(plan.sequence()), spans);
  Enact(id, feed, outcome,
        [respond = std::move(respond), answer = AnswerOf(plan.changefeed(), outcome.decision)](
            const DispatcherPool::States&) mutable { respond(std::move(answer)); });
}

void ChangefeedAgent::OnClose(const ipb::CloseDispatchers& close, Respond respond) {
  const ChangefeedId id(close.changefeed());
  Feed& feed = FeedOf(id);
  const OwnerGate::Outcome outcome = feed.gate.OnClose(ClaimOf(close));
  Enact(id, feed, outcome,
        [respond = std::move(respond), answer = AnswerOf(close.changefeed(), outcome.decision)](
            const DispatcherPool::States&) mutable { respond(std::move(answer)); });
}

StatusOr<DispatcherSpec> ChangefeedAgent::SpecOf(const ipb::ScheduleDispatcher& schedule) const {
  const pb::ChangefeedRecord* record = RecordOf(ChangefeedId(schedule.changefeed()));
  if (record == nullptr) return Error(StatusCode::kUnavailable, "it is not in this node's view");
  const auto& databases = node_.catalog().databases();
  const auto database = databases.find(record->database());
  if (database == databases.end()) return Error(StatusCode::kUnavailable, "its database is not in the view");
  TENURE_ASSIGN_OR_RETURN(Filter filter, Filter::Parse(record->filter()));
  TENURE_ASSIGN_OR_RETURN(SinkAddress address, ParseSinkAddress(record->sink()));
  const ipb::DispatcherSpan& create = schedule.create();
  DispatcherSpec spec{.changefeed = ChangefeedId(record->id()),
                      .changefeed_name = record->name(),
                      .database = database->second.name(),
                      .span = SpanId(schedule.span()),
                      .sequence = ScheduleSequence(schedule.sequence()),
                      .epoch = OwnerEpoch(schedule.owner_epoch()),
                      .key = {.table = create.table(),
                              .prefix = create.prefix(),
                              .generation = {RegionId(create.region()), create.range_version()}},
                      .start = CommitTs(create.start_ts()),
                      .filter = std::move(filter),
                      .address = std::move(address)};
  if (create.end_ts() != 0) spec.end = CommitTs(create.end_ts());
  spec.initial_snapshot = record->initial_snapshot() && create.start_ts() == record->start_ts();
  return spec;
}

void ChangefeedAgent::OnSchedule(const ipb::ScheduleDispatcher& schedule, Respond respond) {
  const ChangefeedId id(schedule.changefeed());
  const SpanId span(schedule.span());
  StatusOr<DispatcherSpec> spec = Error(StatusCode::kUnavailable, "removed");
  if (schedule.has_create()) {
    spec = SpecOf(schedule);
    if (!spec.ok()) return respond(spec.status());
  }
  Feed& feed = FeedOf(id);
  const Incarnation meant_for(schedule.incarnation());
  const ScheduleSequence sequence(schedule.sequence());
  const OwnerGate::Outcome outcome = spec.ok()
                                         ? feed.gate.OnCreate(ClaimOf(schedule), meant_for, sequence, span)
                                         : feed.gate.OnRemove(ClaimOf(schedule), meant_for, sequence, span);
  const Acceptance acceptance = Count(outcome.decision.acceptance);
  if (acceptance == Acceptance::kContinue) feed.lost.erase(span);
  ipb::ChangefeedMessage message;
  auto& scheduled = *message.mutable_dispatcher_scheduled();
  *scheduled.mutable_sender() = messenger_.Sender();
  scheduled.set_owner_epoch(outcome.decision.receiver_epoch.value());
  scheduled.set_changefeed(schedule.changefeed());
  scheduled.set_acceptance(static_cast<ipb::ChangefeedAcceptance>(acceptance));
  scheduled.set_span(schedule.span());
  // Only who is heard in the epoch that booted this node hears what was taken of it, and what runs.
  if (IsAccepted(acceptance) || acceptance == Acceptance::kStaleSequence) {
    scheduled.set_sequence(feed.gate.taken().value());
    scheduled.set_gone(!feed.gate.dispatchers().contains(span));
  }
  Enact(id, feed, outcome,
        [respond = std::move(respond), message = std::move(message),
         key = DispatcherPool::Key(id, span)](const DispatcherPool::States& states) mutable {
          if (const auto state = states.find(key); state != states.end()) {
            message.mutable_dispatcher_scheduled()->set_flushed_ts(state->second.report.flushed.value());
          }
          respond(std::move(message));
        });
  if (acceptance == Acceptance::kContinue && spec.ok()) pool_.Create(*std::move(spec));
}

void ChangefeedAgent::OnBarrier(const ipb::DispatcherBarrier& barrier, Respond respond) {
  const ChangefeedId id(barrier.changefeed());
  Feed& feed = FeedOf(id);
  const Decision decision = feed.gate.OnMessage(ClaimOf(barrier));
  respond(AnswerOf(barrier.changefeed(), decision));
  if (!decision.accepted()) return;
  const SchemaChange change{.at = CommitTs(barrier.barrier_ts()),
                            .table = barrier.table(),
                            .schema_version = barrier.schema_version(),
                            .statement = barrier.statement()};
  for (const uint64_t number : barrier.spans()) {
    const SpanId span(number);
    if (!feed.gate.dispatchers().contains(span)) continue;
    if (barrier.step() == ipb::DispatcherBarrier::HOLD) pool_.Hold({id, span}, change);
    if (barrier.step() == ipb::DispatcherBarrier::WRITE) pool_.Write({id, span}, change);
    if (barrier.step() == ipb::DispatcherBarrier::PASS) pool_.Pass({id, span}, change.at);
  }
}

// ---- from dispatchers ----

void ChangefeedAgent::OnProgress(const ipb::DispatchersProgress& progress, Respond respond) {
  const auto found = feeds_.find(ChangefeedId(progress.changefeed()));
  const OwnerEpoch epoch(progress.owner_epoch());
  Decision decision{Acceptance::kNotInView, OwnerEpoch()};
  if (found != feeds_.end()) {
    Feed& feed = found->second;
    decision.receiver_epoch = feed.gate.view();
    if (epoch < feed.gate.view()) {
      decision.acceptance = Acceptance::kStaleEpoch;
    } else if (feed.maintainer && feed.maintainer->epoch() == epoch) {
      decision.acceptance = Acceptance::kContinue;
      feed.maintainer->OnProgress(SenderOf(progress.sender()), progress);
    } else if (epoch == feed.gate.view()) {
      decision.acceptance = Acceptance::kEnded;
    }
  }
  respond(AnswerOf(progress.changefeed(), decision));
}

}  // namespace tenure::changefeed
