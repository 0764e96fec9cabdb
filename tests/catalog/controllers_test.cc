#include "catalog/controllers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/catalog/test_catalog.h"

namespace tenure::catalog {
namespace {

using namespace ::tenure::v1;
using ::testing::HasSubstr;

class ControllersTest : public ::testing::Test {
 protected:
  ControllersTest() { catalog.Initialize(); }

  ipb::CatalogResult Add(uint64_t id, const std::string& address, uint64_t take_from = 0) {
    ipb::CatalogCommand command = TestCatalog::Command();
    command.mutable_add_controller()->mutable_controller()->set_id(id);
    command.mutable_add_controller()->mutable_controller()->set_address(address);
    command.mutable_add_controller()->set_take_address_from(take_from);
    return catalog.Apply(std::move(command));
  }
  ipb::CatalogResult Remove(uint64_t id, bool force = false) {
    ipb::CatalogCommand command = TestCatalog::Command();
    command.mutable_remove_controller()->set_controller(id);
    command.mutable_remove_controller()->set_force(force);
    return catalog.Apply(std::move(command));
  }
  ipb::CatalogResult Promote(uint64_t id) {
    ipb::CatalogCommand command = TestCatalog::Command();
    command.mutable_promote_controller()->set_controller(id);
    return catalog.Apply(std::move(command));
  }
  ipb::CatalogResult Target(uint32_t target) {
    ipb::CatalogCommand command = TestCatalog::Command();
    command.mutable_set_voter_target()->set_target(target);
    return catalog.Apply(std::move(command));
  }
  ipb::CatalogResult Role(uint64_t id, bool voter, bool removed = false) {
    ipb::CatalogCommand command = TestCatalog::Command();
    command.mutable_set_controller_role()->set_controller(id);
    command.mutable_set_controller_role()->set_voter(voter);
    command.mutable_set_controller_role()->set_removed(removed);
    return catalog.Apply(std::move(command));
  }
  static ControllerRecord At(uint64_t id, const std::string& address, const std::string& uuid = "") {
    ControllerRecord record;
    record.set_id(id);
    record.set_address(address);
    record.set_uuid(uuid);
    return record;
  }
  ipb::CatalogResult Update(std::vector<ControllerRecord> records) {
    ipb::CatalogCommand command = TestCatalog::Command();
    *command.mutable_update_controller()->mutable_controller() = records.front();
    for (size_t i = 1; i < records.size(); ++i)
      *command.mutable_update_controller()->add_others() = records[i];
    return catalog.Apply(std::move(command));
  }
  void Refused(const ipb::CatalogResult& result, Reason reason, const std::string& message) {
    EXPECT_EQ(result.reason(), reason) << result.message();
    EXPECT_THAT(result.message(), HasSubstr(message));
  }
  const ControllerRecord& record(uint64_t id) { return catalog.catalog().controllers().at(id).controller(); }

  TestCatalog catalog;
};

TEST_F(ControllersTest, AnAddedOneIsALearner) {
  EXPECT_TRUE(Add(4, "d:1").changed());
  EXPECT_EQ(record(4).state(), CONTROLLER_MEMBER);
  EXPECT_FALSE(record(4).voter());
  EXPECT_EQ(record(4).name(), "4");
  Refused(Add(4, "e:1"), REASON_ALREADY_EXISTS, "controller 4 exists already, at d:1");
  Refused(Add(5, "d:1"), REASON_ALREADY_EXISTS, "address d:1 belongs to controller 4");
  Refused(Add(5, "d:1", 3), REASON_ALREADY_EXISTS, "address d:1 belongs to controller 4");
}

TEST_F(ControllersTest, ALostOnesAddressGoesToItsSuccessor) {
  EXPECT_TRUE(Add(4, "10.0.0.3:7100", 3).changed());
  EXPECT_EQ(record(3).address(), "");
  EXPECT_EQ(record(4).address(), "10.0.0.3:7100");
  Refused(Update({At(3, "10.0.0.3:7100")}), REASON_ALREADY_EXISTS, "belongs to controller 4");
}

TEST_F(ControllersTest, RemovalNeedsAReplacementOrForce) {
  Refused(Remove(7), REASON_NOT_FOUND, "controller 7 does not exist");
  Refused(Remove(3), REASON_CONDITION_FAILED, "one of 3 voters, the target is 3");
  Add(4, "d:1");
  EXPECT_TRUE(Remove(3).changed());
  EXPECT_FALSE(Remove(3).changed());
  Refused(Remove(2), REASON_BUSY, "controller 3 is being removed");
  EXPECT_TRUE(Remove(3, true).changed());
  EXPECT_TRUE(record(3).no_spare());
  Refused(Promote(3), REASON_CONDITION_FAILED, "is being removed");
  Refused(Role(2, false, true), REASON_CONDITION_FAILED, "controller 2 is not being removed");
  EXPECT_TRUE(Role(3, false, true).changed());
  EXPECT_EQ(record(3).state(), CONTROLLER_REMOVED);
  // For ever: its id is not used again, its address is free.
  Refused(Remove(3), REASON_NOT_FOUND, "controller 3 was removed");
  Refused(Add(3, "x:1"), REASON_ALREADY_EXISTS, "ids are not used again");
  Refused(Update({At(3, "x:1")}), REASON_NOT_FOUND, "controller 3 was removed");
  EXPECT_TRUE(Add(5, "10.0.0.3:7100").changed());
}

TEST_F(ControllersTest, ARefusalThatMayBeSentAgainIsNotRemembered) {
  Add(4, "d:1");
  Add(5, "e:1");
  Remove(3);
  ipb::CatalogCommand command = TestCatalog::Command();
  command.mutable_remove_controller()->set_controller(2);
  command = TestCatalog::WithId(command, 77, 1);
  Refused(catalog.Apply(command), REASON_BUSY, "controller 3 is being removed");
  Role(3, false, true);
  EXPECT_TRUE(catalog.Apply(command).changed());
  const auto again = catalog.Apply(command);
  EXPECT_TRUE(again.duplicate() && again.changed());
}

TEST_F(ControllersTest, TheLastOneStays) {
  for (const uint64_t id : {3u, 2u}) {
    EXPECT_TRUE(Remove(id, true).changed());
    Role(id, false, true);
  }
  Refused(Remove(1, true), REASON_CONDITION_FAILED, "controller 1 is the last one");
}

TEST_F(ControllersTest, PromotionWithinTheTarget) {
  Add(4, "d:1");
  Refused(Promote(4), REASON_CONDITION_FAILED, "there are 3 voters, and that is the target");
  EXPECT_TRUE(Target(5).changed());
  EXPECT_FALSE(Target(5).changed());
  EXPECT_EQ(catalog.catalog().cluster()->voter_target(), 5u);
  EXPECT_TRUE(Promote(4).changed());
  EXPECT_TRUE(record(4).promote());
  EXPECT_TRUE(Role(4, true).changed());
  EXPECT_FALSE(record(4).promote());
  EXPECT_FALSE(Promote(4).changed());
  catalog.Reopen();
  EXPECT_EQ(catalog.catalog().cluster()->voter_target(), 5u);
  EXPECT_TRUE(record(4).voter());
}

TEST_F(ControllersTest, AnIdBelongsToOneDirectory) {
  EXPECT_TRUE(Update({At(1, "10.0.0.1:7100", "u1")}).changed());
  Refused(Update({At(1, "10.0.0.1:7100", "u2")}), REASON_CONDITION_FAILED,
          "another data directory (uuid u1, not u2)");
  EXPECT_TRUE(Update({At(1, "new:1")}).changed());
  EXPECT_EQ(record(1).uuid(), "u1");
  EXPECT_TRUE(record(1).voter());
}

TEST_F(ControllersTest, AddressesAreSwappedInOneCommand) {
  Refused(Update({At(1, "10.0.0.2:7100")}), REASON_ALREADY_EXISTS,
          "address 10.0.0.2:7100 belongs to controller 2");
  EXPECT_TRUE(Update({At(1, "10.0.0.2:7100"), At(2, "10.0.0.1:7100")}).changed());
  EXPECT_EQ(record(1).address(), "10.0.0.2:7100");
  EXPECT_EQ(record(2).address(), "10.0.0.1:7100");
}

TEST_F(ControllersTest, Limits) {
  for (uint64_t id = 4; id <= kMaxControllers; ++id)
    EXPECT_TRUE(Add(id, "d:" + std::to_string(id)).changed());
  Refused(Add(99, "z:1"), REASON_CONDITION_FAILED, "there are 16 controllers already");
  ipb::CatalogCommand command = TestCatalog::Command();
  command.mutable_set_voter_target()->set_target(2);
  EXPECT_THAT(std::string(Catalog::Validate(command, {}).message()),
              HasSubstr("target: is 2, allowed are 1, 3, 5 and 7"));
  for (const auto& [voters, target] :
       std::map<uint32_t, uint32_t>{{1, 3}, {3, 3}, {4, 5}, {5, 5}, {6, 7}, {7, 7}}) {
    EXPECT_EQ(DefaultVoterTarget(voters), target);
  }
}

}  // namespace
}  // namespace tenure::catalog
