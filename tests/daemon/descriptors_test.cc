// What clients get of a process's descriptors.
#include "daemon/descriptors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

namespace tenure::daemon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(DescriptorsTest, ClientsGetWhatTheProcessLeaves) {
  EXPECT_EQ(*ClientsWithin(1 << 20, 10000), 10000u);
  EXPECT_EQ(*ClientsWithin(1024, 10000), 1024 - kReservedDescriptors);
  EXPECT_EQ(*ClientsWithin(kReservedDescriptors + kLeastClients, 10000), kLeastClients);
  EXPECT_EQ(*ClientsWithin(kReservedDescriptors + 1, 1), 1u);
}

TEST(DescriptorsTest, TooFewForTheProcessItselfAreRefused) {
  const auto few = ClientsWithin(kReservedDescriptors + kLeastClients - 1, 10000);
  EXPECT_EQ(few.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(few.status()), AllOf(HasSubstr("ulimit -n"), HasSubstr(" 799,"), HasSubstr(" 800:")));
}

TEST(DescriptorsTest, TheSoftLimitIsRaisedToTheHardOne) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit low = before;
  low.rlim_cur = 256;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(RaiseDescriptorLimit(), before.rlim_max);
  rlimit after{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

}  // namespace
}  // namespace tenure::daemon
