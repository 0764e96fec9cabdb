// One controller process: its replica of group 0, the catalog, and the services of the leader.
//
// Built by daemon/ and sim/, which own what is injected. It drives nothing outside its executor.
// Threading:  everything on one executor, callbacks too.
// Lifetime:   Start once. Before destruction Stop is called and finished, unless the executor has stopped for
//             good (a crash in the simulator). Services stay registered with the network: it stops serving
//             before this is destroyed.
// Reference:  docs/catalog.md; architecture: docs/architecture.md.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/prng.h"
#include "base/status.h"
#include "catalog/catalog.h"
#include "catalog/join_tokens.h"
#include "controller/api/change_stream.h"
#include "controller/api/database_api.h"
#include "controller/api/watch_hub.h"
#include "controller/barriers/barrier_service.h"
#include "controller/changefeeds/changefeed_coordinator.h"
#include "controller/leadership/leadership.h"
#include "controller/leadership/warm_up.h"
#include "controller/placement/region_scheduler.h"
#include "controller/procedure/procedure_engine.h"
#include "controller/procedure/types/procedure_types.h"
#include "group/group_host.h"
#include "kv/kv.h"
#include "planner/controller_membership.h"
#include "planner/node_health.h"
#include "runtime/executor.h"
#include "runtime/network.h"
#include "tenure/v1/catalog.pb.h"
#include "tenure/v1/cluster.pb.h"
#include "wal/snapshot_store.h"
#include "wal/wal.h"

namespace tenure::controller {

struct ControllerOptions {
  std::string cluster_id;    // from the identity file; empty: this process has never been in a cluster
  uint64_t incarnation = 1;  // of that cluster, from the identity file too
  // Somebody of this cluster is of a higher incarnation: a recovery has left this controller behind, and its
  // process must end. May be called more than once.
  std::function<void(uint64_t incarnation)> on_superseded = [](uint64_t) {};
  catalog::JoinTokens join_tokens;      // of the cluster: the others of it have the same
  std::string new_cluster_id;           // what a cluster is named that this controller is the first leader of
  ::tenure::v1::ControllerRecord self;  // id, name, address, zone, uuid of the data directory
  // The voters a new group begins with; ignored for one that the log knows, but for their addresses, which
  // hold until the catalog says otherwise. None: it joins a cluster (controller/membership/joining.h), whose
  // leader will tell it the members.
  std::vector<::tenure::v1::ControllerRecord> initial_controllers;
  ::tenure::v1::FencingSettings fencing;  // that a new cluster begins with; empty: the defaults
  // Where controllers may be found if the catalog's addresses are out of date.
  std::vector<runtime::Endpoint> controller_addresses;
  group::GroupHostOptions group;
  catalog::CatalogLimits limits;
  LeadershipOptions leadership;
  WarmUpOptions warm_up;
  planner::NodeHealthOptions node_health;
  planner::MembershipOptions membership;
  WatchOptions watch;
  ChangeStreamOptions change_stream;
  DatabaseApiOptions databases;
  ProcedureOptions procedures;
  ProcedureTypeOptions procedure_types;
  SchedulerOptions scheduler;
  FeedOptions changefeeds;
  // Leader services beside the controller's own, started with them and stopped before them. They outlive it.
  std::vector<LeaderService*> more_services;
};

class Controller {
 public:
  struct Dependencies {
    runtime::Executor& executor;
    runtime::Executor& background;  // the one of `snapshots`
    runtime::Network& network;
    wal::Wal& wal;
    kv::Engine& engine;
    wal::SnapshotStore& snapshots;
    Prng prng;
    Logger logger;
    group::GroupTrace* trace = nullptr;
    std::function<void(Status)> on_failure = nullptr;  // as in GroupHost::Dependencies
    BarrierTrace* barriers = nullptr;
  };
  // `on_refused`: this process can be no controller of the cluster any more: it was removed (NOT_FOUND; it
  // should Retire), its id belongs to another directory (CONDITION_FAILED), or its program is too old
  // (UNSUPPORTED_FORMAT). At most once.
  Controller(Dependencies dependencies, ControllerOptions options, Callback<Status> on_refused);
  ~Controller();
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

  // Starts the replica and offers the services. INVALID_ARGUMENT: this controller is not among the initial
  // ones of a new group. FAILED_PRECONDITION: it was removed.
  Status Start();
  // Hands leadership over (within `limit`), ends the services, flushes; `done` when nothing runs any more.
  void Stop(Duration limit, Closure done);

  // Leaves group 0 for good: removes the replica and its state; `done` when that is durable. What is asked of
  // it afterwards is refused as by a controller that does not lead.
  void Retire(Callback<Status> done);

  // For /readyz, status and checkers.
  bool serving() const;
  Term epoch() const;
  const catalog::Catalog& catalog() const;
  Revision applied() const;
  // On the leader: controllers whose catalog is not that of the others at the same revision.
  size_t diverged_members() const;
  ::tenure::v1::StatusResponse status() const;
  // By id, those with an address, as the catalog has them; empty before it has any.
  std::map<uint64_t, std::string> addresses() const;
  group::GroupHost& host();
  const Leadership& leadership() const;
  const StandbyView& standby_view() const;
  const LoadTable& load() const;
  // Of this controller's leaderships.
  BarrierNumbers barrier_numbers() const;
  // Complete on the leader only.
  ProcedureNumbers procedure_numbers() const;
  // Complete on the leader only.
  ChangefeedCoordinator::Numbers changefeed_numbers() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenure::controller
