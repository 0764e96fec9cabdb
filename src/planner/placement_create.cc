#include <algorithm>
#include <tuple>
#include <utility>

#include "catalog/refusal.h"
#include "planner/leader_balance.h"
#include "planner/placement.h"
#include "planner/placement_choice.h"

namespace tenure::planner {
namespace {

namespace pb = ::tenure::v1;
using NodeList = std::vector<uint32_t>;

// NodeList of `nodes` in the preferred zone; all of them if none is.
NodeList LeaderCandidates(const PlacementState& state, const NodeList& nodes, const std::string& zone) {
  NodeList preferred;
  for (const uint32_t node : nodes) {
    if (!zone.empty() && state.nodes()[node].node->zone == zone) preferred.push_back(node);
  }
  return preferred.empty() ? nodes : preferred;
}

class Creation {
 public:
  Creation(const PlacementView& view, const CreateRegionsRequest& request)
      : request_(request),
        record_{.name = request.database, .replicas = request.replicas, .constraints = request.constraints},
        state_(view),
        database_(state_.AddDatabase(record_)),
        choice_(state_, database_, {}, Prng(request.seed)) {}

  StatusOr<CreateRegionsPlan> Run() {
    const std::string what = fmt::format("database '{}'", request_.database);
    if (choice_.size() < request_.replicas) return choice_.NotEnough(what, request_.replicas, {}, 0);
    regions_.reserve(request_.regions);
    for (uint32_t i = 0; i < request_.regions; ++i) {
      if (!Place(i)) {
        return choice_.NotEnough(fmt::format("{}: region {} of {}", what, i + 1, request_.regions),
                                 request_.replicas, {}, 0);
      }
    }
    Lead();
    for (const LedRegion& region : regions_) {
      std::vector<NodeId>& nodes = plan_.regions.emplace_back();
      nodes.reserve(members_[plan_.regions.size() - 1].size());
      nodes.push_back(state_.IdOf(region.leader));
      for (const uint32_t node : members_[plan_.regions.size() - 1]) {
        if (node != region.leader) nodes.push_back(state_.IdOf(node));
      }
    }
    return std::move(plan_);
  }

 private:
  bool Place(uint32_t index) {
    const uint32_t region = state_.AddRegion(database_);
    const bool explained = index < request_.explain.decisions;
    Explanation explanation{.subject =
                                fmt::format("region {} of {} of new database '{}': {} replicas", index + 1,
                                            request_.regions, request_.database, request_.replicas)};
    NodeList members;
    while (members.size() < request_.replicas) {
      const uint32_t node = choice_.Best(members, 0);
      if (node == PlacementState::kNone) return false;
      if (explained) explanation.chosen.push_back(choice_.ExplainChosen(node, members));
      const NodeList beside = members;
      members.push_back(node);
      if (explained && members.size() == request_.replicas)
        choice_.ExplainRejected(members, beside, 0, request_.explain.nodes, explanation);
      state_.AddMember(region, node);
      choice_.Refresh(node);
    }
    std::vector<GivenUp> given_up = choice_.GivenUpBy(members);
    for (const GivenUp& level : given_up) AddGivenUp(level);
    if (explained) {
      explanation.given_up = std::move(given_up);
      plan_.explanations.push_back(std::move(explanation));
    }
    members_.push_back(std::move(members));
    return true;
  }

  void AddGivenUp(const GivenUp& level) {
    for (GivenUp& known : plan_.given_up) {
      if (known.level == level.level) {
        known.regions += level.regions;
        return;
      }
    }
    plan_.given_up.push_back(level);
  }

  // To whoever leads least, then along chains.
  void Lead() {
    std::vector<uint32_t> counts(state_.nodes().size());
    for (uint32_t i = 0; i < members_.size(); ++i) {
      LedRegion region{.candidates =
                           LeaderCandidates(state_, members_[i], request_.constraints.preferred_leader_zone)};
      region.leader =
          *std::min_element(region.candidates.begin(), region.candidates.end(), [&](uint32_t a, uint32_t b) {
            return std::tuple(counts[a], state_.nodes()[a].leaders, a) <
                   std::tuple(counts[b], state_.nodes()[b].leaders, b);
          });
      ++counts[region.leader];
      regions_.push_back(std::move(region));
    }
    EvenOutLeaders(regions_, counts, {});
  }

  const CreateRegionsRequest& request_;
  const PlacementDatabase record_;
  PlacementState state_;
  const uint32_t database_;
  PlacementChoice choice_;
  std::vector<NodeList> members_;
  std::vector<LedRegion> regions_;
  CreateRegionsPlan plan_;
};

}  // namespace

StatusOr<CreateRegionsPlan> PlanCreateRegions(const PlacementView& view,
                                              const CreateRegionsRequest& request) {
  if (request.regions == 0) return catalog::Refuse(pb::REASON_INVALID_ARGUMENT, "regions: must not be 0");
  if (request.replicas == 0) return catalog::Refuse(pb::REASON_INVALID_ARGUMENT, "replicas: must not be 0");
  return Creation(view, request).Run();
}

}  // namespace tenure::planner
