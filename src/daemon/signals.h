// What ends the main thread's wait: a signal from outside, or a failure from inside.
//
//   Signals signals;               // before the first thread: they inherit the blocked signals
//   const Signals::Reason reason = signals.Wait();
//
// Threading: Fail from any thread, any number of times (the first counts); Wait from the main thread.
#pragma once

#include <mutex>
#include <optional>

#include "base/status.h"
#include "base/time.h"

namespace tenure::daemon {

class Signals {
 public:
  // Blocks SIGTERM, SIGINT and SIGHUP for this thread and those it starts; SIGPIPE is ignored.
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  void Fail(Status status);

  struct Reason {
    int signal = 0;  // or
    std::optional<Status> failure;
  };
  // None when `limit` has passed.
  std::optional<Reason> Wait(Duration limit);
  // From here on a signal ends the process at once.
  void EndAtOnceOnSignal();

 private:
  int signal_fd_ = -1;
  int failure_fd_ = -1;
  std::mutex mutex_;
  std::optional<Status> failure_;
};

}  // namespace tenure::daemon
