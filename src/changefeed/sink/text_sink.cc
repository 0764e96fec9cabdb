#include "changefeed/sink/text_sink.h"

#include <utility>

namespace tenure::changefeed {

TextSink::TextSink(runtime::Executor& executor, SinkObserver& observer, TextOutput output, SinkLimits limits,
                   WritePermit permit)
    : executor_(executor),
      observer_(observer),
      output_(std::move(output)),
      limits_(limits),
      permit_(std::move(permit)),
      self_(std::make_shared<TextSink*>(this)) {}

TextSink::~TextSink() {
  *self_ = nullptr;
}

bool TextSink::Write(uint64_t position, Message& message) {
  if (failed_) return false;
  if (bytes_ > 0 && bytes_ + message.bytes() > limits_.max_buffered_bytes) {
    refused_ = true;
    return false;
  }
  bytes_ += message.bytes();
  position_ = position;
  text_ += message.value;
  text_ += '\n';
  Flush();
  return true;
}

void TextSink::Flush() {
  if (failed_ || std::exchange(posted_, true)) return;
  executor_.Post([self = self_] {
    if (*self != nullptr) (*self)->Drain();
  });
}

void TextSink::Drain() {
  posted_ = false;
  if (failed_ || text_.empty()) return;
  if (!permit_()) {
    failed_ = true;
    return observer_.OnFailed(NotPermitted());
  }
  const Status status = output_(std::exchange(text_, {}));
  if (!status.ok()) {
    failed_ = true;
    return observer_.OnFailed(
        {.code = FeedErrorCode::kSinkUnavailable, .message = std::string(MessageOf(status))});
  }
  bytes_ = 0;
  const auto self = self_;
  observer_.OnFlushed(position_);
  if (*self != nullptr && std::exchange(refused_, false)) observer_.OnWritable();
}

}  // namespace tenure::changefeed
