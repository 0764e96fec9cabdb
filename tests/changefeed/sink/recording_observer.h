// What a sink has said.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "changefeed/sink/sink.h"

namespace tenure::changefeed {

class RecordingObserver final : public SinkObserver {
 public:
  void OnOpened() override { opened = true; }
  void OnFlushed(uint64_t position) override {
    rising = rising && position > flushed && !error;
    flushed = position;
  }
  void OnWritable() override { ++writable; }
  void OnFailed(FeedError e) override {
    once = once && !error;
    error = std::move(e);
  }

  bool opened = false;
  uint64_t flushed = 0;
  int writable = 0;
  std::optional<FeedError> error;
  bool rising = true;  // positions rose, and nothing came after a failure
  bool once = true;    // failed once at most
};

inline Message LineOf(uint64_t n, size_t bytes = 0) {
  std::string value = "line " + std::to_string(n);
  value.resize(std::max(value.size(), bytes), '.');
  return {.commit_ts = CommitTs(1000 + n),
          .database = "shop",
          .table = "orders",
          .key = "key" + std::to_string(n % 7),
          .value = std::move(value),
          .id = "1-" + std::to_string(n)};
}

}  // namespace tenure::changefeed
