// A time limit of a blocking call, by the machine's monotonic clock.
#pragma once

#include <sys/time.h>

#include <algorithm>
#include <chrono>

#include "base/time.h"

namespace tenure::changefeed {

class Deadline {
 public:
  explicit Deadline(Duration limit) : end_(std::chrono::steady_clock::now() + limit) {}
  Duration left() const { return std::max(Duration(0), Duration(end_ - std::chrono::steady_clock::now())); }
  bool passed() const { return left() == Duration(0); }

 private:
  std::chrono::steady_clock::time_point end_;
};

inline timeval ToTimeval(Duration d) {
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(d).count();
  return {.tv_sec = micros / 1'000'000, .tv_usec = micros % 1'000'000};
}

}  // namespace tenure::changefeed
