#include "client/catalog_stream.h"

#include <utility>

#include "catalog/refusal.h"

namespace tenure::client {

namespace pb = ::tenure::v1;

namespace {

constexpr Duration kReconnectPause = std::chrono::milliseconds(50);
constexpr Duration kExpiryCheck = std::chrono::milliseconds(250);

uint64_t SequenceOf(const pb::StreamRequest& request) {
  if (request.has_put()) return request.put().id().sequence();
  if (request.has_delete_()) return request.delete_().id().sequence();
  return 0;
}

}  // namespace

CatalogStream::CatalogStream(runtime::Executor& executor, runtime::Network& network,
                             ControllerClient& controllers, Prng prng, Duration timeout)
    : executor_(executor),
      network_(network),
      controllers_(controllers),
      ids_(prng.Fork("client id")),
      prng_(prng),
      timeout_(timeout) {
  Expire();
}

CatalogStream::~CatalogStream() {
  *alive_ = false;
}

void CatalogStream::Send(pb::StreamRequest request, Callback<StatusOr<pb::StreamResponse>> done) {
  const uint64_t tag = next_tag_++;
  request.set_tag(tag);
  if (request.has_put()) *request.mutable_put()->mutable_id() = ids_.Next();
  if (request.has_delete_()) *request.mutable_delete_()->mutable_id() = ids_.Next();
  pending_.emplace(tag, Pending{std::move(request), executor_.Now() + timeout_, std::move(done)});
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
    stream_ = network_.OpenStream(endpoint_, "tenure.v1.Catalog/Stream", *this, {});
  }
  pb::StreamRequests message;
  for (const uint64_t tag : unsent_) {
    const auto it = pending_.find(tag);
    if (it != pending_.end()) *message.add_requests() = it->second.request;
  }
  unsent_.clear();
  if (message.requests_size() > 0) stream_->Send(message.SerializeAsString());
}

void CatalogStream::OnMessage(std::string bytes) {
  pb::StreamResponses message;
  if (!message.ParseFromString(bytes)) {
    return Reconnect(Error(StatusCode::kInternal, "StreamResponses: malformed"));
  }
  const std::shared_ptr<bool> alive = alive_;
  for (pb::StreamResponse& response : *message.mutable_responses()) {
    OnResponse(std::move(response));
    if (!*alive) return;
  }
}

void CatalogStream::OnResponse(pb::StreamResponse response) {
  const uint64_t tag = response.tag();
  if (!response.has_refusal()) return Finish(tag, std::move(response));
  const Status status = catalog::MakeRefusal(response.refusal());
  if (!response.refusal().retryable()) return Finish(tag, status);
  // Sent again as it is; a redirect moves the whole stream.
  if (pending_.contains(tag)) unsent_.push_back(tag);
  if (response.refusal().reason() == pb::REASON_NOT_LEADER) return Reconnect(status);
  waiting_ = true;
  reconnect_timer_ = executor_.After(kReconnectPause, [this] {
    waiting_ = false;
    ScheduleFlush();
  });
}

void CatalogStream::OnClosed(Status status) {
  Reconnect(status);
}

void CatalogStream::Reconnect(const Status& why) {
  controllers_.OnStreamFailed(endpoint_, why);
  if (stream_) {
    stream_->Close(why.ok() ? OkStatus() : Error(StatusCode::kCancelled, "the client reconnects"));
    // This may be called from inside the stream's own callback.
    executor_.Post([dead = std::shared_ptr<runtime::Stream>(std::move(stream_))] {});
  }
  unsent_.clear();
  for (const auto& [tag, pending] : pending_) unsent_.push_back(tag);
  waiting_ = true;
  reconnect_timer_ = executor_.After(kReconnectPause, [this] {
    waiting_ = false;
    ScheduleFlush();
  });
}

void CatalogStream::Expire() {
  const Instant now = executor_.Now();
  std::vector<uint64_t> expired;
  for (const auto& [tag, pending] : pending_) {
    if (pending.deadline > now) break;  // tags rise with deadlines
    expired.push_back(tag);
  }
  expiry_timer_ = executor_.After(kExpiryCheck, [this] { Expire(); });
  const std::shared_ptr<bool> alive = alive_;
  for (const uint64_t tag : expired) {
    Finish(tag,
           Error(StatusCode::kDeadlineExceeded, "no answer from {} within {} ms: it may have been executed",
                 endpoint_, ToMillis(timeout_)));
    if (!*alive) return;
  }
}

void CatalogStream::Finish(uint64_t tag, StatusOr<pb::StreamResponse> response) {
  auto node = pending_.extract(tag);
  if (node.empty()) return;
  if (const uint64_t sequence = SequenceOf(node.mapped().request); sequence != 0) ids_.Done(sequence);
  node.mapped().done(std::move(response));
}

}  // namespace tenure::client
