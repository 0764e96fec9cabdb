// Waiting for what takes long.
//
// Threading: blocks the calling thread.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/status.h"
#include "base/time.h"

namespace tenure::cli {

class Deadline {
 public:
  explicit Deadline(Duration limit) : limit_(limit), end_(std::chrono::steady_clock::now() + limit) {}
  Duration limit() const { return limit_; }
  // Never below zero.
  Duration remaining() const;

 private:
  const Duration limit_;
  const std::chrono::steady_clock::time_point end_;
};

// Calls `look` until it returns an empty string; what it returns is the progress line. DEADLINE_EXCEEDED
// names what was still missing. `look` gets the time one question may take.
Status WaitUntilNothingIsMissing(const Deadline& deadline,
                                 const std::function<StatusOr<std::string>(Duration limit)>& look);

}  // namespace tenure::cli
