// Messages as lines for people: one after the other to whatever takes text (a terminal, a pipe).
//
// Threading, errors: as Sink. `output` may block its executor, so that is a background one.
#pragma once

#include <functional>
#include <memory>

#include "changefeed/sink/sink.h"
#include "runtime/executor.h"

namespace tenure::changefeed {

// Takes a piece of text; an error when it is gone for good.
using TextOutput = std::function<Status(std::string_view)>;

class TextSink final : public Sink {
 public:
  TextSink(runtime::Executor& executor, SinkObserver& observer, TextOutput output, SinkLimits limits,
           WritePermit permit);
  ~TextSink() override;

  bool Write(uint64_t position, Message& message) override;
  void Flush() override;
  size_t buffered_bytes() const override { return bytes_; }

 private:
  void Drain();

  runtime::Executor& executor_;
  SinkObserver& observer_;
  const TextOutput output_;
  const SinkLimits limits_;
  const WritePermit permit_;
  std::string text_;
  size_t bytes_ = 0;
  uint64_t position_ = 0;
  bool refused_ = false;
  bool failed_ = false;
  bool posted_ = false;
  std::shared_ptr<TextSink*> self_;
};

}  // namespace tenure::changefeed
