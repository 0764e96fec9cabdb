#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "catalog/catalog.h"
#include "catalog/names.h"
#include "catalog/refusal.h"
#include "tests/catalog/test_catalog.h"

namespace tenure::catalog {
namespace {

using namespace ::tenure::v1;
using ::testing::HasSubstr;
using T = TestCatalog;

void ExpectInvalid(const ipb::CatalogCommand& command, const std::string& field) {
  const Status status = Catalog::Validate(command, {});
  EXPECT_EQ(ReasonOf(status), REASON_INVALID_ARGUMENT) << field;
  EXPECT_TRUE(MessageOf(status).starts_with(field + ":")) << MessageOf(status);
}

TEST(Validate, Entries) {
  EXPECT_TRUE(Catalog::Validate(T::Put("k", ""), {}).ok());
  EXPECT_TRUE(Catalog::Validate(T::Put(std::string(1024, 'k'), std::string(1 << 20, 'v')), {}).ok());
  ExpectInvalid(T::Put("", "v"), "key");
  ExpectInvalid(T::Put(std::string(1025, 'k'), "v"), "key");
  ExpectInvalid(T::Put("k", std::string((1 << 20) + 1, 'v')), "value");
  EXPECT_THAT(MessageOf(Catalog::Validate(T::Put(std::string(1025, 'k'), ""), {})), HasSubstr("1024"));
  auto both = T::Put("k", "v");
  both.mutable_put_entry()->set_if_absent(true);
  both.mutable_put_entry()->set_if_revision(1);
  ExpectInvalid(both, "if_absent");
  ExpectInvalid(T::Delete(""), "key");
}

TEST(Validate, RequestIds) {
  EXPECT_TRUE(Catalog::Validate(T::WithId(T::Put("k", "v"), 1, 5, 5), {}).ok());
  ExpectInvalid(T::WithId(T::Put("k", "v"), 1, 0, 0), "id.sequence");
  ExpectInvalid(T::WithId(T::Put("k", "v"), 1, 5, 6), "id.answered_below");
}

TEST(Validate, Nodes) {
  EXPECT_TRUE(Catalog::Validate(T::Register("u", "h:1", "h:2"), {}).ok());
  ExpectInvalid(T::Register("", "h:1"), "node.uuid");
  ExpectInvalid(T::Register("u", "h"), "node.address");
  ExpectInvalid(T::Register("u", "h:0"), "node.address");
  ExpectInvalid(T::Register("u", "h:70000"), "node.address");
  ExpectInvalid(T::Register("u", ":1"), "node.address");
  ExpectInvalid(T::Register("u", "h:1", "nonsense"), "node.resp_address");
  ExpectInvalid(T::Register("u", "h:1", "h:1"), "node.resp_address");
  auto labelled = T::Register("u", "h:1");
  for (int i = 0; i < 2; ++i) {
    Label& label = *labelled.mutable_register_node()->mutable_node()->add_labels();
    label.set_key("rack");
    label.set_value("7");
  }
  ExpectInvalid(labelled, "node.labels");
  auto many = T::Register("u", "h:1");
  for (int i = 0; i < 64; ++i)
    many.mutable_register_node()->mutable_node()->add_labels()->set_key(std::to_string(i));
  EXPECT_TRUE(Catalog::Validate(many, {}).ok());
  many.mutable_register_node()->mutable_node()->add_labels()->set_key("64");
  ExpectInvalid(many, "node.labels");
  auto version = T::Register("u", "h:1");
  version.mutable_register_node()->mutable_node()->set_software_version(std::string(129, '1'));
  ExpectInvalid(version, "node.software_version");
}

TEST(Validate, WhoRecovers) {
  ipb::CatalogCommand recover = T::Command();
  recover.set_version(2);
  auto& item = *recover.mutable_recover_regions()->add_items();
  item.mutable_recovery()->set_by(std::string(128, 'x'));
  EXPECT_TRUE(Catalog::Validate(recover, {}).ok());
  item.mutable_recovery()->set_by(std::string(129, 'x'));
  ExpectInvalid(recover, "by");
}

TEST(Validate, Databases) {
  EXPECT_TRUE(Catalog::Validate(T::CreateDatabase("d", 7, {1, 2, 3}), {}).ok());
  ExpectInvalid(T::CreateDatabase("", 1, {1}), "name");
  ExpectInvalid(T::CreateDatabase("a\nb", 1, {1}), "name");
  ExpectInvalid(T::CreateDatabase(std::string(129, 'd'), 1, {1}), "name");
  ExpectInvalid(T::CreateDatabase("d", 0, {1}), "regions");
  ExpectInvalid(T::CreateDatabase("d", 16385, {1}), "regions");
  ExpectInvalid(T::CreateDatabase("d", 1, {}), "replicas");
  ExpectInvalid(T::CreateDatabase("d", 1, {1, 1, 2}), "regions");
  auto gap = T::CreateDatabase("d", 2, {1});
  gap.mutable_create_database()->mutable_regions(1)->mutable_slots()->set_first(8193);
  ExpectInvalid(gap, "regions");
  auto short_of = T::CreateDatabase("d", 2, {1});
  short_of.mutable_create_database()->mutable_regions(1)->mutable_slots()->set_last(16382);
  ExpectInvalid(short_of, "regions");
  ExpectInvalid(T::DatabaseTo(1, DATABASE_PUBLIC, DATABASE_CREATING), "to");
  ExpectInvalid(T::RegionTo(1, REGION_REMOVING, REGION_SERVING), "to");
}

TEST(Validate, VersionsAndTypes) {
  auto command = T::Put("k", "v");
  command.set_version(kNewestFormat + 1);
  EXPECT_EQ(ReasonOf(Catalog::Validate(command, {})), REASON_UNSUPPORTED_FORMAT);
  EXPECT_EQ(ReasonOf(Catalog::Validate(T::Command(), {})), REASON_UNSUPPORTED_FORMAT);
}

TEST(Names, Utf8) {
  EXPECT_TRUE(IsValidUtf8(""));
  EXPECT_TRUE(IsValidUtf8("gr\xc3\xbc\xc3\x9f"));
  EXPECT_TRUE(IsValidUtf8("\xf0\x9f\x98\x80"));
  EXPECT_FALSE(IsValidUtf8("\xff"));
  EXPECT_FALSE(IsValidUtf8("\xc3"));
  EXPECT_FALSE(IsValidUtf8("\xc0\x80"));          // overlong
  EXPECT_FALSE(IsValidUtf8("\xed\xa0\x80"));      // surrogate
  EXPECT_FALSE(IsValidUtf8("\xf4\x90\x80\x80"));  // above U+10FFFF
  EXPECT_TRUE(CheckName("name", "gr\xc3\xbc\xc3\x9f", 128).ok());
  EXPECT_FALSE(CheckName("name", "a\xc2\x85", 128).ok());  // U+0085, a control character
  EXPECT_FALSE(CheckName("name", std::string("a\0b", 3), 128).ok());
  EXPECT_FALSE(CheckName("name", "\xff", 128).ok());
}

}  // namespace
}  // namespace tenure::catalog
