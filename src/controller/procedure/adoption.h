// Gives a procedure to what was begun without one: databases that are CREATING or PRE_DELETE from before the
// cluster had procedures (format 3). Looks when a leadership begins and when the format rises; does nothing
// afterwards.
//
// Threading: the controller's executor.
#pragma once

#include <memory>

#include "base/ids.h"
#include "base/log.h"
#include "controller/catalog_access.h"
#include "controller/leadership/leader_service.h"

namespace tenure::controller {

class Adoption : public CatalogListener, public LeaderService {
 public:
  Adoption(runtime::Executor& executor, CatalogAccess& access, Logger logger);
  ~Adoption() override;

  // CatalogListener
  void OnCatalogChanged(const std::vector<::tenure::v1::Event>& events, Revision applied) override;
  void OnCatalogReset(Revision) override {}
  // LeaderService
  std::string_view name() const override { return "adoption"; }
  runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) override;
  void Stop() override { epoch_ = Term(); }

 private:
  void ScheduleLook();
  void Look();

  runtime::Executor& executor_;
  CatalogAccess& access_;
  Logger logger_;
  Term epoch_;                       // none while stopped
  std::shared_ptr<Adoption*> self_;  // null inside once this is gone
};

}  // namespace tenure::controller
