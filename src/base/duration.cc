#include "base/duration.h"

#include <charconv>
#include <chrono>
#include <cstdint>

namespace tenure {

StatusOr<Duration> ParseDuration(std::string_view text) {
  uint32_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  if (error == std::errc() && unit == "ms") return Duration(std::chrono::milliseconds(count));
  if (error == std::errc() && unit == "s") return Duration(std::chrono::seconds(count));
  if (error == std::errc() && unit == "m") return Duration(std::chrono::minutes(count));
  if (error == std::errc() && unit == "h") return Duration(std::chrono::hours(count));
  return Error(StatusCode::kInvalidArgument, "'{}' is no duration such as 250ms, 5s, 10m or 2h", text);
}

}  // namespace tenure
