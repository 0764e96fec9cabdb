// Addresses of processes as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tenure {

struct HostPort {
  std::string host;  // without the brackets of [v6]
  uint16_t port = 0;
  bool IsWildcard() const { return host == "0.0.0.0" || host == "::"; }
  std::string ToString() const;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};

// "127.0.0.1:7100", "[::1]:7100", "host:7100"; a port below `least_port` is refused (0 stands for any that is
// free). INVALID_ARGUMENT if it is none.
StatusOr<HostPort> ParseHostPort(std::string_view text, uint16_t least_port = 1);

}  // namespace tenure
