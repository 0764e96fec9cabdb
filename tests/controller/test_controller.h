// The services of one controller over a catalog that needs no consensus: what is proposed is applied in the
// next turn, unless the test holds it back or says otherwise.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "catalog/refusal.h"
#include "controller/api/catalog_service.h"
#include "controller/api/changefeeds_service.h"
#include "controller/api/cluster_service.h"
#include "controller/api/fencing_api.h"
#include "controller/api/procedures_service.h"
#include "controller/barriers/barrier_service.h"
#include "controller/changefeeds/changefeed_coordinator.h"
#include "controller/leadership/cluster_record.h"
#include "controller/leadership/standby_view.h"
#include "controller/leases/bound_keeper.h"
#include "controller/nodes/node_monitor.h"
#include "controller/nodes/region_reports.h"
#include "controller/placement/region_scheduler.h"
#include "controller/procedure/adoption.h"
#include "controller/procedure/procedure_engine.h"
#include "controller/procedure/types/procedure_types.h"
#include "kv/memory_engine.h"
#include "tenure/internal/v1/node.pb.h"
#include "tests/client/fake_network.h"
#include "tests/runtime/manual_executor.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

class FakeGroup : public CatalogGroup {
 public:
  FakeGroup(runtime::Executor& executor, CatalogMachine& machine)
      : executor_(executor), machine_(machine.MakeAdapter()) {
    machine_->Reset(state_, LogIndex());
  }

  void Propose(std::string command, Callback<group::ProposeOutcome> done) override {
    if (next_outcome) {
      group::ProposeOutcome outcome{.kind = *std::exchange(next_outcome, std::nullopt)};
      executor_.Post([done = std::move(done), outcome]() mutable { done(outcome); });
      return;
    }
    if (!leads) {
      done({.kind = group::ProposeOutcome::Kind::kNotLeader, .leader = leader});
      return;
    }
    pending_.push_back({std::move(command), std::move(done)});
    if (!hold) PostApply();
  }
  void Read(Callback<Status> done) override {
    ++reads;
    executor_.Post([this, done = std::move(done)]() mutable {
      done(leads ? OkStatus() : absl::UnavailableError("not the leader"));
    });
  }
  raft::ProposeResult TransferLeadership(ReplicaId to) override {
    transferred_to = to;
    return raft::ProposeResult::kAccepted;
  }
  // In force at once, and decided.
  void ProposeConfiguration(const raft::Configuration& target,
                            Callback<group::ProposeOutcome> done) override {
    configurations.push_back(target);
    status.configuration = target;
    executor_.Post(
        [done = std::move(done)]() mutable { done({.kind = group::ProposeOutcome::Kind::kApplied}); });
  }
  std::optional<group::GroupStatus> StatusOf() const override { return status; }
  std::optional<Duration> Staleness() const override { return std::chrono::milliseconds(40); }
  bool HasWholeState() const override { return true; }
  bool HoldsLease() override { return leads && lease; }

  // One batch of all that is held.
  void Release() {
    hold = false;
    PostApply();
  }

  bool hold = false;
  bool leads = true;
  bool lease = true;  // the leader lease, while it leads
  ReplicaId leader;
  Term term{7};
  int reads = 0;
  std::optional<group::ProposeOutcome::Kind> next_outcome;
  ReplicaId transferred_to;
  std::vector<raft::Configuration> configurations;  // asked for
  group::GroupStatus status;

 private:
  struct Pending {
    std::string command;
    Callback<group::ProposeOutcome> done;
  };

  void PostApply() {
    executor_.Post([this] { ApplyAll(); });
  }
  void ApplyAll() {
    if (pending_.empty()) return;
    kv::Overlay overlay(engine_, "p/");
    std::vector<std::pair<Callback<group::ProposeOutcome>, group::ProposeOutcome>> answers;
    std::deque<Pending> batch = std::exchange(pending_, {});
    std::vector<std::string_view> commands;
    for (const Pending& pending : batch) commands.push_back(pending.command);
    machine_->Prepare(commands, overlay);
    for (Pending& pending : batch) {
      applied_ = applied_.Next();
      group::ProposeOutcome outcome{.kind = group::ProposeOutcome::Kind::kApplied, .index = applied_};
      outcome.result = machine_->Apply({applied_, term}, pending.command, overlay);
      answers.emplace_back(std::move(pending.done), std::move(outcome));
    }
    machine_->FinishBatch(overlay);
    engine_.Write(overlay.TakeBatch());
    machine_->OnBatchWritten(applied_);
    for (auto& [done, outcome] : answers) done(std::move(outcome));
  }

  runtime::Executor& executor_;
  kv::MemoryEngine engine_{std::make_shared<kv::MemoryStore>(), executor_};
  kv::PrefixReader state_{engine_, "p/"};
  std::unique_ptr<group::StateMachine> machine_;
  std::deque<Pending> pending_;
  LogIndex applied_;
};

inline std::vector<pb::ControllerRecord> ThreeControllers() {
  std::vector<pb::ControllerRecord> controllers;
  for (uint64_t id = 1; id <= 3; ++id) {
    pb::ControllerRecord& record = controllers.emplace_back();
    record.set_id(id);
    record.set_name("c" + std::to_string(id));
    record.set_address("c" + std::to_string(id) + ":7100");
  }
  return controllers;
}

// Nothing holds it up.
struct OpenBarrier : public ClusterBarrier {
  runtime::Task<Status> Pass(Revision, Duration, runtime::StopToken) override { co_return OkStatus(); }
};

// From when on every region keeps its changes; until a test says so, none does.
struct FakeHistory : public ChangeHistory {
  runtime::Task<StatusOr<changefeed::CommitTs>> BeginOf(uint64_t, runtime::StopToken) override {
    ++asked;
    co_return begin;
  }
  StatusOr<changefeed::CommitTs> begin = Error(StatusCode::kUnavailable, "no region keeps its changes");
  int asked = 0;
};

class TestController {
 public:
  static constexpr const char* kEndpoint = "c1:7100";

  explicit TestController(WatchOptions watch = {}, runtime::ManualExecutor* shared = nullptr,
                          runtime::FakeNetwork* shared_network = nullptr, uint64_t of_incarnation = 1,
                          catalog::JoinTokens with_tokens = {})
      : own_executor_(shared == nullptr ? std::make_unique<runtime::ManualExecutor>() : nullptr),
        executor(shared == nullptr ? *own_executor_ : *shared),
        own_network_(shared_network == nullptr ? std::make_unique<runtime::FakeNetwork>(executor) : nullptr),
        fake_network(shared_network == nullptr ? *own_network_ : *shared_network),
        incarnation(of_incarnation),
        tokens(std::move(with_tokens)),
        watches(executor, leadership, watch, {}) {
    for (CatalogListener* listener : std::initializer_list<CatalogListener*>{
             &agents, &procedures, &adoption, &database_api, &watches, &barriers, &changefeeds}) {
      machine.AddListener(*listener);
    }
    machine.SetEventSink([this](catalog::Events events) { watches.Take(std::move(events)); });
    for (LeaderService* service : std::initializer_list<LeaderService*>{
             &agents, &cluster_record, &watches, &barriers, &bound_keeper, &monitor, &region_reports,
             &procedures, &changefeeds, &adoption, &scheduler, &database_api}) {
      leadership.AddService(*service);
    }
    network->Serve(CatalogService::kName, catalog_service);
    network->Serve(ClusterService::kName, cluster_service);
    network->Serve(RegionsService::kName, regions_service);
    network->Serve(AgentService::kName, agents);
    network->Serve(ProceduresService::kName, procedures_service);
    network->Serve(ChangefeedsService::kName, changefeeds_service);
    network->Serve(ChangefeedCoordinator::kName, changefeeds);
    procedure_types.AddTo(procedures);
    group.status.self = ReplicaId(1);
    for (uint64_t id = 1; id <= 3; ++id) group.status.configuration.members.push_back({ReplicaId(id), id});
  }
  ~TestController() {
    bool stopped = false;
    cluster_service.Stop([&] {
      regions_service.Stop([&] {
        fencing_api.StopAndJoin([&] {
          changefeeds_service.StopAndJoin([&] {
            leadership.Stop(
                [&] { changefeeds.StopAndJoin([&] { procedures.StopAndJoin([&] { stopped = true; }); }); });
          });
        });
      });
    });
    executor.Advance(std::chrono::seconds(1));
    EXPECT_TRUE(stopped);
    executor.Stop();
  }

  void Lead(uint64_t term = 7) {
    group.leads = true;
    group.term = Term(term);
    group.status.role = raft::Role::kLeader;
    group.status.leader = ReplicaId(1);
    group.status.term = Term(term);
    leadership.OnRoleChange({raft::Role::kLeader, Term(term), ReplicaId(1)});
    leadership.OnServing(Term(term));
    executor.Advance(std::chrono::milliseconds(1));
  }
  void Follow(uint64_t term, uint64_t leader) {
    group.leads = false;
    group.leader = ReplicaId(leader);
    group.status.role = raft::Role::kFollower;
    group.status.leader = ReplicaId(leader);
    group.status.term = Term(term);
    leadership.OnRoleChange({raft::Role::kFollower, Term(term), ReplicaId(leader)});
    executor.Advance(std::chrono::milliseconds(1));
  }

  template <class Response, class Request>
  StatusOr<Response> Call(std::string_view method, const Request& request,
                          Duration timeout = std::chrono::seconds(10),
                          Duration wait = std::chrono::milliseconds(1)) {
    std::optional<StatusOr<Response>> result;
    Start<Response>(method, request, timeout, [&](StatusOr<Response> r) { result = std::move(r); });
    executor.Advance(wait);
    return result ? std::move(*result) : StatusOr<Response>(absl::InternalError("no answer yet"));
  }
  template <class Response, class Request>
  void Start(std::string_view method, const Request& request, Duration timeout,
             Callback<StatusOr<Response>> done) {
    network->Call(kEndpoint, method, request.SerializeAsString(), timeout,
                  [done = std::move(done)](StatusOr<std::string> bytes) mutable {
                    if (!bytes.ok()) return done(bytes.status());
                    Response response;
                    EXPECT_TRUE(response.ParseFromString(*bytes));
                    done(std::move(response));
                  });
  }
  StatusOr<pb::ChangeResponse> Put(std::string_view key, std::string_view value) {
    pb::PutEntryRequest request;
    request.set_key(std::string(key));
    request.set_value(std::string(value));
    return Call<pb::ChangeResponse>("tenure.v1.Catalog/PutEntry", request);
  }

 private:
  std::unique_ptr<runtime::ManualExecutor> own_executor_;

 public:
  runtime::ManualExecutor& executor;

 private:
  std::unique_ptr<runtime::FakeNetwork> own_network_;

 public:
  runtime::FakeNetwork& fake_network;
  std::unique_ptr<runtime::Network> network = fake_network.MakeView(kEndpoint);
  CatalogMachine machine{{}, {}};
  ControllerDirectory directory{ThreeControllers(), machine.catalog()};
  Leadership leadership{executor, ReplicaId(1), directory, {}, {}};
  FakeGroup group{executor, machine};
  CatalogAccess access{executor, group, machine, leadership, {}};
  ClusterRecordService cluster_record{executor, access, "cluster", ThreeControllers()[0], ThreeControllers()};
  const uint64_t incarnation;
  const catalog::JoinTokens tokens;
  uint64_t superseded_by = 0;
  TaskBoard tasks{machine.catalog()};
  AgentService agents{executor,
                      access,
                      leadership,
                      tasks,
                      {.cluster_id = "cluster",
                       .incarnation = incarnation,
                       .on_superseded = [this](uint64_t by) { superseded_by = by; },
                       .tokens = tokens},
                      {}};
  NodeMonitor monitor{executor, access, agents, {}, {}};
  RegionReports region_reports{executor, access, agents, {}};
  OpenBarrier procedure_barrier;
  ProcedureTypes procedure_types{{}, procedure_barrier};
  ProcedureEngine procedures{executor, *network, access, agents, tasks, {.kept_for = std::chrono::hours(2)},
                             Prng(1),  {}};
  Adoption adoption{executor, access, {}};
  RegionScheduler scheduler{executor, access, agents, {.repair_after = std::chrono::seconds(60)},
                            Prng(3),  {}};
  DatabaseApi database_api{executor, access, leadership, agents, {}};
  WatchHub watches;
  BarrierService barriers{executor, access, agents, watches, nullptr, {}};
  BoundKeeper bound_keeper{executor, access, agents, {}};
  FencingApi fencing_api{executor, access, leadership, agents, barriers};
  StandbyView standby{executor, *network, leadership, {}, directory, agents.load(), {}};
  Observation observation{executor, access, leadership, directory, agents, standby, "cluster", incarnation};
  CatalogService catalog_service{executor, access, leadership, watches, database_api, {}};
  PlacementApi placement_api{executor, access, leadership, agents, Prng(2)};
  ClusterService cluster_service{executor, access, leadership, observation, placement_api, fencing_api};
  RegionsService regions_service{executor, access, leadership, observation, agents, placement_api};
  ProceduresService procedures_service{access, leadership, procedures};
  FakeHistory history;
  NodeCalls node_calls{executor, *network, access, agents, 1, incarnation};
  ChangefeedCoordinator changefeeds{executor, access,        barriers, node_calls,
                                    history,  FeedOptions(), Prng(4),  {}};
  ChangefeedsService changefeeds_service{executor, access, leadership, changefeeds, history};
};

// A client's end of a stream that keeps what it hears.
template <class Message>
class StreamRecorder : public runtime::StreamHandler {
 public:
  void OnMessage(std::string bytes) override {
    Message& message = messages.emplace_back();
    EXPECT_TRUE(message.ParseFromString(bytes));
  }
  void OnClosed(Status status) override { closed = std::move(status); }

  std::vector<Message> messages;
  std::optional<Status> closed;
};

// A node's answer to BeginOfChanges: all regions keep their changes, and their newest one is of `ts`.
inline std::string ResolvedTo(uint64_t ts, const std::string& question) {
  ipb::BeginOfChangesRequest asked;
  EXPECT_TRUE(asked.ParseFromString(question));
  ipb::BeginOfChangesResponse answer;
  for (const uint64_t region : asked.regions()) {
    auto& log = *answer.add_logs();
    log.set_region(region);
    log.set_begin_ts(1);
    log.set_resolved_ts(ts);
  }
  return answer.SerializeAsString();
}

// A node as the controller sees it.
class FakeNode {
 public:
  FakeNode(TestController& controller, const std::string& uuid) : controller_(controller), uuid_(uuid) {}

  void Register() {
    ipb::RegisterRequest request;
    request.set_cluster_id("cluster");
    request.mutable_node()->set_uuid(uuid_);
    request.mutable_node()->set_address(uuid_ + ":1");
    request.mutable_node()->set_resp_address(uuid_ + ":2");
    request.mutable_node()->set_newest_format(catalog::kNewestFormat);
    const auto response =
        controller_.Call<ipb::RegisterResponse>("tenure.internal.v1.Agent/Register", request);
    ASSERT_TRUE(response.ok()) << response.status();
    id = response->node_id();
    registration = response->registration_epoch();
  }
  void Connect() {
    stream.reset();
    taken_ = 0;
    heard = std::make_unique<StreamRecorder<ipb::HeartbeatResponse>>();
    stream = controller_.network->OpenStream(TestController::kEndpoint, "tenure.internal.v1.Agent/Heartbeat",
                                             *heard, {});
    Beat(true);
  }
  // A full report says all that is in `regions`.
  void Beat(bool full = false) {
    ipb::HeartbeatRequest report = next;
    next.Clear();
    report.set_node_id(id);
    report.set_registration_epoch(registration);
    report.set_sequence(++sequence);
    report.set_sent_at_ns(controller_.executor.Now().time_since_epoch().count());
    report.set_revision(controller_.access.applied().value());
    report.set_full(full);
    for (const uint64_t region : lost) report.add_lost_regions(region);
    if (full) {
      for (const auto& [region, load] : regions) *report.add_regions() = load;
    }
    FillTasks(full, report);
    stream->Send(report.SerializeAsString());
    controller_.executor.Advance(std::chrono::milliseconds(1));
  }
  void ReportRegion(uint64_t region, uint64_t term, uint64_t replica, bool leads, uint64_t leader_replica) {
    pb::RegionLoad load;
    load.set_region(region);
    load.set_term(term);
    load.set_replica(replica);
    load.set_is_leader(leads);
    load.set_leader_replica(leader_replica);
    regions[region] = load;
    *next.add_regions() = load;
    Beat();
  }
  // What an answer brought is taken as a node takes it; `work` says how each new task ends (TASK_PROCESSING:
  // not yet).
  void TakeTasks() {
    for (; taken_ < heard->messages.size(); ++taken_) {
      const ipb::HeartbeatResponse& answer = heard->messages[taken_];
      const auto newer = [&](uint64_t number) {
        const std::pair<uint64_t, uint64_t> pair(answer.leader_epoch(), number);
        if (pair <= std::pair(task_epoch, task_sequence)) return false;
        std::tie(task_epoch, task_sequence) = pair;
        return true;
      };
      for (const ipb::TaskForget& forget : answer.forget_tasks()) {
        if (newer(forget.sequence())) tasks.erase(forget.key().SerializeAsString());
      }
      for (const ipb::TaskSubmit& submit : answer.tasks()) {
        if (!newer(submit.sequence()) || submit.registration_epoch() != registration) continue;
        const auto [it, fresh] = tasks.try_emplace(submit.key().SerializeAsString());
        if (!fresh) continue;
        ++started;
        submits.push_back(submit);
        *it->second.mutable_key() = submit.key();
        it->second.set_state(work(submit));
        if (it->second.state() == ipb::TASK_FAIL) it->second.set_error("cannot");
      }
    }
  }
  // `heard` was emptied.
  void Forget() { taken_ = 0; }
  // The process was started again: it knows of no task.
  void Restart() {
    tasks.clear();
    task_epoch = task_sequence = 0;
    Register();
    Connect();
  }
  void End(const ipb::TaskKey& key, ipb::TaskState state) {
    ipb::TaskReport& report = tasks.at(key.SerializeAsString());
    report.set_state(state);
    if (state == ipb::TASK_FAIL) report.set_error("cannot");
    Beat();
  }
  pb::NodeState State() const { return controller_.machine.catalog().nodes().at(id).node().state(); }

  uint64_t id = 0;
  uint64_t registration = 0;
  uint64_t sequence = 0;
  std::map<uint64_t, pb::RegionLoad> regions;
  std::set<uint64_t> lost;     // regions whose replica here was dropped by a repair
  ipb::HeartbeatRequest next;  // what the next report says beside that
  std::unique_ptr<StreamRecorder<ipb::HeartbeatResponse>> heard;
  std::unique_ptr<runtime::Stream> stream;
  std::map<std::string, ipb::TaskReport> tasks;
  uint64_t task_epoch = 0;
  uint64_t task_sequence = 0;
  int started = 0;
  std::vector<ipb::TaskSubmit> submits;  // taken
  std::function<ipb::TaskState(const ipb::TaskSubmit&)> work = [](const auto&) { return ipb::TASK_SUCCESS; };

 private:
  void FillTasks(bool full, ipb::HeartbeatRequest& report) {
    if (!full) TakeTasks();
    for (const auto& [key, task] : tasks) *report.add_tasks() = task;
    report.set_task_epoch(task_epoch);
    report.set_task_sequence(task_sequence);
  }

  TestController& controller_;
  size_t taken_ = 0;
  const std::string uuid_;
};

}  // namespace tenure::controller
