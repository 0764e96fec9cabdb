// What surrounds nodes in a test: the fabric that carries Raft messages and calls between them, files in
// memory, and controllers reduced to what nodes see of them.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "catalog/refusal.h"
#include "group/transport.h"
#include "node/cluster_link.h"
#include "runtime/disk.h"
#include "runtime/network.h"
#include "tenure/internal/v1/agent.pb.h"
#include "tests/runtime/manual_executor.h"

namespace tenure::node {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

// Carries everything between nodes; a node that is cut off is neither heard nor reached.
class Fabric {
 public:
  explicit Fabric(runtime::ManualExecutor& executor) : executor_(executor) {}
  std::set<uint64_t> cut;
  std::set<std::string> silent;        // endpoints that let callers wait until their time is up
  std::deque<runtime::Timer> waiting;  // for those
  std::map<uint64_t, group::MessageReceiver*> receivers;                     // by node
  std::map<std::string, std::map<std::string, runtime::Service*>> services;  // by endpoint, by name
  runtime::ManualExecutor& executor() { return executor_; }
  bool Reaches(uint64_t from, uint64_t to) const { return !cut.contains(from) && !cut.contains(to); }

 private:
  runtime::ManualExecutor& executor_;
};

class FabricTransport final : public group::Transport {
 public:
  explicit FabricTransport(Fabric& fabric) : fabric_(fabric) {}
  ~FabricTransport() override {
    if (fabric_.receivers[self_] == receiver_) fabric_.receivers.erase(self_);
  }
  void SetReceiver(group::MessageReceiver* receiver) override { receiver_ = receiver; }
  void SetSelf(uint64_t host) override {
    self_ = host;
    fabric_.receivers[host] = receiver_;
  }
  uint64_t self() const override { return self_; }
  void SetClusterId(std::string) override {}
  void SendHeartbeat(uint64_t to_host, const group::HostHeartbeat& heartbeat) override {
    ++counters_.heartbeats;
    fabric_.executor().Post([&fabric = fabric_, self = self_, to_host, heartbeat] {
      const auto it = fabric.receivers.find(to_host);
      if (it == fabric.receivers.end() || !fabric.Reaches(self, to_host)) return;
      it->second->OnHostHeartbeat(heartbeat);
    });
  }
  group::TransportCounters counters() const override { return counters_; }
  void SetIncarnation(uint64_t) override {}
  void SetOnSuperseded(std::function<void(uint64_t)>) override {}
  void Send(uint64_t to_host, GroupId group, ReplicaId from, ReplicaId to,
            const raft::Message& message) override {
    ++counters_.messages;
    fabric_.executor().Post([&fabric = fabric_, self = self_, to_host, group, from, to, message] {
      const auto it = fabric.receivers.find(to_host);
      if (it == fabric.receivers.end() || !fabric.Reaches(self, to_host)) return;
      it->second->OnRaftMessage(group, from, to, self, message);
    });
  }
  void Flush() override {}
  void Offer(uint64_t, const group::SnapshotOffer&, Callback<StatusOr<uint64_t>> done) override {
    done(absl::UnimplementedError("no snapshots"));
  }
  void PutChunk(uint64_t, group::SnapshotChunk, Callback<StatusOr<uint64_t>> done) override {
    done(absl::UnimplementedError("no snapshots"));
  }
  group::AddressBook& addresses() override { return addresses_; }

 private:
  Fabric& fabric_;
  uint64_t self_ = 0;
  group::TransportCounters counters_;
  group::MessageReceiver* receiver_ = nullptr;
  group::AddressBook addresses_;
};

// Unary calls between nodes.
class FabricNetwork final : public runtime::Network {
 public:
  FabricNetwork(Fabric& fabric, std::string endpoint) : fabric_(fabric), endpoint_(std::move(endpoint)) {}
  ~FabricNetwork() override { fabric_.services.erase(endpoint_); }
  void Call(const runtime::Endpoint& to, std::string_view method, std::string request, Duration limit,
            Callback<StatusOr<std::string>> done) override {
    if (fabric_.silent.contains(to)) {
      fabric_.waiting.push_back(fabric_.executor().After(
          limit, [done = std::move(done)]() mutable { done(absl::DeadlineExceededError("no answer")); }));
      return;
    }
    const std::string name(method.substr(0, method.find('/')));
    const std::string call(method.substr(method.find('/') + 1));
    runtime::Service* service = fabric_.services[to][name];
    fabric_.executor().Post([service, call, request = std::move(request), done = std::move(done)]() mutable {
      if (service == nullptr) return done(absl::UnavailableError("nobody listens"));
      service->OnCall({.method = call, .peer = "test", .deadline = kFarFuture}, std::move(request),
                      std::move(done));
    });
  }
  std::unique_ptr<runtime::Stream> OpenStream(const runtime::Endpoint&, std::string_view,
                                              runtime::StreamHandler&, runtime::StreamOptions) override {
    return nullptr;
  }
  void Serve(std::string_view name, runtime::Service& service) override {
    fabric_.services[endpoint_][std::string(name)] = &service;
  }

 private:
  Fabric& fabric_;
  const std::string endpoint_;
};

// Files by path, enough for WriteWholeFile and ReadWholeFile.
class MemoryDisk final : public runtime::Disk {
 public:
  std::map<std::string, std::string> files;
  // False: a disk that fails.
  bool lists = true;

  StatusOr<std::unique_ptr<runtime::File>> Open(const std::string& path, runtime::OpenMode mode) override {
    if (mode != runtime::OpenMode::kCreate && !files.contains(path)) {
      return Error(StatusCode::kNotFound, "{}: no such file", path);
    }
    return std::make_unique<MemoryFile>(files[path]);
  }
  Status Rename(const std::string& from, const std::string& to) override {
    files[to] = std::move(files[from]);
    files.erase(from);
    return OkStatus();
  }
  Status Remove(const std::string& path) override {
    files.erase(path);
    return OkStatus();
  }
  Status MakeDirectories(const std::string&) override { return OkStatus(); }
  bool Exists(const std::string& path) override { return files.contains(path); }
  StatusOr<std::vector<std::string>> List(const std::string& path) override {
    if (!lists) return Error(StatusCode::kDataLoss, "{}: input/output error", path);
    return std::vector<std::string>();
  }
  Status SyncDirectory(const std::string&) override { return OkStatus(); }
  StatusOr<std::unique_ptr<runtime::FileLock>> Lock(const std::string&) override {
    return absl::UnimplementedError("no locks");
  }
  StatusOr<uint64_t> FreeBytes(const std::string&) override { return uint64_t{1} << 40; }

 private:
  class MemoryFile final : public runtime::File {
   public:
    explicit MemoryFile(std::string& content) : content_(content) {}
    StatusOr<std::string> Read(uint64_t offset, size_t size) const override {
      return offset >= content_.size() ? std::string() : content_.substr(offset, size);
    }
    Status Write(uint64_t offset, std::string_view bytes) override {
      if (content_.size() < offset + bytes.size()) content_.resize(offset + bytes.size());
      content_.replace(offset, bytes.size(), bytes);
      return OkStatus();
    }
    void Sync(Callback<Status> done) override { done(OkStatus()); }
    Status SyncNow() override { return OkStatus(); }
    Status Truncate(uint64_t size) override {
      content_.resize(size);
      return OkStatus();
    }
    StatusOr<uint64_t> Size() const override { return content_.size(); }

   private:
    std::string& content_;
  };
};

// Controllers as one: records with revisions, a watch history, registrations, heartbeats.
class FakeControllers {
 public:
  explicit FakeControllers(runtime::ManualExecutor& executor) : executor_(executor) {}

  bool up = true;
  std::string cluster_id = "cluster-a";
  uint64_t leader_epoch = 1;
  uint64_t incarnation = 1;
  std::map<uint64_t, ipb::HeartbeatRequest> last_report;  // by node
  std::map<uint64_t, std::map<uint64_t, pb::RegionLoad>> loads;
  std::vector<ipb::HeartbeatRequest> reports;
  std::vector<ipb::RegionLeader> leaders_to_tell;
  std::vector<uint64_t> unhealthy;
  std::vector<ipb::TransferRegion> transfers;  // given to the next report of anybody
  bool record_farewells = true;
  std::map<uint64_t, std::string> places;            // of controllers; told once
  int warming_up = 0;                                // registrations refused so, before one is accepted
  std::map<uint64_t, std::vector<uint64_t>> probes;  // asked of a node with its next answer
  // Given to a node with its next answer.
  std::map<uint64_t, std::vector<ipb::TaskSubmit>> submits;
  std::map<uint64_t, std::vector<ipb::TaskForget>> forgets;
  // By node and procedure: what a node said last of its tasks, one step and attempt each in these tests.
  std::map<uint64_t, std::map<uint64_t, ipb::TaskReport>> tasks;
  uint64_t task_sequence = 0;
  void Submit(uint64_t node, uint64_t procedure, ipb::TaskPayload payload) {
    ipb::TaskSubmit& submit = submits[node].emplace_back();
    submit.mutable_key()->set_procedure(procedure);
    submit.mutable_key()->set_step("step");
    submit.mutable_key()->set_attempt(1);
    submit.set_sequence(++task_sequence);
    submit.set_registration_epoch(records_.at({pb::RECORD_NODE, node}).node().registration_epoch());
    submit.set_revision(revision_);
    *submit.mutable_payload() = std::move(payload);
  }
  static ipb::TaskPayload Creation(const std::vector<std::pair<uint64_t, uint64_t>>& replicas) {
    ipb::TaskPayload payload;
    Fill(replicas, *payload.mutable_create_replicas());
    return payload;
  }
  static ipb::TaskPayload Destruction(const std::vector<std::pair<uint64_t, uint64_t>>& replicas) {
    ipb::TaskPayload payload;
    Fill(replicas, *payload.mutable_destroy_replicas());
    return payload;
  }
  ipb::TaskState StateOf(uint64_t node, uint64_t procedure) {
    const auto it = tasks[node].find(procedure);
    return it == tasks[node].end() ? ipb::TASK_NOT_EXIST : it->second.state();
  }
  // Procedure 1000 + id makes the replicas of a region that was put.
  void CreateReplicas(uint64_t region) {
    for (const pb::ReplicaRecord& replica : records_.at({pb::RECORD_REGION, region}).region().replicas()) {
      Submit(replica.node(), 1000 + region, Creation({{region, replica.id()}}));
    }
  }
  void Forget(uint64_t node, uint64_t procedure) {
    ipb::TaskForget& forget = forgets[node].emplace_back();
    forget.mutable_key()->set_procedure(procedure);
    forget.mutable_key()->set_step("step");
    forget.mutable_key()->set_attempt(1);
    forget.set_sequence(task_sequence);
  }
  uint64_t revision() const { return revision_; }
  std::map<std::pair<int, uint64_t>, pb::Record>& records() { return records_; }
  // Watches that begin before are refused.
  uint64_t history_from = 0;

  void Put(pb::Record record) {
    const auto key = KeyOf(record);
    pb::Event event;
    if (records_.contains(key)) *event.mutable_old_record() = records_[key];
    *event.mutable_new_record() = record;
    records_[key] = std::move(record);
    Publish(std::move(event));
  }
  void PutNode(pb::NodeRecord node) {
    pb::Record record;
    *record.mutable_node() = std::move(node);
    Put(std::move(record));
  }
  void PutDatabase(uint64_t id, const std::string& name, pb::DatabaseState state = pb::DATABASE_PUBLIC) {
    pb::Record record;
    record.mutable_database()->set_id(id);
    record.mutable_database()->set_name(name);
    record.mutable_database()->set_state(state);
    Put(std::move(record));
  }
  void PutRegion(uint64_t id, uint64_t database, uint32_t first, uint32_t last,
                 const std::vector<uint64_t>& nodes, pb::RegionState state = pb::REGION_SERVING) {
    pb::Record record;
    pb::RegionRecord& region = *record.mutable_region();
    region.set_id(id);
    region.set_database(database);
    region.mutable_slots()->set_first(first);
    region.mutable_slots()->set_last(last);
    region.set_state(state);
    for (size_t i = 0; i < nodes.size(); ++i) {
      pb::ReplicaRecord& replica = *region.add_replicas();
      replica.set_id(i + 1);
      replica.set_node(nodes[i]);
      replica.set_role(pb::REPLICA_VOTER);
    }
    region.set_preferred_leader(1);
    Put(std::move(record));
  }
  // As the catalog's RecoverRegions does: the replica on `node` goes on alone, under the next id.
  void RecoverRegion(uint64_t id, uint64_t node) {
    pb::Record record = records_.at({pb::RECORD_REGION, id});
    pb::RegionRecord& region = *record.mutable_region();
    uint64_t from = 0;
    uint64_t highest = 0;
    for (const pb::ReplicaRecord& replica : region.replicas()) {
      highest = std::max(highest, replica.id());
      if (replica.node() == node) from = replica.id();
    }
    region.clear_replicas();
    pb::ReplicaRecord& replica = *region.add_replicas();
    replica.set_id(highest + 1);
    replica.set_node(node);
    replica.set_role(pb::REPLICA_VOTER);
    replica.set_recovered_from(from);
    Put(std::move(record));
  }
  void Delete(pb::RecordKind kind, uint64_t id) {
    const std::pair<int, uint64_t> key{kind, id};
    pb::Event event;
    *event.mutable_old_record() = records_[key];
    records_.erase(key);
    Publish(std::move(event));
  }
  // As if every stream's connection broke.
  void BreakStreams(const Status& status = absl::UnavailableError("connection lost")) {
    for (const auto& stream : std::vector(streams_)) stream->Break(status);
  }

 private:
  friend class FakeLink;
  static void Fill(const std::vector<std::pair<uint64_t, uint64_t>>& replicas, ipb::ReplicaBatch& batch) {
    for (const auto& [region, replica] : replicas) {
      ipb::ReplicaBatch::Item& item = *batch.add_items();
      item.set_region(region);
      item.set_replica(replica);
    }
  }
  struct Shared {
    FakeControllers* owner;
    runtime::StreamHandler* handler;
    bool watch = false;
    uint64_t told = 0;
    bool open = true;
    void Tell(std::string message) {
      if (!open) return;
      owner->executor_.Post([self = owner->Find(this), message = std::move(message)]() mutable {
        if (self && self->open) self->handler->OnMessage(std::move(message));
      });
    }
    void Break(Status status) {
      owner->executor_.Post([self = owner->Find(this), status = std::move(status)]() mutable {
        if (self && std::exchange(self->open, false)) self->handler->OnClosed(std::move(status));
      });
    }
  };
  class FakeStream final : public runtime::Stream {
   public:
    explicit FakeStream(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
    ~FakeStream() override { Close(OkStatus()); }
    void Send(std::string message) override {
      shared_->owner->executor_.Post([shared = shared_, message = std::move(message)] {
        shared->owner->OnStreamMessage(*shared, message);
      });
    }
    size_t buffered_bytes() const override { return 0; }
    void Close(Status) override { shared_->open = false; }

   private:
    std::shared_ptr<Shared> shared_;
  };

  static std::pair<int, uint64_t> KeyOf(const pb::Record& record) {
    if (record.has_cluster()) return {pb::RECORD_CLUSTER, 0};
    if (record.has_node()) return {pb::RECORD_NODE, record.node().id()};
    if (record.has_database()) return {pb::RECORD_DATABASE, record.database().id()};
    if (record.has_entry()) return {pb::RECORD_ENTRY, 0};
    if (record.has_table()) return {pb::RECORD_TABLE, record.table().id()};
    if (record.has_view()) return {pb::RECORD_VIEW, record.view().id()};
    if (record.has_changefeed()) return {pb::RECORD_CHANGEFEED, record.changefeed().id()};
    return {pb::RECORD_REGION, record.region().id()};
  }
  std::shared_ptr<Shared> Find(Shared* shared) {
    for (const auto& stream : streams_) {
      if (stream.get() == shared) return stream;
    }
    return nullptr;
  }
  void Publish(pb::Event event) {
    event.set_revision(++revision_);
    events_.push_back(std::move(event));
    for (const auto& stream : streams_) {
      if (stream->watch && stream->open) TellEvents(*stream);
    }
  }
  void TellEvents(Shared& stream) {
    pb::WatchResponse response;
    for (const pb::Event& event : events_) {
      if (event.revision() > stream.told) *response.add_events() = event;
    }
    response.set_progress_revision(revision_);
    stream.told = revision_;
    stream.Tell(response.SerializeAsString());
  }
  void OnStreamMessage(Shared& stream, const std::string& message) {
    if (!up) return;
    if (stream.watch) {
      pb::WatchRequest request;
      request.ParseFromString(message);
      if (request.after_revision() < history_from) {
        return stream.Break(catalog::MakeRefusal(pb::REASON_OUT_OF_RANGE, "too old"));
      }
      stream.told = request.after_revision();
      return TellEvents(stream);
    }
    ipb::HeartbeatRequest request;
    request.ParseFromString(message);
    reports.push_back(request);
    last_report[request.node_id()] = request;
    auto& loads_of = loads[request.node_id()];
    if (request.full()) loads_of.clear();
    for (const pb::RegionLoad& load : request.regions()) loads_of[load.region()] = load;
    ipb::HeartbeatResponse response;
    response.set_sequence(request.sequence());
    response.set_sent_at_ns(request.sent_at_ns());
    response.set_leader_epoch(leader_epoch);
    response.set_incarnation(incarnation);
    response.set_revision(revision_);
    for (const auto& leader : leaders_to_tell) *response.add_leaders() = leader;
    response.set_farewell_recorded(request.stopping() && record_farewells);
    for (const auto& [id, address] : std::exchange(places, {})) {
      response.add_controllers()->set_id(id);
      response.mutable_controllers()->rbegin()->set_address(address);
    }
    for (const uint64_t node : unhealthy) response.add_unhealthy_nodes(node);
    for (const auto& transfer : std::exchange(transfers, {})) *response.add_transfers() = transfer;
    auto& tasks_of = tasks[request.node_id()];
    if (request.full()) tasks_of.clear();
    for (const ipb::TaskReport& task : request.tasks()) tasks_of[task.key().procedure()] = task;
    for (auto& submit : std::exchange(submits[request.node_id()], {})) *response.add_tasks() = submit;
    for (auto& forget : std::exchange(forgets[request.node_id()], {})) {
      tasks_of.erase(forget.key().procedure());
      *response.add_forget_tasks() = forget;
    }
    if (const auto asked = probes.extract(request.node_id()); !asked.empty()) {
      for (const uint64_t node : asked.mapped()) response.add_probe_nodes(node);
    }
    stream.Tell(response.SerializeAsString());
  }
  StatusOr<std::string> OnCall(const std::string& method, const std::string& bytes) {
    if (!up) return absl::UnavailableError("controllers are down");
    if (method == "tenure.v1.Catalog/List") return OnList(bytes);
    if (warming_up > 0) {
      --warming_up;
      return catalog::WarmingUpRefusal({});
    }
    ipb::RegisterRequest request;
    request.ParseFromString(bytes);
    if (!request.cluster_id().empty() && request.cluster_id() != cluster_id) {
      return catalog::MakeRefusal(
          pb::REASON_WRONG_CLUSTER,
          "the node belongs to cluster " + request.cluster_id() + ", this is " + cluster_id);
    }
    pb::NodeRecord node = request.node();
    for (const auto& [key, record] : records_) {
      if (record.has_node() && record.node().uuid() == node.uuid()) node.set_id(record.node().id());
    }
    if (node.id() == 0) node.set_id(++next_node_);
    node.set_state(pb::NODE_UP);
    node.set_registration_epoch(++registrations_);
    ipb::RegisterResponse response;
    response.set_cluster_id(cluster_id);
    response.set_node_id(node.id());
    response.set_incarnation(incarnation);
    response.set_registration_epoch(node.registration_epoch());
    PutNode(std::move(node));
    response.set_revision(revision_);
    return response.SerializeAsString();
  }
  StatusOr<std::string> OnList(const std::string& bytes) {
    pb::ListRequest request;
    request.ParseFromString(bytes);
    pb::ListResponse response;
    response.set_revision(revision_);
    for (const auto& [key, record] : records_) {
      if (key.first == request.kind()) *response.add_records() = record;
    }
    return response.SerializeAsString();
  }

  runtime::ManualExecutor& executor_;
  uint64_t revision_ = 0;
  uint64_t next_node_ = 0;
  uint64_t registrations_ = 0;
  std::map<std::pair<int, uint64_t>, pb::Record> records_;
  std::vector<pb::Event> events_;
  std::vector<std::shared_ptr<Shared>> streams_;
};

class FakeLink final : public ClusterLink {
 public:
  explicit FakeLink(FakeControllers& controllers) : controllers_(controllers) {}
  // Keeps the node from the controllers.
  bool cut = false;
  std::vector<Status> failures;
  std::vector<runtime::Endpoint> known;  // controllers

  void Call(std::string_view method, std::string request, Duration,
            Callback<StatusOr<std::string>> done) override {
    controllers_.executor_.Post(
        [this, method = std::string(method), request = std::move(request), done = std::move(done)]() mutable {
          done(cut ? absl::UnavailableError("cut off") : controllers_.OnCall(method, request));
        });
  }
  std::unique_ptr<runtime::Stream> OpenStream(std::string_view method, runtime::StreamHandler& handler,
                                              runtime::Endpoint* to) override {
    *to = "controllers:1";
    auto shared = std::make_shared<FakeControllers::Shared>();
    shared->owner = &controllers_;
    shared->handler = &handler;
    shared->watch = method == "tenure.v1.Catalog/Watch";
    controllers_.streams_.push_back(shared);
    if (cut || !controllers_.up) shared->Break(absl::UnavailableError("cut off"));
    return std::make_unique<FakeControllers::FakeStream>(shared);
  }
  void OnStreamFailed(const runtime::Endpoint&, const Status& status) override { failures.push_back(status); }
  void SetControllers(const std::vector<runtime::Endpoint>& endpoints) override { known = endpoints; }

 private:
  FakeControllers& controllers_;
};

}  // namespace tenure::node
