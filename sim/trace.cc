#include "sim/trace.h"

#include <fmt/format.h>

namespace tenure::sim {

void Trace::Write(LogLevel level, std::string_view source, std::string_view message) {
  const size_t space = std::min(source.find(' '), source.size());
  const std::string_view time = source.substr(0, space);
  const std::string_view rest = space < source.size() ? source.substr(space + 1) : std::string_view();
  const size_t slash = std::min(rest.find('/'), rest.size());
  const std::string_view part = slash < rest.size() ? rest.substr(slash + 1) : std::string_view();
  const char mark = level == LogLevel::kError ? 'E' : level == LogLevel::kWarn ? 'W' : ' ';
  std::string line =
      fmt::format("{:>12} {} {:<8} {:<20} {}", time, mark, rest.substr(0, slash), part, message);
  if (print_) fmt::print("{}\n", line);
  lines_.push_back(std::move(line));
  if (lines_.size() > kept_) lines_.pop_front();
}

}  // namespace tenure::sim
