// A connection to the controllers for the length of one command: blocking calls in front of the client
// library.
//
// Threading: blocks the main thread; the network's callbacks run on the session's own executor.
// Errors:    a refusal carries tenure.v1.Refusal (output.h prints it). When the time is up it names the
//            controllers that were tried and what they said: UNKNOWN_OUTCOME for a change that may have been
//            made, else what kept the call from being done.
#pragma once

#include <google/protobuf/message_lite.h>

#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/time.h"
#include "cli/invocation.h"
#include "client/controller_client.h"
#include "client/request_ids.h"
#include "rpc/grpc_process.h"
#include "runtime/network.h"
#include "runtime/real/real_executor.h"
#include "tenure/v1/catalog.pb.h"
#include "tenure/v1/cluster.pb.h"

namespace tenure::cli {

namespace pb = ::tenure::v1;

class Session {
 public:
  // INVALID_ARGUMENT naming what is no host:port.
  static StatusOr<std::unique_ptr<Session>> Open(const Invocation& invocation);
  static StatusOr<std::unique_ptr<Session>> Open(const std::string& controllers);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Asks the leader; redirects and retries until `timeout`. What takes long by nature says how long one
  // attempt may take.
  template <class Response, class Request>
  StatusOr<Response> Call(std::string_view method, const Request& request, Duration timeout,
                          std::optional<Duration> attempt_timeout = std::nullopt) {
    client::CallOptions options{
        .timeout = timeout, .attempt_timeout = attempt_timeout, .changes = IsChange(request)};
    return Parse<Response>(CallBytes(method, request, options));
  }
  // For changes whose requests have no id, and which done twice would be something else: never sent again once it may
  // have been executed (UNKNOWN_OUTCOME then), so one attempt has all the time.
  template <class Response>
  StatusOr<Response> CallOnce(std::string_view method, const google::protobuf::MessageLite& request,
                              Duration timeout) {
    client::CallOptions options{
        .timeout = timeout, .attempt_timeout = timeout, .idempotent = false, .changes = true};
    return Parse<Response>(CallBytes(method, request, options));
  }
  // From any controller that answers, for reads that may be stale.
  template <class Response>
  StatusOr<Response> CallAny(std::string_view method, const google::protobuf::MessageLite& request,
                             Duration timeout) {
    client::CallOptions options{.timeout = timeout, .any_controller = true};
    return Parse<Response>(CallBytes(method, request, options));
  }
  // What the leader says; UNAVAILABLE if nobody leads within `timeout`.
  StatusOr<pb::StatusResponse> LeaderStatus(Duration timeout);
  // The same, but while nobody leads what any controller says.
  StatusOr<pb::StatusResponse> ClusterStatus(Duration timeout);
  // Calls `on_event` for each event, in the calling thread: once, in order, those of a revision together. A stream
  // that breaks is taken up where it stopped; returns when the watch is refused, or nobody served it for `timeout`.
  Status Watch(pb::WatchRequest request, Duration timeout,
               const std::function<void(const pb::Event&)>& on_event);
  // Makes a change idempotent under retries: for every request that changes something, and for no other.
  pb::RequestId NextRequestId() { return ids_.Next(); }

 private:
  template <class Request>
  static bool IsChange(const Request& request) {
    if constexpr (requires { request.dry_run(); }) {
      if (request.dry_run()) return false;
    }
    if constexpr (requires {
                    { request.id() } -> std::same_as<const pb::RequestId&>;
                  }) {
      return request.has_id();
    } else {
      return false;
    }
  }

  explicit Session(std::vector<runtime::Endpoint> controllers);
  StatusOr<std::string> CallBytes(std::string_view method, const google::protobuf::MessageLite& request,
                                  const client::CallOptions& options);
  StatusOr<std::string> CallAt(const runtime::Endpoint& endpoint, std::string_view method,
                               const google::protobuf::MessageLite& request, Duration timeout);
  template <class Response>
  static StatusOr<Response> Parse(const StatusOr<std::string>& bytes) {
    if (!bytes.ok()) return bytes.status();
    Response response;
    if (!response.ParseFromString(*bytes)) {
      return Error(StatusCode::kInternal, "an answer of {} bytes cannot be read", bytes->size());
    }
    return response;
  }

  runtime::RealExecutor executor_{"cli"};
  rpc::GrpcProcess grpc_;
  std::unique_ptr<runtime::Network> network_;
  std::unique_ptr<client::ControllerClient> client_;
  client::RequestIds ids_;
};

// Parses "host:port,host:port".
StatusOr<std::vector<runtime::Endpoint>> ParseEndpoints(const std::string& list);

}  // namespace tenure::cli
