// Something that runs on the leading controller only, within one leadership epoch.
#pragma once

#include <string_view>

#include "base/ids.h"
#include "base/status.h"
#include "runtime/stop_token.h"
#include "runtime/task.h"

namespace tenure::controller {

// Driven by Leadership, on the controller's executor: Start (repeated with backoff while it fails), then, at
// the end of the epoch and whatever Start said, Stop. Never two epochs at once.
class LeaderService {
 public:
  virtual ~LeaderService() = default;
  virtual std::string_view name() const = 0;
  // Without this one nothing can be served: the epoch waits for it, however often it fails. The others are
  // waited for once.
  virtual bool required() const { return false; }
  // `stop` is requested when the epoch ends; Start then returns soon.
  virtual runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) = 0;
  // Drops what belongs to the epoch. Start is not running any more.
  virtual void Stop() = 0;
};

}  // namespace tenure::controller
