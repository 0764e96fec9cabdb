#include "daemon/node_role.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "daemon/version.h"

namespace tenure::daemon {
namespace {

constexpr std::string_view kRaftService = "tenure.internal.v1.Raft";

// Where they were last, which is newer than the command line of the first start; then what that says.
std::vector<runtime::Endpoint> ControllerAddresses(const Config& config,
                                                   const std::map<uint64_t, std::string>& remembered) {
  std::vector<runtime::Endpoint> addresses;
  auto add = [&addresses](const std::string& address) {
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end())
      addresses.push_back(address);
  };
  // Its own controller answers only when it has joined, if that is what it does.
  if (config.controller && (config.controllers.empty() || !config.initial_controllers.empty())) {
    add(config.advertise.ToString());
  }
  for (const auto& [id, address] : remembered) add(address);
  for (const HostPort& address : config.controllers) add(address.ToString());
  for (const auto& [id, address] : config.initial_controllers) add(address.ToString());
  return addresses;
}

}  // namespace

NodeRole::NodeRole(const Config& config, Threads& threads, Storage& storage, rpc::GrpcProcess& grpc,
                   Prng prng, Logger logger, std::function<void(Status)> refused)
    : config_(config),
      threads_(threads),
      storage_(storage),
      prng_(std::move(prng)),
      logger_(std::move(logger)),
      refused_(std::move(refused)),
      network_(grpc.MakeNetwork(threads.regions)) {}

// The network goes before the services it calls.
NodeRole::~NodeRole() {
  network_.reset();
}

node::NodeIdentity NodeRole::Identity() const {
  const wal::Identity identity = storage_.identity();
  return {.uuid = identity.node_uuid,
          .cluster_id = identity.cluster_id,
          .incarnation = identity.incarnation,
          .controller_id = storage_.retired() ? 0 : identity.controller_id.value(),
          .name = config_.name,
          .address = config_.advertise.ToString(),
          .resp_address = config_.resp_advertise.ToString(),
          .zone = config_.zone,
          .labels = config_.labels,
          .software_version = kVersion,
          .join_tokens = config_.join_tokens};
}

node::NodeOptions NodeRole::Options() const {
  node::NodeOptions options;
  options.write_timeout = config_.write_timeout;
  options.max_staleness = config_.max_staleness;
  // One turn applies a batch of every group: small enough that a node that replays its log still answers.
  options.groups.max_batch_bytes = 256 << 10;
  options.groups.raft.heartbeat_interval = config_.heartbeat_interval;
  options.groups.raft.election_timeout_min = config_.election_timeout;
  options.groups.raft.quiesce_after = config_.election_timeout;
  return options;
}

void NodeRole::Build() {
  auto saved = node::CatalogFile::Load(storage_.background_disk(), storage_.view_path(), logger_);
  client_ = std::make_unique<client::ControllerClient>(threads_.regions, *network_,
                                                       ControllerAddresses(config_, storage_.controllers()),
                                                       prng_.Fork("client"));
  link_ = std::make_unique<node::ControllerLink>(*client_, *network_);
  const node::NodeIdentity identity = Identity();
  transport_ = group::MakeNetworkTransport(threads_.regions, *network_, std::string(kRaftService),
                                           identity.cluster_id, logger_.Named("transport"));
  node_ = std::make_unique<node::Node>(node::Node::Dependencies{.executor = threads_.regions,
                                                                .background = threads_.background,
                                                                .disk = storage_.background_disk(),
                                                                .network = *network_,
                                                                .link = *link_,
                                                                .wal = storage_.wal(),
                                                                .engine = storage_.engine(),
                                                                .snapshots = storage_.snapshots(),
                                                                .transport = *transport_,
                                                                .owner = *this,
                                                                .prng = prng_.Fork("node"),
                                                                .logger = logger_},
                                       identity, Options(), storage_.view_path(), std::move(saved));
  changefeeds_ =
      std::make_unique<ChangefeedRole>(threads_, *network_, *link_, *node_, logger_.Named("changefeeds"));
  resp::FrontEndSettings settings;
  settings.version = kVersion;
  settings.port = config_.resp_advertise.port;
  settings.max_clients = config_.max_clients;
  front_end_ =
      std::make_unique<resp::FrontEnd>(std::move(settings), *node_, threads_.regions, logger_.Named("resp"));
}

Status NodeRole::Start() {
  threads_.regions.RunAndWait([this] { Build(); });
  resp::ServerSettings settings;
  settings.listen = config_.resp->ToString();
  settings.max_clients = config_.max_clients;
  auto server =
      resp::Server::Start(std::move(settings), *front_end_, threads_.regions, logger_.Named("resp"));
  if (!server.ok()) return server.status();
  server_ = std::move(*server);
  return OkStatus();
}

void NodeRole::Run() {
  threads_.regions.RunAndWait([this] {
    node_->Start();
    changefeeds_->Start();
  });
}

void NodeRole::Stop(Duration limit) {
  StartAndWait(threads_.regions, limit + kAskLimit, [this, limit](Closure done) {
    if (!node_) return done();
    node_->Stop(limit, std::move(done));
  });
}

void NodeRole::ClosePort() {
  if (server_) server_->Stop();
}

std::optional<NodeRole::Numbers> NodeRole::GetNumbers() {
  return Ask<Numbers>(threads_.regions, kAskLimit, [this] {
    return Numbers{.node = node_->GetStats(),
                   .resp = front_end_->counters(),
                   .connections = front_end_->client_count(),
                   .changefeeds = changefeeds_->numbers()};
  });
}

void NodeRole::SetLoad(const node::ProcessLoad& load) {
  threads_.regions.Post([this, load] { node_->SetLoad(load); });
}

Status NodeRole::Ready() {
  const auto status = Ask<Status>(threads_.regions, kAskLimit, [this] { return node_->Ready(); });
  return status ? *status : Error(StatusCode::kUnavailable, "node: does not answer");
}

void NodeRole::OnJoined(const std::string& cluster_id, uint64_t incarnation, NodeId node) {
  (void)node;
  threads_.background.Post([&storage = storage_, cluster_id, incarnation, refused = refused_] {
    const Status adopted = storage.AdoptCluster(cluster_id, incarnation);
    if (!adopted.ok()) refused(adopted);
  });
}

void NodeRole::OnControllers(const std::map<uint64_t, std::string>& addresses) {
  threads_.background.Post([&storage = storage_, addresses, logger = logger_] {
    const Status written = storage.RememberControllers(addresses);
    if (!written.ok()) logger.Warn("the controllers' addresses are not remembered: {}", MessageOf(written));
  });
}

void NodeRole::OnRefused(const Status& status) {
  refused_(status);
}

}  // namespace tenure::daemon
