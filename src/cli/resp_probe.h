// Asks one Redis-protocol question over a plain socket: is this port answering, and does it serve every slot?
//
// Threading: blocks the calling thread, at most `limit` altogether.
#pragma once

#include <string>

#include "base/status.h"
#include "base/time.h"

namespace tenure::cli {

// UNAVAILABLE with the reason until the server at 127.0.0.1:`port` says cluster_state:ok.
Status ProbeResp(int port, Duration limit);

// FAILED_PRECONDITION if some program listens on 127.0.0.1:`port`, PERMISSION_DENIED if this one must not.
Status CheckPortFree(int port);

}  // namespace tenure::cli
