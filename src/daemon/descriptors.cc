#include "daemon/descriptors.h"

#include <sys/resource.h>

#include <algorithm>

namespace tenure::daemon {

uint64_t RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  // Refused where the hard limit is above what the kernel allows now: then the old one stays.
  return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}

StatusOr<size_t> ClientsWithin(uint64_t limit, size_t wanted) {
  const uint64_t least = kReservedDescriptors + std::min<uint64_t>(kLeastClients, wanted);
  if (limit < least) {
    return Error(
        StatusCode::kFailedPrecondition,
        "the limit of open files (ulimit -n) is {}, the process needs at least {}: raise its hard limit",
        limit, least);
  }
  return static_cast<size_t>(std::min<uint64_t>(wanted, limit - kReservedDescriptors));
}

}  // namespace tenure::daemon
