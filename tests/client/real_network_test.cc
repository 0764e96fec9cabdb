// The catalog's stream over the network of daemons: on a connection of its own.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "client/catalog_stream.h"
#include "client/controller_client.h"
#include "rpc/grpc_process.h"
#include "runtime/real/real_executor.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::client {
namespace {

using namespace std::chrono_literals;
namespace pb = ::tenure::v1;

// Answers a put with the number that is its key; ends the stream instead when it sees a thousand for the first
// time.
class NumberedAnswers : public runtime::Service {
 public:
  bool IsStream(std::string_view method) const override { return method == "Stream"; }
  void OnCall(const runtime::CallInfo&, std::string, runtime::Reply) override {}
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo& info,
                                                   std::unique_ptr<runtime::Stream> stream) override {
    peers.push_back(info.peer);
    return std::make_unique<Handler>(*this, std::move(stream));
  }
  std::vector<std::string> peers;

 private:
  struct Handler : runtime::StreamHandler {
    Handler(NumberedAnswers& s, std::unique_ptr<runtime::Stream> st) : service(s), stream(std::move(st)) {}
    void OnMessage(std::string message) override {
      pb::StreamRequests requests;
      EXPECT_TRUE(requests.ParseFromString(message));
      pb::StreamResponses responses;
      for (const pb::StreamRequest& request : requests.requests()) {
        const uint64_t number = std::stoull(request.put().key());
        if (number % 1000 == 0 && service.refused.insert(number).second)
          return stream->Close(absl::UnavailableError("a thousand"));
        pb::StreamResponse& response = *responses.add_responses();
        response.set_tag(request.tag());
        response.mutable_change()->set_revision(number);
      }
      stream->Send(responses.SerializeAsString());
    }
    void OnClosed(Status) override {}
    NumberedAnswers& service;
    std::unique_ptr<runtime::Stream> stream;
  };
  std::set<uint64_t> refused;
};

TEST(RealNetworkTest, AStreamHasAConnectionOfItsOwn) {
  constexpr uint64_t kPuts = 3500;
  runtime::RealExecutor executor("test");
  rpc::GrpcProcess server;
  rpc::GrpcProcess client;
  NumberedAnswers service;
  std::set<uint64_t> answered;
  std::unique_ptr<runtime::Network> server_network;
  std::unique_ptr<runtime::Network> client_network;
  std::unique_ptr<ControllerClient> controllers;
  std::unique_ptr<CatalogStream> stream;
  ASSERT_TRUE(server.Listen("127.0.0.1:0").ok());
  executor.RunAndWait([&] {
    server_network = server.MakeNetwork(executor);
    server_network->Serve("tenure.v1.Catalog", service);
    client_network = client.MakeNetwork(executor);
    const std::vector<runtime::Endpoint> endpoints{"127.0.0.1:" + std::to_string(server.port())};
    controllers = std::make_unique<ControllerClient>(executor, *client_network, endpoints, Prng(1));
    stream = std::make_unique<CatalogStream>(executor, *client_network, *controllers, Prng(2), 30s);
  });
  for (uint64_t number = 1; number <= kPuts; ++number) {
    executor.RunAndWait([&] {
      pb::StreamRequest request;
      request.mutable_put()->set_key(std::to_string(number));
      stream->Send(std::move(request), [&answered, number](StatusOr<pb::StreamResponse> answer) {
        ASSERT_TRUE(answer.ok()) << answer.status();
        EXPECT_EQ(answer->change().revision(), number);
        EXPECT_TRUE(answered.insert(number).second);
      });
    });
  }
  const auto give_up = std::chrono::steady_clock::now() + 20s;
  for (size_t have = 0; have < kPuts && std::chrono::steady_clock::now() < give_up;
       std::this_thread::sleep_for(1ms)) {
    executor.RunAndWait([&] { have = answered.size(); });
  }
  executor.RunAndWait([&] {
    EXPECT_EQ(answered.size(), kPuts);
    EXPECT_GE(service.peers.size(), 4u);
    for (const std::string& peer : service.peers)
      EXPECT_TRUE(peer.starts_with("127.0.0.1:")) << peer << " comes by gRPC";
    stream.reset();
    controllers.reset();
    client_network.reset();
    server_network.reset();
  });
  executor.Stop();
}

}  // namespace
}  // namespace tenure::client
