// The program `tenure`: parses the command line, runs the command, turns its outcome into an exit code.
#pragma once

namespace tenure::cli {

// 0 done, 1 refused or failed (the reason is on stderr), 2 wrong usage.
int Run(int argc, char** argv);

}  // namespace tenure::cli
