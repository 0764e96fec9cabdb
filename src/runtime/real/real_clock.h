// The machine's clocks. Monotonic time goes on while the machine sleeps, so that a lease does not survive a
// suspended laptop or a stopped virtual machine.
//
// Threading: any thread.
#pragma once

#include "runtime/clock.h"

namespace tenure::runtime {

class RealClock final : public Clock {
 public:
  Instant Now() const override;
  WallTime WallNow() const override;
};

}  // namespace tenure::runtime
