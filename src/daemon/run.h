// `tenured` from its arguments to its exit code: 0 done, 1 refused or failed (one line `error: <REASON>: ...`
// on standard error), 2 wrong usage.
#pragma once

namespace tenure::daemon {

int Run(int argc, const char* const* argv);

}  // namespace tenure::daemon
