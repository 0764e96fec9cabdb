// Durations as people write them.
#pragma once

#include <string_view>

#include "base/status.h"
#include "base/time.h"

namespace tenure {

// "250ms", "5s", "10m", "2h", up to a hundred years. INVALID_ARGUMENT otherwise.
StatusOr<Duration> ParseDuration(std::string_view text);

}  // namespace tenure
