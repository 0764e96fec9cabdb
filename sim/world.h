// A simulated installation: machines with disks and clocks, a network between them, one `tenured` on each,
// clients on machines of their own, and the checkers. What happens to it is decided by Nemesis; Run (run.h)
// is one whole seed.
//
// Threading: one thread, from outside any event.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/prng.h"
#include "base/status.h"
#include "controller/controller.h"
#include "kv/memory_engine.h"
#include "sim/database_checker.h"
#include "sim/feed_checker.h"
#include "sim/feed_sinks.h"
#include "sim/group_checker.h"
#include "sim/history.h"
#include "sim/leadership_checker.h"
#include "sim/lease_checker.h"
#include "sim/log_repair.h"
#include "sim/membership_checker.h"
#include "sim/options.h"
#include "sim/procedure_checker.h"
#include "sim/register_clients.h"
#include "sim/scheduler.h"
#include "sim/schema_checker.h"
#include "sim/sim_clock.h"
#include "sim/sim_disk.h"
#include "sim/sim_executor.h"
#include "sim/sim_network.h"
#include "tenure/v1/cluster.pb.h"

namespace tenure::sim {

class Server;

// A machine: what survives its process.
struct Machine {
  Machine(Scheduler& world, uint64_t number_in, Prng prng, const SimOptions& options);
  ~Machine();
  const uint64_t number;  // from 1
  std::string name;
  Endpoint address;
  SimClock clock;
  SimDisk disk;
  std::shared_ptr<kv::MemoryStore> store;
  std::unique_ptr<Server> server;  // null while nothing runs
  SimProcess* process = nullptr;   // of the server, also while that is being made
  uint64_t boots = 0;
  int64_t drift_ppb = 0;              // unless a fault changes it
  std::unique_ptr<LogRepair> repair;  // not null while its log is repaired: nothing else may run
  // What runs on it.
  bool node = false;
  bool first = false;          // its controller is one of those that form the cluster
  uint64_t controller_id = 0;  // 0: none
  uint64_t former_controller_id = 0;
  std::string controller_uuid;
  Instant killed_at{};
  Instant booted_at{};
  bool emptied = false;  // the controller's directory was lost: it must not come back under this id
  bool lost = false;     // a recovery has gone on without what is on its disk
};

class World {
 public:
  World(const SimOptions& options, LogSink* trace);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  Scheduler& scheduler() { return scheduler_; }
  SimNetwork& network() { return network_; }
  const SimOptions& options() const { return options_; }
  History& history() { return history_; }
  GroupChecker& groups() { return checker_; }
  const MembershipChecker& membership() const { return membership_; }
  ProcedureChecker& procedures() { return procedures_; }
  std::vector<std::unique_ptr<Machine>>& machines() { return machines_; }
  std::vector<Endpoint> ServerAddresses() const;
  std::vector<Endpoint> NodeAddresses() const;
  std::vector<Endpoint> ClientAddresses() const;
  Prng& prng() { return prng_; }
  // Traced, and mixed into the event hash.
  void Note(const std::string& what);

  // --- what may happen to machines ---
  void Boot(size_t machine);
  void Kill(size_t machine, CrashKind kind);
  // What a process is started with in a world with a token.
  catalog::JoinTokens Tokens(uint64_t boot) const;
  // Kills it, damages its log, repairs that, and boots it again.
  void RotAndRepair(size_t machine);
  bool Up(size_t machine) const { return machines_[machine]->server != nullptr; }
  bool paused(size_t machine) const { return Up(machine) && machines_[machine]->process->paused(); }
  // Kills its process after `operations` more changes of its disk, in the middle of what it is doing; 0: not
  // any more.
  void CrashAtDisk(size_t machine, int64_t operations, CrashKind kind);
  // Its process is dead from this moment on; may be called inside an event of its own. Whoever wants it back
  // boots it.
  void CrashNow(size_t machine, CrashKind kind);
  // From now on what ends by itself is started again, as a service manager does.
  void Supervise() { supervised_ = true; }
  // From now on nothing misbehaves on purpose.
  void Calm() { calm_ = true; }
  bool calm() const { return calm_; }
  // From a server whose process has ended by itself, or could not start: its disk failed.
  void OnProcessEnded(Machine& machine, const std::string& why);
  // Its node ends in order; the process goes on with its controller.
  void StopNode(size_t machine, Duration limit, std::function<void()> done);
  void Pause(size_t machine);
  void Resume(size_t machine);
  // The machine (which is down) gets a new disk.
  void EmptyDisk(size_t machine);
  // From servers.
  void OnControllerRefused(Machine& machine, const Status& status);
  void OnControllerJoined(Machine& machine);
  // Its node was told that it was removed: true if it was, and then it ends for good.
  bool OnNodeRemoved(Machine& machine);

  // --- clients ---
  void StartClients();
  void StopClients();
  // Asks for a database as an operator would, until it exists.
  void CreateDatabase(const std::string& name, uint32_t regions, std::function<void()> done,
                      bool strict = false);
  void TransferCatalogLeadership(uint64_t to);
  // Asks the controllers as an operator; `done` within some seconds.
  void Ask(std::string_view method, std::string request, Callback<StatusOr<std::string>> done);
  ::tenure::v1::RequestId NextRequestId();
  // A plan, or its execution if `digest` is given.
  void RecoverRegions(const std::string& digest,
                      std::function<void(const StatusOr<::tenure::v1::RecoverRegionsResponse>&)> done);

  // --- checks ---
  void Fail(const std::string& invariant, const std::string& message);
  bool failed() const { return !failures_.empty(); }
  const std::vector<std::string>& failures() const { return failures_; }
  // Clients that have had no write acknowledged since `time`, to print; empty if there is none.
  std::string UnservedSince(Instant time) const;
  // What keeps the world from being at rest, empty if nothing: every machine that is not lost up, no database
  // half made, every region led; with `replicas` also every group applied to the same index everywhere.
  std::string Unsettled(bool replicas);
  // Groups that this machine leads, group 0 included.
  std::vector<GroupId> LedBy(size_t machine);
  // The machine that leads the group and serves; none if nobody does.
  std::optional<size_t> ServerOf(GroupId group);
  // A repair has dropped a replica for good.
  bool lost_replicas() const { return lost_replicas_; }
  // One member of any group may fail now: no repair has dropped a replica for good, no controllers come and
  // go.
  bool has_spare_members() const { return !lost_replicas_ && options_.spares == 0; }
  // As the controller says that serves in the latest epoch; UNSPECIFIED if none does, or knows no such node.
  ::tenure::v1::NodeState NodeStateOf(size_t machine);
  // A replica of a region's group that is not quiescent, empty if all are that run.
  std::string NotQuiescent();
  // Sent by the nodes that run, since they were started.
  uint64_t RegionMessages();
  // The controller that serves in the latest epoch; null if none does.
  controller::Controller* ServingController();
  LeadershipChecker& leadership() { return leadership_; }
  DatabaseChecker& databases() { return databases_; }
  LeaseChecker& leases() { return leases_; }
  SchemaChecker& schemas() { return schemas_; }
  FeedSinks& feed_sinks() { return feed_sinks_; }
  FeedChecker& feed_checker() { return feed_checker_; }
  // At rest: nothing applied anywhere is missing, all replicas of a group hold the same state.
  void CheckReplicas();

 private:
  struct Client;
  // Machines that are not lost.
  std::vector<const Machine*> Members() const;

  SimOptions options_;
  Scheduler scheduler_;
  std::unique_ptr<LogSink> stamped_;
  Logger logger_;
  Prng prng_;
  SimNetwork network_;
  MembershipChecker membership_;
  LeadershipChecker leadership_;
  LeaseChecker leases_;
  SchemaChecker schemas_{*this, [this] { return leases_.proceeded_revision(); }};
  FeedSinks feed_sinks_{*this, Prng(options_.seed).Fork("feed sinks")};
  FeedChecker feed_checker_{*this};
  DatabaseChecker databases_;
  ProcedureChecker procedures_;
  GroupChecker checker_;
  History history_;
  std::vector<std::string> failures_;
  std::vector<std::unique_ptr<Machine>> machines_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::unique_ptr<Client> operator_;
  runtime::Timer operator_retry_;
  void EndProcess(size_t machine, CrashKind kind);
  bool lost_replicas_ = false;
  bool supervised_ = false;
  bool calm_ = false;
};

}  // namespace tenure::sim
