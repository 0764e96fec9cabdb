#include "controller/nodes/agent_service.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/format.h"
#include "catalog/controllers.h"
#include "catalog/refusal.h"
#include "catalog/state_moves.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
using catalog::Refuse;

namespace {

// A node that was heard within this time is there, whatever has become of its connection.
constexpr Duration kIsThere = std::chrono::seconds(10);

}  // namespace

class AgentService::HeartbeatStream : public runtime::StreamHandler {
 public:
  HeartbeatStream(AgentService* service, std::unique_ptr<runtime::Stream> stream)
      : service_(service),
        number_(service == nullptr ? 0 : service->next_stream_++),
        stream_(std::move(stream)) {
    if (service_ != nullptr) service_->streams_.insert(this);
  }
  ~HeartbeatStream() override { Detach(); }
  uint64_t number() const { return number_; }

  void OnMessage(std::string message) override {
    if (service_ == nullptr) return;
    ipb::HeartbeatRequest report;
    if (!report.ParseFromString(message)) {
      return Close(Refuse(pb::REASON_INVALID_ARGUMENT, "the message is not a valid HeartbeatRequest"));
    }
    if (const Status allowed = service_->CheckReport(report); !allowed.ok()) return Close(allowed);
    if (node_.IsNone()) Adopt(report);
    if (NodeId(report.node_id()) != node_ || report.registration_epoch() != registration_epoch_) {
      return Close(Refuse(pb::REASON_INVALID_ARGUMENT, "the stream belongs to node {}, registration {}",
                          node_, registration_epoch_));
    }
    const bool taken = service_->load_.OnReport(report, service_->executor_.Now());
    if (taken) service_->TakeRegions(report);
    service_->TakeLeaseReport(report);
    service_->tasks_.OnReport(node_, report, service_->executor_.Now());
    for (const ipb::ProbeResult& probe : report.probes()) {
      if (probe.reached()) service_->load_.OnReached(NodeId(probe.node()), service_->executor_.Now());
    }
    Answer(report, !taken);
    service_->News();
  }

  void OnClosed(Status status) override {
    AgentService* service = service_;
    if (service == nullptr) return;
    if (!node_.IsNone())
      service->logger_.Info("the heartbeat stream of node {} closed: {}", node_, MessageOf(status));
    Detach();
    service->News();
  }

  void Close(const Status& status) {
    AgentService* service = service_;
    Detach();
    stream_->Close(status);
    if (service != nullptr) service->News();
  }

  // Whether there is something this node has not been told.
  void PushIfBehind() {
    if (node_.IsNone()) return;
    const bool asked = service_->transfers_.contains(node_) || service_->probes_.contains(node_) ||
                       service_->tasks_.HasNews(node_) || service_->AwaitedOf(node_) != told_awaited_;
    if (!asked && told_version_ == service_->leaders_.version() && told_unhealthy_ == service_->unhealthy_ &&
        told_controllers_ == service_->controllers_)
      return;
    Send({});
  }

  void Detach() {
    if (service_ == nullptr) return;
    AgentService& service = *std::exchange(service_, nullptr);
    service.streams_.erase(this);
    const auto current = service.by_node_.find(node_);
    if (current == service.by_node_.end() || current->second != this) return;
    service.by_node_.erase(current);
    service.load_.OnDisconnected(node_, registration_epoch_);
    service.tasks_.OnDisconnected(node_);
  }

 private:
  void Adopt(const ipb::HeartbeatRequest& report) {
    node_ = NodeId(report.node_id());
    registration_epoch_ = report.registration_epoch();
    const auto older = service_->by_node_.find(node_);
    HeartbeatStream* replaced = older == service_->by_node_.end() ? nullptr : older->second;
    service_->by_node_[node_] = this;
    if (replaced != nullptr) {
      replaced->Close(Refuse(pb::REASON_STALE_EPOCH, "node {} has opened another heartbeat stream", node_));
    }
    service_->load_.OnConnected(node_, registration_epoch_, service_->executor_.Now());
    service_->tasks_.OnConnected(node_, registration_epoch_);
  }

  void Answer(const ipb::HeartbeatRequest& report, bool request_full) {
    ipb::HeartbeatResponse response;
    response.set_sequence(report.sequence());
    response.set_sent_at_ns(report.sent_at_ns());
    response.set_request_full(request_full);
    service_->Grant(report, response);
    Send(std::move(response));
  }

  void Send(ipb::HeartbeatResponse response) {
    response.set_leader_epoch(service_->epoch_.value());
    response.set_revision(service_->access_.applied().value());
    response.set_incarnation(service_->options_.incarnation);
    response.set_farewell_recorded(service_->FarewellRecorded(node_));
    response.set_newest_format(catalog::kNewestFormat);
    told_awaited_ = service_->AwaitedOf(node_);
    response.set_awaited_revision(told_awaited_.value());
    for (const auto& [region, view] : service_->leaders_.Changes(told_version_)) {
      ipb::RegionLeader& leader = *response.add_leaders();
      leader.set_region(region.value());
      leader.set_node(view.node.value());
      leader.set_term(view.term.value());
    }
    told_version_ = service_->leaders_.version();
    told_unhealthy_ = service_->unhealthy_;
    for (const uint64_t node : told_unhealthy_) response.add_unhealthy_nodes(node);
    if (told_controllers_ != service_->controllers_) {
      told_controllers_ = service_->controllers_;
      for (const auto& [id, address] : told_controllers_) {
        ipb::ControllerPlace& place = *response.add_controllers();
        place.set_id(id);
        place.set_address(address);
      }
    }
    if (const auto probes = service_->probes_.extract(node_); !probes.empty()) {
      for (const NodeId target : probes.mapped()) response.add_probe_nodes(target.value());
    }
    if (auto transfers = service_->transfers_.extract(node_); !transfers.empty()) {
      for (const auto& transfer : transfers.mapped()) *response.add_transfers() = transfer;
    }
    service_->tasks_.FillAnswer(node_, response);
    stream_->Send(response.SerializeAsString());
  }

  AgentService* service_;  // null once closed
  const uint64_t number_;
  std::unique_ptr<runtime::Stream> stream_;
  NodeId node_;  // none before the first report
  uint64_t registration_epoch_ = 0;
  uint64_t told_version_ = 0;
  Revision told_awaited_;
  std::vector<uint64_t> told_unhealthy_;
  std::map<uint64_t, std::string> told_controllers_;
};

AgentService::AgentService(runtime::Executor& executor, CatalogAccess& access, const Leadership& leadership,
                           TaskBoard& tasks, AgentOptions options, Logger logger)
    : executor_(executor),
      access_(access),
      leadership_(leadership),
      options_(std::move(options)),
      logger_(std::move(logger)),
      tasks_(tasks),
      load_(options_.phi) {
  tasks_.SetOnNews([this] { SchedulePush(); });
}

AgentService::~AgentService() {
  observers_.clear();
  while (!streams_.empty()) (*streams_.begin())->Detach();
}

void AgentService::OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) {
  if (info.method != "Register")
    return reply(Error(StatusCode::kUnimplemented, "there is no method {}", info.method));
  Serve<ipb::RegisterRequest, ipb::RegisterResponse>(
      request, std::move(reply),
      [this](auto decoded, auto done) { Register(std::move(decoded), std::move(done)); });
}

void AgentService::Register(ipb::RegisterRequest request, Answer<ipb::RegisterResponse> done) {
  // Only a leader may say so: a single controller in the wrong place must not turn nodes away.
  if (const Status serving = leadership_.CheckServing(); !serving.ok()) return done(serving);
  const std::string own = ClusterId();
  if (!request.cluster_id().empty() && !own.empty() && request.cluster_id() != own) {
    return done(Refuse(pb::REASON_WRONG_CLUSTER, "the node belongs to cluster {}, this is cluster {}",
                       request.cluster_id(), own));
  }
  if (const Status allowed = options_.tokens.Check(request); !allowed.ok()) {
    logger_.Warn("registration refused: {}", MessageOf(allowed));
    return done(allowed);
  }
  const uint32_t newest = catalog::NewestFormatOr1(request.node().newest_format());
  if (newest < access_.catalog().format_version()) {
    return done(
        Refuse(pb::REASON_UNSUPPORTED_FORMAT,
               "the cluster has format {}; the node's program reads formats up to {}: start a newer one",
               access_.catalog().format_version(), newest));
  }
  if (const Status allowed = CheckIncarnation(request); !allowed.ok()) return done(allowed);
  if (const Status allowed = CheckOnlyOne(request.node()); !allowed.ok()) {
    logger_.Warn("registration refused: {}", MessageOf(allowed));
    return done(allowed);
  }
  ipb::CatalogCommand command;
  *command.mutable_register_node()->mutable_node() = std::move(*request.mutable_node());
  access_.ProposeInEpoch(std::move(command), leadership_.epoch(),
                         [this, done = std::move(done)](StatusOr<ipb::CatalogResult> result) mutable {
                           if (!result.ok()) return done(result.status());
                           ipb::RegisterResponse response;
                           response.set_cluster_id(ClusterId());
                           response.set_node_id(result->object_id());
                           response.set_registration_epoch(result->registration_epoch());
                           response.set_revision(result->revision());
                           response.set_incarnation(options_.incarnation);
                           done(std::move(response));
                         });
}

// A node follows its cluster into a higher incarnation; a process that is a controller as well cannot: its
// vote belongs to the members of before.
Status AgentService::CheckIncarnation(const ipb::RegisterRequest& request) const {
  if (request.cluster_id().empty()) return OkStatus();
  const uint64_t theirs = std::max<uint64_t>(request.incarnation(), 1);
  if (theirs > options_.incarnation) {
    if (options_.on_superseded) options_.on_superseded(theirs);
    return Refuse(
        pb::REASON_UNAVAILABLE,
        "this controller is of incarnation {} of the cluster, the node of {}: the controller was left "
        "behind by a recovery",
        options_.incarnation, theirs);
  }
  if (theirs == options_.incarnation || request.controller_id() == 0) return OkStatus();
  return Refuse(
      pb::REASON_STALE_INCARNATION,
      "controller {} is of incarnation {} of cluster {}, the cluster is at incarnation {}: its data "
      "directory was left behind by a recovery and cannot join again",
      request.controller_id(), theirs, ClusterId(), options_.incarnation);
}

// A copy of a node's directory (a snapshot of its machine, started elsewhere) has forgotten what the node has
// promised since, and must not take its place while it is there. A process that starts again where it was is
// no such copy: two cannot answer at one address.
Status AgentService::CheckOnlyOne(const pb::NodeRecord& node) const {
#ifdef TENURE_MUTANT_copied_node_registers
  return OkStatus();
#endif
  const pb::Record* found = access_.catalog().FindNode(node.uuid());
  if (found == nullptr) return OkStatus();
  const pb::NodeRecord& known = found->node();
  if (known.address().empty() || known.address() == node.address()) return OkStatus();
  if (known.state() == pb::NODE_DOWN) return OkStatus();
  const NodeLoad* load = load_.Find(NodeId(known.id()));
  const Duration silence = load_.SilenceOf(NodeId(known.id()), executor_.Now());
  if (silence >= kIsThere || (load != nullptr && load->stopping)) return OkStatus();
  return Refuse(pb::REASON_ALREADY_EXISTS,
                "node {} (uuid {}) is at {}, a process at {} has the same data directory: if it is a copy, "
                "start it with an empty one; a node that has moved is taken once the process before has "
                "stopped, or has not been heard for {} ms ({} ms now)",
                known.id(), known.uuid(), known.address(), node.address(), ToMillis(kIsThere),
                ToMillis(silence));
}

std::string AgentService::ClusterId() const {
  const pb::ClusterRecord* cluster = access_.catalog().cluster();
  return cluster == nullptr ? options_.cluster_id : cluster->cluster_id();
}

std::unique_ptr<runtime::StreamHandler> AgentService::OnStream(const runtime::CallInfo& info,
                                                               std::unique_ptr<runtime::Stream> stream) {
  if (info.method != "Heartbeat") return nullptr;
#ifdef TENURE_MUTANT_heartbeats_wait_for_load
  Status allowed = leadership_.CheckLoadReady();
#else
  Status allowed = leadership_.CheckLeading();
#endif
  // Leading, but the services of this epoch are a turn away: heartbeats wait for nothing else.
  if (allowed.ok() && epoch_ != leadership_.epoch()) allowed = leadership_.CheckServing();
  if (allowed.ok() && epoch_.IsNone()) allowed = Refuse(pb::REASON_UNAVAILABLE, "the controller is starting");
  auto handler = std::make_unique<HeartbeatStream>(allowed.ok() ? this : nullptr, std::move(stream));
  if (!allowed.ok()) handler->Close(allowed);
  return handler;
}

Status AgentService::CheckReport(const ipb::HeartbeatRequest& report) const {
  if (report.incarnation() > options_.incarnation) {
    if (options_.on_superseded) options_.on_superseded(report.incarnation());
    return catalog::NotLeaderRefusal(0, "");
  }
  // Epochs of a lower incarnation say nothing: those who led them may have been lost with terms of their own.
  const bool comparable = std::max<uint64_t>(report.incarnation(), 1) == options_.incarnation;
  if (comparable && report.leader_epoch() > epoch_.value()) return catalog::NotLeaderRefusal(0, "");
  const auto found = access_.catalog().nodes().find(report.node_id());
  if (found == access_.catalog().nodes().end() || found->second.node().state() == pb::NODE_REMOVED) {
    return Refuse(pb::REASON_NOT_FOUND, "node {} does not exist in this cluster", report.node_id());
  }
  const uint64_t current = found->second.node().registration_epoch();
  if (report.registration_epoch() != current) {
    return Refuse(pb::REASON_STALE_EPOCH,
                  "node {}: registration {} is not the present one ({}): register again", report.node_id(),
                  report.registration_epoch(), current);
  }
  return OkStatus();
}

void AgentService::TakeLeaseReport(const ipb::HeartbeatRequest& report) {
  LeaseReport facts;
  facts.node = NodeId(report.node_id());
  facts.registration_epoch = report.registration_epoch();
  facts.sent_at_ns = report.sent_at_ns();
  // Of another incarnation of the cluster it is the epoch of another leader.
  if (std::max<uint64_t>(report.incarnation(), 1) == options_.incarnation)
    facts.seen_epoch = Term(report.leader_epoch());
  const auto& record = access_.catalog().nodes().at(report.node_id()).node();
  const bool knows_leases = catalog::NewestFormatOr1(record.newest_format()) >= catalog::kFormatOfLeases;
  facts.serving = Revision(knows_leases ? report.serving_revision() : report.revision());
  facts.given_up = report.lease_given_up();
  facts.confirms = report.confirmed_fencing();
  facts.lease_left_ms = report.lease_left_ms();
  facts.fenced_ms = report.fenced_ms();
  facts.fenced_reason = report.fenced_reason();
  contacts_.OnReport(facts);
}

void AgentService::Grant(const ipb::HeartbeatRequest& report, ipb::HeartbeatResponse& response) {
  if (report.stopping() || report.lease_given_up()) return;
  const pb::NodeState state = access_.catalog().nodes().at(report.node_id()).node().state();
  if (state == pb::NODE_REMOVING || state == pb::NODE_REMOVED) return;
#ifndef TENURE_MUTANT_grant_without_leader_lease
  if (!access_.group().HoldsLease()) return;
#endif
  const catalog::Fencing fencing = catalog::FencingOf(access_.catalog().cluster());
  ipb::LeaseGrant& lease = *response.mutable_lease();
  lease.set_length_ms(ToMillis(fencing.fence_time));
  lease.set_version(fencing.version.value());
  lease.set_mode(fencing.mode);
  contacts_.OnGranted(NodeId(report.node_id()), report.sent_at_ns(), executor_.Now());
}

Revision AgentService::AwaitedOf(NodeId node) const {
  if (awaited_.empty()) return Revision();
  const LeaseReport* report = contacts_.Find(node);
  const auto next = awaited_.upper_bound(report == nullptr ? Revision() : report->serving);
  return next == awaited_.end() ? Revision() : *next;
}

void AgentService::Await(Revision revision) {
  awaited_.insert(revision);
  // Whoever waits is worth a message of its own; the rest waits for company.
  push_scheduled_ = true;
  push_ = executor_.After(Duration::zero(), [this] {
    push_scheduled_ = false;
    Push();
  });
}

void AgentService::EndAwait(Revision revision) {
  if (const auto found = awaited_.find(revision); found != awaited_.end()) awaited_.erase(found);
}

bool AgentService::FarewellRecorded(NodeId node) const {
  const NodeLoad* load = load_.Find(node);
  if (load == nullptr || !load->stopping) return false;
  const auto found = access_.catalog().nodes().find(node.value());
  if (found == access_.catalog().nodes().end()) return true;
  const pb::NodeState state = found->second.node().state();
  return state != pb::NODE_JOINING && state != pb::NODE_UP && state != pb::NODE_SUSPECT;
}

void AgentService::TakeRegions(const ipb::HeartbeatRequest& report) {
  const uint64_t before = leaders_.version();
  const auto& regions = access_.catalog().regions();
  for (const pb::RegionLoad& load : report.regions()) {
    const auto record = regions.find(load.region());
    if (record == regions.end()) continue;
    leaders_.OnReport(NodeId(report.node_id()), load, record->second.region());
    if (load.has_configuration() &&
        load.configuration().index() > record->second.region().configuration_index()) {
      reconfigured_.insert(RegionId(load.region()));
    }
  }
  if (leaders_.version() != before) SchedulePush();
}

void AgentService::RequestTransfer(NodeId leader, RegionId region, ReplicaId to) {
  auto& transfers = transfers_[leader];
  std::erase_if(transfers, [&](const auto& transfer) { return transfer.region() == region.value(); });
  ipb::TransferRegion& transfer = transfers.emplace_back();
  transfer.set_region(region.value());
  transfer.set_to_replica(to.value());
  SchedulePush();
}

void AgentService::RequestProbe(NodeId by, NodeId node) {
  if (probes_[by].insert(node).second) SchedulePush();
}

void AgentService::OnCatalogChanged(const std::vector<pb::Event>& events, Revision) {
  bool changed = false;
  for (const pb::Event& event : events) {
    const pb::Record& record = event.has_new_record() ? event.new_record() : event.old_record();
    changed = changed || record.has_node() || record.has_controller();
    if (record.has_region() && !event.has_new_record()) leaders_.Forget(RegionId(record.region().id()));
  }
  if (!changed) return;
  LookAtCatalog();
  if (!epoch_.IsNone()) SchedulePush();
}

void AgentService::LookAtCatalog() {
  unhealthy_.clear();
  for (const auto& [id, record] : access_.catalog().nodes()) {
    const pb::NodeState state = record.node().state();
    if (state == pb::NODE_SUSPECT || state == pb::NODE_DOWN) unhealthy_.push_back(id);
  }
  controllers_.clear();
  for (const auto& [id, record] : access_.catalog().controllers()) {
    const pb::ControllerRecord& controller = record.controller();
    if (!catalog::IsRemoved(controller) && !controller.address().empty())
      controllers_[id] = controller.address();
  }
}

void AgentService::SchedulePush() {
  if (std::exchange(push_scheduled_, true)) return;
  push_ = executor_.After(options_.push_delay, [this] {
    push_scheduled_ = false;
    Push();
  });
}

void AgentService::Push() {
  for (HeartbeatStream* stream : streams_) stream->PushIfBehind();
}

void AgentService::News() {
  for (const auto& observer : observers_) observer();
}

runtime::Task<Status> AgentService::Start(Term epoch, runtime::StopToken) {
  epoch_ = epoch;
  load_.Begin(executor_.Now());
  contacts_.Begin(epoch, executor_.Now());
  leaders_.Clear();
  tasks_.Begin(epoch);
  reconfigured_.clear();
  transfers_.clear();
  probes_.clear();
  LookAtCatalog();
  co_return OkStatus();
}

void AgentService::Stop() {
  epoch_ = Term();
  push_.Cancel();
  push_scheduled_ = false;
  const Status ended = leadership_.NotLeader();
  while (!streams_.empty()) (*streams_.begin())->Close(ended);
  load_.Clear();
  contacts_.Clear();
  awaited_.clear();
  leaders_.Clear();
  tasks_.Clear();
  transfers_.clear();
  probes_.clear();
}

}  // namespace tenure::controller
