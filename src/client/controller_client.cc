#include "client/controller_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "catalog/refusal.h"

namespace tenure::client {

namespace pb = ::tenure::v1;

namespace {

constexpr size_t kMaxEndpoints = 32;  // learned ones included
// An attempt that is cut off sooner than it can be answered tells nothing, and leaves a change unknown.
constexpr Duration kLeastAttempt = std::chrono::milliseconds(50);

}  // namespace

struct ControllerClient::Pending {
  // What a controller said last, and how an attempt after that failed.
  struct Heard {
    std::string refusal;
    std::string failure;
  };
  uint64_t id = 0;
  std::string method;
  std::string request;
  CallOptions options;
  Instant deadline;
  size_t tried = 0;  // since the last pause
  int pauses = 0;
  size_t turn = 0;  // of any_controller
  bool last_try = false;
  bool maybe_executed = false;
  pb::Reason last_reason = pb::REASON_UNSPECIFIED;  // of a retryable refusal
  std::map<runtime::Endpoint, Heard> heard;
  Callback<StatusOr<std::string>> done;
  runtime::Timer timer;
};

ControllerClient::ControllerClient(runtime::Executor& executor, runtime::Network& network,
                                   std::vector<runtime::Endpoint> endpoints, Prng prng, ClientOptions options)
    : executor_(executor),
      network_(network),
      given_(std::move(endpoints)),
      endpoints_(given_),
      prng_(prng),
      options_(options) {
  TENURE_CHECK(!endpoints_.empty(), "a client needs at least one controller");
  turn_ = prng_.Below(endpoints_.size());
}

ControllerClient::~ControllerClient() {
  *alive_ = false;
  // A timer's closure holds its call: it would outlive the map.
  for (const auto& [id, pending] : pending_) pending->timer.Cancel();
}

void ControllerClient::Call(std::string_view method, std::string request, const CallOptions& options,
                            Callback<StatusOr<std::string>> done) {
  auto pending = std::make_shared<Pending>();
  pending->id = next_id_++;
  pending->method = method;
  pending->request = std::move(request);
  pending->options = options;
  pending->deadline = executor_.Now() + options.timeout;
  pending->turn = turn_;
  pending->done = std::move(done);
  pending_[pending->id] = pending;
  Attempt(pending);
}

runtime::Endpoint ControllerClient::Target() const {
  return leader_ ? *leader_ : endpoints_[turn_];
}

void ControllerClient::OnLeader(const runtime::Endpoint& endpoint) {
  leader_ = endpoint;
  failed_at_.erase(endpoint);
}

void ControllerClient::AddEndpoints(const std::vector<runtime::Endpoint>& endpoints) {
  for (const runtime::Endpoint& endpoint : endpoints) {
    if (endpoints_.size() >= kMaxEndpoints) return;
    if (std::find(endpoints_.begin(), endpoints_.end(), endpoint) == endpoints_.end())
      endpoints_.push_back(endpoint);
  }
}

void ControllerClient::SetControllers(const std::vector<runtime::Endpoint>& controllers) {
  const auto holds = [](const std::vector<runtime::Endpoint>& list, const runtime::Endpoint& endpoint) {
    return std::find(list.begin(), list.end(), endpoint) != list.end();
  };
  const runtime::Endpoint next = endpoints_[turn_];
  std::erase_if(endpoints_, [&](const runtime::Endpoint& endpoint) {
    return !holds(controllers, endpoint) && !holds(given_, endpoint);
  });
  AddEndpoints(controllers);
  const auto found = std::find(endpoints_.begin(), endpoints_.end(), next);
  turn_ = found == endpoints_.end() ? 0 : static_cast<size_t>(found - endpoints_.begin());
}

void ControllerClient::Attempt(const std::shared_ptr<Pending>& pending) {
  const Duration left = pending->deadline - executor_.Now();
  if (left <= Duration::zero()) return GiveUp(pending);
  const runtime::Endpoint asked =
      pending->options.any_controller ? endpoints_[pending->turn % endpoints_.size()] : Target();
  ++pending->tried;
  const Duration attempt =
      std::min(left, pending->options.attempt_timeout.value_or(options_.attempt_timeout));
  network_.Call(asked, pending->method, pending->request, attempt,
                [this, alive = alive_, pending, asked](StatusOr<std::string> answer) {
                  if (*alive) OnAnswer(pending, asked, std::move(answer));
                });
}

void ControllerClient::OnAnswer(const std::shared_ptr<Pending>& pending, const runtime::Endpoint& asked,
                                StatusOr<std::string> answer) {
  if (answer.ok()) {
    if (!pending->options.any_controller) OnLeader(asked);
    return Finish(pending, std::move(answer));
  }
  ++pending->turn;
  if (catalog::RefusalOf(answer.status())) return OnRefusal(pending, asked, std::move(answer));
  OnTransportFailure(pending, asked, std::move(answer));
}

void ControllerClient::OnRefusal(const std::shared_ptr<Pending>& pending, const runtime::Endpoint& asked,
                                 StatusOr<std::string> answer) {
  const pb::Refusal refusal = *catalog::RefusalOf(answer.status());
  pending->heard[asked] = {.refusal = std::string(MessageOf(answer.status())), .failure = {}};
  failed_at_.erase(asked);
  const bool unknown = catalog::RuleOf(refusal.reason()).effect == catalog::Effect::kUnknown;
  if (unknown && refusal.retryable()) {
    pending->maybe_executed = true;
    if (pending->options.maybe_executed) *pending->options.maybe_executed = true;
  }
  if (!refusal.retryable() || (unknown && !pending->options.idempotent)) {
    if (pending->maybe_executed) return Finish(pending, catalog::AfterUnknownOutcome(answer.status()));
    return Finish(pending, std::move(answer));
  }
  pending->last_reason = refusal.reason();
  const Duration least = std::chrono::milliseconds(refusal.retry_after_ms());
  switch (refusal.reason()) {
    case pb::REASON_NOT_LEADER:
      if (Redirect(asked, answer.status()) && pending->tried <= endpoints_.size()) {
        return RetryAfter(pending, Duration::zero());
      }
      return TryElsewhere(pending);
    case pb::REASON_WARMING_UP:  // it leads: stay with it
      leader_ = asked;
      return RetryAfter(pending, WarmUpPause(*pending, refusal));
    case pb::REASON_UNAVAILABLE:  // starting, or handing over: another may know more
      Redirect(asked, answer.status());
      return RetryAfter(pending, std::max(Backoff(*pending), least));
    default:
      return RetryAfter(pending, std::max(Backoff(*pending), least));
  }
}

void ControllerClient::OnTransportFailure(const std::shared_ptr<Pending>& pending,
                                          const runtime::Endpoint& asked, StatusOr<std::string> answer) {
  const Status& status = answer.status();
  std::string_view failure = MessageOf(status);
  if (failure.starts_with(asked + ": ")) failure.remove_prefix(asked.size() + 2);
  pending->heard[asked].failure = failure;
  // A process that is joining, or was removed, offers no service of a controller: nothing was executed there.
  const bool no_controller = status.code() == StatusCode::kUnimplemented;
  // CANCELLED: the process is ending, and its server with it.
  const bool transport = status.code() == StatusCode::kUnavailable ||
                         status.code() == StatusCode::kDeadlineExceeded ||
                         status.code() == StatusCode::kCancelled;
  if (!transport && !no_controller) return Finish(pending, std::move(answer));
  if (!no_controller && !runtime::WasNotSent(status)) {
    pending->maybe_executed = true;
    if (pending->options.maybe_executed) *pending->options.maybe_executed = true;
    if (!pending->options.idempotent) {
      if (!pending->options.changes) return Finish(pending, std::move(answer));
      return Finish(pending,
                    catalog::Refuse(pb::REASON_UNKNOWN_OUTCOME, "{}: {}; it may or may not have been done",
                                    asked, MessageOf(status)));
    }
  }
  failed_at_[asked] = executor_.Now();
  Redirect(asked, status);
  TryElsewhere(pending);
}

void ControllerClient::TryElsewhere(const std::shared_ptr<Pending>& pending) {
  if (pending->tried < endpoints_.size()) return RetryAfter(pending, Duration::zero());
  RetryAfter(pending, Backoff(*pending));
}

bool ControllerClient::Redirect(const runtime::Endpoint& asked, const Status& status) {
  if (leader_ == asked) leader_.reset();
  if (endpoints_[turn_] == asked) turn_ = (turn_ + 1) % endpoints_.size();
  const auto refusal = catalog::RefusalOf(status);
  if (!refusal || refusal->reason() != pb::REASON_NOT_LEADER) return false;
  const runtime::Endpoint& named = refusal->not_leader().leader_address();
  if (named.empty() || named == asked) return false;
  // Who does not answer may still be named by those who have not noticed: the others are asked meanwhile.
  const auto failed = failed_at_.find(named);
  if (failed != failed_at_.end() && executor_.Now() - failed->second < options_.dead_for) return false;
  leader_ = named;
  AddEndpoints({named});
  return true;
}

bool ControllerClient::OnStreamFailed(const runtime::Endpoint& endpoint, const Status& status) {
  if (!status.ok() && !catalog::RefusalOf(status)) failed_at_[endpoint] = executor_.Now();
  return Redirect(endpoint, status);
}

// As told, but not beyond the end of the warm-up: then it is tried at once.
Duration ControllerClient::WarmUpPause(Pending& pending, const pb::Refusal& refusal) {
  const Duration pause =
      std::max<Duration>(Backoff(pending), std::chrono::milliseconds(refusal.retry_after_ms()));
  const Duration left = std::chrono::milliseconds(refusal.warming_up().remaining_ms());
  return left > Duration::zero() ? std::min(pause, left + options_.backoff_min) : pause;
}

Duration ControllerClient::Backoff(Pending& pending) {
  // Doubles with every pause, with jitter.
  const Duration doubled = options_.backoff_min * (int64_t{1} << std::min(pending.pauses, 10));
  ++pending.pauses;
  pending.tried = 0;
  const Duration base = std::min(options_.backoff_max, doubled);
  return base / 2 + Duration(prng_.Between(0, base.count() / 2));
}

void ControllerClient::RetryAfter(const std::shared_ptr<Pending>& pending, Duration delay) {
  const Duration least = std::min(kLeastAttempt, pending->options.timeout / 10);
  const Duration latest = pending->deadline - executor_.Now() - least;
  if (latest < Duration::zero()) return GiveUp(pending);
  if (delay > latest) {
    // One last try when the time is almost up is worth more than none.
    if (std::exchange(pending->last_try, true)) return GiveUp(pending);
    delay = latest / 2;
  }
  pending->timer = executor_.After(delay, [this, alive = alive_, pending] {
    if (*alive) Attempt(pending);
  });
}

void ControllerClient::GiveUp(const std::shared_ptr<Pending>& pending) {
  std::string tried;
  bool answered = false;
  for (const auto& [endpoint, heard] : pending->heard) {
    const bool both = !heard.refusal.empty() && !heard.failure.empty();
    tried += fmt::format("{}{}: {}{}{}", tried.empty() ? "" : "; ", endpoint, heard.refusal,
                         both ? ", then " : "", heard.failure);
    answered = answered || !heard.refusal.empty();
  }
  if (tried.empty()) tried = fmt::format("{}: no answer", Target());
  const int64_t after = ToMillis(pending->options.timeout);
  if (pending->maybe_executed && pending->options.changes) {
    return Finish(pending, catalog::Refuse(pb::REASON_UNKNOWN_OUTCOME,
                                           "no answer within {} ms; it may or may not have been done: {}",
                                           after, tried));
  }
  if (!answered) {
    return Finish(pending, catalog::Refuse(pb::REASON_UNAVAILABLE, "no controller reachable within {} ms: {}",
                                           after, tried));
  }
  const bool leaderless =
      pending->last_reason == pb::REASON_NOT_LEADER || pending->last_reason == pb::REASON_UNSPECIFIED;
  Finish(pending, catalog::Refuse(leaderless ? pb::REASON_UNAVAILABLE : pending->last_reason,
                                  "no leader took the request within {} ms: {}", after, tried));
}

void ControllerClient::Finish(const std::shared_ptr<Pending>& pending, StatusOr<std::string> answer) {
  if (pending_.erase(pending->id) == 0) return;
  pending->timer.Cancel();
  Callback<StatusOr<std::string>> done = std::move(pending->done);
  done(std::move(answer));
}

}  // namespace tenure::client
