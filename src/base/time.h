// Time as values: no clock is read here (runtime/clock.h does that).
//
// `Instant` counts on a process's monotonic clock and means nothing in another process; `WallTime` is
// milliseconds since the Unix epoch and may jump.
#pragma once

#include <chrono>
#include <cstdint>

namespace tenure {

using Duration = std::chrono::nanoseconds;

struct MonotonicTime {
  using duration = Duration;
  using rep = Duration::rep;
  using period = Duration::period;
  static constexpr bool is_steady = true;
};
struct UnixTime {
  using duration = std::chrono::milliseconds;
  using rep = duration::rep;
  using period = duration::period;
  static constexpr bool is_steady = false;
};

using Instant = std::chrono::time_point<MonotonicTime, Duration>;
using WallTime = std::chrono::time_point<UnixTime, std::chrono::milliseconds>;

inline constexpr Instant kFarFuture = Instant::max();

inline constexpr int64_t ToMillis(Duration d) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
}
inline constexpr int64_t ToMillis(WallTime t) {
  return t.time_since_epoch().count();
}
inline constexpr WallTime WallFromMillis(int64_t ms) {
  return WallTime(std::chrono::milliseconds(ms));
}

}  // namespace tenure
