// Where the history of a database's changes begins: what a changefeed can begin with.
//
// Implemented over the nodes that lead the database's regions; a fake stands in for tests.
// Threading: the controller's executor.
#pragma once

#include <utility>

#include "base/ids.h"
#include "base/status.h"
#include "changefeed/protocol/ids.h"
#include "runtime/stop_token.h"
#include "runtime/task.h"

namespace tenure::controller {

class ChangeHistory {
 public:
  virtual ~ChangeHistory() = default;
  // Every change after this timestamp is kept, in every region of the database. UNAVAILABLE naming a region
  // that does not keep its changes yet, or does not answer: to be asked again.
  virtual runtime::Task<StatusOr<changefeed::CommitTs>> BeginOf(uint64_t database,
                                                                runtime::StopToken stop) = 0;
  // A timestamp that every change of before the call is at or below, and not below BeginOf: from where on a
  // changefeed delivers that asks for no other start. UNAVAILABLE also while slots of the database go from one
  // region to another.
  virtual runtime::Task<StatusOr<changefeed::CommitTs>> ResolvedOf(uint64_t database,
                                                                   runtime::StopToken stop) {
    return BeginOf(database, std::move(stop));
  }
};

}  // namespace tenure::controller
