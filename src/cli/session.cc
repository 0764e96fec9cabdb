#include "cli/session.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <optional>
#include <random>
#include <thread>

#include "base/host_port.h"
#include "catalog/refusal.h"
#include "cli/waiting.h"

namespace tenure::cli {
namespace {

constexpr Duration kLeaderTimeout = std::chrono::seconds(2);
constexpr auto kElectionPause = std::chrono::milliseconds(100);
constexpr auto kRewatchPause = std::chrono::milliseconds(200);

uint64_t RandomSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

// As ControllerClient does with calls: a process that is no controller yet, or not any more, offers no such service,
// one that ends cancels its streams.
bool MayServeAgain(const Status& end) {
  if (const auto refusal = catalog::RefusalOf(end)) return refusal->retryable();
  return absl::IsUnavailable(end) || absl::IsUnimplemented(end) || absl::IsCancelled(end) ||
         absl::IsDeadlineExceeded(end);
}

// Hands what arrives on the executor to the thread that waits.
class WatchQueue final : public runtime::StreamHandler {
 public:
  void OnMessage(std::string message) override {
    const std::lock_guard lock(mutex_);
    messages_.push_back(std::move(message));
    changed_.notify_one();
  }
  void OnClosed(Status status) override {
    const std::lock_guard lock(mutex_);
    closed_ = std::move(status);
    changed_.notify_one();
  }
  // The next message, or how the stream ended.
  StatusOr<std::string> Next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !messages_.empty() || closed_.has_value(); });
    if (messages_.empty()) return closed_->ok() ? absl::UnavailableError("the stream was closed") : *closed_;
    std::string message = std::move(messages_.front());
    messages_.pop_front();
    return message;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> messages_;
  std::optional<Status> closed_;
};

}  // namespace

StatusOr<std::vector<runtime::Endpoint>> ParseEndpoints(const std::string& list) {
  std::vector<runtime::Endpoint> endpoints;
  size_t begin = 0;
  while (begin <= list.size()) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const std::string endpoint = list.substr(begin, end - begin);
    if (!ParseHostPort(endpoint).ok()) {
      return Error(StatusCode::kInvalidArgument, "\"{}\" is no HOST:PORT", endpoint);
    }
    endpoints.push_back(endpoint);
    begin = end + 1;
  }
  return endpoints;
}

StatusOr<std::unique_ptr<Session>> Session::Open(const Invocation& invocation) {
  return Open(invocation.controllers.empty() ? std::string(kDefaultControllers) : invocation.controllers);
}

StatusOr<std::unique_ptr<Session>> Session::Open(const std::string& controllers) {
  TENURE_ASSIGN_OR_RETURN(std::vector<runtime::Endpoint> endpoints, ParseEndpoints(controllers));
  return std::unique_ptr<Session>(new Session(std::move(endpoints)));
}

Session::Session(std::vector<runtime::Endpoint> controllers) : ids_(Prng(RandomSeed())) {
  executor_.RunAndWait([&] {
    network_ = grpc_.MakeNetwork(executor_);
    client_ = std::make_unique<client::ControllerClient>(executor_, *network_, std::move(controllers),
                                                         Prng(RandomSeed()));
  });
}

Session::~Session() {
  executor_.Stop();
}

StatusOr<std::string> Session::CallBytes(std::string_view method,
                                         const google::protobuf::MessageLite& request,
                                         const client::CallOptions& options) {
  std::promise<StatusOr<std::string>> answer;
  executor_.Post([&] {
    client_->Call(method, request.SerializeAsString(), options,
                  [&answer](StatusOr<std::string> bytes) { answer.set_value(std::move(bytes)); });
  });
  return answer.get_future().get();
}

StatusOr<std::string> Session::CallAt(const runtime::Endpoint& endpoint, std::string_view method,
                                      const google::protobuf::MessageLite& request, Duration timeout) {
  std::promise<StatusOr<std::string>> answer;
  executor_.Post([&] {
    network_->Call(endpoint, method, request.SerializeAsString(), timeout,
                   [&answer](StatusOr<std::string> bytes) { answer.set_value(std::move(bytes)); });
  });
  return answer.get_future().get();
}

StatusOr<pb::StatusResponse> Session::ClusterStatus(Duration timeout) {
  constexpr std::string_view kMethod = "tenure.v1.Cluster/Status";
  const pb::StatusRequest request;
  TENURE_ASSIGN_OR_RETURN(pb::StatusResponse status, CallAny<pb::StatusResponse>(kMethod, request, timeout));
  if (status.leader_address().empty() || status.leader_id() == status.answered_by()) return status;
  // The leader alone knows the nodes; if it does not answer, what the other knows is better than nothing.
  const auto answer = Parse<pb::StatusResponse>(
      CallAt(status.leader_address(), kMethod, request, std::min(timeout, kLeaderTimeout)));
  return answer.ok() ? *answer : status;
}

StatusOr<pb::StatusResponse> Session::LeaderStatus(Duration timeout) {
  const Deadline deadline(timeout);
  while (true) {
    TENURE_ASSIGN_OR_RETURN(pb::StatusResponse status, ClusterStatus(deadline.remaining()));
    if (status.leader_id() != 0 && status.leader_id() == status.answered_by()) return status;
    if (deadline.remaining() == Duration::zero()) {
      return catalog::MakeRefusal(pb::REASON_UNAVAILABLE, "no controller leads at present");
    }
    std::this_thread::sleep_for(kElectionPause);
  }
}

Status Session::Watch(pb::WatchRequest request, Duration timeout,
                      const std::function<void(const pb::Event&)>& on_event) {
  // A watch may be silent for as long as nothing changes.
  std::optional<std::chrono::steady_clock::time_point> broken_since = std::chrono::steady_clock::now();
  while (true) {
    WatchQueue queue;
    runtime::Endpoint endpoint;
    std::unique_ptr<runtime::Stream> stream;
    executor_.RunAndWait([&] {
      endpoint = client_->Target();
      stream = network_->OpenStream(endpoint, "tenure.v1.Catalog/Watch", queue, {});
      stream->Send(request.SerializeAsString());
    });
    Status end;
    std::vector<pb::Event> incomplete;  // of a revision whose rest is still to come
    while (end.ok()) {
      const StatusOr<std::string> bytes = queue.Next();
      StatusOr<pb::WatchResponse> message = Parse<pb::WatchResponse>(bytes);
      end = message.status();
      if (!message.ok()) break;
      broken_since.reset();
      for (pb::Event& event : *message->mutable_events()) incomplete.push_back(std::move(event));
      const uint64_t complete = std::max(request.after_revision(), message->progress_revision());
      const auto rest =
          std::find_if(incomplete.begin(), incomplete.end(),
                       [complete](const pb::Event& event) { return event.revision() > complete; });
      std::for_each(incomplete.begin(), rest, on_event);
      incomplete.erase(incomplete.begin(), rest);
      request.set_after_revision(complete);
    }
    executor_.RunAndWait([&] {
      stream.reset();
      client_->OnStreamFailed(endpoint, end);
    });
    const auto now = std::chrono::steady_clock::now();
    if (!broken_since) broken_since = now;
    if (!MayServeAgain(end) || now - *broken_since > timeout) return end;
    std::this_thread::sleep_for(kRewatchPause);
  }
}

}  // namespace tenure::cli
