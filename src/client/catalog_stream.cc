#include "client/catalog_stream.h"

#include <algorithm>
#include <utility>

#include "catalog/refusal.h"

namespace tenure::client {

namespace pb = ::tenure::v1;

namespace {

constexpr Duration kFirstPause = std::chrono::milliseconds(20);  // before the next stream; doubles
constexpr Duration kMaxPause = std::chrono::milliseconds(500);
constexpr Duration kLater = std::chrono::milliseconds(50);  // for requests that are refused for now
constexpr Duration kExpiryCheck = std::chrono::milliseconds(250);
// A stream that owes answers and is silent for so long, or for half of what a request may take: its process hangs,
// though its kernel keeps the connection.
constexpr Duration kMaxSilence = std::chrono::seconds(3);
// Of one message; a larger request goes alone. What is outstanding may be more than any message can hold.
constexpr size_t kMaxMessageBytes = 1 << 20;

const pb::RequestId* IdOf(const pb::StreamRequest& request) {
  if (request.has_put()) return &request.put().id();
  if (request.has_delete_()) return &request.delete_().id();
  return nullptr;
}

}  // namespace

CatalogStream::CatalogStream(runtime::Executor& executor, runtime::Network& network,
                             ControllerClient& controllers, Prng prng, Duration timeout,
                             size_t max_outstanding)
    : executor_(executor),
      network_(network),
      controllers_(controllers),
      ids_(prng.Fork("client id")),
      prng_(prng),
      timeout_(timeout),
      max_silence_(std::min(kMaxSilence, timeout / 2)),
      max_outstanding_(max_outstanding),
      last_send_(executor.Now()) {
  Expire();
}

CatalogStream::~CatalogStream() {
  *alive_ = false;
}

void CatalogStream::GiveId(pb::StreamRequest& request) {
  if (request.has_put()) *request.mutable_put()->mutable_id() = ids_.Next();
  if (request.has_delete_()) *request.mutable_delete_()->mutable_id() = ids_.Next();
}

void CatalogStream::Send(pb::StreamRequest request, Callback<StatusOr<pb::StreamResponse>> done) {
  if (pending_.size() >= max_outstanding_) {
    return done(catalog::Refuse(pb::REASON_OVERLOADED, "{} requests are outstanding, the limit is {}",
                                pending_.size(), max_outstanding_));
  }
  const Instant now = executor_.Now();
  if (now - last_send_ > RequestIds::kSessionIdle && ids_.unanswered() == 0) ids_.Renew();
  last_send_ = now;
  const uint64_t tag = next_tag_++;
  request.set_tag(tag);
  GiveId(request);
  pending_.emplace_hint(pending_.end(), tag, Pending{std::move(request), now + timeout_, std::move(done)});
  unsent_.push_back(tag);
  ScheduleFlush();
}

void CatalogStream::ScheduleFlush() {
  if (flush_posted_ || waiting_) return;
  flush_posted_ = true;
  executor_.Post([this, alive = alive_] {
    if (*alive) Flush();
  });
}

void CatalogStream::Flush() {
  flush_posted_ = false;
  if (waiting_ || unsent_.empty()) return;
  if (!stream_) {
    endpoint_ = controllers_.Target();
    stream_ = network_.OpenStream(endpoint_, "tenure.v1.Catalog/Stream", *this, {.direct = true});
  }
  if (!IsOwedAnswers()) heard_ = executor_.Now();
  pb::StreamRequests message;
  size_t bytes = 0;
  for (const uint64_t tag : std::exchange(unsent_, {})) {
    const auto it = pending_.find(tag);
    if (it == pending_.end()) continue;
    const size_t size = it->second.request.ByteSizeLong();
    if (bytes > 0 && bytes + size > kMaxMessageBytes) {
      stream_->Send(message.SerializeAsString());
      message.Clear();
      bytes = 0;
    }
    it->second.sent = true;
    *message.add_requests() = it->second.request;
    bytes += size;
  }
  if (message.requests_size() > 0) stream_->Send(message.SerializeAsString());
}

void CatalogStream::OnMessage(std::string bytes) {
  pb::StreamResponses message;
  if (!message.ParseFromString(bytes)) {
    return Reconnect(Error(StatusCode::kInternal, "StreamResponses: malformed"));
  }
  heard_ = executor_.Now();
  const std::shared_ptr<bool> alive = alive_;
  Status redirect;
  for (pb::StreamResponse& response : *message.mutable_responses()) {
    Status status = OnResponse(std::move(response));
    if (!*alive) return;
    if (!status.ok()) redirect = std::move(status);
  }
  // The rest of the message may hold answers: the whole stream moves after it.
  if (!redirect.ok()) Reconnect(redirect);
}

Status CatalogStream::OnResponse(pb::StreamResponse response) {
  const uint64_t tag = response.tag();
  const auto pending = pending_.find(tag);
  if (pending == pending_.end()) return OkStatus();
  pending->second.sent = false;
  if (!response.has_refusal()) {
    failures_ = 0;
    controllers_.OnLeader(endpoint_);
    Finish(tag, std::move(response));
    return OkStatus();
  }
  const Status status = catalog::MakeRefusal(response.refusal());
  last_error_ = status;
  const pb::Reason reason = response.refusal().reason();
  if (catalog::RuleOf(reason).effect == catalog::Effect::kUnknown && response.refusal().retryable()) {
    ++pending->second.unsure_sends;
  }
  if (reason == pb::REASON_DUPLICATE_EXPIRED) {
    OnExpiredSession(pending, status);
  } else if (!response.refusal().retryable()) {
    Finish(tag, pending->second.unsure_sends > 0 ? catalog::AfterUnknownOutcome(status) : status);
  } else if (reason == pb::REASON_NOT_LEADER) {
    return status;  // sent again with the rest
  } else {
    SendLater(tag);
  }
  return OkStatus();
}

void CatalogStream::OnExpiredSession(std::map<uint64_t, Pending>::iterator pending, const Status& status) {
  if (pending->second.unsure_sends > 0) {
    return Finish(pending->first,
                  catalog::MakeRefusal(pb::REASON_UNKNOWN_OUTCOME, std::string(MessageOf(status))));
  }
  // It cannot have been executed: it is a new request of the next session.
  const pb::RequestId* id = IdOf(pending->second.request);
  if (id != nullptr && id->client_id() == ids_.client_id()) ids_.Renew();
  GiveId(pending->second.request);
  unsent_.push_back(pending->first);
  ScheduleFlush();
}

void CatalogStream::SendLater(uint64_t tag) {
  later_.push_back(tag);
  if (std::exchange(later_set_, true)) return;
  later_timer_ = executor_.After(kLater, [this] {
    later_set_ = false;
    for (const uint64_t waited : std::exchange(later_, {})) unsent_.push_back(waited);
    ScheduleFlush();
  });
}

void CatalogStream::OnClosed(Status status) {
  Reconnect(status.ok() ? Error(StatusCode::kUnavailable, "the controller closed the stream") : status);
}

void CatalogStream::Reconnect(const Status& why) {
  last_error_ = why;
  const bool redirected = controllers_.OnStreamFailed(endpoint_, why);
  if (stream_) {
    stream_->Close(Error(StatusCode::kCancelled, "the client reconnects"));
    // This may be called from inside the stream's own callback.
    executor_.Post([dead = std::shared_ptr<runtime::Stream>(std::move(stream_))] {});
  }
  // A stream that is unknown there was opened by nobody.
  const bool unsure = !runtime::WasNotSent(why) && why.code() != StatusCode::kUnimplemented;
  unsent_.clear();
  later_.clear();
  for (auto& [tag, pending] : pending_) {
    if (std::exchange(pending.sent, false) && unsure) ++pending.unsure_sends;
    unsent_.push_back(tag);
  }
  ++failures_;
  if (redirected && failures_ <= 2) return ScheduleFlush();
  waiting_ = true;
  const Duration pause = std::min(kMaxPause, kFirstPause * (int64_t{1} << std::min(failures_ - 1, 8)));
  const Duration jittered = pause / 2 + Duration(prng_.Between(0, pause.count() / 2));
  reconnect_timer_ = executor_.After(jittered, [this] {
    waiting_ = false;
    if (!pending_.empty()) ScheduleFlush();
  });
}

bool CatalogStream::IsOwedAnswers() const {
  return std::ranges::any_of(pending_, [](const auto& entry) { return entry.second.sent; });
}

void CatalogStream::Expire() {
  expiry_timer_ = executor_.After(kExpiryCheck, [this] { Expire(); });
  const Instant now = executor_.Now();
  if (now - heard_ >= max_silence_ && IsOwedAnswers())
    Reconnect(Error(StatusCode::kUnavailable, "no answer within {} ms", ToMillis(max_silence_)));
  std::vector<uint64_t> expired;
  for (const auto& [tag, pending] : pending_) {
    if (pending.deadline > now) break;  // tags rise with deadlines
    expired.push_back(tag);
  }
  const std::shared_ptr<bool> alive = alive_;
  for (const uint64_t tag : expired) {
    const Pending& pending = pending_.at(tag);
    const bool unknown = IdOf(pending.request) != nullptr && (pending.sent || pending.unsure_sends > 0);
    const std::string heard = last_error_.ok() ? fmt::format("{}: no answer", endpoint_)
                                               : fmt::format("{}: {}", endpoint_, MessageOf(last_error_));
    Finish(tag, catalog::Refuse(unknown ? pb::REASON_UNKNOWN_OUTCOME : pb::REASON_UNAVAILABLE,
                                "no answer within {} ms{}: {}", ToMillis(timeout_),
                                unknown ? "; it may or may not have been done" : "", heard));
    if (!*alive) return;
  }
}

void CatalogStream::Finish(uint64_t tag, StatusOr<pb::StreamResponse> response) {
  auto node = pending_.extract(tag);
  if (node.empty()) return;
  if (const pb::RequestId* id = IdOf(node.mapped().request)) ids_.Done(*id);
  node.mapped().done(std::move(response));
}

}  // namespace tenure::client
