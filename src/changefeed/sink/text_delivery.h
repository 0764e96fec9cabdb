// Messages as lines for people: one after the other to whatever takes text (a terminal, a pipe).
//
// Threading:  one executor, a background one.
// Errors:     SINK_UNAVAILABLE with what the output says.
#pragma once

#include <functional>

#include "changefeed/sink/background_sink.h"

namespace tenure::changefeed {

// Takes a piece of text; an error when it is gone for good. May block.
using TextOutput = std::function<Status(std::string_view)>;

class TextDelivery final : public BlockingDelivery {
 public:
  explicit TextDelivery(TextOutput output) : output_(std::move(output)) {}

  std::optional<FeedError> Open() override { return std::nullopt; }
  std::optional<FeedError> Deliver(std::vector<Item>& batch) override;

 private:
  const TextOutput output_;
};

}  // namespace tenure::changefeed
