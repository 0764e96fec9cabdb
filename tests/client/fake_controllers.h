// Controllers that answer what the test tells them.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "catalog/refusal.h"
#include "client/controller_client.h"
#include "tests/client/fake_network.h"
#include "tests/runtime/manual_executor.h"

namespace tenure::client {

namespace pb = ::tenure::v1;

class FakeController : public runtime::Service {
 public:
  using Behaviour =
      std::function<StatusOr<std::string>(const runtime::CallInfo&, const std::string& request)>;

  bool IsStream(std::string_view method) const override { return method == "Stream" || method == "Watch"; }
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override {
    requests.push_back(request);
    reply(behaviour(info, request));
  }
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream> stream) override;

  Behaviour behaviour = [](const auto&, const auto&) { return std::string("ok"); };
  std::vector<std::string> requests;
  // Streams opened to it, in order, and what came over them.
  struct ServerEnd {
    std::unique_ptr<runtime::Stream> stream;
    std::vector<std::string> messages;
    bool closed = false;
  };
  std::vector<std::shared_ptr<ServerEnd>> streams;
  std::optional<Status> refuse_streams;
};

class FakeServerHandler : public runtime::StreamHandler {
 public:
  explicit FakeServerHandler(std::shared_ptr<FakeController::ServerEnd> end) : end_(std::move(end)) {}
  void OnMessage(std::string message) override { end_->messages.push_back(std::move(message)); }
  void OnClosed(Status) override { end_->closed = true; }

 private:
  std::shared_ptr<FakeController::ServerEnd> end_;
};

inline std::unique_ptr<runtime::StreamHandler> FakeController::OnStream(
    const runtime::CallInfo&, std::unique_ptr<runtime::Stream> stream) {
  auto end = std::make_shared<ServerEnd>();
  end->stream = std::move(stream);
  streams.push_back(end);
  if (refuse_streams) end->stream->Close(*refuse_streams);
  return std::make_unique<FakeServerHandler>(end);
}

// Controllers a:1, b:1, c:1 and a client that knows all of them.
struct FakeCluster {
  FakeCluster() {
    for (const auto& endpoint : endpoints) {
      views[endpoint] = network.MakeView(endpoint);
      views[endpoint]->Serve("tenure.v1.Catalog", controllers[endpoint]);
      views[endpoint]->Serve("tenure.v1.Cluster", controllers[endpoint]);
    }
  }
  // Everybody else redirects to `leader`.
  void Lead(const std::string& leader) {
    for (auto& [endpoint, controller] : controllers) {
      if (endpoint == leader) {
        controller.behaviour = [](const auto&, const auto&) { return std::string("ok"); };
        controller.refuse_streams.reset();
      } else {
        const Status redirect = catalog::NotLeaderRefusal(leader.empty() ? 0 : 9, leader);
        controller.behaviour = [redirect](const auto&, const auto&) { return redirect; };
        controller.refuse_streams = redirect;
      }
    }
  }
  void Everyone(const FakeController::Behaviour& behaviour) {
    for (auto& [endpoint, controller] : controllers) controller.behaviour = behaviour;
  }

  const std::vector<std::string> endpoints = {"a:1", "b:1", "c:1"};
  runtime::ManualExecutor executor;
  runtime::FakeNetwork network{executor};
  std::map<std::string, FakeController> controllers;
  std::map<std::string, std::unique_ptr<runtime::Network>> views;
  std::unique_ptr<runtime::Network> view = network.MakeView("client");
};

}  // namespace tenure::client
