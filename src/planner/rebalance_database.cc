// Stages 1 and 2 of the rebalancer: spread and even counts within one database.

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "base/format.h"
#include "planner/rebalance.h"

namespace tenure::planner {
namespace {

// Replicas of one node that are compared for the best one to move.
constexpr size_t kMaxCompared = 64;

class Database {
 public:
  Database(Rebalance& rebalance, uint32_t database, const std::vector<uint32_t>& regions)
      : rebalance_(rebalance), state_(rebalance.state()), database_(database), regions_(regions) {
    for (uint32_t i = 0; i < state_.nodes().size(); ++i) {
      if (rebalance.IsFor(i, database)) nodes_.push_back(i);
    }
  }

  void Run() {
    if (nodes_.empty()) return;
    RepairSpread();
    EvenOut();
  }

 private:
  PlacementChoice& choice() {
    if (!choice_) {
      choice_.emplace(state_, database_, std::vector<uint32_t>{},
                      Prng(rebalance_.request().seed).Fork(fmt::to_string(database_)));
      for (const uint32_t node : nodes_) {
        if (!rebalance_.MayTake(node)) Exclude(node);
      }
    }
    return *choice_;
  }

  void Exclude(uint32_t node) {
    choice_->Exclude(node);
    rebalance_.SetLimited();
  }

  void Move(uint32_t region, uint32_t from, uint32_t to, Rebalance::Measure measure, std::string why) {
    rebalance_.Move(region, from, to, measure, std::move(why));
    choice_->Refresh(from);
    choice_->Refresh(to);
    if (!rebalance_.MayTake(to)) Exclude(to);
  }

  // Pairs of replicas that must share one of the domains: as even over them as their sizes allow, hosts and
  // racks left aside. A lower bound, so that regions that cannot be better are passed over quickly.
  uint32_t FewestPairs(size_t replicas, uint32_t PlacementState::Node::* domain) {
    std::map<uint32_t, uint32_t> room;
    for (const uint32_t node : nodes_) ++room[state_.nodes()[node].*domain];
    std::map<uint32_t, uint32_t> used;
    uint32_t pairs = 0;
    for (size_t i = 0; i < replicas; ++i) {
      uint32_t best = PlacementState::kNone;
      for (const auto& [id, nodes] : room) {
        if (used[id] < nodes && (best == PlacementState::kNone || used[id] < used[best])) best = id;
      }
      if (best == PlacementState::kNone) break;
      pairs += used[best]++;
    }
    return pairs;
  }

  bool CouldBeBetter(uint32_t region) {
    const std::vector<uint32_t> members = state_.NodesOf(region);
    for (const uint32_t node : members) {
      if (rebalance_.IsCounted(node) && !rebalance_.IsFor(node, database_)) return true;
    }
    const Conflicts now = state_.ConflictsOf(members);
    if (now == Conflicts{}) return false;
    const auto [bound, is_new] = fewest_.try_emplace(members.size());
    if (is_new) {
      bound->second.host = FewestPairs(members.size(), &PlacementState::Node::host);
      if (state_.racks_known()) bound->second.rack = FewestPairs(members.size(), &PlacementState::Node::rack);
      if (state_.zones_known()) bound->second.zone = FewestPairs(members.size(), &PlacementState::Node::zone);
    }
    return now > bound->second;
  }

  void RepairSpread() {
    for (const uint32_t region : regions_) {
      if (rebalance_.IsBusy(region) || !CouldBeBetter(region)) continue;
      for (const uint32_t node : state_.NodesOf(region)) {
        if (!rebalance_.IsCounted(node)) continue;
        const std::vector<uint32_t> beside = state_.OthersOf(region, node);
        const uint32_t to = choice().Best(beside, state_.regions()[region].bytes);
        if (to == PlacementState::kNone) continue;
        const bool belongs = rebalance_.IsFor(node, database_);
        if (belongs && state_.ConflictsOf(to, beside) >= state_.ConflictsOf(node, beside)) continue;
        if (rebalance_.moves_left() == 0) return rebalance_.SetLimited();
        if (!rebalance_.MayGive(node)) {
          rebalance_.SetLimited();
          continue;
        }
        Move(region, node, to, Rebalance::Measure::kSpread,
             belongs ? "its replicas share fewer failure domains then"
                     : fmt::format("node {} lacks a label that the database requires", state_.IdOf(node)));
        break;
      }
    }
  }

  struct Candidate {
    Conflicts conflicts;
    uint32_t replicas = 0;  // of the taker
    bool leads = false;
    uint32_t shared = 0;
    uint32_t region = PlacementState::kNone;
    uint32_t to = PlacementState::kNone;
    friend auto operator<=>(const Candidate&, const Candidate&) = default;
  };

  // The replica of `from` that is best to move to a node with fewer than `below`.
  std::optional<Candidate> BestToMove(uint32_t from, uint64_t below) {
    std::optional<Candidate> best;
    size_t compared = 0;
    for (const uint32_t region : state_.nodes()[from].regions) {
      const PlacementState::Region& of = state_.regions()[region];
      if (of.database != database_ || rebalance_.IsBusy(region)) continue;
      const std::vector<uint32_t> beside = state_.OthersOf(region, from);
      const uint32_t to = choice().Best(beside, of.bytes);
      if (to == PlacementState::kNone || state_.ReplicasOf(to, database_) >= below) continue;
      const Conflicts conflicts = state_.ConflictsOf(to, beside);
      if (conflicts > state_.ConflictsOf(from, beside)) continue;
      const Candidate candidate{.conflicts = conflicts,
                                .replicas = state_.ReplicasOf(to, database_),
                                .leads = of.leader == from,
                                .shared = state_.SharedWith(to, beside),
                                .region = region,
                                .to = to};
      if (!best || candidate < *best) best = candidate;
      if (++compared == kMaxCompared) break;
    }
    return best;
  }

  uint32_t Least() const {
    uint32_t least = PlacementState::kNone;
    for (const uint32_t node : nodes_) least = std::min(least, state_.ReplicasOf(node, database_));
    return least;
  }

  // From the fullest node to the emptiest one that a replica may go to, until the two are near enough.
  void EvenOut() {
    const std::vector<uint32_t> counts = rebalance_.CountReplicas(regions_);
    uint64_t sum = 0;
    uint32_t most = 0;
    uint32_t least = PlacementState::kNone;
    for (const uint32_t node : nodes_) {
      sum += counts[node];
      most = std::max(most, counts[node]);
      least = std::min(least, counts[node]);
    }
    const uint64_t tolerance = Rebalance::Tolerance(rebalance_.request().replicas, sum, nodes_.size());
    if (most <= least + tolerance) return;
    std::set<std::pair<uint32_t, uint32_t>, std::greater<>> fullest;
    for (const uint32_t node : nodes_) fullest.emplace(counts[node], node);
    while (!fullest.empty()) {
      const auto [count, from] = *fullest.begin();
      if (count <= Least() + tolerance) return;
      fullest.erase(fullest.begin());
      if (rebalance_.moves_left() == 0) return rebalance_.SetLimited();
      if (!rebalance_.MayGive(from)) {
        rebalance_.SetLimited();
        continue;
      }
      const auto best = BestToMove(from, count - tolerance);
      if (!best) continue;
      Move(best->region, from, best->to, Rebalance::Measure::kDatabaseReplicas,
           fmt::format("node {} has {} replicas of database '{}', node {} has {}", state_.IdOf(from), count,
                       state_.database(database_).name, state_.IdOf(best->to), best->replicas));
      fullest.emplace(count - 1, from);
      if (fullest.erase({best->replicas, best->to}) != 0) fullest.emplace(best->replicas + 1, best->to);
    }
  }

  Rebalance& rebalance_;
  const PlacementState& state_;
  const uint32_t database_;
  const std::vector<uint32_t>& regions_;
  std::vector<uint32_t> nodes_;  // that the database's replicas may be on
  std::optional<PlacementChoice> choice_;
  std::map<size_t, Conflicts> fewest_;  // by number of replicas
};

}  // namespace

void EvenOutDatabase(Rebalance& rebalance, uint32_t database, const std::vector<uint32_t>& regions) {
  Database(rebalance, database, regions).Run();
}

}  // namespace tenure::planner
