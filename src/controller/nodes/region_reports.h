// Writes into the catalog what regions' leaders report of their configurations, so that everybody sees it.
// What the catalog says of a region is a report: the region's own log decides.
//
// Threading:  the controller's executor.
// Ordering:   by the configuration's index in the region's log; a report that is not newer than the record
//             changes nothing, whoever sends it.
#pragma once

#include <memory>
#include <set>

#include "base/ids.h"
#include "base/log.h"
#include "controller/catalog_access.h"
#include "controller/leadership/leader_service.h"
#include "controller/nodes/agent_service.h"
#include "runtime/executor.h"

namespace tenure::controller {

class RegionReports : public LeaderService {
 public:
  RegionReports(runtime::Executor& executor, CatalogAccess& access, AgentService& agents, Logger logger);
  ~RegionReports() override;

  // LeaderService
  std::string_view name() const override { return "region reports"; }
  runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) override;
  void Stop() override;

 private:
  void Look();
  void Propose();

  runtime::Executor& executor_;
  CatalogAccess& access_;
  AgentService& agents_;
  Logger logger_;
  Term epoch_;  // none while stopped
  std::set<RegionId> behind_;
  bool in_flight_ = false;
  runtime::Timer retry_;
  std::shared_ptr<RegionReports*> self_;  // null inside once this is gone
};

}  // namespace tenure::controller
