// Where time comes from. The only clocks of the program are the implementations of this interface.
//
// Threading: any thread. Monotonic time never goes back; wall time may jump.
#pragma once

#include "base/time.h"

namespace tenure::runtime {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant Now() const = 0;
  virtual WallTime WallNow() const = 0;
};

}  // namespace tenure::runtime
