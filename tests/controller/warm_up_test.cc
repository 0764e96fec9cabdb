#include "controller/leadership/warm_up.h"

#include <gtest/gtest.h>

#include "tests/controller/test_controller.h"

namespace tenure::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Another controller, which leads or stands by.
struct Peer {
  Peer(TestController& t, uint64_t id)
      : executor(t.executor),
        network(t.fake_network.MakeView("c" + std::to_string(id) + ":7100")),
        leadership(t.executor, ReplicaId(id), t.directory, {}, {}),
        standby(t.executor, *network, leadership, {.id = "cluster"}, t.directory, load, {}) {
    network->Serve(StandbyView::kName, standby);
  }
  ~Peer() {
    leadership.Stop([] {});
    executor.Advance(milliseconds(1));
  }
  runtime::ManualExecutor& executor;
  std::unique_ptr<runtime::Network> network;
  Leadership leadership;
  LoadTable load;
  StandbyView standby;
};

class WarmUpTest : public ::testing::Test {
 protected:
  WarmUpTest() {
    t.leadership.AddService(t.standby);
    t.leadership.AddService(warm_up);
    t.network->Serve(StandbyView::kName, t.standby);
  }
  // What belongs to this fixture ends before the controller does.
  ~WarmUpTest() override { t.Follow(99, 2); }

  void Settle(Duration time = milliseconds(5)) { t.executor.Advance(time); }
  pb::WarmingUp Reason() { return t.leadership.warm_up(); }
  std::vector<std::string> Missing() { return warm_up.missing(); }
  Status CreateDatabase() {
    pb::CreateDatabaseRequest request;
    request.set_name("d");
    request.set_regions(1);
    request.set_replicas(1);
    // It is answered when its regions serve, or when the caller's time is up.
    return t.Call<pb::ChangeResponse>("tenure.v1.Catalog/CreateDatabase", request, seconds(1), seconds(2))
        .status();
  }
  // Registered in an epoch before the one that is tested.
  void RegisterBefore(std::initializer_list<FakeNode*> nodes) {
    t.Lead(5);
    for (FakeNode* node : nodes) {
      node->Register();
      node->Connect();
    }
    Settle(seconds(1));
    t.Follow(6, 2);
    for (FakeNode* node : nodes) node->stream.reset();
    Settle();
  }

  TestController t;
  Peer c2{t, 2};
  Peer c3{t, 3};
  WarmUp warm_up{t.executor, *t.network, t.access, t.agents, t.standby, t.leadership, {}, {}};
};

TEST_F(WarmUpTest, OneSampleOfEveryMemberMakesReady) {
  FakeNode a(t, "a");
  FakeNode b(t, "b");
  RegisterBefore({&a, &b});
  t.fake_network.SetHung("a:1", true);
  t.fake_network.SetHung("b:1", true);
  t.Lead(7);
  Settle();
  EXPECT_EQ(t.leadership.phase(), "warming_up");
  EXPECT_EQ(Reason().reason(), "load");
  EXPECT_EQ(Reason().epoch(), 7u);
  EXPECT_GT(Reason().remaining_ms(), 14'000);
  EXPECT_EQ(Missing(), (std::vector<std::string>{"node 1", "node 2"}));
  // What needs no load is done, what needs it is refused with all of this.
  EXPECT_TRUE(t.Put("k", "v").ok());
  const auto refusal = catalog::RefusalOf(CreateDatabase());
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->reason(), pb::REASON_WARMING_UP);
  EXPECT_EQ(refusal->warming_up().missing_size(), 2);
  a.Connect();
  Settle();
  EXPECT_EQ(Missing(), (std::vector<std::string>{"node 2"}));
  b.Connect();
  Settle();
  EXPECT_TRUE(t.leadership.load_ready());
  EXPECT_EQ(t.leadership.phase(), "serving");
  EXPECT_TRUE(t.leadership.unsampled().empty());
  EXPECT_EQ(t.leadership.transitions().front().to(), "serving");
  EXPECT_TRUE(CreateDatabase().ok());
}

TEST_F(WarmUpTest, ARefusedConnectionIsASampleAndSilenceIsNot) {
  FakeNode refuses(t, "a");
  FakeNode hangs(t, "b");
  RegisterBefore({&refuses, &hangs});
  t.fake_network.SetHung("b:1", true);
  t.fake_network.SetHung("c2:7100", true);
  t.fake_network.SetDown("c3:7100", true);
  t.Lead(7);
  Settle(seconds(2));
  EXPECT_EQ(Missing(), (std::vector<std::string>{"controller 2", "node 2"}));
  t.fake_network.SetHung("c2:7100", false);
  Settle(seconds(2));
  EXPECT_EQ(Missing(), (std::vector<std::string>{"node 2"}));
}

// Where packets are dropped, a connection attempt ends some time, and everybody who asks then is told so.
TEST_F(WarmUpTest, AConnectionThatIsNotMadeInTimeIsSilence) {
  FakeNode node(t, "a");
  RegisterBefore({&node});
  t.fake_network.SetUnreachable("a:1", true);
  t.fake_network.SetUnreachable("c2:7100", true);
  t.Lead(7);
  Settle(seconds(5));
  EXPECT_EQ(Missing(), (std::vector<std::string>{"controller 2", "node 1"}));
  t.fake_network.SetUnreachable("a:1", false);
  t.fake_network.SetDown("a:1", true);
  t.fake_network.SetUnreachable("c2:7100", false);
  Settle(seconds(2));
  EXPECT_TRUE(t.leadership.load_ready());
}

TEST_F(WarmUpTest, TheToleranceEndsItToTheMillisecond) {
  FakeNode node(t, "a");
  RegisterBefore({&node});
  t.fake_network.SetHung("a:1", true);
  Settle(seconds(30));  // whatever was known is old
  const Instant begin = t.executor.Now();
  t.Lead(7);
  t.executor.Advance(seconds(15) - milliseconds(1) - (t.executor.Now() - begin));
  EXPECT_FALSE(t.leadership.load_ready());
  EXPECT_LE(Reason().remaining_ms(), 1);
  Settle(milliseconds(2));
  EXPECT_TRUE(t.leadership.load_ready());
  EXPECT_EQ(t.leadership.unsampled(), (std::vector<std::string>{"node 1"}));
  EXPECT_EQ(node.State(), pb::NODE_SUSPECT);
  node.Connect();
  Settle();
  EXPECT_TRUE(t.leadership.unsampled().empty()) << "it was heard after all";
}

TEST_F(WarmUpTest, AYoungStandbyViewStandsForTheSilentAfterOneRound) {
  FakeNode node(t, "a");
  RegisterBefore({&node});
  t.fake_network.SetHung("a:1", true);
  // Controller 2 leads and has heard the node.
  c2.load.Begin(t.executor.Now());
  c2.load.OnConnected(NodeId(1), 1, t.executor.Now());
  runtime::TaskScope scope(t.executor);
  const auto start = [](Peer& peer) -> runtime::Task<void> {
    (void)co_await peer.standby.Start(Term(6), runtime::StopToken());
  };
  scope.Spawn(start(c2));
  Settle(seconds(2));
  ASSERT_TRUE(t.standby.Age());
  EXPECT_LE(*t.standby.Age(), seconds(1));
  EXPECT_TRUE(t.standby.Find(NodeId(1))->connected);
  c2.standby.Stop();
  Settle(seconds(3));
  EXPECT_GE(t.standby.Find(NodeId(1))->silence, seconds(3)) << "V2: it grows older here";

  t.Lead(7);
  Settle(milliseconds(900));
  EXPECT_FALSE(t.leadership.load_ready());
  Settle(milliseconds(200));
  EXPECT_TRUE(t.leadership.load_ready());
  EXPECT_EQ(t.leadership.unsampled(), (std::vector<std::string>{"node 1"}));
  t.Follow(8, 2);

  // An old one is none.
  Settle(seconds(20));
  t.Lead(9);
  Settle(seconds(5));
  EXPECT_FALSE(t.leadership.load_ready());
  scope.Stop();
  Settle();
}

TEST_F(WarmUpTest, AViewOfALowerEpochOrOfAnotherClusterIsRefused) {
  ipb::LoadView view;
  view.set_incarnation(1);
  view.set_epoch(6);
  view.add_nodes()->set_node(4);
  const auto take = [&] {
    return t.Call<ipb::LoadViewAnswer>("tenure.internal.v1.Standby/TakeLoadView", view).status();
  };
  EXPECT_TRUE(take().ok());
  EXPECT_TRUE(t.standby.Find(NodeId(4)));
  view.set_epoch(5);
  EXPECT_EQ(catalog::ReasonOf(take()), pb::REASON_STALE_EPOCH);
  view.set_epoch(7);
  view.set_incarnation(2);
  EXPECT_EQ(catalog::ReasonOf(take()), pb::REASON_STALE_INCARNATION);
  view.set_incarnation(1);
  t.Lead(7);
  EXPECT_EQ(catalog::ReasonOf(take()), pb::REASON_STALE_EPOCH) << "it leads this epoch itself";
}

TEST_F(WarmUpTest, AFollowerSaysOfThePhaseWhatItsLeaderSaid) {
  t.Follow(7, 2);
  EXPECT_EQ(t.leadership.phase(), "starting") << "the leader has not spoken yet";
  ipb::LoadView view;
  view.set_incarnation(1);
  view.set_epoch(7);
  view.set_phase("warming_up");
  view.mutable_warm_up()->set_reason("load");
  view.mutable_warm_up()->add_missing("node 3");
  const auto take = [&] {
    return t.Call<ipb::LoadViewAnswer>("tenure.internal.v1.Standby/TakeLoadView", view).status();
  };
  EXPECT_TRUE(take().ok());
  EXPECT_EQ(t.leadership.phase(), "warming_up");
  const auto status = t.Call<pb::StatusResponse>("tenure.v1.Cluster/Status", pb::StatusRequest());
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->phase(), "warming_up");
  EXPECT_EQ(status->warm_up_reason(), "load");
  ASSERT_EQ(status->warm_up_missing_size(), 1);
  EXPECT_EQ(status->warm_up_missing(0), "node 3");
  view.set_phase("serving");
  view.clear_warm_up();
  EXPECT_TRUE(take().ok());
  EXPECT_EQ(t.leadership.phase(), "serving");
  EXPECT_EQ(t.leadership.warm_up().reason(), "");
  // Another term, another leader: what the old one said is nothing of it.
  t.Follow(8, 3);
  EXPECT_EQ(t.leadership.phase(), "starting");
  t.Follow(8, 0);
  EXPECT_EQ(t.leadership.phase(), "electing");
  // An older program does not say it; it led and that was all that was known.
  t.Follow(9, 3);
  view.set_epoch(9);
  view.clear_phase();
  EXPECT_TRUE(take().ok());
  EXPECT_EQ(t.leadership.phase(), "serving");
}

TEST_F(WarmUpTest, TheLeaderTellsTheOthersHowFarItIs) {
  struct Follower : runtime::Service {
    void OnCall(const runtime::CallInfo&, std::string request, runtime::Reply reply) override {
      ipb::LoadView view;
      EXPECT_TRUE(view.ParseFromString(request));
      if (phases.empty() || phases.back() != view.phase()) phases.push_back(view.phase());
      missing = {view.warm_up().missing().begin(), view.warm_up().missing().end()};
      reply(ipb::LoadViewAnswer().SerializeAsString());
    }
    std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                     std::unique_ptr<runtime::Stream>) override {
      return nullptr;
    }
    std::vector<std::string> phases;
    std::vector<std::string> missing;
  } follower;
  FakeNode node(t, "a");
  RegisterBefore({&node});
  auto view = t.fake_network.MakeView("c2:7100");
  view->Serve(StandbyView::kName, follower);
  t.fake_network.SetHung("a:1", true);
  t.Lead(7);
  Settle(milliseconds(300));
  EXPECT_EQ(follower.missing, (std::vector<std::string>{"node 1"}));
  node.Connect();
  t.executor.Advance(milliseconds(300));
  EXPECT_EQ(follower.phases, (std::vector<std::string>{"starting", "warming_up", "serving"}));
  EXPECT_TRUE(follower.missing.empty());
  t.Follow(8, 2);
  t.executor.Advance(seconds(2));  // nothing is under way to the service of this test
}

TEST_F(WarmUpTest, EachEpochTakesItsOwnSamples) {
  FakeNode node(t, "a");
  RegisterBefore({&node});
  t.fake_network.SetHung("a:1", true);
  t.Lead(7);
  node.Connect();
  Settle();
  EXPECT_TRUE(t.leadership.load_ready());
  t.Follow(8, 2);
  EXPECT_FALSE(t.leadership.load_ready());
  t.Lead(9);
  Settle();
  EXPECT_FALSE(t.leadership.load_ready());
  EXPECT_EQ(Missing(), (std::vector<std::string>{"node 1"}));
  // What was found out in an epoch that is over does not count.
  t.leadership.OnLoadReady(Term(7), "late");
  EXPECT_FALSE(t.leadership.load_ready());
  node.Connect();
  Settle();
  EXPECT_TRUE(t.leadership.load_ready());
}

TEST_F(WarmUpTest, HeartbeatsAndRegistrationOfKnownNodesAreNotGated) {
  FakeNode node(t, "a");
  FakeNode other(t, "b");
  RegisterBefore({&node, &other});
  t.fake_network.SetHung("b:1", true);
  t.Lead(7);
  node.Register();
  node.Connect();
  EXPECT_FALSE(t.leadership.load_ready());
  ASSERT_FALSE(node.heard->messages.empty());
  EXPECT_EQ(node.heard->messages.back().leader_epoch(), 7u);
}

}  // namespace
}  // namespace tenure::controller
