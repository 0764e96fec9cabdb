#include "sim/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/format.h"
#include "catalog/refusal.h"
#include "client/request_ids.h"
#include "sim/server.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;

namespace {

constexpr char kClusterId[] = "11111111-2222-4333-8444-555555555555";

int64_t DrawDriftPpb(Prng prng, int64_t max_ppm) {
  return prng.Between(-max_ppm, max_ppm) * 1000;
}

// Puts the world's time before what processes say.
class StampedSink final : public LogSink {
 public:
  StampedSink(const Scheduler& scheduler, LogSink* to) : scheduler_(scheduler), to_(to) {}
  bool Enabled(LogLevel level) const override { return to_ != nullptr && to_->Enabled(level); }
  void Write(LogLevel level, std::string_view source, std::string_view message) override {
    const int64_t us =
        std::chrono::duration_cast<std::chrono::microseconds>(scheduler_.now().time_since_epoch()).count();
    to_->Write(level, fmt::format("{}.{:06} {}", us / 1'000'000, us % 1'000'000, source), message);
  }

 private:
  const Scheduler& scheduler_;
  LogSink* to_;
};

// Whoever runs replicas of `group` on this machine; null if nobody does.
group::GroupHost* HostOf(const Machine& machine, GroupId group) {
  Server* const server = machine.server.get();
  if (server == nullptr) return nullptr;
  if (group != kCatalogGroup) return machine.node ? &server->node()->groups() : nullptr;
  return server->controller() == nullptr ? nullptr : &server->controller()->host();
}

}  // namespace

Machine::Machine(Scheduler& world, uint64_t number_in, Prng prng, const SimOptions& options)
    : number(number_in),
      name(fmt::format("s{}", number)),
      address(fmt::format("10.0.0.{}:700", number)),
      clock(world, Instant(std::chrono::seconds(prng.Fork("clock").Between(1, 1'000'000))),
            WallFromMillis(1'700'000'000'000 + prng.Fork("wall").Between(-2000, 2000))),
      disk(world, name, prng.Fork("disk"), options.disks),
      store(std::make_shared<kv::MemoryStore>()) {
  drift_ppb = DrawDriftPpb(prng.Fork("drift"), options.max_drift_ppm);
  clock.SetDrift(drift_ppb);
}
Machine::~Machine() = default;

// A machine with one client on it.
struct World::Client {
  Client(World& world, std::string name_in, Prng prng)
      : name(std::move(name_in)),
        clock(world.scheduler_, Instant(std::chrono::seconds(1000)), WallFromMillis(1'700'000'000'000)),
        process(world.scheduler_, clock, name, prng.Fork("process")),
        executor(process.AddExecutor("client")) {
    world.network_.AddHost(process, name);
    network = world.network_.MakeView(process, executor);
  }
  std::string name;
  SimClock clock;
  SimProcess process;
  SimExecutor& executor;
  std::unique_ptr<runtime::Network> network;
  std::unique_ptr<KeyClient> keys;
  std::unique_ptr<EntryClient> entries;
  std::unique_ptr<client::ControllerClient> controllers;
  std::unique_ptr<client::RequestIds> ids;
};

World::World(const SimOptions& options, LogSink* trace)
    : options_(options),
      stamped_(std::make_unique<StampedSink>(scheduler_, trace)),
      logger_(stamped_.get(), ""),
      prng_(Prng(options.seed).Fork("world")),
      network_(scheduler_, prng_.Fork("network"), options.links),
      membership_(*this),
      leadership_(*this),
      leases_(*this),
      databases_(*this),
      procedures_(*this),
      checker_([this] { return scheduler_.now(); },
               [this](const std::string& invariant, const std::string& message) { Fail(invariant, message); },
               [this](ReplicaId leader, const raft::Configuration& configuration) {
                 membership_.OnConfiguration(leader.value(), configuration);
               },
               [this](GroupId group, const raft::Entry& entry) {
                 if (options_.databases > 0) databases_.OnApplied(group, entry.payload.view());
               }) {
  checker_.AddFollower(&procedures_);
  checker_.AddFollower(&schemas_);
  checker_.AddFollower(&feed_checker_);
  const uint32_t data_nodes_from = options_.processes + options_.spares;
  for (uint32_t i = 0; i < data_nodes_from + options_.data_nodes; ++i) {
    machines_.push_back(
        std::make_unique<Machine>(scheduler_, i + 1, prng_.Fork(fmt::format("machine {}", i)), options_));
    Machine& machine = *machines_.back();
    machine.node = i < options_.processes || i >= data_nodes_from;
    if (i >= options_.processes) continue;  // no controller; on a spare the operator decides what runs
    machine.first = true;
    machine.controller_id = machine.number;
    machine.controller_uuid = fmt::format("directory {}", machine.number);
  }
  const auto add_client = [this](const std::string& name) -> Client& {
    clients_.push_back(std::make_unique<Client>(*this, name, prng_.Fork(name)));
    return *clients_.back();
  };
  RegisterClientOptions registers;
  registers.registers = options_.registers;
  registers.max_rest = options_.max_rest;
  registers.think_time_max = options_.think_time;
  for (uint32_t i = 0; i < options_.key_clients; ++i) {
    Client& client = add_client(fmt::format("k{}", i + 1));
    registers.name = client.name;
    client.keys = std::make_unique<KeyClient>(scheduler_, client.executor, *client.network, NodeAddresses(),
                                              history_, prng_.Fork(client.name + " draws"), registers);
  }
  for (uint32_t i = 0; i < options_.entry_clients; ++i) {
    Client& client = add_client(fmt::format("e{}", i + 1));
    registers.name = client.name;
    client.entries =
        std::make_unique<EntryClient>(scheduler_, client.executor, *client.network, ServerAddresses(),
                                      history_, prng_.Fork(client.name + " draws"), registers);
  }
  operator_ = std::make_unique<Client>(*this, "operator", prng_.Fork("operator"));
  operator_->controllers = std::make_unique<client::ControllerClient>(
      operator_->executor, *operator_->network, ServerAddresses(), prng_.Fork("operator client"));
  operator_->ids = std::make_unique<client::RequestIds>(prng_.Fork("operator ids"));
}

World::~World() {
  for (auto& machine : machines_) {
    machine->server.reset();
    machine->repair.reset();
  }
}

std::vector<Endpoint> World::ServerAddresses() const {
  std::vector<Endpoint> addresses;
  for (const auto& machine : machines_) addresses.push_back(machine->address);
  return addresses;
}

std::vector<Endpoint> World::NodeAddresses() const {
  std::vector<Endpoint> addresses;
  for (const auto& machine : machines_) {
    if (machine->node) addresses.push_back(machine->address);
  }
  return addresses;
}

std::vector<Endpoint> World::ClientAddresses() const {
  std::vector<Endpoint> addresses;
  for (const auto& client : clients_) addresses.push_back(client->name);
  return addresses;
}

void World::Note(const std::string& what) {
  scheduler_.Mix(what);
  logger_.Named("world").Info("{}", what);
}

void World::Fail(const std::string& invariant, const std::string& message) {
  failures_.push_back(fmt::format("{}: {}", invariant, message));
  Note("VIOLATION " + failures_.back());
}

// ---- machines ----

void World::Boot(size_t index) {
  Machine& machine = *machines_[index];
  if (machine.repair) return;                               // boots it when it is done
  if (!machine.node && machine.controller_id == 0) return;  // nothing is meant to run there
  Note("boot " + machine.name);
  machine.booted_at = scheduler_.now();
  Server::Settings settings;
  settings.id = machine.controller_id;
  settings.uuid = machine.controller_uuid;
  settings.node = machine.node;
  settings.addresses = ServerAddresses();
  // Controllers that come later are not on its command line: it has to learn of them, and to remember.
  settings.node_hints = NodeAddresses();
  settings.cluster_id = kClusterId;
  settings.small_log = options_.small_log;
  settings.quiesce_after = options_.quiesce_after;
  if (options_.token) settings.join_tokens = Tokens(machine.boots);
  for (const auto& other : machines_) {
    if (machine.first && other->first) settings.controllers.emplace_back(other->number, other->address);
  }
  const std::string incarnation = fmt::format("{} boot {}", machine.name, ++machine.boots);
  machine.server = std::make_unique<Server>(*this, machine, std::move(settings), prng_.Fork(incarnation),
                                            logger_.Named(machine.name));
}

// As in the middle of a change of tokens: every process knows both, some send the new one already.
catalog::JoinTokens World::Tokens(uint64_t boot) const {
  auto tokens =
      catalog::JoinTokens::Parse(boot % 2 == 0 ? "the-first-token-of-all\nthe-token-that-comes-after"
                                               : "the-token-that-comes-after\nthe-first-token-of-all");
  TENURE_CHECK(tokens.ok(), "{}", MessageOf(tokens.status()));
  return std::move(*tokens);
}

void World::Kill(size_t index, CrashKind kind) {
  Machine& machine = *machines_[index];
  if (!machine.server) return;
  Note("kill " + machine.name);
  machine.killed_at = scheduler_.now();
  machine.server->process().Kill();
  machine.server.reset();
  machine.disk.Crash(kind);
  Prng draws = prng_.Fork(fmt::format("{} crash {}", machine.name, machine.boots));
  machine.store->Crash(draws);
}

void World::CrashAtDisk(size_t index, int64_t operations, CrashKind kind) {
  Machine& machine = *machines_[index];
  if (operations == 0) return machine.disk.set_boundary({});
  machine.disk.set_boundary(
      [this, index, kind, operations](std::string_view operation, const std::string& path) mutable {
        Machine& dying = *machines_[index];
        if (dying.process == nullptr || !dying.process->alive() || operations == 0 || --operations > 0)
          return;
        Note(fmt::format("{} dies after it did {} {}", dying.name, operation, path));
        CrashNow(index, kind);
      });
}

void World::CrashNow(size_t index, CrashKind kind) {
  Machine& dying = *machines_[index];
  if (dying.process == nullptr || !dying.process->alive()) return;
  if (kind == CrashKind::kPower) network_.PowerOff(dying.address);
  dying.process->Kill();
  // What it was doing goes on with dead hands; the graph is destroyed when that has ended.
  scheduler_.After(Duration(0), "crash", [this, index, kind, boots = dying.boots] {
    if (machines_[index]->boots == boots) EndProcess(index, kind);
  });
}

void World::EndProcess(size_t index, CrashKind kind) {
  Kill(index, kind);
  if (!supervised_) return;
  scheduler_.After(std::chrono::seconds(1), "supervisor", [this, index] {
    if (!Up(index)) Boot(index);
  });
}

void World::OnProcessEnded(Machine& machine, const std::string& why) {
  Note(fmt::format("{} ends: {}", machine.name, why));
  scheduler_.After(Duration(0), "end", [this, index = machine.number - 1, boots = machine.boots] {
    if (machines_[index]->boots == boots) EndProcess(index, CrashKind::kProcess);
  });
}

void World::RotAndRepair(size_t index) {
  Machine& machine = *machines_[index];
  std::map<GroupId, ReplicaId> replicas;
  group::GroupHost& host = machine.server->node()->groups();
  for (const GroupId group : host.groups()) replicas[group] = host.StatusOf(group)->self;
  Kill(index, CrashKind::kProcess);
  Prng draws = prng_.Fork(fmt::format("{} rot", machine.name));
  machine.repair = std::make_unique<LogRepair>(
      scheduler_, machine.clock, machine.disk, "/data", LogOptions(options_.small_log), std::move(draws),
      logger_.Named(machine.name + " repair"),
      [this, index, replicas](Status status, const std::set<GroupId>& dropped) {
        if (!status.ok()) Fail("a damaged log is repaired", std::string(MessageOf(status)));
        for (const GroupId group : dropped) {
          Note(fmt::format("{} lost its replica of group {}", machines_[index]->name, group));
          lost_replicas_ = true;
          databases_.OnLost(group, machines_[index]->number);
          if (const auto replica = replicas.find(group); replica != replicas.end())
            checker_.OnDropped(group, replica->second);
        }
        // Not inside the repair itself, which ends here.
        scheduler_.After(Duration(0), "repaired", [this, index] {
          machines_[index]->repair.reset();
          Boot(index);
        });
      });
}

void World::EmptyDisk(size_t index) {
  Machine& machine = *machines_[index];
  Note("new disk for " + machine.name);
  machine.disk.Replace();
  machine.store = std::make_shared<kv::MemoryStore>();
}

void World::OnControllerRefused(Machine& machine, const Status& status) {
  Note(fmt::format("controller {} on {} is refused: {}", machine.controller_id, machine.name,
                   MessageOf(status)));
  // One whose disk was lost, or that was removed before it had joined.
  if (machine.emptied || catalog::IsReason(status, pb::REASON_NOT_FOUND)) return;
  Fail("a member is not refused", fmt::format("{}: {}", machine.name, MessageOf(status)));
}

void World::OnControllerJoined(Machine& machine) {
  Note(fmt::format("controller {} on {} joins", machine.controller_id, machine.name));
  if (!machine.emptied) return;
  Fail("an emptied directory does not come back under its id",
       fmt::format("{}: controller {}", machine.name, machine.controller_id));
}

bool World::OnNodeRemoved(Machine& machine) {
  controller::Controller* const serving = ServingController();
  if (serving == nullptr) return true;  // it asks again
  for (const auto& [id, record] : serving->catalog().nodes()) {
    const pb::NodeState state = record.node().state();
    if (record.node().address() != machine.address ||
        (state != pb::NODE_REMOVING && state != pb::NODE_REMOVED))
      continue;
    Note(machine.name + " was removed from the cluster");
    machine.node = false;
    CrashNow(machine.number - 1, CrashKind::kProcess);
    return true;
  }
  return false;
}

void World::StopNode(size_t index, Duration limit, std::function<void()> done) {
  Machine& machine = *machines_[index];
  Note("stop the node of " + machine.name);
  machine.server->StopNode(limit, std::move(done));
}

pb::NodeState World::NodeStateOf(size_t index) {
  controller::Controller* serving = ServingController();
  if (serving == nullptr) return pb::NODE_STATE_UNSPECIFIED;
  for (const auto& [id, record] : serving->catalog().nodes()) {
    if (record.node().address() == machines_[index]->address) return record.node().state();
  }
  return pb::NODE_STATE_UNSPECIFIED;
}

void World::Pause(size_t index) {
  if (Up(index)) machines_[index]->server->process().Pause();
}
void World::Resume(size_t index) {
  if (Up(index) && machines_[index]->server->process().paused()) machines_[index]->server->process().Resume();
}

// ---- clients ----

void World::StartClients() {
  for (auto& client : clients_) {
    if (client->keys) client->executor.Post([keys = client->keys.get()] { keys->Start(); });
    if (client->entries) client->executor.Post([entries = client->entries.get()] { entries->Start(); });
  }
}

void World::StopClients() {
  for (auto& client : clients_) {
    if (client->keys) client->keys->Stop();
    if (client->entries) client->entries->Stop();
  }
}

std::string World::UnservedSince(Instant time) const {
  std::string unserved;
  for (const auto& client : clients_) {
    const auto last = client->keys ? client->keys->last_write() : client->entries->last_write();
    if (!last || *last < time) unserved += (unserved.empty() ? "" : ", ") + client->name;
  }
  return unserved.empty() ? unserved : "an acknowledged write of " + unserved;
}

void World::CreateDatabase(const std::string& name, uint32_t regions, std::function<void()> done,
                           bool strict) {
  operator_->executor.Post([this, name, regions, strict, done = std::move(done)]() mutable {
    pb::CreateDatabaseRequest request;
    *request.mutable_id() = operator_->ids->Next();
    request.set_name(name);
    request.set_regions(regions);
    request.set_replicas(options_.replicas);
    request.set_strict(strict);
    client::CallOptions options;
    options.timeout = std::chrono::seconds(20);
    options.attempt_timeout = std::chrono::seconds(5);
    const uint64_t sequence = request.id().sequence();
    operator_->controllers->Call<pb::ChangeResponse>(
        "tenure.v1.Catalog/CreateDatabase", request, options,
        [this, name, regions, strict, sequence,
         done = std::move(done)](StatusOr<pb::ChangeResponse> response) mutable {
          operator_->ids->Done(sequence);
          const bool exists = !response.ok() && response.status().code() == StatusCode::kAlreadyExists;
          Note(
              fmt::format("database {}: {}", name, response.ok() ? "created" : MessageOf(response.status())));
          if (response.ok() || exists) return done();
          operator_retry_ = operator_->executor.After(
              std::chrono::seconds(1), [this, name, regions, strict, done = std::move(done)]() mutable {
                CreateDatabase(name, regions, std::move(done), strict);
              });
        });
  });
}

void World::TransferCatalogLeadership(uint64_t to) {
  operator_->executor.Post([this, to] {
    pb::TransferLeadershipRequest request;
    request.set_to(to);
    client::CallOptions options;
    options.timeout = std::chrono::seconds(3);
    operator_->controllers->Call<pb::TransferLeadershipResponse>(
        "tenure.v1.Cluster/TransferLeadership", request, options,
        [](StatusOr<pb::TransferLeadershipResponse>) {});
  });
}

void World::Ask(std::string_view method, std::string request, Callback<StatusOr<std::string>> done) {
  operator_->executor.Post(
      [this, method = std::string(method), request = std::move(request), done = std::move(done)]() mutable {
        client::CallOptions options;
        options.timeout = std::chrono::seconds(4);
        operator_->controllers->Call(method, std::move(request), options, std::move(done));
      });
}

pb::RequestId World::NextRequestId() {
  return operator_->ids->Next();
}

void World::RecoverRegions(const std::string& digest,
                           std::function<void(const StatusOr<pb::RecoverRegionsResponse>&)> done) {
  operator_->executor.Post([this, digest, done = std::move(done)]() mutable {
    pb::RecoverRegionsRequest request;
    request.set_digest(digest);
    request.set_by("sim");
    client::CallOptions options;
    options.timeout = std::chrono::seconds(5);
    operator_->controllers->Call<pb::RecoverRegionsResponse>(
        "tenure.v1.Regions/Recover", request, options,
        [this, done = std::move(done)](StatusOr<pb::RecoverRegionsResponse> answer) {
          if (answer.ok() && answer->plans_size() > 0) {
            Note(fmt::format("{} regions {}", answer->plans_size(),
                             answer->executed() ? "recovered" : "to recover"));
          }
          done(answer);
        });
  });
}

// ---- checks ----

std::vector<const Machine*> World::Members() const {
  std::vector<const Machine*> members;
  for (const auto& machine : machines_) {
    if (!machine->lost) members.push_back(machine.get());
  }
  return members;
}

controller::Controller* World::ServingController() {
  controller::Controller* serving = nullptr;
  for (const Machine* machine : Members()) {
    controller::Controller* candidate = machine->server ? machine->server->controller() : nullptr;
    if (candidate == nullptr || !candidate->serving()) continue;
    if (serving == nullptr || candidate->epoch() > serving->epoch()) serving = candidate;
  }
  return serving;
}

std::string World::Unsettled(bool replicas) {
  const std::vector<const Machine*> members = Members();
  for (const Machine* machine : members) {
    if (!machine->node && machine->controller_id == 0) continue;
    if (!machine->server || !machine->server->process().alive() || !machine->server->started())
      return machine->name + " to be up";
  }
  controller::Controller* const serving = ServingController();
  if (serving == nullptr) return "a serving controller";
  if (!serving->leadership().load_ready()) return "the leader to hear of everybody";
  if (std::string missing = membership_.Unsettled(*serving); !missing.empty()) return missing;
  const catalog::Catalog& catalog = serving->catalog();
  // What a machine that a recovery gave up had of a dropped region is never confirmed gone: its node stays
  // DOWN.
  const bool waits_for_ever =
      std::any_of(machines_.begin(), machines_.end(), [](const auto& machine) { return machine->lost; });
  for (const auto& [id, record] : catalog.databases()) {
    if (waits_for_ever && record.database().state() == pb::DATABASE_PRE_DELETE) continue;
    if (record.database().state() != pb::DATABASE_PUBLIC)
      return fmt::format("database {} to be public", record.database().name());
  }
  for (const auto& [id, record] : catalog.regions()) {
    if (waits_for_ever && record.region().state() == pb::REGION_REMOVING) continue;
    if (record.region().state() != pb::REGION_SERVING) return fmt::format("region {} to serve", id);
    const bool led = std::any_of(members.begin(), members.end(), [&record](const Machine* machine) {
      if (!machine->node) return false;
      const auto status = machine->server->node()->groups().StatusOf(GroupId(record.region().id()));
      return status && status->serving;
    });
    if (!led) return fmt::format("a leader of region {}", id);
  }
  for (const Machine* machine : members) {
    if (!machine->node || !machine->server->node()->registered()) continue;
    const node::Node::Stats stats = machine->server->node()->GetStats();
    if (stats.without_leader + stats.not_routed > 0)
      return fmt::format("{} to know who leads {} regions", machine->name,
                         stats.without_leader + stats.not_routed);
  }
  if (std::string missing = procedures_.Unsettled(*serving); !missing.empty()) return missing;
  if (std::string fenced = leases_.NotServing(); !fenced.empty()) return fenced;
  if (!replicas) return {};
  for (const GroupId group : checker_.groups()) {
    for (const Machine* machine : members) {
      const group::GroupHost* host = HostOf(*machine, group);
      if (host == nullptr) continue;
      const auto status = host->StatusOf(group);
      if (!status) continue;
      if (status->applied < checker_.Applied(group)) {
        return fmt::format("{} to apply index {} of group {}, it stands at {}", machine->name,
                           checker_.Applied(group), group, status->applied);
      }
    }
  }
  return {};
}

std::optional<size_t> World::ServerOf(GroupId group) {
  for (size_t i = 0; i < machines_.size(); ++i) {
    if (!Up(i) || !machines_[i]->server->started()) continue;
    const group::GroupHost* host = HostOf(*machines_[i], group);
    if (host == nullptr) continue;
    const auto status = host->StatusOf(group);
    if (status && status->serving) return i;
  }
  return std::nullopt;
}

std::vector<GroupId> World::LedBy(size_t machine) {
  std::vector<GroupId> led;
  for (const GroupId group : checker_.groups()) {
    const group::GroupHost* host = HostOf(*machines_[machine], group);
    if (host == nullptr) continue;
    const auto status = host->StatusOf(group);
    if (status && status->serving) led.push_back(group);
  }
  return led;
}

std::string World::NotQuiescent() {
  for (size_t i = 0; i < machines_.size(); ++i) {
    if (!Up(i)) continue;
    if (!machines_[i]->server->started()) return machines_[i]->name + " to be up";
    if (machines_[i]->server->node() == nullptr) continue;
    const group::GroupHost& host = machines_[i]->server->node()->groups();
    for (const GroupId group : host.groups()) {
      if (!host.StatusOf(group)->quiescent) return fmt::format("group {} on {}", group, machines_[i]->name);
    }
  }
  return {};
}

uint64_t World::RegionMessages() {
  uint64_t messages = 0;
  for (const auto& machine : machines_) {
    if (machine->server && machine->server->started())
      messages += machine->server->transport().counters().messages;
  }
  return messages;
}

void World::CheckReplicas() {
  for (const GroupId group : checker_.groups()) {
    std::string reference;
    std::string reference_name;
    for (const Machine* machine : Members()) {
      const group::GroupHost* host = HostOf(*machine, group);
      if (host == nullptr) continue;
      const kv::Reader* state = host->State(group);
      if (state == nullptr) continue;
      const auto status = host->StatusOf(group);
      if (const uint64_t hash = group::HashState(*state); !status || status->state_hash != hash) {
        Fail("the kept hash is that of the state",
             fmt::format("group {} on {}: {:016x} is kept, the state has {:016x}", group, machine->name,
                         status ? status->state_hash : 0, hash));
      }
      std::string content;
      const auto iterator = state->NewIterator({}, {});
      for (; iterator->Valid(); iterator->Next()) {
        content += fmt::format("{}={};", iterator->key(), iterator->value());
      }
      if (reference_name.empty()) {
        reference = std::move(content);
        reference_name = machine->name;
      } else if (content != reference) {
        Fail("replicas agree",
             fmt::format("group {}: {} and {} hold different states of {} and {} bytes", group,
                         reference_name, machine->name, reference.size(), content.size()));
      }
    }
  }
}

}  // namespace tenure::sim
