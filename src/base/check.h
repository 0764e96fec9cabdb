// Assertions that are always on: a broken invariant prints what it saw and aborts the process.
//
//   TENURE_CHECK(match <= last, "match {} is beyond last {}", match, last);
//
// TENURE_VERIFY is for checks too expensive for production; it is on in tests and in the simulator
// (TENURE_VERIFY_ON) and its condition is not evaluated elsewhere.
#pragma once

#include <fmt/format.h>

#include <string>

namespace tenure {

// Prints `message` and aborts. A simulator may install a hook that reports the seed first; the hook is
// set once before the world starts and must not return.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition, const std::string& message);

using CheckHook = void (*)(const std::string& message);
void SetCheckHook(CheckHook hook);

}  // namespace tenure

#define TENURE_CHECK(condition, ...)                                                     \
  do {                                                                                   \
    if (!(condition)) [[unlikely]]                                                       \
      ::tenure::CheckFailed(__FILE__, __LINE__, #condition, ::fmt::format(__VA_ARGS__)); \
  } while (false)

#ifdef TENURE_VERIFY_ON
#define TENURE_VERIFY(condition, ...) TENURE_CHECK(condition, __VA_ARGS__)
#else
#define TENURE_VERIFY(condition, ...) \
  do {                                \
  } while (false)
#endif
