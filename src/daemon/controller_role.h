// The controller of a process: the Controller and what it needs from its surroundings.
//
// Threading: Start, Stop and Numbers from threads that are no executor; the rest happens on the controller's
//            executor.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controller/controller.h"
#include "controller/membership/joining.h"
#include "daemon/cluster_check.h"
#include "daemon/config.h"
#include "daemon/metrics.h"
#include "daemon/storage.h"
#include "daemon/threads.h"
#include "rpc/grpc_process.h"

namespace tenure::daemon {

class ControllerRole {
 public:
  // `refused`: this process cannot go on as a controller of this cluster; from any thread.
  ControllerRole(const Config& config, Threads& threads, Storage& storage, rpc::GrpcProcess& grpc, Prng prng,
                 Logger logger, std::function<void(Status)> refused);
  ~ControllerRole();

  // Looks for an existing cluster if this process was never in one, then starts the replica of group 0. One
  // that joins a cluster does so when its leader knows it, which may be long after this returned.
  Status Start();
  void Stop(Duration limit);

  // None if the executor does not answer.
  std::optional<ControllerNumbers> Numbers();
  // OK if a leader of group 0 is known and this replica may vote, so that another one may be stopped.
  Status Ready();

 private:
  ::tenure::v1::ControllerRecord Self() const;
  controller::ControllerOptions Options(const std::string& cluster_id) const;
  std::vector<runtime::Endpoint> OthersByNow() const;
  void Join();
  // On the controller's executor.
  Status StartController(const std::string& cluster_id);
  void OnRefused(const Status& status);
  void LearnClusterId();
  void RememberAddresses();
  void OnLongTurn(Duration took);

  const Config& config_;
  Threads& threads_;
  Storage& storage_;
  Prng prng_;
  Logger logger_;
  std::function<void(Status)> refused_;
  uint64_t incarnation_ = 1;  // of the cluster, set by Start
  std::unique_ptr<runtime::Network> network_;
  std::unique_ptr<ClusterCheck> check_;
  std::unique_ptr<controller::Joining> joining_;
  bool retired_ = false;
  std::unique_ptr<controller::Controller> controller_;
  Instant
      votes_from_{};  // a replica that ran before is silent for an election timeout (docs/consensus.md, R8)
  runtime::Timer learn_timer_;
  std::map<uint64_t, std::string> remembered_;  // addresses, as the directory has them
  runtime::Timer remember_timer_;
  // On the controller's executor.
  uint64_t slow_turns_ = 0;
  Duration slowest_turn_{};
  Instant long_turn_logged_{};
};

}  // namespace tenure::daemon
