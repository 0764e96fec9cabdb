#include "daemon/controller_role.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/format.h"
#include "catalog/refusal.h"
#include "daemon/version.h"

namespace tenure::daemon {
namespace {

namespace pb = ::tenure::v1;
constexpr Duration kLookAroundLimit = std::chrono::seconds(5);
constexpr Duration kRememberInterval = std::chrono::milliseconds(500);
// Nothing that long may run on the controller's executor: it would delay heartbeats and elections.
constexpr Duration kLongTurn = std::chrono::milliseconds(10);
constexpr Duration kLongTurnLogGap = std::chrono::seconds(10);
constexpr Duration kLearnInterval = std::chrono::milliseconds(100);

std::vector<runtime::Endpoint> OtherControllers(const Config& config) {
  std::vector<runtime::Endpoint> others;
  for (const auto& [id, address] : config.initial_controllers) {
    if (id != config.id) others.push_back(address.ToString());
  }
  return others;
}

}  // namespace

ControllerRole::ControllerRole(const Config& config, Threads& threads, Storage& storage,
                               rpc::GrpcProcess& grpc, Prng prng, Logger logger,
                               std::function<void(Status)> refused)
    : config_(config),
      threads_(threads),
      storage_(storage),
      prng_(std::move(prng)),
      logger_(std::move(logger)),
      refused_(std::move(refused)),
      network_(grpc.MakeNetwork(threads.controller)) {
  threads_.controller.WatchClosures(kLongTurn, [this](Duration took) { OnLongTurn(took); });
}

// The network goes before the services it calls.
ControllerRole::~ControllerRole() {
  network_.reset();
}

void ControllerRole::OnLongTurn(Duration took) {
  ++slow_turns_;
  slowest_turn_ = std::max(slowest_turn_, took);
  const Instant now = threads_.controller.Now();
  if (slow_turns_ > 1 && now - long_turn_logged_ < kLongTurnLogGap) return;
  long_turn_logged_ = now;
  logger_.Warn("a turn of the controller took {} ms, {} did since the start", ToMillis(took), slow_turns_);
}

pb::ControllerRecord ControllerRole::Self() const {
  const wal::Identity identity = storage_.identity();
  pb::ControllerRecord self;
  self.set_id(identity.controller_id.value());
  self.set_uuid(identity.controller_uuid);
  self.set_name(config_.name);
  self.set_address(config_.advertise.ToString());
  self.set_zone(config_.zone);
  self.set_software_version(kVersion);
  return self;
}

controller::ControllerOptions ControllerRole::Options(const std::string& cluster_id) const {
  controller::ControllerOptions options;
  options.cluster_id = cluster_id;
  options.join_tokens = config_.join_tokens;
  options.incarnation = incarnation_;
  options.on_superseded = [this](uint64_t incarnation) {
    refused_(storage_.LeftBehind(storage_.identity(), incarnation));
  };
  Prng prng = prng_.Fork("cluster id");
  options.new_cluster_id = MakeUuid(prng);
  options.self = Self();
  for (const HostPort& address : config_.controllers)
    options.controller_addresses.push_back(address.ToString());
  if (joining_) options.controller_addresses = joining_->addresses();
  options.group.raft.heartbeat_interval = config_.heartbeat_interval;
  options.group.raft.election_timeout_min = config_.election_timeout;
  options.membership.replace_after = config_.replace_after;
  options.scheduler.repair_after = config_.repair_after;
  options.scheduler.max_repairs = config_.max_repairs;
  options.scheduler.max_moves = config_.max_moves;
  options.scheduler.balance = config_.balance;
  options.procedure_types.drain.max_moves = config_.max_moves;
  if (joining_) return options;
  // What the directory remembers is newer than the command line of the first start.
  std::map<uint64_t, std::string> known = storage_.controllers();
  for (const auto& [id, address] : config_.initial_controllers) known.try_emplace(id, address.ToString());
  for (const auto& [id, address] : known) {
    pb::ControllerRecord record;
    record.set_id(id);
    record.set_name(id == options.self.id() ? config_.name : fmt::format("{}", id));
    record.set_address(id == options.self.id() ? options.self.address() : address);
    record.set_voter(true);
    if (id == options.self.id()) record.set_uuid(options.self.uuid());
    options.initial_controllers.push_back(std::move(record));
  }
  return options;
}

Status ControllerRole::Start() {
  const wal::Identity identity = storage_.identity();
  std::string cluster_id = identity.cluster_id;
  incarnation_ = identity.incarnation;
  const ClusterCheck::Self self{.controller_id = identity.controller_id.value(),
                                .uuid = identity.controller_uuid,
                                .address = config_.advertise.ToString(),
                                .data = storage_.path()};
  threads_.controller.RunAndWait([this, &self] {
    check_ = std::make_unique<ClusterCheck>(threads_.controller, *network_, self, logger_);
  });
  const bool known = storage_.wal().recovered().contains(kCatalogGroup);
  if (!known && config_.initial_controllers.empty()) {
    threads_.controller.RunAndWait([this] { Join(); });
    return OkStatus();
  }
  if (storage_.fresh()) {
    auto found = std::make_shared<StatusOr<ClusterCheck::Found>>(ClusterCheck::Found());
    StartAndWait(threads_.controller, kLookAroundLimit, [this, found](Closure done) {
      check_->LookAround(OtherControllers(config_),
                         [found, done = std::move(done)](StatusOr<ClusterCheck::Found> cluster) mutable {
                           *found = std::move(cluster);
                           done();
                         });
    });
    if (!found->ok()) return found->status();
    cluster_id = (*found)->cluster_id;
    incarnation_ = (*found)->incarnation;
    logger_.Info("{}",
                 cluster_id.empty() ? std::string("forming a new cluster") : "joining cluster " + cluster_id);
  }
  Status status;
  threads_.controller.RunAndWait([this, &status, &cluster_id] {
    status = StartController(cluster_id);
    if (status.ok() && !cluster_id.empty())
      check_->Watch(cluster_id, [this] { return OthersByNow(); }, refused_);
  });
  return status;
}

// As the catalog says; before it says anything, as the directory remembers; else as the command line does.
std::vector<runtime::Endpoint> ControllerRole::OthersByNow() const {
  std::map<uint64_t, std::string> known = controller_->addresses();
  if (known.empty()) known = remembered_;
  if (known.empty()) return OtherControllers(config_);
  std::vector<runtime::Endpoint> others;
  for (const auto& [id, address] : known) {
    if (id != Self().id()) others.push_back(address);
  }
  return others;
}

Status ControllerRole::StartController(const std::string& cluster_id) {
  controller_ = std::make_unique<controller::Controller>(
      controller::Controller::Dependencies{.executor = threads_.controller,
                                           .background = threads_.background,
                                           .network = *network_,
                                           .wal = storage_.wal(),
                                           .engine = storage_.engine(),
                                           .snapshots = storage_.snapshots(),
                                           .prng = prng_.Fork("controller"),
                                           .logger = logger_,
                                           .on_failure = refused_},
      Options(cluster_id), [this](const Status& status) { OnRefused(status); });
  TENURE_RETURN_IF_ERROR(controller_->Start());
  if (!cluster_id.empty()) votes_from_ = threads_.controller.Now() + config_.election_timeout;
  LearnClusterId();
  remembered_ = storage_.controllers();
  RememberAddresses();
  return OkStatus();
}

void ControllerRole::Join() {
  std::vector<runtime::Endpoint> addresses;
  for (const HostPort& address : config_.controllers) addresses.push_back(address.ToString());
  const wal::Identity identity = storage_.identity();
  joining_ = std::make_unique<controller::Joining>(
      threads_.controller, *network_, Self(),
      controller::OwnCluster{
          .id = identity.cluster_id, .incarnation = identity.incarnation, .tokens = config_.join_tokens},
      std::move(addresses), logger_);
  joining_->Start([this](const StatusOr<controller::OwnCluster>& cluster) {
    if (!cluster.ok()) return refused_(cluster.status());
    logger_.Info("joining cluster {} as controller {}", cluster->id, Self().id());
    incarnation_ = cluster->incarnation;
    // The directory belongs to the cluster before it holds anything of it.
    threads_.background.Post([this, own = *cluster] {
      const Status adopted = storage_.AdoptCluster(own.id, own.incarnation);
      threads_.controller.Post([this, own, adopted] {
        const Status started = adopted.ok() ? StartController(own.id) : adopted;
        if (!started.ok()) refused_(started);
      });
    });
  });
}

// Removed, most often. A node in the same process goes on without the controller; alone there is nothing to
// do.
void ControllerRole::OnRefused(const Status& status) {
  threads_.controller.Post([this, status] {
    if (check_) check_->Stop();
    if (!catalog::IsReason(status, pb::REASON_NOT_FOUND)) return refused_(status);
    controller_->Retire([this, status](const Status& durable) {
      if (!durable.ok()) return;  // the log has failed: the process is ending
      retired_ = true;
      if (!config_.node) return refused_(status);
      logger_.Warn("{}; the node of this process goes on (next time with --roles node)", MessageOf(status));
    });
  });
}

// A new cluster's id is chosen by its first leader and comes with the catalog; from then on the directory
// belongs to it.
void ControllerRole::LearnClusterId() {
  const pb::ClusterRecord* cluster = controller_->catalog().cluster();
  if (cluster == nullptr) {
    learn_timer_ = threads_.controller.After(kLearnInterval, [this] { LearnClusterId(); });
    return;
  }
  threads_.background.Post(
      [&storage = storage_, id = cluster->cluster_id(), incarnation = incarnation_, refused = refused_] {
        const Status adopted = storage.AdoptCluster(id, incarnation);
        if (!adopted.ok()) refused(adopted);
      });
}

void ControllerRole::RememberAddresses() {
  remember_timer_ = threads_.controller.After(kRememberInterval, [this] { RememberAddresses(); });
  std::map<uint64_t, std::string> addresses = controller_->addresses();
  if (addresses.empty() || addresses == remembered_) return;
  remembered_ = addresses;
  threads_.background.Post([&storage = storage_, addresses = std::move(addresses), logger = logger_] {
    const Status written = storage.RememberControllers(addresses);
    if (!written.ok()) logger.Warn("the controllers' addresses are not remembered: {}", MessageOf(written));
  });
}

void ControllerRole::Stop(Duration limit) {
  StartAndWait(threads_.controller, limit + kAskLimit, [this, limit](Closure done) {
    learn_timer_.Cancel();
    remember_timer_.Cancel();
    if (check_) check_->Stop();
    if (joining_) joining_->Stop();
    if (!controller_) return done();
    controller_->Stop(limit, std::move(done));
  });
}

std::optional<ControllerNumbers> ControllerRole::Numbers() {
  return Ask<ControllerNumbers>(threads_.controller, kAskLimit, [this] {
    if (!controller_) return ControllerNumbers{};
    const controller::Leadership& leadership = controller_->leadership();
    const auto services = leadership.services();
    const auto view_age = controller_->standby_view().Age();
    const pb::WarmingUp warm_up = leadership.warm_up();
    return ControllerNumbers{
        .serving = controller_->serving(),
        .epoch = controller_->epoch().value(),
        .applied = controller_->applied().value(),
        .diverged = controller_->diverged_members(),
        .phase = std::string(leadership.phase()),
        .load_ready = leadership.load_ready(),
        .warm_up_missing = warm_up.reason() == "load" ? static_cast<uint64_t>(warm_up.missing_size()) : 0,
        .unsampled = leadership.unsampled().size(),
        .failed_services = static_cast<uint64_t>(
            std::count_if(services.begin(), services.end(),
                          [](const auto& service) { return service.state() == "failed"; })),
        .transitions = leadership.transitions_done(),
        .standby_view_age_ms = view_age ? ToMillis(*view_age) : -1,
        .slow_turns = slow_turns_,
        .slowest_turn_us = std::chrono::duration_cast<std::chrono::microseconds>(slowest_turn_).count(),
        .procedures = leadership.leading() ? std::optional(controller_->procedure_numbers()) : std::nullopt,
        .barriers = leadership.leading() ? std::optional(controller_->barrier_numbers()) : std::nullopt,
        .changefeeds = controller_->changefeed_numbers()};
  });
}

Status ControllerRole::Ready() {
  const auto status = Ask<Status>(threads_.controller, kAskLimit, [this] {
    if (retired_) return OkStatus();
    if (!controller_) return Error(StatusCode::kUnavailable, "controller: joining, {}", joining_->waiting());
    const controller::Leadership& leadership = controller_->leadership();
    if (leadership.leader().IsNone())
      return Error(StatusCode::kUnavailable, "controller: no leader is known");
    // Who stops the next process now would leave a leader to whom nobody can succeed.
    if (const Instant now = threads_.controller.Now(); now < votes_from_) {
      return Error(StatusCode::kUnavailable, "controller: may vote {} ms from now, after its restart",
                   ToMillis(votes_from_ - now));
    }
    if (!leadership.leading() || leadership.serving()) return OkStatus();
    return Error(StatusCode::kUnavailable, "controller: leads and is {}", leadership.phase());
  });
  return status ? *status : Error(StatusCode::kUnavailable, "controller: does not answer");
}

}  // namespace tenure::daemon
