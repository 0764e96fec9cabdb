#include "planner/region_recovery.h"

#include <tuple>
#include <vector>

#include "base/format.h"
#include "base/hash.h"

namespace tenure::planner {
namespace {

namespace pb = ::tenure::v1;

// DOWN is the leader's own judgement after long silence; a node that is merely suspect may come back with
// what only it holds.
bool IsLost(const catalog::Catalog& catalog, uint64_t node) {
  const auto found = catalog.nodes().find(node);
  if (found == catalog.nodes().end()) return true;
  const pb::NodeState state = found->second.node().state();
  return state == pb::NODE_DOWN || state == pb::NODE_REMOVED;
}

struct Verdict {
  std::optional<pb::RegionRecoveryPlan> plan;
  std::string objection;  // why there is none; empty if the region needs none
  bool quorum = false;    // a majority lives
};

Verdict Judge(const catalog::Catalog& catalog, const ReplicaReports& reports,
              const pb::RegionRecord& region) {
  Verdict verdict;
  pb::RegionRecoveryPlan plan;
  plan.set_region(region.id());
  plan.set_database(region.database());
  std::vector<const pb::ReplicaRecord*> alive;
  std::vector<uint64_t> alive_nodes;
  for (const pb::ReplicaRecord& replica : region.replicas()) {
    if (replica.role() != pb::REPLICA_VOTER) continue;
    plan.add_nodes(replica.node());
    if (IsLost(catalog, replica.node())) {
      plan.add_lost_nodes(replica.node());
    } else {
      alive.push_back(&replica);
      alive_nodes.push_back(replica.node());
    }
  }
  if (region.state() == pb::REGION_REMOVING) {
    verdict.objection = fmt::format("region {} is being removed", region.id());
    return verdict;
  }
  if (static_cast<int>(alive.size()) * 2 > plan.nodes_size()) {
    verdict.quorum = true;
    verdict.objection = fmt::format(
        "region {}: nodes {} of {} are not down, a majority: it elects a leader by itself and loses nothing",
        region.id(), fmt::join(alive_nodes, ","), fmt::join(plan.nodes(), ","));
    return verdict;
  }
  if (alive.empty()) {
    verdict.objection = fmt::format(
        "region {}: all nodes that held a replica ({}) are down; its data comes back with one of them only",
        region.id(), fmt::join(plan.nodes(), ","));
    return verdict;
  }
  Term best_term;
  for (const pb::ReplicaRecord* replica : alive) {
    const auto report =
        reports.Find(NodeId(replica->node()), RegionId(region.id()), ReplicaId(replica->id()));
    if (!report) {
      verdict.objection = fmt::format("region {}: node {} has not reported its replica {} yet; ask again",
                                      region.id(), replica->node(), replica->id());
      return verdict;
    }
    if (report->has_leader) {
      verdict.objection =
          fmt::format("region {}: replica {} on node {} has a leader; nothing is to be recovered",
                      region.id(), replica->id(), replica->node());
      return verdict;
    }
    const bool better =
        std::tuple(report->last_term, report->last_index) > std::tuple(best_term, LogIndex(plan.index()));
    if (plan.replica() != 0 && !better) continue;
    best_term = report->last_term;
    plan.set_replica(replica->id());
    plan.set_node(replica->node());
    plan.set_term(report->last_term.value());
    plan.set_index(report->last_index.value());
  }
  verdict.plan = std::move(plan);
  return verdict;
}

}  // namespace

pb::RecoverRegionsResponse PlanRegionRecovery(const catalog::Catalog& catalog, const ReplicaReports& reports,
                                              const std::set<uint64_t>& wanted) {
  pb::RecoverRegionsResponse response;
  std::string basis;
  for (const uint64_t id : wanted) {
    if (!catalog.regions().contains(id))
      response.add_unrecoverable(fmt::format("region {} does not exist", id));
  }
  for (const auto& [id, record] : catalog.regions()) {
    if (!wanted.empty() && !wanted.contains(id)) continue;
    Verdict verdict = Judge(catalog, reports, record.region());
    if (!verdict.plan) {
      // Asked for all, those that live are not worth a word.
      const bool silent =
          wanted.empty() && (verdict.quorum || record.region().state() == pb::REGION_REMOVING);
      if (!silent) response.add_unrecoverable(verdict.objection);
      continue;
    }
    basis +=
        fmt::format("{} {}\n", record.region().configuration_version(), verdict.plan->SerializeAsString());
    *response.add_plans() = *std::move(verdict.plan);
  }
  if (!basis.empty()) response.set_digest(fmt::format("{:016x}", HashBytes(basis)));
  return response;
}

}  // namespace tenure::planner
