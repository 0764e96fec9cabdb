// Lowers the bound of the lease's length once no node goes by earlier settings any more: sees the difference,
// proposes the change, looks again (catalog/fencing.h says why that is a change of its own).
//
// Threading: the controller's executor.   Invariant: the change names the version that was confirmed.
#pragma once

#include <memory>

#include "base/log.h"
#include "controller/catalog_access.h"
#include "controller/leadership/leader_service.h"
#include "controller/nodes/agent_service.h"
#include "runtime/executor.h"

namespace tenure::controller {

class BoundKeeper : public LeaderService {
 public:
  BoundKeeper(runtime::Executor& executor, CatalogAccess& access, AgentService& agents, Logger logger);
  ~BoundKeeper() override { *self_ = nullptr; }

  // LeaderService
  std::string_view name() const override { return "lease bound"; }
  runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) override;
  void Stop() override;

 private:
  void Look();

  runtime::Executor& executor_;
  CatalogAccess& access_;
  AgentService& agents_;
  Logger logger_;
  Term epoch_;  // none while stopped
  bool in_flight_ = false;
  std::shared_ptr<BoundKeeper*> self_;  // null inside once this is gone
};

}  // namespace tenure::controller
