#include "base/status.h"

namespace tenure {

Status Annotate(const Status& status, std::string_view context) {
  if (status.ok()) return status;
  const std::string message = fmt::format("{}: {}", context, MessageOf(status));
  Status annotated(status.code(), absl::string_view(message.data(), message.size()));
  status.ForEachPayload(
      [&annotated](absl::string_view url, const absl::Cord& payload) { annotated.SetPayload(url, payload); });
  return annotated;
}

}  // namespace tenure
