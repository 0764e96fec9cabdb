#include "catalog/fencing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/catalog/test_catalog.h"

namespace tenure::catalog {
namespace {

using namespace std::chrono_literals;  // NOLINT
using ::testing::HasSubstr;

class FencingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ipb::CatalogCommand initialize = TestCatalog::InitializeCommand();
    initialize.mutable_initialize_cluster()->mutable_cluster()->set_format_version(kFormatOfLeases);
    catalog.Apply(initialize);
  }
  static ipb::CatalogCommand SetCommand(int64_t fence_ms, pb::FencingMode mode = pb::FENCING_STRICT) {
    ipb::CatalogCommand command = TestCatalog::Command();
    command.set_version(kFormatOfLeases);
    command.mutable_set_fencing()->set_fence_ms(fence_ms);
    command.mutable_set_fencing()->set_mode(mode);
    return command;
  }
  ipb::CatalogResult Lower(uint64_t version) {
    ipb::CatalogCommand command = TestCatalog::Command();
    command.set_version(kFormatOfLeases);
    command.mutable_lower_fencing_bound()->set_version(version);
    return catalog.Apply(command);
  }
  Fencing Now() { return FencingOf(catalog.catalog().cluster()); }

  TestCatalog catalog;
};

TEST_F(FencingTest, DefaultsHoldUntilSomethingIsSet) {
  EXPECT_EQ(FencingOf(nullptr).fence_time, 10s);
  const Fencing fencing = Now();
  EXPECT_EQ(fencing.mode, pb::FENCING_STRICT);
  EXPECT_EQ(fencing.fence_time, 10s);
  EXPECT_EQ(fencing.bound, 10s);
  EXPECT_TRUE(fencing.version.IsNone());
  EXPECT_TRUE(IsBoundLowered(fencing));
  EXPECT_EQ(ProceedAfter(fencing), 10s + 100ms + 2s) << "one percent of drift and two seconds";
}

TEST_F(FencingTest, TheBoundRisesAtOnceAndFallsByAChangeOfItsOwn) {
  const auto longer = catalog.Apply(SetCommand(20000));
  EXPECT_TRUE(longer.changed());
  EXPECT_EQ(Now().bound, 20s);
  EXPECT_EQ(Now().version, Revision(longer.revision()));
  const auto shorter = catalog.Apply(SetCommand(4000));
  EXPECT_EQ(Now().fence_time, 4s);
  EXPECT_EQ(Now().bound, 20s) << "somebody may hold a lease of that length";
  EXPECT_FALSE(IsBoundLowered(Now()));
  EXPECT_EQ(ProceedAfter(Now()), 20s + 200ms + 2s);
  // Confirmed was a version that is not the present one any more.
  EXPECT_EQ(Lower(longer.revision()).reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(Now().bound, 20s);
  EXPECT_TRUE(Lower(shorter.revision()).changed());
  EXPECT_EQ(Now().bound, 4s);
  EXPECT_EQ(Now().version, Revision(shorter.revision())) << "nothing was set";
  EXPECT_FALSE(Lower(shorter.revision()).changed());
  catalog.Reopen();
  EXPECT_EQ(Now().bound, 4s);
  EXPECT_EQ(Now().fence_time, 4s);
}

TEST_F(FencingTest, AvailableIsInTheBoundUntilNobodyGoesByIt) {
  catalog.Apply(SetCommand(10000, pb::FENCING_AVAILABLE));
  EXPECT_EQ(ProceedAfter(Now()), std::nullopt);
  EXPECT_TRUE(IsBoundLowered(Now()));
  const auto strict = catalog.Apply(SetCommand(10000));
  EXPECT_EQ(Now().mode, pb::FENCING_STRICT);
  EXPECT_EQ(ProceedAfter(Now()), std::nullopt) << "a node may not have heard of it";
  EXPECT_TRUE(Lower(strict.revision()).changed());
  EXPECT_EQ(ProceedAfter(Now()), 12100ms);
}

TEST_F(FencingTest, TheSameAgainChangesNothing) {
  const auto first = catalog.Apply(SetCommand(5000));
  const auto again = catalog.Apply(SetCommand(5000));
  EXPECT_FALSE(again.changed());
  EXPECT_EQ(Now().version, Revision(first.revision()));
}

TEST_F(FencingTest, LimitsAreNamed) {
  const auto refusal = [](const ipb::CatalogCommand& command) {
    return std::string(MessageOf(Catalog::Validate(command, {})));
  };
  EXPECT_THAT(refusal(SetCommand(1999)), HasSubstr("fence_ms: 1999 is not in 2000..3600000"));
  EXPECT_THAT(refusal(SetCommand(3600001)), HasSubstr("fence_ms: 3600001"));
  EXPECT_THAT(refusal(SetCommand(5000, static_cast<pb::FencingMode>(7))), HasSubstr("mode: 7"));
  EXPECT_EQ(refusal(SetCommand(2000)), "");
}

TEST_F(FencingTest, BelowItsFormatItIsPassedOver) {
  TestCatalog older;
  ipb::CatalogCommand initialize = TestCatalog::InitializeCommand();
  initialize.mutable_initialize_cluster()->mutable_cluster()->set_format_version(kFormatOfLeases - 1);
  older.Apply(initialize);
  EXPECT_EQ(older.Apply(SetCommand(5000)).reason(), pb::REASON_UNSUPPORTED_FORMAT);
  EXPECT_EQ(FencingOf(older.catalog().cluster()).fence_time, 10s);
}

}  // namespace
}  // namespace tenure::catalog
