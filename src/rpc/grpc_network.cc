#include "rpc/grpc_network.h"

#include <utility>

#include "base/check.h"
#include "rpc/client_call.h"
#include "rpc/link.h"

namespace tenure::rpc {
namespace {

std::string PathOf(std::string_view method) {
  std::string path;
  path.reserve(method.size() + 1);
  path.push_back('/');
  path.append(method);
  return path;
}

}  // namespace

GrpcNetwork::GrpcNetwork(std::shared_ptr<GrpcCore> core, runtime::Executor& executor)
    : core_(std::move(core)), state_(std::make_shared<NetworkState>(executor)) {
  core_->AddNetwork();
}

GrpcNetwork::~GrpcNetwork() {
  core_->Unregister(*state_);
  state_->Close();
  core_->RemoveNetwork();
}

void GrpcNetwork::CheckExecutor() const {
  TENURE_CHECK(state_->executor.IsCurrent(), "a network is used outside of its executor");
}

grpc::GenericStub& GrpcNetwork::StubFor(const runtime::Endpoint& to) {
  std::shared_ptr<grpc::GenericStub>& stub = stubs_[to];
  if (!stub) stub = core_->Connect(to);
  return *stub;
}

void GrpcNetwork::Call(const runtime::Endpoint& to, std::string_view method, std::string request,
                       Duration timeout, Callback<StatusOr<std::string>> done) {
  CheckExecutor();
  if (request.size() > runtime::kMaxMessageBytes) {
    Status status = runtime::MarkNotSent(Error(StatusCode::kResourceExhausted,
                                               "the request has {} bytes, the limit is {}", request.size(),
                                               runtime::kMaxMessageBytes));
    state_->inbox->Push(
        [done = std::move(done), status = std::move(status)]() mutable { done(std::move(status)); });
    return;
  }
  UnaryCall::Start(*core_, StubFor(to), state_, to, PathOf(method), std::move(request), timeout,
                   std::move(done));
}

std::unique_ptr<runtime::Stream> GrpcNetwork::OpenStream(const runtime::Endpoint& to, std::string_view method,
                                                         runtime::StreamHandler& handler,
                                                         runtime::StreamOptions options) {
  CheckExecutor();
  if (options.direct && !core_->links().TakeForeign(to)) return OpenLink(to, method, handler);
  const auto transport = std::make_shared<ClientStream>(core_, to);
  const auto end = std::make_shared<StreamEnd>(state_, transport, StreamEnd::Side::kClient, true);
  end->Attach(handler);
  transport->Open(StubFor(to), PathOf(method), end);
  return std::make_unique<GrpcStream>(end);
}

std::unique_ptr<runtime::Stream> GrpcNetwork::OpenLink(const runtime::Endpoint& to, std::string_view method,
                                                       runtime::StreamHandler& handler) {
  const auto link = core_->links().NewLink();
  TENURE_CHECK(link != nullptr, "a stream is opened after Shutdown");  // which Networks do not outlive
  const auto end = std::make_shared<StreamEnd>(state_, link, StreamEnd::Side::kClient, true);
  end->Attach(handler);
  link->Connect(to, PathOf(method), end);
  return std::make_unique<GrpcStream>(end);
}

void GrpcNetwork::Serve(std::string_view service_name, runtime::Service& service) {
  core_->Register(std::string(service_name), ServiceEntry{state_, &service});
}

std::unique_ptr<runtime::Network> GrpcProcess::MakeNetwork(runtime::Executor& executor) {
  return std::make_unique<GrpcNetwork>(core_, executor);
}

}  // namespace tenure::rpc
