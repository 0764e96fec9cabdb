// Two incarnations of one cluster meet on the network: nothing of the lower one is let through, and it is
// told.
#include <gtest/gtest.h>

#include "catalog/refusal.h"
#include "controller/controller.h"
#include "group/transport.h"
#include "kv/memory_engine.h"
#include "sim/scheduler.h"
#include "sim/sim_disk.h"
#include "sim/sim_executor.h"
#include "sim/sim_network.h"
#include "tenure/internal/v1/controllers.pb.h"
#include "wal/snapshot_store.h"
#include "wal/wal.h"

namespace tenure::sim {
namespace {

using namespace std::chrono_literals;
namespace ipb = ::tenure::internal::v1;

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

// Announcements are heard and answered as by a controller of this incarnation; no Raft is spoken, so that
// nothing else tells the incarnations apart.
struct Peer : runtime::Service {
  void OnCall(const runtime::CallInfo&, std::string bytes, runtime::Reply reply) override {
    ++calls;
    ipb::Announcement announcement;
    EXPECT_TRUE(announcement.ParseFromString(bytes));
    ipb::AnnouncementAnswer answer;
    answer.set_cluster_id(cluster_id);
    answer.set_incarnation(incarnation);
    answer.mutable_answered_by()->set_id(2);
    answer.mutable_answered_by()->set_address("b");
    answer.set_verdict(announcement.cluster_id() != cluster_id    ? ipb::ANNOUNCEMENT_WRONG_CLUSTER
                       : announcement.incarnation() < incarnation ? ipb::ANNOUNCEMENT_STALE_INCARNATION
                                                                  : ipb::ANNOUNCEMENT_HEARD);
    reply(answer.SerializeAsString());
  }
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }
  std::string cluster_id = "c";
  uint64_t incarnation = 2;
  int calls = 0;
};

// A whole controller in process `a`, one of two; the other one is a Peer in process `b`.
class LeftBehindTest : public IncarnationTest {
 protected:
  LeftBehindTest() {
    b.executor.Post([this] { b.network->Serve("tenure.internal.v1.Controllers", peer); });
  }
  ~LeftBehindTest() override {
    a.process.Kill();
    b.process.Kill();
  }
  void StartController(uint64_t incarnation) {
    a.executor.Post([this, incarnation] {
      EXPECT_TRUE(disk_view->MakeDirectories("/wal").ok());
      EXPECT_TRUE(disk_view->MakeDirectories("/snapshots").ok());
      wal = *wal::Wal::Open(*disk_view, a.executor, "/wal", {}, {}, [](Status) {});
      snapshots = *wal::SnapshotStore::Open(*disk_view, "/snapshots");
      controller::ControllerOptions options;
      options.cluster_id = "c";
      options.incarnation = incarnation;
      options.on_superseded = [this](uint64_t) { ++left_behind; };
      for (uint64_t id = 1; id <= 2; ++id) {
        ::tenure::v1::ControllerRecord record;
        record.set_id(id);
        record.set_name(id == 1 ? "a" : "b");
        record.set_address(record.name());
        record.set_uuid(record.name());
        record.set_voter(true);
        if (id == 1) options.self = record;
        options.initial_controllers.push_back(record);
      }
      controller = std::make_unique<controller::Controller>(
          controller::Controller::Dependencies{.executor = a.executor,
                                               .background = a.executor,
                                               .network = *a.network,
                                               .wal = *wal,
                                               .engine = engine,
                                               .snapshots = *snapshots,
                                               .prng = Prng(7),
                                               .logger = {}},
          std::move(options), [this](const Status& status) {
            EXPECT_TRUE(catalog::IsReason(status, ::tenure::v1::REASON_STALE_INCARNATION)) << status;
            ++left_behind;
          });
      EXPECT_TRUE(controller->Start().ok());
    });
  }

  Peer peer;
  SimDisk disk{world, "a", Prng(5)};
  std::unique_ptr<runtime::Disk> disk_view = disk.MakeView(a.process, a.executor);
  kv::MemoryEngine engine{std::make_shared<kv::MemoryStore>(), a.executor};
  std::unique_ptr<wal::Wal> wal;
  std::unique_ptr<wal::SnapshotStore> snapshots;
  std::unique_ptr<controller::Controller> controller;
  int left_behind = 0;
};

TEST_F(LeftBehindTest, AControllerAsksUntilItIsAnsweredAndKnowsAtOnce) {
  net.Partition({"a"}, {"b"});
  StartController(1);
  world.RunFor(3s);
  EXPECT_EQ(left_behind, 0);
  net.HealAll();
  world.RunFor(1s);
  EXPECT_EQ(left_behind, 1);
  const int calls = peer.calls;
  world.RunFor(3s);
  EXPECT_EQ(peer.calls, calls) << "there is nothing more to ask";
}

TEST_F(LeftBehindTest, ItKnowsBeforeItMayVote) {
  StartController(1);
  world.RunFor(300ms);
  EXPECT_EQ(left_behind, 1);
}

TEST_F(LeftBehindTest, ItIsContentWithItsOwnIncarnationAndMindsNoOtherCluster) {
  StartController(2);
  world.RunFor(3s);
  peer.cluster_id = "other";
  peer.incarnation = 7;
  world.RunFor(3s);
  EXPECT_GT(peer.calls, 0);
  EXPECT_EQ(left_behind, 0);
}

}  // namespace
}  // namespace tenure::sim
