// Messages between processes: unary calls and bidirectional streams of byte strings, addressed by
// host:port and a method name "package.Service/Method". Over gRPC in a daemon (streams opened `direct`: over
// TCP), over a simulated network in the simulator. Payloads are serialized protobuf messages; this layer does not look at them.
//
// Threading: a Network belongs to one executor; every callback of it runs there. Calls made from elsewhere
//            are a bug. `Serve` registers on the process's one server; each service names the executor by the
//            Network it was registered through.
// Errors:    UNAVAILABLE: the request may or may not have been executed, unless WasNotSent says that it was
//            not; DEADLINE_EXCEEDED: the answer did not come in time, it may have been executed. A handler's
//            Status travels with code, message and the payloads attached to it. An unknown service or method
//            is UNIMPLEMENTED and named.
// Ordering:  messages of one stream arrive in order, none twice, none missing before the close - except on
//            streams opened `lossy`, which may lose, repeat and reorder messages (Raft can take it).
// Lifetime:  a Network's destruction ends what it started: callbacks of its calls are dropped, its streams
//            and the handlers it keeps are destroyed, unanswered calls of its services are answered
//            UNAVAILABLE. Streams and Replies may outlive it and then do nothing.
// Bounds:    a message is at most kMaxMessageBytes. A stream buffers what its peer does not take yet;
//            `buffered_bytes` lets the sender stop in time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/function.h"
#include "base/status.h"
#include "base/time.h"

namespace tenure::runtime {

inline constexpr size_t kMaxMessageBytes = size_t{64} << 20;

// "host:port".
using Endpoint = std::string;

// True for a failure of a call that certainly never reached the other side (no connection was made): it can
// be repeated anywhere. False means nothing is known.
bool WasNotSent(const Status& status);
// The same status, marked so that WasNotSent is true; for implementations.
Status MarkNotSent(Status status);

class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  virtual void OnMessage(std::string message) = 0;
  // Last callback. OK if the peer closed normally. Not called after the owner's own Close.
  virtual void OnClosed(Status status) = 0;
  // A client of another make will send nothing more but still listens (gRPC's half-close; every
  // server-streaming call begins with it). The stream stays open. Streams between Tenure processes close as a
  // whole instead.
  virtual void OnEndOfMessages() {}
};

// One end of a stream. Destroying it closes with CANCELLED if it is still open; no callback follows the
// destruction or Close.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual void Send(std::string message) = 0;
  virtual size_t buffered_bytes() const = 0;
  // What was sent before still goes out; then the peer sees `status`. Idempotent; Send does nothing
  // afterwards.
  virtual void Close(Status status) = 0;
};

// The answer of a served call; run once, from the service's executor. Dropping it answers INTERNAL.
using Reply = absl::AnyInvocable<void(StatusOr<std::string>)>;

struct CallInfo {
  std::string method;  // the part after the '/'
  std::string peer;    // for messages and audit, not for decisions
  Instant deadline;    // on the local clock; kFarFuture if none
};

class Service {
 public:
  virtual ~Service() = default;
  // Whether `method` is opened as a stream rather than called. A constant of the service; any thread.
  virtual bool IsStream(std::string_view method) const {
    (void)method;
    return false;
  }
  virtual void OnCall(const CallInfo& info, std::string request, Reply reply) = 0;
  // A client opened a stream: returns the handler of its messages, or null to refuse it as UNIMPLEMENTED.
  // `stream` may be used at once; it lives as long as the handler, which the network keeps until OnClosed.
  virtual std::unique_ptr<StreamHandler> OnStream(const CallInfo& info, std::unique_ptr<Stream> stream) = 0;
};

struct StreamOptions {
  // For messages that somebody repeats (Raft's): they may be lost, repeated and reordered, as the simulator
  // does.
  bool lossy = false;
  // For messages that must be quick: in a daemon they have a connection of their own, without gRPC, unless the
  // peer answers with something else. That ends the stream with UNIMPLEMENTED; the next one is gRPC's.
  bool direct = false;
};

class Network {
 public:
  virtual ~Network() = default;
  // `done` runs once. Connection refusals are UNAVAILABLE.
  virtual void Call(const Endpoint& to, std::string_view method, std::string request, Duration timeout,
                    Callback<StatusOr<std::string>> done) = 0;
  // Connects in the background; failure arrives as OnClosed. `handler` must outlive the returned stream.
  virtual std::unique_ptr<Stream> OpenStream(const Endpoint& to, std::string_view method,
                                             StreamHandler& handler, StreamOptions options) = 0;
  // Offers `service` (full name "package.Service") on the process's server; `service` must outlive it.
  virtual void Serve(std::string_view service_name, Service& service) = 0;
};

}  // namespace tenure::runtime
