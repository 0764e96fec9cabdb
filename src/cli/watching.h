// Prints catalog events as they come: one line each, a JSON object per line with --output json.
//
// Threading: blocks until Ctrl-C or until the stream fails.
#pragma once

#include "base/status.h"
#include "cli/invocation.h"
#include "cli/session.h"

namespace tenure::cli {

// A broken connection is taken up again where it stopped. OUT_OF_RANGE if that is no longer in memory.
Status WatchAndPrint(const Invocation& invocation, pb::WatchRequest request);

}  // namespace tenure::cli
