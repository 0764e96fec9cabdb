// A sink for an address.
//
// Threading: as sink.h. What blocks has threads of its own (net/threaded_sink.h) or is done in the background
// (background_sink.h), where `backgrounds` says.
#pragma once

#include <memory>
#include <optional>

#include "base/function.h"
#include "changefeed/sink/address.h"
#include "changefeed/sink/background_sink.h"
#include "runtime/executor.h"

namespace tenure::changefeed {

// `address.timeout` counts, not `limits.timeout`. What is wrong with the other end comes as OnFailed.
std::unique_ptr<Sink> MakeSink(runtime::Executor& executor, const Backgrounds& backgrounds,
                               SinkObserver& observer, const SinkIdentity& identity,
                               const SinkAddress& address, SinkLimits limits, WritePermit permit);

// Whether a sink of that address can be opened: the system behind a network answers and takes this user, the
// topic exists or can be made, a directory can be written to. Nothing is delivered. Calls back with what is
// in the way, or nothing, on `executor`, within `address.timeout` and a second.
void CheckSink(runtime::Executor& executor, const Backgrounds& backgrounds, const SinkAddress& address,
               Callback<std::optional<FeedError>> done);

}  // namespace tenure::changefeed
