// Lines of a run in fixed columns: time (seconds of the world), machine, part of the process, what happened.
// Keeps the last ones, for the report of a failure, and prints all if it is told to.
//
// Threading: the simulation's thread.
#pragma once

#include <deque>
#include <string>
#include <string_view>

#include "base/log.h"

namespace tenure::sim {

class Trace final : public LogSink {
 public:
  // `kept` 0 and not printing: nothing is formatted at all.
  Trace(bool print, size_t kept) : print_(print), kept_(kept) {}
  bool Enabled(LogLevel level) const override { return (print_ || kept_ > 0) && level != LogLevel::kDebug; }
  // `source` is "time machine/part", as World gives it.
  void Write(LogLevel level, std::string_view source, std::string_view message) override;
  const std::deque<std::string>& lines() const { return lines_; }

 private:
  const bool print_;
  const size_t kept_;
  std::deque<std::string> lines_;
};

}  // namespace tenure::sim
