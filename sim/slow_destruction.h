// A replica that has moved away and whose destruction does not end: because the node's background work stands
// still for ten minutes while three leaders come and go, or because its disk refuses to remove a file. The
// first runs once, ends once and is listed as running all the while; the second is tried again and again, and
// is not reported done before it is.
//
// Threading: one thread.
#pragma once

#include "base/log.h"
#include "sim/run.h"

namespace tenure::sim {

RunResult RunSlowDestruction(LogSink* trace);
RunResult RunFailingDestruction(LogSink* trace);

}  // namespace tenure::sim
