#include "cli/process.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

namespace tenure::cli {
namespace {

TEST(ProcessTest, AReaderThatIsGoneDoesNotEndTheForeground) {
  const auto raise_it = [] {
    BlockEndSignals();
    raise(SIGPIPE);
    _exit(0);
  };
  EXPECT_EXIT(raise_it(), testing::ExitedWithCode(0), "");
}

// What is started must not inherit what this program ignores.
TEST(ProcessTest, AProgramStartsWithDefaultSignals) {
  const auto start_it = [] {
    BlockEndSignals();
    auto process = Process::Start("/bin/sh", {"-c", "kill -PIPE $$; kill -TERM $$"}, "/dev/null");
    const bool gone = process.ok() && process->WaitUntilGone(std::chrono::seconds(10));
    _exit(gone && process->how_it_ended().find("signal 13") != std::string::npos ? 0 : 1);
  };
  EXPECT_EXIT(start_it(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace tenure::cli
