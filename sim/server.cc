#include "sim/server.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/format.h"
#include "catalog/refusal.h"
#include "recovery/intent.h"

namespace tenure::sim {
namespace {

group::GroupHostOptions GroupOptions(bool small_log) {
  group::GroupHostOptions options;
  if (!small_log) return options;
  options.max_batch_bytes = 2 << 10;
  options.max_cache_bytes = 4 << 10;
  options.flush_bytes = 8 << 10;
  options.keep_entries = 20;
  options.keep_bytes = 8 << 10;
  options.member_budget_bytes = 16 << 10;
  options.trim_log_bytes = 96 << 10;
  options.snapshot_chunk_bytes = 300;
  return options;
}

}  // namespace

wal::WalOptions LogOptions(bool small_log) {
  wal::WalOptions options;
  options.segment_bytes = small_log ? 32 << 10 : 256 << 10;
  options.max_log_bytes = small_log ? 128 << 10 : 64 << 20;
  return options;
}

Server::Server(World& world, Machine& machine, Settings settings, Prng prng, Logger logger)
    : world_(world),
      machine_(machine),
      settings_(std::move(settings)),
      prng_(prng),
      logger_(std::move(logger)),
      process_(
          std::make_unique<SimProcess>(world.scheduler(), machine.clock, machine.name, prng.Fork("process"))),
      control_(process_->AddExecutor("control")),
      regions_(process_->AddExecutor("regions")),
      log_(process_->AddExecutor("log")),
      background_(process_->AddExecutor("background")) {
  if (world_.options().changefeeds > 0) changefeeds_ = &process_->AddExecutor("changefeeds");
  world_.network().AddHost(*process_, machine.address);
  machine_.process = process_.get();
  const Status status = Start();
  // A process that the power leaves while it starts ends in the middle, and is no failed start.
  if (status.ok() || !process_->alive()) return;
  if (machine_.disk.TakeFailures() > 0) {
    EndOfDisk(status);
  } else {
    world_.Fail("a process starts on what a crash left",
                fmt::format("{}: {}", machine.name, MessageOf(status)));
  }
}

Server::~Server() {
  process_->Kill();
  machine_.process = nullptr;
  // In reverse order of construction, as the members say; the engine's store stays on the machine.
}

Status Server::Start() {
  log_disk_ = machine_.disk.MakeView(*process_, log_);
  background_disk_ = machine_.disk.MakeView(*process_, background_);
  control_network_ = world_.network().MakeView(*process_, control_);
  regions_network_ = world_.network().MakeView(*process_, regions_);
  TENURE_RETURN_IF_ERROR(OpenDirectory());
  TENURE_RETURN_IF_ERROR(log_disk_->MakeDirectories(std::string(kData) + "/wal"));
  TENURE_RETURN_IF_ERROR(log_disk_->MakeDirectories(std::string(kData) + "/snapshots"));
  TENURE_ASSIGN_OR_RETURN(
      wal_, wal::Wal::Open(*log_disk_, log_, std::string(kData) + "/wal", LogOptions(settings_.small_log),
                           logger_.Named("wal"), [this](Status status) { OnWalFailure(status); }));
  const auto catalog_log = wal_->recovered().find(kCatalogGroup);
  TENURE_RETURN_IF_ERROR(recovery::Resolve(
      *directory_, catalog_log == wal_->recovered().end() ? nullptr : &catalog_log->second.state));
  engine_ = std::make_unique<kv::MemoryEngine>(machine_.store, background_);
  TENURE_ASSIGN_OR_RETURN(snapshots_,
                          wal::SnapshotStore::Open(*background_disk_, std::string(kData) + "/snapshots"));

  // An object is made on the executor it belongs to.
  const auto group = wal_->recovered().find(kCatalogGroup);
  const bool known = group != wal_->recovered().end();
  retired_ = known && group->second.tombstone;
  if (settings_.id != 0 && !retired_) {
    control_.Post([this, known] {
      if (known || !settings_.controllers.empty()) {
        StartController(settings_.controllers);
      } else {
        Join();
      }
    });
  }
  if (settings_.node) regions_.Post([this] { StartNode(); });
  return OkStatus();
}

::tenure::v1::ControllerRecord Server::Self() const {
  ::tenure::v1::ControllerRecord self;
  self.set_id(settings_.id);
  self.set_name(fmt::format("{}", settings_.id));
  self.set_address(machine_.address);
  self.set_uuid(settings_.uuid);
  return self;
}

void Server::Join() {
  joining_ = std::make_unique<controller::Joining>(control_, *control_network_, Self(),
                                                   controller::OwnCluster{.tokens = settings_.join_tokens},
                                                   settings_.addresses, logger_.Named("join"));
  joining_->Start([this](const StatusOr<controller::OwnCluster>& cluster) {
    if (!cluster.ok()) return world_.OnControllerRefused(machine_, cluster.status());
    world_.OnControllerJoined(machine_);
    control_.Post([this] { StartController({}); });
  });
}

void Server::OnControllerRefused(const Status& status) {
  if (catalog::IsReason(status, ::tenure::v1::REASON_STALE_INCARNATION)) {
    return OnLeftBehind(std::string(MessageOf(status)));
  }
  if (!catalog::IsReason(status, ::tenure::v1::REASON_NOT_FOUND)) {
    return world_.OnControllerRefused(machine_, status);
  }
  control_.Post([this] {
    controller_->Retire([this](const Status& durable) {
      if (!durable.ok()) return;
      retired_ = true;
      world_.Note(fmt::format("{} is no controller any more", machine_.name));
    });
  });
}

Status Server::OpenDirectory() {
  if (wal::DataDirectory::IsInitialised(*background_disk_, kData)) {
    TENURE_ASSIGN_OR_RETURN(directory_, wal::DataDirectory::Open(*background_disk_, kData));
    return OkStatus();
  }
  wal::Identity identity;
  identity.cluster_id = settings_.cluster_id;
  identity.controller_id = ControllerId(settings_.id);
  if (settings_.node) identity.node_uuid = fmt::format("00000000-0000-4000-8000-{:012x}", machine_.number);
  identity.name = machine_.name;
  TENURE_ASSIGN_OR_RETURN(directory_, wal::DataDirectory::Create(*background_disk_, kData, identity));
  return OkStatus();
}

void Server::StartController(const std::vector<std::pair<uint64_t, Endpoint>>& controllers) {
  controller::ControllerOptions options;
  options.cluster_id = settings_.cluster_id;
  options.incarnation = directory_->identity().incarnation;
  options.join_tokens = settings_.join_tokens;
  options.on_superseded = [this](uint64_t incarnation) {
    OnLeftBehind(
        fmt::format("incarnation {}, the cluster is at {}", directory_->identity().incarnation, incarnation));
  };
  options.group = GroupOptions(settings_.small_log);
  options.self = Self();
  options.controller_addresses = settings_.addresses;
  options.membership.replace_after = world_.options().replace_after;
  options.node_health.down_after = world_.options().down_after;
  options.scheduler.repair_after = world_.options().repair_after;
  options.scheduler.balance = world_.options().balance;
  if (world_.options().placement) {
    options.scheduler.balance_every = std::chrono::seconds(2);
    options.scheduler.rest = std::chrono::seconds(5);
    options.procedure_types.drain.retry_after = std::chrono::seconds(3);
    options.procedure_types.change_replica.max_lag = 50;
  }
  options.fencing.set_fence_ms(ToMillis(world_.options().fence_time));
  options.fencing.set_bound_ms(options.fencing.fence_ms());
  for (const auto& [id, address] : controllers) {
    ::tenure::v1::ControllerRecord record;
    record.set_id(id);
    record.set_name(fmt::format("{}", id));
    record.set_address(address);
    record.set_voter(true);
    if (id == settings_.id) record.set_uuid(settings_.uuid);
    options.initial_controllers.push_back(std::move(record));
  }
  for (uint32_t i = 0; i < world_.options().erratic_services; ++i) {
    erratic_.push_back(std::make_unique<ErraticService>(world_, machine_.name, control_,
                                                        prng_.Fork(fmt::format("erratic {}", i))));
    options.more_services.push_back(erratic_.back().get());
  }
  controller_ = std::make_unique<controller::Controller>(
      controller::Controller::Dependencies{control_, background_, *control_network_, *wal_, *engine_,
                                           *snapshots_, prng_.Fork("controller"), logger_.Named("controller"),
                                           &world_.groups(), nullptr, &world_.leases()},
      std::move(options), [this](const Status& status) { OnControllerRefused(status); });
  for (auto& service : erratic_) service->Watch(controller_->leadership());
  const Status status = controller_->Start();
  if (!status.ok()) {
    world_.Fail("a controller starts", fmt::format("{}: {}", machine_.name, MessageOf(status)));
  }
}

void Server::StartNode() {
  // Where they were last, and what it is told.
  std::vector<Endpoint> controllers = settings_.node_hints;
  for (const auto& [id, address] : wal::ControllersOf(directory_->identity())) {
    if (std::find(controllers.begin(), controllers.end(), address) == controllers.end())
      controllers.push_back(address);
  }
  client_ = std::make_unique<client::ControllerClient>(regions_, *regions_network_, std::move(controllers),
                                                       prng_.Fork("client"));
  link_ = std::make_unique<node::ControllerLink>(*client_, *regions_network_);
  transport_ = group::MakeNetworkTransport(regions_, *regions_network_, "tenure.internal.v1.Raft",
                                           settings_.cluster_id, logger_.Named("raft"));
  node::NodeOptions node_options;
  node_options.groups = GroupOptions(settings_.small_log);
  if (settings_.small_log) node_options.copy_chunk_bytes = 100;  // copies of many chunks
  node_options.groups.raft.quiesce_after = settings_.quiesce_after;
  node::NodeIdentity identity;
  identity.uuid = directory_->identity().node_uuid;
  identity.cluster_id = settings_.cluster_id;
  identity.incarnation = directory_->identity().incarnation;
  if (!retired_) identity.controller_id = settings_.id;
  identity.name = machine_.name;
  identity.address = machine_.address;
  identity.resp_address = RespAddressOf(machine_.address);
  identity.software_version = "sim";
  identity.join_tokens = settings_.join_tokens;
  const std::string view_path = directory_->view_path();
  node_ = std::make_unique<node::Node>(
      node::Node::Dependencies{regions_, background_, *background_disk_, *regions_network_, *link_, *wal_,
                               *engine_, *snapshots_, *transport_, *this, prng_.Fork("node"),
                               logger_.Named("node"), &world_.groups(), this,
                               world_.leases().TraceOf(machine_.number)},
      identity, node_options, view_path, node::CatalogFile::Load(*background_disk_, view_path, logger_));
  front_ =
      std::make_unique<resp::FrontEnd>(resp::FrontEndSettings(), *node_, regions_, logger_.Named("resp"));
  bridge_ = std::make_unique<RespBridge>(regions_, *regions_network_, *front_);

  node_->Start();
  if (changefeeds_ != nullptr) {
    feeds_ = std::make_unique<FeedRole>(regions_, *changefeeds_, *regions_network_, *link_, *node_,
                                        world_.feed_sinks(), logger_.Named("changefeeds"));
  }
  node::ProcessLoad load;
  load.disk_free_bytes = machine_.disk.options().capacity;
  node_->SetLoad(load);
}

void Server::StopNode(Duration limit, std::function<void()> done) {
  regions_.Post([this, limit, done = std::move(done)]() mutable {
    node_->Stop(limit, [done = std::move(done)] { done(); });
  });
}

void Server::OnTaskStart(uint64_t registration_epoch, const node::TaskKey& key,
                         const ::tenure::internal::v1::TaskPayload& payload) {
  world_.procedures().OnTaskStart(machine_, registration_epoch, key, payload);
}

void Server::OnTaskEnd(uint64_t registration_epoch, const node::TaskKey& key, const Status& status) {
  world_.procedures().OnTaskEnd(machine_, registration_epoch, key, status);
}

void Server::OnJoined(const std::string&, uint64_t, NodeId) {}

void Server::OnControllers(const std::map<uint64_t, std::string>& addresses) {
  background_.Post([this, text = wal::EncodeControllers(addresses)] {
    wal::Identity identity = directory_->identity();
    if (identity.controllers == text) return;
    identity.controllers = text;
    if (const Status written = directory_->Update(identity); !written.ok())
      logger_.Warn("the controllers' addresses are not remembered: {}", MessageOf(written));
  });
}

void Server::OnRefused(const Status& status) {
  if (catalog::IsReason(status, ::tenure::v1::REASON_STALE_INCARNATION)) {
    return OnLeftBehind(std::string(MessageOf(status)));
  }
  if (catalog::IsReason(status, ::tenure::v1::REASON_NOT_FOUND) && world_.OnNodeRemoved(machine_)) return;
  world_.Fail("a member is not refused", fmt::format("{}: {}", machine_.name, MessageOf(status)));
}

void Server::OnLeftBehind(const std::string& message) {
  if (!process_->alive()) return;
  if (!machine_.lost) world_.Fail("only an old incarnation is refused", machine_.name + ": " + message);
  world_.Note(fmt::format("{} was left behind: {}", machine_.name, message));
  process_->Kill();
}

void Server::OnWalFailure(const Status& status) {
  if (!process_->alive()) return;  // of dead hands
  if (machine_.disk.TakeFailures() == 0) {
    world_.Fail("a log fails only with its disk", fmt::format("{}: {}", machine_.name, MessageOf(status)));
  }
  EndOfDisk(status);
}

// As the daemon does; whoever looks after the machine starts it again.
void Server::EndOfDisk(const Status& status) {
  process_->Kill();
  world_.OnProcessEnded(machine_, std::string(MessageOf(status)));
}

}  // namespace tenure::sim
