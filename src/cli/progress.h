// The line that says what a command waits for, while it waits: rewritten in place on a terminal, absent
// elsewhere.
//
// Threading: one owner. Goes to stderr, so stdout holds the result alone.
#pragma once

#include <string>

namespace tenure::cli {

class Progress {
 public:
  Progress();
  ~Progress() { Clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Show(const std::string& text);
  // Takes the line away; before anything else is printed.
  void Clear();

 private:
  const bool on_terminal_;
  std::string shown_;
};

}  // namespace tenure::cli
