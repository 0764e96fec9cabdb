#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/format.h"
#include "planner/placement.h"
#include "planner/placement_choice.h"

namespace tenure::planner {
namespace {

// One state for all of a plan: taking in the view costs far more than a choice, and what is placed first
// counts for what comes after it.
class Repairs {
 public:
  Repairs(const PlacementView& view, const RepairRequest& request)
      : request_(request), state_(view), incoming_(state_.nodes().size()), prng_(request.seed) {
    for (const auto& [id, count] : request.incoming) {
      const uint32_t node = state_.FindNode(id);
      if (node == PlacementState::kNone) continue;
      incoming_[node] = count;
      if (count >= request.max_incoming) at_limit_.push_back(node);
    }
  }

  RepairPlan Run() {
    for (const WantedReplica& wanted : request_.wanted) {
      if (plan_.repairs.size() >= request_.max_repairs) {
        plan_.queued.push_back(wanted.region);
      } else {
        Place(wanted);
      }
    }
    return std::move(plan_);
  }

 private:
  void Place(const WantedReplica& wanted) {
    const uint32_t region = state_.FindRegion(wanted.region);
    if (region == PlacementState::kNone) return Stuck(wanted.region, "it does not exist");
    const uint32_t database = state_.regions()[region].database;
    const uint64_t bytes = state_.regions()[region].bytes;
    uint32_t replaced = PlacementState::kNone;
    std::vector<uint32_t> excluded;
    if (!wanted.replaces.IsNone()) {
      replaced = state_.FindNode(wanted.replaces);
      if (replaced == PlacementState::kNone || !state_.IsMember(region, replaced))
        return Stuck(wanted.region, fmt::format("it has no replica on node {}", wanted.replaces));
      excluded.push_back(replaced);
    }
    const std::vector<uint32_t> beside = state_.OthersOf(region, replaced);
    const uint32_t node = ChoiceOf(database).Best(beside, bytes, excluded);
    if (node != PlacementState::kNone) return Take(wanted, region, node);
    // Stuck is what no node would take if it had nothing else to do.
    for (const uint32_t busy : at_limit_) {
      if (!IsCandidate(state_, database, busy) || state_.IsMember(region, busy) ||
          !state_.HasRoomFor(busy, bytes)) {
        continue;
      }
      plan_.queued.push_back(wanted.region);
      return;
    }
    if (explained_ == request_.max_explained)
      return Stuck(wanted.region, "no node can take it; the reasons are told for other regions");
    ++explained_;
    const PlacementChoice all(state_, database, excluded, prng_);
    const Status why = all.NotEnough(SubjectOfAdded(state_, region, wanted.replaces), 1, beside, bytes);
    Stuck(wanted.region, std::string(MessageOf(why)));
  }

  PlacementChoice& ChoiceOf(uint32_t database) {
    const auto found = choices_.find(database);
    if (found != choices_.end()) return found->second;
    return choices_.try_emplace(database, state_, database, at_limit_, prng_.Fork(fmt::to_string(database)))
        .first->second;
  }

  void Take(const WantedReplica& wanted, uint32_t region, uint32_t node) {
    plan_.repairs.push_back({wanted.region, wanted.replaces, state_.IdOf(node)});
    state_.AddMember(region, node);
    const bool at_limit = ++incoming_[node] >= request_.max_incoming;
    if (at_limit) at_limit_.push_back(node);
    for (auto& [database, choice] : choices_) {
      if (at_limit) {
        choice.Exclude(node);
      } else {
        choice.Refresh(node);
      }
    }
  }

  void Stuck(RegionId region, std::string why) { plan_.stuck.push_back({region, std::move(why)}); }

  const RepairRequest& request_;
  PlacementState state_;
  std::vector<uint32_t> incoming_;
  std::vector<uint32_t> at_limit_;
  const Prng prng_;
  std::map<uint32_t, PlacementChoice> choices_;  // by database
  size_t explained_ = 0;
  RepairPlan plan_;
};

}  // namespace

RepairPlan PlanRepairs(const PlacementView& view, const RepairRequest& request) {
  return Repairs(view, request).Run();
}

}  // namespace tenure::planner
