// What is special to the real disk; its promises are in tests/contract.
#include "runtime/real/real_disk.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "runtime/real/real_executor.h"

namespace tenure::runtime {
namespace {

// The log waits when there is no room for its next file, and the process ends at any other error.
TEST(RealDiskTest, OutOfDescriptorsIsOutOfRoom) {
  RealExecutor executor("test");
  RealDisk disk(executor);
  const int next = dup(0);
  ASSERT_GE(next, 0);
  close(next);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit low = before;
  low.rlim_cur = static_cast<rlim_t>(next);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  const auto opened = disk.Open("/proc/self/stat", OpenMode::kReadOnly);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(opened.status().code(), StatusCode::kResourceExhausted) << opened.status();
}

}  // namespace
}  // namespace tenure::runtime
