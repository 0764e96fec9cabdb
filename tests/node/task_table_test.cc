// Which submits a node takes, by every combination of what decides it, and what becomes of tasks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/format.h"
#include "node/tasks/task_table.h"

namespace tenure::node {
namespace {

namespace ipb = ::tenure::internal::v1;
using ::testing::HasSubstr;

constexpr uint64_t kRegistration = 7;

ipb::TaskKey ProtoKey(const TaskKey& key) {
  ipb::TaskKey proto;
  proto.set_procedure(key.procedure);
  proto.set_step(key.step);
  proto.set_attempt(key.attempt);
  return proto;
}

ipb::TaskPayload Creation(uint64_t region, int items = 1) {
  ipb::TaskPayload payload;
  payload.mutable_create_replicas();
  for (int i = 0; i < items; ++i) {
    auto& item = *payload.mutable_create_replicas()->add_items();
    item.set_region(region + static_cast<uint64_t>(i));
    item.set_replica(1);
  }
  return payload;
}

struct SubmitOf {
  TaskKey key{.procedure = 1, .step = "make", .attempt = 1};
  uint64_t sequence = 1;
  uint64_t registration = kRegistration;
  uint64_t revision = 0;
  ipb::TaskPayload payload = Creation(5);
};

const TaskKey kKey = SubmitOf().key;

class TaskTableTest : public ::testing::Test {
 protected:
  TaskTableTest() { table_.StartOver(kRegistration); }

  ipb::HeartbeatResponse Answer(uint64_t epoch) {
    ipb::HeartbeatResponse answer;
    answer.set_leader_epoch(epoch);
    return answer;
  }
  static void Add(ipb::HeartbeatResponse& answer, const SubmitOf& submit) {
    ipb::TaskSubmit& task = *answer.add_tasks();
    *task.mutable_key() = ProtoKey(submit.key);
    task.set_sequence(submit.sequence);
    task.set_registration_epoch(submit.registration);
    task.set_revision(submit.revision);
    *task.mutable_payload() = submit.payload;
  }
  static void AddForget(ipb::HeartbeatResponse& answer, const TaskKey& key, uint64_t sequence) {
    ipb::TaskForget& forget = *answer.add_forget_tasks();
    *forget.mutable_key() = ProtoKey(key);
    forget.set_sequence(sequence);
  }
  // Returns the runs that begin.
  std::vector<uint64_t> Submit(uint64_t epoch, const SubmitOf& submit) {
    ipb::HeartbeatResponse answer = Answer(epoch);
    Add(answer, submit);
    table_.OnAnswer(answer);
    return Starts();
  }
  void Forget(uint64_t epoch, const TaskKey& key, uint64_t sequence) {
    ipb::HeartbeatResponse answer = Answer(epoch);
    AddForget(answer, key, sequence);
    table_.OnAnswer(answer);
  }
  std::vector<uint64_t> Starts() {
    std::vector<uint64_t> runs;
    for (const TaskTable::Start& start : table_.TakeStarts()) runs.push_back(start.run);
    return runs;
  }
  uint64_t StartOne(uint64_t epoch = 1, const SubmitOf& submit = {}) {
    const std::vector<uint64_t> runs = Submit(epoch, submit);
    EXPECT_EQ(runs.size(), 1u);
    return runs.empty() ? 0 : runs[0];
  }
  // "1/make/1 PROCESSING 0/1 ..." per task, then the pair.
  std::string Report(bool full) {
    ipb::HeartbeatRequest request;
    table_.FillReport(full, request);
    std::string text;
    for (const ipb::TaskReport& task : request.tasks()) {
      text += fmt::format("{}/{}/{} {} {}/{}{}{}; ", task.key().procedure(), task.key().step(),
                          task.key().attempt(), ipb::TaskState_Name(task.state()).substr(5), task.done(),
                          task.total(), task.error().empty() ? "" : " ", task.error());
    }
    return text + fmt::format("({}, {})", request.task_epoch(), request.task_sequence());
  }

  TaskTable table_{Logger()};
};

// Every combination of: epoch and sequence lower, equal, higher; own or another registration; known key or
// not.
TEST_F(TaskTableTest, WhatIsTaken) {
  constexpr uint64_t kEpoch = 5;
  constexpr uint64_t kSequence = 10;
  for (const uint64_t epoch : {kEpoch - 1, kEpoch, kEpoch + 1}) {
    for (const uint64_t sequence : {uint64_t{1}, kSequence, kSequence + 1}) {
      for (const uint64_t registration : {kRegistration - 1, kRegistration, kRegistration + 1}) {
        for (const bool known : {false, true}) {
          TaskTable table{Logger()};
          table.StartOver(kRegistration);
          ipb::HeartbeatResponse before = Answer(kEpoch);
          Add(before, {.key = {.procedure = 9, .step = "other", .attempt = 1}, .sequence = 1});
          if (known) Add(before, {.sequence = 2});
          AddForget(before, {.procedure = 8, .step = "gone", .attempt = 1}, kSequence);
          table.OnAnswer(before);
          ASSERT_EQ(table.TakeStarts().size(), known ? 2u : 1u);
          ipb::HeartbeatRequest report;
          table.FillReport(true, report);

          ipb::HeartbeatResponse answer = Answer(epoch);
          Add(answer, {.sequence = sequence, .registration = registration});
          table.OnAnswer(answer);
          const bool taken =
              (epoch > kEpoch || (epoch == kEpoch && sequence > kSequence)) && registration == kRegistration;
          const std::string what = fmt::format("epoch {} sequence {} registration {} known {}", epoch,
                                               sequence, registration, known);
          EXPECT_EQ(table.TakeStarts().size(), taken && !known ? 1u : 0u) << what;
          EXPECT_EQ(table.TakeStops().size(), 0u) << what;
          report.Clear();
          table.FillReport(false, report);
          EXPECT_EQ(report.tasks_size(), taken ? 1 : 0) << what << ": a state that was asked for is told";
          EXPECT_EQ(report.task_epoch(), std::max(epoch, kEpoch)) << what;
          const uint64_t least = epoch > kEpoch ? 0 : kSequence;
          EXPECT_EQ(report.task_sequence(), taken ? sequence : least) << what;
        }
      }
    }
  }
}

TEST_F(TaskTableTest, OneLife) {
  const uint64_t run = StartOne();
  EXPECT_TRUE(table_.TakeStateChanged());
  EXPECT_EQ(Report(false), "1/make/1 PROCESSING 0/1; (1, 1)");
  EXPECT_EQ(Report(false), "(1, 1)");
  EXPECT_EQ(Report(true), "1/make/1 PROCESSING 0/1; (1, 1)");
  EXPECT_FALSE(table_.TakeStateChanged());
  table_.OnEnd(run, OkStatus());
  EXPECT_TRUE(table_.TakeStateChanged());
  EXPECT_EQ(Report(false), "1/make/1 SUCCESS 1/1; (1, 1)");
  // Kept for whoever leads next.
  EXPECT_EQ(Report(true), "1/make/1 SUCCESS 1/1; (1, 1)");
  Forget(1, kKey, 1);
  EXPECT_EQ(Report(true), "(1, 1)");
  EXPECT_TRUE(table_.TakeStops().empty());
}

TEST_F(TaskTableTest, ProgressIsReportedWithoutHaste) {
  const uint64_t run = StartOne(1, {.payload = Creation(5, 3)});
  Report(false);
  table_.TakeStateChanged();
  table_.OnProgress(run, 2);
  EXPECT_FALSE(table_.TakeStateChanged());
  EXPECT_EQ(Report(false), "1/make/1 PROCESSING 2/3; (1, 1)");
  table_.OnProgress(run, 2);
  EXPECT_EQ(Report(false), "(1, 1)");
}

TEST_F(TaskTableTest, AnEndIsFinal) {
  const uint64_t run = StartOne();
  table_.OnEnd(run, Error(StatusCode::kAborted, "region 5: no"));
  table_.OnEnd(run, OkStatus());
  table_.OnProgress(run, 1);
  EXPECT_EQ(Report(true), "1/make/1 FAIL 0/1 region 5: no; (1, 1)");
  EXPECT_TRUE(Submit(1, {.sequence = 2}).empty()) << "a known key is not begun again";
  EXPECT_EQ(Report(false), "1/make/1 FAIL 0/1 region 5: no; (1, 2)");
}

TEST_F(TaskTableTest, AnotherPayloadUnderAKnownKey) {
  // It works: it is stopped.
  const uint64_t run = StartOne();
  EXPECT_TRUE(Submit(1, {.sequence = 2, .payload = Creation(6)}).empty());
  EXPECT_EQ(table_.TakeStops(), std::vector<uint64_t>{run});
  EXPECT_THAT(Report(false), HasSubstr("1/make/1 FAIL 0/1 payload: it is not the one"));
  table_.OnEnd(run, OkStatus());
  EXPECT_THAT(Report(true), HasSubstr("FAIL"));

  // It succeeded: nobody may take that for the success of the other.
  const TaskKey second{.procedure = 2, .step = "make", .attempt = 1};
  table_.OnEnd(StartOne(1, {.key = second, .sequence = 3}), OkStatus());
  Submit(1, {.key = second, .sequence = 4, .payload = Creation(6)});
  EXPECT_THAT(Report(false), HasSubstr("2/make/1 FAIL"));
  Submit(1, {.key = second, .sequence = 5});
  EXPECT_THAT(Report(false), HasSubstr("2/make/1 FAIL")) << "a failure stays one, also for the first payload";

  // It waits for the catalog: it never begins.
  const TaskKey third{.procedure = 3, .step = "make", .attempt = 1};
  EXPECT_TRUE(Submit(1, {.key = third, .sequence = 6, .revision = 50}).empty());
  Submit(1, {.key = third, .sequence = 7, .revision = 50, .payload = Creation(6)});
  table_.OnView(Revision(50));
  EXPECT_TRUE(Starts().empty());
}

TEST_F(TaskTableTest, WaitsForTheView) {
  table_.OnView(Revision(10));
  EXPECT_TRUE(Submit(1, {.revision = 12}).empty());
  EXPECT_EQ(Report(false), "1/make/1 PROCESSING 0/1; (1, 1)");
  table_.OnView(Revision(11));
  EXPECT_TRUE(Starts().empty());
  EXPECT_TRUE(Submit(1, {.sequence = 2, .revision = 12}).empty());
  table_.OnView(Revision(12));
  EXPECT_EQ(Starts().size(), 1u);
  table_.OnView(Revision(13));
  EXPECT_TRUE(Starts().empty());
  EXPECT_EQ(
      Submit(1, {.key = {.procedure = 2, .step = "x", .attempt = 1}, .sequence = 3, .revision = 13}).size(),
      1u);
}

TEST_F(TaskTableTest, ForgettingWhatWaitsOrWorksStopsIt) {
  Submit(1, {.revision = 12});
  Forget(1, kKey, 1);
  table_.OnView(Revision(12));
  EXPECT_TRUE(Starts().empty());
  EXPECT_TRUE(table_.TakeStops().empty()) << "it had not begun";

  const uint64_t run = StartOne(1, {.key = {.procedure = 2, .step = "x", .attempt = 1}, .sequence = 2});
  Forget(1, {.procedure = 2, .step = "x", .attempt = 1}, 2);
  EXPECT_EQ(table_.TakeStops(), std::vector<uint64_t>{run});
  table_.OnEnd(run, OkStatus());
  EXPECT_EQ(Report(true), "(1, 2)");

  // Begun and forgotten before anybody looked.
  ipb::HeartbeatResponse answer = Answer(1);
  Add(answer, {.sequence = 3});
  table_.OnAnswer(answer);
  Forget(1, kKey, 3);
  EXPECT_TRUE(Starts().empty());
}

// The leader repeated the submit; a copy is still under way when the result is acknowledged.
TEST_F(TaskTableTest, ALateCopyOfASubmitStartsNothing) {
  table_.OnEnd(StartOne(), OkStatus());
  Forget(1, kKey, 3);
  EXPECT_TRUE(Submit(1, {.sequence = 1}).empty());
  EXPECT_TRUE(Submit(1, {.sequence = 2}).empty());
  EXPECT_TRUE(Submit(1, {.sequence = 3}).empty());
  EXPECT_EQ(Report(true), "(1, 3)");
  EXPECT_EQ(Submit(1, {.sequence = 4}).size(), 1u);
}

TEST_F(TaskTableTest, AForgetThatComesFirstKeepsItsSubmitOut) {
  Forget(1, kKey, 2);
  EXPECT_TRUE(Submit(1, {.sequence = 2}).empty());
  EXPECT_EQ(Report(true), "(1, 2)");
}

TEST_F(TaskTableTest, AForgetOfBeforeTheSubmitDoesNotConcernIt) {
  StartOne(1, {.sequence = 5});
  Forget(1, kKey, 4);
  EXPECT_EQ(Report(true), "1/make/1 PROCESSING 0/1; (1, 5)");
  // Of a leader that came later, whatever its number.
  Forget(2, kKey, 0);
  EXPECT_EQ(Report(true), "(2, 0)");
}

TEST_F(TaskTableTest, AnOldLeaderIsNotHeard) {
  const uint64_t run = StartOne(2);
  Forget(1, kKey, 9);
  EXPECT_TRUE(table_.TakeStops().empty());
  EXPECT_TRUE(Submit(1, {.key = {.procedure = 2, .step = "x", .attempt = 1}, .sequence = 9}).empty());
  table_.OnEnd(run, OkStatus());
  EXPECT_EQ(Report(true), "1/make/1 SUCCESS 1/1; (2, 1)");
  // An answer without tasks raises the epoch as well.
  table_.OnAnswer(Answer(3));
  EXPECT_TRUE(Submit(2, {.key = {.procedure = 2, .step = "x", .attempt = 1}, .sequence = 10}).empty());
  EXPECT_EQ(Report(false), "(3, 0)");
}

// The next attempt takes the place of the one before it in a single answer, with lower numbers than the last
// one used.
TEST_F(TaskTableTest, WithinOneAnswerForgetsComeFirst) {
  const uint64_t run = StartOne();
  ipb::HeartbeatResponse answer = Answer(1);
  const TaskKey next{.procedure = 1, .step = "make", .attempt = 2};
  Add(answer, {.key = next, .sequence = 2});
  AddForget(answer, kKey, 3);
  Add(answer, {.key = {.procedure = 3, .step = "x", .attempt = 1}, .sequence = 3});
  AddForget(answer, {.procedure = 3, .step = "x", .attempt = 1}, 3);
  table_.OnAnswer(answer);
  EXPECT_EQ(table_.TakeStops(), std::vector<uint64_t>{run});
  EXPECT_EQ(Starts().size(), 1u) << "what is submitted and forgotten at once does not begin";
  EXPECT_EQ(Report(true), "1/make/2 PROCESSING 0/1; (1, 3)");
}

TEST_F(TaskTableTest, AnotherRegistrationKnowsNothing) {
  const uint64_t run = StartOne(4);
  Submit(4, {.key = {.procedure = 2, .step = "x", .attempt = 1}, .sequence = 2, .revision = 9});
  table_.StartOver(kRegistration + 1);
  EXPECT_EQ(table_.TakeStops(), std::vector<uint64_t>{run});
  table_.OnEnd(run, OkStatus());
  table_.OnView(Revision(9));
  EXPECT_TRUE(Starts().empty());
  EXPECT_EQ(Report(true), "(0, 0)");
  EXPECT_TRUE(Submit(4, {.sequence = 3}).empty()) << "it was meant for the registration before";
  EXPECT_EQ(Submit(4, {.sequence = 4, .registration = kRegistration + 1}).size(), 1u);
}

TEST_F(TaskTableTest, RefusesWhatItCannotDo) {
  EXPECT_TRUE(Submit(1, {.payload = {}}).empty());
  EXPECT_THAT(Report(false), HasSubstr("FAIL 0/0 payload: a kind of task that this node does not know"));
  const TaskKey large{.procedure = 2, .step = "make", .attempt = 1};
  EXPECT_TRUE(
      Submit(1, {.key = large, .sequence = 2, .payload = Creation(1, TaskTable::kMaxItems + 1)}).empty());
  EXPECT_THAT(Report(false), HasSubstr("FAIL 0/16385 payload.items: 16385 replicas, the limit is 16384"));
  const TaskKey nameless{.procedure = 3, .step = "make", .attempt = 1};
  EXPECT_TRUE(Submit(1, {.key = nameless, .sequence = 3, .payload = Creation(0)}).empty());
  EXPECT_THAT(Report(false), HasSubstr("FAIL 0/1 payload.items: region 0 replica 1, both must be named"));
}

TEST_F(TaskTableTest, ThereIsALimit) {
  std::vector<uint64_t> runs;
  uint64_t sequence = 0;
  for (size_t i = 0; i < TaskTable::kMaxTasks; ++i) {
    runs.push_back(
        StartOne(1, {.key = {.procedure = 100 + i, .step = "x", .attempt = 1}, .sequence = ++sequence}));
  }
  Report(false);
  table_.TakeStateChanged();
  EXPECT_TRUE(Submit(1, {.sequence = ++sequence}).empty());
  EXPECT_TRUE(table_.TakeStateChanged());
  EXPECT_EQ(Report(false), "1/make/1 FAIL 0/1 this node has 1024 tasks, which is the limit; (1, 1025)");
  EXPECT_EQ(Report(false), "(1, 1025)") << "it is not kept: if the report was lost, the task does not exist";
  // A known one is told all the same, and there is room again when one was forgotten.
  EXPECT_TRUE(
      Submit(1, {.key = {.procedure = 100, .step = "x", .attempt = 1}, .sequence = ++sequence}).empty());
  EXPECT_EQ(Report(false), "100/x/1 PROCESSING 0/1; (1, 1026)");
  EXPECT_TRUE(Submit(1, {.sequence = ++sequence}).empty());
  table_.OnEnd(runs[0], OkStatus());
  Forget(1, {.procedure = 100, .step = "x", .attempt = 1}, sequence);
  EXPECT_EQ(Submit(1, {.sequence = ++sequence}).size(), 1u);
  EXPECT_EQ(Report(false), "1/make/1 PROCESSING 0/1; (1, 1028)") << "one state per key";
}

}  // namespace
}  // namespace tenure::node
