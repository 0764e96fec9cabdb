// The controller of a process: the Controller and what it needs from its surroundings.
//
// Threading: Start, Stop and Numbers from threads that are no executor; the rest happens on the controller's
// executor.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "controller/controller.h"
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

  // Looks for an existing cluster if this process was never in one, then starts the replica of group 0.
  Status Start();
  void Stop(Duration limit);

  // None if the executor does not answer.
  std::optional<ControllerNumbers> Numbers();
  // OK if a leader of group 0 is known.
  Status Ready();

 private:
  controller::ControllerOptions Options(const std::string& cluster_id) const;
  void LearnClusterId();

  const Config& config_;
  Threads& threads_;
  Storage& storage_;
  Prng prng_;
  Logger logger_;
  std::function<void(Status)> refused_;
  uint64_t incarnation_ = 1;  // of the cluster, set by Start
  std::unique_ptr<runtime::Network> network_;
  std::unique_ptr<ClusterCheck> check_;
  std::unique_ptr<controller::Controller> controller_;
  runtime::Timer learn_timer_;
};

}  // namespace tenure::daemon
