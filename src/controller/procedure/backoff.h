// How long a failed try is followed by none.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/time.h"

namespace tenure::controller {

inline constexpr Duration kFirstPause = std::chrono::milliseconds(200);
inline constexpr Duration kLongestPause = std::chrono::seconds(30);

// After `failures` tries that failed before this one: doubles from kFirstPause to kLongestPause.
inline Duration BackoffFor(uint32_t failures) {
  return std::min(kFirstPause * (int64_t{1} << std::min<uint32_t>(failures, 10)), kLongestPause);
}

}  // namespace tenure::controller
