#include "daemon/process_usage.h"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace tenure::daemon {

ProcessUsage ReadUsage() {
  ProcessUsage usage;
  std::ifstream file("/proc/self/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  if (file >> total >> resident)
    usage.resident_bytes = resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  rusage times{};
  if (getrusage(RUSAGE_SELF, &times) == 0) {
    auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    usage.cpu_seconds = seconds(times.ru_utime) + seconds(times.ru_stime);
  }
  return usage;
}

StatusOr<uint64_t> FreeDiskBytes(const std::string& path) {
  struct statvfs disk{};
  if (statvfs(path.c_str(), &disk) != 0) {
    return Error(StatusCode::kInternal, "statvfs {}: {}", path, std::strerror(errno));
  }
  return static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize;
}

}  // namespace tenure::daemon
