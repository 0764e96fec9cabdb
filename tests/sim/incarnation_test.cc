// Two incarnations of one cluster meet on the network: nothing of the lower one is let through, and it is
// told.
#include <gtest/gtest.h>

#include "controller/incarnation_watch.h"
#include "group/transport.h"
#include "sim/scheduler.h"
#include "sim/sim_executor.h"
#include "sim/sim_network.h"
#include "tenure/v1/cluster.pb.h"

namespace tenure::sim {
namespace {

using namespace std::chrono_literals;

struct Receiver : group::MessageReceiver {
  void OnRaftMessage(GroupId, ReplicaId, ReplicaId, uint64_t, raft::Message) override { ++messages; }
  void OnHostHeartbeat(const group::HostHeartbeat&) override { ++heartbeats; }
  void OnHostUnreachable(uint64_t) override {}
  void OnSnapshotOffer(group::SnapshotOffer, Callback<StatusOr<uint64_t>> done) override {
    ++offers;
    done(uint64_t{0});
  }
  void OnSnapshotChunk(group::SnapshotChunk, Callback<StatusOr<uint64_t>> done) override {
    ++chunks;
    done(uint64_t{1});
  }
  int messages = 0;
  int heartbeats = 0;
  int offers = 0;
  int chunks = 0;
};

struct Process {
  Process(Scheduler& world, SimClock& clock, SimNetwork& net, const std::string& name)
      : process(world, clock, name, Prng(3).Fork(name)), executor(process.AddExecutor("main")) {
    net.AddHost(process, name);
    network = net.MakeView(process, executor);
  }
  ~Process() { process.Kill(); }
  void Join(const std::string& cluster, uint64_t incarnation) {
    transport = group::MakeNetworkTransport(executor, *network, "t.Raft", cluster, Logger());
    transport->SetIncarnation(incarnation);
    transport->SetOnSuperseded([this](uint64_t by) { superseded_by = by; });
    transport->SetReceiver(&receiver);
  }
  void SendTo(const std::string& name) {
    transport->addresses().Set(9, name);
    transport->Send(9, GroupId(0), ReplicaId(1), ReplicaId(2), raft::HeartbeatRequest{.term = Term(3)});
    transport->SendHeartbeat(9, {.from = 1, .sequence = 1});
    transport->Flush();
    transport->Offer(9, {}, [this](StatusOr<uint64_t> answer) { offered = answer.status(); });
    transport->PutChunk(9, {}, [this](StatusOr<uint64_t> answer) { put = answer.status(); });
  }
  SimProcess process;
  SimExecutor& executor;
  std::unique_ptr<runtime::Network> network;
  Receiver receiver;
  uint64_t superseded_by = 0;
  Status offered;
  Status put;
  std::unique_ptr<group::Transport> transport;
};

class IncarnationTest : public testing::Test {
 protected:
  void Send(Process& from, const std::string& to) {
    from.executor.Post([&from, to] { from.SendTo(to); });
    world.RunFor(1s);
  }
  Scheduler world;
  SimClock clock{world, Instant(1s), WallFromMillis(0)};
  SimNetwork net{world, Prng(1)};
  Process a{world, clock, net, "a"};
  Process b{world, clock, net, "b"};
};

TEST_F(IncarnationTest, TheSameIncarnationIsHeard) {
  a.Join("c", 2);
  b.Join("c", 2);
  Send(a, "b");
  EXPECT_EQ(b.receiver.messages, 1);
  EXPECT_EQ(b.receiver.heartbeats, 1);
  EXPECT_EQ(b.receiver.offers, 1);
  EXPECT_EQ(b.receiver.chunks, 1);
  EXPECT_EQ(a.superseded_by + b.superseded_by, 0u);
}

TEST_F(IncarnationTest, ALowerOneIsRefusedAndTold) {
  a.Join("c", 1);
  b.Join("c", 2);
  Send(a, "b");
  EXPECT_EQ(b.receiver.messages + b.receiver.heartbeats + b.receiver.offers + b.receiver.chunks, 0);
  EXPECT_EQ(a.superseded_by, 2u);
  EXPECT_EQ(b.superseded_by, 0u);
  EXPECT_EQ(a.offered.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(a.put.code(), StatusCode::kFailedPrecondition);
}

TEST_F(IncarnationTest, AHigherOneSupersedes) {
  a.Join("c", 2);
  b.Join("c", 1);
  Send(a, "b");
  EXPECT_EQ(b.receiver.messages + b.receiver.heartbeats + b.receiver.offers + b.receiver.chunks, 0);
  EXPECT_EQ(b.superseded_by, 2u);
  EXPECT_EQ(a.superseded_by, 0u);
}

TEST_F(IncarnationTest, OneThatDoesNotKnowItsClusterIsHeardOnlyBeforeARecovery) {
  a.Join("", 1);
  b.Join("c", 1);
  Send(a, "b");
  EXPECT_EQ(b.receiver.messages, 1);
  b.executor.Post([this] { b.transport->SetIncarnation(2); });
  world.RunFor(1s);
  Send(a, "b");
  EXPECT_EQ(b.receiver.messages, 1);
}

struct StatusService : runtime::Service {
  void OnCall(const runtime::CallInfo&, std::string, runtime::Reply reply) override {
    ++calls;
    ::tenure::v1::StatusResponse response;
    response.set_cluster_id(cluster_id);
    response.set_incarnation(incarnation);
    reply(response.SerializeAsString());
  }
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }
  std::string cluster_id = "c";
  uint64_t incarnation = 2;
  int calls = 0;
};

TEST_F(IncarnationTest, TheWatchAsksUntilItIsAnswered) {
  StatusService service;
  uint64_t by = 0;
  controller::IncarnationWatch watch(a.executor, *a.network, "c", 1, [&by](uint64_t higher) { by = higher; });
  net.Partition({"a"}, {"b"});
  a.executor.Post([&watch] { watch.Start({"b"}); });
  b.executor.Post([&] { b.network->Serve("tenure.v1.Cluster", service); });
  world.RunFor(3s);
  EXPECT_EQ(by, 0u);
  net.HealAll();
  world.RunFor(3s);
  EXPECT_EQ(by, 2u);
  const int calls = service.calls;
  world.RunFor(3s);
  EXPECT_EQ(service.calls, calls) << "whoever has answered is not asked again";
}

TEST_F(IncarnationTest, TheWatchIsContentWithItsOwnIncarnationAndMindsNoOtherCluster) {
  StatusService service;
  b.executor.Post([&] { b.network->Serve("tenure.v1.Cluster", service); });
  for (const auto& [cluster, incarnation] : {std::pair{"c", 2}, std::pair{"other", 7}}) {
    service.cluster_id = cluster;
    service.incarnation = static_cast<uint64_t>(incarnation);
    service.calls = 0;
    uint64_t by = 0;
    controller::IncarnationWatch watch(a.executor, *a.network, "c", 2,
                                       [&by](uint64_t higher) { by = higher; });
    a.executor.Post([&watch] { watch.Start({"b"}); });
    world.RunFor(3s);
    EXPECT_EQ(by, 0u);
    EXPECT_EQ(service.calls, 1);
  }
}

}  // namespace
}  // namespace tenure::sim
