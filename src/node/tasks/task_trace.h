// Sees which tasks begin and end on a node, for checkers outside the product (the simulator's invariants).
//
// Threading: the node's executor. Must not call back.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "node/tasks/task_table.h"
#include "tenure/internal/v1/agent.pb.h"

namespace tenure::node {

class TaskTrace {
 public:
  virtual ~TaskTrace() = default;
  // The work begins. `registration_epoch` is of the process that does it.
  virtual void OnTaskStart(uint64_t registration_epoch, const TaskKey& key,
                           const ::tenure::internal::v1::TaskPayload& payload) = 0;
  // The work has ended; not called for one that was stopped.
  virtual void OnTaskEnd(uint64_t registration_epoch, const TaskKey& key, const Status& status) = 0;
};

}  // namespace tenure::node
