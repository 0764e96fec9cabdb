// How `tenured` ends when it does not serve at all.
#include "daemon/run.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace tenure::daemon {
namespace {

int RunWithOutputTo(const char* path, std::vector<const char*> arguments) {
  const int file = open(path, O_WRONLY);
  dup2(file, STDOUT_FILENO);
  dup2(file, STDERR_FILENO);
  arguments.insert(arguments.begin(), "tenured");
  return Run(static_cast<int>(arguments.size()), arguments.data());
}

// Who cannot be told why still gets the exit code.
TEST(RunTest, OutputThatCannotBeWrittenChangesNoExitCode) {
  EXPECT_EXIT(_exit(RunWithOutputTo("/dev/full", {"--bogus"})), testing::ExitedWithCode(2), "");
  EXPECT_EXIT(_exit(RunWithOutputTo("/dev/full", {"--version"})), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace tenure::daemon
