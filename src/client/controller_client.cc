#include "client/controller_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "catalog/refusal.h"

namespace tenure::client {

namespace pb = ::tenure::v1;

struct ControllerClient::Pending {
  uint64_t id = 0;
  std::string method;
  std::string request;
  CallOptions options;
  Instant deadline;
  int attempts = 0;
  Status last_refusal;                           // retryable
  std::map<runtime::Endpoint, Status> failures;  // what each controller said last
  Callback<StatusOr<std::string>> done;
  runtime::Timer timer;
};

ControllerClient::ControllerClient(runtime::Executor& executor, runtime::Network& network,
                                   std::vector<runtime::Endpoint> endpoints, Prng prng, ClientOptions options)
    : executor_(executor),
      network_(network),
      endpoints_(std::move(endpoints)),
      prng_(prng),
      options_(options) {
  TENURE_CHECK(!endpoints_.empty(), "a client needs at least one controller");
  turn_ = prng_.Below(endpoints_.size());
}

ControllerClient::~ControllerClient() {
  *alive_ = false;
}

void ControllerClient::Call(std::string_view method, std::string request, const CallOptions& options,
                            Callback<StatusOr<std::string>> done) {
  auto pending = std::make_shared<Pending>();
  pending->id = next_id_++;
  pending->method = method;
  pending->request = std::move(request);
  pending->options = options;
  pending->deadline = executor_.Now() + options.timeout;
  pending->done = std::move(done);
  pending_[pending->id] = pending;
  Attempt(pending);
}

runtime::Endpoint ControllerClient::Target() const {
  return leader_ ? *leader_ : endpoints_[turn_];
}

void ControllerClient::AddEndpoints(const std::vector<runtime::Endpoint>& endpoints) {
  for (const runtime::Endpoint& endpoint : endpoints) {
    if (std::find(endpoints_.begin(), endpoints_.end(), endpoint) == endpoints_.end())
      endpoints_.push_back(endpoint);
  }
}

void ControllerClient::Attempt(const std::shared_ptr<Pending>& pending) {
  const Duration left = pending->deadline - executor_.Now();
  if (left <= Duration::zero()) return GiveUp(pending);
  const runtime::Endpoint asked = pending->options.any_controller ? endpoints_[turn_] : Target();
  ++pending->attempts;
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
    if (!pending->options.any_controller) leader_ = asked;
    return Finish(pending, std::move(answer));
  }
  const Status& status = answer.status();
  const auto refusal = catalog::RefusalOf(status);
  pending->failures[asked] = status;
  if (refusal) {
    const bool redirect = refusal->reason() == pb::REASON_NOT_LEADER;
    const bool unknown = catalog::RuleOf(refusal->reason()).effect == catalog::Effect::kUnknown;
    if (!refusal->retryable() || (unknown && !pending->options.idempotent))
      return Finish(pending, std::move(answer));
    pending->last_refusal = status;
    if (!redirect) {
      return RetryAfter(pending, std::max(Backoff(*pending),
                                          Duration(std::chrono::milliseconds(refusal->retry_after_ms()))));
    }
    const runtime::Endpoint before = Target();
    Redirect(asked, status);
    // A redirect to somebody else is followed at once; while nobody leads, everybody is asked in turn.
    const bool elsewhere = leader_ && *leader_ != asked && *leader_ != before;
    return RetryAfter(pending, elsewhere ? Duration::zero() : Backoff(*pending));
  }
  const bool transport =
      status.code() == StatusCode::kUnavailable || status.code() == StatusCode::kDeadlineExceeded;
  if (!transport || (!pending->options.idempotent && !runtime::WasNotSent(status))) {
    return Finish(pending, std::move(answer));
  }
  Redirect(asked, status);
  RetryAfter(pending, Backoff(*pending));
}

void ControllerClient::Redirect(const runtime::Endpoint& asked, const Status& status) {
  const auto refusal = catalog::RefusalOf(status);
  if (refusal && refusal->reason() == pb::REASON_NOT_LEADER &&
      !refusal->not_leader().leader_address().empty() && refusal->not_leader().leader_address() != asked) {
    leader_ = refusal->not_leader().leader_address();
    AddEndpoints({*leader_});
    return;
  }
  if (leader_ == asked) leader_.reset();
  if (endpoints_[turn_] == asked) turn_ = (turn_ + 1) % endpoints_.size();
}

void ControllerClient::OnStreamFailed(const runtime::Endpoint& endpoint, const Status& status) {
  Redirect(endpoint, status);
}

Duration ControllerClient::Backoff(const Pending& pending) {
  // The first round over all controllers is quick; then the pause doubles, with jitter.
  const int rounds = pending.attempts / static_cast<int>(endpoints_.size());
  const Duration doubled = options_.backoff_min * (int64_t{1} << std::min(rounds, 10));
  const Duration base = std::min(options_.backoff_max, doubled);
  return base / 2 + Duration(prng_.Between(0, base.count() / 2));
}

void ControllerClient::RetryAfter(const std::shared_ptr<Pending>& pending, Duration delay) {
  const Duration left = pending->deadline - executor_.Now();
  if (left <= Duration::zero()) return GiveUp(pending);
  // One last try when the time is almost up is worth more than none.
  pending->timer = executor_.After(std::min(delay, left * 9 / 10), [this, pending] { Attempt(pending); });
}

void ControllerClient::GiveUp(const std::shared_ptr<Pending>& pending) {
  if (!pending->last_refusal.ok()) return Finish(pending, pending->last_refusal);
  std::string tried;
  for (const auto& [endpoint, status] : pending->failures) {
    tried += fmt::format("{}{}: {}", tried.empty() ? "" : "; ", endpoint, MessageOf(status));
  }
  if (tried.empty()) tried = fmt::format("{}: no answer", Target());
  Finish(pending, catalog::MakeRefusal(pb::REASON_UNAVAILABLE, "no controller answered in time: " + tried));
}

void ControllerClient::Finish(const std::shared_ptr<Pending>& pending, StatusOr<std::string> answer) {
  if (pending_.erase(pending->id) == 0) return;
  pending->timer.Cancel();
  Callback<StatusOr<std::string>> done = std::move(pending->done);
  done(std::move(answer));
}

}  // namespace tenure::client
