// Says that this process is there and whether it serves, and asks other nodes whether they are, on behalf of
// the leading controller: a node that it does not hear may be alive and only cut off from it.
//
// Threading:  the node's executor.
// Lifetime:   destruction drops what is under way.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "node/catalog_view.h"
#include "runtime/executor.h"
#include "runtime/network.h"
#include "tenure/internal/v1/agent.pb.h"

namespace tenure::node {

class Prober final : public runtime::Service {
 public:
  static constexpr std::string_view kName = "tenure.internal.v1.Probe";

  // `on_result`: there is something to report.
  // `serves`: this node has a lease.
  Prober(runtime::Network& network, const CatalogView& view, std::function<bool()> serves,
         std::function<void()> on_result)
      : network_(network), view_(view), serves_(std::move(serves)), on_result_(std::move(on_result)) {}
  ~Prober() override { *alive_ = false; }

  void SetSelf(NodeId self) { self_ = self; }
  void SetClusterId(const std::string& cluster_id) { cluster_id_ = cluster_id; }
  // Nodes that the view does not know, and those that are being probed, are passed over.
  void Probe(NodeId node);
  // What was found since the last call.
  std::vector<::tenure::internal::v1::ProbeResult> TakeResults() { return std::exchange(results_, {}); }

  // runtime::Service
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override;
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }

 private:
  runtime::Network& network_;
  const CatalogView& view_;
  const std::function<bool()> serves_;
  const std::function<void()> on_result_;
  NodeId self_;
  std::string cluster_id_;
  std::set<NodeId> under_way_;
  std::vector<::tenure::internal::v1::ProbeResult> results_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::node
