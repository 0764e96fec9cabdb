#include "catalog/procedures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/catalog/test_catalog.h"

namespace tenure::catalog {
namespace {

using ::testing::HasSubstr;

class ProceduresTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ipb::CatalogCommand initialize = TestCatalog::InitializeCommand();
    initialize.mutable_initialize_cluster()->mutable_cluster()->set_format_version(kNewestFormat);
    catalog.Apply(initialize);
    for (int node = 1; node <= 4; ++node) {
      catalog.Apply(
          TestCatalog::Register("uuid-" + std::to_string(node), "10.0.1." + std::to_string(node) + ":1"));
      catalog.Apply(TestCatalog::NodeTo(static_cast<uint64_t>(node), pb::NODE_UP));
    }
  }
  static ipb::CatalogCommand Submit(const std::string& type) {
    ipb::CatalogCommand command = TestCatalog::Command();
    command.set_version(3);
    command.mutable_submit_procedure()->mutable_procedure()->set_type(type);
    return command;
  }
  // Database `name` with one region on nodes 1 to 3.
  static ipb::CatalogCommand Create(const std::string& name) {
    ipb::CatalogCommand command = Submit("CreateDatabase");
    auto& submit = *command.mutable_submit_procedure();
    submit.mutable_procedure()->add_locks()->set_object(pb::LOCKED_DATABASE);
    *submit.mutable_effect()->mutable_create_database() =
        TestCatalog::CreateDatabase(name, 1, {1, 2, 3}).create_database();
    return command;
  }
  // From the record as it is.
  ipb::CatalogCommand Advance(uint64_t id, pb::ProcedureState state, const std::string& step = "s") {
    ipb::CatalogCommand command = TestCatalog::Command();
    command.set_version(3);
    auto& advance = *command.mutable_advance_procedure();
    const pb::Record& record = catalog.catalog().procedures().at(id);
    advance.set_if_revision(record.modify_revision());
    *advance.mutable_procedure() = record.procedure();
    advance.mutable_procedure()->set_state(state);
    advance.mutable_procedure()->set_step(step);
    return command;
  }
  ipb::CatalogResult Change(const ipb::ProcedureEffect::ChangeReplica& change) {
    ipb::CatalogCommand command = Submit("T");
    *command.mutable_submit_procedure()->mutable_effect()->mutable_change_replica() = change;
    return catalog.Apply(command);
  }
  ipb::CatalogResult Join(uint64_t replica, uint64_t node) {
    ipb::ProcedureEffect::ChangeReplica change;
    change.set_region(1);
    change.mutable_join()->set_id(replica);
    change.mutable_join()->set_node(node);
    return Change(change);
  }
  ipb::CatalogResult Report(uint64_t term, uint64_t index,
                            std::vector<std::pair<uint64_t, uint64_t>> replicas) {
    ipb::CatalogCommand command = TestCatalog::Command();
    command.set_version(3);
    auto& item = *command.mutable_report_regions()->add_items();
    item.set_region(1);
    item.set_term(term);
    item.set_index(index);
    for (const auto& [id, node] : replicas) {
      auto& replica = *item.add_replicas();
      replica.set_id(id);
      replica.set_node(node);
      replica.set_role(pb::REPLICA_VOTER);
    }
    return catalog.Apply(command);
  }
  const pb::RegionRecord& Region() const {
    return const_cast<TestCatalog&>(catalog).catalog().regions().at(1).region();
  }
  static std::string Text(const google::protobuf::RepeatedPtrField<pb::ReplicaRecord>& replicas) {
    std::string text;
    for (const auto& replica : replicas) text += fmt::format("{}@{} ", replica.id(), replica.node());
    return text;
  }
  // A serving region: 1@1 2@2 3@3.
  void MakeRegion() {
    catalog.Apply(Create("d"));
    ipb::CatalogCommand publish = Advance(1, pb::PROCEDURE_SUCCEEDED);
    publish.mutable_advance_procedure()->mutable_effect()->mutable_publish_database()->set_database(1);
    ASSERT_EQ(catalog.Apply(publish).reason(), pb::REASON_UNSPECIFIED);
  }

  TestCatalog catalog;
};

TEST_F(ProceduresTest, SubmissionAndItsEffectAreOneCommand) {
  const auto result = catalog.Apply(Create("d"));
  EXPECT_EQ(result.object_id(), 1u);  // the database
  const pb::Record& record = catalog.catalog().procedures().at(1);
  EXPECT_EQ(record.create_revision(), result.revision());
  EXPECT_EQ(catalog.catalog().databases().at(1).create_revision(), result.revision());
  EXPECT_EQ(record.procedure().state(), pb::PROCEDURE_PENDING);
  EXPECT_EQ(record.procedure().object(), 1u);
  EXPECT_EQ(record.procedure().locks(0).id(), 1u);
  const auto before = catalog.Dump();
  EXPECT_EQ(catalog.Apply(Create("d")).reason(), pb::REASON_ALREADY_EXISTS);
  EXPECT_EQ(catalog.Dump(), before);
}

TEST_F(ProceduresTest, AStepIsTakenOnceFromWhereItStands) {
  catalog.Apply(Create("d"));
  ipb::CatalogCommand first = Advance(1, pb::PROCEDURE_RUNNING);
  ipb::CatalogCommand second = Advance(1, pb::PROCEDURE_SUCCEEDED);
  second.mutable_advance_procedure()->mutable_effect()->mutable_drop_database()->set_database(1);
  EXPECT_EQ(catalog.Apply(first).reason(), pb::REASON_UNSPECIFIED);
  const auto before = catalog.Dump();
  EXPECT_EQ(catalog.Apply(second).reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(catalog.Dump(), before);
}

TEST_F(ProceduresTest, ARefusedEffectLeavesTheProcedureWhereItWas) {
  MakeRegion();
  catalog.Apply(Submit("T"));
  ipb::CatalogCommand command = Advance(2, pb::PROCEDURE_SUCCEEDED);
  command.mutable_advance_procedure()->mutable_effect()->mutable_publish_database()->set_database(1);
  command.mutable_advance_procedure()->add_spawn()->set_type("T");
  const auto before = catalog.Dump();
  EXPECT_EQ(catalog.Apply(command).reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(catalog.Dump(), before);
}

TEST_F(ProceduresTest, SpawnedOnesGetTheirIdsFromTheLog) {
  catalog.Apply(Submit("T"));
  ipb::CatalogCommand command = Advance(1, pb::PROCEDURE_WAITING);
  for (const uint64_t parent : {uint64_t{1}, uint64_t{0}}) {
    auto& spawned = *command.mutable_advance_procedure()->add_spawn();
    spawned.set_type("C");
    spawned.set_parent(parent);
    spawned.set_id(99);
    spawned.set_state(pb::PROCEDURE_SUCCEEDED);
  }
  EXPECT_EQ(catalog.Apply(command).reason(), pb::REASON_UNSPECIFIED);
  ASSERT_EQ(catalog.catalog().procedures().size(), 3u);
  EXPECT_EQ(catalog.catalog().procedures().at(2).procedure().parent(), 1u);
  EXPECT_EQ(catalog.catalog().procedures().at(3).procedure().state(), pb::PROCEDURE_PENDING);
  ipb::CatalogCommand foreign = Advance(1, pb::PROCEDURE_WAITING);
  foreign.mutable_advance_procedure()->add_spawn()->set_type("C");
  foreign.mutable_advance_procedure()->mutable_spawn(0)->set_parent(2);
  EXPECT_EQ(catalog.Apply(foreign).reason(), pb::REASON_INVALID_ARGUMENT);
}

TEST_F(ProceduresTest, WhatHasEndedStaysSo) {
  catalog.Apply(Submit("T"));
  catalog.Apply(Advance(1, pb::PROCEDURE_ROLLING_BACK));  // PENDING: not a legal move
  EXPECT_EQ(catalog.catalog().procedures().at(1).procedure().state(), pb::PROCEDURE_PENDING);
  catalog.Apply(Advance(1, pb::PROCEDURE_RUNNING));
  catalog.Apply(Advance(1, pb::PROCEDURE_ROLLING_BACK));
  EXPECT_EQ(catalog.Apply(Advance(1, pb::PROCEDURE_RUNNING)).reason(), pb::REASON_INVALID_ARGUMENT);
  catalog.Apply(Advance(1, pb::PROCEDURE_ROLLED_BACK));
  EXPECT_GT(catalog.catalog().procedures().at(1).procedure().ended_at_ms(), 0);
  EXPECT_EQ(catalog.Apply(Advance(1, pb::PROCEDURE_RUNNING)).reason(), pb::REASON_INVALID_ARGUMENT);
}

TEST_F(ProceduresTest, CancellingIsAWishWhereThatIsPossible) {
  catalog.Apply(Submit("T"));
  ipb::CatalogCommand cancel = TestCatalog::Command();
  cancel.set_version(3);
  cancel.mutable_cancel_procedure()->set_procedure(1);
  auto refused = catalog.Apply(cancel);
  EXPECT_EQ(refused.reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_THAT(refused.message(), HasSubstr("cannot be cancelled"));
  ipb::CatalogCommand advance = Advance(1, pb::PROCEDURE_RUNNING);
  advance.mutable_advance_procedure()->mutable_procedure()->set_cancellable(true);
  catalog.Apply(advance);
  EXPECT_TRUE(catalog.Apply(cancel).changed());
  EXPECT_FALSE(catalog.Apply(cancel).changed());  // it is known
  EXPECT_TRUE(catalog.catalog().procedures().at(1).procedure().cancel_requested());
}

TEST_F(ProceduresTest, OnlyEndedOnesAreForgotten) {
  catalog.Apply(Submit("T"));
  catalog.Apply(Submit("T"));
  catalog.Apply(Advance(2, pb::PROCEDURE_CANCELLED));
  ipb::CatalogCommand forget = TestCatalog::Command();
  forget.set_version(3);
  for (uint64_t id = 1; id <= 3; ++id) forget.mutable_forget_procedures()->add_procedures(id);
  EXPECT_TRUE(catalog.Apply(forget).changed());
  EXPECT_TRUE(catalog.catalog().procedures().contains(1));
  EXPECT_FALSE(catalog.catalog().procedures().contains(2));
  catalog.Reopen();
  EXPECT_EQ(catalog.catalog().procedures().size(), 1u);
}

TEST_F(ProceduresTest, AReportIsTakenIfItIsNewer) {
  MakeRegion();
  EXPECT_EQ(Text(Region().replicas()), "1@1 2@2 3@3 ");
  EXPECT_EQ(Join(4, 4).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_EQ(Text(Region().joining()), "4@4 ");
  EXPECT_TRUE(Report(2, 10, {{1, 1}, {2, 2}, {3, 3}, {4, 4}}).changed());
  EXPECT_EQ(Text(Region().joining()), "");
  EXPECT_TRUE(Report(2, 20, {{1, 1}, {3, 3}, {4, 4}}).changed());
  EXPECT_EQ(Text(Region().replicas()), "1@1 3@3 4@4 ");
  EXPECT_EQ(Text(Region().leaving()), "2@2 ");
  EXPECT_EQ(Region().configuration_version(), 3u);
  EXPECT_FALSE(Report(2, 10, {{1, 1}, {2, 2}, {3, 3}, {4, 4}}).changed());  // late
  EXPECT_FALSE(Report(1, 30, {{1, 1}}).changed());                          // of a term of before
  EXPECT_EQ(Text(Region().replicas()), "1@1 3@3 4@4 ");
  ipb::ProcedureEffect::ChangeReplica gone;
  gone.set_region(1);
  gone.set_end_leaving(2);
  EXPECT_EQ(Change(gone).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_EQ(Text(Region().leaving()), "");
  EXPECT_EQ(NextReplica(Region()), 5u);
}

TEST_F(ProceduresTest, AReplicaJoinsUnderTheNextIdOnANodeOfItsOwn) {
  MakeRegion();
  EXPECT_EQ(Join(3, 4).reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(Join(5, 4).reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_THAT(Join(4, 3).message(), HasSubstr("region 1 has replica 3 on node 3 already"));
  EXPECT_EQ(Join(4, 9).reason(), pb::REASON_NOT_FOUND);
  catalog.Apply(TestCatalog::NodeTo(4, pb::NODE_DRAINING));
  EXPECT_THAT(Join(4, 4).message(), HasSubstr("node 4 is DRAINING"));
  catalog.Apply(TestCatalog::NodeTo(4, pb::NODE_UP));
  EXPECT_EQ(Join(4, 4).reason(), pb::REASON_UNSPECIFIED);
  // Given up: it has to be destroyed, and its id is not used again.
  ipb::ProcedureEffect::ChangeReplica end;
  end.set_region(1);
  end.set_end_joining(4);
  Change(end);
  EXPECT_EQ(Text(Region().joining()), "");
  EXPECT_EQ(Text(Region().leaving()), "4@4 ");
  EXPECT_THAT(Join(5, 4).message(), HasSubstr("already"));
  ipb::ProcedureEffect::ChangeReplica gone;
  gone.set_region(1);
  gone.set_end_leaving(4);
  Change(gone);
  EXPECT_EQ(Join(4, 4).reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(Join(5, 4).reason(), pb::REASON_UNSPECIFIED);
}

TEST_F(ProceduresTest, ADroppedRegionIsFrozenUntilItsRecordGoes) {
  MakeRegion();
  ipb::CatalogCommand drop = Submit("RemoveRegions");
  drop.mutable_submit_procedure()->mutable_effect()->mutable_drop_database()->set_database(1);
  EXPECT_EQ(catalog.Apply(drop).object_id(), 1u);
  const auto again = catalog.Apply(drop);
  EXPECT_EQ(again.reason(), pb::REASON_NOT_FOUND);
  EXPECT_THAT(again.message(), HasSubstr("database 1 ('d') is being removed already"));
  EXPECT_FALSE(Report(2, 10, {{1, 1}}).changed());
  EXPECT_EQ(Join(4, 4).reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(catalog.Apply(Create("d")).reason(), pb::REASON_UNSPECIFIED);  // the name is free at once
  ipb::CatalogCommand remove = Advance(2, pb::PROCEDURE_SUCCEEDED);
  auto& effect = *remove.mutable_advance_procedure()->mutable_effect()->mutable_remove_regions();
  effect.add_regions(1);
  effect.add_regions(77);  // not there: nothing to remove
  effect.set_database(1);
  EXPECT_EQ(catalog.Apply(remove).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_FALSE(catalog.catalog().regions().contains(1));
  EXPECT_FALSE(catalog.catalog().databases().contains(1));
  EXPECT_TRUE(catalog.catalog().databases().contains(2));
  ipb::CatalogCommand wrong = Advance(3, pb::PROCEDURE_SUCCEEDED);
  wrong.mutable_advance_procedure()->mutable_effect()->mutable_remove_regions()->add_regions(2);
  EXPECT_THAT(catalog.Apply(wrong).message(), HasSubstr("region 2 is CREATING, expected REMOVING"));
}

// Slots 0-16383 of region 1: the upper part goes to a new region, and comes back.
TEST_F(ProceduresTest, SlotsGoAndComeBack) {
  MakeRegion();
  const auto submit = [this](const ipb::ProcedureEffect& effect) {
    ipb::CatalogCommand command = Submit("T");
    *command.mutable_submit_procedure()->mutable_effect() = effect;
    return catalog.Apply(command);
  };
  const auto begin = [&](uint64_t from, uint32_t first, uint32_t last) {
    ipb::ProcedureEffect effect;
    effect.mutable_begin_split()->set_from(from);
    effect.mutable_begin_split()->set_procedure(70);
    effect.mutable_begin_split()->mutable_slots()->set_first(first);
    effect.mutable_begin_split()->mutable_slots()->set_last(last);
    return submit(effect);
  };
  const auto publish = [&](uint64_t from, uint64_t to, uint32_t first, uint32_t last, uint64_t procedure) {
    ipb::ProcedureEffect effect;
    effect.mutable_publish_slots()->set_from(from);
    effect.mutable_publish_slots()->set_to(to);
    effect.mutable_publish_slots()->set_procedure(procedure);
    effect.mutable_publish_slots()->mutable_slots()->set_first(first);
    effect.mutable_publish_slots()->mutable_slots()->set_last(last);
    return submit(effect);
  };
  const auto region = [this](uint64_t id) { return catalog.catalog().regions().at(id).region(); };

  const auto before = catalog.Dump();
  EXPECT_EQ(begin(77, 100, 16383).reason(), pb::REASON_NOT_FOUND);
  EXPECT_THAT(begin(1, 100, 200).message(),
              HasSubstr("slots 100-200 are not at an end of the 0-16383 of region 1"));
  EXPECT_THAT(begin(1, 0, 16383).message(), HasSubstr("would have no slots left"));
  EXPECT_EQ(catalog.Dump(), before);
  ASSERT_EQ(begin(1, 100, 16383).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_EQ(region(2).state(), pb::REGION_CREATING);
  EXPECT_TRUE(region(2).split_off());
  EXPECT_EQ(region(2).range_procedure(), 70u);
  EXPECT_EQ(Text(region(2).replicas()), "1@1 2@2 3@3 ");

  EXPECT_THAT(publish(1, 2, 200, 16383, 70).message(), HasSubstr("region 2 is made for slots 100-16383"));
  EXPECT_EQ(publish(2, 1, 100, 16383, 70).reason(), pb::REASON_CONDITION_FAILED);
  ASSERT_EQ(publish(1, 2, 100, 16383, 70).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_EQ(region(1).slots().last(), 99u);
  EXPECT_EQ(region(1).initial_slots().last(), 16383u);
  EXPECT_EQ(region(1).range_version(), 2u);
  EXPECT_EQ(region(2).state(), pb::REGION_SERVING);
  EXPECT_EQ(region(2).range_version(), 2u);
  EXPECT_EQ(catalog.catalog().databases().at(1).database().regions(), 2u);
  EXPECT_EQ(publish(1, 2, 100, 16383, 70).reason(), pb::REASON_CONDITION_FAILED) << "once";

  EXPECT_THAT(publish(2, 2, 100, 16383, 71).message(), HasSubstr("takes no slots"));
  ASSERT_EQ(publish(2, 1, 100, 16383, 71).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_EQ(region(1).slots().last(), 16383u);
  EXPECT_EQ(region(1).range_procedure(), 71u);
  EXPECT_EQ(region(2).state(), pb::REGION_REMOVING);
  EXPECT_EQ(catalog.catalog().databases().at(1).database().regions(), 1u);
  catalog.Reopen();
  EXPECT_EQ(region(1).range_version(), 3u);

  // One that is given up.
  ASSERT_EQ(begin(1, 9000, 16383).reason(), pb::REASON_UNSPECIFIED);
  ipb::ProcedureEffect abandon;
  abandon.mutable_abandon_split()->set_region(1);
  EXPECT_EQ(submit(abandon).reason(), pb::REASON_CONDITION_FAILED);
  abandon.mutable_abandon_split()->set_region(3);
  EXPECT_EQ(submit(abandon).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_EQ(region(3).state(), pb::REGION_REMOVING);
}

TEST_F(ProceduresTest, LimitsNameTheField) {
  ipb::CatalogCommand command = Submit("T");
  EXPECT_TRUE(Catalog::Validate(command, {}).ok());
  command.mutable_submit_procedure()->mutable_procedure()->set_body(std::string((1 << 20) + 1, 'x'));
  EXPECT_THAT(std::string(Catalog::Validate(command, {}).message()),
              HasSubstr("procedure.body: has 1048577 bytes, the limit is 1048576"));
}

}  // namespace
}  // namespace tenure::catalog
