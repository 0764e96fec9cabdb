// Whether the leader has heard enough of the cluster to decide what depends on load: placement, failover,
// balancing.
#pragma once

#include <string>
#include <vector>

#include "base/time.h"

namespace tenure::controller {

class LoadReadiness {
 public:
  virtual ~LoadReadiness() = default;
  // Who has not been heard in this leadership and is waited for, by name.
  virtual std::vector<std::string> missing() const = 0;
  // Until it goes on without them.
  virtual Duration remaining() const = 0;
  // Without whom it went on, and who has given none since.
  virtual std::vector<std::string> unsampled() const = 0;
};

}  // namespace tenure::controller
