#include "planner/rebalance.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/format.h"
#include "catalog/refusal.h"
#include "catalog/state_moves.h"

namespace tenure::planner {
namespace {

namespace pb = ::tenure::v1;
constexpr uint32_t kNone = PlacementState::kNone;
constexpr size_t kMaxNamedRegions = 16;

Status CheckSlack(const char* field, const Slack& slack) {
  if (slack.absolute != 0) return OkStatus();
  return catalog::Refuse(pb::REASON_INVALID_ARGUMENT,
                         "{}: the slack must be at least 1, or nothing comes to rest", field);
}

}  // namespace

Rebalance::Rebalance(const PlacementView& view, const RebalanceRequest& request)
    : request_(request),
      state_(view),
      counted_(state_.nodes().size()),
      busy_(state_.regions().size()),
      incoming_(state_.nodes().size()),
      outgoing_(state_.nodes().size()),
      transfers_(state_.nodes().size()) {
  plan_.paused = WhyPaused();
  for (uint32_t i = 0; i < counted_.size(); ++i) {
    const PlacementNode& node = *state_.nodes()[i].node;
    counted_[i] = node.state == pb::NODE_UP && node.held_back.empty();
  }
  for (uint32_t i = 0; i < busy_.size(); ++i) busy_[i] = state_.regions()[i].changing;
  for (const RegionId id : request.cooling) {
    if (const uint32_t region = state_.FindRegion(id); region != kNone) busy_[region] = true;
  }
  CountRunning();
}

std::string Rebalance::WhyPaused() const {
  if (!request_.under_repair.empty()) {
    const auto& regions = request_.under_repair;
    const size_t named = std::min(regions.size(), kMaxNamedRegions);
    return fmt::format("{} {} under repair: {}{}", regions.size(),
                       regions.size() == 1 ? "region is" : "regions are",
                       fmt::join(regions.begin(), regions.begin() + static_cast<std::ptrdiff_t>(named), ", "),
                       named < regions.size() ? " ..." : "");
  }
  for (const PlacementState::Node& node : state_.nodes()) {
    if (node.replicas == 0 || IsAlive(*node.node)) continue;
    return fmt::format("node {} is {} and has {} replicas", node.node->id, catalog::NameOf(node.node->state),
                       node.replicas);
  }
  return "";
}

void Rebalance::CountRunning() {
  for (const RunningMove& move : request_.running) {
    const uint32_t region = state_.FindRegion(move.region);
    const uint32_t from = state_.FindNode(move.from);
    const uint32_t to = state_.FindNode(move.to);
    if (from != kNone) ++outgoing_[from];
    if (to != kNone) ++incoming_[to];
    if (region == kNone) continue;
    busy_[region] = true;
    if (to != kNone && !state_.IsMember(region, to)) state_.AddMember(region, to);
    if (from != kNone && from != to && state_.IsMember(region, from)) state_.RemoveMember(region, from);
  }
}

bool Rebalance::IsFor(uint32_t node, uint32_t database) const {
  return counted_[node] && HasLabels(*state_.nodes()[node].node, state_.database(database).constraints);
}

size_t Rebalance::moves_left() const {
  const size_t taken = plan_.moves.size() + request_.running.size();
  return taken >= request_.max_moves ? 0 : request_.max_moves - taken;
}

size_t Rebalance::transfers_left() const {
  return plan_.transfers.size() >= request_.max_transfers ? 0
                                                          : request_.max_transfers - plan_.transfers.size();
}

std::vector<uint32_t> Rebalance::CountReplicas(const std::vector<uint32_t>& regions) const {
  std::vector<uint32_t> counts(state_.nodes().size());
  for (const uint32_t region : regions) {
    for (const PlacementState::Member& member : state_.regions()[region].members) ++counts[member.node];
  }
  return counts;
}

std::vector<uint32_t> Rebalance::CountLeaders(const std::vector<uint32_t>& regions) const {
  std::vector<uint32_t> counts(state_.nodes().size());
  for (const uint32_t region : regions) {
    if (state_.regions()[region].leader != kNone) ++counts[state_.regions()[region].leader];
  }
  return counts;
}

uint64_t Rebalance::Tolerance(const Slack& slack, uint64_t sum, size_t nodes) {
  return std::max(slack.absolute, sum / std::max<size_t>(1, nodes) * slack.percent / 100);
}

uint64_t Rebalance::ValueOf(uint32_t node, uint32_t database, Measure measure) const {
  switch (measure) {
    case Measure::kSpread:
    case Measure::kDatabaseReplicas:
      return state_.ReplicasOf(node, database);
    case Measure::kReplicas:
      return state_.nodes()[node].replicas;
    case Measure::kBytes:
      return state_.nodes()[node].bytes;
  }
  return 0;
}

void Rebalance::Explain(uint32_t region, uint32_t from, uint32_t to, Measure measure,
                        const std::string& why) {
  const PlacementState::Region& of = state_.regions()[region];
  const PlacementChoice choice(state_, of.database, {}, Prng(request_.seed));
  const std::vector<uint32_t> beside = state_.OthersOf(region, from);
  Explanation explanation{.subject =
                              fmt::format("region {} of database '{}': its replica moves from node {}: {}",
                                          of.id, state_.database(of.database).name, state_.IdOf(from), why)};
  explanation.chosen.push_back(choice.ExplainChosen(to, beside));
  const uint64_t best = ValueOf(to, of.database, measure);
  const auto judge = [&](uint32_t node) {
    if (node == from) return RejectedNode{state_.IdOf(node), Loss::kHoldsReplica, "gives the replica"};
    if (auto unfit = choice.Unfit(node, beside, of.bytes)) return *std::move(unfit);
    if (auto spread = choice.LostBySpread(node, to, beside)) return *std::move(spread);
    const uint64_t mine = ValueOf(node, of.database, measure);
    RejectedNode lost{.node = state_.IdOf(node)};
    if (!MayTake(node)) {
      lost.loss = Loss::kHeldBack;
      lost.why = fmt::format("takes {} replicas already, the limit", incoming_[node]);
    } else if (mine > best) {
      lost.loss = measure == Measure::kBytes      ? Loss::kBytes
                  : measure == Measure::kReplicas ? Loss::kReplicas
                                                  : Loss::kDatabaseReplicas;
      lost.why = fmt::format("more {} than node {} ({} > {})",
                             measure == Measure::kBytes      ? "bytes"
                             : measure == Measure::kReplicas ? "replicas of all databases"
                                                             : "replicas of the database",
                             state_.IdOf(to), mine, best);
    } else if (mine < best) {
      lost.loss = Loss::kDatabaseReplicas;
      lost.why =
          "would make the database's replicas less even, or is not among the emptiest that were looked at";
    } else {
      lost.why = fmt::format("as good as node {}", state_.IdOf(to));
    }
    return lost;
  };
  for (uint32_t node = 0; node < state_.nodes().size(); ++node) {
    if (node == to) continue;
    RejectedNode rejected = judge(node);
    if (explanation.rejected.size() < request_.explain.nodes) {
      explanation.rejected.push_back(std::move(rejected));
    } else {
      ++explanation.omitted[rejected.loss];
    }
  }
  plan_.explanations.push_back(std::move(explanation));
}

void Rebalance::Move(uint32_t region, uint32_t from, uint32_t to, Measure measure, std::string why) {
  const std::vector<uint32_t> beside = state_.OthersOf(region, from);
  const bool fits =
      HasLabels(*state_.nodes()[from].node, state_.database(state_.regions()[region].database).constraints);
  TENURE_CHECK(!fits || state_.ConflictsOf(to, beside) <= state_.ConflictsOf(from, beside),
               "P4: region {} would be worse spread on node {} than on {}", state_.regions()[region].id,
               state_.IdOf(to), state_.IdOf(from));
  if (plan_.explanations.size() < request_.explain.decisions) Explain(region, from, to, measure, why);
  ReplicaMove move{.region = state_.regions()[region].id,
                   .from = state_.IdOf(from),
                   .to = state_.IdOf(to),
                   .why = std::move(why)};
  uint32_t leader = state_.regions()[region].leader;
  if (leader == from) {
    leader = ChooseLeader(state_, region, from);
    if (leader == kNone) {
      leader = to;
    } else {
      move.leader_to = state_.IdOf(leader);
    }
  }
  state_.RemoveMember(region, from);
  state_.AddMember(region, to);
  if (leader != state_.regions()[region].leader) state_.SetLeader(region, leader);
  busy_[region] = true;
  ++outgoing_[from];
  ++incoming_[to];
  plan_.moves.push_back(std::move(move));
}

void Rebalance::Transfer(uint32_t region, uint32_t to, std::string why) {
  const uint32_t from = state_.regions()[region].leader;
  plan_.transfers.push_back(
      {state_.regions()[region].id, state_.IdOf(from), state_.IdOf(to), std::move(why)});
  state_.SetLeader(region, to);
  busy_[region] = true;
  ++transfers_[from];
  ++transfers_[to];
}

StatusOr<RebalancePlan> PlanRebalance(const PlacementView& view, const RebalanceRequest& request) {
  TENURE_RETURN_IF_ERROR(CheckSlack("replicas", request.replicas));
  TENURE_RETURN_IF_ERROR(CheckSlack("total_replicas", request.total_replicas));
  TENURE_RETURN_IF_ERROR(CheckSlack("bytes", request.bytes));
  TENURE_RETURN_IF_ERROR(CheckSlack("leaders", request.leaders));
  TENURE_RETURN_IF_ERROR(CheckSlack("total_leaders", request.total_leaders));
  Rebalance rebalance(view, request);
  if (rebalance.is_paused()) return rebalance.TakePlan();
  const uint32_t databases = rebalance.state().database_count();
  std::vector<std::vector<uint32_t>> regions(databases);
  for (uint32_t i = 0; i < rebalance.state().regions().size(); ++i)
    regions[rebalance.state().regions()[i].database].push_back(i);
  for (uint32_t database = 0; database < databases; ++database)
    EvenOutDatabase(rebalance, database, regions[database]);
  EvenOutReplicas(rebalance);
  EvenOutBytes(rebalance);
  for (uint32_t database = 0; database < databases; ++database)
    EvenOutDatabaseLeaders(rebalance, database, regions[database]);
  EvenOutAllLeaders(rebalance);
  return rebalance.TakePlan();
}

}  // namespace tenure::planner
