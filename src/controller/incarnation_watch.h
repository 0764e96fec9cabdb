// Asks every other controller which incarnation of the cluster it is of, until each has answered once: a
// controller whose data directory was left behind by a recovery (docs/recovery.md) learns so before it can
// take part in anything. It starts together with the replica of group 0, which for one minimum election
// timeout neither votes nor stands (raft R8): that long a controller of before cannot help to elect one of
// before.
//
// What it does not see - a controller that cannot be reached - the transport notices with the first message.
//
// Threading: the controller's executor. Lifetime: destruction drops what is under way.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "runtime/executor.h"
#include "runtime/network.h"

namespace tenure::controller {

class IncarnationWatch {
 public:
  IncarnationWatch(runtime::Executor& executor, runtime::Network& network, std::string cluster_id,
                   uint64_t incarnation, std::function<void(uint64_t incarnation)> on_superseded);
  ~IncarnationWatch();

  void Start(const std::vector<runtime::Endpoint>& others);
  void Stop();

 private:
  void AskAll();
  void OnAnswer(const runtime::Endpoint& from, const StatusOr<std::string>& bytes);

  runtime::Executor& executor_;
  runtime::Network& network_;
  const std::string cluster_id_;
  const uint64_t incarnation_;
  std::function<void(uint64_t)> on_superseded_;
  std::set<runtime::Endpoint> silent_;  // have not answered yet
  runtime::Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::controller
