// Calls to the controllers as a whole: finds the leader, follows redirects, waits out elections and warm-ups,
// and gives up by deadline, never by count.
//
// Threading:  one executor.
// Lifetime:   destruction drops pending callbacks without running them.
// Errors:     a final refusal is returned as it came (it carries a tenure.v1.Refusal). When the time is up: a
//             refusal with the reason that kept the call from being done (UNAVAILABLE if nobody could be
//             reached or nobody led), naming every controller that was tried and what it said; for `changes`
//             of which an attempt may have been executed, UNKNOWN_OUTCOME. A call that is not `idempotent` is
//             repeated only when it certainly was not executed; otherwise its failure may mean that it was.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/function.h"
#include "base/prng.h"
#include "base/status.h"
#include "base/time.h"
#include "runtime/executor.h"
#include "runtime/network.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::client {

struct ClientOptions {
  // One attempt; a controller that does not answer in this time is taken for dead.
  Duration attempt_timeout = std::chrono::seconds(2);
  Duration backoff_min = std::chrono::milliseconds(20);
  Duration backoff_max = std::chrono::milliseconds(500);
  // A redirect to an address that failed less than this ago is not followed at once: others are asked first.
  Duration dead_for = std::chrono::seconds(1);
};

struct CallOptions {
  Duration timeout = std::chrono::seconds(10);
  // Overrides ClientOptions for calls that take long by nature (creating a database).
  std::optional<Duration> attempt_timeout;
  // Reads, and changes that carry a RequestId: safe to send again whatever became of the last attempt.
  bool idempotent = true;
  // Any controller will do: no search for the leader.
  bool any_controller = false;
  // Says UNKNOWN_OUTCOME rather than UNAVAILABLE in the end, if it may have been executed.
  bool changes = false;
  // If set: becomes true when an attempt may have been executed without its answer having arrived.
  std::shared_ptr<bool> maybe_executed;
};

class ControllerClient {
 public:
  // `endpoints`: some or all controllers, at least one.
  ControllerClient(runtime::Executor& executor, runtime::Network& network,
                   std::vector<runtime::Endpoint> endpoints, Prng prng, ClientOptions options = {});
  ~ControllerClient();
  ControllerClient(const ControllerClient&) = delete;
  ControllerClient& operator=(const ControllerClient&) = delete;

  // `method`: "tenure.v1.Catalog/PutEntry".
  void Call(std::string_view method, std::string request, const CallOptions& options,
            Callback<StatusOr<std::string>> done);

  // Typed: the message's bytes in and out.
  template <class Response, class Request>
  void Call(std::string_view method, const Request& request, const CallOptions& options,
            Callback<StatusOr<Response>> done) {
    Call(method, request.SerializeAsString(), options,
         [done = std::move(done)](StatusOr<std::string> bytes) mutable {
           if (!bytes.ok()) return done(bytes.status());
           Response response;
           if (!response.ParseFromString(*bytes)) {
             return done(Error(StatusCode::kInternal, "an answer of {} bytes cannot be read", bytes->size()));
           }
           done(std::move(response));
         });
  }

  // Where to open a stream: the leader if known, else the next controller in turn.
  runtime::Endpoint Target() const;
  // A stream to `endpoint` ended with `status`: a redirect is followed, else the next controller is the
  // target. True if a leader other than `endpoint` is now known: it may be tried at once.
  bool OnStreamFailed(const runtime::Endpoint& endpoint, const Status& status);
  // `endpoint` answered as the leader does.
  void OnLeader(const runtime::Endpoint& endpoint);
  // More controllers became known (from a status or the catalog); known ones are kept.
  void AddEndpoints(const std::vector<runtime::Endpoint>& endpoints);
  // These are all controllers now: those that were learned before and are not among them are forgotten; the
  // ones it was built with stay, since they are what somebody chose.
  void SetControllers(const std::vector<runtime::Endpoint>& controllers);
  const std::vector<runtime::Endpoint>& endpoints() const { return endpoints_; }

 private:
  struct Pending;

  void Attempt(const std::shared_ptr<Pending>& pending);
  void OnAnswer(const std::shared_ptr<Pending>& pending, const runtime::Endpoint& asked,
                StatusOr<std::string> answer);
  void OnRefusal(const std::shared_ptr<Pending>& pending, const runtime::Endpoint& asked,
                 StatusOr<std::string> answer);
  void OnTransportFailure(const std::shared_ptr<Pending>& pending, const runtime::Endpoint& asked,
                          StatusOr<std::string> answer);
  // Tries the next controller at once if this round has one left, else after a pause.
  void TryElsewhere(const std::shared_ptr<Pending>& pending);
  void RetryAfter(const std::shared_ptr<Pending>& pending, Duration delay);
  void GiveUp(const std::shared_ptr<Pending>& pending);
  void Finish(const std::shared_ptr<Pending>& pending, StatusOr<std::string> answer);
  Duration Backoff(Pending& pending);
  Duration WarmUpPause(Pending& pending, const ::tenure::v1::Refusal& refusal);
  // Follows a redirect, or moves on from `asked`. True if a leader is known that may be tried at once.
  bool Redirect(const runtime::Endpoint& asked, const Status& status);

  runtime::Executor& executor_;
  runtime::Network& network_;
  const std::vector<runtime::Endpoint> given_;
  std::vector<runtime::Endpoint> endpoints_;
  size_t turn_ = 0;  // next endpoint while the leader is unknown
  std::optional<runtime::Endpoint> leader_;
  std::map<runtime::Endpoint, Instant> failed_at_;  // no connection or no answer
  Prng prng_;
  const ClientOptions options_;
  std::map<uint64_t, std::shared_ptr<Pending>> pending_;
  uint64_t next_id_ = 1;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::client
