// Slots that go from one region to another, as nodes do it: through real logs and real copies, with views
// that are older or newer than the logs, restarts, snapshots and changes of leaders in between.
#include <gmock/gmock.h>

#include <set>

#include "node/region_state_machine.h"
#include "tenure/internal/v1/node.pb.h"
#include "tests/node/test_cluster.h"
#include "tests/store/map_view.h"

namespace tenure::node {
namespace {

using ipb::RangeChange;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr uint64_t kProcedure = 9;
constexpr uint32_t kFirst = 8192;

std::string KeyFrom(uint32_t first, uint32_t last, int number = 0) {
  for (int i = 0;; ++i) {
    std::string key = fmt::format("key{}", i);
    if (SlotOfKey(key) >= first && SlotOfKey(key) <= last && number-- == 0) return key;
  }
}
const std::string kLow = KeyFrom(0, kFirst - 1);
const std::string kHigh = KeyFrom(kFirst, 16383);

class RangesTest : public TestCluster {
 protected:
  struct Answer {
    Status status;
    ipb::ChangeRangeResponse response;
  };
  Answer AskAt(int node, const ipb::ChangeRangeRequest& request) {
    std::optional<Answer> answer;
    fabric_.services.at(at(node).address())
        .at("tenure.internal.v1.NodeInternal")
        ->OnCall({.method = "ChangeRange", .peer = "test", .deadline = executor_.Now() + 5s},
                 request.SerializeAsString(), [&answer](StatusOr<std::string> bytes) {
                   answer.emplace();
                   answer->status = bytes.status();
                   if (bytes.ok()) EXPECT_TRUE(answer->response.ParseFromString(*bytes));
                 });
    for (int i = 0; i < 1200 && !answer; ++i) executor_.Advance(10ms);
    EXPECT_TRUE(answer.has_value()) << "no answer";
    return answer.value_or(Answer{absl::UnknownError("no answer"), {}});
  }
  ipb::ChangeRangeRequest Request(uint64_t region) {
    ipb::ChangeRangeRequest request;
    request.set_cluster_id("cluster-a");
    request.set_leader_epoch(controllers_.leader_epoch);
    request.set_region(region);
    return request;
  }
  int Led(uint64_t region) {
    EXPECT_TRUE(AdvanceUntilLed(region));
    return LeaderOf(region);
  }
  ipb::RegionRange RangeOf(uint64_t region) {
    Answer answer = AskAt(Led(region), Request(region));
    EXPECT_TRUE(answer.status.ok()) << answer.status;
    return answer.response.range();
  }
  // Against the range in force.
  Status Change(uint64_t region, RangeChange::Op op, uint32_t first = 0, uint32_t last = 0) {
    ipb::ChangeRangeRequest request = Request(region);
    RangeChange& change = *request.mutable_change();
    change.set_op(op);
    change.set_procedure(kProcedure);
    change.set_if_version(RangeOf(region).version());
    change.set_limit(1000);
    if (op == RangeChange::RELEASE) change.set_keys(RangeOf(2).incoming().keys());
    change.mutable_slots()->set_first(first);
    change.mutable_slots()->set_last(last);
    return AskAt(Led(region), request).status;
  }
  // Region 2, for the upper half, on the nodes of region 1; nobody is shown it yet.
  void MakeSecond() {
    pb::Record record = controllers_.records().at({pb::RECORD_REGION, 1});
    pb::RegionRecord& region = *record.mutable_region();
    region.set_id(2);
    region.mutable_slots()->set_first(kFirst);
    region.set_state(pb::REGION_CREATING);
    region.set_split_off(true);
    region.set_range_procedure(kProcedure);
    region.set_preferred_leader(2);
    controllers_.Put(record);
    controllers_.CreateReplicas(2);
    executor_.Advance(2s);
    ASSERT_TRUE(AdvanceUntilLed(2));
  }
  ipb::TaskPayload CopyPayload() {
    ipb::TaskPayload payload;
    ipb::SlotCopy& copy = *payload.mutable_copy_slots();
    copy.set_procedure(kProcedure);
    copy.set_from_region(1);
    copy.set_to_region(2);
    copy.mutable_slots()->set_first(kFirst);
    copy.mutable_slots()->set_last(16383);
    return payload;
  }
  ipb::TaskState Copy(int node, uint64_t task = 77) {
    controllers_.Submit(static_cast<uint64_t>(node), task, CopyPayload());
    for (int i = 0; i < 100; ++i) {
      executor_.Advance(100ms);
      const ipb::TaskState state = controllers_.StateOf(static_cast<uint64_t>(node), task);
      if (state == ipb::TASK_SUCCESS || state == ipb::TASK_FAIL) return state;
    }
    return ipb::TASK_PROCESSING;
  }
  // What PublishSlots makes of the records.
  void Publish() {
    pb::Record record = controllers_.records().at({pb::RECORD_REGION, 1});
    *record.mutable_region()->mutable_initial_slots() = record.region().slots();
    record.mutable_region()->mutable_slots()->set_last(kFirst - 1);
    record.mutable_region()->set_range_procedure(kProcedure);
    controllers_.Put(record);
    record = controllers_.records().at({pb::RECORD_REGION, 2});
    record.mutable_region()->set_state(pb::REGION_SERVING);
    controllers_.Put(record);
    executor_.Advance(200ms);
  }
  std::string Ask(int node, store::Arguments arguments, ReadMode mode = ReadMode::kLinearizable) {
    return Text(Do(node, std::move(arguments), mode));
  }
  // As a cluster client: follows redirections, tries again where it is told to.
  std::string Client(store::Arguments arguments) {
    int node = 1;
    std::string text;
    for (int i = 0; i < 50; ++i) {
      text = Ask(node, arguments);
      if (text.starts_with("MOVED n")) {
        node = text[7] - '0';
      } else if (text.starts_with("TRYAGAIN") || text.starts_with("CLUSTERDOWN")) {
        executor_.Advance(100ms);
        node = 1 + i % 3;
      } else {
        return text;
      }
    }
    return text;
  }
  void Start() {
    StartWithDatabase();
    ASSERT_TRUE(AdvanceUntilLed(1));
    ASSERT_EQ(Client({"SET", kLow, "low"}), "OK");
    ASSERT_EQ(Client({"SET", kHigh, "high", "EX", "1000"}), "OK");
    MakeSecond();
  }
  void Restart() {
    for (auto& node : nodes_) node->Crash();
    for (auto& node : nodes_) node->Start();
    executor_.Advance(3s);
  }
};

TEST_F(RangesTest, ASplitStepByStep) {
  Start();
  const int one = Led(1);
  // The second region is there, and nobody is sent to it.
  EXPECT_EQ(at(one).node().View(kDatabase)->shards.size(), 1u);
  EXPECT_EQ(Ask(one, {"GET", kHigh}), "high");
  EXPECT_EQ(Ask(one, {"SET", kHigh, "higher"}), "OK");

  EXPECT_EQ(Copy(one), ipb::TASK_FAIL) << "nothing is frozen";
  ASSERT_TRUE(Change(1, RangeChange::FREEZE, kFirst, 16383).ok());
  EXPECT_THAT(Ask(one, {"SET", kHigh, "x"}), StartsWith("TRYAGAIN"));
  EXPECT_EQ(Ask(one, {"GET", kHigh}), "higher");
  EXPECT_EQ(Ask(one, {"SET", kLow, "lower"}), "OK");

  ASSERT_EQ(Copy(one, 78), ipb::TASK_SUCCESS) << controllers_.tasks[static_cast<uint64_t>(one)][78].error();
  EXPECT_TRUE(RangeOf(2).incoming().complete());
  EXPECT_EQ(RangeOf(2).incoming().keys(), 1u);
  EXPECT_EQ(Copy(1 + one % 3, 79), ipb::TASK_SUCCESS) << "it is complete already";

  ASSERT_TRUE(Change(1, RangeChange::RELEASE).ok());
  EXPECT_THAT(Ask(one, {"GET", kHigh}), testing::Not("higher"));
  EXPECT_EQ(Ask(one, {"GET", kLow}), "lower");

  // The records do not say so yet: who knows by his log shows the way.
  ASSERT_TRUE(Change(2, RangeChange::OPEN).ok());
  executor_.Advance(100ms);
  for (int node = 1; node <= 3; ++node) {
    const std::string answer = Ask(node, {"GET", kHigh});
    EXPECT_EQ(answer, node == Led(2) ? "higher" : fmt::format("MOVED n{}:2", Led(2))) << node;
    // A command that MULTI queues goes the same way.
    const auto moved = at(node).node().MovedElsewhere(kDatabase, SlotOfKey(kHigh), {"GET", kHigh});
    EXPECT_EQ(moved ? "MOVED " + moved->resp_address : "higher", answer) << node;
  }
  EXPECT_EQ(Client({"SET", kHigh, "new"}), "OK");
  Publish();
  EXPECT_EQ(at(one).node().View(kDatabase)->shards.size(), 2u);
  EXPECT_EQ(Client({"GET", kHigh}), "new");
  EXPECT_EQ(Client({"TTL", kHigh}), "-1") << "SET took it away";
  EXPECT_EQ(Client({"GET", kLow}), "lower");

  EXPECT_FALSE(Change(1, RangeChange::END).ok()) << "the keys are still there";
  ASSERT_TRUE(Change(1, RangeChange::CLEAR).ok());
  ASSERT_TRUE(Change(1, RangeChange::END).ok());
  EXPECT_FALSE(RangeOf(1).has_outgoing());
  Restart();
  EXPECT_EQ(Client({"GET", kHigh}), "new");
  EXPECT_EQ(Client({"GET", kLow}), "lower");
}

// Everything stops and starts again at every point: what the logs say is what is served.
TEST_F(RangesTest, RestartsAtEveryPoint) {
  Start();
  Restart();
  ASSERT_TRUE(Change(1, RangeChange::FREEZE, kFirst, 16383).ok());
  Restart();
  EXPECT_EQ(Client({"GET", kHigh}), "high");
  EXPECT_THAT(Ask(Led(1), {"SET", kHigh, "x"}), StartsWith("TRYAGAIN"));
  ASSERT_EQ(Copy(Led(1)), ipb::TASK_SUCCESS);
  Restart();
  EXPECT_TRUE(RangeOf(2).incoming().complete());
  ASSERT_TRUE(Change(1, RangeChange::RELEASE).ok());
  Restart();
  // By its record the region has the slot: the log knows better.
  EXPECT_THAT(Ask(Led(1), {"GET", kHigh}), testing::AnyOf(StartsWith("TRYAGAIN"), StartsWith("MOVED")));
  EXPECT_EQ(Client({"GET", kLow}), "low");
  ASSERT_TRUE(Change(2, RangeChange::OPEN).ok());
  Restart();
  EXPECT_EQ(Client({"GET", kHigh}), "high");
  EXPECT_GT(std::stoi(Client({"TTL", kHigh})), 900);
  Publish();
  Restart();
  EXPECT_EQ(Client({"GET", kHigh}), "high");
  EXPECT_EQ(Client({"SET", kHigh, "x"}), "OK");
}

// A replica that has heard nothing of the split goes by the records at most; and it answers nothing that is
// not so.
TEST_F(RangesTest, AReplicaThatWasAwaySendsClientsOn) {
  Start();
  const int one = Led(1);
  const int away = one == 3 ? 2 : 3;
  at(away).Crash();
  ASSERT_TRUE(AdvanceUntilLed(2));
  ASSERT_TRUE(Change(1, RangeChange::FREEZE, kFirst, 16383).ok());
  ASSERT_EQ(Copy(one), ipb::TASK_SUCCESS);
  ASSERT_TRUE(Change(1, RangeChange::RELEASE).ok());
  ASSERT_TRUE(Change(2, RangeChange::OPEN).ok());
  Publish();
  EXPECT_EQ(Client({"SET", kHigh, "new"}), "OK");
  at(away).Start();
  for (int i = 0; i < 100; ++i) {
    const std::string answer = Ask(away, {"GET", kHigh}, ReadMode::kReplica);
    EXPECT_THAT(answer, testing::AnyOf("new", StartsWith("MOVED"), StartsWith("CLUSTERDOWN"),
                                       StartsWith("TRYAGAIN")));
    if (answer == "new") return;
    executor_.Advance(50ms);
  }
  ADD_FAILURE() << "it never caught up";
}

TEST_F(RangesTest, ReadsUnderWayDoNotSurviveTheRelease) {
  Start();
  ASSERT_TRUE(Change(1, RangeChange::FREEZE, kFirst, 16383).ok());
  const int one = Led(1);
  ASSERT_EQ(Copy(one), ipb::TASK_SUCCESS);
  ipb::ChangeRangeRequest request = Request(1);
  request.mutable_change()->set_op(RangeChange::RELEASE);
  request.mutable_change()->set_procedure(kProcedure);
  request.mutable_change()->set_if_version(RangeOf(1).version());
  // In one turn: the release is proposed, and a read asked for.
  bool released = false;
  fabric_.services.at(at(one).address())
      .at("tenure.internal.v1.NodeInternal")
      ->OnCall({.method = "ChangeRange", .peer = "test", .deadline = executor_.Now() + 5s},
               request.SerializeAsString(),
               [&released](StatusOr<std::string> bytes) { released = bytes.ok(); });
  auto read = Submit(one, {"GET", kHigh});
  executor_.Advance(1s);
  EXPECT_TRUE(released);
  ASSERT_TRUE(read->has_value());
  // It was answered before the release was, or not at all.
  EXPECT_THAT(Text(**read), testing::AnyOf("high", StartsWith("TRYAGAIN"), StartsWith("MOVED")));
  EXPECT_THAT(Ask(one, {"GET", kHigh}), testing::AnyOf(StartsWith("TRYAGAIN"), StartsWith("MOVED")));
}

// A client that watches a key, and one in the middle of a SCAN, while the slots go from one region to the
// other.
TEST_F(RangesTest, TransactionsWatchesAndScansGoOn) {
  Start();
  std::set<std::string> expected{kLow, kHigh};
  for (int i = 0; i < 60; ++i) {
    const std::string key = fmt::format("more{}", i);
    ASSERT_EQ(Client({"SET", key, "v"}), "OK");
    expected.insert(key);
  }
  const int one = Led(1);
  std::optional<Outcome> outcome;
  const auto take = [&outcome](Outcome result) { outcome = std::move(result); };
  const auto done = [&] {
    for (int i = 0; i < 500 && !outcome; ++i) executor_.Advance(10ms);
    EXPECT_TRUE(outcome.has_value()) << "no answer";
    return Text(*std::exchange(outcome, std::nullopt));
  };
  const uint16_t slot = SlotOfKey(kHigh);
  at(one).node().VersionOf(kDatabase, slot, kHigh, take);
  const uint64_t version = std::stoull(done());
  const auto transaction = [&](int node) {
    at(node).node().ExecuteTransaction(kDatabase, slot, {{"GET", kHigh}, {"SET", kHigh, "new"}},
                                       {{kHigh, version}}, take);
    return done();
  };
  std::set<std::string> found;
  uint64_t cursor = 0;
  const auto scan = [&] {
    at(one).node().Scan(kDatabase, cursor, 5, std::nullopt, std::nullopt, take);
    for (int i = 0; i < 500 && !outcome; ++i) executor_.Advance(10ms);
    const auto& reply = std::get<store::Reply>(*outcome);
    cursor = std::stoull(reply.elements[0].text);
    for (const auto& key : reply.elements[1].elements) found.insert(key.text);
    outcome.reset();
  };
  for (int i = 0; i < 3; ++i) scan();

  ASSERT_TRUE(Change(1, RangeChange::FREEZE, kFirst, 16383).ok());
  EXPECT_THAT(transaction(one), StartsWith("TRYAGAIN"));
  scan();
  ASSERT_EQ(Copy(one), ipb::TASK_SUCCESS);
  ASSERT_TRUE(Change(1, RangeChange::RELEASE).ok());
  EXPECT_THAT(transaction(one), testing::AnyOf(StartsWith("TRYAGAIN"), StartsWith("MOVED")));
  ASSERT_TRUE(Change(2, RangeChange::OPEN).ok());
  Publish();
  // Both on one node, so that its SCAN sees all of them.
  for (int i = 0; i < 100 && (LeaderOf(1) != one || LeaderOf(2) != one); ++i) {
    at(one).node().TakeLeaderships(kDatabase, [](const Outcome&) {});
    executor_.Advance(200ms);
  }
  ASSERT_EQ(Led(2), one);
  ASSERT_EQ(Led(1), one);
  for (int i = 0; i < 200 && cursor != 0; ++i) scan();
  EXPECT_EQ(cursor, 0u);
  EXPECT_EQ(found, expected);
  EXPECT_EQ(at(one).node().KeyCount(kDatabase), expected.size());

  EXPECT_EQ(transaction(one), "[high OK]") << "nothing has changed the key";
  EXPECT_EQ(transaction(one), "(null)") << "now something has";
  EXPECT_EQ(Client({"GET", kHigh}), "new");
}

// What a machine tells its readers is what its state says, be it that of a snapshot.
TEST(RegionStateMachineTest, TheRangeComesWithTheState) {
  std::optional<store::RegionRange> told;
  const auto machine = [&told] {
    return RegionStateMachine(
        RegionId(1), store::SlotRange{0, 16383}, [&told](const store::RegionRange& range) { told = range; },
        [](const store::ChangeLogState&) {});
  };
  const auto apply = [](RegionStateMachine& to, uint64_t index, store::RangeCommand change, kv::View& state) {
    store::WriteCommand command;
    command.kind = store::WriteCommand::Kind::kRange;
    change.procedure = kProcedure;
    change.epoch = 1;
    command.range = change;
    std::string bytes;
    store::EncodeWriteCommand(command, bytes);
    to.Apply({.index = LogIndex(index), .term = Term(1)}, bytes, state);
  };
  store::MapView state;
  RegionStateMachine first = machine();
  first.Reset(state, LogIndex());
  EXPECT_EQ(told->slots, (store::SlotRange{0, 16383}));
  told.reset();
  apply(first, 1, {.op = store::RangeCommand::Op::kFreeze, .slots = {kFirst, 16383}}, state);
  EXPECT_FALSE(told) << "readers do not see the batch yet";
  first.OnBatchWritten(LogIndex(1));
  EXPECT_TRUE(told->IsFrozen(kFirst));
  apply(first, 2, {.op = store::RangeCommand::Op::kRelease, .if_version = 1}, state);
  first.OnBatchWritten(LogIndex(2));
  const store::RegionRange released = *told;
  EXPECT_EQ(released.slots, (store::SlotRange{0, kFirst - 1}));

  // A replica that lagged gets the state of the first one as a snapshot.
  store::MapView empty;
  RegionStateMachine second = machine();
  second.Reset(empty, LogIndex());
  EXPECT_TRUE(told->Serves(kFirst));
  second.Reset(state, LogIndex(2));
  EXPECT_EQ(*told, released);
}

TEST_F(RangesTest, WhoMayAsk) {
  Start();
  ipb::ChangeRangeRequest request = Request(1);
  const int one = Led(1);
  EXPECT_TRUE(AskAt(one, request).status.ok());
  EXPECT_THAT(std::string(MessageOf(AskAt(1 + one % 3, request).status)), HasSubstr("is not led here"));
  request.mutable_change()->set_op(RangeChange::END);
  EXPECT_THAT(std::string(MessageOf(AskAt(one, request).status)),
              HasSubstr("not a valid ChangeRangeRequest"));
  request.mutable_change()->set_procedure(kProcedure);
  request.set_leader_epoch(0);
  EXPECT_THAT(std::string(MessageOf(AskAt(one, request).status)), HasSubstr("leader_epoch 0"));
  request.set_cluster_id("other");
  EXPECT_THAT(std::string(MessageOf(AskAt(one, request).status)), HasSubstr("cluster_id other"));
}

}  // namespace
}  // namespace tenure::node
