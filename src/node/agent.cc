#include "node/agent.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "catalog/format.h"
#include "catalog/refusal.h"

namespace tenure::node {
namespace {

namespace pb = ::tenure::v1;

constexpr std::string_view kRegister = "tenure.internal.v1.Agent/Register";
constexpr std::string_view kHeartbeat = "tenure.internal.v1.Agent/Heartbeat";

// Nothing that waiting could change.
bool IsFinal(const Status& status) {
  const pb::Reason reason = catalog::ReasonOf(status);
  return reason == pb::REASON_WRONG_CLUSTER || reason == pb::REASON_UNSUPPORTED_FORMAT ||
         reason == pb::REASON_INVALID_ARGUMENT || reason == pb::REASON_STALE_INCARNATION ||
         reason == pb::REASON_WRONG_TOKEN;
}

// The leader does not know this registration (any more): registering again helps, asking elsewhere does not.
bool WantsRegistration(const Status& status) {
  const pb::Reason reason = catalog::ReasonOf(status);
  return reason == pb::REASON_NOT_FOUND || reason == pb::REASON_STALE_EPOCH;
}

}  // namespace

Agent::Agent(runtime::Executor& executor, ClusterLink& link, ReportSource& source, AgentListener& listener,
             const NodeOptions& options, Logger logger)
    : executor_(executor),
      link_(link),
      source_(source),
      listener_(listener),
      options_(options),
      logger_(std::move(logger)),
      pause_(options.retry_min) {}

Agent::~Agent() {
  *alive_ = false;
}

void Agent::Start(const NodeIdentity& identity) {
  tokens_ = identity.join_tokens;
  registration_.set_cluster_id(identity.cluster_id);
  if (!identity.cluster_id.empty()) incarnation_ = identity.incarnation;
  registration_.set_incarnation(incarnation_);
  registration_.set_controller_id(identity.controller_id);
  auto& node = *registration_.mutable_node();
  node.set_uuid(identity.uuid);
  node.set_name(identity.name);
  node.set_address(identity.address);
  node.set_resp_address(identity.resp_address);
  node.set_zone(identity.zone);
  for (const auto& [key, value] : identity.labels) {
    auto& label = *node.add_labels();
    label.set_key(key);
    label.set_value(value);
  }
  node.set_software_version(identity.software_version);
  node.set_newest_format(catalog::kNewestFormat);
  Register();
}

void Agent::Stop(Instant deadline, Closure done) {
  stopping_ = true;
  on_stopped_ = std::move(done);
  const bool registered = state_ == State::kConnecting || state_ == State::kReporting;
  const Duration left = deadline - executor_.Now();
  if (!registered) return Finish();
  if (state_ == State::kReporting) Beat();
#ifdef TENURE_MUTANT_farewell_once
  return Finish();
#endif
  if (left <= Duration::zero()) return Finish();
  stop_timer_ = executor_.After(left, [this] {
    logger_.Warn("no leading controller has recorded the farewell: the node will be missed by its silence");
    Finish();
  });
  if (state_ != State::kConnecting) return;
  // It has waited for longer and longer; there is no time for that now.
  pause_ = options_.retry_min;
  Connect();
}

void Agent::Finish() {
  if (stream_) stream_->Close(OkStatus());
  state_ = State::kStopped;
  beat_timer_.Cancel();
  retry_timer_.Cancel();
  stop_timer_.Cancel();
  // The stream may be in the middle of a callback: it is destroyed in a turn of its own.
  executor_.Post([dead = std::move(stream_)]() mutable { dead.reset(); });
  answered_ = false;
  if (on_stopped_) executor_.Post(std::exchange(on_stopped_, nullptr));
}

// Epochs are those of an incarnation.
void Agent::SetIncarnation(uint64_t incarnation) {
  if (incarnation > incarnation_) leader_epoch_ = 0;
  incarnation_ = incarnation;
  registration_.set_incarnation(incarnation);
}

// ---- registration ----

void Agent::Register() {
  state_ = State::kRegistering;
  listener_.OnRegistering();
  tokens_.Sign(registration_);
  link_.Call(kRegister, registration_.SerializeAsString(), options_.register_timeout,
             [this, alive = alive_](StatusOr<std::string> answer) {
               if (*alive && state_ == State::kRegistering) OnRegisterAnswer(std::move(answer));
             });
}

void Agent::OnRegisterAnswer(StatusOr<std::string> answer) {
  ipb::RegisterResponse response;
  if (answer.ok() && !response.ParseFromString(*answer)) {
    answer = Error(StatusCode::kInternal, "RegisterResponse: malformed");
  }
  const uint64_t theirs = std::max<uint64_t>(response.incarnation(), 1);
  if (answer.ok() && theirs < incarnation_) {
    answer =
        Error(StatusCode::kUnavailable,
              "the controller that answered is of incarnation {} of the cluster, this node has seen {}: it "
              "was left behind by a recovery",
              theirs, incarnation_);
  }
  if (!answer.ok()) {
    LogFailure(Annotate(answer.status(), "registration"));
    if (IsFinal(answer.status())) {
      state_ = State::kStopped;
      return listener_.OnRegistrationRefused(answer.status());
    }
    return Retry();
  }
  node_id_ = response.node_id();
  registration_epoch_ = response.registration_epoch();
  registration_.set_cluster_id(response.cluster_id());
  SetIncarnation(theirs);
  pause_ = options_.retry_min;
  logger_.Info("registered as node {} of cluster {}, registration {}", node_id_, response.cluster_id(),
               registration_epoch_);
  listener_.OnRegistered(response);
  Connect();
}

void Agent::Retry() {
  const Duration pause = pause_;
  pause_ = std::min(pause_ * 2, stopping_ ? 2 * options_.retry_min : options_.retry_max);
  retry_timer_ = executor_.After(pause, [this] {
    if (state_ == State::kRegistering) {
      Register();
    } else if (state_ == State::kConnecting) {
      Connect();
    }
  });
}

// ---- heartbeats ----

void Agent::Connect() {
  state_ = State::kConnecting;
  stream_ = link_.OpenStream(kHeartbeat, *this, &stream_to_);
  if (!stream_) return Retry();
  state_ = State::kReporting;
  answered_ = false;
  last_answer_ = executor_.Now();
  sequence_ = 0;
  Send(true);
  early_beat_ = false;
  ScheduleBeat();
}

void Agent::Beat() {
  early_beat_ = false;
  if (state_ != State::kReporting) return;
  const Instant now = executor_.Now();
  if (now - last_answer_ > (stopping_ ? options_.farewell_timeout : options_.heartbeat_timeout)) {
    return Drop(Error(StatusCode::kDeadlineExceeded, "{} answered no heartbeat for {} ms", stream_to_,
                      ToMillis(now - last_answer_)));
  }
  Send(full_wanted_ || now - last_full_ >= options_.full_report_interval);
  ScheduleBeat();
}

void Agent::ScheduleBeat() {
  beat_timer_ = executor_.After(stopping_ ? options_.farewell_timeout / 2 : options_.heartbeat_interval,
                                [this] { Beat(); });
}

void Agent::NoteChange() {
  if (state_ != State::kReporting || std::exchange(early_beat_, true)) return;
  const Duration since = executor_.Now() - last_sent_;
  beat_timer_ =
      executor_.After(std::max(Duration::zero(), options_.min_report_gap - since), [this] { Beat(); });
}

void Agent::Send(bool full) {
  ipb::HeartbeatRequest request;
  const Instant now = executor_.Now();
  request.set_node_id(node_id_);
  request.set_registration_epoch(registration_epoch_);
  request.set_sequence(++sequence_);
  request.set_sent_at_ns(now.time_since_epoch().count());
  request.set_leader_epoch(leader_epoch_);
  request.set_incarnation(incarnation_);
  request.set_full(full);
  request.set_stopping(stopping_);
  source_.FillReport(full, request);
  stream_->Send(request.SerializeAsString());
  last_sent_ = now;
  if (!full) return;
  last_full_ = now;
  full_wanted_ = false;
}

void Agent::OnMessage(std::string message) {
  ipb::HeartbeatResponse response;
  if (!response.ParseFromString(message)) {
    return Drop(Error(StatusCode::kInternal, "HeartbeatResponse: malformed"));
  }
  const uint64_t theirs = std::max<uint64_t>(response.incarnation(), 1);
  if (theirs < incarnation_) {
    return Drop(
        Error(StatusCode::kUnavailable,
              "{} is of incarnation {} of the cluster, this node has seen {}: it was left behind by a "
              "recovery",
              stream_to_, theirs, incarnation_));
  }
  SetIncarnation(theirs);
  last_answer_ = executor_.Now();
  ever_answered_ = true;
  pause_ = options_.retry_min;
  if (!std::exchange(answered_, true)) {
    logger_.Info("heartbeats to {} in epoch {}", stream_to_, response.leader_epoch());
    last_failure_.clear();
  }
  if (response.leader_epoch() > leader_epoch_) {
    leader_epoch_ = response.leader_epoch();
    // What is reported counts for the new leader once it is reported under its epoch.
    NoteChange();
  }
  if (response.request_full()) {
    full_wanted_ = true;
    NoteChange();
  }
  if (stopping_) {
    if (response.farewell_recorded()) Finish();
    return;
  }
  listener_.OnHeartbeatAnswer(response);
}

void Agent::OnClosed(Status status) {
  Drop(status.ok() ? Error(StatusCode::kUnavailable, "{} closed the heartbeat stream", stream_to_) : status);
}

void Agent::Drop(const Status& status) {
  if (state_ != State::kReporting) return;
  LogFailure(Annotate(status, "heartbeats"));
  beat_timer_.Cancel();
  answered_ = false;
  // The stream may be in the middle of a callback: it is destroyed in a turn of its own.
  executor_.Post([dead = std::move(stream_)]() mutable { dead.reset(); });
  if (WantsRegistration(status)) {
    // There is nothing left to say farewell to.
    if (stopping_) return Finish();
    state_ = State::kRegistering;
  } else {
    link_.OnStreamFailed(stream_to_, status);
    state_ = State::kConnecting;
  }
  Retry();
}

Duration Agent::SinceAnswer() const {
  return ever_answered_ ? executor_.Now() - last_answer_ : Duration::max();
}

void Agent::LogFailure(const Status& status) {
  std::string text(MessageOf(status));
  if (text == last_failure_) return;
  logger_.Info("{}", text);
  last_failure_ = std::move(text);
}

}  // namespace tenure::node
