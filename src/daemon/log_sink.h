// The program's log: lines on standard error, through spdlog.
//
// Threading: any thread.
#pragma once

#include <memory>
#include <string_view>

#include "base/log.h"

namespace spdlog {
class logger;
}

namespace tenure::daemon {

class StderrLog final : public LogSink {
 public:
  explicit StderrLog(LogLevel level);
  ~StderrLog() override;
  bool Enabled(LogLevel level) const override { return level >= level_; }
  void Write(LogLevel level, std::string_view source, std::string_view message) override;

 private:
  const LogLevel level_;
  std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace tenure::daemon
