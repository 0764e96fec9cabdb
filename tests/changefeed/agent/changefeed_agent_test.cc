// Agents of three nodes with the real gates and maintainers, dispatchers that only remember what they were
// told, and a network that delivers in order.
#include "changefeed/agent/changefeed_agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "catalog/history.h"
#include "changefeed/agent/history_floors.h"
#include "tests/node/fake_surroundings.h"
#include "tests/runtime/manual_executor.h"

namespace tenure::changefeed {
namespace {

namespace pb = ::tenure::v1;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

constexpr uint64_t kFeed = 7;
constexpr uint64_t kStart = 1000;

class FakeFacts final : public node::NodeFacts {
 public:
  explicit FakeFacts(uint64_t& lost_node) : lost(lost_node) {}
  const node::CatalogView& catalog() const override { return view; }
  NodeId self() const override { return id; }
  uint64_t registration_epoch() const override { return registration; }
  Instant owns_until() const override { return until; }
  uint64_t lease_recoveries() const override { return recoveries; }
  NodeId LeaderOf(RegionId region) const override {
    const uint64_t leader = (region.value() - 1) % 3 + 1;
    return NodeId(leader == lost ? 3 : leader);
  }
  const std::string& cluster_id() const override { return cluster; }
  uint64_t cluster_incarnation() const override { return incarnation; }

  node::CatalogView view;
  uint64_t& lost;
  NodeId id;
  uint64_t registration = 0;
  Instant until{};
  uint64_t recoveries = 0;
  std::string cluster = "cluster-a";
  uint64_t incarnation = 1;
};

class FakeLink final : public node::ClusterLink {
 public:
  explicit FakeLink(runtime::Executor& executor) : executor_(executor) {}
  void Call(std::string_view, std::string request, Duration, Callback<StatusOr<std::string>> done) override {
    ipb::ChangefeedEnvelope envelope;
    envelope.ParseFromString(request);
    reports.push_back(envelope.message().maintainer_progress());
    ipb::ChangefeedMessage message;
    message.mutable_answer()->set_acceptance(answer);
    executor_.Post([done = std::move(done), bytes = message.SerializeAsString()]() mutable { done(bytes); });
  }
  std::unique_ptr<runtime::Stream> OpenStream(std::string_view, runtime::StreamHandler&,
                                              runtime::Endpoint*) override {
    return nullptr;
  }
  void OnStreamFailed(const runtime::Endpoint&, const Status&) override {}
  void SetControllers(const std::vector<runtime::Endpoint>&) override {}

  std::vector<ipb::MaintainerProgress> reports;
  ipb::ChangefeedAcceptance answer = ipb::CHANGEFEED_CONTINUED;

 private:
  runtime::Executor& executor_;
};

class FakeFactory final : public DispatcherFactory {
 public:
  struct Made {
    DispatcherSpec spec;
    WritePermit permit;
    DispatcherReport report;
    bool stopped = false;
    bool permitted_at_stop = false;
    CommitTs checkpoint;
  };
  class Fake final : public Dispatcher {
   public:
    explicit Fake(std::shared_ptr<Made> made) : made_(std::move(made)) {}
    void Hold(const SchemaChange&) override {}
    void Write(const SchemaChange&) override {}
    void Pass(CommitTs) override {}
    void CheckpointAdvanced(CommitTs checkpoint) override { made_->checkpoint = checkpoint; }
    void SetEnd(CommitTs) override {}
    void Stop() override {
      made_->permitted_at_stop = made_->permit();
      made_->stopped = true;
    }
    DispatcherReport report() const override { return made_->report; }
    CommitTs resolved() const override { return made_->report.flushed; }
    uint64_t rows_per_second() const override { return 0; }
    uint64_t rows_behind() const override { return 3; }
    const DispatcherSpec& spec() const override { return made_->spec; }

   private:
    std::shared_ptr<Made> made_;
  };
  std::unique_ptr<Dispatcher> Make(DispatcherSpec spec, WritePermit permit) override {
    auto one = std::make_shared<Made>(Made{.spec = spec, .permit = std::move(permit)});
    one->report = {.span = spec.span, .flushed = spec.start, .sequence = spec.sequence};
    made.push_back(one);
    return std::make_unique<Fake>(one);
  }
  std::vector<std::shared_ptr<Made>> made;
  // Those that were not stopped.
  std::vector<std::shared_ptr<Made>> running() const {
    std::vector<std::shared_ptr<Made>> all;
    for (const auto& one : made) {
      if (!one->stopped) all.push_back(one);
    }
    return all;
  }
};

class ChangefeedAgentTest : public testing::Test {
 protected:
  struct Host {
    Host(ChangefeedAgentTest& test, uint64_t number)
        : network(test.fabric_, AddressOf(number)), link(test.executor_), facts(test.lost_) {
      facts.id = NodeId(number);
      facts.registration = 10 + number;
      facts.until = test.executor_.Now() + seconds(1000);
      facts.recoveries = 1;
      test.FillView(facts.view);
      ChangefeedAgent::Dependencies parts{
          .executor = test.executor_,
          .dispatchers = test.executor_,
          .network = network,
          .link = link,
          .node = facts,
          .factory = factory,
          .check_sink = [](const SinkAddress&,
                           Callback<std::optional<FeedError>> done) { done(FeedError{.message = "no"}); },
          .follow = [this](node::FollowedDatabases f) { followed = std::move(f); },
          .on_view = [](const node::CatalogView&) {},
          .logger = Logger()};
      agent = std::make_unique<ChangefeedAgent>(std::move(parts), ChangefeedAgent::Options());
      agent->Start();
    }
    node::FabricNetwork network;
    FakeLink link;
    FakeFacts facts;
    FakeFactory factory;
    node::FollowedDatabases followed;
    std::unique_ptr<ChangefeedAgent> agent;
  };

  void SetUp() override {
    for (uint64_t number = 1; number <= 3; ++number) hosts_[number] = std::make_unique<Host>(*this, number);
  }
  static std::string AddressOf(uint64_t number) { return fmt::format("node{}:1", number); }

  // The catalog as it is now, as a list of each kind.
  void FillView(node::CatalogView& view) {
    std::map<pb::RecordKind, std::vector<pb::Record>> lists;
    for (uint64_t number = 1; number <= 3; ++number) {
      pb::NodeRecord& node = *lists[pb::RECORD_NODE].emplace_back().mutable_node();
      node.set_id(number);
      node.set_uuid(AddressOf(number));
      node.set_address(AddressOf(number));
      node.set_state(number == lost_ ? pb::NODE_REMOVED : pb::NODE_UP);
      node.set_registration_epoch(10 + number);
    }
    pb::DatabaseRecord& database = *lists[pb::RECORD_DATABASE].emplace_back().mutable_database();
    database.set_id(1);
    database.set_name("default");
    for (uint64_t id = 1; id <= 3; ++id) {
      pb::RegionRecord& region = *lists[pb::RECORD_REGION].emplace_back().mutable_region();
      region.set_id(id);
      region.set_database(1);
      region.set_state(pb::REGION_SERVING);
      region.set_range_version(1);
    }
    if (feed_) *lists[pb::RECORD_CHANGEFEED].emplace_back().mutable_changefeed() = *feed_;
    for (const pb::RecordKind kind : node::kKeptKinds)
      ASSERT_TRUE(view.Replace(kind, lists[kind], Revision(revision_)).ok());
  }
  static pb::ChangefeedRecord FeedOf(uint64_t epoch, uint64_t owner) {
    pb::ChangefeedRecord feed;
    feed.set_id(kFeed);
    feed.set_name("feed");
    feed.set_database(1);
    feed.set_filter("prefix:");
    feed.set_sink("stdout:");
    feed.set_state(pb::CHANGEFEED_NORMAL);
    feed.set_start_ts(kStart);
    feed.set_checkpoint_ts(kStart);
    feed.set_owner_epoch(epoch);
    feed.set_owner_node(owner);
    feed.set_owner_incarnation(owner == 0 ? 0 : 10 + owner);
    return feed;
  }
  // The record changes, and these nodes hear of it.
  void Publish(std::optional<pb::ChangefeedRecord> feed, const std::vector<uint64_t>& to = {1, 2, 3}) {
    feed_ = std::move(feed);
    ++revision_;
    for (const uint64_t number : to) Show(number);
  }
  void Show(uint64_t number) {
    FillView(hosts_[number]->facts.view);
    hosts_[number]->agent->OnNodeChanged();
  }

  StatusOr<ipb::ChangefeedMessage> Deliver(uint64_t to, ipb::ChangefeedMessage message,
                                           const std::string& cluster = "cluster-a",
                                           uint64_t incarnation = 1) {
    ipb::ChangefeedEnvelope envelope;
    envelope.set_cluster_id(cluster);
    envelope.set_incarnation(incarnation);
    *envelope.mutable_message() = std::move(message);
    std::optional<StatusOr<std::string>> answer;
    hosts_[to]->agent->OnCall({.method = "Deliver", .peer = "test", .deadline = kFarFuture},
                              envelope.SerializeAsString(),
                              [&answer](StatusOr<std::string> bytes) { answer = std::move(bytes); });
    executor_.Drain();
    if (!answer) return Error(StatusCode::kDeadlineExceeded, "no answer");
    if (!answer->ok()) return answer->status();
    ipb::ChangefeedMessage parsed;
    parsed.ParseFromString(**answer);
    return parsed;
  }
  StatusOr<ipb::ChangefeedMessage> Add(uint64_t to, uint64_t epoch, uint64_t leadership = 1) {
    ipb::ChangefeedMessage message;
    auto& add = *message.mutable_add_maintainer();
    add.mutable_sender()->set_leadership_epoch(leadership);
    add.set_owner_epoch(epoch);
    add.set_changefeed(kFeed);
    add.set_node(to);
    add.set_incarnation(10 + to);
    add.set_checkpoint_ts(kStart);
    return Deliver(to, std::move(message));
  }
  StatusOr<ipb::ChangefeedMessage> Remove(uint64_t to, uint64_t epoch, uint64_t leadership = 1) {
    ipb::ChangefeedMessage message;
    auto& remove = *message.mutable_remove_maintainer();
    remove.mutable_sender()->set_leadership_epoch(leadership);
    remove.set_owner_epoch(epoch);
    remove.set_changefeed(kFeed);
    return Deliver(to, std::move(message));
  }
  StatusOr<ipb::ChangefeedMessage> Collect(uint64_t to, uint64_t leadership) {
    ipb::ChangefeedMessage message;
    message.mutable_collect_maintainers()->mutable_sender()->set_leadership_epoch(leadership);
    return Deliver(to, std::move(message));
  }
  // Owner epoch 5 at node 1, running with a dispatcher on each node.
  void RunOnNode1() {
    Publish(FeedOf(5, 1));
    const auto answer = Add(1, 5);
    ASSERT_TRUE(answer.ok()) << answer.status();
    ASSERT_EQ(answer->answer().acceptance(), ipb::CHANGEFEED_TAKEN_OVER);
    executor_.Advance(seconds(2));
    for (uint64_t number = 1; number <= 3; ++number) {
      ASSERT_EQ(hosts_[number]->factory.running().size(), 1u) << "node " << number;
      ASSERT_TRUE(hosts_[number]->factory.running()[0]->permit());
    }
  }
  FakeFactory& factory(uint64_t number) { return hosts_[number]->factory; }

  runtime::ManualExecutor executor_;
  node::Fabric fabric_{executor_};
  uint64_t revision_ = 1;
  uint64_t lost_ = 0;  // a node that is gone; another one leads its region
  std::optional<pb::ChangefeedRecord> feed_;
  std::map<uint64_t, std::unique_ptr<Host>> hosts_;
};

TEST_F(ChangefeedAgentTest, AMaintainerHasDispatchersWhereRegionsAreLedAndReportsTheLeastOfThem) {
  RunOnNode1();
  const DispatcherSpec& spec = factory(2).made[0]->spec;
  EXPECT_EQ(spec.key.generation.region, RegionId(2));
  EXPECT_EQ(spec.start, CommitTs(kStart));
  EXPECT_EQ(spec.epoch, OwnerEpoch(5));
  EXPECT_EQ(spec.database, "default");
  factory(1).made[0]->report.flushed = CommitTs(3000);
  factory(2).made[0]->report.flushed = CommitTs(2000);
  factory(3).made[0]->report.flushed = CommitTs(2500);
  executor_.Advance(seconds(2));
  EXPECT_EQ(hosts_[1]->link.reports.back().checkpoint_ts(), 2000u);
  EXPECT_EQ(hosts_[1]->link.reports.back().owner_epoch(), 5u);
  EXPECT_EQ(hosts_[1]->link.reports.back().rows_behind(), 9u) << "three of each";
  for (const uint64_t rows : {7u, 9u, 4u}) {  // the last one of a dispatcher that was made again
    factory(2).made[0]->report.snapshot_rows = rows;
    executor_.Advance(seconds(2));
  }
  EXPECT_EQ(hosts_[1]->link.reports.back().snapshot_rows(), 13u);
  EXPECT_EQ(hosts_[1]->agent->GetNumbers().maintainers, 1u);
  EXPECT_EQ(hosts_[2]->agent->GetNumbers().dispatchers, 1u);
}

TEST_F(ChangefeedAgentTest, DispatchersHearHowFarTheWholeChangefeedIs) {
  RunOnNode1();
  pb::ChangefeedRecord further = FeedOf(5, 1);
  further.set_checkpoint_ts(kStart + 70);
  Publish(further);
  executor_.Drain();
  for (uint64_t number = 1; number <= 3; ++number)
    EXPECT_EQ(factory(number).made[0]->checkpoint, CommitTs(kStart + 70));
}

TEST_F(ChangefeedAgentTest, AddCountsOnlyForTheEpochInTheView) {
  Publish(FeedOf(5, 1));
  EXPECT_EQ(Add(1, 6)->answer().acceptance(), ipb::CHANGEFEED_NOT_IN_VIEW);
  EXPECT_EQ(Add(1, 4)->answer().acceptance(), ipb::CHANGEFEED_STALE_EPOCH);
  EXPECT_EQ(Add(1, 5)->answer().acceptance(), ipb::CHANGEFEED_TAKEN_OVER);
  EXPECT_EQ(Add(1, 5)->answer().acceptance(), ipb::CHANGEFEED_REPEATED);
  EXPECT_EQ(hosts_[1]->agent->GetNumbers().refusals,
            (std::map<std::string, uint64_t>{{"not in view", 1}, {"stale epoch", 1}}));
  Publish(std::nullopt);
  EXPECT_EQ(Add(1, 5)->answer().acceptance(), ipb::CHANGEFEED_NOT_IN_VIEW);
}

TEST_F(ChangefeedAgentTest, RemoveAnswersWhenEverythingHasStoppedAndWithTheFinalCheckpoint) {
  RunOnNode1();
  for (uint64_t number = 1; number <= 3; ++number) factory(number).made[0]->report.flushed = CommitTs(4000);
  executor_.Advance(seconds(1));
  const auto answer = Remove(1, 5);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_TRUE(IsAccepted(static_cast<Acceptance>(answer->removed_maintainer().acceptance())));
  EXPECT_EQ(answer->removed_maintainer().checkpoint_ts(), 4000u);
  EXPECT_TRUE(factory(1).made[0]->stopped) << "answered without having closed";
  EXPECT_EQ(hosts_[1]->agent->GetNumbers().maintainers, 0u);
  // The answer was lost: the same once more.
  EXPECT_EQ(Remove(1, 5)->removed_maintainer().checkpoint_ts(), 4000u);
  // G2: it does not start again in its epoch.
  EXPECT_FALSE(IsAccepted(static_cast<Acceptance>(Add(1, 5)->answer().acceptance())));
}

TEST_F(ChangefeedAgentTest, AViewWithAHigherEpochEndsEverythingWithinTheTurn) {
  RunOnNode1();
  const auto old = factory(2).made[0];
  Publish(FeedOf(9, 3), {2});
  EXPECT_FALSE(old->permit()) << "the node may report the new view from here on";
  executor_.Drain();
  EXPECT_TRUE(old->stopped);
  EXPECT_FALSE(old->permitted_at_stop);
  // The new owner's dispatchers take over; what the old maintainer says is refused.
  Publish(FeedOf(9, 3), {1, 2, 3});
  EXPECT_EQ(hosts_[1]->agent->GetNumbers().maintainers, 0u);
  ASSERT_EQ(Add(3, 9)->answer().acceptance(), ipb::CHANGEFEED_TAKEN_OVER);
  executor_.Advance(seconds(2));
  ASSERT_EQ(factory(2).running().size(), 1u);
  EXPECT_EQ(factory(2).running()[0]->spec.epoch, OwnerEpoch(9));
}

TEST_F(ChangefeedAgentTest, TheLeaseEndsWritingByTheClockAndANewOneDoesNotReviveIt) {
  RunOnNode1();
  const auto old = factory(2).made[0];
  hosts_[2]->facts.until = executor_.Now() + milliseconds(50);
  hosts_[2]->agent->OnNodeChanged();
  EXPECT_TRUE(old->permit());
  executor_.Advance(milliseconds(60));
  EXPECT_FALSE(old->permit());
  // A new lease began; nobody had looked between.
  hosts_[2]->facts.until = executor_.Now() + seconds(1000);
  hosts_[2]->facts.recoveries = 2;
  hosts_[2]->agent->OnNodeChanged();
  EXPECT_FALSE(old->permit());
  executor_.Drain();
  EXPECT_TRUE(old->stopped);
  executor_.Advance(seconds(5));
  // The maintainer hears that it is gone, and creates it again.
  ASSERT_EQ(factory(2).running().size(), 1u);
  EXPECT_TRUE(factory(2).running()[0]->permit());
}

TEST_F(ChangefeedAgentTest, AFencedNodeRefuses) {
  Publish(FeedOf(5, 1));
  hosts_[1]->facts.until = executor_.Now();
  hosts_[1]->agent->OnNodeChanged();
  EXPECT_EQ(Add(1, 5)->answer().acceptance(), ipb::CHANGEFEED_FENCED);
}

TEST_F(ChangefeedAgentTest, ANewRegistrationEndsWhatTheOldOneOwned) {
  RunOnNode1();
  const auto old = factory(2).made[0];
  hosts_[2]->facts.registration = 0;
  hosts_[2]->agent->OnRegistering();
  EXPECT_FALSE(old->permit());
  ipb::ChangefeedMessage message;
  message.mutable_collect_maintainers()->mutable_sender()->set_leadership_epoch(1);
  EXPECT_EQ(Deliver(2, message).status().code(), StatusCode::kUnavailable);
}

TEST_F(ChangefeedAgentTest, AfterANewLeaderWasAnsweredTheOldOneIsNotHeard) {
  RunOnNode1();
  const auto collected = Collect(1, 4);
  ASSERT_TRUE(collected.ok());
  ASSERT_EQ(collected->maintainers_collected().running_size(), 1);
  EXPECT_EQ(collected->maintainers_collected().running(0).changefeed(), kFeed);
  EXPECT_EQ(collected->maintainers_collected().running(0).owner_epoch(), 5u);
  EXPECT_EQ(Remove(1, 5, 3)->removed_maintainer().acceptance(), ipb::CHANGEFEED_STALE_LEADERSHIP);
  EXPECT_EQ(Add(1, 5, 3)->answer().acceptance(), ipb::CHANGEFEED_STALE_LEADERSHIP);
  EXPECT_EQ(Collect(1, 3)->answer().acceptance(), ipb::CHANGEFEED_STALE_LEADERSHIP);
  EXPECT_EQ(hosts_[1]->agent->GetNumbers().maintainers, 1u);
}

TEST_F(ChangefeedAgentTest, AMaintainerThatTheCoordinatorRefusesEnds) {
  RunOnNode1();
  hosts_[1]->link.answer = ipb::CHANGEFEED_STALE_EPOCH;
  executor_.Advance(seconds(2));
  EXPECT_EQ(hosts_[1]->agent->GetNumbers().maintainers, 0u);
  EXPECT_EQ(Add(1, 5)->answer().acceptance(), ipb::CHANGEFEED_ENDED);
}

TEST_F(ChangefeedAgentTest, WhatALostNodeSaidIsNotReportedForever) {
  RunOnNode1();
  factory(2).made[0]->report.error = FeedError{.code = FeedErrorCode::kSinkUnavailable, .message = "no sink"};
  executor_.Advance(seconds(5));
  ASSERT_TRUE(hosts_[1]->link.reports.back().has_error());
  // The node is gone, and another one leads its region.
  lost_ = 2;
  Publish(FeedOf(5, 1), {1, 3});
  hosts_[2]->agent->Stop();
  executor_.Advance(seconds(5));
  EXPECT_FALSE(hosts_[1]->link.reports.back().has_error());
  EXPECT_EQ(hosts_[1]->link.reports.back().rows_behind(), 9u);
  EXPECT_EQ(factory(3).running().size(), 2u);
}

TEST_F(ChangefeedAgentTest, WhatIsGoneFromTheCatalogEnds) {
  RunOnNode1();
  EXPECT_EQ(hosts_[2]->followed.floors, (std::map<uint64_t, uint64_t>{{1, kStart}}));
  Publish(std::nullopt);
  executor_.Drain();
  for (uint64_t number = 1; number <= 3; ++number) EXPECT_TRUE(factory(number).running().empty());
  EXPECT_TRUE(hosts_[2]->followed.floors.empty());
}

TEST_F(ChangefeedAgentTest, HistoryIsKeptForAsLongAsSomebodyMayNeedIt) {
  pb::ChangefeedRecord feed = FeedOf(5, 0);
  EXPECT_EQ(catalog::HistoryFloorOf(feed), kStart);
  feed.set_checkpoint_ts(5000);
  EXPECT_EQ(catalog::HistoryFloorOf(feed), 5000u);
  feed.set_state(pb::CHANGEFEED_PAUSED);
  EXPECT_EQ(catalog::HistoryFloorOf(feed), 5000u);
  feed.set_history_given_up(true);
  EXPECT_EQ(catalog::HistoryFloorOf(feed), std::nullopt);
  feed = FeedOf(5, 0);
  feed.clear_start_ts();
  feed.clear_checkpoint_ts();
  EXPECT_EQ(catalog::HistoryFloorOf(feed), 0u) << "it is not known yet where it begins";
  feed.set_requested_start_ts(700);
  EXPECT_EQ(catalog::HistoryFloorOf(feed), 700u);
  for (const auto state : {pb::CHANGEFEED_FINISHED, pb::CHANGEFEED_REMOVING}) {
    feed.set_state(state);
    EXPECT_EQ(catalog::HistoryFloorOf(feed), std::nullopt);
  }
}

TEST_F(ChangefeedAgentTest, StrangersAreRefused) {
  ipb::ChangefeedMessage message;
  message.mutable_collect_maintainers();
  EXPECT_THAT(std::string(Deliver(1, message, "cluster-b").status().message()), HasSubstr("cluster-b"));
  hosts_[1]->facts.incarnation = 3;
  hosts_[1]->agent->OnNodeChanged();
  EXPECT_THAT(std::string(Deliver(1, message, "cluster-a", 2).status().message()),
              HasSubstr("incarnation 2"));
  EXPECT_EQ(Deliver(1, message, "cluster-a", 4).status().code(), StatusCode::kUnavailable);
  EXPECT_TRUE(Deliver(1, message, "cluster-a", 3).ok());
  ipb::ChangefeedMessage wrong;
  wrong.mutable_maintainer_progress();
  EXPECT_THAT(std::string(Deliver(1, wrong, "cluster-a", 3).status().message()), HasSubstr("message"));
}

}  // namespace
}  // namespace tenure::changefeed
