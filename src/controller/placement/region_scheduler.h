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
//            What no node can take is stuck; what a limit or another procedure of the region keeps waiting is
//            queued. One plan a look; one that came to nothing is made again when something has changed, or
//            after a while.
//   balance  only while nothing is being repaired: moves and transfers of the planner's, a few at a time,
//   with a rest for
//            regions that were touched or whose change failed
//
// Threading:  the controller's executor.
// Reference:  docs/placement.md.
#pragma once

#include <map>
#include <memory>
#include <optional>
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
  // Repairs that wait for others to end.
  size_t queued() const { return queued_; }
  // Plans of repairs made in this leadership.
  uint64_t plans() const { return plans_; }
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

  // What procedures do to regions now.
  struct UnderWay {
    size_t repairs = 0;
    std::map<NodeId, uint32_t> incoming;  // replicas that are being made there
    std::set<RegionId> changing;          // a change of replicas is asked for
    std::set<RegionId> locked;            // by any procedure, or going to be
    std::set<RegionId> failed;            // lately: not again at once
  };
  // What a plan of repairs depends on and what changes often; the rest is seen after a while.
  struct Situation {
    size_t wanted = 0;
    size_t room = 0;
    std::map<NodeId, uint32_t> incoming;
    std::map<uint64_t, ::tenure::v1::NodeState> nodes;
    friend bool operator==(const Situation&, const Situation&) = default;
  };

  void OnBeat();
  void Look();
  UnderWay FindUnderWay() const;
  std::vector<Repair> FindRepairs(const UnderWay& under_way) const;
  // False if nothing may be done yet.
  bool IsLost(const ::tenure::v1::RegionRecord& region, const ::tenure::v1::ReplicaRecord& replica) const;
  void StartRepairs(const std::vector<Repair>& repairs, const UnderWay& under_way);
  void PlanAndSubmit(const std::map<RegionId, Repair>& wanted, size_t room, const UnderWay& under_way,
                     const std::map<uint64_t, std::string>& stuck_before);
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
  size_t queued_ = 0;
  uint64_t plans_ = 0;
  std::optional<Situation> barren_;         // of the last plan, if it came to nothing
  Instant next_plan_{};                     // in the same situation
  std::shared_ptr<RegionScheduler*> self_;  // null inside once this is gone
};

}  // namespace tenure::controller
