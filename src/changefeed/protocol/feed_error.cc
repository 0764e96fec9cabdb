#include "changefeed/protocol/feed_error.h"

#include <array>
#include <utility>

namespace tenure::changefeed {

namespace {

constexpr std::array<std::pair<FeedErrorCode, std::string_view>, 12> kNames{{
    {FeedErrorCode::kSinkUnavailable, "SINK_UNAVAILABLE"},
    {FeedErrorCode::kSinkRejected, "SINK_REJECTED"},
    {FeedErrorCode::kNodeLost, "NODE_LOST"},
    {FeedErrorCode::kStalled, "STALLED"},
    {FeedErrorCode::kInternal, "INTERNAL"},
    {FeedErrorCode::kBadSinkAddress, "BAD_SINK_ADDRESS"},
    {FeedErrorCode::kUnknownTopic, "UNKNOWN_TOPIC"},
    {FeedErrorCode::kIncompatibleProtocol, "INCOMPATIBLE_PROTOCOL"},
    {FeedErrorCode::kNotAuthorized, "NOT_AUTHORIZED"},
    {FeedErrorCode::kMessageTooLarge, "MESSAGE_TOO_LARGE"},
    {FeedErrorCode::kHistoryGone, "HISTORY_GONE"},
    {FeedErrorCode::kFencedBySink, "FENCED_BY_SINK"},
}};

}  // namespace

std::string_view NameOf(FeedErrorCode code) {
  for (const auto& [known, name] : kNames) {
    if (known == code) return name;
  }
  return "INTERNAL";
}

std::optional<FeedErrorCode> FeedErrorCodeNamed(std::string_view name) {
  for (const auto& [code, known] : kNames) {
    if (known == name) return code;
  }
  return std::nullopt;
}

bool CanHeal(FeedErrorCode code) {
  switch (code) {
    case FeedErrorCode::kSinkUnavailable:
    case FeedErrorCode::kSinkRejected:
    case FeedErrorCode::kNodeLost:
    case FeedErrorCode::kStalled:
    case FeedErrorCode::kInternal:
      return true;
    case FeedErrorCode::kBadSinkAddress:
    case FeedErrorCode::kUnknownTopic:
    case FeedErrorCode::kIncompatibleProtocol:
    case FeedErrorCode::kNotAuthorized:
    case FeedErrorCode::kMessageTooLarge:
    case FeedErrorCode::kHistoryGone:
    case FeedErrorCode::kFencedBySink:
      return false;
  }
  return true;
}

}  // namespace tenure::changefeed
