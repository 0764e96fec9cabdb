// Brings databases and regions forward (planner/database_steps.h): looks, proposes the next changes, looks
// again at every event and at a slow beat, once the load is ready. Keeps nothing, so that a crash at any
// point loses nothing.
//
// Threading: the controller's executor.
// Invariant: every change is conditional on the state it was planned for and on the leadership epoch.
#pragma once

#include <memory>
#include <set>
#include <utility>

#include "base/ids.h"
#include "base/log.h"
#include "controller/catalog_access.h"
#include "controller/leadership/leader_service.h"
#include "controller/nodes/agent_service.h"
#include "planner/database_steps.h"
#include "runtime/executor.h"

namespace tenure::controller {

class DatabaseReconciler : public CatalogListener, public LeaderService {
 public:
  DatabaseReconciler(runtime::Executor& executor, CatalogAccess& access, AgentService& agents, Logger logger);
  ~DatabaseReconciler() override;

  // CatalogListener
  void OnCatalogChanged(const std::vector<::tenure::v1::Event>& events, Revision applied) override;
  void OnCatalogReset(Revision) override { settled_ = false; }
  // LeaderService
  std::string_view name() const override { return "databases"; }
  runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) override;
  void Stop() override;

 private:
  using Key = std::pair<planner::DatabaseStep::Object, uint64_t>;

  void ScheduleLook();
  void OnBeat();
  void Look();
  void Propose(planner::DatabaseStep step);

  runtime::Executor& executor_;
  CatalogAccess& access_;
  AgentService& agents_;
  Logger logger_;

  Term epoch_;  // none while stopped
  std::set<Key> in_flight_;
  runtime::Timer beat_;
  bool look_posted_ = false;
  bool settled_ = false;                       // nothing to do before the catalog changes
  std::shared_ptr<DatabaseReconciler*> self_;  // null inside once this is gone
};

}  // namespace tenure::controller
