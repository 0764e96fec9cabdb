// What goes wrong with a changefeed, and whether waiting helps.
//
// Threading: values.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "changefeed/protocol/ids.h"

namespace tenure::changefeed {

// Travels and is stored by name.
enum class FeedErrorCode : uint8_t {
  // Heal by themselves, perhaps.
  kSinkUnavailable,  // refused, disconnected, timed out
  kSinkRejected,     // the sink answered with an error that may pass (not enough replicas, out of memory)
  kNodeLost,
  kStalled,  // no error, no progress
  kInternal,
  // Do not heal: somebody has to change something.
  kBadSinkAddress,
  kUnknownTopic,          // and it may not be created
  kIncompatibleProtocol,  // the sink does not understand what it is sent
  kNotAuthorized,
  kMessageTooLarge,
  kHistoryGone,   // the change log does not reach back to the checkpoint
  kFencedBySink,  // the sink has seen a newer epoch of the same dispatcher
};

std::string_view NameOf(FeedErrorCode code);
std::optional<FeedErrorCode> FeedErrorCodeNamed(std::string_view name);
bool CanHeal(FeedErrorCode code);

struct FeedError {
  FeedErrorCode code = FeedErrorCode::kInternal;
  std::string message;
  NodeId node;  // where it happened; none: nowhere in particular
  friend bool operator==(const FeedError&, const FeedError&) = default;
};

}  // namespace tenure::changefeed
