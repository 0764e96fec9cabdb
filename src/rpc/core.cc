#include "rpc/core.h"

#include <absl/synchronization/mutex.h>
#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <pthread.h>

#include <cstdlib>
#include <utility>

#include "base/check.h"
#include "rpc/client_call.h"
#include "rpc/convert.h"
#include "rpc/server_call.h"
#include "runtime/helper.h"

namespace tenure::rpc {
namespace {

constexpr int kMaxWireMessage = static_cast<int>(runtime::kMaxMessageBytes) + (1 << 20);  // and its frame
constexpr int kMaxMetadataBytes = 128 << 10;
constexpr int kRequestedCallsPerQueue = 64;
constexpr int kEventsPerRound = 64;

// gRPC explains on stderr what it returns as errors too; only asked for with GRPC_VERBOSITY.
void QuietenGrpc() {
  if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
}

// Debian builds Abseil with its lock-order checker on; every lock inside gRPC pays for it.
void QuickenGrpc() {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

// Whether this is one of gRPC's threads: what it does is in nobody's way.
thread_local bool polling_thread = false;

int Millis(Duration d) {
  return static_cast<int>(ToMillis(d));
}

}  // namespace

GrpcCore::GrpcCore(GrpcOptions options)
    : options_(options), builder_(std::make_unique<grpc::ServerBuilder>()), links_(*this, options) {
  QuietenGrpc();
  QuickenGrpc();
  for (int i = 0; i < std::max(1, options_.io_threads); ++i) {
    queues_.push_back(builder_->AddCompletionQueue());
    threads_.emplace_back([this, i] {
      pthread_setname_np(pthread_self(), fmt::format("grpc-io-{}", i).c_str());
      Poll(*queues_[static_cast<size_t>(i)]);
    });
  }
}

GrpcCore::~GrpcCore() {
  TENURE_CHECK(shut_down_, "a GrpcCore goes without Shutdown");
}

void GrpcCore::Poll(grpc::CompletionQueue& queue) {
  polling_thread = true;
  runtime::Helper helper;
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) {
    {
      const std::lock_guard lock(starts_mutex_);
      ++handling_;
    }
    static_cast<Tag*>(tag)->Complete(ok);
    // What else is ready now belongs to the same round.
    for (int i = 1; i < kEventsPerRound; ++i) {
      if (queue.AsyncNext(&tag, &ok, gpr_inf_past(GPR_CLOCK_MONOTONIC)) != grpc::CompletionQueue::GOT_EVENT)
        break;
      static_cast<Tag*>(tag)->Complete(ok);
    }
    RunStarts();
    helper.Run();
  }
}

void GrpcCore::Start(Closure start) {
  {
    const std::lock_guard lock(starts_mutex_);
    if (handling_ > 0 && !polling_thread) return starts_.push_back(std::move(start));
  }
  start();
}

void GrpcCore::RunStarts() {
  std::vector<Closure> batch;
  for (;;) {
    {
      const std::lock_guard lock(starts_mutex_);
      if (starts_.empty()) {
        --handling_;
        return;
      }
      batch.swap(starts_);
    }
    for (Closure& start : batch) start();
    batch.clear();
  }
}

grpc::CompletionQueue* GrpcCore::NextQueue() {
  return queues_.size() == 1
             ? queues_.front().get()
             : queues_[next_queue_.fetch_add(1, std::memory_order_relaxed) % queues_.size()].get();
}

Status GrpcCore::Listen(const runtime::Endpoint& endpoint) {
  TENURE_CHECK(server_ == nullptr && !shut_down_, "Listen is called twice or after Shutdown");
  TENURE_RETURN_IF_ERROR(links_.Listen(endpoint));
  grpc::ServerBuilder& builder = *builder_;
  acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      grpc::InsecureServerCredentials());
  builder.RegisterAsyncGenericService(&generic_service_);
  builder.SetMaxReceiveMessageSize(kMaxWireMessage);
  builder.SetMaxSendMessageSize(kMaxWireMessage);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Millis(options_.keepalive_time));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Millis(options_.keepalive_timeout));
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 100);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) return Error(StatusCode::kInternal, "gRPC cannot start its server");
  port_.store(links_.port());
  for (const auto& queue : queues_) {
    for (int i = 0; i < kRequestedCallsPerQueue; ++i) ServerCall::Request(shared_from_this(), queue.get());
  }
  links_.Accept([this](int descriptor, std::string_view received) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
    connection.fd = descriptor;
    const grpc::Slice slice(received.data(), received.size());
    connection.read_buffer = grpc::ByteBuffer(&slice, 1);
    acceptor_->HandleNewConnection(&connection);
  });
  return OkStatus();
}

void GrpcCore::Shutdown(Duration grace) {
  if (std::exchange(shut_down_, true)) return;
  TENURE_CHECK(networks_.load() == 0, "{} Networks are left at Shutdown", networks_.load());
  // Cuts off what is left after the grace time, so that no call waits for an answer that cannot come any
  // more.
  links_.StopAccepting();
  if (server_ != nullptr) server_->Shutdown(ToDeadline(grace));
  links_.Shutdown();
  gate_.Close();  // nobody starts an operation on a queue that is shut down
  {
    const std::lock_guard lock(mutex_);
    for (ClientStream* stream : streams_) stream->Cancel();
    stubs_.clear();
  }
  for (const auto& queue : queues_) queue->Shutdown();
  for (std::thread& thread : threads_) thread.join();
  server_.reset();
  builder_.reset();
}

std::shared_ptr<grpc::GenericStub> GrpcCore::Connect(const runtime::Endpoint& to) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<grpc::GenericStub>& stub = stubs_[to];
  if (stub) return stub;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxWireMessage);
  arguments.SetMaxSendMessageSize(kMaxWireMessage);
  arguments.SetInt(GRPC_ARG_ENABLE_CHANNELZ, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // who repeats a call knows why
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, Millis(options_.keepalive_time));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Millis(options_.keepalive_timeout));
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, Millis(options_.min_backoff));
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, Millis(options_.max_backoff));  // bounds an attempt
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, Millis(options_.max_backoff));
  // Own connections: two processes in one test, or a process's past and present, share nothing.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A host may be called `dns` or `unix`: without a scheme gRPC would take the name for one.
  stub = std::make_shared<grpc::GenericStub>(
      grpc::CreateCustomChannel("dns:///" + to, grpc::InsecureChannelCredentials(), arguments));
  return stub;
}

void GrpcCore::Register(std::string name, ServiceEntry entry) {
  const std::lock_guard lock(mutex_);
  const bool added = services_.emplace(name, std::move(entry)).second;
  TENURE_CHECK(added, "service {} is registered twice", name);
}

void GrpcCore::Unregister(const NetworkState& network) {
  const std::lock_guard lock(mutex_);
  std::erase_if(services_, [&](const auto& item) { return item.second.network.get() == &network; });
}

std::vector<std::string> GrpcCore::service_names() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, entry] : services_) names.push_back(name);
  return names;
}

StatusOr<ServiceEntry> GrpcCore::Find(std::string_view path, std::string_view& method,
                                      bool& is_stream) const {
  const size_t slash = path.rfind('/');
  if (path.empty() || path.front() != '/' || slash == 0) {
    return Error(StatusCode::kUnimplemented, "malformed method name {}", path);
  }
  const std::string_view service = path.substr(1, slash - 1);
  method = path.substr(slash + 1);
  const std::lock_guard lock(mutex_);
  const auto found = services_.find(service);
  if (found == services_.end()) return Error(StatusCode::kUnimplemented, "unknown service {}", service);
  is_stream = found->second.service->IsStream(method);  // under the lock: the service is still registered
  return found->second;
}

void GrpcCore::AddStream(ClientStream& stream) {
  const std::lock_guard lock(mutex_);
  streams_.insert(&stream);
}

void GrpcCore::RemoveStream(ClientStream& stream) {
  const std::lock_guard lock(mutex_);
  streams_.erase(&stream);
}

GrpcProcess::GrpcProcess(GrpcOptions options) : core_(std::make_shared<GrpcCore>(options)) {}
GrpcProcess::~GrpcProcess() {
  Shutdown(std::chrono::seconds(1));
}
Status GrpcProcess::Listen(const runtime::Endpoint& endpoint) {
  return core_->Listen(endpoint);
}
int GrpcProcess::port() const {
  return core_->port();
}
std::vector<std::string> GrpcProcess::service_names() const {
  return core_->service_names();
}
void GrpcProcess::Shutdown(Duration grace) {
  core_->Shutdown(grace);
}

}  // namespace tenure::rpc
