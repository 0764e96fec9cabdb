#include "changefeed/sink/text_delivery.h"

namespace tenure::changefeed {

std::optional<FeedError> TextDelivery::Deliver(std::vector<Item>& batch) {
  std::string text;
  for (const Item& item : batch) {
    if (item.has_message()) text.append(item.message.value).append(1, '\n');
  }
  const Status status = output_(text);
  if (status.ok()) return std::nullopt;
  return FeedError{.code = FeedErrorCode::kSinkUnavailable, .message = std::string(MessageOf(status))};
}

}  // namespace tenure::changefeed
