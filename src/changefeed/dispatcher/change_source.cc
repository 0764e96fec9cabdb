#include "changefeed/dispatcher/change_source.h"

namespace tenure::changefeed {

bool IsHistoryGone(const Status& status) {
  return status.code() == StatusCode::kOutOfRange;
}
Status HistoryGone(RegionId region, CommitTs position, CommitTs begin) {
  return Error(StatusCode::kOutOfRange,
               "the change log of region {} begins at {}, what was committed after {} is needed", region,
               begin, position);
}

bool IsNotLeader(const Status& status) {
  return status.code() == StatusCode::kFailedPrecondition;
}
Status NotLeader(RegionId region) {
  return Error(StatusCode::kFailedPrecondition, "region {} is not led by this node", region);
}

}  // namespace tenure::changefeed
