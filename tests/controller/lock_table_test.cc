#include "controller/procedure/lock_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tenure::controller {
namespace {

namespace pb = ::tenure::v1;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

pb::ProcedureRecord Procedure(uint64_t id, std::vector<std::pair<uint64_t, bool>> regions,
                              uint64_t parent = 0, pb::ProcedureState state = pb::PROCEDURE_PENDING,
                              const std::string& type = "T") {
  pb::ProcedureRecord procedure;
  procedure.set_id(id);
  procedure.set_type(type);
  procedure.set_state(state);
  procedure.set_parent(parent);
  for (const auto& [region, shared] : regions) {
    pb::ProcedureLock& lock = *procedure.add_locks();
    lock.set_object(pb::LOCKED_REGION);
    lock.set_id(region);
    lock.set_shared(shared);
  }
  return procedure;
}

size_t NoLimit(const std::string&) {
  return 1000;
}

TEST(LockTable, ExclusiveKeepsOthersOutUntilItEnds) {
  LockTable table(NoLimit);
  table.Put(Procedure(1, {{5, false}}));
  table.Put(Procedure(2, {{5, false}}));
  table.Put(Procedure(3, {{6, false}}));
  EXPECT_THAT(table.Ready(), ElementsAre(1, 3));
  table.Begin(1);
  EXPECT_THAT(table.Ready(), ElementsAre(3));
  const auto waits = table.WaitsOf(2);
  ASSERT_EQ(waits.size(), 1u);
  EXPECT_THAT(waits[0].holders(), ElementsAre(1));
  EXPECT_EQ(waits[0].lock().id(), 5u);
  table.Put(Procedure(1, {{5, false}}, 0, pb::PROCEDURE_SUCCEEDED));
  EXPECT_THAT(table.Ready(), ElementsAre(2, 3));
}

TEST(LockTable, SharedOnesGoTogetherAndNotPastAnExclusiveOne) {
  LockTable table(NoLimit);
  table.Put(Procedure(1, {{5, true}}));
  table.Put(Procedure(2, {{5, true}}));
  table.Put(Procedure(3, {{5, false}}));
  table.Put(Procedure(4, {{5, true}}));
  EXPECT_THAT(table.Ready(), ElementsAre(1, 2));
  table.Begin(1);
  table.Begin(2);
  EXPECT_THAT(table.Ready(), IsEmpty());  // 4 came after 3, which waits
  table.Erase(1);
  table.Erase(2);
  EXPECT_THAT(table.Ready(), ElementsAre(3));
}

TEST(LockTable, TakesAllLocksOrNone) {
  LockTable table(NoLimit);
  table.Put(Procedure(1, {{5, false}}, 0, pb::PROCEDURE_RUNNING));
  table.Put(Procedure(2, {{5, false}, {6, false}}));
  table.Put(Procedure(3, {{6, false}}));
  EXPECT_THAT(table.Ready(), IsEmpty());  // 3 does not overtake 2
  table.Erase(1);
  EXPECT_THAT(table.Ready(), ElementsAre(2));
}

TEST(LockTable, WhatAnAncestorHoldsDoesNotStandInTheWay) {
  LockTable table(NoLimit);
  table.Put(Procedure(1, {{5, false}}, 0, pb::PROCEDURE_WAITING));
  table.Put(Procedure(2, {}, 1, pb::PROCEDURE_WAITING));
  table.Put(Procedure(3, {{5, false}}, 2));
  table.Put(Procedure(4, {{5, false}}));
  EXPECT_THAT(table.Ready(), ElementsAre(3));
}

TEST(LockTable, ATypesLimitHoldsItsOwnBack) {
  LockTable table([](const std::string& type) { return type == "Repair" ? size_t{1} : size_t{2}; });
  for (uint64_t id = 1; id <= 3; ++id) table.Put(Procedure(id, {}, 0, pb::PROCEDURE_PENDING, "Repair"));
  table.Put(Procedure(4, {}, 0, pb::PROCEDURE_PENDING, "Create"));
  table.Begin(1);
  EXPECT_THAT(table.Ready(), ElementsAre(4));
  EXPECT_TRUE(table.IsLimited(2));
  EXPECT_FALSE(table.IsLimited(4));
}

// Nothing is left of it but its record: not its locks, and not its place among its type.
TEST(LockTable, WhatAStepGivesUpIsFreeBeforeTheEnd) {
  for (const bool again : {false, true}) {
    LockTable table([](const std::string&) { return size_t{1}; },
                    [](const pb::ProcedureRecord& procedure) { return procedure.step() != "rest"; });
    if (!again) table.Put(Procedure(1, {{5, false}, {6, false}}, 0, pb::PROCEDURE_RUNNING));
    table.Put(Procedure(2, {{5, false}}));
    table.Put(Procedure(3, {{6, false}}));
    pb::ProcedureRecord resting = Procedure(1, {{6, false}}, 0, pb::PROCEDURE_RUNNING);
    if (!again) {
      EXPECT_THAT(table.Ready(), IsEmpty());
      table.Put(resting);
      EXPECT_THAT(table.WaitsOf(2), IsEmpty());
      EXPECT_TRUE(table.IsLimited(2));
    }
    resting.set_step("rest");
    table.Put(resting);
    EXPECT_THAT(table.Ready(), ElementsAre(2));
    EXPECT_EQ(table.WaitsOf(3).size(), 1u);
    resting.set_state(pb::PROCEDURE_SUCCEEDED);
    table.Put(resting);
    EXPECT_THAT(table.Ready(), ElementsAre(2, 3));
    table.Begin(2);
    EXPECT_TRUE(table.IsLimited(3));
  }
}

// What the records say is all there is: a table that is filled from them in any order says the same.
TEST(LockTable, IsAFunctionOfTheRecords) {
  const std::vector<pb::ProcedureRecord> records = {
      Procedure(1, {{5, false}}, 0, pb::PROCEDURE_RUNNING), Procedure(2, {{5, true}, {6, false}}),
      Procedure(3, {{6, true}}), Procedure(4, {{7, false}}), Procedure(5, {{7, false}})};
  LockTable forwards(NoLimit);
  for (const auto& record : records) forwards.Put(record);
  LockTable backwards(NoLimit);
  for (auto it = records.rbegin(); it != records.rend(); ++it) backwards.Put(*it);
  EXPECT_EQ(forwards.Ready(), backwards.Ready());
  EXPECT_THAT(forwards.Ready(), ElementsAre(4));
}

}  // namespace
}  // namespace tenure::controller
