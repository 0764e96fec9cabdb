// One run of `tenured` with both roles on a simulated machine: the same object graph as daemon/ builds, on
// simulated executors, disk and network. Ends by Kill (a crash); what it leaves is on the machine.
//
// Threading: one thread; built and destroyed outside any event of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/prng.h"
#include "client/controller_client.h"
#include "controller/controller.h"
#include "controller/membership/joining.h"
#include "kv/memory_engine.h"
#include "node/controller_link.h"
#include "node/node.h"
#include "resp/front_end.h"
#include "sim/erratic_service.h"
#include "sim/feed_role.h"
#include "sim/resp_bridge.h"
#include "sim/sim_disk.h"
#include "sim/sim_executor.h"
#include "sim/sim_network.h"
#include "sim/world.h"
#include "wal/data_directory.h"
#include "wal/wal.h"

namespace tenure::sim {

// Of the log of a `tenured` in the simulation.
wal::WalOptions LogOptions(bool small_log);

class Server final : public node::NodeOwner, private node::TaskTrace {
 public:
  static constexpr char kData[] = "/data";  // the data directory
  struct Settings {
    uint64_t id = 0;   // controller id; 0: no controller
    std::string uuid;  // of the controller's data directory
    std::string cluster_id;
    // The controllers that form the cluster; none: it joins one.
    std::vector<std::pair<uint64_t, Endpoint>> controllers;
    std::vector<Endpoint> addresses;   // where controllers may be
    std::vector<Endpoint> node_hints;  // where its node is told that they are
    bool node = true;
    bool small_log = false;
    Duration quiesce_after = Duration::zero();
    catalog::JoinTokens join_tokens;
  };
  // Starts; a start that fails is a violation (nothing that the world does to a disk may make a log
  // unreadable).
  Server(World& world, Machine& machine, Settings settings, Prng prng, Logger logger);
  ~Server() override;

  SimProcess& process() { return *process_; }
  // The process or its controller's executor is paused.
  bool stands_still() const { return process_->paused() || control_.paused(); }
  // So does the executor of its node, or of its log, or of what takes long.
  bool any_stands_still() const {
    return stands_still() || regions_.paused() || log_.paused() || background_.paused();
  }
  // Its parts are there; they are made in the first events of the process.
  bool started() const {
    return (settings_.id == 0 || retired_ || controller_ || joining_) && (!settings_.node || node_);
  }
  uint64_t controller_id() const { return settings_.id; }
  // Null if it has none (yet, or any more).
  controller::Controller* controller() { return retired_ ? nullptr : controller_.get(); }
  node::Node* node() { return node_.get(); }
  // Null in a world without changefeeds.
  FeedRole* feeds() { return feeds_.get(); }
  // Its node ends in order, on its executor; `done` with it.
  void StopNode(Duration limit, std::function<void()> done);
  // Its controller was removed from the cluster and knows it.
  bool retired() const { return retired_; }
  const wal::Wal& wal() const { return *wal_; }
  const kv::Engine& engine() const { return *engine_; }
  const group::Transport& transport() const { return *transport_; }

  // --- node::NodeOwner ---
  void OnJoined(const std::string& cluster_id, uint64_t incarnation, NodeId node) override;
  void OnControllers(const std::map<uint64_t, std::string>& addresses) override;
  void OnRefused(const Status& status) override;

 private:
  // --- node::TaskTrace ---
  void OnTaskStart(uint64_t registration_epoch, const node::TaskKey& key,
                   const ::tenure::internal::v1::TaskPayload& payload) override;
  void OnTaskEnd(uint64_t registration_epoch, const node::TaskKey& key, const Status& status) override;

  Status Start();
  // `controllers`: those that form the cluster, none if the log or the leader says who they are.
  void StartController(const std::vector<std::pair<uint64_t, Endpoint>>& controllers);
  void Join();
  ::tenure::v1::ControllerRecord Self() const;
  void OnControllerRefused(const Status& status);
  void StartNode();
  void OnWalFailure(const Status& status);
  void EndOfDisk(const Status& status);
  Status OpenDirectory();
  // A recovery went on without this machine.
  void OnLeftBehind(const std::string& message);

  World& world_;
  Machine& machine_;
  const Settings settings_;
  Prng prng_;
  Logger logger_;
  std::unique_ptr<SimProcess> process_;
  SimExecutor& control_;
  SimExecutor& regions_;
  SimExecutor& log_;
  SimExecutor& background_;
  SimExecutor* changefeeds_ = nullptr;
  std::unique_ptr<runtime::Disk> log_disk_;
  std::unique_ptr<runtime::Disk> background_disk_;
  std::unique_ptr<runtime::Network> control_network_;
  std::unique_ptr<runtime::Network> regions_network_;
  std::unique_ptr<wal::DataDirectory> directory_;
  std::unique_ptr<wal::Wal> wal_;
  std::unique_ptr<kv::MemoryEngine> engine_;
  std::unique_ptr<wal::SnapshotStore> snapshots_;
  std::unique_ptr<controller::Joining> joining_;
  std::vector<std::unique_ptr<ErraticService>> erratic_;
  std::unique_ptr<controller::Controller> controller_;
  bool retired_ = false;
  std::unique_ptr<client::ControllerClient> client_;
  std::unique_ptr<node::ControllerLink> link_;
  std::unique_ptr<group::Transport> transport_;
  std::unique_ptr<node::Node> node_;
  std::unique_ptr<FeedRole> feeds_;
  std::unique_ptr<resp::FrontEnd> front_;
  std::unique_ptr<RespBridge> bridge_;
};

}  // namespace tenure::sim
