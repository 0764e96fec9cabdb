// ClusterLink over client::ControllerClient.
//
// Threading: one executor. `client` and `network` outlive it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "client/controller_client.h"
#include "node/cluster_link.h"

namespace tenure::node {

class ControllerLink final : public ClusterLink {
 public:
  ControllerLink(client::ControllerClient& client, runtime::Network& network)
      : client_(client), network_(network) {}

  void Call(std::string_view method, std::string request, Duration timeout,
            Callback<StatusOr<std::string>> done) override {
    client::CallOptions options;
    options.timeout = timeout;
    client_.Call(method, std::move(request), options, std::move(done));
  }
  std::unique_ptr<runtime::Stream> OpenStream(std::string_view method, runtime::StreamHandler& handler,
                                              runtime::Endpoint* to) override {
    *to = client_.Target();
    return network_.OpenStream(*to, method, handler, {});
  }
  void OnStreamFailed(const runtime::Endpoint& to, const Status& status) override {
    client_.OnStreamFailed(to, status);
  }
  void SetControllers(const std::vector<runtime::Endpoint>& controllers) override {
    client_.SetControllers(controllers);
  }

 private:
  client::ControllerClient& client_;
  runtime::Network& network_;
};

}  // namespace tenure::node
