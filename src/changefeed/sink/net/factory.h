// A sink for an address.
//
// Threading: as sink.h; for file: and stdout: `executor` is a background one.
#pragma once

#include <memory>
#include <optional>

#include "base/function.h"
#include "changefeed/sink/address.h"
#include "changefeed/sink/sink.h"
#include "runtime/disk.h"
#include "runtime/executor.h"

namespace tenure::changefeed {

// `address.timeout` counts, not `limits.timeout`. A directory that cannot be used is an error here; systems
// behind a network are connected to in the background, and what is wrong with them comes as OnFailed.
StatusOr<std::unique_ptr<Sink>> MakeSink(runtime::Executor& executor, runtime::Disk& disk,
                                         SinkObserver& observer, const SinkIdentity& identity,
                                         const SinkAddress& address, SinkLimits limits, WritePermit permit);

// Whether a sink of that address can be opened: the system behind a network answers and takes this user, the
// topic exists or can be made, a directory can be written to. Nothing is delivered. Calls back with what is
// in the way, or nothing, on `executor`, within `address.timeout` and a second.
void CheckSink(runtime::Executor& executor, runtime::Disk& disk, const SinkAddress& address,
               Callback<std::optional<FeedError>> done);

}  // namespace tenure::changefeed
