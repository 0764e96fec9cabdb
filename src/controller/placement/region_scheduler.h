// Keeps regions as they should be: replaces replicas that are lost, makes up for missing ones, and evens out
// replicas and leaderships. Looks, asks the planner, submits procedures and transfers; keeps nothing that a
// crash could lose.
//
//   repair   a replica whose node is DOWN and silent for longer than `repair_after`, is being removed, or has lost it ->
//   RepairReplica
//            a region with fewer voters than its database wants                                          ->
//            AddReplica
//            a learner that no procedure is about: one that was cancelled had asked for it, and the region's
//            leader did it later                                                                       ->
//            RemoveReplica
//   balance  only while nothing is being repaired: moves and transfers of the planner's, a few at a time,
//   with a rest for
//            regions that were touched or whose change failed
//
// Threading:  the controller's executor.
// Reference:  docs/placement.md.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/log.h"
#include "base/prng.h"
#include "controller/catalog_access.h"
#include "controller/leadership/leader_service.h"
#include "controller/nodes/agent_service.h"
#include "planner/placement.h"
#include "runtime/executor.h"

namespace tenure::controller {

struct SchedulerOptions {
  Duration repair_after = std::chrono::minutes(5);  // that a node is DOWN
  size_t max_repairs = 16;                          // at once
  size_t max_repairs_per_node = 4;                  // that make a replica there
  bool balance = true;
  Duration balance_every = std::chrono::seconds(10);
  size_t max_moves = 4;  // for balance, at once
  // Of a region that was touched, before it is touched again for balance; and of one whose change failed.
  Duration rest = std::chrono::minutes(1);
};

class RegionScheduler : public LeaderService {
 public:
  RegionScheduler(runtime::Executor& executor, CatalogAccess& access, AgentService& agents,
                  SchedulerOptions options, Prng prng, Logger logger);
  ~RegionScheduler() override;

  // Repairs that are wanted and cannot be done, with the reason; for status.
  const std::map<uint64_t, std::string>& stuck() const { return stuck_; }
  // Procedures that make lost or missing replicas anew.
  size_t RunningRepairs() const;

  // LeaderService
  std::string_view name() const override { return "region scheduler"; }
  runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) override;
  void Stop() override;

 private:
  struct Repair {
    RegionId region;
    ReplicaId lost;  // none: one is missing
    NodeId node;
    bool surplus = false;  // nobody wants it: none takes its place
  };

  void OnBeat();
  void Look();
  std::vector<Repair> FindRepairs() const;
  // False if nothing may be done yet.
  bool IsLost(const ::tenure::v1::RegionRecord& region, const ::tenure::v1::ReplicaRecord& replica) const;
  void StartRepairs(const std::vector<Repair>& repairs);
  void Balance();
  void Submit(::tenure::v1::ProcedureRecord procedure, RegionId region);

  runtime::Executor& executor_;
  CatalogAccess& access_;
  AgentService& agents_;
  const SchedulerOptions options_;
  Prng prng_;
  Logger logger_;

  Term epoch_;  // none while stopped
  runtime::Timer beat_;
  Instant next_balance_{};
  std::map<RegionId, Instant> resting_;  // until when
  std::set<RegionId> submitting_;
  std::map<uint64_t, std::string> stuck_;
  std::shared_ptr<RegionScheduler*> self_;  // null inside once this is gone
};

}  // namespace tenure::controller
