// Two `tenure up` of one directory: the second one looks what runs when the first has started it.
//
// Threading: blocks the calling thread. Processes that are started do not inherit the lock; the kernel releases it with
//            this process.
// Errors:    what the directory or DIR/up.lock cannot be made for; DEADLINE_EXCEEDED; CANCELLED by Ctrl-C.
#pragma once

#include <string>

#include "base/status.h"
#include "base/time.h"

namespace tenure::cli {

class StartLock {
 public:
  // Makes the directory if it is not there.
  static StatusOr<StartLock> Take(const std::string& directory, Duration limit);
  StartLock(StartLock&& other) noexcept;
  StartLock& operator=(StartLock&&) = delete;
  ~StartLock();

 private:
  explicit StartLock(int file) : file_(file) {}

  int file_;
};

}  // namespace tenure::cli
