#include "controller/controller.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "catalog/controllers.h"
#include "controller/api/catalog_service.h"
#include "controller/api/changefeeds_service.h"
#include "controller/api/cluster_service.h"
#include "controller/api/fencing_api.h"
#include "controller/api/observation.h"
#include "controller/api/procedures_service.h"
#include "controller/api/tables_service.h"
#include "controller/barriers/barrier_service.h"
#include "controller/barriers/procedure_barrier.h"
#include "controller/catalog_access.h"
#include "controller/catalog_group.h"
#include "controller/catalog_machine.h"
#include "controller/changefeeds/changefeed_coordinator.h"
#include "controller/changefeeds/node_change_history.h"
#include "controller/controller_directory.h"
#include "controller/leadership/cluster_record.h"
#include "controller/leadership/standby_view.h"
#include "controller/leadership/warm_up.h"
#include "controller/leases/bound_keeper.h"
#include "controller/membership/address_keeper.h"
#include "controller/membership/announcement_service.h"
#include "controller/membership/announcing.h"
#include "controller/membership/membership_reconciler.h"
#include "controller/membership/presence.h"
#include "controller/nodes/agent_service.h"
#include "controller/nodes/node_monitor.h"
#include "controller/nodes/region_reports.h"
#include "controller/procedure/adoption.h"
#include "controller/procedure/procedure_engine.h"
#include "controller/procedure/task_board.h"
#include "controller/procedure/types/procedure_types.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;

namespace {

// Tells the transport which cluster this is as soon as the catalog says it: a new cluster is named by its
// first leader.
class ClusterIdKeeper : public CatalogListener {
 public:
  ClusterIdKeeper(group::Transport& transport, const catalog::Catalog& catalog)
      : transport_(transport), catalog_(catalog) {}
  void OnCatalogChanged(const std::vector<pb::Event>&, Revision) override { Refresh(); }
  void OnCatalogReset(Revision) override { Refresh(); }

 private:
  void Refresh() {
    if (known_ || catalog_.cluster() == nullptr) return;
    known_ = true;
    transport_.SetClusterId(catalog_.cluster()->cluster_id());
  }
  group::Transport& transport_;
  const catalog::Catalog& catalog_;
  bool known_ = false;
};

// Where other controllers may be found beside what the catalog says.
std::vector<runtime::Endpoint> Hints(const ControllerOptions& options) {
  std::vector<runtime::Endpoint> hints;
  AddAddresses(options.controller_addresses, options.self.address(), hints);
  for (const pb::ControllerRecord& controller : options.initial_controllers) {
    if (controller.id() != options.self.id())
      AddAddresses({controller.address()}, options.self.address(), hints);
  }
  return hints;
}

OwnCluster Own(const ControllerOptions& options) {
  return {.id = options.cluster_id, .incarnation = options.incarnation, .tokens = options.join_tokens};
}

raft::Configuration InitialConfiguration(const std::vector<pb::ControllerRecord>& controllers) {
  raft::Configuration configuration;
  for (const pb::ControllerRecord& controller : controllers) {
    configuration.members.push_back(
        {.id = ReplicaId(controller.id()), .host = controller.id(), .role = raft::MemberRole::kVoter});
  }
  std::sort(configuration.members.begin(), configuration.members.end());
  return configuration;
}

ControllerOptions WithFormat(ControllerOptions options) {
  options.self.set_newest_format(catalog::kNewestFormat);
  return options;
}

}  // namespace

// Members in the order of construction: later ones use earlier ones.
class Controller::Impl : public group::GroupObserver {
 public:
  Impl(Dependencies dependencies, ControllerOptions options, Callback<Status> on_refused)
      : options_(WithFormat(std::move(options))),
        executor_(dependencies.executor),
        network_(dependencies.network),
        wal_(dependencies.wal),
        engine_(dependencies.engine),
        logger_(dependencies.logger.Named("controller")),
        machine_(options_.limits, logger_.Named("catalog")),
        directory_(options_.initial_controllers, machine_.catalog()),
        leadership_(executor_, ReplicaId(options_.self.id()), directory_, options_.leadership,
                    logger_.Named("leadership")),
        transport_(group::MakeNetworkTransport(executor_, network_, "tenure.internal.v1.CatalogRaft",
                                               options_.cluster_id, logger_.Named("transport"))),
        host_({.executor = executor_,
               .background = dependencies.background,
               .wal = dependencies.wal,
               .engine = dependencies.engine,
               .snapshots = dependencies.snapshots,
               .transport = *transport_,
               .observer = *this,
               .prng = dependencies.prng.Fork("group"),
               .logger = logger_.Named("group"),
               .trace = dependencies.trace,
               .on_failure = dependencies.on_failure,
               .owns = [](GroupId id) { return id == kCatalogGroup; }},
              options_.group),
        group_(host_),
        addresses_(transport_->addresses(), directory_),
        cluster_id_(*transport_, machine_.catalog()),
        access_(executor_, group_, machine_, leadership_, options_.limits),
        cluster_record_(executor_, access_, options_.cluster_id, options_.self, options_.initial_controllers,
                        options_.new_cluster_id, options_.fencing),
        tasks_(machine_.catalog()),
        agents_(executor_, access_, leadership_, tasks_,
                {.cluster_id = options_.cluster_id,
                 .incarnation = options_.incarnation,
                 .on_superseded = options_.on_superseded,
                 .tokens = options_.join_tokens},
                logger_.Named("nodes")),
        standby_(executor_, network_, leadership_, Own(options_), directory_, agents_.load(), {}),
        warm_up_(executor_, network_, access_, agents_, standby_, leadership_, options_.warm_up,
                 logger_.Named("leadership")),
        node_monitor_(executor_, access_, agents_, options_.node_health, logger_.Named("nodes")),
        region_reports_(executor_, access_, agents_, logger_.Named("regions")),
        procedure_types_(options_.procedure_types, procedure_barrier_),
        procedures_(executor_, network_, access_, agents_, tasks_, options_.procedures,
                    dependencies.prng.Fork("procedures"), logger_.Named("procedures")),
        adoption_(executor_, access_, logger_.Named("procedures")),
        scheduler_(executor_, access_, agents_, options_.scheduler, dependencies.prng.Fork("scheduler"),
                   logger_.Named("regions")),
        membership_(executor_, access_, options_.membership, logger_.Named("membership")),
        announcements_(access_, leadership_, directory_, addresses_, options_.self, Own(options_),
                       options_.on_superseded, logger_.Named("membership")),
        presence_({executor_, network_, access_, leadership_, directory_, addresses_}, options_.self,
                  Own(options_), Hints(options_), std::move(on_refused), logger_.Named("membership")),
        database_api_(executor_, access_, leadership_, agents_, options_.databases),
        watches_(executor_, leadership_, options_.watch, logger_.Named("watch")),
        barriers_(executor_, access_, agents_, watches_, dependencies.barriers, logger_.Named("barriers")),
        bound_keeper_(executor_, access_, agents_, logger_.Named("leases")),
        fencing_api_(executor_, access_, leadership_, agents_, barriers_),
        observation_(executor_, access_, leadership_, directory_, agents_, standby_, options_.cluster_id,
                     options_.incarnation),
        catalog_service_(executor_, access_, leadership_, watches_, database_api_, options_.change_stream),
        placement_api_(executor_, access_, leadership_, agents_, dependencies.prng.Fork("placement api")),
        cluster_service_(executor_, access_, leadership_, observation_, placement_api_, fencing_api_),
        regions_service_(executor_, access_, leadership_, observation_, agents_, placement_api_),
        procedures_service_(access_, leadership_, procedures_),
        tables_service_(access_, leadership_),
        node_calls_(executor_, network_, access_, agents_, options_.self.id(), options_.incarnation),
        change_history_(access_, agents_, node_calls_),
        changefeeds_(executor_, access_, barriers_, node_calls_, change_history_, options_.changefeeds,
                     dependencies.prng.Fork("changefeeds"), logger_.Named("changefeeds")),
        changefeeds_service_(executor_, access_, leadership_, changefeeds_, change_history_) {
    procedure_types_.AddTo(procedures_);
    for (CatalogListener* listener :
         {static_cast<CatalogListener*>(&addresses_), static_cast<CatalogListener*>(&cluster_id_),
          static_cast<CatalogListener*>(&agents_), static_cast<CatalogListener*>(&procedures_),
          static_cast<CatalogListener*>(&adoption_), static_cast<CatalogListener*>(&membership_),
          static_cast<CatalogListener*>(&database_api_), static_cast<CatalogListener*>(&watches_),
          static_cast<CatalogListener*>(&barriers_), static_cast<CatalogListener*>(&changefeeds_)}) {
      machine_.AddListener(*listener);
    }
    machine_.SetEventSink([this](catalog::Events events) { watches_.Take(std::move(events)); });
    observation_.AddAlarmSource([this](pb::StatusResponse& response) { AddAlarms(response); });
    observation_.AddAlarmSource([this](pb::StatusResponse& response) {
      for (pb::BarrierStatus& barrier : barriers_.Waiting()) *response.add_barriers() = std::move(barrier);
    });
    transport_->SetIncarnation(options_.incarnation);
    transport_->SetOnSuperseded(options_.on_superseded);
    // Nodes are heard first; then what is independent of each other.
    for (LeaderService* service :
         {static_cast<LeaderService*>(&agents_), static_cast<LeaderService*>(&standby_),
          static_cast<LeaderService*>(&warm_up_), static_cast<LeaderService*>(&cluster_record_),
          static_cast<LeaderService*>(&watches_), static_cast<LeaderService*>(&barriers_),
          static_cast<LeaderService*>(&bound_keeper_), static_cast<LeaderService*>(&node_monitor_),
          static_cast<LeaderService*>(&region_reports_), static_cast<LeaderService*>(&procedures_),
          static_cast<LeaderService*>(&changefeeds_), static_cast<LeaderService*>(&adoption_),
          static_cast<LeaderService*>(&scheduler_), static_cast<LeaderService*>(&database_api_),
          static_cast<LeaderService*>(&membership_)}) {
      leadership_.AddService(*service);
    }
    for (LeaderService* service : options_.more_services) leadership_.AddService(*service);
  }

  Status Start() {
    const ReplicaId self(options_.self.id());
    const raft::Configuration initial = InitialConfiguration(options_.initial_controllers);
    const bool known = wal_.recovered().contains(kCatalogGroup);
    // One that joins knows no member, itself included: its leader's log tells it.
    if (!known && !initial.members.empty() && !initial.IsVoter(self)) {
      return Error(StatusCode::kInvalidArgument, "controller {} is not among the initial controllers ({})",
                   self, raft::ToString(initial));
    }
    TENURE_RETURN_IF_ERROR(catalog::Catalog::CheckFormat(
        kv::PrefixReader(engine_, group::GroupHost::StatePrefix(kCatalogGroup))));
    // Whoever does not know this member yet answers by it.
    transport_->SetSelf(options_.self.id());
    addresses_.Refresh();
    TENURE_RETURN_IF_ERROR(
        host_.Start(kCatalogGroup, self, initial, machine_.MakeAdapter(), /*campaign=*/false));
    network_.Serve(CatalogService::kName, catalog_service_);
    network_.Serve(ClusterService::kName, cluster_service_);
    network_.Serve(RegionsService::kName, regions_service_);
    network_.Serve(ProceduresService::kName, procedures_service_);
    network_.Serve(TablesService::kName, tables_service_);
    network_.Serve(ChangefeedsService::kName, changefeeds_service_);
    network_.Serve(ChangefeedCoordinator::kName, changefeeds_);
    network_.Serve(AgentService::kName, agents_);
    network_.Serve(kAnnounceService, announcements_);
    network_.Serve(StandbyView::kName, standby_);
    presence_.Start(/*newcomer=*/!known);
    return OkStatus();
  }

  void Retire(Callback<Status> done) {
    presence_.Stop();
    host_.Destroy(kCatalogGroup, ReplicaId(), std::move(done));
  }

  void Stop(Duration limit, Closure done) {
    presence_.Stop();
    // Leadership goes first, so that the others elect without waiting; then what ran under it ends.
    host_.PrepareStop(limit, [this, done = std::move(done)]() mutable {
      cluster_service_.Stop([this, done = std::move(done)]() mutable {
        regions_service_.Stop([this, done = std::move(done)]() mutable {
          fencing_api_.StopAndJoin([this, done = std::move(done)]() mutable {
            changefeeds_service_.StopAndJoin([this, done = std::move(done)]() mutable {
              leadership_.Stop([this, done = std::move(done)]() mutable {
                changefeeds_.StopAndJoin(
                    [this, done = std::move(done)]() mutable { procedures_.StopAndJoin(std::move(done)); });
              });
            });
          });
        });
      });
    });
  }

  // group::GroupObserver
  void OnRoleChange(GroupId, const raft::RoleChange& change) override {
    leadership_.OnRoleChange(change, host_.disk_stalled() ? "the disk of the log hangs" : "");
  }
  void OnServing(GroupId, Term term) override { leadership_.OnServing(term); }
  void OnConfiguration(GroupId, const raft::Configuration&) override {}

  const ControllerOptions& options() const { return options_; }
  const CatalogMachine& machine() const { return machine_; }
  const Leadership& leadership() const { return leadership_; }
  const StandbyView& standby_view() const { return standby_; }
  const LoadTable& load() const { return agents_.load(); }
  const Observation& observation() const { return observation_; }
  group::GroupHost& host() { return host_; }
  BarrierNumbers barrier_numbers() const { return barriers_.Numbers(); }
  ChangefeedCoordinator::Numbers changefeed_numbers() const { return changefeeds_.GetNumbers(); }
  ProcedureNumbers procedure_numbers() const {
    ProcedureNumbers numbers = procedures_.Numbers();
    numbers.repairs_running = scheduler_.RunningRepairs();
    numbers.repairs_stuck = scheduler_.stuck().size();
    numbers.repairs_queued = scheduler_.queued();
    return numbers;
  }

 private:
  // What only the leader's services know; empty on other controllers.
  void AddAlarms(pb::StatusResponse& response) const {
    const auto add = [&response](const char* kind, std::string object, std::string text) {
      pb::Alarm& alarm = *response.add_alarms();
      alarm.set_kind(kind);
      alarm.set_object(std::move(object));
      alarm.set_text(std::move(text));
    };
    for (const uint64_t id : procedures_.isolated()) {
      add("PROCEDURE_ISOLATED", fmt::format("procedure {}", id),
          "the leader's program does not know its type or step, or cannot read it: it stands still and keeps "
          "its "
          "locks until a program that can leads");
    }
    for (const auto& [region, why] : scheduler_.stuck())
      add("REPAIR_STUCK", fmt::format("region {}", region),
          "a replica is to be made anew and cannot be: " + why);
  }

  const ControllerOptions options_;
  runtime::Executor& executor_;
  runtime::Network& network_;
  wal::Wal& wal_;
  const kv::Engine& engine_;
  Logger logger_;
  CatalogMachine machine_;
  ControllerDirectory directory_;
  Leadership leadership_;
  std::unique_ptr<group::Transport> transport_;
  group::GroupHost host_;
  HostedCatalogGroup group_;
  AddressKeeper addresses_;
  ClusterIdKeeper cluster_id_;
  CatalogAccess access_;
  ClusterRecordService cluster_record_;
  TaskBoard tasks_;
  AgentService agents_;
  StandbyView standby_;
  WarmUp warm_up_;
  NodeMonitor node_monitor_;
  RegionReports region_reports_;
  ProcedureTypes procedure_types_;
  ProcedureEngine procedures_;
  Adoption adoption_;
  RegionScheduler scheduler_;
  MembershipReconciler membership_;
  AnnouncementService announcements_;
  Presence presence_;
  DatabaseApi database_api_;
  WatchHub watches_;
  BarrierService barriers_;
  ProcedureBarrier procedure_barrier_{barriers_};
  BoundKeeper bound_keeper_;
  FencingApi fencing_api_;
  Observation observation_;
  CatalogService catalog_service_;
  PlacementApi placement_api_;
  ClusterService cluster_service_;
  RegionsService regions_service_;
  ProceduresService procedures_service_;
  TablesService tables_service_;
  NodeCalls node_calls_;
  NodeChangeHistory change_history_;
  ChangefeedCoordinator changefeeds_;
  ChangefeedsService changefeeds_service_;
};

Controller::Controller(Dependencies dependencies, ControllerOptions options, Callback<Status> on_refused)
    : impl_(std::make_unique<Impl>(std::move(dependencies), std::move(options), std::move(on_refused))) {}
Controller::~Controller() = default;

Status Controller::Start() {
  return impl_->Start();
}
void Controller::Stop(Duration limit, Closure done) {
  impl_->Stop(limit, std::move(done));
}
void Controller::Retire(Callback<Status> done) {
  impl_->Retire(std::move(done));
}
bool Controller::serving() const {
  return impl_->leadership().serving();
}
Term Controller::epoch() const {
  return impl_->leadership().epoch();
}
const catalog::Catalog& Controller::catalog() const {
  return impl_->machine().catalog();
}
size_t Controller::diverged_members() const {
  const auto status = impl_->host().StatusOf(kCatalogGroup);
  return status ? status->diverged.size() : 0;
}
Revision Controller::applied() const {
  return impl_->machine().applied();
}
pb::StatusResponse Controller::status() const {
  return impl_->observation().Status();
}
std::map<uint64_t, std::string> Controller::addresses() const {
  std::map<uint64_t, std::string> addresses;
  for (const auto& [id, record] : catalog().controllers()) {
    const pb::ControllerRecord& controller = record.controller();
    if (!catalog::IsRemoved(controller) && !controller.address().empty())
      addresses[id] = controller.address();
  }
  return addresses;
}
group::GroupHost& Controller::host() {
  return impl_->host();
}
const Leadership& Controller::leadership() const {
  return impl_->leadership();
}
const StandbyView& Controller::standby_view() const {
  return impl_->standby_view();
}
ProcedureNumbers Controller::procedure_numbers() const {
  return impl_->procedure_numbers();
}
ChangefeedCoordinator::Numbers Controller::changefeed_numbers() const {
  return impl_->changefeed_numbers();
}
BarrierNumbers Controller::barrier_numbers() const {
  return impl_->barrier_numbers();
}
const LoadTable& Controller::load() const {
  return impl_->load();
}

}  // namespace tenure::controller
