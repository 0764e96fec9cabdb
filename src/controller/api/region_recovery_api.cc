// tenure.v1.Regions/Recover: a plan, or its execution if the digest of the plan is given.
#include <algorithm>
#include <set>
#include <utility>

#include "catalog/refusal.h"
#include "controller/api/cluster_service.h"
#include "planner/region_recovery.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
using catalog::Refuse;

namespace {

class Reports : public planner::ReplicaReports {
 public:
  explicit Reports(const LoadTable& load) : load_(load) {}
  std::optional<planner::ReplicaReport> Find(NodeId node, RegionId region, ReplicaId replica) const override {
    const NodeLoad* load = load_.Find(node);
    if (load == nullptr || !load->full || !load->connected) return std::nullopt;
    const auto found = load->regions.find(region.value());
    if (found == load->regions.end() || found->second.replica() != replica.value()) return std::nullopt;
    return planner::ReplicaReport{
        .last_term = Term(found->second.last_term()),
        .last_index = LogIndex(found->second.last_index()),
        .has_leader = found->second.is_leader() || found->second.leader_replica() != 0};
  }

 private:
  const LoadTable& load_;
};

// A leader that is lost may have led a term that no survivor knows of.
uint64_t HighestTerm(const AgentService& agents, RegionId region) {
  const RegionLeaderView* view = agents.region_leaders().Find(region);
  uint64_t highest = view == nullptr ? 0 : view->term.value();
  for (const auto& [node, load] : agents.load().all()) {
    const auto found = load.regions.find(region.value());
    if (found != load.regions.end()) highest = std::max(highest, found->second.term());
  }
  return highest;
}

ipb::CatalogCommand CommandFor(const pb::RecoverRegionsResponse& planned, const catalog::Catalog& catalog,
                               const AgentService& agents, const std::string& by, int64_t now_ms) {
  ipb::CatalogCommand command;
  for (const pb::RegionRecoveryPlan& plan : planned.plans()) {
    auto& item = *command.mutable_recover_regions()->add_items();
    item.set_region(plan.region());
    item.set_replica(plan.replica());
    item.set_highest_term(HighestTerm(agents, RegionId(plan.region())));
    item.set_configuration_version(catalog.regions().at(plan.region()).region().configuration_version());
    pb::RecoveryRecord& recovery = *item.mutable_recovery();
    recovery.set_at_ms(now_ms);
    recovery.set_by(by);
    recovery.set_digest(planned.digest());
    recovery.set_region(plan.region());
    recovery.set_node(plan.node());
    recovery.set_term(plan.term());
    recovery.set_index(plan.index());
    *recovery.mutable_voters() = plan.nodes();
  }
  return command;
}

}  // namespace

void RegionsService::Recover(const pb::RecoverRegionsRequest& request,
                             Answer<pb::RecoverRegionsResponse> done) {
  if (const Status ready = leadership_.CheckLoadReady(); !ready.ok()) return done(ready);
  const std::set<uint64_t> wanted(request.regions().begin(), request.regions().end());
  pb::RecoverRegionsResponse planned =
      planner::PlanRegionRecovery(access_.catalog(), Reports(agents_.load()), wanted);
  if (request.digest().empty()) return done(std::move(planned));
  if (planned.digest() != request.digest()) {
    return done(Refuse(pb::REASON_CONDITION_FAILED,
                       "digest: {} is not that of the plan as it is now ({}): look at it and decide again",
                       request.digest(), planned.digest().empty() ? "there is none" : planned.digest()));
  }
  ipb::CatalogCommand command =
      CommandFor(planned, access_.catalog(), agents_, request.by(), ToMillis(executor_.WallNow()));
  access_.ProposeInEpoch(
      std::move(command), leadership_.epoch(),
      [planned = std::move(planned), done = std::move(done)](StatusOr<ipb::CatalogResult> result) mutable {
        if (!result.ok()) return done(result.status());
        planned.set_executed(true);
        done(std::move(planned));
      });
}

}  // namespace tenure::controller
