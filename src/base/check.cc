#include "base/check.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace tenure {
namespace {
// The one process-wide variable of the project: a crash report has no object to hang on.
std::atomic<CheckHook> check_hook{nullptr};
}  // namespace

void SetCheckHook(CheckHook hook) {
  check_hook.store(hook);
}

void CheckFailed(const char* file, int line, const char* condition, const std::string& message) {
  const std::string text = fmt::format("CHECK failed at {}:{}: {}: {}", file, line, condition, message);
  std::fprintf(stderr, "%s\n", text.c_str());
  std::fflush(stderr);
  if (CheckHook hook = check_hook.load()) hook(text);
  std::abort();
}

}  // namespace tenure
