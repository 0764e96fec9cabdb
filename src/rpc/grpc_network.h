// Private to rpc/: one executor's view of the process's network.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "rpc/core.h"
#include "rpc/network_state.h"
#include "runtime/network.h"

namespace tenure::rpc {

class GrpcNetwork final : public runtime::Network {
 public:
  GrpcNetwork(std::shared_ptr<GrpcCore> core, runtime::Executor& executor);
  ~GrpcNetwork() override;

  void Call(const runtime::Endpoint& to, std::string_view method, std::string request, Duration timeout,
            Callback<StatusOr<std::string>> done) override;
  std::unique_ptr<runtime::Stream> OpenStream(const runtime::Endpoint& to, std::string_view method,
                                              runtime::StreamHandler& handler,
                                              runtime::StreamOptions options) override;
  void Serve(std::string_view service_name, runtime::Service& service) override;

 private:
  std::unique_ptr<runtime::Stream> OpenLink(const runtime::Endpoint& to, std::string_view method,
                                            runtime::StreamHandler& handler);
  grpc::GenericStub& StubFor(const runtime::Endpoint& to);
  void CheckExecutor() const;

  const std::shared_ptr<GrpcCore> core_;
  const std::shared_ptr<NetworkState> state_;
  std::map<runtime::Endpoint, std::shared_ptr<grpc::GenericStub>> stubs_;  // spares the process's lock
};

}  // namespace tenure::rpc
