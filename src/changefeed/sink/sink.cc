#include "changefeed/sink/sink.h"

#include <algorithm>

namespace tenure::changefeed {

FeedError NotPermitted() {
  return {.code = FeedErrorCode::kNodeLost,
          .message = "the node's lease or the owner epoch has ended: nothing more is written"};
}

SinkRoom::SinkRoom(const SinkLimits& limits) : most_(limits.max_buffered_bytes), budget_(limits.budget) {
  if (budget_) ++budget_->sinks;
}

SinkRoom::~SinkRoom() {
  if (budget_) --budget_->sinks;
}

size_t SinkRoom::bytes(bool opened) const {
  const size_t least = std::min(most_, kLeast);
  if (!opened) return least;
  return budget_ ? std::clamp(budget_->bytes / budget_->sinks, least, most_) : most_;
}

}  // namespace tenure::changefeed
