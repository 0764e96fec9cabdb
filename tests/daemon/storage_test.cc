#include "daemon/storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tenure::daemon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(StorageTest, AFullDiskIsRefusedBeforeTheEngineMeetsIt) {
  EXPECT_TRUE(CheckRoom("/d", uint64_t{4} << 20).ok());
  const Status full = CheckRoom("/d", uint64_t{0});
  EXPECT_EQ(full.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(MessageOf(full), AllOf(HasSubstr("/d has 0 bytes free"), HasSubstr("4194304 are needed")));
  EXPECT_FALSE(CheckRoom("/d", Error(StatusCode::kInternal, "statvfs")).ok());
}

}  // namespace
}  // namespace tenure::daemon
