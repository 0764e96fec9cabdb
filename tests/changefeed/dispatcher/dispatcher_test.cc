// Dispatchers against a change log and sinks in memory: what is delivered, in which order, and what is said
// about it, through failures, moves and schema changes.
#include <gmock/gmock.h>

#include "changefeed/dispatcher/span_dispatchers.h"
#include "store/row_state.h"
#include "tests/changefeed/dispatcher/fake_change_source.h"
#include "tests/changefeed/dispatcher/fake_sink.h"
#include "tests/runtime/manual_executor.h"

namespace tenure::changefeed {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const RegionId kRegion{7};

class DispatcherTest : public testing::Test {
 protected:
  DispatcherTest() {
    schemas_.versions[1] = {.schema = {.name = "orders",
                                       .version = 1,
                                       .columns = {{.id = 1, .name = "qty", .type = ColumnType::kInt64},
                                                   {.id = 2, .name = "note", .fallback = "none"}}}};
  }
  ~DispatcherTest() override {
    dispatcher_.reset();
    bool joined = false;
    factory_.Join([&joined] { joined = true; });
    executor_.Drain();
    EXPECT_TRUE(joined);
  }

  DispatcherSpec Spec(uint64_t start = 0) {
    DispatcherSpec spec{.changefeed = ChangefeedId(3),
                        .changefeed_name = "feed",
                        .database = "shop",
                        .span = SpanId(5),
                        .sequence = ScheduleSequence(9),
                        .epoch = OwnerEpoch(2),
                        .key = {.table = 1, .generation = {kRegion, 4}},
                        .start = CommitTs(start)};
    spec.address.protocol = Protocol::kCsv;
    return spec;
  }
  void Make(DispatcherSpec spec) {
    dispatcher_.reset();
    dispatcher_ = factory_.Make(std::move(spec), [this] { return permitted_; });
    Run();
  }
  void Run(Duration time = milliseconds(20)) { executor_.Advance(time); }
  static std::string RowOf(const std::string& qty) {
    store::Row row{.exists = true, .stored = true, .version = 1};
    row.Set(1, qty);
    return store::EncodeRow(row);
  }
  static LoggedChange Put(uint64_t ts, const std::string& key, const std::string& qty, uint64_t version = 1) {
    return {.index = LogIndex(ts),
            .commit_ts = CommitTs(ts),
            .table = 1,
            .schema_version = version,
            .key = key,
            .new_value = RowOf(qty)};
  }
  static LoggedChange Schema(uint64_t ts, uint64_t version) {
    return {.kind = LoggedChange::Kind::kSchema,
            .index = LogIndex(ts),
            .commit_ts = CommitTs(ts),
            .table = 1,
            .schema_version = version};
  }
  void AddVersion2(uint64_t since) {
    schemas_.versions[2] = {.schema = {.name = "sales",
                                       .version = 2,
                                       .columns = {{.id = 1, .name = "qty", .type = ColumnType::kInt64}}},
                            .since = CommitTs(since)};
  }
  static SchemaChange Change2(uint64_t at) {
    return {.at = CommitTs(at), .table = 1, .schema_version = 2, .statement = "alter"};
  }
  std::unique_ptr<Sink> MakeSink(const SinkIdentity& identity, SinkObserver& observer, WritePermit permit) {
    world_.made.push_back(identity);
    return std::make_unique<FakeSink>(executor_, world_, observer, std::move(permit));
  }
  uint64_t flushed() const { return dispatcher_->report().flushed.value(); }

  runtime::ManualExecutor executor_;
  FakeChangeSource source_{executor_};
  FakeSchemas schemas_;
  FakeSinkWorld world_;
  bool permitted_ = true;
  DispatcherParts Parts() {
    return {
        .executor = executor_,
        .source = source_,
        .schemas = schemas_,
        .make_sink = [this](const SinkAddress&, const SinkIdentity& identity, SinkObserver& observer,
                            WritePermit permit) { return MakeSink(identity, observer, std::move(permit)); },
        .options = {.read_bytes = 200, .resolved_interval = Duration::zero()}};
  }
  SpanDispatchers factory_{Parts()};
  std::unique_ptr<Dispatcher> dispatcher_;
};

TEST_F(DispatcherTest, DeliversChangesAndSaysHowFarItIs) {
  Make(Spec());
  EXPECT_EQ(world_.made.at(0).dispatcher, "t1-r7-v4");
  EXPECT_EQ(flushed(), 0u);
  source_.Append(kRegion, Put(5, "a", "1"));
  LoggedChange removal{.kind = LoggedChange::Kind::kDelete,
                       .index = LogIndex(6),
                       .ordinal = 2,
                       .commit_ts = CommitTs(6),
                       .table = 1,
                       .key = "a",
                       .old_value = RowOf("1")};
  source_.Append(kRegion, removal);
  source_.Resolve(kRegion, CommitTs(9));
  Run();
  EXPECT_THAT(world_.Values(), ElementsAre("put,5,7,5,a,1,none", "delete,6,7,6.2,a,1,none"));
  EXPECT_EQ(world_.delivered[1].id, "7-6.2");
  EXPECT_EQ(flushed(), 9u);
  EXPECT_EQ(dispatcher_->resolved(), CommitTs(9));
  EXPECT_EQ(dispatcher_->report().sequence, ScheduleSequence(9));
  Run(seconds(2));
  EXPECT_EQ(dispatcher_->rows_per_second(), 0u);
}

TEST_F(DispatcherTest, NothingCountsBeforeTheSinkHasIt) {
  world_.holds = true;
  Make(Spec());
  for (uint64_t ts = 1; ts <= 5; ++ts) source_.Append(kRegion, Put(ts, "a", "1"));
  source_.Resolve(kRegion, CommitTs(50));
  Run();
  EXPECT_EQ(flushed(), 0u);
  EXPECT_EQ(dispatcher_->resolved(), CommitTs(50));
  world_.holds = false;
  Run();
  EXPECT_EQ(flushed(), 50u);
}

TEST_F(DispatcherTest, SaysHowManyRowsItIsBehindWhateverBecomesOfItsSinks) {
  world_.max_buffered = 100;
  Make(Spec());
  EXPECT_EQ(dispatcher_->rows_behind(), 0u);
  world_.holds = true;
  for (uint64_t ts = 1; ts <= 40; ++ts) source_.Append(kRegion, Put(ts, ts % 2 == 0 ? "a" : "b", "1"));
  Run();
  EXPECT_EQ(dispatcher_->rows_behind(), 40u) << "read or not";
  // Another table's rows lie in the same log.
  for (uint64_t ts = 41; ts <= 80; ++ts) {
    LoggedChange other = Put(ts, "c", "1");
    other.table = 2;
    source_.Append(kRegion, other);
  }
  world_.fails = FeedError{.code = FeedErrorCode::kSinkUnavailable, .message = "gone"};
  world_.holds = false;
  executor_.Advance(milliseconds(2));
  world_.holds = true;
  EXPECT_EQ(dispatcher_->rows_behind(), 80u) << "by what it has seen so far";
  Run(seconds(5));
  world_.holds = false;
  Run(seconds(5));
  EXPECT_EQ(world_.Values().size(), 40u);
  EXPECT_EQ(dispatcher_->rows_behind(), 0u);
  world_.holds = true;
  source_.Append(kRegion, Put(81, "a", "1"));
  source_.Append(kRegion, Put(82, "a", "1"));
  Run();
  EXPECT_GE(dispatcher_->rows_behind(), 1u);
  EXPECT_LE(dispatcher_->rows_behind(), 2u);
}

TEST_F(DispatcherTest, MemoryIsBoundedByASlowSink) {
  world_.holds = true;
  world_.max_buffered = 1000;
  Make(Spec());
  for (uint64_t ts = 1; ts <= 500; ++ts) source_.Append(kRegion, Put(ts, "a", std::to_string(ts)));
  Run();
  EXPECT_LE(world_.most_buffered, 1000u);
  EXPECT_LT(dispatcher_->resolved(), CommitTs(100));
  world_.holds = false;
  Run(seconds(5));
  EXPECT_EQ(world_.Values().size(), 500u);
  EXPECT_EQ(flushed(), 500u);
  EXPECT_LE(world_.most_buffered, 1000u);
}

TEST_F(DispatcherTest, GoesOnFromWhatWasFlushedAfterASinkHasFailed) {
  Make(Spec());
  source_.Append(kRegion, Put(5, "a", "1"));
  Run();
  world_.fails = FeedError{.code = FeedErrorCode::kSinkUnavailable, .message = "connection refused"};
  source_.Append(kRegion, Put(6, "b", "2"));
  Run();
  EXPECT_EQ(dispatcher_->report().error->message, "connection refused");
  EXPECT_FALSE(dispatcher_->report().ended);
  EXPECT_EQ(flushed(), 5u);
  source_.Append(kRegion, Put(7, "b", "3"));
  Run(seconds(1));
  EXPECT_EQ(flushed(), 7u);
  EXPECT_FALSE(dispatcher_->report().error.has_value());
  EXPECT_THAT(world_.Values(), ElementsAre("put,5,7,5,a,1,none", "put,6,7,6,b,2,none", "put,7,7,7,b,3,none"));
  EXPECT_EQ(world_.made.size(), 2u);
}

TEST_F(DispatcherTest, TriesSinksThatDoNotOpenAgainAndLessOften) {
  world_.refuses = true;
  Make(Spec());
  Run(seconds(60));
  EXPECT_EQ(dispatcher_->report().error->code, FeedErrorCode::kSinkUnavailable);
  EXPECT_GT(world_.made.size(), 5u);
  EXPECT_LT(world_.made.size(), 15u);
  world_.refuses = false;
  source_.Append(kRegion, Put(5, "a", "1"));
  Run(seconds(11));
  EXPECT_EQ(flushed(), 5u);
}

TEST_F(DispatcherTest, WhatCannotHealEndsIt) {
  Make(Spec());
  world_.fails = FeedError{.code = FeedErrorCode::kUnknownTopic, .message = "no topic"};
  source_.Append(kRegion, Put(6, "b", "2"));
  Run(seconds(10));
  EXPECT_TRUE(dispatcher_->report().ended);
  EXPECT_EQ(world_.made.size(), 1u);
}

TEST_F(DispatcherTest, HistoryThatIsGoneEndsItWithThatError) {
  source_.SetBegin(kRegion, CommitTs(4));
  Make(Spec(3));
  EXPECT_TRUE(dispatcher_->report().ended);
  EXPECT_EQ(dispatcher_->report().error->code, FeedErrorCode::kHistoryGone);
}

TEST_F(DispatcherTest, ALostLeadershipEndsItWithoutAnError) {
  Make(Spec());
  source_.Append(kRegion, Put(5, "a", "1"));
  Run();
  source_.SetLeads(kRegion, false);
  Run(seconds(1));
  EXPECT_FALSE(dispatcher_->report().ended);
  source_.SetLeads(kRegion, true);
  source_.Append(kRegion, Put(6, "a", "2"));
  Run(seconds(1));
  EXPECT_EQ(flushed(), 6u);
  source_.SetLeads(kRegion, false);
  Run(seconds(5));
  EXPECT_TRUE(dispatcher_->report().ended);
  EXPECT_FALSE(dispatcher_->report().error.has_value());
  EXPECT_EQ(flushed(), 6u);
}

TEST_F(DispatcherTest, NothingGoesOutWithoutAPermitOrAfterStop) {
  Make(Spec());
  world_.holds = true;
  source_.Append(kRegion, Put(5, "a", "1"));
  Run();
  permitted_ = false;
  world_.holds = false;
  Run(seconds(2));
  EXPECT_TRUE(world_.Values().empty());
  EXPECT_EQ(flushed(), 0u);
  permitted_ = true;
  world_.holds = true;
  Run(seconds(20));
  dispatcher_->Stop();
  world_.holds = false;
  Run(seconds(20));
  EXPECT_TRUE(world_.Values().empty());
  EXPECT_EQ(flushed(), 0u);
  dispatcher_->Stop();
}

TEST_F(DispatcherTest, StopsAtTheEndOfItsGeneration) {
  Make(Spec());
  source_.Append(kRegion, Put(5, "a", "1"));
  source_.EndRange(kRegion, CommitTs(6));
  source_.Append(kRegion, Put(7, "a", "2"));
  Run(seconds(1));
  EXPECT_EQ(flushed(), 6u);
  EXPECT_EQ(world_.finished, 1) << "files are closed there";
  EXPECT_EQ(world_.Values().size(), 1u);
  EXPECT_FALSE(dispatcher_->report().ended);
}

TEST_F(DispatcherTest, DeliversUpToItsEndAndNotFurther) {
  DispatcherSpec spec = Spec();
  spec.end = CommitTs(6);
  Make(std::move(spec));
  for (uint64_t ts = 5; ts <= 8; ++ts) source_.Append(kRegion, Put(ts, "a", "1"));
  Run(seconds(1));
  EXPECT_EQ(world_.Values().size(), 2u);
  EXPECT_EQ(flushed(), 6u);
}

TEST_F(DispatcherTest, OnlyPlainKeysThatAreFollowed) {
  DispatcherSpec spec = Spec();
  spec.key.table = 0;
  spec.filter = *Filter::Parse("prefix:a");
  spec.address.protocol = Protocol::kJson;
  Make(std::move(spec));
  const auto key = [](uint64_t ts, const std::string& name) {
    return LoggedChange{.index = LogIndex(ts), .commit_ts = CommitTs(ts), .key = name, .new_value = "value"};
  };
  source_.Append(kRegion, key(5, "abc"));
  source_.Append(kRegion, key(6, "b"));
  LoggedChange hash = key(7, "ah");
  hash.new_value.reset();
  hash.fields = {{"f", "1"}, {"g", std::nullopt}};
  source_.Append(kRegion, hash);
  Run();
  ASSERT_EQ(world_.Values().size(), 2u);
  EXPECT_THAT(world_.Values()[0], HasSubstr(R"("key":"abc")"));
  EXPECT_THAT(world_.Values()[1], HasSubstr(R"("fields":[{"field":"f","value":"1"},{"field":"g"}])"));
  EXPECT_EQ(flushed(), 7u);
}

TEST_F(DispatcherTest, WhatTheProtocolCannotSayEndsIt) {
  DispatcherSpec spec = Spec();
  spec.key.table = 0;
  spec.filter = *Filter::Parse("prefix:");
  Make(std::move(spec));
  source_.Append(kRegion, {.index = LogIndex(5), .commit_ts = CommitTs(5), .key = "k", .new_value = "v"});
  Run();
  EXPECT_TRUE(dispatcher_->report().ended);
  EXPECT_EQ(dispatcher_->report().error->code, FeedErrorCode::kIncompatibleProtocol);
}

TEST_F(DispatcherTest, RowsOfTheSnapshotComeFirstAndThenTheChangesWithoutAGap) {
  std::vector<LoggedChange> rows;
  for (int i = 0; i < 20; ++i) rows.push_back(Put(1, "k" + std::to_string(i), std::to_string(i)));
  source_.SetRows(kRegion, rows);
  source_.Append(kRegion, Put(4, "old", "1"));
  source_.Append(kRegion, Put(6, "k1", "2"));
  DispatcherSpec spec = Spec(5);
  spec.initial_snapshot = true;
  world_.holds = true;
  Make(std::move(spec));
  EXPECT_EQ(flushed(), 5u);
  // It fails in the middle: the snapshot begins anew.
  world_.fails = FeedError{.code = FeedErrorCode::kSinkUnavailable};
  world_.holds = false;
  Run(seconds(2));
  const auto values = world_.Values();
  ASSERT_EQ(values.size(), 21u);
  for (size_t i = 0; i < 20; ++i) EXPECT_EQ(values[i].rfind("snapshot,5,", 0), 0u) << values[i];
  EXPECT_EQ(values[20], "put,6,7,6,k1,2,none");
  EXPECT_EQ(flushed(), 6u);
  EXPECT_EQ(dispatcher_->report().snapshot_rows, 20u);
  // Not after it was delivered.
  world_.fails = FeedError{.code = FeedErrorCode::kSinkUnavailable};
  source_.Append(kRegion, Put(8, "k1", "3"));
  Run(seconds(3));
  EXPECT_EQ(world_.Values().size(), 22u);
}

// A writer of before that was stopped for a while may have come to the sink after this one.
TEST_F(DispatcherTest, BeingFencedOnceIsNoEnd) {
  Make(Spec());
  const FeedError fenced{.code = FeedErrorCode::kFencedBySink, .message = "fenced"};
  for (uint64_t ts = 5; ts < 8; ++ts) {
    world_.fails = fenced;
    source_.Append(kRegion, Put(ts, "a", "1"));
    Run(seconds(1));
    EXPECT_FALSE(dispatcher_->report().ended) << ts;
    EXPECT_EQ(flushed(), ts);
  }
  world_.fails = fenced;
  source_.Append(kRegion, Put(9, "a", "1"));
  Run(milliseconds(100));
  world_.fails = fenced;
  Run(seconds(1));
  EXPECT_TRUE(dispatcher_->report().ended) << "somebody else writes";
  EXPECT_EQ(dispatcher_->report().error->code, FeedErrorCode::kFencedBySink);
}

// Behind a refused message others may be there: the next writer must not have them taken for repetitions.
TEST_F(DispatcherTest, ASinkHearsThatOneBeforeItWasRefused) {
  Make(Spec());
  using Code = FeedErrorCode;
  for (const FeedErrorCode code : {Code::kSinkUnavailable, Code::kSinkRejected, Code::kSinkUnavailable}) {
    world_.fails = FeedError{.code = code, .message = "for once"};
    source_.Append(kRegion, Put(flushed() + 5, "a", "1"));
    Run(seconds(2));
  }
  std::vector<uint32_t> refused;
  for (const SinkIdentity& identity : world_.made) refused.push_back(identity.refused);
  EXPECT_THAT(refused, testing::ElementsAre(0, 0, 1, 1));
}

// ---- schema changes ----

TEST_F(DispatcherTest, StandsAtASchemaChangeUntilItHasPassed) {
  AddVersion2(12);
  Make(Spec());
  source_.Append(kRegion, Put(5, "a", "1"));
  source_.Append(kRegion, Schema(6, 2));
  source_.Append(kRegion, Put(7, "a", "2", 2));
  source_.Resolve(kRegion, CommitTs(20));
  world_.holds = true;
  Run(seconds(1));
  EXPECT_TRUE(dispatcher_->report().at_barrier.IsNone());
  world_.holds = false;
  Run(seconds(1));
  EXPECT_EQ(dispatcher_->report().at_barrier, CommitTs(12));
  EXPECT_EQ(flushed(), 5u) << "who goes on from here has to read the entry again";
  EXPECT_EQ(world_.Values().size(), 1u);
  dispatcher_->Write(Change2(12));
  Run();
  EXPECT_EQ(dispatcher_->report().wrote_barrier, CommitTs(12));
  EXPECT_EQ(dispatcher_->report().at_barrier, CommitTs(12));
  EXPECT_EQ(world_.Values().back(), "#schema,12,2,alter");
  EXPECT_EQ(world_.delivered.back().table, "sales");
  dispatcher_->Pass(CommitTs(12));
  Run();
  EXPECT_TRUE(dispatcher_->report().at_barrier.IsNone());
  EXPECT_EQ(world_.Values().back(), "put,7,7,7,a,2");
  EXPECT_EQ(flushed(), 20u);
}

TEST_F(DispatcherTest, WaitsUntilItIsKnownWhenTheChangeIs) {
  Make(Spec());
  source_.Append(kRegion, Schema(6, 2));
  source_.Append(kRegion, Put(7, "a", "2", 2));
  Run(seconds(10));
  EXPECT_TRUE(world_.Values().empty());
  EXPECT_THAT(dispatcher_->report().error->message, HasSubstr("when version 2"));
  AddVersion2(12);
  Run(milliseconds(100));
  EXPECT_EQ(dispatcher_->report().at_barrier, CommitTs(12));
  dispatcher_->Pass(CommitTs(12));
  Run();
  EXPECT_EQ(world_.Values().size(), 1u);
  EXPECT_FALSE(dispatcher_->report().error.has_value());
}

TEST_F(DispatcherTest, OneThatBeginsBehindTheEntryStandsBeforeRowsOfTheNewSchema) {
  AddVersion2(12);
  Make(Spec(6));
  dispatcher_->Hold(Change2(12));
  source_.Append(kRegion, Put(7, "a", "2", 2));
  Run();
  EXPECT_EQ(dispatcher_->report().at_barrier, CommitTs(12));
  EXPECT_TRUE(world_.Values().empty());
  // Without rows it stands there when the region is that far.
  Make(Spec(8));
  dispatcher_->Hold(Change2(12));
  source_.Resolve(kRegion, CommitTs(11));
  Run();
  EXPECT_TRUE(dispatcher_->report().at_barrier.IsNone());
  source_.Resolve(kRegion, CommitTs(12));
  Run();
  EXPECT_EQ(dispatcher_->report().at_barrier, CommitTs(12));
  dispatcher_->CheckpointAdvanced(CommitTs(12));
  Run();
  EXPECT_TRUE(dispatcher_->report().at_barrier.IsNone());
}

TEST_F(DispatcherTest, OneThatIsMadeAnewStandsAtTheSameSchemaChange) {
  AddVersion2(12);
  Make(Spec());
  source_.Append(kRegion, Put(5, "a", "1"));
  source_.Append(kRegion, Schema(6, 2));
  source_.Append(kRegion, Put(7, "a", "2", 2));
  source_.Resolve(kRegion, CommitTs(20));
  Run();
  ASSERT_EQ(dispatcher_->report().at_barrier, CommitTs(12));
  Make(Spec(flushed()));  // nobody tells it of the change
  Run(seconds(1));
  EXPECT_EQ(dispatcher_->report().at_barrier, CommitTs(12));
  EXPECT_EQ(world_.Values().size(), 1u);
}

TEST_F(DispatcherTest, ARowStandsAtTheChangeToItsVersionWhereverTheEntryIs) {
  AddVersion2(12);
  Make(Spec(6));
  source_.Append(kRegion, Put(7, "a", "2", 2));
  Run(seconds(1));
  EXPECT_EQ(dispatcher_->report().at_barrier, CommitTs(12));
  EXPECT_TRUE(world_.Values().empty());
}

TEST_F(DispatcherTest, GoesBackToAnEarlierSchemaChange) {
  schemas_.versions[3] = {.schema = {.name = "sales", .version = 3}, .since = CommitTs(15)};
  Make(Spec(6));
  source_.Append(kRegion, Schema(8, 3));
  Run();
  ASSERT_EQ(dispatcher_->report().at_barrier, CommitTs(15));
  dispatcher_->Hold(Change2(12));
  Run();
  EXPECT_EQ(dispatcher_->report().at_barrier, CommitTs(12));
  dispatcher_->Pass(CommitTs(12));
  Run();
  EXPECT_EQ(dispatcher_->report().at_barrier, CommitTs(15));
}

TEST_F(DispatcherTest, WhatWasReadOfSchemaChangesDoesNotHoldTheRowsBeforeThem) {
  AddVersion2(12);
  Make(Spec());
  world_.holds = true;
  source_.Append(kRegion, Put(5, "a", "1"));
  source_.Append(kRegion, Schema(6, 2));
  Run();
  world_.fails = FeedError{.code = FeedErrorCode::kSinkUnavailable};
  world_.holds = false;
  Run(seconds(2));
  EXPECT_THAT(world_.Values(), ElementsAre("put,5,7,5,a,1,none"));
  EXPECT_EQ(flushed(), 5u);
  EXPECT_EQ(dispatcher_->report().at_barrier, CommitTs(12));
}

TEST_F(DispatcherTest, ASinkThatFailsAtASchemaChangeDoesNotLetItPass) {
  AddVersion2(12);
  Make(Spec());
  source_.Append(kRegion, Schema(6, 2));
  source_.Append(kRegion, Put(7, "a", "2", 2));
  Run();
  ASSERT_EQ(dispatcher_->report().at_barrier, CommitTs(12));
  world_.fails = FeedError{.code = FeedErrorCode::kSinkUnavailable};
  dispatcher_->Write(Change2(12));
  Run();
  EXPECT_TRUE(dispatcher_->report().at_barrier.IsNone());
  EXPECT_TRUE(dispatcher_->report().wrote_barrier.IsNone());
  Run(seconds(1));
  // The new sink gets it, still before the row.
  EXPECT_EQ(dispatcher_->report().wrote_barrier, CommitTs(12));
  EXPECT_THAT(world_.Values(), ElementsAre("#schema,12,2,alter"));
  dispatcher_->Pass(CommitTs(12));
  Run();
  EXPECT_THAT(world_.Values(), ElementsAre("#schema,12,2,alter", "put,7,7,7,a,2"));
}

TEST_F(DispatcherTest, TheDropOfATableIsItsLastChange) {
  schemas_.dropped = CommitTs(9);
  DispatcherSpec spec = Spec();
  spec.end = CommitTs(9);
  Make(std::move(spec));
  source_.Append(kRegion, Put(5, "a", "1"));
  source_.Append(kRegion, Schema(6, 0));
  source_.Resolve(kRegion, CommitTs(20));
  Run();
  EXPECT_EQ(dispatcher_->report().at_barrier, CommitTs(9));
  dispatcher_->Write({.at = CommitTs(9), .table = 1, .statement = "drop"});
  dispatcher_->Pass(CommitTs(9));
  Run();
  EXPECT_EQ(flushed(), 9u);
}

TEST_F(DispatcherTest, ResolvedTimestampsStandInTheStream) {
  DispatcherParts parts = Parts();
  parts.options.resolved_interval = seconds(1);
  SpanDispatchers factory(parts);
  auto dispatcher = factory.Make(Spec(), [] { return true; });
  for (uint64_t ts = 1; ts <= 40; ++ts) {
    source_.Resolve(kRegion, CommitTs(ts));
    Run(milliseconds(100));
  }
  EXPECT_EQ(world_.delivered.size(), 0u) << "others may have more to deliver";
  for (uint64_t ts = 41; ts <= 80; ++ts) {
    dispatcher->CheckpointAdvanced(CommitTs(ts - 35));
    source_.Resolve(kRegion, CommitTs(ts));
    Run(milliseconds(100));
  }
  EXPECT_GE(world_.delivered.size(), 3u);
  EXPECT_LE(world_.delivered.size(), 5u);
  for (const auto& message : world_.delivered) {
    ASSERT_EQ(message.value.rfind("#resolved,", 0), 0u);
    EXPECT_LE(std::stoul(message.value.substr(10)), 45u);
  }
  dispatcher.reset();
  executor_.Drain();
}

}  // namespace
}  // namespace tenure::changefeed
