// What the operating system says about this process and its disk.
//
// Threading: any thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace tenure::daemon {

struct ProcessUsage {
  uint64_t resident_bytes = 0;
  double cpu_seconds = 0;
};
ProcessUsage ReadUsage();

StatusOr<uint64_t> FreeDiskBytes(const std::string& path);

}  // namespace tenure::daemon
