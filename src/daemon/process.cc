#include "daemon/process.h"

#include <utility>

#include "daemon/process_usage.h"
#include "daemon/version.h"

namespace tenure::daemon {
namespace {

constexpr Duration kHandOverLimit = std::chrono::seconds(3);
constexpr Duration kGrace = std::chrono::milliseconds(300);

}  // namespace

Process::Process(Config config, uint64_t seed, LogSink& sink, OnEnd on_end)
    : config_(std::move(config)), logger_(&sink, ""), on_end_(std::move(on_end)), prng_(seed) {
  started_at_s_ = ToMillis(threads_.background.WallNow()) / 1000;
}

// What belonged to an executor is destroyed after it has stopped, wherever it stood (a stop that took too
// long included), and before the network it used. Last words already sent still leave while gRPC shuts down.
Process::~Process() {
  Stop();
  threads_.StopAll();
  node_.reset();
  controller_.reset();
  if (grpc_) grpc_->Shutdown(kGrace);
}

Status Process::Start() {
  TENURE_ASSIGN_OR_RETURN(
      storage_, Storage::Open(config_, threads_, prng_.Fork("storage"), logger_, on_end_.storage_failed));
  const wal::Identity identity = storage_->identity();
  logger_.Named("process").Info("tenured {}, {}, cluster {}, incarnation {}", kVersion, storage_->path(),
                                identity.cluster_id.empty() ? "not known yet" : identity.cluster_id,
                                identity.incarnation);
  grpc_ = std::make_unique<rpc::GrpcProcess>();
  if (config_.controller) {
    controller_ = std::make_unique<ControllerRole>(config_, threads_, *storage_, *grpc_,
                                                   prng_.Fork("controller"), logger_, on_end_.refused);
  }
  if (config_.node) {
    node_ = std::make_unique<NodeRole>(config_, threads_, *storage_, *grpc_, prng_.Fork("node"),
                                       logger_.Named("node"), on_end_.refused);
  }
  // All ports first: a process that cannot be reached must not take part.
  TENURE_RETURN_IF_ERROR(grpc_->Listen(config_.listen.ToString()));
  if (node_) TENURE_RETURN_IF_ERROR(node_->Start());
  if (controller_) TENURE_RETURN_IF_ERROR(controller_->Start());
  if (node_) node_->Run();
  if (config_.http) {
    HttpPages pages{.metrics = [this] { return MetricsText(Numbers()); },
                    .health = [this] { return Healthy(); },
                    .ready = [this] { return Ready(); }};
    TENURE_ASSIGN_OR_RETURN(http_, HttpServer::Start(*config_.http, std::move(pages)));
  }
  logger_.Named("process").Info("listening on {} (gRPC){}{}", config_.listen.ToString(),
                                config_.resp ? ", " + config_.resp->ToString() + " (Redis protocol)" : "",
                                config_.http ? ", " + config_.http->ToString() + " (HTTP)" : "");
  return OkStatus();
}

void Process::Stop() {
  if (std::exchange(stopped_, true)) return;
  if (http_) http_->Stop();
  // The regions go first, while a controller is there to hear it.
  if (node_) {
    node_->Stop(kHandOverLimit);
    node_->ClosePort();
  }
  if (controller_) controller_->Stop(kHandOverLimit);
  if (storage_) storage_->Close(kAskLimit);
}

void Process::Measure() {
  const StatusOr<uint64_t> free = FreeDiskBytes(storage_->path());
  if (free.ok()) disk_free_bytes_ = *free;
  if (!node_) return;
  node::ProcessLoad load;
  load.disk_free_bytes = disk_free_bytes_;
  load.memory_bytes = ReadUsage().resident_bytes;
  node_->SetLoad(load);
}

ProcessNumbers Process::Numbers() {
  ProcessNumbers numbers;
  if (controller_) numbers.controller = controller_->Numbers();
  if (node_) {
    if (auto node = node_->GetNumbers()) {
      numbers.node = node->node;
      numbers.resp = node->resp;
      numbers.resp_connections = node->connections;
      numbers.changefeeds = node->changefeeds;
    }
  }
  numbers.engine = storage_->engine().Stats();
  numbers.wal_bytes = storage_->wal().bytes_on_disk();
  numbers.wal_low_on_space = storage_->wal().LowOnSpace();
  numbers.disk_free_bytes = disk_free_bytes_;
  const ProcessUsage usage = ReadUsage();
  numbers.resident_bytes = usage.resident_bytes;
  numbers.cpu_seconds = usage.cpu_seconds;
  numbers.started_at_s = started_at_s_;
  return numbers;
}

Status Process::Healthy() {
  Status health;
  threads_.ForEach([&health](const char* name, runtime::RealExecutor& executor) {
    if (!health.ok() || Ask<bool>(executor, kAskLimit, [] { return true; })) return;
    health = Error(StatusCode::kUnavailable, "the executor '{}' has not answered for {} ms", name,
                   ToMillis(kAskLimit));
  });
  return health;
}

Status Process::Ready() {
  if (controller_) TENURE_RETURN_IF_ERROR(controller_->Ready());
  if (node_) TENURE_RETURN_IF_ERROR(node_->Ready());
  return OkStatus();
}

}  // namespace tenure::daemon
