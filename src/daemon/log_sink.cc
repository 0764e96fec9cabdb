#include "daemon/log_sink.h"

#include <spdlog/sinks/ansicolor_sink.h>
#include <spdlog/spdlog.h>

namespace tenure::daemon {
namespace {

spdlog::level::level_enum LevelOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

}  // namespace

StderrLog::StderrLog(LogLevel level)
    : level_(level),
      logger_(std::make_shared<spdlog::logger>("tenured",
                                               std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>())) {
  logger_->set_level(LevelOf(level));
  logger_->set_pattern("%Y-%m-%d %H:%M:%S.%e %^%-5l%$ %v");
  logger_->flush_on(spdlog::level::debug);
}

StderrLog::~StderrLog() = default;

void StderrLog::Write(LogLevel level, std::string_view source, std::string_view message) {
  logger_->log(LevelOf(level), "{}: {}", source, message);
}

}  // namespace tenure::daemon
