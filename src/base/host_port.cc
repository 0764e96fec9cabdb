#include "base/host_port.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <system_error>

namespace tenure {

std::string HostPort::ToString() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                             : fmt::format("[{}]:{}", host, port);
}

StatusOr<HostPort> ParseHostPort(std::string_view text, uint16_t least_port) {
  const Status bad = Error(StatusCode::kInvalidArgument, "'{}' is not HOST:PORT", text);
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return bad;
  std::string_view host = text.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return Error(StatusCode::kInvalidArgument, "'{}' is not HOST:PORT (an IPv6 address stands in brackets)",
                 text);
  }
  const std::string_view digits = text.substr(colon + 1);
  uint32_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (host.empty() || error != std::errc() || end != digits.data() + digits.size()) return bad;
  constexpr uint32_t kMost = std::numeric_limits<uint16_t>::max();
  if (port < least_port || port > kMost) {
    return Error(StatusCode::kInvalidArgument, "'{}': the port must be from {} to {}", text, least_port,
                 kMost);
  }
  return HostPort{std::string(host), static_cast<uint16_t>(port)};
}

}  // namespace tenure
