// Whether this controller leads, in which epoch, whether the services of that epoch have started, and whether
// the leader has heard enough of the cluster (load ready).
//
// Group callbacks set (epoch, serving) at once and stop the old epoch's token; transitions - starting or
// stopping all services - run one after the other as one task.
//
//              OnServing(term)          all services started             OnLoadReady
//   follower ------------------> starting -----------------> warming up -------------> serving
//      ^                            |                             |                       |
//      +----------------------------+-----------------------------+-----------------------+
//                     role or term changed: token stopped, services stopped in reverse order
//
// What is answered when: heartbeats and reads from the first entry of the term (`leading`), changes once the
// services run (`serving`), placement and whatever else depends on load when `load_ready`.
//
// Threading:  the controller's executor. Callbacks of the group come within its turn: nothing here calls it
//             back.
// Lifetime:   Stop is called and finished before destruction, unless the executor has stopped for good.
// Invariants: E1 serving() implies leading() in the same epoch, load_ready() serving().
//             E2 a service runs only between its Start and Stop of the current epoch.
//             E3 a become that finds its epoch stale starts nothing.
// Reference:  docs/leadership.md.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/status.h"
#include "controller/controller_directory.h"
#include "controller/leadership/leader_service.h"
#include "controller/leadership/load_readiness.h"
#include "raft/effects.h"
#include "runtime/executor.h"
#include "runtime/stop_token.h"
#include "runtime/task.h"
#include "tenure/v1/cluster.pb.h"

namespace tenure::controller {

struct LeadershipOptions {
  Duration first_retry = std::chrono::milliseconds(100);  // of a service that failed to start; doubles
  Duration max_retry = std::chrono::seconds(5);
  Duration start_limit =
      std::chrono::seconds(10);  // a service that has not answered by then is not waited for
  size_t kept_transitions = 10;
};

class Leadership {
 public:
  Leadership(runtime::Executor& executor, ReplicaId self, const ControllerDirectory& directory,
             LeadershipOptions options, Logger logger);
  ~Leadership();
  Leadership(const Leadership&) = delete;
  Leadership& operator=(const Leadership&) = delete;

  // Before the group starts; started in this order, stopped in reverse.
  void AddService(LeaderService& service);

  // Before the group starts; without one the load is always ready.
  void SetLoadReadiness(const LoadReadiness& readiness) { readiness_ = &readiness; }
  // From it: in `epoch` enough was heard.
  void OnLoadReady(Term epoch, std::string how);

  // From the group's observer.
  // `cause`: why, if more is known than the change itself; for people.
  void OnRoleChange(const raft::RoleChange& change, std::string_view cause = {});
  void OnServing(Term term);
  // From the leader of `term`, now and then: its own phase and what it waits for. An older program says no
  // phase.
  void OnLeaderSays(Term term, std::string phase, ::tenure::v1::WarmingUp warm_up);

  ReplicaId self() const { return self_; }
  // Leads and has applied an entry of its term.
  bool leading() const { return !epoch_.IsNone(); }
  bool serving() const { return serving_; }
  // Serves, and has a sample of every member of the cluster, or has waited for them long enough.
  bool load_ready() const { return serving_ && load_ready_; }
  Term epoch() const { return epoch_; }         // none if not leading
  ReplicaId leader() const { return leader_; }  // as this controller knows; none during an election
  Instant since() const { return since_; }      // the known leader has been it since then
  // Of the current epoch; already stopped if not leading.
  runtime::StopToken token() const { return epoch_stop_.token(); }

  // OK, or the NOT_LEADER or WARMING_UP refusal for a caller.
  Status CheckLeading() const;
  Status CheckServing() const;
  Status CheckLoadReady() const;
  Status NotLeader() const;

  // electing | starting | warming_up | serving: of the leader. A controller that does not lead says what the
  // leader of this term said last, and `starting` as long as that is nothing: a phase is never left backwards
  // within a term.
  std::string_view phase() const;
  std::vector<::tenure::v1::ServiceStatus> services() const;
  std::vector<::tenure::v1::Transition> transitions() const;  // newest first
  // What keeps the leader from `serving`: raft, services or load, empty if nothing does; who is missing
  // (services by name, else members); how long it waits for them at most. On another controller as the leader
  // said last.
  ::tenure::v1::WarmingUp warm_up() const;
  // Members without which it went on, and which have given no sample in this epoch to this day.
  std::vector<std::string> unsampled() const;
  uint64_t transitions_done() const { return transitions_done_; }
  // For checkers: enough was heard in this epoch, whether its services have started or not.
  bool heard_enough() const { return load_ready_; }
  // Whose services run or are being started; those of an epoch that has ended, until they are stopped. None:
  // stopped.
  Term started_epoch() const { return started_epoch_; }

  // Ends the epoch, if any, and all tasks; `done` when they have ended. Nothing starts afterwards.
  void Stop(Closure done);

 private:
  enum class ServiceState { kStopped, kStarting, kRunning, kFailed };
  struct Slot {
    LeaderService* service;
    ServiceState state = ServiceState::kStopped;
    std::string error;
    bool attempted = false;  // Start has answered at least once in this epoch
  };
  struct Pending {
    bool become;
    Term epoch;
    Instant queued;
    std::string reason;
  };

  // The leader that is known has said how far it is.
  bool LeaderHasSpoken() const { return !leader_.IsNone() && said_term_ == term_; }
  void EndEpoch(std::string reason);
  void Queue(Pending transition);
  runtime::Task<void> RunTransitions();
  runtime::Task<void> Become(Pending transition);
  runtime::Task<void> Resign(Pending transition);
  runtime::Task<void> RunService(Slot& slot, Term epoch, runtime::StopToken stop);
  bool ReadyToServe(Instant began) const;
  void Record(const Pending& transition, std::string_view from, std::string_view to);
  void RecordLoadReady();
  std::vector<std::string> MissingServices() const;

  runtime::Executor& executor_;
  const ReplicaId self_;
  const ControllerDirectory& directory_;
  const LeadershipOptions options_;
  Logger logger_;

  ReplicaId leader_;
  Term term_;
  Instant since_{};
  // What the leader of a term said of itself.
  Term said_term_;
  std::string said_phase_;
  ::tenure::v1::WarmingUp said_warm_up_;
  Term epoch_;
  bool serving_ = false;
  bool load_ready_ = false;
  Instant began_{};       // the epoch
  std::string load_how_;  // the load became ready
  const LoadReadiness* readiness_ = nullptr;
  runtime::StopSource epoch_stop_;

  std::vector<Slot> slots_;
  Term started_epoch_;  // whose services run or are being started
  std::deque<Pending> pending_;
  std::deque<::tenure::v1::Transition> transitions_;
  uint64_t transitions_done_ = 0;
  runtime::Event wake_;             // a transition is queued
  runtime::Event service_changed_;  // a Start answered
  std::unique_ptr<runtime::TaskScope> epoch_scope_;
  runtime::TaskScope scope_;
};

}  // namespace tenure::controller
