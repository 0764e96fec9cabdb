// Many outstanding catalog requests on one stream (Catalog.Stream), which in a daemon has a connection of its own
// (runtime::StreamOptions::direct): requests of one turn leave as one message, answers come in order of
// completion. When the stream breaks, is silent for three seconds (or half of `timeout`) or leadership moves, what is
// unanswered is sent again on a new stream; changes carry request ids, so they take effect once.
//
// Threading:  one executor.
// Lifetime:   destruction drops pending callbacks without running them.
// Errors:     a final refusal as a status with a tenure.v1.Refusal. A request without an answer in `timeout`
//             ends UNKNOWN_OUTCOME if it is a change that may have been executed, else UNAVAILABLE, with what
//             was heard last.
// Bounds:     `max_outstanding` requests; beyond it Send answers OVERLOADED at once.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/function.h"
#include "base/prng.h"
#include "base/status.h"
#include "client/controller_client.h"
#include "client/request_ids.h"
#include "runtime/executor.h"
#include "runtime/network.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::client {

class CatalogStream final : public runtime::StreamHandler {
 public:
  static constexpr size_t kMaxOutstanding = 16384;  // what a controller takes on one stream

  // `controllers` finds the leader and outlives this.
  CatalogStream(runtime::Executor& executor, runtime::Network& network, ControllerClient& controllers,
                Prng prng, Duration timeout, size_t max_outstanding = kMaxOutstanding);
  ~CatalogStream() override;

  // `request` needs no tag and no request id: both are filled in.
  void Send(::tenure::v1::StreamRequest request, Callback<StatusOr<::tenure::v1::StreamResponse>> done);
  size_t outstanding() const { return pending_.size(); }

  // --- runtime::StreamHandler ---
  void OnMessage(std::string message) override;
  void OnClosed(Status status) override;

 private:
  struct Pending {
    ::tenure::v1::StreamRequest request;
    Instant deadline;
    Callback<StatusOr<::tenure::v1::StreamResponse>> done;
    int unsure_sends = 0;  // whose answer never came
    bool sent = false;     // on the present stream, unanswered
  };

  void GiveId(::tenure::v1::StreamRequest& request);
  void ScheduleFlush();
  void Flush();
  // Returns the redirect, if this response is one.
  Status OnResponse(::tenure::v1::StreamResponse response);
  void OnExpiredSession(std::map<uint64_t, Pending>::iterator pending, const Status& status);
  void SendLater(uint64_t tag);
  void Reconnect(const Status& why);
  // By the present stream.
  bool IsOwedAnswers() const;
  void Expire();
  void Finish(uint64_t tag, StatusOr<::tenure::v1::StreamResponse> response);

  runtime::Executor& executor_;
  runtime::Network& network_;
  ControllerClient& controllers_;
  RequestIds ids_;
  Prng prng_;
  const Duration timeout_;
  const Duration max_silence_;
  const size_t max_outstanding_;
  std::unique_ptr<runtime::Stream> stream_;
  runtime::Endpoint endpoint_;
  Status last_error_;
  int failures_ = 0;                     // streams in a row that ended without an answer
  std::map<uint64_t, Pending> pending_;  // by tag
  std::vector<uint64_t> unsent_;         // tags for the next message
  std::vector<uint64_t> later_;          // refused for now
  uint64_t next_tag_ = 1;
  Instant last_send_{};
  Instant heard_{};  // the last answer, or when answers began to be owed
  bool flush_posted_ = false;
  bool waiting_ = false;  // for the pause before the next stream
  bool later_set_ = false;
  runtime::Timer reconnect_timer_;
  runtime::Timer later_timer_;
  runtime::Timer expiry_timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::client
