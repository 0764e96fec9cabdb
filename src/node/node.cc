#include "node/node.h"

#include <utility>

#include "base/format.h"
#include "catalog/refusal.h"

namespace tenure::node {
namespace {

std::set<RegionId> RecoveredRegions(const wal::Wal& wal) {
  std::set<RegionId> regions;
  for (const auto& [group, recovered] : wal.recovered()) {
    if (group != kCatalogGroup && !recovered.tombstone) regions.insert(RegionId(group.value()));
  }
  return regions;
}

group::GroupHost::Dependencies HostDependencies(Node::Dependencies& dependencies, RegionTable& table) {
  return {.executor = dependencies.executor,
          .background = dependencies.background,
          .wal = dependencies.wal,
          .engine = dependencies.engine,
          .snapshots = dependencies.snapshots,
          .transport = dependencies.transport,
          .observer = table,
          .prng = dependencies.prng.Fork("groups"),
          .logger = dependencies.logger,
          .trace = dependencies.trace,
          .on_failure = [&owner = dependencies.owner](Status status) { owner.OnRefused(status); },
          .owns = [](GroupId id) { return id != kCatalogGroup; }};
}

}  // namespace

Node::Node(Dependencies dependencies, NodeIdentity identity, NodeOptions options, std::string view_path,
           std::optional<CatalogView> saved)
    : dependencies_(std::move(dependencies)),
      identity_(std::move(identity)),
      options_(std::move(options)),
      view_(saved ? std::move(*saved) : CatalogView()),
      file_(dependencies_.executor, dependencies_.background, dependencies_.disk, std::move(view_path),
            options_.save_delay, dependencies_.logger.Named("catalog-file")),
      fence_(dependencies_.executor),
      host_(HostDependencies(dependencies_, table_), options_.groups),
      views_(table_, view_),
      replicas_(host_, table_, view_, RecoveredRegions(dependencies_.wal),
                dependencies_.logger.Named("regions")),
      reconciler_(replicas_, view_, dependencies_.logger.Named("regions")),
      tasks_(
          dependencies_.executor, replicas_, copier_, [this] { agent_.NoteChange(); },
          dependencies_.logger.Named("tasks"), dependencies_.task_trace),
      prober_(
          dependencies_.network, view_,
          [this] { return fence_.lease().Serves(dependencies_.executor.Now()); },
          [this] { agent_.NoteChange(); }),
      reporter_(host_, table_, dependencies_.engine, reconciler_, view_, prober_),
      agent_(dependencies_.executor, dependencies_.link, *this, *this, options_,
             dependencies_.logger.Named("agent")),
      feed_(dependencies_.executor, dependencies_.link, view_, options_,
            {.on_pulled = [this] { OnCatalogPulled(); },
             .on_change = [this] { OnCatalogChanged(); },
             .on_progress = [this] { OnCatalogAdvanced(); }},
            dependencies_.logger.Named("catalog")),
      service_(dependencies_.executor, host_, table_, views_, schemas_of_rows_, options_),
      scanner_(dependencies_.executor, host_, table_, schemas_of_rows_, options_),
      sweeper_(dependencies_.executor, host_, table_, options_),
      leadership_(host_, table_, dependencies_.logger.Named("leadership")),
      fenced_leader_({dependencies_.executor, dependencies_.network, view_, table_, fence_, leadership_}),
      configurations_({dependencies_.executor, host_, view_, dependencies_.transport.addresses(), agent_},
                      dependencies_.logger.Named("configurations")),
      ranges_(dependencies_.executor, host_, table_, agent_),
      copier_({dependencies_.executor, dependencies_.network, host_, table_, view_, agent_,
               options_.copy_chunk_bytes},
              dependencies_.logger.Named("ranges")),
      schemas_(dependencies_.executor, host_, table_, agent_),
      changes_(dependencies_.executor, host_, table_, agent_, options_),
      internal_(leadership_, configurations_, ranges_, schemas_, changes_),
      taker_(dependencies_.executor, dependencies_.network, table_, view_, options_) {
  table_.SetListener(this);
  fence_.SetTrace(dependencies_.fence_trace);
  fence_.SetOnReached([this] { agent_.NoteChange(); });
}

Node::~Node() = default;

// ---- life ----

void Node::Start() {
  started_ = true;
  SetClusterId(identity_.cluster_id);
  if (const pb::NodeRecord* self = view_.FindNode(identity_.uuid)) SetSelf(NodeId(self->id()));
  TakeOverView();
  dependencies_.network.Serve(InternalService::kName, internal_);
  dependencies_.network.Serve(Prober::kName, prober_);
  sweeper_.Start();
  changes_.Start();
  fenced_leader_.Start();
  ScheduleReconcile();
  agent_.Start(identity_);
}

void Node::ScheduleReconcile() {
  reconcile_timer_ = dependencies_.executor.After(options_.reconcile_interval, [this] {
    // Not ahead of a take-over that is due: of a replica that it starts the table must know.
    if (!take_over_scheduled_) reconciler_.Reconcile(feed_.current());
    ScheduleReconcile();
  });
}

void Node::Stop(Duration limit, Closure done) {
  stopping_ = true;
  sweeper_.Stop();
  changes_.Stop();
  fenced_leader_.Stop();
  reconcile_timer_.Cancel();
  take_over_timer_.Cancel();
  const Instant deadline = dependencies_.executor.Now() + limit;
  host_.PrepareStop(limit, [this, deadline, done = std::move(done)]() mutable {
    service_.RefuseWaiting("this node is stopping");
    // Before the farewell, which says so: whoever hears it need not wait until the lease has run out.
    GiveUpLease("this node is stopping");
    agent_.Stop(deadline, [this, done = std::move(done)]() mutable {
      // Each part's tasks end before the next part is asked: the last one calls back.
      feed_.StopAndJoin([this, done = std::move(done)]() mutable {
        scanner_.StopAndJoin([this, done = std::move(done)]() mutable {
          configurations_.StopAndJoin([this, done = std::move(done)]() mutable {
            copier_.StopAndJoin(
                [this, done = std::move(done)]() mutable { taker_.StopAndJoin(std::move(done)); });
          });
        });
      });
    });
  });
}

void Node::SetSelf(NodeId self) {
  table_.SetSelf(self);
  dependencies_.transport.SetSelf(self.value());
  prober_.SetSelf(self);
}

void Node::SetClusterId(const std::string& cluster_id) {
  if (cluster_id.empty()) return;
  identity_.cluster_id = cluster_id;
  dependencies_.transport.SetClusterId(cluster_id);
  dependencies_.transport.SetIncarnation(identity_.incarnation);
  leadership_.SetClusterId(cluster_id);
  fenced_leader_.SetClusterId(cluster_id);
  configurations_.SetClusterId(cluster_id);
  ranges_.SetClusterId(cluster_id);
  copier_.SetClusterId(cluster_id);
  schemas_.SetClusterId(cluster_id);
  changes_.SetClusterId(cluster_id);
  prober_.SetClusterId(cluster_id);
  taker_.SetClusterId(cluster_id);
}

// A node follows its cluster through a recovery of the catalog: its regions are groups of their own, and were
// not touched. A controller that was left behind cannot, and its process, which is this one, ends.
bool Node::FollowInto(uint64_t incarnation) {
  if (incarnation <= identity_.incarnation) return true;
  if (identity_.controller_id != 0 && !identity_.cluster_id.empty()) {
    OnRegistrationRefused(catalog::Refuse(pb::REASON_STALE_INCARNATION,
                                          "controller {} is of incarnation {} of cluster {}, the cluster is "
                                          "at incarnation {}: its data directory "
                                          "was left behind by a recovery and cannot join again",
                                          identity_.controller_id, identity_.incarnation,
                                          identity_.cluster_id, incarnation));
    return false;
  }
  identity_.incarnation = incarnation;
  dependencies_.transport.SetIncarnation(incarnation);
  fence_.lease().Reset(dependencies_.executor.Now(), "the cluster has a new incarnation");
  TellObserver();
  feed_.StartOver();
  // Procedures may have gone back to earlier steps with the catalog, and epochs begin anew.
  tasks_.StartOver(tasks_.registration_epoch());
  file_.SaveLater(view_);
  return true;
}

// ---- what the parts report ----

// Complete lists: whatever was held before is replaced by them.
void Node::OnCatalogPulled() {
  TakeOverView();
  Recover();
  file_.SaveLater(view_);
  agent_.NoteChange();
}

// The newest pull may be new enough, however long ago it was; a later heartbeat asks for another one if not.
void Node::Recover() {
  const Instant now = dependencies_.executor.Now();
  if (!fence_.lease().WantsPull(now) || !feed_.current()) return;
  const std::string why = fence_.lease().FencedReason(now);
  if (fence_.lease().OnPulled(feed_.pulled(), now)) {
    dependencies_.logger.Info("serves from revision {} on, was fenced: {}", view_.revision(), why);
    TellObserver();
    agent_.NoteChange();
  }
}

void Node::TellObserver() {
  if (observer_ != nullptr) observer_->OnNodeChanged();
}

// A burst of changes - the regions of a large database come up one by one - is taken over in few steps, since
// each looks at all regions.
void Node::OnCatalogChanged() {
  const Duration since = dependencies_.executor.Now() - last_take_over_;
  if (since >= options_.min_take_over_gap) {
    TakeOverView();
  } else if (!std::exchange(take_over_scheduled_, true)) {
    take_over_timer_ = dependencies_.executor.After(options_.min_take_over_gap - since, [this] {
      take_over_scheduled_ = false;
      TakeOverView();
      agent_.NoteChange();
    });
  }
  file_.SaveLater(view_);
  agent_.NoteChange();
}

void Node::TakeOverView() {
  last_take_over_ = dependencies_.executor.Now();
  for (const auto& [id, node] : view_.nodes()) dependencies_.transport.addresses().Set(id, node.address());
  for (auto& [id, region] : table_.regions()) {
    if (!view_.regions().contains(id)) service_.RefuseWaiting(region, "the region is gone");
  }
  table_.Update(view_);
  schemas_of_rows_.Update(view_);
  fence_.OnView(view_.revision());
  reconciler_.Reconcile(feed_.current());
  tasks_.OnView(view_.revision());
  TellObserver();
  const pb::NodeRecord* self = view_.FindNode(identity_.uuid);
  if (self == nullptr || lease_given_up_) return;
  if (self->state() == pb::NODE_REMOVING || self->state() == pb::NODE_REMOVED)
    GiveUpLease("this node is being removed from the cluster");
}

// Nothing changed up to the new revision - unless a change before it has yet to be taken over.
void Node::OnCatalogAdvanced() {
  if (take_over_scheduled_) return;
  fence_.OnProgress(view_.revision());
  tasks_.OnView(view_.revision());
}

void Node::FillReport(bool full, ipb::HeartbeatRequest& request) {
  reporter_.FillReport(full, request);
  tasks_.FillReport(full, request);
  const Instant now = dependencies_.executor.Now();
  NodeLease& lease = fence_.lease();
  // Once more with each: no grant for this heartbeat either.
  if (lease_given_up_) lease.GiveUp(now, lease.FencedReason(now));
  request.set_lease_given_up(lease_given_up_);
  request.set_serving_revision(fence_.Report().value());
  request.set_confirmed_fencing(lease.Confirms(now));
  request.set_lease_left_ms(ToMillis(lease.Left(now)));
  if (const auto since = lease.FencedSince(now)) {
    request.set_fenced_ms(ToMillis(now - *since));
    request.set_fenced_reason(lease.FencedReason(now));
  }
}

void Node::GiveUpLease(const std::string& why) {
  lease_given_up_ = true;
  fence_.lease().GiveUp(dependencies_.executor.Now(), why);
  TellObserver();
  agent_.NoteChange();
}

void Node::TakeGrant(const ipb::HeartbeatResponse& response) {
  // Changes that are pushed answer no heartbeat.
  if (response.sequence() == 0 || lease_given_up_) return;
  LeaseGrant grant;
  grant.sent_at = Instant(Duration(response.sent_at_ns()));
  grant.epoch = Term(response.leader_epoch());
  grant.revision = Revision(response.revision());
  if (response.has_lease()) {
    grant.length = std::chrono::milliseconds(response.lease().length_ms());
    grant.version = Revision(response.lease().version());
    grant.mode = response.lease().mode();
  } else if (response.newest_format() != 0) {
    return;
  }
  const Instant now = dependencies_.executor.Now();
  fence_.lease().OnGrant(grant, now);
  TellObserver();
  Recover();
  if (fence_.lease().WantsPull(now)) feed_.Pull();
}

void Node::OnLocalRoleChanged(const Region& region) {
  dependencies_.logger.Debug("region {}: role {} term {} leader {}", region.id,
                             static_cast<int>(region.role.role), region.role.term, region.role.leader);
  agent_.NoteChange();
  changes_.OnRegionChanged(region);
}

void Node::OnRegistering() {
  registering_ = true;
  if (observer_ != nullptr) observer_->OnRegistering();
}

void Node::OnRegistered(const ipb::RegisterResponse& response) {
  const NodeId self(response.node_id());
  if (!FollowInto(response.incarnation())) return;
  refused_.clear();
  SetClusterId(response.cluster_id());
  SetSelf(self);
  dependencies_.owner.OnJoined(response.cluster_id(), identity_.incarnation, self);
  if (response.registration_epoch() != tasks_.registration_epoch()) {
    tasks_.StartOver(response.registration_epoch());
    OnCatalogAdvanced();
  }
  registering_ = false;
  TellObserver();
  if (std::exchange(feed_started_, true)) return;
  reconciler_.Reconcile(feed_.current());
  feed_.Start(self, identity_.uuid);
}

void Node::OnRegistrationRefused(const Status& status) {
  refused_ = MessageOf(status);
  dependencies_.owner.OnRefused(status);
}

void Node::OnHeartbeatAnswer(const ipb::HeartbeatResponse& response) {
  if (response.incarnation() > identity_.incarnation) {
    if (!FollowInto(response.incarnation())) return;
    dependencies_.owner.OnJoined(identity_.cluster_id, identity_.incarnation, table_.self());
  }
  TakeGrant(response);
  fence_.Await(Revision(response.awaited_revision()));
  std::set<NodeId> unhealthy;
  for (const uint64_t node : response.unhealthy_nodes()) {
    if (NodeId(node) != table_.self()) unhealthy.insert(NodeId(node));
  }
  table_.SetUnhealthy(std::move(unhealthy));
  for (const ipb::RegionLeader& leader : response.leaders()) {
    table_.ReportLeader(RegionId(leader.region()), NodeId(leader.node()), Term(leader.term()),
                        Revision(response.revision()));
  }
  TakeControllers(response);
  for (const uint64_t node : response.probe_nodes()) prober_.Probe(NodeId(node));
  feed_.OnLeaderRevision(Revision(response.revision()));
  tasks_.OnAnswer(response);
  for (const ipb::TransferRegion& transfer : response.transfers()) {
    const Status status = leadership_.HandOver(RegionId(transfer.region()), ReplicaId(transfer.to_replica()));
    if (!status.ok()) dependencies_.logger.Info("asked to hand over: {}", MessageOf(status));
  }
}

void Node::TakeControllers(const ipb::HeartbeatResponse& response) {
  if (response.controllers_size() == 0) return;
  std::map<uint64_t, std::string> addresses;
  std::vector<runtime::Endpoint> endpoints;
  for (const ipb::ControllerPlace& place : response.controllers()) {
    addresses[place.id()] = place.address();
    endpoints.push_back(place.address());
  }
  dependencies_.link.SetControllers(endpoints);
  dependencies_.owner.OnControllers(addresses);
}

// ---- DataService ----

void Node::Execute(DatabaseId database, uint16_t slot, store::Arguments arguments, ReadMode mode,
                   Callback<Outcome> done) {
  service_.Execute(database, slot, std::move(arguments), mode, std::move(done));
}
void Node::ExecuteTransaction(DatabaseId database, uint16_t slot, std::vector<store::Arguments> commands,
                              std::vector<store::WatchedKey> watches, Callback<Outcome> done) {
  service_.ExecuteTransaction(database, slot, std::move(commands), std::move(watches), std::move(done));
}
void Node::VersionOf(DatabaseId database, uint16_t slot, std::string key, Callback<Outcome> done) {
  service_.VersionOf(database, slot, std::move(key), std::move(done));
}
void Node::Scan(DatabaseId database, uint64_t cursor, size_t count, std::optional<std::string> match,
                std::optional<std::string> type, Callback<Outcome> done) {
  scanner_.Scan(database, cursor, count, std::move(match), std::move(type), std::move(done));
}
std::optional<Moved> Node::MovedElsewhere(DatabaseId database, uint16_t slot,
                                          const store::Arguments& arguments) {
  return service_.MovedElsewhere(database, slot, arguments);
}
uint64_t Node::KeyCount(DatabaseId database) {
  return service_.KeyCount(database);
}
Outcome Node::CountKeysInSlot(DatabaseId database, uint16_t slot) {
  return service_.CountKeysInSlot(database, slot);
}
Outcome Node::KeysInSlot(DatabaseId database, uint16_t slot, size_t limit) {
  return service_.KeysInSlot(database, slot, limit);
}
void Node::TakeLeaderships(DatabaseId database, Callback<Outcome> done) {
  taker_.Take(database, std::move(done));
}
const ClusterView* Node::View(DatabaseId database) {
  return views_.View(database);
}
WallTime Node::Now() const {
  return dependencies_.executor.WallNow();
}

std::optional<DatabaseId> Node::FindDatabase(const std::string& name) {
  const std::string_view wanted = name == "0" ? std::string_view("default") : std::string_view(name);
  for (const auto& [id, database] : table_.databases()) {
    if (database.name == wanted && database.state != pb::DATABASE_PRE_DELETE) return database.id;
  }
  return std::nullopt;
}

std::optional<std::string> Node::DownReason(DatabaseId id) {
  if (!refused_.empty()) return fmt::format("this node cannot take part in the cluster: {}", refused_);
  if (stopping_) return "this node is stopping";
  if (!started_) return "this node is starting";
  if (view_.databases().empty()) {
    if (!feed_.current()) return "this node has not heard from a controller yet";
    return "no database exists yet: tenure db create default";
  }
  if (!fence_.lease().Serves(dependencies_.executor.Now())) return "this node is fenced: " + FencedText();
  const Database* database = table_.Find(id);
  if (database != nullptr && database->regions.empty()) {
    return fmt::format("database {} is being created", database->name);
  }
  return std::nullopt;
}

std::string Node::FencedText() const {
  const Instant now = dependencies_.executor.Now();
  const auto since = fence_.lease().FencedSince(now);
  return fmt::format("{}: fenced for {} ms, until a leading controller grants a lease and gives the catalog",
                     fence_.lease().FencedReason(now), since ? ToMillis(now - *since) : 0);
}

NodeId Node::LeaderOf(RegionId id) const {
  const auto region = table_.regions().find(id.value());
  return region == table_.regions().end() ? NodeId() : table_.LeaderOf(region->second);
}

Node::Stats Node::GetStats() const {
  Stats stats;
  const Instant now = dependencies_.executor.Now();
  const auto fenced_since = fence_.lease().FencedSince(now);
  stats.fenced = fenced_since.has_value();
  stats.fenced_for = fenced_since ? now - *fenced_since : Duration::zero();
  stats.lease_left = fence_.lease().Left(now);
  stats.recoveries = fence_.lease().recoveries();
  stats.serving_revision = fenced_since ? 0 : fence_.present().value();
  for (const auto& [id, region] : table_.regions()) {
    if (region.running) ++stats.regions;
    if (region.leads()) ++stats.leaders;
    if (region.running && host_.IsQuiescent(region.group())) ++stats.quiescent;
    if (region.state != pb::REGION_REMOVING && table_.LeaderOf(region).IsNone())
      ++(region.running ? stats.without_leader : stats.not_routed);
    if (const auto status = region.leads() ? host_.StatusOf(region.group()) : std::nullopt)
      stats.diverged_replicas += status->diverged.size();
  }
  stats.pending_operations = service_.pending_operations();
  stats.catalog_revision = view_.revision().value();
  stats.connected = agent_.connected();
  stats.lost_replicas = reconciler_.lost().size();
  stats.kept_replicas = reconciler_.kept().size();
  stats.transport = dependencies_.transport.counters();
  return stats;
}

Status Node::Ready() const {
  if (!refused_.empty()) return Error(StatusCode::kFailedPrecondition, "node: {}", refused_);
  if (stopping_) return Error(StatusCode::kUnavailable, "node: stopping");
  if (table_.self().IsNone())
    return Error(StatusCode::kUnavailable, "node: not registered with a controller yet");
  if (!fence_.lease().Serves(dependencies_.executor.Now()))
    return Error(StatusCode::kUnavailable, "node: fenced: {}", FencedText());
  const Stats stats = GetStats();
  if (stats.without_leader > 0) {
    return Error(StatusCode::kUnavailable, "node: {} of {} regions have no leader", stats.without_leader,
                 stats.regions);
  }
  return OkStatus();
}

std::vector<std::pair<std::string, std::string>> Node::InfoLines() {
  const Stats stats = GetStats();
  return {{"tenure_cluster_id", identity_.cluster_id},
          {"tenure_node_id", fmt::format("{}", table_.self())},
          {"tenure_node_name", identity_.name},
          {"tenure_catalog_revision", fmt::format("{}", stats.catalog_revision)},
          {"tenure_fenced", stats.fenced ? "1" : "0"},
          {"tenure_lease_left_ms", fmt::format("{}", ToMillis(stats.lease_left))},
          {"tenure_regions", fmt::format("{}", stats.regions)},
          {"tenure_regions_led", fmt::format("{}", stats.leaders)},
          {"tenure_regions_without_leader", fmt::format("{}", stats.without_leader)},
          {"tenure_controller_connected", stats.connected ? "1" : "0"},
          {"tenure_operations_under_way", fmt::format("{}", stats.pending_operations)}};
}

}  // namespace tenure::node
