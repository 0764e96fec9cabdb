// Private to rpc/: what all parts of a process's network share - completion queues and their threads,
// connections, links, the registry of services, the gate that closes before the queues do.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/function.h"
#include "rpc/grpc_process.h"
#include "rpc/links.h"
#include "rpc/network_state.h"
#include "runtime/network.h"

namespace tenure::rpc {

// What a completion queue hands back. An operation keeps its call alive until it has come back.
class Tag {
 public:
  virtual ~Tag() = default;
  // On one of gRPC's threads, or as the Link says.
  void Complete(bool ok) {
    (void)started_.load(std::memory_order_acquire);
    OnEvent(ok);
  }

 protected:
  // To be called just before the operation is started. What was written before is visible to OnEvent: gRPC
  // sees to that already, but in a library that the thread sanitizer does not see into.
  void MarkStarted() { started_.store(true, std::memory_order_release); }

 private:
  virtual void OnEvent(bool ok) = 0;
  std::atomic<bool> started_{false};
};

// A Tag that calls a member function of the shared object it keeps alive while it is pending.
template <class Owner>
class MemberTag final : public Tag {
 public:
  using Method = void (Owner::*)(bool ok);
  explicit MemberTag(Method method) : method_(method) {}
  // To be called just before the operation is started.
  MemberTag* Arm(std::shared_ptr<Owner> owner) {
    owner_ = std::move(owner);
    this->MarkStarted();
    return this;
  }
  void Disarm() { owner_.reset(); }

 private:
  void OnEvent(bool ok) override {
    const std::shared_ptr<Owner> owner = std::move(owner_);
    (owner.get()->*method_)(ok);
  }
  const Method method_;
  std::shared_ptr<Owner> owner_;
};

// Counts who is starting an operation; once closed, nobody does.
class Gate {
 public:
  bool Enter() {
    if ((state_.fetch_add(2) & 1) == 0) return true;
    Leave();
    return false;
  }
  void Leave() { state_.fetch_sub(2); }
  // Returns when all who had entered have left.
  void Close() {
    state_.fetch_or(1);
    while (state_.load() != 1) std::this_thread::yield();
  }

 private:
  std::atomic<uint64_t> state_{0};
};

struct ServiceEntry {
  std::shared_ptr<NetworkState> network;
  runtime::Service* service = nullptr;
};

class ClientStream;

class GrpcCore : public std::enable_shared_from_this<GrpcCore> {
 public:
  explicit GrpcCore(GrpcOptions options);
  ~GrpcCore();

  Status Listen(const runtime::Endpoint& endpoint);
  void Shutdown(Duration grace);
  int port() const { return port_.load(); }

  // Runs `start`, which starts operations: now or, while a thread of gRPC's is handling events, there after
  // them. Two threads in one connection wait for each other, or gRPC gives the work to a third.
  void Start(Closure start);

  // Started operations come back through this queue; hold the gate while starting one.
  grpc::CompletionQueue* NextQueue();
  Gate& gate() { return gate_; }
  std::shared_ptr<grpc::GenericStub> Connect(const runtime::Endpoint& to);

  void Register(std::string name, ServiceEntry entry);
  void Unregister(const NetworkState& network);
  std::vector<std::string> service_names() const;
  // What serves "/package.Service/Method"; `method` and `is_stream` are filled in. The error names what is
  // unknown.
  StatusOr<ServiceEntry> Find(std::string_view path, std::string_view& method, bool& is_stream) const;

  grpc::AsyncGenericService& generic_service() { return generic_service_; }
  Links& links() { return links_; }

  // Streams may still be sending what was queued when their owner closed them; Shutdown breaks them off.
  void AddStream(ClientStream& stream);
  void RemoveStream(ClientStream& stream);
  void AddNetwork() { networks_.fetch_add(1); }
  void RemoveNetwork() { networks_.fetch_sub(1); }

 private:
  void Poll(grpc::CompletionQueue& queue);
  // Runs what Start has left; the thread that calls handles no events any more.
  void RunStarts();

  const GrpcOptions options_;
  std::unique_ptr<grpc::ServerBuilder> builder_;
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues_;
  std::vector<std::thread> threads_;
  std::atomic<size_t> next_queue_{0};
  grpc::AsyncGenericService generic_service_;
  // Takes the connections that links_ accepted for gRPC.
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::unique_ptr<grpc::Server> server_;
  Links links_;
  std::atomic<int> port_{0};
  Gate gate_;
  std::atomic<int> networks_{0};
  bool shut_down_ = false;

  std::mutex starts_mutex_;
  std::vector<Closure> starts_;
  int handling_ = 0;  // threads that are handling events

  mutable std::mutex mutex_;
  std::map<std::string, ServiceEntry, std::less<>> services_;
  std::map<runtime::Endpoint, std::shared_ptr<grpc::GenericStub>> stubs_;
  std::set<ClientStream*> streams_;
};

}  // namespace tenure::rpc
