#include "daemon/controller_role.h"

#include <utility>
#include <vector>

#include "base/format.h"

namespace tenure::daemon {
namespace {

namespace pb = ::tenure::v1;
constexpr Duration kAskLimit = std::chrono::seconds(2);
constexpr Duration kLookAroundLimit = std::chrono::seconds(5);
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
      network_(grpc.MakeNetwork(threads.controller)) {}

// The network goes before the services it calls.
ControllerRole::~ControllerRole() {
  network_.reset();
}

controller::ControllerOptions ControllerRole::Options(const std::string& cluster_id) const {
  controller::ControllerOptions options;
  options.cluster_id = cluster_id;
  options.incarnation = incarnation_;
  options.on_superseded = [this](uint64_t incarnation) {
    refused_(storage_.LeftBehind(storage_.identity(), incarnation));
  };
  Prng prng = prng_.Fork("cluster id");
  options.new_cluster_id = MakeUuid(prng);
  options.self.set_id(storage_.identity().controller_id.value());
  options.self.set_name(config_.name);
  options.self.set_address(config_.advertise.ToString());
  options.self.set_zone(config_.zone);
  options.self.set_voter(true);
  for (const auto& [id, address] : config_.initial_controllers) {
    pb::ControllerRecord record;
    record.set_id(id);
    record.set_name(id == options.self.id() ? config_.name : fmt::format("{}", id));
    record.set_address(address.ToString());
    record.set_voter(true);
    options.initial_controllers.push_back(std::move(record));
  }
  options.group.raft.heartbeat_interval = config_.heartbeat_interval;
  options.group.raft.election_timeout_min = config_.election_timeout;
  return options;
}

Status ControllerRole::Start() {
  const wal::Identity identity = storage_.identity();
  std::string cluster_id = identity.cluster_id;
  incarnation_ = identity.incarnation;
  const ClusterCheck::Self self{.controller_id = identity.controller_id.value(),
                                .address = config_.advertise.ToString(),
                                .data = storage_.path()};
  threads_.controller.RunAndWait([this, &self] {
    check_ = std::make_unique<ClusterCheck>(threads_.controller, *network_, self, OtherControllers(config_),
                                            logger_);
  });
  if (storage_.fresh()) {
    auto found = std::make_shared<StatusOr<ClusterCheck::Found>>(ClusterCheck::Found());
    StartAndWait(threads_.controller, kLookAroundLimit, [this, found](Closure done) {
      check_->LookAround([found, done = std::move(done)](StatusOr<ClusterCheck::Found> cluster) mutable {
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
    controller_ = std::make_unique<controller::Controller>(
        controller::Controller::Dependencies{.executor = threads_.controller,
                                             .background = threads_.background,
                                             .network = *network_,
                                             .wal = storage_.wal(),
                                             .engine = storage_.engine(),
                                             .snapshots = storage_.snapshots(),
                                             .prng = prng_.Fork("controller"),
                                             .logger = logger_},
        Options(cluster_id));
    status = controller_->Start();
    if (!status.ok()) return;
    LearnClusterId();
    if (!cluster_id.empty()) check_->Watch(cluster_id, refused_);
  });
  return status;
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

void ControllerRole::Stop(Duration limit) {
  StartAndWait(threads_.controller, limit + kAskLimit, [this, limit](Closure done) {
    learn_timer_.Cancel();
    if (check_) check_->Stop();
    if (!controller_) return done();
    controller_->Stop(limit, std::move(done));
  });
}

std::optional<ControllerNumbers> ControllerRole::Numbers() {
  return Ask<ControllerNumbers>(threads_.controller, kAskLimit, [this] {
    return ControllerNumbers{.serving = controller_->serving(),
                             .epoch = controller_->epoch().value(),
                             .applied = controller_->applied().value()};
  });
}

Status ControllerRole::Ready() {
  const auto status = Ask<Status>(threads_.controller, kAskLimit, [this] {
    const controller::Leadership& leadership = controller_->leadership();
    if (leadership.leader().IsNone())
      return Error(StatusCode::kUnavailable, "controller: no leader is known");
    if (!leadership.leading() || leadership.serving()) return OkStatus();
    return Error(StatusCode::kUnavailable, "controller: leads and is {}", leadership.phase());
  });
  return status ? *status : Error(StatusCode::kUnavailable, "controller: does not answer");
}

}  // namespace tenure::daemon
