// The coordinator of changefeeds over a catalog that needs no consensus, with nodes that answer as an agent
// does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "catalog/procedures.h"
#include "catalog/refusal.h"
#include "tests/controller/test_controller.h"

namespace tenure::controller {
namespace {

using catalog::ReasonOf;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// What the agent of a node says, and what it was told.
struct FakeAgent : public runtime::Service {
  void OnCall(const runtime::CallInfo& info, std::string bytes, runtime::Reply reply) override {
    if (info.method == "CheckSink") {
      ipb::CheckSinkResponse response;
      if (!sink_fault.empty()) response.set_code("SINK_UNAVAILABLE");
      response.set_message(sink_fault);
      return reply(response.SerializeAsString());
    }
    ipb::ChangefeedEnvelope envelope;
    ASSERT_TRUE(envelope.ParseFromString(bytes));
    const ipb::ChangefeedMessage& message = envelope.message();
    ipb::ChangefeedMessage answer;
    if (message.has_collect_maintainers()) {
      ++collects;
      if (!answers_collect) return reply(absl::UnavailableError("not now"));
      auto& collected = *answer.mutable_maintainers_collected();
      collected.mutable_sender()->set_incarnation(registration);
      collected.set_leadership_epoch(message.collect_maintainers().sender().leadership_epoch());
      if (running != 0) {
        auto& one = *collected.add_running();
        one.set_changefeed(1);
        one.set_owner_epoch(running);
        one.set_checkpoint_ts(checkpoint);
      }
    } else if (message.has_add_maintainer()) {
      said.push_back(fmt::format("add {}", message.add_maintainer().owner_epoch()));
      started_from = message.add_maintainer().checkpoint_ts();
      answer.mutable_answer()->set_acceptance(add_answer);
      answer.mutable_answer()->set_owner_epoch(message.add_maintainer().owner_epoch());
      if (add_answer == ipb::CHANGEFEED_TAKEN_OVER) running = message.add_maintainer().owner_epoch();
    } else if (message.has_remove_maintainer()) {
      said.push_back(fmt::format("remove {}", message.remove_maintainer().owner_epoch()));
      if (!answers_remove) return reply(absl::UnavailableError("not now"));
      auto& removed = *answer.mutable_removed_maintainer();
      removed.set_acceptance(ipb::CHANGEFEED_CONTINUED);
      removed.set_owner_epoch(message.remove_maintainer().owner_epoch());
      removed.set_checkpoint_ts(checkpoint);
      running = 0;
    }
    reply(answer.SerializeAsString());
  }
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }
  uint64_t registration = 0;
  uint64_t running = 0;  // the epoch of its maintainer
  uint64_t checkpoint = 0;
  uint64_t started_from = 0;  // the checkpoint that the last add named
  ipb::ChangefeedAcceptance add_answer = ipb::CHANGEFEED_TAKEN_OVER;
  bool answers_collect = true;
  bool answers_remove = true;
  std::string sink_fault;
  int collects = 0;
  std::vector<std::string> said;
};

class ChangefeedsTest : public ::testing::Test {
 protected:
  struct Host {
    Host(TestController& t, const std::string& name)
        : node(t, name), view(t.fake_network.MakeView(name + ":1")) {
      view->Serve("tenure.internal.v1.ChangefeedNode", agent);
    }
    FakeNode node;
    FakeAgent agent;
    std::unique_ptr<runtime::Network> view;
  };

  void SetUp() override {
    t.history.begin = changefeed::CommitTs(1000);
    t.Lead();
    for (const char* name : {"a", "b"}) {
      hosts.push_back(std::make_unique<Host>(t, name));
      Restart(*hosts.back());
    }
    ipb::CatalogCommand command;
    command.mutable_create_database()->set_name("shop");
    command.mutable_create_database()->set_replicas(1);
    auto& region = *command.mutable_create_database()->add_regions();
    region.mutable_slots()->set_last(16383);
    region.add_nodes(hosts[0]->node.id);
    Propose(std::move(command));
    ipb::CatalogCommand serve;
    serve.mutable_set_region_state()->set_region(1);
    serve.mutable_set_region_state()->set_from(pb::REGION_CREATING);
    serve.mutable_set_region_state()->set_to(pb::REGION_SERVING);
    Propose(std::move(serve));
    ipb::CatalogCommand publish;
    publish.mutable_set_database_state()->set_database(1);
    publish.mutable_set_database_state()->set_from(pb::DATABASE_CREATING);
    publish.mutable_set_database_state()->set_to(pb::DATABASE_PUBLIC);
    Propose(std::move(publish));
    Beat();
  }
  void Restart(Host& host) {
    host.node.Register();
    host.node.Connect();
    host.agent.registration = host.node.registration;
    host.agent.running = 0;
    t.executor.Advance(milliseconds(100));
  }
  void Propose(ipb::CatalogCommand command) {
    std::optional<StatusOr<ipb::CatalogResult>> result;
    t.access.ProposeInEpoch(std::move(command), Term(7),
                            [&result](StatusOr<ipb::CatalogResult> done) { result = std::move(done); });
    t.executor.Advance(milliseconds(1));
    ASSERT_TRUE(result && result->ok()) << (result ? result->status() : OkStatus());
  }
  // These nodes serve from the present revision and say so; time goes on.
  void Beat(const std::vector<size_t>& which = {0, 1}, uint64_t epoch = 7) {
    for (int round = 0; round < 3; ++round) {
      for (const size_t i : which) {
        hosts[i]->node.next.set_serving_revision(t.access.applied().value());
        hosts[i]->node.next.set_leader_epoch(epoch);
        hosts[i]->node.Beat();
      }
      t.executor.Advance(milliseconds(300));
    }
  }
  StatusOr<pb::ChangefeedResponse> Create(std::function<void(pb::CreateChangefeedRequest&)> change = {}) {
    pb::CreateChangefeedRequest request;
    request.set_name("feed");
    request.set_database("shop");
    request.set_sink("file:///out");
    if (change) change(request);
    return t.Call<pb::ChangefeedResponse>("tenure.v1.Changefeeds/Create", request, seconds(10),
                                          milliseconds(20));
  }
  StatusOr<pb::ChangefeedResponse> Ask(const std::string& method, const std::string& name = "feed") {
    pb::ChangefeedRequest request;
    request.set_name(name);
    return t.Call<pb::ChangefeedResponse>("tenure.v1.Changefeeds/" + method, request, seconds(10),
                                          milliseconds(20));
  }
  StatusOr<pb::ChangefeedResponse> Move(uint64_t node) {
    pb::MoveChangefeedRequest request;
    request.set_name("feed");
    request.set_node(node);
    return t.Call<pb::ChangefeedResponse>("tenure.v1.Changefeeds/Move", request, seconds(10),
                                          milliseconds(20));
  }
  const pb::ChangefeedRecord& Record() { return t.machine.catalog().changefeeds().at(1).changefeed(); }
  bool Exists() { return t.machine.catalog().changefeeds().contains(1); }
  Host& Owner() { return *hosts[Record().owner_node() == hosts[0]->node.id ? 0 : 1]; }
  size_t OwnerIndex() { return Record().owner_node() == hosts[0]->node.id ? 0 : 1; }
  std::string Pending() {
    FeedDriver* driver = t.changefeeds.Find(1);
    return driver == nullptr ? "no driver" : driver->pending();
  }
  // What the maintainer of that epoch at that node reports.
  ipb::ChangefeedAnswer Report(Host& from, uint64_t epoch, uint64_t checkpoint,
                               std::function<void(ipb::MaintainerProgress&)> change = {}) {
    ipb::ChangefeedEnvelope envelope;
    envelope.set_cluster_id("cluster");
    auto& progress = *envelope.mutable_message()->mutable_maintainer_progress();
    progress.mutable_sender()->set_node(from.node.id);
    progress.mutable_sender()->set_incarnation(from.node.registration);
    progress.set_changefeed(1);
    progress.set_owner_epoch(epoch);
    progress.set_checkpoint_ts(checkpoint);
    progress.set_holding_back("orders in region 1");
    if (change) change(progress);
    const auto answer =
        t.Call<ipb::ChangefeedMessage>("tenure.internal.v1.ChangefeedCoordinator/Deliver", envelope);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? answer->answer() : ipb::ChangefeedAnswer();
  }
  void CreateAndRun() {
    const auto created = Create();
    ASSERT_TRUE(created.ok()) << created.status();
    for (int i = 0; i < 4 && Pending() != ""; ++i) Beat();
    ASSERT_EQ(Pending(), "");
    ASSERT_EQ(Owner().agent.running, Record().owner_epoch());
  }

  TestController t;
  std::vector<std::unique_ptr<Host>> hosts;
};

TEST_F(ChangefeedsTest, AddLeavesOnlyAfterEveryNodeKnowsTheEpoch) {
  ASSERT_TRUE(Create().ok());
  for (int i = 0; i < 4; ++i) Beat({0});
  EXPECT_EQ(Record().start_ts(), 1000u);
  EXPECT_NE(Record().owner_epoch(), 0u);
  EXPECT_THAT(Pending(), HasSubstr("every node knows"));
  EXPECT_TRUE(hosts[0]->agent.said.empty() && hosts[1]->agent.said.empty()) << "add left before the barrier";
  Beat();
  EXPECT_EQ(Pending(), "");
  EXPECT_THAT(Owner().agent.said, ElementsAre(fmt::format("add {}", Record().owner_epoch())));
  const uint64_t epoch = Record().owner_epoch();
  for (int i = 0; i < 6; ++i) {
    Report(Owner(), epoch, 2000);
    Beat();
  }
  EXPECT_EQ(Record().owner_epoch(), epoch) << "what runs is not started again";
}

TEST_F(ChangefeedsTest, CheckpointsCountInTheirEpochOnly) {
  CreateAndRun();
  const uint64_t epoch = Record().owner_epoch();
  Host& owner = Owner();
  Host& other = *hosts[1 - OwnerIndex()];
  EXPECT_EQ(Report(owner, epoch, 5000).acceptance(), ipb::CHANGEFEED_CONTINUED);
  EXPECT_EQ(Report(owner, epoch - 1, 9000).acceptance(), ipb::CHANGEFEED_STALE_EPOCH);
  EXPECT_EQ(Report(other, epoch, 9000).acceptance(), ipb::CHANGEFEED_OTHER_OWNER);
  for (int i = 0; i < 4; ++i) Beat();
  EXPECT_EQ(Record().checkpoint_ts(), 5000u);
  EXPECT_EQ(t.changefeeds.GetNumbers().refusals,
            (std::map<std::string, uint64_t>{{"other owner", 1}, {"stale epoch", 1}}));
}

TEST_F(ChangefeedsTest, AnotherRunOfTheNodeMeansANewEpoch) {
  CreateAndRun();
  const uint64_t epoch = Record().owner_epoch();
  Restart(Owner());
  for (int i = 0; i < 6; ++i) Beat();
  EXPECT_GT(Record().owner_epoch(), epoch);
  EXPECT_EQ(Pending(), "");
  EXPECT_EQ(Owner().agent.running, Record().owner_epoch());
}

TEST_F(ChangefeedsTest, WhatTheOwnerBeforeReportedAndNobodyRecordedIsWhereTheNextOneStarts) {
  CreateAndRun();
  const uint64_t epoch = Record().owner_epoch();
  Report(Owner(), epoch, 5000);
  for (int i = 0; i < 8 && Record().checkpoint_ts() != 5000; ++i) Beat();
  ASSERT_EQ(Record().checkpoint_ts(), 5000u);
  Report(Owner(), epoch, 8000);
  Restart(Owner());
  ASSERT_EQ(Record().checkpoint_ts(), 5000u);
  for (int i = 0; i < 6; ++i) Beat();
  ASSERT_GT(Record().owner_epoch(), epoch);
  EXPECT_EQ(Owner().agent.started_from, 8000u);
  // Else this, which is recorded now, would let go of history that the new maintainer needs.
  Report(Owner(), Record().owner_epoch(), 8000);
  for (int i = 0; i < 4; ++i) Beat();
  EXPECT_EQ(Record().checkpoint_ts(), 8000u);
}

TEST_F(ChangefeedsTest, AMoveEndsTheOriginFirstAndKeepsItsFinalCheckpoint) {
  CreateAndRun();
  Host& origin = Owner();
  Host& target = *hosts[1 - OwnerIndex()];
  const uint64_t epoch = Record().owner_epoch();
  origin.agent.checkpoint = 7000;
  origin.agent.answers_remove = false;
  ASSERT_TRUE(Move(target.node.id).ok());
  for (int i = 0; i < 3; ++i) Beat();
  EXPECT_TRUE(target.agent.said.empty());
  EXPECT_EQ(Record().owner_epoch(), epoch);
  origin.agent.answers_remove = true;
  for (int i = 0; i < 6; ++i) Beat();
  EXPECT_EQ(Record().owner_node(), target.node.id);
  EXPECT_GT(Record().owner_epoch(), epoch);
  EXPECT_EQ(Record().checkpoint_ts(), 7000u);
  EXPECT_THAT(target.agent.said, ElementsAre(fmt::format("add {}", Record().owner_epoch())));
  EXPECT_EQ(ReasonOf(Move(target.node.id).status()), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(ReasonOf(Move(99).status()), pb::REASON_NOT_FOUND);
}

TEST_F(ChangefeedsTest, ADrainEndsWhenTheMaintainersHaveLeft) {
  CreateAndRun();
  Host& origin = *hosts[1];  // has no replica
  Host& target = *hosts[0];
  if (&Owner() != &origin) {
    ASSERT_TRUE(Move(origin.node.id).ok());
    for (int i = 0; i < 6; ++i) Beat();
  }
  ASSERT_EQ(origin.agent.running, Record().owner_epoch());
  origin.agent.checkpoint = 7000;
  origin.agent.answers_remove = false;
  pb::DrainNodeRequest request;
  request.set_node(origin.node.id);
  const auto drain = t.Call<pb::DrainNodeResponse>("tenure.v1.Cluster/DrainNode", request);
  ASSERT_TRUE(drain.ok()) << drain.status();
  EXPECT_THAT(drain->plan(), ElementsAre("changefeed 'feed': its maintainer to another node"));
  const uint64_t procedure = drain->procedure().procedure().id();
  for (int i = 0; i < 4; ++i) Beat();
  EXPECT_FALSE(catalog::IsEnded(t.machine.catalog().procedures().at(procedure).procedure().state()));
  origin.agent.answers_remove = true;
  for (int i = 0; i < 6; ++i) Beat();
  EXPECT_EQ(Record().owner_node(), target.node.id);
  EXPECT_EQ(Record().checkpoint_ts(), 7000u);
  EXPECT_EQ(origin.agent.running, 0u);
  EXPECT_EQ(target.agent.running, Record().owner_epoch());
  EXPECT_EQ(t.machine.catalog().procedures().at(procedure).procedure().state(), pb::PROCEDURE_SUCCEEDED);
}

TEST_F(ChangefeedsTest, PauseResumeAndRemove) {
  CreateAndRun();
  Host& first = Owner();
  const uint64_t epoch = Record().owner_epoch();
  ASSERT_TRUE(Ask("Pause").ok());
  for (int i = 0; i < 4; ++i) Beat();
  EXPECT_EQ(Record().state(), pb::CHANGEFEED_PAUSED);
  EXPECT_EQ(Record().owner_node(), 0u);
  EXPECT_GT(Record().owner_epoch(), epoch);
  EXPECT_EQ(first.agent.running, 0u);
  EXPECT_EQ(ReasonOf(Move(0).status()), pb::REASON_CONDITION_FAILED);
  ASSERT_TRUE(Ask("Resume").ok());
  for (int i = 0; i < 4; ++i) Beat();
  EXPECT_EQ(Record().state(), pb::CHANGEFEED_NORMAL);
  EXPECT_EQ(Owner().agent.running, Record().owner_epoch());
  Host& owner = Owner();
  ASSERT_TRUE(Ask("Remove").ok());
  for (int i = 0; i < 4; ++i) Beat();
  EXPECT_FALSE(Exists());
  EXPECT_EQ(owner.agent.running, 0u);
}

TEST_F(ChangefeedsTest, AnUpdateThatIsSentAgainIsAnsweredAgain) {
  CreateAndRun();
  ASSERT_TRUE(Ask("Pause").ok());
  for (int i = 0; i < 4; ++i) Beat();
  pb::UpdateChangefeedRequest request;
  request.set_name("feed");
  request.set_gc_ttl_ms(7'200'000);
  request.mutable_id()->set_client_id(5);
  request.mutable_id()->set_sequence(1);
  const auto update = [&] {
    return t.Call<pb::ChangefeedResponse>("tenure.v1.Changefeeds/Update", request, seconds(10),
                                          milliseconds(20));
  };
  const auto first = update();
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(Ask("Resume").ok());
  const auto again = update();
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->revision(), first->revision());
  EXPECT_EQ(again->changefeed().record().id(), 1u);
}

TEST_F(ChangefeedsTest, AStopOfTheLeaderBeforeIsCompleteOnlyAfterABarrier) {
  CreateAndRun();
  const size_t owner = OwnerIndex();
  ASSERT_TRUE(Ask("Pause").ok());
  for (int i = 0; i < 3; ++i) Beat({owner});
  ASSERT_EQ(Record().owner_node(), 0u);
  EXPECT_THAT(Pending(), HasSubstr("every node knows"));
  t.Follow(8, 2);
  t.Lead(9);
  for (auto& host : hosts) host->node.Connect();
  for (int i = 0; i < 3; ++i) Beat({owner}, 9);
  EXPECT_THAT(Pending(), HasSubstr("every node knows")) << "the other one may write under the old epoch";
  for (int i = 0; i < 3; ++i) Beat({0, 1}, 9);
  EXPECT_EQ(Pending(), "");
  EXPECT_EQ(Record().state(), pb::CHANGEFEED_PAUSED);
}

TEST_F(ChangefeedsTest, ANewLeaderAdoptsWhatRunsAndStopsTheRest) {
  CreateAndRun();
  const uint64_t epoch = Record().owner_epoch();
  const size_t owner = OwnerIndex();
  t.Follow(8, 2);
  hosts[1 - owner]->agent.running = epoch - 1;  // of an earlier time, and cut off since then
  for (auto& host : hosts) host->agent.said.clear();
  t.Lead(9);
  for (auto& host : hosts) host->node.Connect();
  for (int i = 0; i < 6; ++i) Beat({0, 1}, 9);
  EXPECT_EQ(Record().owner_epoch(), epoch) << "the maintainer that runs was not left alone";
  EXPECT_TRUE(hosts[owner]->agent.said.empty());
  EXPECT_THAT(hosts[1 - owner]->agent.said, ElementsAre(fmt::format("remove {}", epoch - 1)));
}

TEST_F(ChangefeedsTest, NobodyStartsBeforeTheOwnerHasAnsweredANewLeader) {
  CreateAndRun();
  const uint64_t epoch = Record().owner_epoch();
  Host& owner = Owner();
  t.Follow(8, 2);
  owner.agent.answers_collect = false;
  t.Lead(9);
  for (auto& host : hosts) host->node.Connect();
  for (int i = 0; i < 6; ++i) Beat({0, 1}, 9);
  EXPECT_EQ(Record().owner_epoch(), epoch);
  EXPECT_THAT(Pending(), HasSubstr("may run it"));
  owner.agent.answers_collect = true;
  owner.agent.running = 0;  // it has ended meanwhile
  for (int i = 0; i < 8; ++i) Beat({0, 1}, 9);
  EXPECT_GT(Record().owner_epoch(), epoch);
  EXPECT_EQ(Pending(), "");
}

TEST_F(ChangefeedsTest, ACheckpointThatStandsStillIsAWarningWithItsCause) {
  ASSERT_TRUE(Create([](auto& request) { request.set_stall_after_ms(3000); }).ok());
  for (int i = 0; i < 4; ++i) Beat();
  const uint64_t epoch = Record().owner_epoch();
  for (int i = 0; i < 10; ++i) {
    Report(Owner(), epoch, 2000);
    Beat();
  }
  EXPECT_EQ(Record().state(), pb::CHANGEFEED_WARNING);
  EXPECT_EQ(Record().fault().code(), "STALLED");
  EXPECT_THAT(Record().fault().message(), HasSubstr("orders in region 1"));
  EXPECT_EQ(Record().fault().node(), Owner().node.id);
  Report(Owner(), epoch, 3000);
  for (int i = 0; i < 3; ++i) Beat();
  EXPECT_EQ(Record().state(), pb::CHANGEFEED_NORMAL);
  EXPECT_EQ(Record().fault().code(), "");
}

TEST_F(ChangefeedsTest, RowsOfTheInitialSnapshotAreProgress) {
  ASSERT_TRUE(Create([](auto& request) { request.set_stall_after_ms(3000); }).ok());
  for (int i = 0; i < 4; ++i) Beat();
  uint64_t rows = 0;
  const auto report = [&](uint64_t more) {
    rows += more;
    Report(Owner(), Record().owner_epoch(), 1000,
           [rows](auto& progress) { progress.set_snapshot_rows(rows); });
    Beat();
  };
  for (int i = 0; i < 10; ++i) {
    report(5);
    EXPECT_EQ(Record().state(), pb::CHANGEFEED_NORMAL) << i;
  }
  for (int i = 0; i < 10; ++i) report(0);
  EXPECT_EQ(Record().state(), pb::CHANGEFEED_WARNING) << "as many rows as before are no progress";
  EXPECT_EQ(Record().fault().code(), "STALLED");
}

TEST_F(ChangefeedsTest, HistoryOfOneThatDoesNotRunIsKeptForItsPresentTtl) {
  ASSERT_TRUE(Create([](auto& request) { request.set_gc_ttl_ms(60'000); }).ok());
  for (int i = 0; i < 4; ++i) Beat();
  ASSERT_TRUE(Ask("Pause").ok());
  for (int i = 0; i < 40; ++i) Beat();
  pb::UpdateChangefeedRequest update;
  update.set_name("feed");
  update.set_gc_ttl_ms(120'000);
  const auto updated =
      t.Call<pb::ChangefeedResponse>("tenure.v1.Changefeeds/Update", update, seconds(10), milliseconds(20));
  ASSERT_TRUE(updated.ok()) << updated.status();
  for (int i = 0; i < 40; ++i) Beat();
  EXPECT_EQ(Record().state(), pb::CHANGEFEED_PAUSED) << "it was 60 s, it is 120 s";
  EXPECT_FALSE(Record().history_given_up());
  for (int i = 0; i < 70; ++i) Beat();
  EXPECT_EQ(Record().state(), pb::CHANGEFEED_FAILED);
  EXPECT_EQ(Record().fault().code(), "HISTORY_GONE");
  EXPECT_TRUE(Record().history_given_up());
}

TEST_F(ChangefeedsTest, ErrorsBackOffAndTryAgainAndThoseThatCannotHealFail) {
  CreateAndRun();
  const uint64_t epoch = Record().owner_epoch();
  const auto broken = [](const char* code) {
    return [code](ipb::MaintainerProgress& progress) {
      progress.mutable_error()->set_code(code);
      progress.mutable_error()->set_message("the sink is away");
    };
  };
  Report(Owner(), epoch, 2000, broken("SINK_UNAVAILABLE"));
  for (int i = 0; i < 4; ++i) Beat();
  EXPECT_EQ(Record().state(), pb::CHANGEFEED_WARNING);
  EXPECT_THAT(Record().fault().message(), HasSubstr("the sink is away"));
  EXPECT_EQ(Record().owner_node(), 0u) << "it backs off";
  for (int i = 0; i < 16; ++i) Beat();
  ASSERT_NE(Record().owner_node(), 0u) << "it was not tried again: " << Pending();
  Report(Owner(), Record().owner_epoch(), 2000, broken("NOT_AUTHORIZED"));
  for (int i = 0; i < 4; ++i) Beat();
  EXPECT_EQ(Record().state(), pb::CHANGEFEED_FAILED);
  EXPECT_EQ(Record().owner_node(), 0u);
}

TEST_F(ChangefeedsTest, RefusalsOfCreate) {
  const auto refused = [this](std::function<void(pb::CreateChangefeedRequest&)> change, pb::Reason reason,
                              const char* text) {
    const Status status = Create(std::move(change)).status();
    EXPECT_EQ(ReasonOf(status), reason) << status;
    EXPECT_THAT(std::string(MessageOf(status)), HasSubstr(text));
    EXPECT_FALSE(Exists());
  };
  refused([](auto& r) { r.set_name(""); }, pb::REASON_INVALID_ARGUMENT, "name");
  refused([](auto& r) { r.set_database("none"); }, pb::REASON_NOT_FOUND, "database: there is no 'none'");
  refused([](auto& r) { r.set_filter("what:ever"); }, pb::REASON_INVALID_ARGUMENT, "what:ever");
  refused([](auto& r) { r.set_filter("table:none"); }, pb::REASON_NOT_FOUND,
          "filter: database 'shop' has no table 'none'");
  refused([](auto& r) { r.set_sink("pigeon://loft"); }, pb::REASON_INVALID_ARGUMENT, "sink");
  refused([](auto& r) { r.set_protocol("xml"); }, pb::REASON_INVALID_ARGUMENT, "protocol");
  refused([](auto& r) { r.set_target_ts(5), r.set_start_ts(7); }, pb::REASON_INVALID_ARGUMENT, "target_ts");
  for (auto& host : hosts) host->agent.sink_fault = "/out is read-only";
  refused({}, pb::REASON_CONDITION_FAILED, "/out is read-only");
  ASSERT_TRUE(Create([](auto& r) { r.set_no_verify(true); }).ok());
  EXPECT_EQ(ReasonOf(Create([](auto& r) { r.set_no_verify(true); }).status()), pb::REASON_ALREADY_EXISTS);
}

TEST_F(ChangefeedsTest, AStartThatIsOlderThanTheHistoryIsRefused) {
  const auto older = [](pb::CreateChangefeedRequest& request) {
    request.set_name("older");
    request.set_start_ts(400);
  };
  Status refused = Create(older).status();
  EXPECT_EQ(ReasonOf(refused), pb::REASON_CONDITION_FAILED) << refused;
  EXPECT_THAT(std::string(MessageOf(refused)), HasSubstr("start_ts: HISTORY_GONE: 400 is in the past"));
  CreateAndRun();
  refused = Create(older).status();
  EXPECT_EQ(ReasonOf(refused), pb::REASON_CONDITION_FAILED) << refused;
  EXPECT_THAT(std::string(MessageOf(refused)),
              HasSubstr("older than the history of changes, which begins at 1000"));
  EXPECT_EQ(t.machine.catalog().changefeeds().size(), 1u);
}

TEST_F(ChangefeedsTest, AStartInTheFutureIsRefused) {
  const int64_t now = ToMillis(t.executor.WallNow());
  for (const uint64_t start : {changefeed::CommitTsFromMillis(now + 90'000).value(), ~uint64_t{0}}) {
    const Status refused = Create([start](auto& request) { request.set_start_ts(start); }).status();
    EXPECT_EQ(ReasonOf(refused), pb::REASON_INVALID_ARGUMENT) << refused;
    EXPECT_THAT(std::string(MessageOf(refused)), HasSubstr("start_ts: "));
    EXPECT_THAT(std::string(MessageOf(refused)), HasSubstr("the limit is a minute from now"));
    EXPECT_FALSE(Exists());
  }
  const uint64_t soon = changefeed::CommitTsFromMillis(now + 30'000).value();
  EXPECT_TRUE(Create([soon](auto& request) { request.set_start_ts(soon); }).ok());
}

TEST_F(ChangefeedsTest, AStartThatTurnsOutOlderThanTheHistoryFails) {
  CreateAndRun();
  t.history.begin = Error(StatusCode::kUnavailable, "region 1 has no leader");
  ASSERT_TRUE(Create([](auto& request) { request.set_name("older"), request.set_start_ts(400); }).ok());
  t.history.begin = changefeed::CommitTs(1000);
  for (int i = 0; i < 3; ++i) Beat();
  const pb::ChangefeedRecord& older = t.machine.catalog().changefeeds().at(2).changefeed();
  EXPECT_EQ(older.state(), pb::CHANGEFEED_FAILED);
  EXPECT_EQ(older.fault().code(), "HISTORY_GONE");
  EXPECT_THAT(older.fault().message(), HasSubstr("start_ts 400 is older"));
}

TEST_F(ChangefeedsTest, ItWaitsForRegionsThatDoNotKeepTheirChangesYet) {
  t.history.begin = Error(StatusCode::kUnavailable, "region 1 keeps no change log");
  ASSERT_TRUE(Create().ok());
  for (int i = 0; i < 3; ++i) Beat();
  EXPECT_EQ(Record().start_ts(), 0u);
  EXPECT_THAT(Pending(), HasSubstr("region 1 keeps no change log"));
  t.history.begin = changefeed::CommitTs(1234);
  for (int i = 0; i < 4; ++i) Beat();
  EXPECT_EQ(Record().start_ts(), 1234u);
  EXPECT_EQ(Owner().agent.running, Record().owner_epoch());
}

}  // namespace
}  // namespace tenure::controller
