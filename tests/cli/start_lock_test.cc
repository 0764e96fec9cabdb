#include "cli/start_lock.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "base/format.h"

namespace tenure::cli {
namespace {

namespace fs = std::filesystem;
constexpr Duration kShort = std::chrono::milliseconds(100);

TEST(StartLockTest, OneAtATime) {
  const std::string directory = fmt::format("{}/start-lock-{}/a/b", testing::TempDir(), getpid());
  auto first = StartLock::Take(directory, kShort);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(StartLock::Take(directory, kShort).status().code(), StatusCode::kDeadlineExceeded);
  {
    const std::optional<StartLock> ends = *std::move(first);
  }
  EXPECT_TRUE(StartLock::Take(directory, kShort).ok());
  fs::remove_all(fs::path(directory).parent_path().parent_path());
}

TEST(StartLockTest, SaysWhyItCannot) {
  const auto lock = StartLock::Take("/dev/null/a", kShort);
  EXPECT_NE(MessageOf(lock.status()).find("/dev/null/a"), std::string::npos) << lock.status();
}

}  // namespace
}  // namespace tenure::cli
