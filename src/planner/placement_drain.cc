#include <algorithm>
#include <optional>
#include <utility>

#include "base/format.h"
#include "catalog/refusal.h"
#include "planner/placement.h"
#include "planner/placement_choice.h"

namespace tenure::planner {
namespace {

namespace pb = ::tenure::v1;

class Drain {
 public:
  Drain(PlacementState& state, uint32_t node, const DrainRequest& request)
      : state_(state), node_(node), request_(request), prng_(request.seed) {}

  DrainPlan Run() {
    std::vector<uint32_t> regions = state_.nodes()[node_].regions;
    std::sort(regions.begin(), regions.end(), [&](uint32_t a, uint32_t b) {
      return std::pair(state_.regions()[a].database, a) < std::pair(state_.regions()[b].database, b);
    });
    for (const uint32_t region : regions) HandOver(region);
    for (const uint32_t region : regions) Move(region);
    return std::move(plan_);
  }

 private:
  void HandOver(uint32_t region) {
    const RegionId id = state_.regions()[region].id;
    if (state_.regions()[region].leader != node_) return;
    const uint32_t to = ChooseLeader(state_, region, node_);
    if (to == PlacementState::kNone) {
      plan_.stuck_leaders.push_back({id, "no other voter is on a node that is UP and not held back"});
      return;
    }
    const uint32_t database = state_.regions()[region].database;
    plan_.transfers.push_back(
        {id, state_.IdOf(node_), state_.IdOf(to),
         fmt::format("node {} is drained; node {} leads {} regions of the database, {} in all",
                     state_.IdOf(node_), state_.IdOf(to), state_.LeadersOf(to, database),
                     state_.nodes()[to].leaders)});
    state_.SetLeader(region, to);
  }

  void Move(uint32_t region) {
    const PlacementState::Region& of = state_.regions()[region];
    if (!choice_ || database_ != of.database) {
      database_ = of.database;
      choice_.emplace(state_, database_, std::vector<uint32_t>{node_}, prng_.Fork(fmt::to_string(database_)));
    }
    const std::vector<uint32_t> beside = state_.OthersOf(region, node_);
    const uint32_t to = choice_->Best(beside, of.bytes);
    if (to == PlacementState::kNone) {
      const Status why = choice_->NotEnough(fmt::format("region {}", of.id), 1, beside, of.bytes);
      plan_.stuck.push_back({of.id, std::string(MessageOf(why))});
      return;
    }
    if (plan_.explanations.size() < request_.explain.decisions) {
      Explanation explanation{.subject =
                                  fmt::format("region {} of database '{}': its replica leaves node {}", of.id,
                                              state_.database(database_).name, state_.IdOf(node_))};
      explanation.chosen.push_back(choice_->ExplainChosen(to, beside));
      choice_->ExplainRejected({&to, 1}, beside, of.bytes, request_.explain.nodes, explanation);
      plan_.explanations.push_back(std::move(explanation));
    }
    ReplicaMove move{.region = of.id, .from = state_.IdOf(node_), .to = state_.IdOf(to)};
    move.why = fmt::format("node {} is drained; node {} has {} replicas of the database, {} in all",
                           move.from, move.to, state_.ReplicasOf(to, database_), state_.nodes()[to].replicas);
    // Nobody could take the leadership before: the new replica does when the old one goes.
    const bool leads = of.leader == node_;
    state_.RemoveMember(region, node_);
    state_.AddMember(region, to);
    if (leads) state_.SetLeader(region, to);
    choice_->Refresh(to);
    for (GivenUp& level : choice_->GivenUpBy(state_.NodesOf(region))) {
      const auto known = std::find_if(plan_.given_up.begin(), plan_.given_up.end(),
                                      [&](const GivenUp& one) { return one.level == level.level; });
      if (known == plan_.given_up.end()) {
        plan_.given_up.push_back(std::move(level));
      } else {
        ++known->regions;
      }
    }
    plan_.moves.push_back(std::move(move));
  }

  PlacementState& state_;
  const uint32_t node_;
  const DrainRequest& request_;
  const Prng prng_;
  uint32_t database_ = PlacementState::kNone;
  std::optional<PlacementChoice> choice_;  // of that database
  DrainPlan plan_;
};

}  // namespace

StatusOr<DrainPlan> PlanDrain(const PlacementView& view, const DrainRequest& request) {
  PlacementState state(view);
  const uint32_t node = state.FindNode(request.node);
  if (node == PlacementState::kNone)
    return catalog::Refuse(pb::REASON_NOT_FOUND, "node {} does not exist", request.node);
  return Drain(state, node, request).Run();
}

}  // namespace tenure::planner
