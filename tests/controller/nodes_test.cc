#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "catalog/refusal.h"
#include "tests/controller/test_controller.h"

namespace tenure::controller {
namespace {

using catalog::ReasonOf;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// ---- RegionLeaders ----

pb::RegionRecord ThreeReplicas() {
  pb::RegionRecord record;
  record.set_id(1);
  for (uint64_t i = 1; i <= 3; ++i) {
    pb::ReplicaRecord& replica = *record.add_replicas();
    replica.set_id(i);
    replica.set_node(10 + i);
  }
  return record;
}
pb::RegionLoad Report(uint64_t replica, uint64_t term, bool leads, uint64_t leader) {
  pb::RegionLoad load;
  load.set_region(1);
  load.set_replica(replica);
  load.set_term(term);
  load.set_is_leader(leads);
  load.set_leader_replica(leader);
  return load;
}

TEST(RegionLeaders, TheHighestTermWins) {
  RegionLeaders leaders;
  const pb::RegionRecord record = ThreeReplicas();
  const auto leader = [&] {
    const RegionLeaderView* view = leaders.Find(RegionId(1));
    return view == nullptr ? 0 : view->node.value();
  };
  const auto say = [&](uint64_t node, const pb::RegionLoad& load) {
    leaders.OnReport(NodeId(node), load, record);
  };
  say(11, Report(1, 0, false, 0));  // a replica that knows nothing
  EXPECT_EQ(leader(), 0u);
  say(12, Report(2, 3, false, 1));  // a follower heard of it first
  EXPECT_EQ(leader(), 11u);
  say(11, Report(1, 3, true, 1));
  EXPECT_EQ(leader(), 11u);
  say(13, Report(3, 2, true, 3));  // an old report
  EXPECT_EQ(leader(), 11u);
  say(13, Report(3, 5, false, 0));  // a candidate's term unseats nobody
  EXPECT_EQ(leader(), 11u);
  EXPECT_EQ(leaders.Find(RegionId(1))->term, Term(3));
  say(12, Report(2, 4, true, 2));
  EXPECT_EQ(leader(), 12u);
  say(11, Report(1, 4, false, 2));
  EXPECT_EQ(leader(), 12u);
  say(12, Report(2, 4, false, 0));  // it gave up
  EXPECT_EQ(leader(), 0u);
  say(12, Report(2, 6, false, 0));
  say(13, Report(3, 6, true, 3));
  EXPECT_EQ(leader(), 13u);
}

TEST(RegionLeaders, ChangesSinceAVersion) {
  RegionLeaders leaders;
  pb::RegionRecord record = ThreeReplicas();
  for (uint64_t region = 1; region <= 3; ++region) {
    auto load = Report(1, 1, true, 1);
    load.set_region(region);
    leaders.OnReport(NodeId(11), load, record);
  }
  const uint64_t version = leaders.version();
  EXPECT_EQ(leaders.Changes(0).size(), 3u);
  EXPECT_TRUE(leaders.Changes(version).empty());
  leaders.OnReport(NodeId(11), Report(1, 1, true, 1), record);
  EXPECT_EQ(leaders.version(), version);  // nothing new
  leaders.OnReport(NodeId(12), Report(2, 2, true, 2), record);
  const auto changes = leaders.Changes(version);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].first, RegionId(1));
  EXPECT_EQ(changes[0].second.node, NodeId(12));
  leaders.Forget(RegionId(1));
  EXPECT_TRUE(leaders.Changes(version).empty());
  EXPECT_EQ(leaders.Changes(0).size(), 2u);
}

// ---- LoadTable ----

TEST(LoadTable, SilenceIsCountedFromTheBeginningOfTheLeadership) {
  LoadTable table;
  const Instant start = Instant{} + seconds(100);
  table.Begin(start);
  EXPECT_EQ(table.SilenceOf(NodeId(1), start + seconds(3)), seconds(3));
  table.OnConnected(NodeId(1), 1, start + seconds(5));
  EXPECT_EQ(table.SilenceOf(NodeId(1), start + seconds(6)), seconds(1));
  table.ForgiveSilence(start + seconds(60));
  EXPECT_EQ(table.SilenceOf(NodeId(1), start + seconds(61)), seconds(1));
}

// ---- AgentService and NodeMonitor ----

TEST(Agents, RegisterConnectAndServe) {
  TestController t;
  t.Lead();
  FakeNode node(t, "n1");
  node.Register();
  EXPECT_EQ(node.id, 1u);
  EXPECT_EQ(node.registration, 1u);
  EXPECT_EQ(node.State(), pb::NODE_JOINING);
  node.Connect();
  EXPECT_EQ(node.State(), pb::NODE_UP);
  ASSERT_GE(node.heard->messages.size(), 1u);
  EXPECT_EQ(node.heard->messages[0].sequence(), 1u);
  EXPECT_EQ(node.heard->messages[0].leader_epoch(), 7u);
  EXPECT_FALSE(node.heard->messages[0].request_full());
}

TEST(Agents, WrongClusterAndWrongAddresses) {
  TestController t;
  t.Lead();
  ipb::RegisterRequest request;
  request.set_cluster_id("another");
  request.mutable_node()->set_uuid("u");
  request.mutable_node()->set_address("h:1");
  request.mutable_node()->set_newest_format(1);
  const auto call = [&] {
    return t.Call<ipb::RegisterResponse>("tenure.internal.v1.Agent/Register", request).status();
  };
  EXPECT_EQ(ReasonOf(call()), pb::REASON_WRONG_CLUSTER);
  request.set_cluster_id("");
  EXPECT_EQ(ReasonOf(call()), pb::REASON_UNSUPPORTED_FORMAT);
  request.mutable_node()->set_newest_format(catalog::kNewestFormat);
  EXPECT_TRUE(call().ok());
  request.mutable_node()->set_uuid("v");
  EXPECT_EQ(ReasonOf(call()), pb::REASON_ALREADY_EXISTS);
  request.mutable_node()->set_address("nonsense");
  EXPECT_EQ(ReasonOf(call()), pb::REASON_INVALID_ARGUMENT);
  t.Follow(8, 2);
  EXPECT_EQ(ReasonOf(call()), pb::REASON_NOT_LEADER);
}

// A snapshot of its machine was started elsewhere.
TEST(Agents, ACopyOfANodeIsRefusedWhileTheNodeIsThere) {
  TestController t;
  t.Lead();
  FakeNode node(t, "n1");
  node.Register();
  node.Connect();
  ipb::RegisterRequest request;
  request.set_cluster_id("cluster");
  request.mutable_node()->set_uuid("n1");
  request.mutable_node()->set_address("copy:1");
  request.mutable_node()->set_newest_format(catalog::kNewestFormat);
  const auto call = [&] {
    return t.Call<ipb::RegisterResponse>("tenure.internal.v1.Agent/Register", request).status();
  };
  EXPECT_EQ(ReasonOf(call()), pb::REASON_ALREADY_EXISTS);
  EXPECT_THAT(std::string(MessageOf(call())), HasSubstr("is at n1:1, a process at copy:1"));
  node.stream.reset();  // a connection that breaks proves nothing
  t.executor.Advance(seconds(1));
  EXPECT_EQ(ReasonOf(call()), pb::REASON_ALREADY_EXISTS);
  // Where it was it may start at any time.
  node.Register();
  node.Connect();
  EXPECT_EQ(ReasonOf(call()), pb::REASON_ALREADY_EXISTS);
  // A leader that has yet to hear of it waits.
  t.Follow(8, 2);
  t.Lead(9);
  EXPECT_EQ(ReasonOf(call()), pb::REASON_ALREADY_EXISTS);
  t.executor.Advance(seconds(11));
  EXPECT_TRUE(call().ok()) << "it has moved";
}

TEST(Agents, ANodeThatSaysThatItStopsMayStartElsewhere) {
  TestController t;
  t.Lead();
  FakeNode node(t, "n1");
  node.Register();
  node.Connect();
  node.next.set_stopping(true);
  node.Beat();
  ipb::RegisterRequest request;
  request.set_cluster_id("cluster");
  request.mutable_node()->set_uuid("n1");
  request.mutable_node()->set_address("moved:1");
  request.mutable_node()->set_newest_format(catalog::kNewestFormat);
  EXPECT_TRUE(t.Call<ipb::RegisterResponse>("tenure.internal.v1.Agent/Register", request).ok());
}

TEST(Agents, ALowerIncarnationMayJoinUnlessItIsAController) {
  TestController t({}, nullptr, nullptr, 3);
  t.Lead();
  ipb::RegisterRequest request;
  request.set_cluster_id("cluster");
  request.set_incarnation(2);
  request.set_controller_id(2);
  request.mutable_node()->set_uuid("u");
  request.mutable_node()->set_address("h:1");
  request.mutable_node()->set_newest_format(catalog::kNewestFormat);
  const auto call = [&] {
    return t.Call<ipb::RegisterResponse>("tenure.internal.v1.Agent/Register", request);
  };
  EXPECT_EQ(ReasonOf(call().status()), pb::REASON_STALE_INCARNATION);
  EXPECT_THAT(std::string(MessageOf(call().status())),
              HasSubstr("controller 2 is of incarnation 2 of cluster"));
  EXPECT_THAT(std::string(MessageOf(call().status())), HasSubstr("the cluster is at incarnation 3"));
  request.set_controller_id(0);
  const auto answer = call();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->incarnation(), 3u);
  EXPECT_EQ(t.superseded_by, 0u);
  request.set_incarnation(4);
  EXPECT_EQ(ReasonOf(call().status()), pb::REASON_UNAVAILABLE);
  EXPECT_EQ(t.superseded_by, 4u);
}

TEST(Agents, WithoutTheTokenNobodyIsRegisteredOrBelieved) {
  const auto tokens = [](std::string_view text) { return *catalog::JoinTokens::Parse(text); };
  TestController t({}, nullptr, nullptr, 3, tokens("the-token-of-cluster\nthe-next-one-of-it"));
  t.Lead();
  ipb::RegisterRequest request;
  request.set_cluster_id("cluster");
  request.set_incarnation(4);
  request.mutable_node()->set_uuid("u");
  request.mutable_node()->set_name("n");
  request.mutable_node()->set_address("h:1");
  request.mutable_node()->set_newest_format(catalog::kNewestFormat);
  const auto call = [&] {
    return t.Call<ipb::RegisterResponse>("tenure.internal.v1.Agent/Register", request).status();
  };
  EXPECT_EQ(ReasonOf(call()), pb::REASON_WRONG_TOKEN);
  EXPECT_THAT(std::string(MessageOf(call())), HasSubstr("node 'n' at h:1 gave no token"));
  tokens("a-token-of-another").Sign(request);
  EXPECT_EQ(ReasonOf(call()), pb::REASON_WRONG_TOKEN);
  EXPECT_THAT(std::string(MessageOf(call())), HasSubstr("has another token than this cluster"));
  EXPECT_EQ(t.superseded_by, 0u) << "a stranger's incarnation ends nobody";
  EXPECT_TRUE(t.machine.catalog().nodes().empty());
  request.set_incarnation(3);
  for (const char* file : {"the-token-of-cluster", "the-next-one-of-it"}) {
    tokens(file).Sign(request);
    EXPECT_TRUE(call().ok()) << file;
  }
  request.set_cluster_id("another");
  EXPECT_EQ(ReasonOf(call()), pb::REASON_WRONG_CLUSTER) << "what is wrong first is said first";
}

TEST(Agents, SilenceMakesSuspectThenDownAndAHeartbeatUp) {
  TestController t;
  t.Lead();
  FakeNode node(t, "n1");
  FakeNode other(t, "n2");
  node.Register();
  other.Register();
  node.Connect();
  other.Connect();
  for (int i = 0; i < 6; ++i) {
    t.executor.Advance(seconds(1));
    other.Beat();
  }
  EXPECT_EQ(node.State(), pb::NODE_SUSPECT);
  EXPECT_EQ(other.State(), pb::NODE_UP);
  EXPECT_THAT(other.heard->messages.back().unhealthy_nodes(), ElementsAre(1));
  for (int i = 0; i < 26; ++i) {
    t.executor.Advance(seconds(1));
    other.Beat();
  }
  EXPECT_EQ(node.State(), pb::NODE_DOWN);
  node.Beat();
  EXPECT_EQ(node.State(), pb::NODE_UP);
  other.Beat();
  EXPECT_TRUE(other.heard->messages.back().unhealthy_nodes().empty());
}

TEST(Agents, AClosedConnectionIsNoticedAtOnce) {
  TestController t;
  t.Lead();
  FakeNode node(t, "n1");
  node.Register();
  node.Connect();
  FakeNode other(t, "n2");
  other.Register();
  other.Connect();
  node.stream.reset();
  t.executor.Advance(milliseconds(50));
  EXPECT_EQ(node.State(), pb::NODE_SUSPECT);
  // Told without waiting for a heartbeat.
  EXPECT_EQ(other.heard->messages.back().sequence(), 0u);
  EXPECT_THAT(other.heard->messages.back().unhealthy_nodes(), ElementsAre(1));
  node.Connect();
  EXPECT_EQ(node.State(), pb::NODE_UP);
}

TEST(Agents, AStoppingNodeIsDownAtOnce) {
  TestController t;
  t.Lead();
  FakeNode node(t, "n1");
  node.Register();
  node.Connect();
  node.next.set_stopping(true);
  node.Beat();
  t.executor.Advance(milliseconds(30));
  EXPECT_EQ(node.State(), pb::NODE_DOWN);
  EXPECT_TRUE(node.heard->messages.back().farewell_recorded()) << "it is told without asking again";
  node.stream.reset();
  t.executor.Advance(seconds(1));
  EXPECT_EQ(node.State(), pb::NODE_DOWN);
  // The same process never comes back; the next one registers and is UP.
  FakeNode again(t, "n1");
  again.Register();
  again.Connect();
  EXPECT_EQ(again.State(), pb::NODE_UP);
  EXPECT_FALSE(again.heard->messages.back().farewell_recorded());
}

TEST(Agents, AFarewellIsNotAcknowledgedBeforeItIsRecorded) {
  TestController t;
  t.Lead();
  FakeNode node(t, "n1");
  node.Register();
  node.Connect();
  t.group.hold = true;  // nothing commits
  for (int i = 0; i < 3; ++i) {
    node.next.set_stopping(true);
    node.Beat();
    t.executor.Advance(milliseconds(100));
    EXPECT_FALSE(node.heard->messages.back().farewell_recorded());
  }
  t.group.Release();
  t.executor.Advance(milliseconds(30));
  EXPECT_TRUE(node.heard->messages.back().farewell_recorded());
}

TEST(Agents, AFarewellToTheNextLeaderCounts) {
  TestController t;
  t.Lead();
  FakeNode node(t, "n1");
  node.Register();
  node.Connect();
  t.Follow(8, 2);
  EXPECT_EQ(node.State(), pb::NODE_UP);
  t.Lead(9);
  node.sequence = 0;
  node.next.set_stopping(true);
  node.Connect();  // the first word of its stream
  t.executor.Advance(milliseconds(30));
  EXPECT_EQ(node.State(), pb::NODE_DOWN);
  EXPECT_TRUE(node.heard->messages.back().farewell_recorded());
}

TEST(Agents, AReportOfAnEarlierRegistrationIsRefused) {
  TestController t;
  t.Lead();
  FakeNode node(t, "n1");
  node.Register();
  node.Connect();
  node.Register();
  FakeNode ghost(t, "n1");
  ghost.id = node.id;
  ghost.registration = 1;
  ghost.Connect();
  ASSERT_TRUE(ghost.heard->closed);
  EXPECT_EQ(ReasonOf(*ghost.heard->closed), pb::REASON_STALE_EPOCH);
  ghost.id = 99;
  ghost.Connect();
  EXPECT_EQ(ReasonOf(*ghost.heard->closed), pb::REASON_NOT_FOUND);
}

TEST(Agents, TheNewestStreamOfANodeCounts) {
  TestController t;
  t.Lead();
  FakeNode node(t, "n1");
  node.Register();
  node.Connect();
  auto first_heard = std::move(node.heard);
  auto first = std::move(node.stream);
  node.Connect();
  ASSERT_TRUE(first_heard->closed);
  t.executor.Advance(milliseconds(100));
  EXPECT_EQ(node.State(), pb::NODE_UP);
  EXPECT_TRUE(t.agents.load().Find(NodeId(1))->connected);
}

TEST(Agents, ANodeThatKnowsALaterLeaderEndsTheStream) {
  TestController t;
  t.Lead(7);
  FakeNode node(t, "n1");
  node.Register();
  node.next.set_leader_epoch(8);
  node.Connect();
  ASSERT_TRUE(node.heard->closed);
  EXPECT_EQ(ReasonOf(*node.heard->closed), pb::REASON_NOT_LEADER);
}

TEST(Agents, LeadershipEndClosesTheStreams) {
  TestController t;
  t.Lead();
  FakeNode node(t, "n1");
  node.Register();
  node.Connect();
  t.Follow(8, 2);
  ASSERT_TRUE(node.heard->closed);
  EXPECT_EQ(ReasonOf(*node.heard->closed), pb::REASON_NOT_LEADER);
  EXPECT_EQ(t.agents.load().Find(NodeId(1)), nullptr);
  // A new leadership accuses nobody of the time before it.
  t.executor.Advance(seconds(100));
  t.Lead(9);
  t.executor.Advance(milliseconds(2400));
  EXPECT_EQ(node.State(), pb::NODE_UP);
  t.executor.Advance(seconds(2));
  EXPECT_EQ(node.State(), pb::NODE_SUSPECT);
}

TEST(Agents, NodesAreToldWhereTheControllersAre) {
  TestController t;
  t.Lead();
  FakeNode node(t, "n1");
  node.Register();
  node.Connect();
  const auto places = [&] {
    std::vector<std::string> text;
    for (const auto& message : node.heard->messages) {
      for (const auto& place : message.controllers())
        text.push_back(fmt::format("{}={}", place.id(), place.address()));
    }
    node.heard->messages.clear();
    return text;
  };
  EXPECT_THAT(places(), ElementsAre("1=c1:7100", "2=c2:7100", "3=c3:7100"));
  node.Beat();
  EXPECT_THAT(places(), ElementsAre()) << "what has not changed is not said again";
  pb::AddControllerRequest add;
  add.set_controller(4);
  add.set_address("c4:7100");
  ASSERT_TRUE(t.Call<pb::ChangeResponse>("tenure.v1.Cluster/AddController", add).ok());
  t.executor.Advance(milliseconds(100));  // without a heartbeat
  EXPECT_THAT(places(), ElementsAre("1=c1:7100", "2=c2:7100", "3=c3:7100", "4=c4:7100"));
  ipb::CatalogCommand removed;
  removed.mutable_update_controller()->mutable_controller()->CopyFrom(
      t.machine.catalog().controllers().at(4).controller());
  removed.mutable_update_controller()->mutable_controller()->set_address("moved:1");
  t.access.ProposeInEpoch(std::move(removed), t.leadership.epoch(), [](StatusOr<ipb::CatalogResult> result) {
    EXPECT_TRUE(result.ok()) << result.status();
  });
  t.executor.Advance(milliseconds(100));
  EXPECT_THAT(places(), ElementsAre("1=c1:7100", "2=c2:7100", "3=c3:7100", "4=moved:1"));
  node.Connect();
  EXPECT_THAT(places(), ElementsAre("1=c1:7100", "2=c2:7100", "3=c3:7100", "4=moved:1"))
      << "a new stream begins anew";
}

TEST(Agents, LeadersAreToldAsChanges) {
  TestController t;
  t.Lead();
  FakeNode a(t, "n1");
  FakeNode b(t, "n2");
  for (FakeNode* node : {&a, &b}) {
    node->Register();
    node->Connect();
  }
  pb::CreateDatabaseRequest create;
  create.set_name("d");
  create.set_regions(2);
  create.set_replicas(2);
  t.Start<pb::ChangeResponse>("tenure.v1.Catalog/CreateDatabase", create, seconds(30), [](auto) {});
  t.executor.Advance(milliseconds(1));
  a.ReportRegion(1, 1, 1, true, 1);
  b.Beat();
  const auto& told = b.heard->messages.back();
  ASSERT_EQ(told.leaders_size(), 1);
  EXPECT_EQ(told.leaders(0).region(), 1u);
  EXPECT_EQ(told.leaders(0).node(), a.id);
  b.Beat();
  EXPECT_EQ(b.heard->messages.back().leaders_size(), 0);
  // Pushed to whoever has not heard yet.
  const size_t before = b.heard->messages.size();
  a.ReportRegion(2, 1, 1, true, 1);
  t.executor.Advance(milliseconds(30));
  ASSERT_GT(b.heard->messages.size(), before);
  EXPECT_EQ(b.heard->messages.back().sequence(), 0u);
  EXPECT_EQ(b.heard->messages.back().leaders(0).region(), 2u);
  // A new stream is told everything.
  b.Connect();
  EXPECT_EQ(b.heard->messages.front().leaders_size(), 2);
}

TEST(Agents, APausedControllerForgivesSilence) {
  TestController t;
  t.Lead();
  FakeNode node(t, "n1");
  node.Register();
  node.Connect();
  t.agents.load().ForgiveSilence(t.executor.Now() + seconds(100));
  // A tick that comes 60 s late: the executor stood still. Time jumps without running timers in between.
  runtime::Timer jump = t.executor.After(seconds(60), [] {});
  t.executor.Advance(seconds(4));
  node.Beat();
  EXPECT_EQ(node.State(), pb::NODE_UP);
}

}  // namespace
}  // namespace tenure::controller
