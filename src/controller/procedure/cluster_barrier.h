// What a procedure waits for before it relies on every node: that none serves from a catalog older than a
// revision, and none will.
//
// Threading:  the controller's executor.
// Reference:  docs/fencing.md, "barriers".
#pragma once

#include "base/ids.h"
#include "base/status.h"
#include "base/time.h"
#include "runtime/task.h"

namespace tenure::controller {

class ClusterBarrier {
 public:
  virtual ~ClusterBarrier() = default;
  // OK: passed. DEADLINE_EXCEEDED: not within `budget` (zero: the longest time for which a lost node may hold
  // a barrier up, and some more), naming the nodes that hold it up. Another error: this leadership has ended,
  // or `stop` came.
  virtual runtime::Task<Status> Pass(Revision revision, Duration budget, runtime::StopToken stop) = 0;
};

}  // namespace tenure::controller
