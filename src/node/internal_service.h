// tenure.internal.v1.NodeInternal as it is served: finds the part of the node that answers a method.
//
// Threading: one executor. The parts outlive it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "node/change_logs.h"
#include "node/configuration_service.h"
#include "node/leadership.h"
#include "node/range_service.h"
#include "node/schema_service.h"
#include "runtime/network.h"

namespace tenure::node {

class InternalService final : public runtime::Service {
 public:
  static constexpr std::string_view kName = "tenure.internal.v1.NodeInternal";

  InternalService(LeadershipService& leadership, ConfigurationService& configurations, RangeService& ranges,
                  SchemaService& schemas, ChangeLogs& changes)
      : leadership_(leadership),
        configurations_(configurations),
        ranges_(ranges),
        schemas_(schemas),
        changes_(changes) {}

  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override {
    if (info.method == "TransferLeader") return leadership_.OnTransferLeader(request, std::move(reply));
    if (info.method == "ChangeConfiguration") {
      return configurations_.OnChangeConfiguration(info, request, std::move(reply));
    }
    if (info.method == "ChangeRange") return ranges_.OnChangeRange(request, std::move(reply));
    if (info.method == "ChangeSchema") return schemas_.OnChangeSchema(request, std::move(reply));
    if (info.method == "BeginOfChanges") return changes_.OnBeginOfChanges(request, std::move(reply));
    reply(Error(StatusCode::kUnimplemented, "NodeInternal has no method {}", info.method));
  }
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }

 private:
  LeadershipService& leadership_;
  ConfigurationService& configurations_;
  RangeService& ranges_;
  SchemaService& schemas_;
  ChangeLogs& changes_;
};

}  // namespace tenure::node
