#include "base/duration.h"

#include <charconv>
#include <chrono>
#include <cstdint>

namespace tenure {
namespace {

// Far below what a Duration holds, so that it can be added to any point in time.
constexpr uint64_t kMaxHours = 24 * 365 * 100;

template <class Unit>
StatusOr<Duration> Checked(std::string_view text, uint64_t count) {
  if (count <= static_cast<uint64_t>(Unit(std::chrono::hours(kMaxHours)).count()))
    return Duration(Unit(count));
  return Error(StatusCode::kInvalidArgument, "'{}' is too long, the limit is {}h", text, kMaxHours);
}

}  // namespace

StatusOr<Duration> ParseDuration(std::string_view text) {
  uint64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  if (error == std::errc() && unit == "ms") return Checked<std::chrono::milliseconds>(text, count);
  if (error == std::errc() && unit == "s") return Checked<std::chrono::seconds>(text, count);
  if (error == std::errc() && unit == "m") return Checked<std::chrono::minutes>(text, count);
  if (error == std::errc() && unit == "h") return Checked<std::chrono::hours>(text, count);
  return Error(StatusCode::kInvalidArgument, "'{}' is no duration such as 250ms, 5s, 10m or 2h", text);
}

}  // namespace tenure
