#include "cli/progress.h"

#include <unistd.h>

#include <cstdio>

namespace tenure::cli {

Progress::Progress() : on_terminal_(isatty(STDERR_FILENO) == 1) {}

void Progress::Show(const std::string& text) {
  if (!on_terminal_ || text == shown_) return;
  std::fprintf(stderr, "\r\033[K%s ...", text.c_str());
  std::fflush(stderr);
  shown_ = text;
}

void Progress::Clear() {
  if (shown_.empty()) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  shown_.clear();
}

}  // namespace tenure::cli
