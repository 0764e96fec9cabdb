// A data node: its replicas, the commands clients send it, and its ties to the controllers. Puts the parts of
// this folder together and passes between them what happens.
//
//   built -> Start: replicas of the saved catalog view come up, registration goes on in the background
//         -> registered: the catalog is followed, heartbeats run        -> Stop: leaderships handed over,
//         farewell said
//
// Driven by daemon/ and sim/, which give it its surroundings. What it decides stands in its parts.
// Threading:  one executor, for construction too; everything of `Dependencies` but `disk` and `snapshots`
//             belongs to it. Those two belong to `background`.
// Lifetime:   Dependencies outlive the node. Either Stop has called back, or the executor has stopped for
//             good, before it is destroyed.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/prng.h"
#include "node/agent.h"
#include "node/catalog_feed.h"
#include "node/catalog_file.h"
#include "node/change_logs.h"
#include "node/cluster_views.h"
#include "node/configuration_service.h"
#include "node/data_service.h"
#include "node/expiry_sweeper.h"
#include "node/fenced_leader.h"
#include "node/internal_service.h"
#include "node/leadership.h"
#include "node/lease/request_fence.h"
#include "node/local_replicas.h"
#include "node/node_facts.h"
#include "node/node_options.h"
#include "node/prober.h"
#include "node/range_copier.h"
#include "node/range_service.h"
#include "node/region_reconciler.h"
#include "node/region_reporter.h"
#include "node/region_service.h"
#include "node/region_table.h"
#include "node/scanner.h"
#include "node/tasks/task_runner.h"

namespace tenure::node {

class NodeOwner {
 public:
  virtual ~NodeOwner() = default;
  // Registered, or heard of a new incarnation: cluster id and incarnation are to be kept in the data
  // directory.
  virtual void OnJoined(const std::string& cluster_id, uint64_t incarnation, NodeId node) = 0;
  // Where the controllers are now, by id: to be kept in the data directory, so that a later start finds them
  // whatever it is told. Called when it changed, and after each connection to a leading controller.
  virtual void OnControllers(const std::map<uint64_t, std::string>& addresses) = 0;
  // This node cannot take part in that cluster (wrong cluster, format): the process should end with this
  // reason.
  virtual void OnRefused(const Status& status) = 0;
};

class Node final : public DataService,
                   public NodeFacts,
                   private RegionTableListener,
                   private ReportSource,
                   private AgentListener {
 public:
  struct Dependencies {
    runtime::Executor& executor;
    runtime::Executor& background;
    runtime::Disk& disk;
    runtime::Network& network;
    ClusterLink& link;
    wal::Wal& wal;
    kv::Engine& engine;
    wal::SnapshotStore& snapshots;
    group::Transport& transport;
    NodeOwner& owner;
    Prng prng;
    Logger logger;
    group::GroupTrace* trace = nullptr;
    TaskTrace* task_trace = nullptr;
    FenceTrace* fence_trace = nullptr;
  };
  // `saved`: what CatalogFile::Load found at `view_path`.
  Node(Dependencies dependencies, NodeIdentity identity, NodeOptions options, std::string view_path,
       std::optional<CatalogView> saved);
  ~Node() override;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  void Start();
  // Hands leaderships over, flushes, and tells whoever leads the controllers, or comes to lead them, that
  // this node ends: all within `limit`.
  void Stop(Duration limit, Closure done);

  // For /readyz: OK, or why clients are not served.
  Status Ready() const;
  struct Stats {
    uint64_t regions = 0;
    uint64_t leaders = 0;
    uint64_t quiescent = 0;       // replicas that are idle, without timers
    uint64_t without_leader = 0;  // regions with a replica here that nobody leads as far as known
    uint64_t not_routed = 0;      // regions without one of which it is not known who leads them
    uint64_t pending_operations = 0;
    uint64_t catalog_revision = 0;
    bool connected = false;
    uint64_t diverged_replicas = 0;      // of regions led here
    uint64_t lost_replicas = 0;          // that should be here and were dropped by a repair
    uint64_t kept_replicas = 0;          // whose record a recovery of the catalog lost
    group::TransportCounters transport;  // of region groups
    bool fenced = false;
    Duration lease_left{};
    Duration fenced_for{};          // zero if it is not
    uint64_t recoveries = 0;        // of the lease
    uint64_t serving_revision = 0;  // of the view that is served from; 0: fenced
  };
  Stats GetStats() const;
  void SetLoad(const ProcessLoad& load) { reporter_.SetLoad(load); }
  // Known to a controller, as far as this node knows: it sends heartbeats or looks for whom to send them to.
  bool registered() const { return agent_.registered(); }
  group::GroupHost& groups() { return host_; }

  const RequestFence& fence() const { return fence_; }

  // Changefeeds: what is followed, computed from the view; the change logs of the regions led here.
  void SetFollowedDatabases(FollowedDatabases followed) { changes_.SetFollowed(std::move(followed)); }
  ChangeLogs& change_logs() { return changes_; }

  // Who is told of changes of these facts; null: nobody. Before Start.
  void SetObserver(NodeObserver* observer) { observer_ = observer; }

  // --- NodeFacts ---
  const CatalogView& catalog() const override { return view_; }
  NodeId self() const override { return table_.self(); }
  uint64_t registration_epoch() const override { return registering_ ? 0 : tasks_.registration_epoch(); }
  Instant owns_until() const override { return fence_.lease().owns_until(); }
  uint64_t lease_recoveries() const override { return fence_.lease().recoveries(); }
  NodeId LeaderOf(RegionId region) const override;
  const std::string& cluster_id() const override { return identity_.cluster_id; }
  uint64_t cluster_incarnation() const override { return identity_.incarnation; }

  // --- DataService ---
  std::optional<ViewTicket> Enter() override { return fence_.Enter(); }
  std::string FencedText() const override;
  bool MayLeave(ViewTicket ticket, Instant now) const override { return fence_.MayLeave(ticket, now); }
  void Leave(ViewTicket ticket, bool left) override { fence_.Leave(ticket, left); }
  Instant ServesUntil() const override { return fence_.lease().serves_until(); }
  void Execute(DatabaseId database, uint16_t slot, store::Arguments arguments, ReadMode mode,
               Callback<Outcome> done) override;
  void ExecuteTransaction(DatabaseId database, uint16_t slot, std::vector<store::Arguments> commands,
                          std::vector<store::WatchedKey> watches, Callback<Outcome> done) override;
  void VersionOf(DatabaseId database, uint16_t slot, std::string key, Callback<Outcome> done) override;
  void Scan(DatabaseId database, uint64_t cursor, size_t count, std::optional<std::string> match,
            std::optional<std::string> type, Callback<Outcome> done) override;
  std::optional<Moved> MovedElsewhere(DatabaseId database, uint16_t slot,
                                      const store::Arguments& arguments) override;
  uint64_t KeyCount(DatabaseId database) override;
  Outcome CountKeysInSlot(DatabaseId database, uint16_t slot) override;
  Outcome KeysInSlot(DatabaseId database, uint16_t slot, size_t limit) override;
  std::optional<DatabaseId> FindDatabase(const std::string& name) override;
  bool HasDatabase(DatabaseId database) override { return table_.Find(database) != nullptr; }
  const ClusterView* View(DatabaseId database) override;
  std::optional<std::string> DownReason(DatabaseId database) override;
  void TakeLeaderships(DatabaseId database, Callback<Outcome> done) override;
  WallTime Now() const override;
  std::vector<std::pair<std::string, std::string>> InfoLines() override;

 private:
  // RegionTableListener
  void OnTableChanged() override {}
  void OnLocalRoleChanged(const Region& region) override;
  void OnChangeLog(const Region& region) override { changes_.OnRegionChanged(region); }
  // ReportSource
  void FillReport(bool full, ipb::HeartbeatRequest& request) override;
  // AgentListener
  void OnRegistering() override;
  void OnRegistered(const ipb::RegisterResponse& response) override;
  void OnRegistrationRefused(const Status& status) override;
  void OnHeartbeatAnswer(const ipb::HeartbeatResponse& response) override;
  void TakeControllers(const ipb::HeartbeatResponse& response);
  void TakeGrant(const ipb::HeartbeatResponse& response);
  void GiveUpLease(const std::string& why);

  void SetSelf(NodeId self);
  void SetClusterId(const std::string& cluster_id);
  // False: this process must not, and ends.
  bool FollowInto(uint64_t incarnation);
  void OnCatalogPulled();
  void OnCatalogChanged();
  void OnCatalogAdvanced();
  void Recover();
  void TakeOverView();
  void TellObserver();
  void ScheduleReconcile();

  Dependencies dependencies_;
  NodeIdentity identity_;
  const NodeOptions options_;
  CatalogView view_;
  CatalogFile file_;
  RegionTable table_;
  RequestFence fence_;
  RowSchemaTable schemas_of_rows_;
  group::GroupHost host_;
  ClusterViews views_;
  LocalReplicas replicas_;
  RegionReconciler reconciler_;
  TaskRunner tasks_;
  Prober prober_;
  RegionReporter reporter_;
  Agent agent_;
  CatalogFeed feed_;
  RegionService service_;
  Scanner scanner_;
  ExpirySweeper sweeper_;
  LeadershipService leadership_;
  FencedLeader fenced_leader_;
  ConfigurationService configurations_;
  RangeService ranges_;
  RangeCopier copier_;
  SchemaService schemas_;
  ChangeLogs changes_;
  InternalService internal_;
  LeadershipTaker taker_;
  runtime::Timer reconcile_timer_;
  Instant last_take_over_;
  bool take_over_scheduled_ = false;
  runtime::Timer take_over_timer_;
  NodeObserver* observer_ = nullptr;
  bool registering_ = true;
  bool started_ = false;
  bool feed_started_ = false;
  bool stopping_ = false;
  bool lease_given_up_ = false;  // and no grant is taken any more
  std::string refused_;
};

}  // namespace tenure::node
