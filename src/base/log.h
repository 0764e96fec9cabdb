// The logging facade: a `Logger` is passed to whoever has something to say; where the lines go is decided by
// the sink that daemon/ or sim/ built (a file through spdlog, the simulator's trace).
//
// Threading: LogSink::Write may be called from any thread. A Logger is a value and may be copied.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace tenure {

enum class LogLevel { kDebug, kInfo, kWarn, kError };

class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual bool Enabled(LogLevel level) const = 0;
  virtual void Write(LogLevel level, std::string_view source, std::string_view message) = 0;
};

class Logger {
 public:
  // Says nothing.
  Logger() = default;
  // `sink` must outlive every copy.
  Logger(LogSink* sink, std::string source) : sink_(sink), source_(std::move(source)) {}

  Logger Named(std::string_view name) const {
    return Logger(sink_, source_.empty() ? std::string(name) : fmt::format("{}/{}", source_, name));
  }

  template <class... Args>
  void Debug(fmt::format_string<Args...> f, Args&&... args) const {
    Log(LogLevel::kDebug, f, std::forward<Args>(args)...);
  }
  template <class... Args>
  void Info(fmt::format_string<Args...> f, Args&&... args) const {
    Log(LogLevel::kInfo, f, std::forward<Args>(args)...);
  }
  template <class... Args>
  void Warn(fmt::format_string<Args...> f, Args&&... args) const {
    Log(LogLevel::kWarn, f, std::forward<Args>(args)...);
  }
  template <class... Args>
  void Error(fmt::format_string<Args...> f, Args&&... args) const {
    Log(LogLevel::kError, f, std::forward<Args>(args)...);
  }

 private:
  template <class... Args>
  void Log(LogLevel level, fmt::format_string<Args...> f, Args&&... args) const {
    if (sink_ == nullptr || !sink_->Enabled(level)) return;
    sink_->Write(level, source_, fmt::format(f, std::forward<Args>(args)...));
  }

  LogSink* sink_ = nullptr;
  std::string source_;
};

}  // namespace tenure
