// Makes the configuration of group 0 what the records of the controllers ask for: looks, takes one step
// (planner/controller_membership.h), looks again. The records say who is to be a member, the configuration
// who is; what the configuration has decided is written back into the records. Keeps nothing that a crash
// could lose: the next leader looks for itself.
//
// Threading:  the controller's executor.
// Invariants: one change at a time, none while a configuration is joint or not committed; what is written
//             into the records is committed before.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/ids.h"
#include "base/log.h"
#include "controller/catalog_access.h"
#include "controller/leadership/leader_service.h"
#include "planner/controller_membership.h"
#include "runtime/executor.h"

namespace tenure::controller {

class MembershipReconciler : public CatalogListener, public LeaderService {
 public:
  MembershipReconciler(runtime::Executor& executor, CatalogAccess& access, planner::MembershipOptions options,
                       Logger logger);
  ~MembershipReconciler() override;

  // What the next step waits for; empty if nothing is to be done, or this is not the leader.
  const std::string& waiting() const { return waiting_; }

  // CatalogListener
  void OnCatalogChanged(const std::vector<::tenure::v1::Event>& events, Revision applied) override;
  void OnCatalogReset(Revision) override {}
  // LeaderService
  std::string_view name() const override { return "controllers"; }
  runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) override;
  void Stop() override;

 private:
  void ScheduleLook();
  void OnBeat();
  void Look();
  std::map<uint64_t, planner::MemberEvidence> Observe(const group::GroupStatus& group);
  void Take(planner::MembershipStep step);
  // The step's outcome is known: look again, at once if it was taken.
  void Finish(Term epoch, const Status& status);

  runtime::Executor& executor_;
  CatalogAccess& access_;
  const planner::MembershipOptions options_;
  Logger logger_;

  Term epoch_;  // none while stopped
  Instant last_beat_{};
  runtime::Timer beat_;
  std::map<uint64_t, Instant> heard_;  // when a member was last active, or this leadership began
  bool in_flight_ = false;
  Instant transfer_until_{};  // a transfer has its time until then
  std::string waiting_;
  bool look_posted_ = false;
  std::shared_ptr<MembershipReconciler*> self_;  // null inside once this is gone
};

}  // namespace tenure::controller
