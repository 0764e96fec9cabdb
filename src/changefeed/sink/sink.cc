#include "changefeed/sink/sink.h"

namespace tenure::changefeed {

FeedError NotPermitted() {
  return {.code = FeedErrorCode::kNodeLost,
          .message = "the node's lease or the owner epoch has ended: nothing more is written"};
}

}  // namespace tenure::changefeed
