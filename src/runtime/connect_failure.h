// Why no connection was made, for who concludes from it that a process is not there.
//
// Threading: pure functions.
#pragma once

#include "base/status.h"

namespace tenure::runtime {

// True if the machine answered that nobody listens at the address: the process is not there. Implies
// WasNotSent (network.h). An attempt that only did not succeed in time is no refusal: the process may be
// there, behind a network that drops packets.
bool WasRefused(const Status& status);
// The same status, marked so that WasRefused and WasNotSent are true; for implementations.
Status MarkRefused(Status status);

}  // namespace tenure::runtime
