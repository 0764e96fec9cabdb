#include "catalog/format.h"

#include <gmock/gmock.h>

#include "tests/catalog/test_catalog.h"

namespace tenure::catalog {
namespace {

using ::testing::HasSubstr;

ipb::CatalogCommand OfField(int number) {
  ipb::CatalogCommand command = TestCatalog::Command();
  command.GetReflection()->MutableUnknownFields(&command)->AddLengthDelimited(number, "what it once said");
  return command;
}

ipb::CatalogCommand Raise(uint32_t to) {
  ipb::CatalogCommand command = TestCatalog::Command();
  command.mutable_raise_format()->set_to(to);
  return command;
}

ipb::CatalogCommand ControllerReads(uint64_t id, uint32_t newest) {
  ipb::CatalogCommand command = TestCatalog::Command();
  pb::ControllerRecord& controller = *command.mutable_update_controller()->mutable_controller();
  controller.set_id(id);
  controller.set_address(fmt::format("10.0.0.{}:7100", id));
  controller.set_voter(true);
  controller.set_newest_format(newest);
  return command;
}

TEST(FormatTest, EveryCommandOfTheMessageHasAType) {
  const auto* body = ipb::CatalogCommand::descriptor()->FindOneofByName("body");
  for (int i = 0; i < body->field_count(); ++i) {
    const int number = body->field(i)->number();
    int found = 0;
    for (const CommandType& type : CommandTypes()) {
      if (type.number != number) continue;
      ++found;
      EXPECT_FALSE(type.retired) << type.name;
    }
    EXPECT_EQ(found, 1) << body->field(i)->name();
  }
  for (const CommandType& type : CommandTypes()) {
    EXPECT_GE(type.since, kOldestFormat) << type.name;
    EXPECT_LE(type.since, kNewestFormat) << type.name;
    EXPECT_EQ(type.retired, ipb::CatalogCommand::descriptor()->FindFieldByNumber(type.number) == nullptr)
        << type.name;
  }
}

TEST(FormatTest, SectionsHaveLettersOfTheirOwn) {
  std::set<char> letters;
  for (const Section& section : Sections())
    EXPECT_TRUE(letters.insert(section.letter).second) << section.name;
}

TEST(FormatTest, ARetiredCommandDoesNothingAndIsNoted) {
  TestCatalog catalog;
  catalog.Initialize();
  const auto before = catalog.Dump();
  const auto result = catalog.Apply(OfField(99));
  EXPECT_EQ(result.reason(), pb::REASON_UNSUPPORTED_FORMAT);
  EXPECT_EQ(catalog.Dump(), before);
  const auto notes = catalog.catalog().TakeNotes();
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_THAT(notes[0], HasSubstr("the command at revision 2 is of the retired type Retired"));
  EXPECT_EQ(catalog.Apply(TestCatalog::Put("a", "1")).revision(), 3u);
}

TEST(FormatTest, ACommandOfNoKnownTypeDoesNothingAndIsNoted) {
  TestCatalog catalog;
  catalog.Initialize();
  EXPECT_EQ(catalog.Apply(OfField(98)).reason(), pb::REASON_UNSUPPORTED_FORMAT);
  EXPECT_EQ(catalog.Apply(TestCatalog::Command()).reason(), pb::REASON_UNSUPPORTED_FORMAT);
  EXPECT_THAT(catalog.catalog().TakeNotes(), ::testing::Each(HasSubstr("no known type")));
}

TEST(FormatDeathTest, AProgramThatIsTooOldForTheLogEnds) {
  TestCatalog catalog;
  catalog.Initialize();
  ipb::CatalogCommand command = OfField(98);
  command.set_version(kNewestFormat + 1);
  EXPECT_DEATH(catalog.Apply(command),
               fmt::format("reads formats 1 to {}: start a newer one", kNewestFormat));
  EXPECT_DEATH(catalog.Apply(Raise(kNewestFormat + 1)),
               fmt::format("raises the cluster's format to {}", kNewestFormat + 1));
}

TEST(FormatTest, ACommandOfALaterFormatThanTheClustersDoesNothing) {
  TestCatalog catalog;
  catalog.Initialize();
  ipb::CatalogCommand command = TestCatalog::Put("a", "1");
  command.set_version(2);
  const auto result = catalog.Apply(command);
  EXPECT_EQ(result.reason(), pb::REASON_UNSUPPORTED_FORMAT);
  EXPECT_THAT(result.message(), HasSubstr("PutEntry, format 2; the cluster has format 1"));
}

TEST(FormatTest, TheFormatRisesOnlyWhenEveryMemberReadsIt) {
  TestCatalog catalog;
  catalog.Initialize();
  EXPECT_EQ(catalog.catalog().format_version(), 1u);
  auto refused = catalog.Apply(Raise(2));
  EXPECT_EQ(refused.reason(), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(refused.message(), "controller 1 runs a program that reads formats up to 1, not 2");
  for (uint64_t id = 1; id <= 3; ++id) catalog.Apply(ControllerReads(id, 2));
  catalog.Apply(TestCatalog::Register("uuid-1", "10.0.0.1:1"));
  refused = catalog.Apply(Raise(2));
  EXPECT_EQ(refused.message(), "node 1 runs a program that reads formats up to 1, not 2");

  ipb::CatalogCommand again = TestCatalog::Register("uuid-1", "10.0.0.1:1");
  again.mutable_register_node()->mutable_node()->set_newest_format(2);
  catalog.Apply(again);
  catalog.catalog().TakeEvents();
  const auto raised = catalog.Apply(Raise(2));
  EXPECT_EQ(raised.reason(), pb::REASON_UNSPECIFIED);
  EXPECT_TRUE(raised.changed());
  EXPECT_EQ(catalog.catalog().format_version(), 2u);
  const auto events = catalog.catalog().TakeEvents().records;
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].old_record().cluster().format_version(), 1u);
  EXPECT_EQ(events[0].new_record().cluster().format_version(), 2u);
  EXPECT_FALSE(catalog.Apply(Raise(2)).changed());
  EXPECT_FALSE(catalog.Apply(Raise(1)).changed()) << "it never falls";
  catalog.Reopen();
  EXPECT_EQ(catalog.catalog().format_version(), 2u);
}

TEST(FormatTest, AControllerThatWasRemovedKeepsNoFormatBack) {
  TestCatalog catalog;
  catalog.Initialize();
  for (uint64_t id = 1; id <= 2; ++id) catalog.Apply(ControllerReads(id, 2));
  ipb::CatalogCommand recovery = TestCatalog::Command();
  recovery.mutable_recover_cluster()->set_cluster_id("cluster");
  recovery.mutable_recover_cluster()->set_voter(1);
  recovery.mutable_recover_cluster()->add_learners(2);
  recovery.mutable_recover_cluster()->mutable_recovery()->set_incarnation(2);
  EXPECT_EQ(catalog.Apply(Raise(2)).message(),
            "controller 3 runs a program that reads formats up to 1, not 2");
  catalog.Apply(recovery);
  EXPECT_EQ(catalog.Apply(Raise(2)).reason(), pb::REASON_UNSPECIFIED);
  EXPECT_EQ(catalog.catalog().format_version(), 2u);
}

TEST(FormatTest, RetiredSectionsAreNotReadAndGoWhenTheFormatRises) {
  TestCatalog catalog;
  catalog.Initialize();
  for (uint64_t id = 1; id <= 3; ++id) catalog.Apply(ControllerReads(id, 2));
  catalog.WriteRaw("z1", "of old");
  catalog.Reopen();
  EXPECT_THAT(catalog.catalog().TakeNotes(), ::testing::ElementsAre(HasSubstr("retired section 'retired'")));
  EXPECT_THAT(catalog.Dump(), HasSubstr("p/z1"));
  catalog.Apply(Raise(2));
  EXPECT_THAT(catalog.Dump(), ::testing::Not(HasSubstr("p/z1")));
  catalog.Reopen();
  EXPECT_TRUE(catalog.catalog().TakeNotes().empty());
}

TEST(FormatTest, AStateOfALaterProgramIsRefused) {
  TestCatalog catalog;
  catalog.Initialize();
  EXPECT_EQ(Catalog::CheckFormat(catalog.state()), OkStatus());
  catalog.WriteRaw("y1", "what is this");
  EXPECT_THAT(std::string(Catalog::CheckFormat(catalog.state()).message()), HasSubstr("does not know ('y')"));

  TestCatalog later;
  ipb::CatalogCommand initialize = TestCatalog::InitializeCommand();
  initialize.mutable_initialize_cluster()->mutable_cluster()->set_format_version(kNewestFormat + 1);
  later.Apply(initialize);
  EXPECT_EQ(MessageOf(Catalog::CheckFormat(later.state())),
            fmt::format("the catalog has format {}; this program reads formats 1 to {}", kNewestFormat + 1,
                        kNewestFormat));
}

TEST(FormatTest, RaisingToAnUnknownFormatIsRefusedBeforeTheLog) {
  EXPECT_THAT(std::string(Catalog::Validate(Raise(kNewestFormat + 1), {}).message()),
              HasSubstr(fmt::format("to: format {} is not in 1..{}", kNewestFormat + 1, kNewestFormat)));
  EXPECT_EQ(Catalog::Validate(Raise(2), {}), OkStatus());
}

}  // namespace
}  // namespace tenure::catalog
