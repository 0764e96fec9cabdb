// A program in the background: started, signalled, waited for. The only place of the CLI that makes
// processes.
//
// A started program is in a session of its own, so Ctrl-C and a closed terminal reach `tenure up` and not it;
// its output is appended to a log file and it inherits no other descriptor.
//
// Threading: one owner.
// Lifetime:  destroying a Process leaves the program running.
// Errors:    Start: NOT_FOUND or PERMISSION_DENIED if the program or the log cannot be opened, naming the
//            path.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/time.h"

namespace tenure::cli {

class Process {
 public:
  static StatusOr<Process> Start(const std::string& program, const std::vector<std::string>& arguments,
                                 const std::string& log_path);
  // One that somebody else started.
  static Process Adopt(pid_t pid) { return Process(pid, /*is_child=*/false); }

  pid_t pid() const { return pid_; }
  // False once it has ended; then, for one that was started here, how.
  bool Running();
  const std::string& how_it_ended() const {
    return how_it_ended_;
  }  // "exited with 1", "was killed by signal 9 (Killed)"
  bool ended_cleanly() const { return ended_cleanly_; }
  // The program may have ended before: no error.
  void Signal(int signal) const;
  // Looks until the program has ended; false if it still runs after `limit`.
  bool WaitUntilGone(Duration limit);

 private:
  Process(pid_t pid, bool is_child) : pid_(pid), is_child_(is_child) {}
  void RecordEnd(int wait_status);

  pid_t pid_;
  bool is_child_;
  bool ended_ = false;
  bool ended_cleanly_ = false;
  std::string how_it_ended_ = "ended";
};

// A running process of program name `program` (the last part of its path) that has one of `paths`, absolute,
// among its arguments: as it stands, relative to its working directory, or behind "--option=".
std::optional<pid_t> FindProcess(const std::string& program, const std::vector<std::string>& paths);

// Blocks the signals that ask a foreground program to end, in this thread and those it makes from now on, so
// that they can be waited for. Before the first thread is made. From now on writing to a reader that is gone
// (`| tee` gets the same Ctrl-C) is an error and not the end: there are processes to stop.
void BlockEndSignals();
// Waits up to `limit` for one of them; 0 if none came.
int WaitForEndSignal(Duration limit);

// The directory of the running program's file.
std::string ProgramDirectory();
// `name` beside the running program, else in PATH. NOT_FOUND says where it was looked for.
StatusOr<std::string> FindProgram(const std::string& name);

}  // namespace tenure::cli
