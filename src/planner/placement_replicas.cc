#include <algorithm>
#include <tuple>
#include <utility>

#include "base/format.h"
#include "catalog/refusal.h"
#include "catalog/state_moves.h"
#include "planner/placement.h"
#include "planner/placement_choice.h"

namespace tenure::planner {
namespace {

namespace pb = ::tenure::v1;

Status NoSuchRegion(RegionId region) {
  return catalog::Refuse(pb::REASON_NOT_FOUND, "region {} does not exist", region);
}

// ---- which replica to give up ----

// What speaks for giving this replica up; the smallest one goes.
struct Worth {
  bool needed = false;  // without it there is no majority of voters on nodes that are alive
  bool alive = true;
  bool voter = true;
  bool belongs = true;            // its node carries the required labels and is not on its way out
  Conflicts conflicts;            // of the others
  int64_t database_replicas = 0;  // these three negative: the fullest goes
  int64_t replicas = 0;
  int64_t byte_steps = 0;
  bool leads = false;
  uint32_t tie = 0;
  friend auto operator<=>(const Worth&, const Worth&) = default;
};

class Removal {
 public:
  Removal(const PlacementState& state, uint32_t region, uint64_t seed)
      : state_(state), region_(region), prng_(seed) {
    for (const PlacementState::Member& member : Members()) {
      if (member.learner) continue;
      ++voters_;
      alive_ += IsAlive(NodeOf(member)) ? 1 : 0;
    }
  }

  StatusOr<RemoveReplicaPlan> Run(const ExplanationLimits& limits) {
    const std::string subject = SubjectOf(state_, region_);
    if (Members().size() <= 1) {
      return catalog::Refuse(pb::REASON_INVALID_ARGUMENT,
                             "{} has {} replicas: the last one cannot be given up", subject,
                             Members().size());
    }
    std::vector<Worth> worths;
    for (const PlacementState::Member& member : Members()) worths.push_back(WorthOf(member));
    const auto best = static_cast<size_t>(std::min_element(worths.begin(), worths.end()) - worths.begin());
    const uint32_t node = Members()[best].node;
    RemoveReplicaPlan plan{.node = state_.IdOf(node)};
    if (state_.regions()[region_].leader == node) {
      const uint32_t leader = ChooseLeader(state_, region_, node);
      if (leader != PlacementState::kNone) plan.leader_to = state_.IdOf(leader);
    }
    plan.explanation.subject = subject + ": one replica less";
    plan.explanation.chosen.push_back({.node = plan.node, .scores = ScoresOf(worths[best])});
    for (size_t i = 0; i < worths.size(); ++i) {
      if (i == best) continue;
      RejectedNode kept = WhyKept(state_.IdOf(Members()[i].node), worths[i], worths[best]);
      if (plan.explanation.rejected.size() < limits.nodes) {
        plan.explanation.rejected.push_back(std::move(kept));
      } else {
        ++plan.explanation.omitted[kept.loss];
      }
    }
    return plan;
  }

 private:
  const std::vector<PlacementState::Member>& Members() const { return state_.regions()[region_].members; }
  const PlacementNode& NodeOf(const PlacementState::Member& member) const {
    return *state_.nodes()[member.node].node;
  }

  Worth WorthOf(const PlacementState::Member& member) {
    const PlacementNode& node = NodeOf(member);
    const uint32_t database = state_.regions()[region_].database;
    const uint32_t voters = voters_ - (member.learner ? 0 : 1);
    const uint32_t alive = alive_ - (member.learner || !IsAlive(node) ? 0 : 1);
    const bool has_majority = alive_ * 2 > voters_;
    return {.needed = has_majority && alive * 2 <= voters,
            .alive = IsAlive(node),
            .voter = !member.learner,
            .belongs = node.state == pb::NODE_UP && HasLabels(node, state_.database(database).constraints),
            .conflicts = state_.ConflictsOf(state_.OthersOf(region_, member.node)),
            .database_replicas = -int64_t{state_.ReplicasOf(member.node, database)},
            .replicas = -int64_t{state_.nodes()[member.node].replicas},
            .byte_steps = -static_cast<int64_t>(state_.nodes()[member.node].bytes / state_.byte_step()),
            .leads = state_.regions()[region_].leader == member.node,
            .tie = prng_.Next32()};
  }

  static std::vector<ScoreLine> ScoresOf(const Worth& worth) {
    const auto text = [](bool value) { return std::string(value ? "yes" : "no"); };
    return {{"alive", text(worth.alive)},
            {"voter", text(worth.voter)},
            {"belongs_here", text(worth.belongs)},
            {"others_share", fmt::format("{} hosts, {} racks, {} zones", worth.conflicts.host,
                                         worth.conflicts.rack, worth.conflicts.zone)},
            {"database_replicas", fmt::to_string(-worth.database_replicas)},
            {"replicas", fmt::to_string(-worth.replicas)},
            {"byte_steps", fmt::to_string(-worth.byte_steps)},
            {"leads", text(worth.leads)}};
  }

  static RejectedNode WhyKept(NodeId node, const Worth& kept, const Worth& given) {
    const auto because = [&](Loss loss, std::string why) { return RejectedNode{node, loss, std::move(why)}; };
    if (kept.needed) return because(Loss::kNeeded, "without it no majority of the voters is up");
    if (kept.alive != given.alive) return because(Loss::kNotUp, "its node is alive, the other one is not");
    if (kept.voter != given.voter) return because(Loss::kVoter, "votes, the other one is a learner");
    if (kept.belongs != given.belongs) {
      return because(Loss::kMissingLabel, "its node stays and has the required labels, the other one not");
    }
    if (kept.conflicts != given.conflicts)
      return because(Loss::kSpread, "without it the others would be less well spread");
    if (kept.database_replicas != given.database_replicas) {
      return because(Loss::kDatabaseReplicas, fmt::format("fewer replicas of the database ({} < {})",
                                                          -kept.database_replicas, -given.database_replicas));
    }
    if (kept.replicas != given.replicas) {
      return because(Loss::kReplicas, fmt::format("fewer replicas of all databases ({} < {})", -kept.replicas,
                                                  -given.replicas));
    }
    if (kept.byte_steps != given.byte_steps) return because(Loss::kBytes, "fewer bytes");
    if (kept.leads != given.leads) return because(Loss::kLeads, "leads");
    return because(Loss::kChance, "as good as the other one; the seed decided");
  }

  const PlacementState& state_;
  const uint32_t region_;
  Prng prng_;
  uint32_t voters_ = 0;
  uint32_t alive_ = 0;
};

}  // namespace

StatusOr<AddReplicaPlan> PlanAddReplica(const PlacementView& view, const AddReplicaRequest& request) {
  const PlacementState state(view);
  const uint32_t region = state.FindRegion(request.region);
  if (region == PlacementState::kNone) return NoSuchRegion(request.region);
  std::string subject = SubjectOfAdded(state, region, request.replaces);
  std::vector<uint32_t> excluded;
  for (const NodeId id : request.excluded) {
    if (const uint32_t node = state.FindNode(id); node != PlacementState::kNone) excluded.push_back(node);
  }
  const uint32_t replaced = state.FindNode(request.replaces);
  if (!request.replaces.IsNone()) {
    if (replaced == PlacementState::kNone || !state.IsMember(region, replaced)) {
      return catalog::Refuse(pb::REASON_INVALID_ARGUMENT, "replaces: region {} has no replica on node {}",
                             request.region, request.replaces);
    }
    excluded.push_back(replaced);
  }
  const uint64_t bytes = state.regions()[region].bytes;
  PlacementChoice choice(state, state.regions()[region].database, excluded, Prng(request.seed));
  std::vector<uint32_t> beside = state.OthersOf(region, replaced);
  const uint32_t node = choice.Best(beside, bytes);
  if (node == PlacementState::kNone) return choice.NotEnough(subject, 1, beside, bytes);
  AddReplicaPlan plan{.node = state.IdOf(node)};
  plan.explanation.subject = std::move(subject);
  plan.explanation.chosen.push_back(choice.ExplainChosen(node, beside));
  choice.ExplainRejected({&node, 1}, beside, bytes, request.explain.nodes, plan.explanation);
  beside.push_back(node);
  plan.given_up = choice.GivenUpBy(beside);
  plan.explanation.given_up = plan.given_up;
  return plan;
}

StatusOr<RemoveReplicaPlan> PlanRemoveReplica(const PlacementView& view,
                                              const RemoveReplicaRequest& request) {
  const PlacementState state(view);
  const uint32_t region = state.FindRegion(request.region);
  if (region == PlacementState::kNone) return NoSuchRegion(request.region);
  return Removal(state, region, request.seed).Run(request.explain);
}

StatusOr<std::vector<Explanation>> ExplainRegion(const PlacementView& view,
                                                 const ExplainRegionRequest& request) {
  PlacementState state(view);
  const uint32_t region = state.FindRegion(request.region);
  if (region == PlacementState::kNone) return NoSuchRegion(request.region);
  std::vector<Explanation> explanations;
  const std::vector<uint32_t> members = state.NodesOf(region);
  const uint64_t bytes = state.regions()[region].bytes;
  for (const uint32_t node : members) {
    if (explanations.size() == request.explain.decisions) break;
    // Judged as if it was chosen now: its own replica does not count against it.
    state.RemoveMember(region, node);
    const PlacementChoice choice(state, state.regions()[region].database, {}, Prng(0));
    const std::vector<uint32_t> beside = state.NodesOf(region);
    Explanation explanation{
        .subject = fmt::format("{}: the replica on node {}", SubjectOf(state, region), state.IdOf(node))};
    ChosenNode chosen = choice.ExplainChosen(node, beside);
    if (const auto unfit = choice.Unfit(node, beside, 0))
      chosen.scores.insert(chosen.scores.begin(), {"no_candidate_today", unfit->why});
    explanation.chosen.push_back(std::move(chosen));
    choice.ExplainRejected({&node, 1}, beside, bytes, request.explain.nodes, explanation);
    explanation.given_up = choice.GivenUpBy(members);
    explanations.push_back(std::move(explanation));
    state.AddMember(region, node);
  }
  return explanations;
}

}  // namespace tenure::planner
