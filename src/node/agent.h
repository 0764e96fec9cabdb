// Registers this node and keeps one heartbeat stream to the leading controller.
//
//   Registering --accepted--> Connecting --stream open--> Reporting --stream ended or silent--> Connecting
//        ^------------------registration not known to the leader-----------------------------------'
// Stop lets it go on with reports that say farewell, until one is recorded or the time is up.
//
// Threading:  one executor.
// Errors:     everything is retried with growing pauses; a registration that can never succeed (another
//             cluster, a format that is not understood) goes to the listener and ends there.
// Ordering:   the first report of a stream is a full one; a change is reported at once, but two reports
//             caused by changes are at least min_report_gap apart.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "catalog/join_tokens.h"
#include "node/cluster_link.h"
#include "node/node_options.h"
#include "runtime/executor.h"
#include "tenure/internal/v1/agent.pb.h"

namespace tenure::node {

namespace ipb = ::tenure::internal::v1;

// What a heartbeat says about regions.
class ReportSource {
 public:
  virtual ~ReportSource() = default;
  // Everything if `full`, else what changed since the last call.
  virtual void FillReport(bool full, ipb::HeartbeatRequest& request) = 0;
};

class AgentListener {
 public:
  virtual ~AgentListener() = default;
  // A registration is about to be asked for: the one before, if there was one, may be over with it.
  virtual void OnRegistering() = 0;
  virtual void OnRegistered(const ipb::RegisterResponse& response) = 0;
  // Final: this node cannot take part.
  virtual void OnRegistrationRefused(const Status& status) = 0;
  virtual void OnHeartbeatAnswer(const ipb::HeartbeatResponse& response) = 0;
};

class Agent final : private runtime::StreamHandler {
 public:
  Agent(runtime::Executor& executor, ClusterLink& link, ReportSource& source, AgentListener& listener,
        const NodeOptions& options, Logger logger);
  ~Agent() override;

  void Start(const NodeIdentity& identity);
  // Something that the leader wants to know at once.
  void NoteChange();
  // Tells the leader that this process ends on purpose. While nobody leads, or whoever did is gone before the
  // catalog says it, the next one is told, until `deadline`; then, or at once if there is no registration to
  // end, it stops and `done` is called. Once.
  void Stop(Instant deadline, Closure done);

  // The highest leadership epoch that was heard of, in the cluster's incarnation of that number.
  uint64_t leader_epoch() const { return leader_epoch_; }
  uint64_t incarnation() const { return incarnation_; }
  bool connected() const { return answered_; }
  // Has a registration that no controller has refused yet.
  bool registered() const { return state_ == State::kConnecting || state_ == State::kReporting; }
  // Since the last answer of a leading controller; the maximum if there was none.
  Duration SinceAnswer() const;

 private:
  enum class State { kStopped, kRegistering, kConnecting, kReporting };

  void SetIncarnation(uint64_t incarnation);
  void Register();
  void OnRegisterAnswer(StatusOr<std::string> answer);
  void Connect();
  void Beat();
  void ScheduleBeat();
  void Send(bool full);
  void Finish();
  void Drop(const Status& status);
  void Retry();
  void OnMessage(std::string message) override;
  void OnClosed(Status status) override;
  void LogFailure(const Status& status);

  runtime::Executor& executor_;
  ClusterLink& link_;
  ReportSource& source_;
  AgentListener& listener_;
  const NodeOptions& options_;
  Logger logger_;

  catalog::JoinTokens tokens_;
  State state_ = State::kStopped;
  ipb::RegisterRequest registration_;
  uint64_t node_id_ = 0;
  uint64_t registration_epoch_ = 0;
  uint64_t leader_epoch_ = 0;
  uint64_t incarnation_ = 0;  // highest that a leader of this cluster has spoken for
  std::unique_ptr<runtime::Stream> stream_;
  runtime::Endpoint stream_to_;
  uint64_t sequence_ = 0;
  bool answered_ = false;  // on this stream
  Instant last_answer_;
  bool ever_answered_ = false;
  Instant last_sent_;
  Instant last_full_;
  bool full_wanted_ = false;
  bool early_beat_ = false;
  Duration pause_{};
  Closure on_stopped_;  // not null: every report says farewell
  bool stopping_ = false;
  runtime::Timer stop_timer_;
  std::string last_failure_;
  runtime::Timer beat_timer_;
  runtime::Timer retry_timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::node
