// gRPC's standard services, for grpcurl, load balancers and probes: health and server reflection. Ordinary
// services over runtime::Network: whoever builds the process registers them.
//
//   rpc::HealthService health([&](std::string_view name) { ... });        network.Serve(kHealthServiceName,
//   health); rpc::ReflectionService reflection([&] { return process.service_names(); }); for (const auto name
//   : kReflectionServiceNames) network.Serve(name, reflection);
//
// Threading: the executor of the Network they are registered through, except that `service_names` and
//            `is_served` are called there and must be safe there.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/network.h"

namespace tenure::rpc {

inline constexpr std::string_view kHealthServiceName = "grpc.health.v1.Health";
inline constexpr std::array<std::string_view, 2> kReflectionServiceNames = {
    "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"};

// Check and Watch. The process as a whole ("") and every service it serves have one state: serving or not.
class HealthService final : public runtime::Service {
 public:
  explicit HealthService(std::function<bool(std::string_view service)> is_served);
  ~HealthService() override;
  // Not serving until told otherwise. Watchers are told of changes.
  void SetServing(bool serving);

  bool IsStream(std::string_view method) const override { return method == "Watch"; }
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override;
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo& info,
                                                   std::unique_ptr<runtime::Stream> stream) override;

 private:
  class Watcher;
  std::function<bool(std::string_view)> is_served_;
  bool serving_ = false;
  std::map<uint64_t, Watcher*> watchers_;
  uint64_t next_watcher_ = 0;
};

// Names of the services, and the .proto files that are linked into the program.
class ReflectionService final : public runtime::Service {
 public:
  explicit ReflectionService(std::function<std::vector<std::string>()> service_names);

  bool IsStream(std::string_view method) const override { return method == "ServerReflectionInfo"; }
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override;
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo& info,
                                                   std::unique_ptr<runtime::Stream> stream) override;

 private:
  class Session;
  std::string Answer(const std::string& request) const;
  std::function<std::vector<std::string>()> service_names_;
};

}  // namespace tenure::rpc
