// A node's part in changefeeds: answers the messages of the protocol, hosts maintainers and dispatchers, and
// ends what the catalog, the lease or a message says has ended.
//
//   view, lease --> OwnerGate of each changefeed <-- messages
//                       | what may run
//                       v
//   MaintainerHost --messages--> other nodes' agents;   DispatcherPool --progress--> the maintainer's node
//
// Threading:  the node's executor. Dispatchers run on theirs, behind the pool.
// Lifetime:   what Dependencies name outlives it, but for executors that have stopped.
// Errors:     refusals of the protocol are answers. Calls of another cluster, or of an incarnation of it that
//             is over, are WRONG_CLUSTER and STALE_INCARNATION; UNAVAILABLE while this node is not
//             registered.
// Invariants: G1 to G5 of owner_gate.h, P1 and P2 of dispatcher_pool.h.
//             N1 what a message or the view ends is without permits before the turn is over, and stopped
//             before the message is answered.
//             N2 after an answer to a leadership, messages of earlier ones change nothing.
// Reference:  docs/changefeeds.md.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "changefeed/agent/dispatcher_pool.h"
#include "changefeed/agent/maintainer_host.h"
#include "changefeed/agent/messenger.h"
#include "changefeed/protocol/owner_gate.h"
#include "node/followed_databases.h"
#include "node/node_facts.h"
#include "runtime/executor.h"
#include "runtime/network.h"

namespace tenure::changefeed {

// Whether anything can be written to a sink; none: it can. Called and answered on the node's executor.
using SinkChecker = std::function<void(SinkAddress, Callback<std::optional<FeedError>>)>;

class ChangefeedAgent final : public runtime::Service, public node::NodeObserver {
 public:
  static constexpr std::string_view kName = "tenure.internal.v1.ChangefeedNode";

  struct Options {
    Duration tick = std::chrono::milliseconds(100);
    Duration progress_every = std::chrono::milliseconds(250);
    MaintainerHost::Options maintainers;
  };
  struct Dependencies {
    runtime::Executor& executor;
    runtime::Executor& dispatchers;
    runtime::Network& network;
    node::ClusterLink& link;
    const node::NodeFacts& node;
    DispatcherFactory& factory;
    SinkChecker check_sink;
    std::function<void(node::FollowedDatabases)> follow;  // Node::SetFollowedDatabases
    // The view has changed: before anything is done by it here.
    std::function<void(const node::CatalogView&)> on_view;
    Logger logger;
  };
  ChangefeedAgent(Dependencies dependencies, Options options);
  ~ChangefeedAgent() override;

  // Serves its messages and looks after what runs, from now on.
  void Start();
  void Stop() { timer_.Cancel(); }

  struct Numbers {
    uint64_t maintainers = 0;
    uint64_t dispatchers = 0;
    uint64_t rows_per_second = 0;
    std::map<std::string, uint64_t> refusals;  // answered, by kind
  };
  Numbers GetNumbers() const;
  // Changefeeds whose maintainers run here.
  std::vector<ChangefeedId> maintained() const;

  // node::NodeObserver
  void OnNodeChanged() override;
  void OnRegistering() override;
  // runtime::Service
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override;
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }

 private:
  struct Feed {
    explicit Feed(Process self) : gate(self) {}
    OwnerGate gate;
    Process owner;  // of the view's epoch
    std::unique_ptr<MaintainerHost> maintainer;
    // Of the maintainer that ended here last.
    OwnerEpoch final_epoch;
    CommitTs final_checkpoint;
    CommitTs told_checkpoint;  // to the dispatchers
    bool reporting = false;    // progress is under way
    // Dispatchers that were stopped for want of a lease: their maintainer is told, until it has done
    // something about them.
    struct Lost {
      OwnerEpoch epoch;
      ScheduleSequence sequence;  // of the create
      CommitTs flushed;
    };
    std::map<SpanId, Lost> lost;
  };
  using Respond = Callback<StatusOr<ipb::ChangefeedMessage>>;

  Process Self() const { return {node_.self(), Incarnation(node_.registration_epoch())}; }
  Feed& FeedOf(ChangefeedId id);
  const ::tenure::v1::ChangefeedRecord* RecordOf(ChangefeedId id) const;
  void EndMaintainer(Feed& feed);
  // Ends what the gate says, and calls `done` with what the dispatchers said last, once they have stopped.
  void Enact(ChangefeedId id, Feed& feed, const OwnerGate::Outcome& outcome,
             Callback<DispatcherPool::States> done = nullptr);
  void FenceAll();
  void NoteLost(ChangefeedId id, const std::map<SpanId, OwnerGate::Dispatcher>& ran,
                const DispatcherPool::States& states);
  // Another process, or another incarnation of the cluster: nothing of before counts.
  void StartOver();
  void TakeView();
  void Follow();
  void OnTick();
  void SendProgress(const DispatcherPool::States& states);
  std::vector<ipb::DispatchersProgress> ProgressOf(ChangefeedId id, const Feed& feed,
                                                   const DispatcherPool::States& states) const;

  // --- messages ---
  void OnDeliver(const std::string& bytes, runtime::Reply reply);
  void OnCheckSink(const std::string& bytes, runtime::Reply reply);
  Status CheckCluster(const std::string& cluster_id, uint64_t incarnation) const;
  void Handle(const ipb::ChangefeedMessage& message, Respond respond);
  void OnCollect(const ipb::CollectMaintainers& collect, Respond respond);
  void OnAdd(const ipb::AddMaintainer& add, Respond respond);
  void OnRemove(const ipb::RemoveMaintainer& remove, Respond respond);
  void OnInspect(const ipb::InspectMaintainer& inspect, Respond respond);
  void OnBootstrap(const ipb::BootstrapDispatchers& bootstrap, Respond respond);
  void OnPlan(const ipb::PostBootstrap& plan, Respond respond);
  void OnClose(const ipb::CloseDispatchers& close, Respond respond);
  void OnSchedule(const ipb::ScheduleDispatcher& schedule, Respond respond);
  void OnBarrier(const ipb::DispatcherBarrier& barrier, Respond respond);
  void OnProgress(const ipb::DispatchersProgress& progress, Respond respond);
  ipb::ChangefeedMessage AnswerOf(uint64_t changefeed, const Decision& decision);
  Acceptance Count(Acceptance acceptance);
  StatusOr<DispatcherSpec> SpecOf(const ipb::ScheduleDispatcher& schedule) const;

  runtime::Executor& executor_;
  runtime::Network& network_;
  const node::NodeFacts& node_;
  SinkChecker check_sink_;
  std::function<void(node::FollowedDatabases)> follow_;
  std::function<void(const node::CatalogView&)> on_view_;
  const Options options_;
  Logger logger_;
  Messenger messenger_;
  DispatcherPool pool_;

  // What the gates were made for.
  Process self_;
  uint64_t incarnation_ = 0;  // of the cluster
  uint64_t recoveries_ = 0;   // of the lease
  bool fenced_ = true;
  LeadershipEpoch leadership_;  // the highest that was answered
  std::map<ChangefeedId, Feed> feeds_;
  Revision viewed_;                   // what the maintainers have seen of the view
  node::FollowedDatabases followed_;  // as it was computed last
  std::map<std::string, uint64_t> refusals_;
  uint64_t rows_per_second_ = 0;
  bool collecting_ = false;
  Instant next_progress_;
  runtime::Timer timer_;
  std::shared_ptr<ChangefeedAgent*> alive_;  // null inside once this is gone
};

}  // namespace tenure::changefeed
